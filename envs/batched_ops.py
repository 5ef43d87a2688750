"""`ops` on torch tensors: one drone's scalar is a tensor with one element a lane."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from liquid_pilot.ops import Ops


class TorchOps:
    """See `liquid_pilot.ops.Ops`. Plain numbers are allowed wherever one argument is a tensor."""

    sin = staticmethod(torch.sin)
    cos = staticmethod(torch.cos)
    sqrt = staticmethod(torch.sqrt)
    exp = staticmethod(torch.exp)
    tanh = staticmethod(torch.tanh)

    @staticmethod
    def minimum(x: Tensor, y: Any, /) -> Tensor:
        return torch.minimum(x, y) if isinstance(y, Tensor) else torch.clamp(x, max=y)

    @staticmethod
    def maximum(x: Tensor, y: Any, /) -> Tensor:
        return torch.maximum(x, y) if isinstance(y, Tensor) else torch.clamp(x, min=y)

    @staticmethod
    def clip(x: Tensor, low: Any, high: Any, /) -> Tensor:
        return TorchOps.minimum(TorchOps.maximum(x, low), high)

    @staticmethod
    def select(a: Any, b: Any, x: Any, y: Any, /) -> Tensor:
        return torch.where(a > b, x, y)


TORCH_OPS: Ops = TorchOps()
