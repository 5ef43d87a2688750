"""The delay line between controller and motors, for many drones at once."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from envs.batched_sensors import EPS_S
from envs.batched_state import BatchedState
from liquid_pilot.errors import SimulationError
from liquid_pilot.ops import Vec3


def issue(state: BatchedState, command: tuple[Tensor, Vec3[Tensor]]) -> BatchedState:
    """Put a command in the delay line. Ignored by held drones, and where the newest IMU sample was refused.

    Raises `SimulationError` if it is not finite.
    """
    thrust, rates = command
    new = torch.stack([thrust, *rates])
    finite = torch.isfinite(new.detach())
    if not bool(finite.all()):
        lane = int((~finite).any(dim=0).nonzero()[0])
        raise SimulationError(f"the command of lane {lane} is not finite; the policy or its state has diverged")
    given = torch.isfinite(state.release_s) & (state.imu.silent_s == 0.0)
    new = torch.where(given, new, state.commands[:, -1])
    times = torch.where(given, state.t_s, state.command_times_s[-1])
    return replace(
        state,
        commands=torch.cat([state.commands[:, 1:], new[:, None]], dim=1),
        command_times_s=torch.cat([state.command_times_s[1:], times[None]], dim=0),
    )


def command_at(commands: Tensor, due_s: Tensor, t_s: Tensor) -> tuple[Tensor, Vec3[Tensor]]:
    """The newest command that has taken effect at t. commands: (4, K, B), due_s: (K, B), t_s: (B,)."""
    index = (due_s <= t_s + EPS_S).sum(dim=0).clamp(min=1) - 1
    c = commands.gather(1, index.expand(4, 1, -1))[:, 0]
    return c[0], (c[1], c[2], c[3])
