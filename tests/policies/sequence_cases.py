"""Layers, events and comparisons that the tests of sequence engines share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from policies.cells.layer import CfCLayer
from policies.sequence import cfc_sequence
from tests.compiled.running import needs_compiler

INPUTS, UNITS = 5, 7
FAST = ["torch", pytest.param("compiled", marks=needs_compiler)]
DOUBLE = torch.float64


def make_layer(form: str, depth: int, dtype: torch.dtype = DOUBLE, mask: Tensor | None = None) -> CfCLayer:
    layer = CfCLayer(INPUTS, UNITS, form, depth, 9, 0.1, mask).to(dtype)
    generator = torch.Generator().manual_seed(depth)
    with torch.no_grad():
        for parameter in layer.parameters():  # so that no weight is zero, as a first w_tau is
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return layer


def make_inputs(batch: int, steps: int, dtype: torch.dtype = DOUBLE, masked: bool = False) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(batch + 100 * steps)
    mask = torch.rand((batch, steps), generator=generator) > 0.4 if masked else None
    x = torch.randn((batch, steps, INPUTS), generator=generator, dtype=dtype)
    dt_s = 0.2 * torch.rand((batch, steps), generator=generator, dtype=dtype)
    h = torch.rand((batch, UNITS), generator=generator, dtype=dtype)
    return {"x": x.requires_grad_(), "dt_s": dt_s.requires_grad_(), "h": h.requires_grad_(), "mask": mask}


def outcome(
    layer: CfCLayer, given_: dict[str, Any], engine: str, wanted: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """States, last state, and the gradient of a fixed sum of both in `wanted`; in everything if not given."""
    states, last = cfc_sequence(layer, **given_, engine=engine)
    wanted = [given_["x"], given_["dt_s"], given_["h"], *layer.parameters()] if wanted is None else wanted
    generator = torch.Generator().manual_seed(5)
    shares = [torch.randn(part.shape, generator=generator).to(part.dtype) for part in (states, last)]
    total = (states * shares[0]).sum() + (last * shares[1]).sum()
    return [states.detach(), last.detach(), *torch.autograd.grad(total, wanted)]


def assert_same(found: list[Tensor], wanted: list[Tensor], tolerance: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        scale = max(1.0, float(other.abs().max()))
        assert_allclose(one.numpy(), other.numpy(), rtol=0.0, atol=tolerance * scale)
