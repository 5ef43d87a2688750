"""Form and sizes of a cell, and the names, shapes and checks of its weights, shared with the trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from liquid_pilot.errors import BundleError, ConfigError, unknown_name
from liquid_pilot.forms import FORMS
from liquid_pilot.wiring import LAYERS, CellWiring, Mask

if TYPE_CHECKING:
    from liquid_pilot.encoder import EncoderSpec

WEIGHT_LIMIT: Final = 1e6  # a larger weight is refused; trained ones stay below 100
WIRED_FORMS: Final = tuple(name for name, form in FORMS.items() if form.heads and not form.recurrent)
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

    time_unit_s: elapsed time enters the formulas as dt_s / time_unit_s. wiring: of the neurons, if they are wired; the
    motor neurons then are the outputs, each scaled and shifted, and there is no backbone. encoder: of a flow grid; its
    features are the last inputs, see `liquid_pilot.encoder`. Raises `ConfigError`.
    """

    form: str
    inputs: int
    units: int
    outputs: int
    backbone_layers: int
    backbone_units: int
    time_unit_s: float
    wiring: CellWiring | None = None
    encoder: EncoderSpec | None = None

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
        if self.wiring is not None:
            self._check_wiring(self.wiring)
        if self.encoder is not None and self.inputs <= self.encoder.features:
            raise ConfigError(
                f"a cell of {self.inputs} inputs behind an encoder of {self.encoder.features} features; the features "
                "are the last inputs: give more inputs"
            )

    def _check_wiring(self, wiring: CellWiring) -> None:
        if self.form in WIRED_FORMS and not self.backbone_layers:
            told = (self.inputs, self.units, self.outputs)
            drawn = (wiring.inputs, sum(wiring.sizes), wiring.sizes[-1])
            if told == drawn:
                return
            raise ConfigError(
                f"the cell has {told} inputs, units, outputs; its wiring {drawn} inputs, neurons, motor neurons; "
                "give the same numbers"
            )
        raise ConfigError(
            f"a wiring for a cell of form {self.form!r} with {self.backbone_layers} backbone layers; "
            f"give it to one of: {', '.join(WIRED_FORMS)}; without a backbone, which would join what it keeps apart"
        )

    @property
    def state_width(self) -> int:
        """Numbers in the state h of the network: `units`, or twice as many for `lstm`, whose state is [h; c]."""
        return FORMS[self.form].state * self.units


def weight_shapes(spec: CellSpec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of a network; matrices are (out, in).

    Names of a wired cell begin with their layer; its readout is a factor and a shift for each motor neuron.
    """
    form = FORMS[spec.form]
    shapes: dict[str, tuple[int, ...]] = {}
    encoder = {} if spec.encoder is None else spec.encoder.shapes  # last

    def linear(name: str, rows: int, columns: int) -> int:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (rows, columns), (rows,)
        return rows

    if spec.wiring is not None:
        width, layers = spec.inputs, tuple(zip(LAYERS, spec.wiring.sizes, strict=True))
        for layer, size in layers:
            for head in form.heads:
                linear(f"{layer}.{head}", size, width + size)
            width = size
        shapes |= {f"{layer}.{vector}": (size,) for vector in form.vectors for layer, size in layers}
        return shapes | {"readout.weight": (spec.outputs,), "readout.bias": (spec.outputs,)} | encoder
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
    return shapes | encoder


def weight_masks(spec: CellSpec) -> dict[str, Mask]:
    """For every matrix of a wired cell, time gates included, True where a synapse lives; empty without a wiring."""
    masks = {} if spec.wiring is None else spec.wiring.masks
    return {f"{layer}.{head}.weight": mask for layer, mask in masks.items() for head in FORMS[spec.form].heads}


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
    for name, mask in weight_masks(spec).items():
        astray = np.argwhere((weights[name] != 0.0) & ~mask)
        if len(astray):
            row, column = astray[0].tolist()
            raise BundleError(
                f"weight {name!r} holds {weights[name][row, column]:g} at [{row}, {column}], where the wiring has no "
                "synapse; every weight without one must be 0; export the policy again"
            )


def parameters(spec: CellSpec) -> int:
    """Number of weights; of a wired cell those of live synapses alone."""
    dead = sum(int((~mask).sum()) for mask in weight_masks(spec).values())
    return sum(math.prod(shape) for shape in weight_shapes(spec).values()) - dead
