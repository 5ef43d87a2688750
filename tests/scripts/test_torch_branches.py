"""Laws of the branches of torch: each kind of choice is seen, of the drone that made it, where it matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from numpy.testing import assert_array_equal
from torch import Tensor

from scripts.benchmarks.torch_branches import BranchWatch

DRONES = 6


def ways(function: Callable[[Tensor], Tensor], x: Tensor) -> Any:
    with BranchWatch(DRONES) as watch:
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(function(leaf).sum(), leaf)
    return watch.ways()


CHOICES: dict[str, Callable[[Tensor], Tensor]] = {
    "where": lambda x: torch.where(x > 0.0, x, 2.0 * x),
    "clamp below": lambda x: x.clamp(min=0.0),
    "clamp above": lambda x: torch.clamp(x, max=0.0),
    "clamp both": lambda x: x.clamp(-5.0, 0.0),
    "maximum": lambda x: torch.maximum(x, -2.0 * x),
    "minimum": lambda x: torch.minimum(3.0 * x, x),
    "abs": lambda x: x.abs(),
}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("shape", [(DRONES,), (3, DRONES), (DRONES, 4)])
def test_a_choice_that_flips_is_seen_for_its_drone_alone(name: str, shape: tuple[int, ...]) -> None:
    x = torch.linspace(0.5, 1.5, torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)
    axis, lane = shape.index(DRONES), 4
    moved, flipped = x.clone(), x.clone()
    moved.select(axis, lane).mul_(1.5)
    flipped.select(axis, lane).mul_(-1e-9)
    assert_array_equal(ways(CHOICES[name], moved), ways(CHOICES[name], x))
    differ = (ways(CHOICES[name], flipped) != ways(CHOICES[name], x)).any(axis=0)
    assert differ.tolist() == [row == lane for row in range(DRONES)]


def test_what_has_no_slope_and_what_is_no_choice_is_not_kept() -> None:
    x = torch.linspace(-1.0, 1.0, DRONES)
    with BranchWatch(DRONES) as watch:
        torch.tanh(x * x).sum()
        torch.maximum(x, -x)
        torch.where(x[:2] > 0.0, x[:2], 0.0)  # of no drone
    assert watch.ways().shape == (0, DRONES)
