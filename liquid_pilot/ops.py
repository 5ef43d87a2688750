"""The `ops` namespace: the few functions that shared equations may use beyond + - * /.

Physics, sensors, rate loop and observation are written once, on one drone's scalars, without
data-dependent `if`. `FLOAT_OPS` runs them on Python floats, `NUMPY_OPS` on arrays; the batched
world supplies the same functions for torch tensors.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np


class Scalar(Protocol):
    """Anything with arithmetic: a float, an array, a tensor, a traced expression."""

    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...
    def __neg__(self) -> Any: ...


S = TypeVar("S", bound=Scalar)
Vec2: TypeAlias = tuple[S, S]
Vec3: TypeAlias = tuple[S, S, S]
Vec4: TypeAlias = tuple[S, S, S, S]


class Ops(Protocol):
    """Functions over scalars. `select(a, b, x, y)` is x where a > b, else y; `clip(x, low, high)` is x cut to them."""

    def sin(self, x: Any, /) -> Any: ...
    def cos(self, x: Any, /) -> Any: ...
    def sqrt(self, x: Any, /) -> Any: ...
    def exp(self, x: Any, /) -> Any: ...
    def tanh(self, x: Any, /) -> Any: ...
    def minimum(self, x: Any, y: Any, /) -> Any: ...
    def maximum(self, x: Any, y: Any, /) -> Any: ...
    def clip(self, x: Any, low: Any, high: Any, /) -> Any: ...
    def select(self, a: Any, b: Any, x: Any, y: Any, /) -> Any: ...


class FloatOps:
    """`ops` on Python floats."""

    sin = staticmethod(math.sin)
    cos = staticmethod(math.cos)
    sqrt = staticmethod(math.sqrt)
    exp = staticmethod(math.exp)
    tanh = staticmethod(math.tanh)

    @staticmethod
    def minimum(x: float, y: float, /) -> float:
        return x if x < y else y

    @staticmethod
    def maximum(x: float, y: float, /) -> float:
        return x if x > y else y

    @staticmethod
    def clip(x: float, low: float, high: float, /) -> float:
        return (x if x < high else high) if x > low else low

    @staticmethod
    def select(a: float, b: float, x: float, y: float, /) -> float:
        return x if a > b else y


class NumpyOps:
    """`ops` on numpy arrays."""

    sin = staticmethod(np.sin)
    cos = staticmethod(np.cos)
    sqrt = staticmethod(np.sqrt)
    exp = staticmethod(np.exp)
    tanh = staticmethod(np.tanh)
    minimum = staticmethod(np.minimum)
    maximum = staticmethod(np.maximum)

    @staticmethod
    def clip(x: Any, low: Any, high: Any, /) -> Any:
        return np.minimum(np.maximum(x, low), high)

    @staticmethod
    def select(a: Any, b: Any, x: Any, y: Any, /) -> Any:
        return np.where(np.asarray(a) > b, x, y)


FLOAT_OPS: Ops = FloatOps()
NUMPY_OPS: Ops = NumpyOps()
