"""The policy network: backbone, liquid cell, linear readout, tanh. One step, and sequences of steps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from liquid_pilot.bundle import Bundle
from liquid_pilot.cells import FORMS, CellSpec
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.observation import OBS_DIM
from policies.cells.forms import Backbone, make_cell

READOUT_GAIN = 0.3  # a small first readout: an untrained policy asks for hover thrust and no rotation


class PolicyNetwork(nn.Module):
    """x (B, inputs), h (B, units), dt_s (B,) -> action (B, outputs) in (-1, 1), h' (B, units).

    The state of a memoryless network (`mlp`) is (B, 0).
    """

    def __init__(self, spec: CellSpec, seed: int = 0) -> None:
        super().__init__()
        self.spec = spec
        self.joined = spec.form != "mlp" and not FORMS[spec.form].recurrent  # the backbone sees the state too
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            width = spec.inputs + (spec.units if self.joined else 0)
            self.backbone = Backbone(width, spec.backbone_layers, spec.backbone_units)
            width = self.backbone.width
            self.cell = None if spec.form == "mlp" else make_cell(spec, width)
            self.readout = nn.Linear(width if self.cell is None else spec.units, spec.outputs)
        with torch.no_grad():
            self.readout.weight.mul_(READOUT_GAIN)
            self.readout.bias.zero_()

    def initial_state(self, batch: int) -> Tensor:
        """Zeros, (B, units)."""
        return torch.zeros((batch, self.spec.units), dtype=self.readout.weight.dtype)

    def features(self, x: Tensor, h: Tensor) -> Tensor:
        """Backbone output of [x; h], or of x alone for cells that take the state by themselves."""
        features: Tensor = self.backbone(torch.cat([x, h], dim=1) if self.joined else x)
        return features

    def step(self, x: Tensor, h: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """One event. dt_s: (B,) seconds since the previous one. Raises `ConfigError` on wrong shapes."""
        if x.ndim != 2 or h.shape != (x.shape[0], self.spec.units) or dt_s.shape != (x.shape[0],):
            raise ConfigError(
                f"step got x {tuple(x.shape)}, h {tuple(h.shape)}, dt_s {tuple(dt_s.shape)}; "
                f"give (B, {self.spec.inputs}), (B, {self.spec.units}), (B,)"
            )
        z = self.features(x, h)
        if self.cell is not None:
            h = self.cell(z, h, (dt_s / self.spec.time_unit_s).to(z.dtype)[:, None])
            z = h
        return self.act(z), h

    def act(self, read: Tensor) -> Tensor:
        """Actions of states (..., units), or of the features of a memoryless network."""
        return torch.tanh(self.readout(read))

    def forward(
        self, x: Tensor, dt_s: Tensor, h: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A sequence. x: (B, T, inputs), dt_s: (B, T) -> actions (B, T, outputs), last state (B, units).

        mask: (B, T) bool; where it is False there is no event: the state is kept, the action means nothing.
        """
        if x.ndim != 3 or dt_s.shape != x.shape[:2] or (mask is not None and mask.shape != dt_s.shape):
            raise ConfigError(
                f"forward got x {tuple(x.shape)}, dt_s {tuple(dt_s.shape)} and mask "
                f"{None if mask is None else tuple(mask.shape)}; give (B, T, {self.spec.inputs}), (B, T) and (B, T)"
            )
        from policies.sequence.network import network_sequence

        return network_sequence(self, x, dt_s, self.initial_state(x.shape[0]) if h is None else h, mask)

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Weights by their bundle names, float32."""
        return {
            name.removeprefix("cell."): value.detach().to(torch.float32).numpy().copy()
            for name, value in self.state_dict().items()
        }

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> PolicyNetwork:
        """The network of a policy file, ready to step."""
        network = cls(bundle.spec)
        own = network.state_dict()
        state = {name: torch.from_numpy(bundle.weights[name.removeprefix("cell.")].copy()) for name in own}
        network.load_state_dict(state)
        return network


BACKBONE_UNITS = {"decay": 32, "default": 21, "no_gate": 21, "pure": 32}  # about as many parameters each
GRU_UNITS = 20  # without a backbone, as it is published; 19 neurons would be 7 % short of parameters


def hover_spec(form: str, time_unit_s: float = 0.015) -> CellSpec:
    """The shipped sizes: 19 neurons, and a GRU and a memoryless MLP of as many parameters. Raises `ConfigError`."""
    if form == "gru":
        return CellSpec("gru", OBS_DIM, GRU_UNITS, 4, 0, 1, time_unit_s)
    if form == "mlp":
        return CellSpec("mlp", OBS_DIM, 0, 4, 2, 40, time_unit_s)
    if form not in BACKBONE_UNITS:
        raise ConfigError(unknown_name("cell", form, [*BACKBONE_UNITS, "gru", "mlp"]))
    return CellSpec(form, OBS_DIM, 19, 4, 1, BACKBONE_UNITS[form], time_unit_s)
