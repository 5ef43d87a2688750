"""Loss and gradient of the compiled engine beside torch's autograd: the same flights, the same random numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from envs.airframe import load_airframe
from envs.batched_quad import BatchedQuad
from envs.batched_sensors import NORMALS, UNIFORMS, step_noise
from envs.compiled.job import Draw, Lanes, Objective
from envs.compiled.state import intervals
from envs.conditions import Conditions
from envs.flights import draw_flights
from liquid_pilot.bundle import Bundle
from liquid_pilot.command import from_action
from policies.compiled_trainer import hover_rollout
from policies.cost import CostWeights, hover_cost
from policies.curriculum import Curriculum, training_conditions
from policies.flat_state import pack
from policies.fragments import flatten_weights
from policies.network import PolicyNetwork

# The whole world of training at IMU 100 Hz; a short hold, so that even short rollouts fly.
CONDITIONS: Final = replace(training_conditions(Curriculum(), 1.0), imu_hz=(100.0, 100.0), hold_s=0.1)
OBJECTIVE: Final = Objective(astuple(CostWeights()))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two engines are apart on one rollout, relative to torch. gradient: norm over all weights and drones."""

    dtype: str
    steps: int
    drones: int
    gradient: float
    loss: float
    torch_s: float
    compiled_s: float


def compare(bundle: Bundle, dtype: str, steps: int, drones: int, conditions: Conditions = CONDITIONS) -> Agreement:
    """Fly `drones` for `steps` control steps in both engines, in "float32" or "float64", and compare. All count."""
    real, tensor = (np.float64, torch.float64) if dtype == "float64" else (np.float32, torch.float32)
    airframe, rng = load_airframe("cf2x"), np.random.default_rng([1])
    world = BatchedQuad(airframe, conditions, torch.Generator().manual_seed(1), dtype=tensor)
    state = world.reset(draw_flights(airframe, conditions, drones, rng))
    network = PolicyNetwork.from_bundle(bundle).to(tensor)
    dt_s = intervals(conditions, np.full(drones, conditions.imu_hz[0]), steps, rng)
    normal = rng.standard_normal((steps, NORMALS, drones)).astype(real)
    uniform = rng.random((steps, UNIFORMS, drones)).astype(real)
    units, outputs = bundle.spec.units, bundle.spec.outputs
    lanes = Lanes(pack(state), np.zeros((units, drones), real), np.zeros((outputs, drones), real))
    weights = flatten_weights(bundle.spec, bundle.weights, real)
    rollout = hover_rollout(airframe, bundle.spec, bundle.limits, dtype=real)
    draw = Draw(dt_s, (normal, uniform))
    found, compiled_s = _timed(lambda: rollout.run(lanes, weights, draw, conditions, OBJECTIVE))

    def reference() -> Any:
        nonlocal state
        h, previous = network.initial_state(drones), torch.zeros((drones, outputs), dtype=tensor)
        total, weight = torch.zeros((), dtype=tensor), torch.zeros((), dtype=tensor)
        for k in range(steps):
            action, h = network.step(world.observe(state), h, state.dt_s)
            command = from_action(bundle.limits, (action[:, 0], action[:, 1], action[:, 2], action[:, 3]))
            noise = step_noise(torch.as_tensor(normal[k]), torch.as_tensor(uniform[k]))
            state = world.step(state, command, torch.as_tensor(dt_s[k]), noise)
            since = state.t_s - state.release_s
            early = (since < OBJECTIVE.early_s).double()
            share = (1.0 - (1.0 - OBJECTIVE.early_weight) * early) * (since > 0) * state.dt_s
            total = total + (hover_cost(CostWeights(), state, action, previous) * share.to(tensor)).sum()
            weight, previous = weight + share.to(tensor).sum(), action
        loss = total / weight
        loss.backward()
        return loss.detach()

    loss, torch_s = _timed(reference)
    named = dict(network.named_parameters())
    slopes = {name.removeprefix("cell."): p.grad.numpy() for name, p in named.items() if p.grad is not None}
    wanted = flatten_weights(bundle.spec, slopes, np.float64)
    assert found.gradient is not None
    apart = float(np.linalg.norm(found.gradient - wanted) / np.linalg.norm(wanted))
    return Agreement(dtype, steps, drones, apart, abs(found.loss / float(loss) - 1.0), torch_s, compiled_s)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start
