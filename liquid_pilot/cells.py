"""Liquid cells in numpy: the one network step that flies.

Published CfC forms: Hasani et al., "Closed-form continuous-time neural networks" (2022). `decay` is the
exact step of dh/dt = (tanh(f) - h) / tau over dt with f and tau frozen: identity at dt = 0, |h| <= 1 for
every input and every dt. `gru` (Cho et al., 2014, with the gates of PyTorch) is a rival that knows dt only as an
input. Weight names and shapes are declared here and shared with the trainer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import BundleError, ConfigError, MessageError, unknown_name

F32: TypeAlias = npt.NDArray[np.float32]
Heads: TypeAlias = tuple[F32, ...]  # linear maps of the backbone's output, then of the state, (units,) each
Vectors: TypeAlias = tuple[F32, ...]  # parameters that belong to a neuron, (units,) each

LECUN_GAIN: Final = 1.7159  # backbone activation: LECUN_GAIN * tanh(LECUN_SLOPE * u), as published
LECUN_SLOPE: Final = 0.666
VALUE_LIMIT: Final = 1e6  # inputs and state enter cut to this; with WEIGHT_LIMIT no float32 sum can overflow
WEIGHT_LIMIT: Final = 1e6  # a larger weight is refused; trained ones stay below 100
DT_LIMIT: Final = 1e9  # elapsed time in time units enters cut to this
RATE_FLOOR: Final = 1e-12  # slowest rate (per time unit) that `time_constants` reports as a number


def softplus(x: F32) -> F32:
    """log(1 + exp(x)) for any x, without overflow and, unlike `np.logaddexp`, without a warning for NaN."""
    result: F32 = np.maximum(x, np.float32(0.0)) + np.log1p(np.exp(-np.abs(x)))
    return result


def sigmoid(x: F32) -> F32:
    """1 / (1 + exp(-x)) for any finite x, by tanh because that cannot overflow."""
    result: F32 = np.tanh(x * np.float32(0.5)) * np.float32(0.5) + np.float32(0.5)
    return result


def decay(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """h' = h e + (1 - e) tanh(f), e = exp(-dt softplus(r)). dt in time units."""
    target, rate = heads
    keep = np.exp(softplus(rate) * np.float32(-dt))
    updated: F32 = h * keep + (np.float32(1.0) - keep) * np.tanh(target)
    return updated


def decay_time_constant(heads: Heads, vectors: Vectors) -> F32:
    """Time constant of each neuron of `decay`, in time units, (n,)."""
    constant: F32 = np.float32(1.0) / np.maximum(softplus(heads[1]), np.float32(RATE_FLOOR))
    return constant


