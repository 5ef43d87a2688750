"""The published CfC forms give the values and gradients of the public package, dense and wired, whatever the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ncps.torch import CfC as TheirCfC
from ncps.wirings import AutoNCP as TheirNCP
from numpy.testing import assert_allclose
from torch import Tensor, nn

from policies.cells.cfc import CfC, CfCLayer
from policies.wirings import Wiring

PUBLISHED = ("default", "no_gate", "pure")
HEADS = {"default": ("ff1", "ff2", "time_a", "time_b"), "no_gate": ("ff1", "ff2", "time_a", "time_b"), "pure": ("ff1",)}
INPUTS, STEPS = 7, 9
Pairs = list[tuple[Tensor, Tensor]]


def dense(form: str, units: int = 6) -> tuple[CfC, nn.Module, Pairs]:
    """Our cell, their network, and the weights that belong together; ours hold what theirs do."""
    theirs = TheirCfC(INPUTS, units, mode=form, backbone_units=10, backbone_layers=2).double()
    ours = CfC(INPUTS, units, form=form, backbone_layers=2, backbone_units=10).double()
    cell: Any = theirs.rnn_cell
    pairs = joined(ours.layers[0], cell)
    for mine, other in zip(ours.layers[0].backbone, (cell.backbone[0], cell.backbone[2]), strict=True):  # type: ignore[arg-type]
        pairs += [(mine.weight, other.weight), (mine.bias, other.bias)]
    return ours, theirs, copied(pairs)


def wired(form: str) -> tuple[CfC, nn.Module, Pairs]:
    """As `dense`. Theirs leaves the time gates without a mask; the entries in question are set to zero there."""
    drawn = TheirNCP(19, 4)
    theirs = TheirCfC(INPUTS, drawn, mode=form).double()
    ids = [drawn.get_neurons_of_layer(k) for k in range(drawn.num_layers)]
    order = np.concatenate(ids)
    wiring = Wiring.from_arrays(
        np.asarray(drawn.sensory_adjacency_matrix)[:, order].astype(int),
        drawn.adjacency_matrix[np.ix_(order, order)].astype(int),
        outputs=4,
        layers={name: len(neurons) for name, neurons in zip(("inter", "command", "motor"), ids, strict=True)},
    )
    ours = CfC(INPUTS, wiring=wiring, form=form).double()
    their_layers: Any = theirs.rnn_cell
    pairs: Pairs = []
    for mine, other, mask in zip(ours.layers, their_layers._layers, wiring.masks(), strict=True):
        with torch.no_grad():
            for name in HEADS[form]:
                getattr(other, name).weight.mul_(torch.as_tensor(mask))
        pairs += joined(mine, other)
    return ours, theirs, copied(pairs)


def joined(mine: nn.Module, other: Any) -> Pairs:
    assert isinstance(mine, CfCLayer)
    pairs: Pairs = []
    for linear, name in zip(mine.heads(), HEADS[mine.form], strict=True):
        pairs += [(stored(linear), getattr(other, name).weight), (linear.bias, getattr(other, name).bias)]
    if mine.form == "pure":
        pairs += [(mine.head.get_parameter("w_tau"), other.w_tau), (mine.head.get_parameter("a"), other.A)]
    return pairs


def stored(linear: nn.Linear) -> Tensor:
    return dict(linear.named_parameters()).get("parametrizations.weight.original", linear.weight)


def copied(pairs: Pairs) -> Pairs:
    """Ours take what theirs are, spread out so that no unit is near a trivial value."""
    with torch.no_grad():
        for mine, other in pairs:
            other.mul_(1.5).add_(0.05 * other.sign())
            mine.copy_(other.reshape(mine.shape))
    return pairs


def their_rows(theirs: nn.Module, x: Tensor, h: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Theirs one row at a time, because it gives elapsed times to neurons where there are several rows."""
    rows = [theirs(x[i : i + 1], h[i : i + 1], dt[i : i + 1]) for i in range(len(x))]
    return torch.cat([y for y, _ in rows]), torch.cat([last for _, last in rows])


@pytest.mark.parametrize("build", [dense, wired])
@pytest.mark.parametrize("form", PUBLISHED)
@pytest.mark.parametrize("engine", ["auto", "loop"])
def test_values_and_gradients_are_those_of_the_public_package(build: Any, form: str, engine: str) -> None:
    torch.manual_seed(1)
    ours, theirs, pairs = build(form)
    ours.engine = engine
    x, dt = torch.randn(5, STEPS, INPUTS, dtype=torch.float64), 2.0 * torch.rand(5, STEPS, dtype=torch.float64)
    h = torch.randn(5, ours.units, dtype=torch.float64)
    inputs = [[tensor.clone().requires_grad_() for tensor in (x, dt, h)] for _ in range(2)]
    y, last = ours.sequence(inputs[0][0], inputs[0][1], inputs[0][2])
    expected, expected_last = their_rows(theirs, inputs[1][0], inputs[1][2], inputs[1][1])
    assert_allclose(y.detach(), expected.detach(), atol=1e-11)
    assert_allclose(last.detach(), expected_last.detach(), atol=1e-11)
    weight_of_y, weight_of_last = torch.randn_like(y), torch.randn_like(last)
    ((y * weight_of_y).sum() + (last * weight_of_last).sum()).backward()
    ((expected * weight_of_y).sum() + (expected_last * weight_of_last).sum()).backward()
    for mine, other in zip(*inputs, strict=True):
        assert mine.grad is not None and other.grad is not None
        assert_allclose(mine.grad, other.grad, atol=1e-9)
    for own, other in pairs:
        assert own.grad is not None and other.grad is not None
        there = own.detach() != 0  # where no synapse is, theirs would grow one
        assert_allclose(own.grad[there], other.grad.reshape(own.shape)[there], atol=1e-9)
        assert not own.grad[~there].any()


def test_batch_as_large_as_the_units_is_no_trap_here_as_it_is_there() -> None:
    torch.manual_seed(2)
    ours, theirs, _ = dense("default", units=6)
    x, dt = torch.randn(6, STEPS, INPUTS, dtype=torch.float64), 3.0 * torch.rand(6, STEPS, dtype=torch.float64)
    h = torch.zeros(6, 6, dtype=torch.float64)
    with torch.no_grad():
        right, _ = their_rows(theirs, x, h, dt)
        wrong, _ = theirs(x, h, dt)
        y, _ = ours.sequence(x, dt, h)
    assert_allclose(y, right, atol=1e-11)
    assert float((wrong - right).abs().max()) > 0.05
