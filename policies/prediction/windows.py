"""Windows of traces, and what is done to them: noise, and samples that are lost.

Of a lost sample nothing reaches the model: the next one that is kept comes with the steps since the last (its gap), or,
where the gap is withheld, as if one step had passed. What is judged is the prediction of the physical step that follows
each kept sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from policies.prediction.traces import F32

LENGTH: Final = 32
STRIDE: Final = 10


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows of T steps.

    x (N, T, width): what is seen; y (N, T, width): what follows; kept (N, T) bool; gap (N, T): steps since the sample
    before that was kept, 1 at first.
    """

    x: Tensor
    y: Tensor
    kept: Tensor
    gap: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Tensor) -> Windows:
        """Some of them."""
        return Windows(self.x[index], self.y[index], self.kept[index], self.gap[index])

    def withheld(self) -> Windows:
        """The same, without saying how long a gap was."""
        return Windows(self.x, self.y, self.kept, torch.ones_like(self.gap))


def windows(traces: Sequence[F32]) -> Windows:
    """Windows of `LENGTH` steps, `STRIDE` apart, each with the step after each of its steps; nothing lost."""
    xs, ys = [], []
    for trace in traces:
        cut = sliding_window_view(trace, LENGTH + 1, axis=0)[::STRIDE].transpose(0, 2, 1)
        xs.append(cut[:, :-1])
        ys.append(cut[:, 1:])
    x, y = (torch.from_numpy(np.ascontiguousarray(np.concatenate(part))) for part in (xs, ys))
    return Windows(x, y, torch.ones(x.shape[:2], dtype=torch.bool), torch.ones(x.shape[:2]))


def noisy(given: Windows, deviation: Tensor, generator: torch.Generator) -> Windows:
    """With noise on what is seen, not on what follows. deviation: (width,), or (N, 1, width)."""
    noise = torch.randn(given.x.shape, generator=generator) * deviation
    return Windows(given.x + noise, given.y, given.kept, given.gap)


def thinned(given: Windows, lost: float | Tensor, generator: torch.Generator) -> Windows:
    """With a share of the samples lost, each by itself, never the first of a window. lost: or one a window, (N, 1)."""
    kept = torch.rand(given.kept.shape, generator=generator) >= lost
    kept[:, 0] = True
    steps = torch.arange(kept.shape[1]).expand_as(kept)
    newest = torch.where(kept, steps, -1).cummax(dim=1).values
    before = torch.cat([torch.full_like(newest[:, :1], -1), newest[:, :-1]], dim=1)
    gap = torch.where(kept, steps - before, 1).to(given.gap.dtype)
    return Windows(given.x, given.y, kept, gap)


def held(given: Windows) -> Tensor:
    """What is seen with the newest kept sample in the place of a lost one, (N, T, width)."""
    steps = torch.arange(given.kept.shape[1]).expand_as(given.kept)
    newest = torch.where(given.kept, steps, 0).cummax(dim=1).values
    return given.x.gather(1, newest[:, :, None].expand_as(given.x))
