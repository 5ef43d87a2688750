"""Which way every drone went at each branch of a torch computation and of its derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN: Final = torch.ops.aten
_MASKS: Final[Mapping[Any, Callable[..., Tensor]]] = {  # what autograd makes of a clamp, minimum, maximum or abs
    _ATEN.where: lambda mask, *chosen: mask,
    _ATEN.masked_fill: lambda x, mask, value: mask,
    _ATEN.masked_fill_: lambda x, mask, value: mask,
    _ATEN.sgn: lambda x: torch.stack([x < 0, x > 0]),
}


class BranchWatch(TorchDispatchMode):
    """Keeps every mask by which elements are chosen while it is entered.

    It sees a `where` as it is computed; a clamp, minimum, maximum or abs as it is differentiated, which is where its
    two ways part. A mask belongs to `drones` drones if its last dimension, or else one before, is of that length.
    """

    def __init__(self, drones: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drones = drones
        self._masks: list[npt.NDArray[np.bool_]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run `func`; keep its mask if it has one."""
        find = _MASKS.get(func.overloadpacket)
        mask = None if find is None else find(*args, **kwargs or {})
        if mask is not None and self.drones in mask.shape:
            axis = mask.ndim - 1 - mask.shape[::-1].index(self.drones)
            self._masks.append(mask.movedim(axis, -1).reshape(-1, self.drones).numpy().copy())
        return func(*args, **kwargs or {})

    def ways(self) -> npt.NDArray[np.bool_]:
        """All masks so far, (branches, drones)."""
        return np.concatenate([np.empty((0, self.drones), np.bool_), *self._masks])
