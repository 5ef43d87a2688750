"""Wirings without an order of flow: one layer, in which the last neurons are the motor neurons."""

from __future__ import annotations

import numpy as np

from policies.wirings.checks import Polarity, check_counts, check_range, driven, heard
from policies.wirings.synapses import EXCITED, Rng, check_sparsity, generator, scattered
from policies.wirings.wiring import ONE_LAYER, Wiring


def fully_connected(inputs: int, units: int, outputs: int, rng: Rng = 0) -> Wiring:
    """Every input and every neuron feeds every neuron, itself included; polarities are random.

    rng: a generator or a seed. Raises `ConfigError`.
    """
    return random_wiring(inputs, units, outputs, 0.0, rng)


def random_wiring(inputs: int, units: int, outputs: int, sparsity: float, rng: Rng = 0) -> Wiring:
    """Synapses anywhere, a share of `1 - sparsity` of all that could be, two of three excitatory.

    More only where an input or a neuron would be left unconnected. sparsity: 0 to 0.9. rng: a generator or a seed.
    Raises `ConfigError`.
    """
    check_counts(inputs=inputs, units=units)
    check_range("outputs", outputs, 1, units, "the number of neurons")
    check_sparsity(sparsity)
    random, density = generator(rng), 1.0 - sparsity
    recurrent = scattered(units, units, round(units * units * density), random, EXCITED)
    sensory = scattered(inputs, units, round(inputs * units * density), random, EXCITED)
    _connect(recurrent, sensory, outputs, random)
    return Wiring(inputs, (units,), (ONE_LAYER,), recurrent, sensory, outputs)


def _connect(recurrent: Polarity, sensory: Polarity, outputs: int, rng: np.random.Generator) -> None:
    """Give what is left unconnected one more synapse, in place: inputs, neurons without input, neurons unheard."""
    inputs, units = sensory.shape
    for unused in np.flatnonzero(~sensory.any(axis=1)):
        sensory[unused, rng.integers(units)] = rng.choice(EXCITED)
    while not (reached := driven(recurrent, sensory)).all():
        sensory[rng.integers(inputs), np.argmin(reached)] = rng.choice(EXCITED)
    while not (reached := heard(recurrent, outputs)).all():
        recurrent[np.argmin(reached), rng.integers(units - outputs, units)] = rng.choice(EXCITED)
