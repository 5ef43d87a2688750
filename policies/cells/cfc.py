"""CfC: closed-form continuous-time cells, dense, wired or of several rates, in the published forms and in `decay`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

import torch
from torch import Tensor, nn

from liquid_pilot.errors import ConfigError, unknown_name
from policies.cells.cell import Cell, check_sizes
from policies.cells.elapsed import count_on, since
from policies.cells.layer import CfCLayer
from policies.sequence import ENGINES, cfc_sequence
from policies.wirings import Wiring

__all__ = ["CfC", "CfCLayer"]

FIRED: Final = 0.5  # a trigger above this lets the slow layers advance


class CfC(Cell):
    """Neurons whose step over an elapsed time is written in closed form.

    Without a wiring: one layer with a backbone. With one: a layer for each of its layers, without a backbone, of which
    each sees the new state of the layer before it (x for the first) and its own old state. A slow layer of the wiring
    advances when x[trigger] > 0.5, by the time since it last did, and is held in between.

    form: "decay" (the exact step of dh/dt = (tanh(f) - h) / tau with f and tau frozen), "default", "no_gate", "pure"
    (published; with time_unit_s=1 those of the papers). recurrence: within a layer "full", as published, or "wired",
    by the synapses and a loop of each neuron onto itself. backbone_layers: None is 1, and 0 with a wiring.
    engine: of `policies.sequence`. State: the neurons in the order of flow; behind them, where there are slow layers,
    the seconds since those last advanced. Raises `ConfigError` for sizes and options that do not fit.
    """

    def __init__(
        self,
        inputs: int,
        units: int | None = None,
        *,
        wiring: Wiring | None = None,
        form: str = "decay",
        recurrence: str = "full",
        backbone_layers: int | None = None,
        backbone_units: int = 64,
        time_unit_s: float = 1.0,
        engine: str = "auto",
    ) -> None:
        if engine not in ENGINES:
            raise ConfigError(unknown_name("engine", engine, list(ENGINES)))
        check_wiring(inputs, units, wiring, recurrence, backbone_layers)
        sizes: tuple[int, ...] = wiring.layers if wiring is not None else (units or 0,)
        self.trigger = None if wiring is None else wiring.trigger
        clock = 0 if self.trigger is None else 1
        super().__init__(inputs, sum(sizes) + clock, sum(sizes) if wiring is None else wiring.outputs)
        self.units, self.sizes, self.engine = sum(sizes), sizes, engine
        self.wiring, self.recurrence, self.time_unit_s = wiring, recurrence, time_unit_s
        self.slow = (False,) if wiring is None else tuple(name in wiring.slow_layers for name in wiring.names)
        depth = backbone_layers if backbone_layers is not None else int(wiring is None)
        masks = [None] if wiring is None else [torch.as_tensor(mask) for mask in wiring.masks(recurrence)]
        layers = []
        for seen, size, mask in zip((inputs, *sizes), sizes, masks, strict=False):
            layers.append(CfCLayer(seen, size, form, depth, backbone_units, time_unit_s, mask))
        self.layers = nn.ModuleList(layers)

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.advance`."""
        features, following = x, []
        waited_s, fired = dt_s, None
        if self.trigger is not None:
            waited_s, fired = count_on(h[:, self.units :], dt_s, self.time_unit_s), x[:, self.trigger, None] > FIRED
        for layer, part, slow in self._parts(h):
            features = layer(features, part, waited_s if slow else dt_s)
            if slow and fired is not None:
                features = torch.where(fired, features, part)
            following.append(features)
        if fired is not None:
            following.append(torch.where(fired, 0.0, waited_s))
        return torch.cat(following, dim=1)

    def read(self, h: Tensor) -> Tensor:
        """The last `outputs` of the neurons: (..., state_width) -> (..., outputs)."""
        return h[..., self.units - self.outputs : self.units]

    def sequence(self, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `Cell.sequence`. Layer by layer, each of them over the whole sequence."""
        features, last = x, []
        waited_s, fired, clock = dt_s, mask, []
        if self.trigger is not None:
            fired = x[:, :, self.trigger] > FIRED
            if mask is not None:
                fired, dt_s = fired & mask, torch.where(mask, dt_s, 0.0)
            waited_s, elapsed_s = since(fired, dt_s, h[:, self.units :], self.time_unit_s)
            clock = [elapsed_s]
        for layer, part, slow in self._parts(h):
            timing = (waited_s, part, fired) if slow else (dt_s, part, mask)
            features, end = cfc_sequence(layer, features, *timing, engine=self.engine)
            last.append(end)
        return features[..., features.shape[2] - self.outputs :], torch.cat([*last, *clock], dim=1)

    def architecture(self) -> dict[str, object]:
        """See `Cell.architecture`."""
        spec, wiring = cast(CfCLayer, self.layers[0]).spec, self.wiring
        backbone = {"backbone_layers": spec.backbone_layers, "backbone_units": spec.backbone_units}
        wired = backbone if wiring is None else {"wiring": wiring.to_json(), "recurrence": self.recurrence}
        return super().architecture() | {"form": spec.form, "time_unit_s": spec.time_unit_s} | wired

    def _parts(self, h: Tensor) -> Iterator[tuple[CfCLayer, Tensor, bool]]:
        """Each layer, its part of the state and whether it is slow."""
        parts = h[:, : self.units].split(self.sizes, dim=1)
        yield from zip(cast("list[CfCLayer]", self.layers), parts, self.slow, strict=True)


def check_wiring(
    inputs: int, units: int | None, wiring: Wiring | None, recurrence: str, backbone_layers: int | None
) -> None:
    """Raise `ConfigError` where the arguments of a `CfC` contradict its wiring, or need one."""
    check_sizes(inputs=inputs)
    if isinstance(units, Wiring):
        raise ConfigError("units is a Wiring; give it by name, wiring=, and leave units out")
    if wiring is None:
        if units is None or recurrence != "full":
            raise ConfigError(
                f"units is {units!r}, recurrence {recurrence!r}, without a wiring; give units, or wiring="
            )
        check_sizes(units=units)
        return
    if not isinstance(wiring, Wiring):
        raise ConfigError(
            f"wiring is a {type(wiring).__name__}; give a Wiring, such as AutoNCP(inputs, units, outputs)"
        )
    if inputs != wiring.inputs or units not in (None, wiring.units):
        raise ConfigError(
            f"inputs is {inputs!r}, units {units!r}; the wiring has {wiring.inputs} inputs and {wiring.units} units; "
            "give those, or leave units out"
        )
    if backbone_layers:
        raise ConfigError(f"backbone_layers is {backbone_layers!r}; a wired cell has none, so leave it out")
