"""Liquid cells in numpy: the one network step that flies.

The equations stand in `liquid_pilot.forms`; names and shapes of the weights, shared with the trainer, in
`liquid_pilot.cell_spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from liquid_pilot.cell_spec import CellSpec, check_weights, parameters, weight_masks, weight_shapes
from liquid_pilot.errors import MessageError
from liquid_pilot.forms import F32, FORMS, Heads, Vectors
from liquid_pilot.wiring import LAYERS, CellWiring

__all__ = [
    "DT_LIMIT",
    "F32",
    "FORMS",
    "CellSpec",
    "Network",
    "check_weights",
    "parameters",
    "weight_masks",
    "weight_shapes",
]

LECUN_GAIN: Final = 1.7159  # backbone activation: LECUN_GAIN * tanh(LECUN_SLOPE * u), as published
LECUN_SLOPE: Final = 0.666
VALUE_LIMIT: Final = np.float32(
    1e6
)  # inputs and state enter cut to this; with WEIGHT_LIMIT no float32 sum can overflow
DT_LIMIT: Final = 1e9  # elapsed time in time units enters cut to this


def _with_bias(weight: F32, bias: F32, columns: float, rows: float) -> F32:
    """[columns * W, b] * rows as one float32 matrix, for an input that ends with a 1."""
    joined = np.concatenate([weight.astype(np.float64) * columns, bias.astype(np.float64)[:, None]], axis=1)
    return np.ascontiguousarray(joined * rows, dtype=np.float32)


def _input_of_ones(width: int) -> F32:
    return np.ones(width + 1, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Product:
    """out = matrix features, where features ends with a 1."""

    matrix: F32
    features: F32
    out: F32


@dataclass(frozen=True, slots=True)
class _Stage:
    """Neurons that step together. Every array is a buffer of its own or a view of one.

    entered: buffers of what enters, seen and own: the places in them of what comes from elsewhere and of the neurons'
    own state. following: where the next stage, or the readout, finds what the neurons show.
    """

    entered: tuple[F32, ...]
    seen: F32
    own: F32
    backbone: tuple[_Product, ...]
    maps: tuple[_Product, ...]
    heads: Heads
    vectors: Vectors
    following: F32

    def fill(self) -> None:
        """The heads of what has entered."""
        for buffer in self.entered:
            np.minimum(buffer, VALUE_LIMIT, out=buffer)
            np.maximum(buffer, -VALUE_LIMIT, out=buffer)
        for layer in self.backbone:
            np.tanh(np.dot(layer.matrix, layer.features), out=layer.out)
        for part in self.maps:
            np.dot(part.matrix, part.features, out=part.out)


def _heads(
    weights: Mapping[str, F32], names: list[str], features: F32, gain: float, units: int
) -> tuple[_Product, Heads]:
    """One product for all these heads, and the heads as views of its result. units: rows of each."""
    maps = []
    for name in names:
        weight = weights[f"{name}.weight"]
        beyond = len(features) - 1 - weight.shape[1]  # of a state of several vectors a head sees the first
        maps.append(_with_bias(np.pad(weight, ((0, 0), (0, beyond))), weights[f"{name}.bias"], gain, 1.0))
    matrix = np.concatenate(maps) if maps else np.zeros((0, len(features)), np.float32)
    out = np.zeros(len(matrix), np.float32)
    return _Product(matrix, features, out), tuple(out[i * units : (i + 1) * units] for i in range(len(maps)))


def _dense(spec: CellSpec, weights: Mapping[str, F32]) -> tuple[tuple[_Stage, ...], _Product]:
    """The one stage of a network without a wiring, and its readout."""
    form, units, width = FORMS[spec.form], spec.units, spec.state_width
    apart = bool(form.recurrent)  # the state stands by itself, not in z
    z = _input_of_ones(spec.inputs + (0 if apart else width))
    state = _input_of_ones(width) if apart else z[spec.inputs :]
    features, gain, backbone = z, 1.0, []
    for k in range(spec.backbone_layers):
        following = _input_of_ones(spec.backbone_units)
        name = f"backbone.{k}"
        matrix = _with_bias(weights[f"{name}.weight"], weights[f"{name}.bias"], gain, LECUN_SLOPE)
        backbone.append(_Product(matrix, features, following[:-1]))
        features, gain = following, LECUN_GAIN
    of_features, heads = _heads(weights, list(form.heads), features, gain, units)
    of_state, more = _heads(weights, list(form.recurrent), state, 1.0, units)
    vectors = tuple(np.array(weights[name], np.float32) for name in form.vectors)
    read, gain = (_input_of_ones(units), 1.0) if units else (features, gain)
    readout = _with_bias(weights["readout.weight"], weights["readout.bias"], gain, 1.0)
    stage = _Stage(
        entered=(z, state) if apart else (z,),
        seen=z[: spec.inputs],
        own=state[:-1],
        backbone=tuple(backbone),
        maps=(of_features, of_state) if apart else (of_features,),
        heads=heads + more,
        vectors=vectors,
        following=read[:units],
    )
    return (stage,), _Product(readout, read, np.zeros(spec.outputs, np.float32))


def _wired(spec: CellSpec, weights: Mapping[str, F32], wiring: CellWiring) -> tuple[tuple[_Stage, ...], _Product]:
    """A stage for each layer, which hears the new state of the one before, and the readout of the motor neurons."""
    form, sizes = FORMS[spec.form], wiring.sizes
    buffers = [_input_of_ones(seen + size) for seen, size in zip((spec.inputs, *sizes), sizes, strict=False)]
    read = _input_of_ones(spec.outputs)
    stages = []
    for k, (layer, size) in enumerate(zip(LAYERS, sizes, strict=True)):
        z = buffers[k]
        product, heads = _heads(weights, [f"{layer}.{head}" for head in form.heads], z, 1.0, size)
        vectors = tuple(np.array(weights[f"{layer}.{name}"], np.float32) for name in form.vectors)
        following = buffers[k + 1][:size] if layer != LAYERS[-1] else read[:-1]
        stages.append(_Stage((z,), z[: -1 - size], z[-1 - size : -1], (), (product,), heads, vectors, following))
    readout = _with_bias(np.diag(weights["readout.weight"]), weights["readout.bias"], 1.0, 1.0)
    return tuple(stages), _Product(readout, read, np.zeros(spec.outputs, np.float32))


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
        self._x_shape, self._h_shape = (spec.inputs,), (spec.state_width,)
        if spec.wiring is None:
            self._stages, self._readout = _dense(spec, weights)
        else:
            self._stages, self._readout = _wired(spec, weights, spec.wiring)

    @property
    def core(self) -> str:
        """What computes: see `liquid_pilot.stepper`."""
        return "numpy"

    def initial_state(self) -> F32:
        """State at the start of a flight: zeros, (state_width,)."""
        return np.zeros(self._h_shape, dtype=np.float32)

    def step(self, x: F32, h: F32, dt_s: float) -> tuple[F32, F32]:
        """One event: x (inputs,), h (state_width,), seconds since the previous one -> action (outputs,), h'.

        The action lies in [-1, 1]. Both results are new arrays. Finite input gives finite output; NaN
        passes through, so that the caller can see it. Raises `MessageError` on a wrong shape or on a
        dt_s that is negative or not a number.
        """
        if not 0.0 <= dt_s:
            raise MessageError(f"dt_s is {dt_s!r}; give the seconds since the previous step, 0 or more")
        self._enter(x, h)
        dt = min(dt_s / self.spec.time_unit_s, DT_LIMIT)
        parts = []
        for stage in self._stages:
            stage.fill()
            updated = self._form.update(stage.heads, stage.vectors, stage.own, dt)
            stage.following[...] = updated[: len(stage.following)]
            parts.append(updated)
        action: F32 = np.dot(self._readout.matrix, self._readout.features)
        np.tanh(action, out=action)
        return action, parts[0] if len(parts) == 1 else np.concatenate(parts)

    def time_constants(self, x: F32, h: F32) -> F32:
        """Time constant of each neuron in seconds for this input, (units,); (0,) for forms that have none."""
        if self._form.time_constant is None:
            return np.zeros(0, dtype=np.float32)
        self._enter(x, h)
        parts, before = [], None
        for stage in self._stages:
            if before is not None:
                stage.seen[...] = before.own  # in no time the layer before keeps its state
            stage.fill()
            parts.append(self._form.time_constant(stage.heads, stage.vectors))
            before = stage
        constants: F32 = np.concatenate(parts) * np.float32(self.spec.time_unit_s)
        return constants

    def _enter(self, x: F32, h: F32) -> None:
        """x and h, into the buffers."""
        if x.shape != self._x_shape or h.shape != self._h_shape:
            raise MessageError(f"x has shape {x.shape} and h {h.shape}; give {self._x_shape} and {self._h_shape}")
        self._stages[0].seen[...] = x
        start = 0
        for stage in self._stages:
            stage.own[...] = h[start : start + len(stage.own)]
            start += len(stage.own)
