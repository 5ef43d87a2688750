"""What the weights of liquid time-constant neurons promise: a box that holds the state, and how long a step may be."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from policies.cells.ltc_solvers import Weights

STEEPEST: Final = 0.25  # of the sigmoid
STABLE: Final = {"euler": 2.0, "rk4": 2.785}  # |step * eigenvalue| on the negative real axis


def state_box(weights: Weights) -> tuple[Tensor, Tensor]:
    """Lowest and highest state of each neuron, (units,): of 0, vleak and the erev of its synapses.

    A state that starts inside stays inside, for every input (Hasani et al., 2021, theorem 2).
    """
    reached = [torch.zeros_like(weights["vleak"])[None], weights["vleak"][None]]
    for kind in ("", "sensory_"):
        reached.append(torch.where(weights[f"{kind}w"] > 0, weights[f"{kind}erev"], 0.0))
    low, high = torch.aminmax(torch.cat(reached), dim=0)
    return low, high


@torch.no_grad()
def fastest_rates(weights: Weights) -> tuple[float, float]:
    """Bounds for any input and any state in the box, per time unit: of G / cm, and of the Jacobian's eigenvalues.

    The second is Gershgorin's bound by rows, with every synapse open and every sigmoid at its steepest.
    """
    low, high = state_box(weights)
    w, erev, cm = weights["w"], weights["erev"], weights["cm"]
    conductance = weights["gleak"] + w.sum(dim=0) + weights["sensory_w"].sum(dim=0)
    farthest = torch.maximum((erev - low).abs(), (erev - high).abs())
    coupling = (w * weights["sigma"].abs() * STEEPEST * farthest).sum(dim=0)
    return float((conductance / cm).max()), float(((conductance + coupling) / cm).max())


def stable_step(weights: Weights, solver: str) -> float:
    """Longest step of an explicit solver, in time units; infinite for solvers that need no limit.

    Not above 1 / (G / cm) for Euler, so that its step is a weighted mean as well and keeps the state in the box.
    """
    if solver not in STABLE:
        return math.inf
    leak, jacobian = fastest_rates(weights)
    longest = STABLE[solver] / jacobian
    return min(longest, 1.0 / leak) if solver == "euler" else longest
