"""Networks and events that the tests of `LiquidRNN` share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from policies import AutoNCP, CfC, LiquidRNN

INPUTS = 4
WIRING = AutoNCP(INPUTS, 10, 2)
SLOW = WIRING.multi_rate(trigger=0)
KINDS: dict[str, dict[str, Any]] = {"dense": {"units": 6}, "wired": {"wiring": WIRING}, "slow": {"wiring": SLOW}}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind: str = "dense", outputs: int | None = 3, seed: int = 0, **options: Any) -> LiquidRNN:
    torch.manual_seed(seed)
    return LiquidRNN(CfC(INPUTS, **KINDS[kind]), outputs, **options).double()


def events(batch: int, steps: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, steps, INPUTS, generator=generator, dtype=torch.float64)
    return x, 0.2 * torch.rand(batch, steps, generator=generator, dtype=torch.float64)


def same(found: Tensor, wanted: Tensor, atol: float = 1e-12) -> None:
    assert found.shape == wanted.shape
    assert_allclose(found.detach().numpy(), wanted.detach().numpy(), atol=atol)
