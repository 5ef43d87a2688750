"""What a network's step computes, in order: the products and the neurons that follow them, from a spec and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from liquid_pilot.cells import F32, FORMS, LECUN_GAIN, LECUN_SLOPE, CellSpec, check_weights
from liquid_pilot.export.products import Affine, joined
from liquid_pilot.export.sight import Sight
from liquid_pilot.wiring import LAYERS


@dataclass(frozen=True, slots=True)
class Stage:
    """Neurons that step together. Names are those of C tables.

    seen: how many numbers come from outside the neurons, before their own state in z unless `apart`. backbone: products
    with a tanh after them. heads, recurrent: joined products; recurrent is of the state alone. vectors: parameters.
    """

    name: str
    seen: int
    units: int
    apart: bool
    backbone: tuple[Affine, ...]
    heads: Affine | None
    recurrent: Affine | None
    vectors: dict[str, F32]


@dataclass(frozen=True, slots=True)
class Plan:
    """A network. readout: a product; motor: factor and shift of each motor neuron of a wired one, in its place.

    sight: what precedes it where it sees, once a flow grid.
    """

    spec: CellSpec
    stages: tuple[Stage, ...]
    readout: Affine | None
    motor: tuple[F32, F32] | None
    sight: Sight | None = None

    @property
    def products(self) -> list[Affine]:
        """All of a step."""
        found = [p for stage in self.stages for p in (*stage.backbone, stage.heads, stage.recurrent) if p is not None]
        return found if self.readout is None else [*found, self.readout]


def make_plan(spec: CellSpec, weights: Mapping[str, F32]) -> Plan:
    """The plan of a network. Raises `BundleError` if the weights are not those of the spec."""
    check_weights(spec, weights)
    plan = _wired(spec, weights) if spec.wiring is not None else _dense(spec, weights)
    if spec.encoder is None:
        return plan
    return replace(plan, sight=Sight(spec.encoder, (_affine(weights, "encoder.0"), _affine(weights, "encoder.1"))))


def _affine(weights: Mapping[str, F32], name: str, gain: float = 1.0, slope: float = 1.0) -> Affine:
    """slope * (gain W x + b)."""
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    both = np.full(len(weight), gain * slope, np.float32)
    return Affine(weight, (bias.astype(np.float64) * slope).astype(np.float32), both)


def _dense(spec: CellSpec, weights: Mapping[str, F32]) -> Plan:
    form, gain, backbone = FORMS[spec.form], 1.0, []
    for k in range(spec.backbone_layers):
        backbone.append(_affine(weights, f"backbone.{k}", gain, LECUN_SLOPE))
        gain = LECUN_GAIN
    heads = [_affine(weights, name, gain) for name in form.heads]
    recurrent = [_affine(weights, name) for name in form.recurrent]
    stage = Stage(
        name="cell",
        seen=spec.inputs,
        units=spec.units,
        apart=bool(form.recurrent),
        backbone=tuple(backbone),
        heads=joined(heads) if heads else None,
        recurrent=joined(recurrent) if recurrent else None,
        vectors={name: weights[name] for name in form.vectors},
    )
    return Plan(spec, (stage,), _affine(weights, "readout", 1.0 if spec.units else gain), None)


def _wired(spec: CellSpec, weights: Mapping[str, F32]) -> Plan:
    assert spec.wiring is not None
    form, stages, seen = FORMS[spec.form], [], spec.inputs
    for layer, size in zip(LAYERS, spec.wiring.sizes, strict=True):
        heads = joined([_affine(weights, f"{layer}.{head}") for head in form.heads])
        vectors = {name: weights[f"{layer}.{name}"] for name in form.vectors}
        stages.append(Stage(layer, seen, size, False, (), heads, None, vectors))
        seen = size
    return Plan(spec, tuple(stages), None, (weights["readout.weight"], weights["readout.bias"]))
