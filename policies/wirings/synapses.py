"""Random synapses: drawn without duplicates, so that as many exist as were asked for."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

from liquid_pilot.errors import ConfigError
from policies.wirings.checks import Polarity

Rng: TypeAlias = np.random.Generator | int

SPARSEST: Final = 0.9
EVEN: Final = (-1, 1)  # as many inhibitory as excitatory synapses: the published NCP
EXCITED: Final = (-1, 1, 1)  # two of three are excitatory: the published wirings without structure


def generator(rng: Any) -> np.random.Generator:
    """The generator itself, or a new one of the seed. Raises `ConfigError` for anything else."""
    if isinstance(rng, np.random.Generator):
        return rng
    if type(rng) is not int or rng < 0:
        raise ConfigError(f"rng is {rng!r}; give a numpy.random.Generator or a seed, a whole number of at least 0")
    return np.random.default_rng(rng)


def check_sparsity(sparsity: Any) -> None:
    """Raise `ConfigError` unless sparsity is a share of missing synapses that leaves a network."""
    if isinstance(sparsity, bool) or not isinstance(sparsity, (int, float)) or not 0.0 <= sparsity <= SPARSEST:
        raise ConfigError(f"sparsity is {sparsity!r}; give a number from 0 (dense) to {SPARSEST}")


def fan_out(sources: int, targets: int, each: int, rng: np.random.Generator) -> Polarity:
    """(sources, targets): every source has synapses to `each` different targets.

    A target that none of them chose gets the mean fan-in of the others, at least 1, from different sources.
    """
    drawn = np.zeros((sources, targets), dtype=np.int8)
    for source in range(sources):
        drawn[source, rng.choice(targets, each, replace=False)] = rng.choice(EVEN, each)
    mean = max(1, sources * each // targets)
    for orphan in np.flatnonzero(~drawn.any(axis=0)):
        drawn[rng.choice(sources, mean, replace=False), orphan] = rng.choice(EVEN, mean)
    return drawn


def scattered(
    sources: int, targets: int, count: int, rng: np.random.Generator, signs: tuple[int, ...] = EVEN
) -> Polarity:
    """(sources, targets) with exactly `count` synapses, anywhere."""
    drawn = np.zeros(sources * targets, dtype=np.int8)
    drawn[rng.choice(drawn.size, count, replace=False)] = rng.choice(signs, count)
    return drawn.reshape(sources, targets)
