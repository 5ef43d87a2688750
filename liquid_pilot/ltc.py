"""LTC neurons onboard: the fused semi-implicit step in numpy, the twin of its C (`liquid_pilot.export.ltc`).

Liquid time-constant neurons with conductance synapses (Hasani et al., 2021). In each of `unfolds` parts d of dt:

    v' = v + d (I(v) - G(v) v) / (cm + d G(v))
    G(v) = gleak + sum w sigmoid(sigma (v - mu)) + the same of the inputs,  I(v): each of these times its erev

which is implicit where v enters linearly, so that v stays between vleak and the erev for any dt. Weights are those of
`policies.cells.ltc.LTC.weights`, conductances and cm positive. The cell is no form of a policy file: a policy's heads
are linear maps that are computed once a step, an LTC's synapses are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from liquid_pilot.cells import DT_LIMIT, VALUE_LIMIT
from liquid_pilot.errors import BundleError, ConfigError, MessageError
from liquid_pilot.forms import F32, sigmoid

MOST_UNITS: Final = 256
MOST_UNFOLDS: Final = 64
POSITIVE: Final = ("gleak", "cm")
NOT_NEGATIVE: Final = ("w", "sensory_w")
WEIGHT_LIMIT: Final = 1e4


@dataclass(frozen=True, slots=True)
class LtcSpec:
    """Sizes of an LTC cell; the last `outputs` of its neurons are shown. Raises `ConfigError`."""

    inputs: int
    units: int
    outputs: int
    unfolds: int
    time_unit_s: float

    def __post_init__(self) -> None:
        most = {"inputs": MOST_UNITS, "units": MOST_UNITS, "outputs": self.units, "unfolds": MOST_UNFOLDS}
        for name, high in most.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= high:
                raise ConfigError(f"LtcSpec.{name} is {value!r}; give a whole number from 1 to {high}")
        if not isinstance(self.time_unit_s, float) or not 1e-6 <= self.time_unit_s <= 1e3:
            raise ConfigError(f"LtcSpec.time_unit_s is {self.time_unit_s!r}; give 1e-6 to 1000 seconds")


def ltc_shapes(spec: LtcSpec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight; matrices are (sources, neurons)."""
    n, m = (spec.units,), (spec.inputs,)
    shapes: dict[str, tuple[int, ...]] = {name: n for name in ("gleak", "vleak", "cm")}
    shapes |= {name: n + n for name in ("w", "mu", "sigma", "erev")}
    shapes |= {f"sensory_{name}": m + n for name in ("w", "mu", "sigma", "erev")}
    return shapes | {"input_w": m, "input_b": m, "output_w": (spec.outputs,), "output_b": (spec.outputs,)}


def check_ltc(spec: LtcSpec, weights: Mapping[str, Any]) -> None:
    """Raise `BundleError` unless these are the weights: float32, finite, of sane size, conductances not negative."""
    shapes = ltc_shapes(spec)
    if set(weights) != set(shapes):
        raise BundleError(
            f"an LTC has the weights {sorted(shapes)}; these are {sorted(weights)}; give those of its cell"
        )
    for name, shape in shapes.items():
        value = weights[name]
        if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.shape != shape:
            raise BundleError(f"LTC weight {name!r} must be float32 of shape {shape}; give those of its cell")
        if not (np.abs(value) <= WEIGHT_LIMIT).all():
            raise BundleError(f"LTC weight {name!r} holds what is not finite or above {WEIGHT_LIMIT:g}; train it again")
        low = 1e-7 if name in POSITIVE else 0.0 if name in NOT_NEGATIVE else -np.inf
        if value.min() < low:
            raise BundleError(f"LTC weight {name!r} holds {value.min():g}; it must be at least {low:g}; train it again")


class LtcStep:
    """An LTC cell, stepped one event at a time. Raises `BundleError` if the weights are not those of the spec."""

    def __init__(self, spec: LtcSpec, weights: Mapping[str, F32]) -> None:
        check_ltc(spec, weights)
        self.spec = spec
        self._weights = {name: np.array(value) for name, value in weights.items()}

    def initial_state(self) -> F32:
        """Zeros, (units,)."""
        return np.zeros(self.spec.units, np.float32)

    def step(self, x: F32, v: F32, dt_s: float) -> tuple[F32, F32]:
        """x (inputs,), v (units,), seconds since the previous event -> shown (outputs,), v'.

        Input and state are cut to 1e6, the time to 1e9 time units; NaN passes through. Raises `MessageError` on a wrong
        shape or a dt_s that is negative or not a number.
        """
        spec, w = self.spec, self._weights
        if x.shape != (spec.inputs,) or v.shape != (spec.units,):
            raise MessageError(f"x has shape {x.shape} and v {v.shape}; give {(spec.inputs,)} and {(spec.units,)}")
        if not 0.0 <= dt_s:
            raise MessageError(f"dt_s is {dt_s!r}; give the seconds since the previous step, 0 or more")
        part = np.float32(min(dt_s / spec.time_unit_s, DT_LIMIT) / spec.unfolds)
        source = np.clip(x, -VALUE_LIMIT, VALUE_LIMIT) * w["input_w"] + w["input_b"]
        conductance, current = self._arriving("sensory_", source)
        conductance, current = conductance + w["gleak"], current + w["gleak"] * w["vleak"]
        v = np.clip(v, -VALUE_LIMIT, VALUE_LIMIT)
        for _ in range(spec.unfolds):
            own_conductance, own_current = self._arriving("", v)
            all_conductance, all_current = conductance + own_conductance, current + own_current
            v = v + part * (all_current - all_conductance * v) / (w["cm"] + part * all_conductance)
        shown: F32 = v[spec.units - spec.outputs :] * w["output_w"] + w["output_b"]
        return shown, v

    def _arriving(self, kind: str, source: F32) -> tuple[F32, F32]:
        """Conductance and current that arrive at each neuron, (units,) each."""
        w, mu, sigma, erev = (self._weights[f"{kind}{name}"] for name in ("w", "mu", "sigma", "erev"))
        above: F32 = np.multiply(sigma, np.subtract(source[:, None], mu), dtype=np.float32)
        conductance = w * sigmoid(above)
        return conductance.sum(axis=0), (conductance * erev).sum(axis=0)
