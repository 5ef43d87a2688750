"""The recorded self-test of a policy: recurrent steps, and grids of an encoder, that every machine can repeat.

Each step is repeated from the state that was recorded before it, so that what differs is one step's rounding: a
recurrence may amplify the last bits of two correct machines a hundredfold within a second. Over the whole recording,
flown as one run, only a far looser bound is kept, which a lasting error would break.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from liquid_pilot.cells import F32, CellSpec, Network
from liquid_pilot.encoder import Encoder, EncoderSpec
from liquid_pilot.errors import BundleError
from liquid_pilot.stepper import Stepper

FEWEST_STEPS: Final = 64
FEWEST_GRIDS: Final = 16
MOST_STEPS: Final = 4096  # of grids too
STEP_TOLERANCE: Final = 1e-5  # see `step_difference`
RUN_TOLERANCE: Final = 1e-4  # see `run_difference`
GRIDS: Final = 32  # that `make_selftest` records
FIX: Final = "record the self-test again and export the policy"


@dataclass(frozen=True, slots=True)
class SelfTest:
    """K recorded recurrent steps from the initial state; all float32.

    x: (K, inputs). dt_s: (K,) seconds. action: (K, outputs). hidden: (K, state_width), after each step.
    Where there is an encoder, and None where not: grid: (G, numbers), as `GridReader` reads them; speed_m_s: (G,);
    features: (G, features), what it makes of each.
    """

    x: F32
    dt_s: F32
    action: F32
    hidden: F32
    grid: F32 | None = None
    speed_m_s: F32 | None = None
    features: F32 | None = None

    @property
    def tensors(self) -> dict[str, F32]:
        """What a file holds of it, by name."""
        parts = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in parts.items() if value is not None}


STEP_PARTS: Final = frozenset({"x", "dt_s", "action", "hidden"})
GRID_PARTS: Final = frozenset({"grid", "speed_m_s", "features"})


def make_selftest(spec: CellSpec, weights: Mapping[str, F32], rng: np.random.Generator, steps: int = 96) -> SelfTest:
    """Record `steps` steps of this network on random inputs, at intervals from 0 to 0.2 s, and grids of its encoder."""
    network = Network(spec, weights)
    x = rng.normal(size=(steps, spec.inputs)).astype(np.float32)
    dt_s = np.exp(rng.uniform(np.log(0.001), np.log(0.2), size=steps)).astype(np.float32)
    dt_s[::16] = 0.0
    action, hidden = replay(network, x, dt_s)
    if spec.encoder is None:
        return SelfTest(x, dt_s, action, hidden)
    grid = rng.uniform(-2.0, 2.0, size=(GRIDS, spec.encoder.grid.numbers)).astype(np.float32)
    grid[rng.random(grid.shape) < 0.1] = 0.0  # rays that saw nothing
    speed_m_s = rng.uniform(0.0, 4.0, size=GRIDS).astype(np.float32)
    return SelfTest(x, dt_s, action, hidden, grid, speed_m_s, encode(spec.encoder, weights, grid, speed_m_s))


def replay(network: Stepper, x: F32, dt_s: F32) -> tuple[F32, F32]:
    """Actions (K, outputs) and states (K, state_width) of a recurrent run from the initial state."""
    h = network.initial_state()
    action = np.zeros((len(x), network.spec.outputs), np.float32)
    hidden = np.zeros((len(x), network.spec.state_width), np.float32)
    for k, dt in enumerate(dt_s.tolist()):
        action[k], h = network.step(x[k], h, dt)
        hidden[k] = h
    return action, hidden


def encode(spec: EncoderSpec, weights: Mapping[str, F32], grid: F32, speed_m_s: F32) -> F32:
    """Features (G, features) of grids (G, numbers) at commanded speeds (G,)."""
    encoder = Encoder(spec, weights)
    rows = [encoder.features(row, speed) for row, speed in zip(grid, speed_m_s.tolist(), strict=True)]
    return np.array(rows, np.float32).reshape(-1, spec.features)


def repeat(network: Stepper, test: SelfTest) -> tuple[F32, F32]:
    """Actions (K, outputs) and states (K, state_width), each step from the state that was recorded before it."""
    action, hidden, h = np.empty_like(test.action), np.empty_like(test.hidden), network.initial_state()
    for k, dt in enumerate(test.dt_s.tolist()):
        action[k], hidden[k] = network.step(test.x[k], h, dt)
        h = test.hidden[k]
    return action, hidden


def step_difference(spec: CellSpec, weights: Mapping[str, F32], test: SelfTest) -> float:
    """The `largest_difference` of any action, state or feature, each step repeated from the recorded state."""
    action, hidden = repeat(Network(spec, weights), test)
    found = max(largest_difference(action, test.action), largest_difference(hidden, test.hidden))
    if spec.encoder is None or test.grid is None or test.speed_m_s is None or test.features is None:
        return found
    features = encode(spec.encoder, weights, test.grid, test.speed_m_s)
    return max(found, largest_difference(features, test.features))


def run_difference(spec: CellSpec, weights: Mapping[str, F32], test: SelfTest) -> float:
    """The `largest_difference` of any action or state, flown as one run from the initial state."""
    action, hidden = replay(Network(spec, weights), test.x, test.dt_s)
    return max(largest_difference(action, test.action), largest_difference(hidden, test.hidden))


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
    if spec.encoder is not None:
        grids = len(test.speed_m_s) if isinstance(test.speed_m_s, np.ndarray) and test.speed_m_s.ndim == 1 else 0
        if not FEWEST_GRIDS <= grids <= MOST_STEPS:
            raise BundleError(f"the self-test has {grids} grids; allowed are {FEWEST_GRIDS} to {MOST_STEPS}; {FIX}")
        shapes |= {
            "grid": (grids, spec.encoder.grid.numbers),
            "speed_m_s": (grids,),
            "features": (grids, spec.encoder.features),
        }
    elif GRID_PARTS & set(test.tensors):
        raise BundleError(f"the self-test has {sorted(GRID_PARTS)}, the policy no encoder; {FIX}")
    for name, shape in shapes.items():
        value = getattr(test, name)
        if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.shape != shape:
            found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            raise BundleError(f"tensor 'selftest.{name}' is {found}; it must be float32 {shape}; {FIX}")
        if not np.isfinite(value).all():
            raise BundleError(f"tensor 'selftest.{name}' holds NaN or infinity; every number must be finite; {FIX}")
    if (test.dt_s < 0.0).any():
        raise BundleError(f"tensor 'selftest.dt_s' holds {test.dt_s.min():g}; allowed is 0 or more; {FIX}")
    if test.speed_m_s is not None and (test.speed_m_s < 0.0).any():
        raise BundleError(f"tensor 'selftest.speed_m_s' holds {test.speed_m_s.min():g}; allowed is 0 or more; {FIX}")