def default(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """Published gated form: h' = tanh(f1) (1 - s) + s tanh(f2), s = sigmoid(ta dt + tb)."""
    ff1, ff2, time_a, time_b = heads
    gate = sigmoid(time_a * np.float32(dt) + time_b)
    updated: F32 = np.tanh(ff1) * (np.float32(1.0) - gate) + gate * np.tanh(ff2)
    return updated


def no_gate(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """Published additive form: h' = tanh(f1) + s tanh(f2), s = sigmoid(ta dt + tb)."""
    ff1, ff2, time_a, time_b = heads
    updated: F32 = np.tanh(ff1) + sigmoid(time_a * np.float32(dt) + time_b) * np.tanh(ff2)
    return updated


def pure(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """Published solution form: h' = -a exp(-dt (|w_tau| + |u|)) u + a."""
    (u,), (w_tau, a) = heads, vectors
    kept: F32 = np.exp((np.abs(w_tau) + np.abs(u)) * np.float32(-dt))
    updated: F32 = np.subtract(a, a * kept * u)
    return updated


def gru(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """Gated recurrent unit: h' = (1 - u) tanh(nx + r nh) + u h, r = sigmoid(rx + rh), u = sigmoid(ux + uh)."""
    reset_x, update_x, new_x, reset_h, update_h, new_h = heads
    update = sigmoid(update_x + update_h)
    new = np.tanh(new_x + sigmoid(reset_x + reset_h) * new_h)
    updated: F32 = (np.float32(1.0) - update) * new + update * h
    return updated


def memoryless(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """The empty state of a network without neurons that remember."""
    updated: F32 = h.copy()
    return updated


@dataclass(frozen=True, slots=True)
class Form:
    """A cell form: `update(heads, vectors, h, dt) -> h'`, and the names of its weights.

    heads: linear maps, each a `NAME.weight` and a `NAME.bias`. recurrent: more of them, of the state alone;
    the backbone of such a form sees x alone. vectors: parameters of shape (units,). time_constant: of each
    neuron in time units, where the form has one.
    """

    update: Callable[[Heads, Vectors, F32, float], F32]
    heads: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    time_constant: Callable[[Heads, Vectors], F32] | None = None
    recurrent: tuple[str, ...] = ()


_GATED: Final = ("ff1", "ff2", "time_a", "time_b")
FORMS: Final[dict[str, Form]] = {
    "decay": Form(decay, ("target", "rate"), time_constant=decay_time_constant),
    "default": Form(default, _GATED),
    "no_gate": Form(no_gate, _GATED),
    "pure": Form(pure, ("ff1",), ("w_tau", "a")),
    "gru": Form(gru, ("reset_x", "update_x", "new_x"), recurrent=("reset_h", "update_h", "new_h")),
    "mlp": Form(memoryless),
}

_SIZES: Final = {  # field of CellSpec: smallest and largest value
    "inputs": (1, 4096),
    "units": (0, 1024),
    "outputs": (1, 64),
    "backbone_layers": (0, 8),
    "backbone_units": (1, 1024),
}


@dataclass(frozen=True, slots=True)
class CellSpec:
    """Form and sizes of a network. `units` neurons hold its state; 0 for the memoryless `mlp` alone.

    time_unit_s: elapsed time enters the formulas as dt_s / time_unit_s. Raises `ConfigError`.
    """

    form: str
    inputs: int
    units: int
    outputs: int
    backbone_layers: int
    backbone_units: int
    time_unit_s: float

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ConfigError(unknown_name("cell form", self.form, list(FORMS)))
        for name, (low, high) in _SIZES.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(f"CellSpec.{name} is {value!r}; give a whole number from {low} to {high}")
        if (self.units == 0) != (self.form == "mlp"):
            raise ConfigError(
                f"a cell of form {self.form!r} has {self.units} units; give 0 for 'mlp' and at least 1 for other forms"
            )
        unit: Any = self.time_unit_s
        if isinstance(unit, bool) or not isinstance(unit, (int, float)) or not 1e-6 <= unit <= 1e3:
            raise ConfigError(f"CellSpec.time_unit_s is {unit!r}; give 1e-6 to 1000 seconds (about 0.015 in flight)")


def weight_shapes(spec: CellSpec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of a network; matrices are (out, in)."""
    form = FORMS[spec.form]
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, rows: int, columns: int) -> int:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (rows, columns), (rows,)
        return rows

    width = spec.inputs + (0 if form.recurrent else spec.units)
    for k in range(spec.backbone_layers):
        width = linear(f"backbone.{k}", spec.backbone_units, width)
    for head in form.heads:
        linear(head, spec.units, width)
    for name in form.recurrent:
        linear(name, spec.units, spec.units)
    for vector in form.vectors:
        shapes[vector] = (spec.units,)
    linear("readout", spec.outputs, spec.units or width)
    return shapes


def check_weights(spec: CellSpec, weights: Mapping[str, Any]) -> None:
    """Raise `BundleError` unless these are exactly the weights of the spec: float32, finite, of sane size."""
    shapes = weight_shapes(spec)
    missing, extra = sorted(set(shapes) - set(weights)), sorted(set(weights) - set(shapes))
    if missing or extra:
        raise BundleError(
            f"weights missing {missing}, not known {extra}; a {spec.form!r} cell of this size has {sorted(shapes)}; "
            "export the policy again"
        )
    for name, shape in shapes.items():
        value = weights[name]
        if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.shape != shape:
            found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            raise BundleError(f"weight {name!r} is {found}; it must be float32 {shape}; export the policy again")
        if not np.isfinite(value).all():
            raise BundleError(
                f"weight {name!r} holds NaN or infinity; every weight must be finite; choose a checkpoint from before "
                "training diverged"
            )
        if np.abs(value).max(initial=0.0) > WEIGHT_LIMIT:
            raise BundleError(
                f"weight {name!r} holds {np.abs(value).max():g}; the largest allowed is {WEIGHT_LIMIT:g}; choose a "
                "checkpoint from before training diverged"
            )


def _with_bias(weight: F32, bias: F32, columns: float, rows: float) -> F32:
    """[columns * W, b] * rows as one float32 matrix, for an input that ends with a 1."""
    joined = np.concatenate([weight.astype(np.float64) * columns, bias.astype(np.float64)[:, None]], axis=1)
    return np.ascontiguousarray(joined * rows, dtype=np.float32)


def _input_of_ones(width: int) -> F32:
    return np.ones(width + 1, dtype=np.float32)


class Network:
    """A policy network in numpy, stepped one event at a time. Not to be shared between threads.

    Biases and the constants of the backbone's activation are folded into the matrices, and the heads
    of the cell into one, all once; a step then is one small matrix product per layer.
    Raises `BundleError` if the weights are not those of the spec.
    """

    def __init__(self, spec: CellSpec, weights: Mapping[str, F32]) -> None:
        check_weights(spec, weights)
        self.spec = spec
        self._form = FORMS[spec.form]
        joined = 0 if self._form.recurrent else spec.units  # the state stands in z, or by itself
        self._z = _input_of_ones(spec.inputs + joined)
        self._state = _input_of_ones(spec.units)
        self._x_part = self._z[: spec.inputs]
        self._h_part = self._state[:-1] if self._form.recurrent else self._z[spec.inputs : -1]
        self._x_shape, self._h_shape = (spec.inputs,), (spec.units,)
        self._high, self._low = np.float32(VALUE_LIMIT), np.float32(-VALUE_LIMIT)
        self._layers: list[tuple[F32, F32, F32]] = []  # matrix, its input, where its tanh goes
        features, gain = self._z, 1.0
        for k in range(spec.backbone_layers):
            following = _input_of_ones(spec.backbone_units)
            name = f"backbone.{k}"
            matrix = _with_bias(weights[f"{name}.weight"], weights[f"{name}.bias"], gain, LECUN_SLOPE)
            self._layers.append((matrix, features, following[:-1]))
            features, gain = following, LECUN_GAIN
        self._features = features
        self._head_matrix, self._head_out, of_features = self._stack(weights, self._form.heads, len(features), gain)
        self._state_matrix, self._state_out, of_state = self._stack(
            weights, self._form.recurrent, len(self._state), 1.0
        )
        self._heads = of_features + of_state
        self._vectors = tuple(np.array(weights[n], np.float32) for n in self._form.vectors)
        memory = spec.units > 0
        self._readout = _with_bias(weights["readout.weight"], weights["readout.bias"], 1.0 if memory else gain, 1.0)
        self._read = _input_of_ones(spec.units) if memory else features
        self._read_h = self._read[: spec.units]

    def _stack(
        self, weights: Mapping[str, F32], names: tuple[str, ...], columns: int, gain: float
    ) -> tuple[F32, F32, Heads]:
        """(matrix of all these heads, where its product goes, the heads as views of that)."""
        maps = [_with_bias(weights[f"{n}.weight"], weights[f"{n}.bias"], gain, 1.0) for n in names]
        matrix = np.concatenate(maps) if maps else np.zeros((0, columns), np.float32)
        out, units = np.zeros(len(matrix), np.float32), self.spec.units
        return matrix, out, tuple(out[i * units : (i + 1) * units] for i in range(len(maps)))

    def initial_state(self) -> F32:
        """State at the start of a flight: zeros, (units,)."""
        return np.zeros(self._h_shape, dtype=np.float32)

    def step(self, x: F32, h: F32, dt_s: float) -> tuple[F32, F32]:
        """One event: x (inputs,), h (units,), seconds since the previous one -> action (outputs,), h' (units,).

        The action lies in [-1, 1]. Both results are new arrays. Finite input gives finite output; NaN
        passes through, so that the caller can see it. Raises `MessageError` on a wrong shape or on a
        dt_s that is negative or not a number.
        """
        if not 0.0 <= dt_s:
            raise MessageError(f"dt_s is {dt_s!r}; give the seconds since the previous step, 0 or more")
        self._set_input(x, h)
        dt = min(dt_s / self.spec.time_unit_s, DT_LIMIT)
        updated = self._form.update(self._heads, self._vectors, self._h_part, dt)
        self._read_h[...] = updated
        action: F32 = np.dot(self._readout, self._read)
        np.tanh(action, out=action)
        return action, updated

    def time_constants(self, x: F32, h: F32) -> F32:
        """Time constant of each neuron in seconds for this input, (units,); (0,) for forms that have none."""
        if self._form.time_constant is None:
            return np.zeros(0, dtype=np.float32)
        self._set_input(x, h)
        constants: F32 = self._form.time_constant(self._heads, self._vectors) * np.float32(self.spec.time_unit_s)
        return constants

    def _set_input(self, x: F32, h: F32) -> None:
        """Backbone and heads of [x; h], into the buffers."""
        if x.shape != self._x_shape or h.shape != self._h_shape:
            raise MessageError(f"x has shape {x.shape} and h {h.shape}; give {self._x_shape} and {self._h_shape}")
        z = self._z
        self._x_part[...] = x
        self._h_part[...] = h
        np.minimum(z, self._high, out=z)
        np.maximum(z, self._low, out=z)
        for matrix, features, following in self._layers:
            np.tanh(np.dot(matrix, features), out=following)
        np.dot(self._head_matrix, self._features, out=self._head_out)
        if self._form.recurrent:
            np.clip(self._state, self._low, self._high, out=self._state)
            np.dot(self._state_matrix, self._state, out=self._state_out)


def parameters(spec: CellSpec) -> int:
    """Number of weights."""
    return sum(math.prod(shape) for shape in weight_shapes(spec).values())
