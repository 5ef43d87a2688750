"""What the trainers of HalfCheetah share: validation at both rhythms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.half_cheetah.rhythm import REGULAR, Rhythm
from policies.half_cheetah.episodes import Pilot, run_episodes
from policies.half_cheetah.herd import Herd

REGULAR_SEED, IRREGULAR_SEED = 10_000, 20_000


@dataclass(frozen=True, slots=True)
class Returns:
    """Mean returns at regular and irregular time. score: minus their mean, weighed as episodes of training were."""

    return_regular: float
    return_irregular: float
    score: float


def validation(herd: Herd, network: Pilot, rhythm: Rhythm, irregular: float, episodes: int) -> Returns:
    """Closed-loop returns over the same episodes each time, as many of each rhythm; irregular: weight of the second."""
    means = []
    for own, seed in ((REGULAR, REGULAR_SEED), (rhythm, IRREGULAR_SEED)):
        found: list[float] = []
        while len(found) < episodes:
            count = min(len(herd), episodes - len(found))
            found += run_episodes(herd, network, [own] * count, seed + len(found)).tolist()
        means.append(float(np.mean(found)))
    return Returns(means[0], means[1], -((1.0 - irregular) * means[0] + irregular * means[1]))
