"""The equation of liquid time-constant neurons and its solvers, as pure functions of effective weights.

Hasani et al., "Liquid time-constant networks" (2021), with conductance synapses:

    cm dv/dt = gleak (vleak - v) + sum_i w_i sigmoid(sigma_i (v_i - mu_i)) (erev_i - v) + the same of the inputs
             = I(v) - G(v) v

v: (B, units). dt: (B, 1) in time units. `weights` holds the tensors that `LTC.weights` lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import torch
from torch import Tensor

from liquid_pilot.errors import ConfigError, MissingExtraError
from policies.cells.runge_kutta import runge_kutta

Weights: TypeAlias = Mapping[str, Tensor]

MOST_STEPS: Final = 10_000  # of an adaptive solve
_OF_NEURONS: Final = ("cm", "w", "mu", "sigma", "erev")  # what a derivative reads besides the drive


class Drive(NamedTuple):
    """What stays the same during a step: total conductance and current of leak and inputs, (B, units) each."""

    conductance: Tensor
    current: Tensor


def synapses(source: Tensor, w: Tensor, mu: Tensor, sigma: Tensor, erev: Tensor) -> tuple[Tensor, Tensor]:
    """Conductance and current that arrive at each target, (B, targets).

    source: (B, sources), the others: (sources, targets).
    """
    conductance = w * torch.sigmoid(sigma * (source[:, :, None] - mu))
    return conductance.sum(dim=1), (conductance * erev).sum(dim=1)


def sensory_drive(weights: Weights, x: Tensor) -> Drive:
    """Drive of inputs x (B, inputs)."""
    source = x * weights["input_w"] + weights["input_b"]
    parts = (weights[f"sensory_{name}"] for name in ("w", "mu", "sigma", "erev"))
    conductance, current = synapses(source, *parts)
    gleak = weights["gleak"]
    return Drive(conductance + gleak, current + gleak * weights["vleak"])


def membrane(weights: Weights, drive: Drive, v: Tensor) -> tuple[Tensor, Tensor]:
    """G(v) and I(v), (B, units) each."""
    conductance, current = synapses(v, weights["w"], weights["mu"], weights["sigma"], weights["erev"])
    return drive.conductance + conductance, drive.current + current


def derivative(weights: Weights, drive: Drive, v: Tensor) -> Tensor:
    """dv/dt per time unit, (B, units)."""
    conductance, current = membrane(weights, drive, v)
    return (current - conductance * v) / weights["cm"]


def semi_implicit(weights: Weights, drive: Drive, v: Tensor, dt: Tensor, unfolds: int) -> Tensor:
    """`unfolds` steps v' = (cm v + d I(v)) / (cm + d G(v)), d = dt / unfolds: implicit where v enters linearly.

    Written as a change of v, so that dt = 0 is the exact identity. v' lies between v, vleak and the erev for any dt.
    """
    delta = dt / unfolds
    for _ in range(unfolds):
        conductance, current = membrane(weights, drive, v)
        v = v + delta * (current - conductance * v) / (weights["cm"] + delta * conductance)
    return v


def euler(weights: Weights, drive: Drive, v: Tensor, dt: Tensor, unfolds: int) -> Tensor:
    """`unfolds` explicit Euler steps."""
    delta = dt / unfolds
    for _ in range(unfolds):
        v = v + delta * derivative(weights, drive, v)
    return v


def rk4(weights: Weights, drive: Drive, v: Tensor, dt: Tensor, unfolds: int) -> Tensor:
    """`unfolds` steps of the classic Runge-Kutta method of fourth order."""
    return runge_kutta(partial(derivative, weights, drive), v, dt, unfolds)


def adaptive(
    weights: Weights, drive: Drive, v: Tensor, dt: Tensor, unfolds: int, *, rtol: float, atol: float, adjoint: bool
) -> Tensor:
    """Dormand-Prince steps of the size that the tolerances allow, for all rows at once: time runs from 0 to 1 in each.

    What is integrated is the change of v, so that dt = 0 is the exact identity and rtol is relative to the change.
    adjoint: gradients by solving the adjoint equation backwards, which keeps `unfolds` states and no step. Neurons
    forget, so the way back is unstable; it starts anew at each kept state. Raises `MissingExtraError` without
    torchdiffeq, `ConfigError` where the tolerances cannot be met.
    """
    odeint, odeint_adjoint = _odeint()

    def slope(_: Tensor, change: Tensor) -> Tensor:
        return dt * derivative(weights, drive, v + change)

    settings = {"rtol": rtol, "atol": atol, "method": "dopri5"}
    options = {"norm": _largest, "max_num_steps": MOST_STEPS}
    kept = torch.linspace(0.0, 1.0, unfolds + 1 if adjoint else 2, dtype=v.dtype, device=v.device)
    try:
        if adjoint:
            read = (v, dt, *drive, *(weights[name] for name in _OF_NEURONS))
            solution = odeint_adjoint(
                slope, torch.zeros_like(v), kept, options=options, adjoint_params=read, **settings
            )
        else:
            solution = odeint(slope, torch.zeros_like(v), kept, options=options, **settings)
    except AssertionError as error:
        raise ConfigError(
            f"the adaptive solver gave up with rtol {rtol:g} and atol {atol:g} ({error}); give finite inputs and "
            "states, larger tolerances, float64, or solver='semi_implicit'"
        ) from error
    final: Tensor = v + solution[-1]
    return final


def _largest(error: Tensor) -> Tensor:
    """Norm that holds the tolerance in every row and neuron, not on average."""
    return error.abs().max()


def _odeint() -> tuple[Callable[..., Any], Callable[..., Any]]:
    try:
        from torchdiffeq import odeint, odeint_adjoint
    except ImportError as error:
        raise MissingExtraError(
            "solver='adaptive' needs torchdiffeq, which is not installed; run: pip install 'liquid-pilot[train]'"
        ) from error
    return odeint, odeint_adjoint


FIXED: Final[dict[str, Callable[[Weights, Drive, Tensor, Tensor, int], Tensor]]] = {
    "semi_implicit": semi_implicit,
    "euler": euler,
    "rk4": rk4,
}
