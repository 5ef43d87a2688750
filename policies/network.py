"""The policy network: backbone, liquid cell, linear readout, tanh. One step, and sequences of steps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from liquid_pilot.bundle import Bundle
from liquid_pilot.cells import FORMS, CellSpec, weight_masks
from liquid_pilot.encoder import FEATURES, EncoderSpec
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.flow_grid import GridLayout
from liquid_pilot.observation import OBS_DIM, SIGHT_DIM
from policies.cells.forms import Backbone, make_cell
from policies.cells.wired import MotorReadout, Wired
from policies.wirings.flown import flown_wiring

READOUT_GAIN = 0.3  # a small first readout: an untrained policy asks for hover thrust and no rotation


class GridEncoder(nn.ModuleList):
    """Of a flow grid, see `liquid_pilot.encoder`: (B, inputs) -> (B, features)."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__([nn.Linear(spec.inputs, spec.hidden), nn.Linear(spec.hidden, spec.features)])

    def forward(self, grid: Tensor) -> Tensor:
        """grid: as read, and the speed (B, inputs)."""
        first, second = self
        return torch.tanh(second(nn.functional.elu(first(grid))))


class PolicyNetwork(nn.Module):
    """x (B, inputs), h (B, state_width), dt_s (B,) -> action (B, outputs) in (-1, 1), h' (B, state_width).

    The state of a memoryless network (`mlp`) is (B, 0), that of `lstm` [h; c], of which the readout sees h. A wired
    network has no backbone, and its motor neurons are its outputs.
    """

    def __init__(self, spec: CellSpec, seed: int = 0) -> None:
        super().__init__()
        self.spec = spec
        self._dead = {name: torch.as_tensor(~mask) for name, mask in weight_masks(spec).items()}  # without a synapse
        apart = spec.form == "mlp" or FORMS[spec.form].recurrent or spec.wiring is not None
        self.joined = not apart  # the backbone sees the state too
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            width = spec.inputs + (spec.units if self.joined else 0)
            self.backbone = Backbone(width, spec.backbone_layers, spec.backbone_units)
            width = self.backbone.width
            if spec.wiring is None:
                self.cell = None if spec.form == "mlp" else make_cell(spec, width)
                self.readout: nn.Linear | MotorReadout = nn.Linear(spec.units or width, spec.outputs)
            else:
                self.cell, self.readout = Wired(spec), MotorReadout(spec.outputs)
            self.encoder = None if spec.encoder is None else GridEncoder(spec.encoder)
        if isinstance(self.readout, nn.Linear):
            with torch.no_grad():
                self.readout.weight.mul_(READOUT_GAIN)
                self.readout.bias.zero_()

    def initial_state(self, batch: int) -> Tensor:
        """Zeros, (B, state_width)."""
        return torch.zeros((batch, self.spec.state_width), dtype=self.readout.weight.dtype)

    def features(self, x: Tensor, h: Tensor) -> Tensor:
        """Backbone output of [x; h], or of x alone for cells that take the state by themselves."""
        features: Tensor = self.backbone(torch.cat([x, h], dim=1) if self.joined else x)
        return features

    def step(self, x: Tensor, h: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """One event. dt_s: (B,) seconds since the previous one. Raises `ConfigError` on wrong shapes."""
        if x.ndim != 2 or h.shape != (x.shape[0], self.spec.state_width) or dt_s.shape != (x.shape[0],):
            raise ConfigError(
                f"step got x {tuple(x.shape)}, h {tuple(h.shape)}, dt_s {tuple(dt_s.shape)}; "
                f"give (B, {self.spec.inputs}), (B, {self.spec.state_width}), (B,)"
            )
        z = self.features(x, h)
        if self.cell is not None:
            h = self.cell(z, h, (dt_s / self.spec.time_unit_s).to(z.dtype)[:, None])
            z = h
        return self.act(z), h

    def act(self, read: Tensor) -> Tensor:
        """Actions of states (..., state_width), or of the features of a memoryless network."""
        return torch.tanh(self.readout(read[..., : self.spec.units] if self.spec.units else read))

    def forward(
        self, x: Tensor, dt_s: Tensor, h: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A sequence. x: (B, T, inputs), dt_s: (B, T) -> actions (B, T, outputs), last state (B, state_width).

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
        """Weights by their bundle names, float32; 0 where a wiring has no synapse."""
        return {
            name: value.detach().to(torch.float32).numpy().copy()
            for name, value in self._masked(self.named_weights()).items()
        }

    def named_weights(self) -> dict[str, nn.Parameter]:
        """The parameters by the bundle names of what they hold; of a masked matrix the one that is stored."""
        return {
            name.removeprefix("cell.").replace("head.", "").replace("parametrizations.weight.original", "weight"): value
            for name, value in self.named_parameters()
        }

    def set_gradient(self, slopes: Mapping[str, Tensor]) -> None:
        """Take the derivative of a loss in the weights, by bundle names, as `.grad` of the parameters."""
        masked = self._masked(slopes)
        for name, parameter in self.named_weights().items():
            parameter.grad = masked[name]

    def _masked(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        dead = self._dead
        return {name: value.masked_fill(dead[name], 0.0) if name in dead else value for name, value in tensors.items()}

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> PolicyNetwork:
        """The network of a policy file, ready to step."""
        network = cls(bundle.spec)
        with torch.no_grad():
            for name, parameter in network.named_weights().items():
                parameter.copy_(torch.from_numpy(bundle.weights[name].copy()))
        return network


BACKBONE_UNITS = {"decay": 32, "default": 21, "no_gate": 21, "pure": 32}  # about as many parameters each
# Gated cells stand without a backbone, as they are published; 19 neurons would be 7 % short, or 21 % over.
GATED_UNITS = {"gru": 20, "lstm": 16}
OUTPUTS = 4


def hover_spec(
    form: str,
    time_unit_s: float = 0.015,
    wiring: str | None = None,
    wiring_seed: int = 0,
    inputs: int = OBS_DIM,
) -> CellSpec:
    """The shipped sizes: 19 neurons, and a GRU, an LSTM and a memoryless MLP of as many parameters.

    wiring: neurons of a wired cell, INTER-COMMAND-MOTOR, such as "9-6-4", drawn with `wiring_seed`; it has the
    parameters of its live synapses, which are fewer. Raises `ConfigError`.
    """
    if wiring is not None:
        drawn = flown_wiring(wiring, inputs, OUTPUTS, wiring_seed)
        return CellSpec(form, inputs, sum(drawn.sizes), OUTPUTS, 0, 1, time_unit_s, drawn)
    if form in GATED_UNITS:
        return CellSpec(form, inputs, GATED_UNITS[form], OUTPUTS, 0, 1, time_unit_s)
    if form == "mlp":
        return CellSpec("mlp", inputs, 0, OUTPUTS, 2, 40, time_unit_s)
    if form not in BACKBONE_UNITS:
        raise ConfigError(unknown_name("cell", form, [*BACKBONE_UNITS, *GATED_UNITS, "mlp"]))
    return CellSpec(form, inputs, 19, OUTPUTS, 1, BACKBONE_UNITS[form], time_unit_s)


AVOID_BACKBONE_UNITS = {"decay": 64, "default": 47, "no_gate": 47, "pure": 78}  # about as many parameters each
AVOID_UNITS = {"gru": 29, "lstm": 23}


def avoid_spec(form: str, grid: GridLayout, time_unit_s: float = 0.015) -> CellSpec:
    """19 neurons behind the encoder of a flow grid, and rivals of as many parameters. Raises `ConfigError`."""
    encoder = EncoderSpec(grid)
    inputs = OBS_DIM + SIGHT_DIM + FEATURES
    if form in AVOID_UNITS:
        return CellSpec(form, inputs, AVOID_UNITS[form], OUTPUTS, 0, 1, time_unit_s, encoder=encoder)
    if form == "mlp":
        return CellSpec("mlp", inputs, 0, OUTPUTS, 2, 60, time_unit_s, encoder=encoder)
    if form not in AVOID_BACKBONE_UNITS:
        raise ConfigError(unknown_name("cell", form, [*AVOID_BACKBONE_UNITS, *AVOID_UNITS, "mlp"]))
    return CellSpec(form, inputs, 19, OUTPUTS, 1, AVOID_BACKBONE_UNITS[form], time_unit_s, encoder=encoder)
