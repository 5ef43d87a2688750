"""Derivatives of one step of any cell, at given points."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell, check_step
from policies.cells.ltc import LTC


class StepJacobian(NamedTuple):
    """dh'/dx (B, n, inputs), dh'/dh (B, n, n), dh'/ddt (B, n) per second."""

    by_x: Tensor
    by_h: Tensor
    by_dt_per_s: Tensor


def step_jacobian(cell: Cell, x: Tensor, h: Tensor, dt_s: Tensor) -> StepJacobian:
    """Jacobian of `cell.step`, with its arguments; differentiable once more, so that it can be a penalty.

    Raises `ConfigError` and `MessageError` as the step does, and `ConfigError` for an LTC with the adaptive solver.
    """
    return _jacobian(cell, x, h, check_step(cell, x, h, dt_s))


def contraction_rate_per_s(cell: Cell, x: Tensor, h: Tensor, dt_s: Tensor, norm: float = 2.0) -> Tensor:
    """-log(|dh'/dh|) / dt_s at each point, (B,): positive where two states come closer, by that rate.

    Raises `ConfigError` for a dt_s of 0, over which no rate exists, and for a norm that is not inf or 2.
    """
    check_norm(norm)
    dt_s = check_step(cell, x, h, dt_s)
    if bool((dt_s == 0.0).any()):
        raise ConfigError("dt_s holds 0 s, over which there is no rate; give elapsed times above 0")
    gain = torch.linalg.matrix_norm(_jacobian(cell, x, h, dt_s).by_h, ord=norm)
    return -torch.log(gain) / dt_s[:, 0]


def check_norm(norm: float) -> None:
    """Raise `ConfigError` unless the norm is inf or 2."""
    if norm not in (torch.inf, 2.0):
        raise ConfigError(f"norm is {norm!r}; give math.inf or 2.0")


def _jacobian(cell: Cell, x: Tensor, h: Tensor, dt_s: Tensor) -> StepJacobian:
    if isinstance(cell, LTC) and cell.solver == "adaptive":
        raise ConfigError(
            "solver='adaptive' chooses its steps by the values of the whole batch; give one of fixed steps"
        )

    def single(x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        return cell.advance(x[None], h[None], dt_s[None])[0]

    by_x, by_h, by_dt = vmap(jacrev(single, argnums=(0, 1, 2)))(x, h, dt_s)
    return StepJacobian(by_x, by_h, by_dt[..., 0])
