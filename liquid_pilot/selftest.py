"""The recorded self-test of a policy: recurrent steps that every machine must be able to repeat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from liquid_pilot.cells import F32, CellSpec, Network
from liquid_pilot.errors import BundleError
from liquid_pilot.stepper import Stepper

FEWEST_STEPS: Final = 64
MOST_STEPS: Final = 4096
FIX: Final = "record the self-test again and export the policy"


@dataclass(frozen=True, slots=True)
class SelfTest:
    """K recorded recurrent steps from the initial state; all float32.

    x: (K, inputs). dt_s: (K,) seconds. action: (K, outputs). hidden: (K, state_width), after each step.
    """

    x: F32
    dt_s: F32
    action: F32
    hidden: F32


def make_selftest(spec: CellSpec, weights: Mapping[str, F32], rng: np.random.Generator, steps: int = 96) -> SelfTest:
    """Record `steps` steps of this network on random inputs, at intervals from 0 to 0.2 s."""
    network = Network(spec, weights)
    x = rng.normal(size=(steps, spec.inputs)).astype(np.float32)
    dt_s = np.exp(rng.uniform(np.log(0.001), np.log(0.2), size=steps)).astype(np.float32)
    dt_s[::16] = 0.0
    action, hidden = replay(network, x, dt_s)
    return SelfTest(x, dt_s, action, hidden)


def replay(network: Stepper, x: F32, dt_s: F32) -> tuple[F32, F32]:
    """Actions (K, outputs) and states (K, state_width) of a recurrent run from the initial state."""
    h = network.initial_state()
    action = np.zeros((len(x), network.spec.outputs), np.float32)
    hidden = np.zeros((len(x), network.spec.state_width), np.float32)
    for k, dt in enumerate(dt_s.tolist()):
        action[k], h = network.step(x[k], h, dt)
        hidden[k] = h
    return action, hidden


def largest_difference(found: F32, recorded: F32) -> float:
    """Of any two numbers, over the recorded one where that is beyond 1; infinite where one is NaN.

    Actions and most states lie within -1 and 1. Those that do not (the memory of an LSTM, for one) are no more
    precise in float32 than their size allows.
    """
    with np.errstate(all="ignore"):
        differences = np.abs(found - recorded) / np.maximum(np.float32(1.0), np.abs(recorded))
    largest = float(differences.max(initial=0.0))  # NaN if any is NaN
    return largest if np.isfinite(largest) else float("inf")


def check_selftest(spec: CellSpec, test: SelfTest) -> None:
    """Raise `BundleError` unless the recording has the shapes of the spec, in float32, finite, enough steps."""
    steps = len(test.dt_s) if isinstance(test.dt_s, np.ndarray) and test.dt_s.ndim == 1 else 0
    if not FEWEST_STEPS <= steps <= MOST_STEPS:
        raise BundleError(f"the self-test has {steps} steps; allowed are {FEWEST_STEPS} to {MOST_STEPS}; {FIX}")
    shapes = {
        "x": (steps, spec.inputs),
        "dt_s": (steps,),
        "action": (steps, spec.outputs),
        "hidden": (steps, spec.state_width),
    }
    for name, shape in shapes.items():
        value = getattr(test, name)
        if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.shape != shape:
            found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            raise BundleError(f"tensor 'selftest.{name}' is {found}; it must be float32 {shape}; {FIX}")
        if not np.isfinite(value).all():
            raise BundleError(f"tensor 'selftest.{name}' holds NaN or infinity; every number must be finite; {FIX}")
    if (test.dt_s < 0.0).any():
        raise BundleError(f"tensor 'selftest.dt_s' holds {test.dt_s.min():g}; allowed is 0 or more; {FIX}")
