"""LTC: liquid time-constant neurons with conductance synapses, dense or wired, integrated by a solver of choice."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from liquid_pilot.errors import ConfigError, unknown_name
from policies.cells.cell import Cell, abstract, check_positive, check_sizes
from policies.cells.cfc import check_wiring
from policies.cells.elapsed import time_units
from policies.cells.ltc_bounds import stable_step
from policies.cells.ltc_solvers import FIXED, Drive, Weights, adaptive, sensory_drive
from policies.cells.positive import positive, raw_of
from policies.sequence.choose import check_sequence
from policies.sequence.ltc import check_engine, compiled_ltc, find_kernel
from policies.wirings import Wiring, fully_connected

Result = TypeVar("Result")

SOLVERS: Final = (*FIXED, "adaptive")
SQRT: Final = "sqrt"  # of the number of events, as the length of a checkpointed block
_POSITIVE: Final = ("gleak", "cm", "w", "sensory_w")
_DRAWN: Final = {  # published range of the first values; the rest starts as polarities, ones and zeros
    "gleak": (0.001, 1.0),
    "vleak": (-0.2, 0.2),
    "cm": (0.4, 0.6),
    "w": (0.001, 1.0),
    "mu": (0.3, 0.8),
    "sigma": (3.0, 8.0),
}


class LTC(Cell):
    """Neurons of `policies.cells.ltc_solvers`, fully connected or by a wiring, whose polarities are the first erev.

    solver: "semi_implicit" (published), "euler" and "rk4" take `unfolds` steps an event; the explicit two raise
    `ConfigError` for an event that lasts longer than `unfolds` stable steps. "adaptive" holds rtol and atol, and may
    find its gradients by the adjoint equation. checkpoint_every: length of the blocks of a sequence that are computed
    again for their gradients instead of being kept; "sqrt" for the root of the number of events. engine: of `sequence`;
    "compiled" is for "semi_implicit" without checkpoints, in float32 and float64 on the CPU, and is differentiated
    once; "loop" for everything; "auto" is "compiled" where that can be, with a C compiler. seed: of the first weights,
    and of the polarities without a wiring. State: the neurons in the order of flow; the last `outputs` of them, scaled
    and shifted, are shown. Raises `ConfigError` for sizes and options that do not fit.
    """

    recurrent_mask: Tensor
    sensory_mask: Tensor

    def __init__(
        self,
        inputs: int,
        units: int | None = None,
        *,
        wiring: Wiring | None = None,
        solver: str = "semi_implicit",
        unfolds: int = 6,
        adjoint: bool = False,
        time_unit_s: float = 1.0,
        rtol: float = 1e-5,
        atol: float = 1e-6,
        checkpoint_every: int | str | None = None,
        engine: str = "auto",
        seed: int = 0,
    ) -> None:
        check_wiring(inputs, units, wiring, "full", None)
        width = wiring.units if wiring is not None else units or 0
        check_sizes(inputs=inputs, units=width, unfolds=unfolds)
        check_solver(solver, adjoint, checkpoint_every)
        check_engine(engine, solver, checkpoint_every)
        check_positive(time_unit_s=time_unit_s, rtol=rtol, atol=atol)
        if type(seed) is not int or seed < 0:
            raise ConfigError(f"seed is {seed!r}; give a whole number of at least 0")
        if wiring is not None and wiring.slow_layers:
            raise ConfigError(
                f"the wiring has slow layers {wiring.slow_layers}; an LTC integrates all neurons together: give a "
                "wiring without them, or use a CfC"
            )
        super().__init__(inputs, width, width if wiring is None else wiring.outputs)
        self.wiring, self.solver, self.unfolds, self.adjoint = wiring, solver, unfolds, adjoint
        self.time_unit_s, self.rtol, self.atol = time_unit_s, rtol, atol
        self.checkpoint_every, self.engine = checkpoint_every, engine
        polarity = wiring if wiring is not None else fully_connected(inputs, width, width, rng=seed)
        recurrent = torch.tensor(polarity.recurrent, dtype=torch.get_default_dtype())
        sensory = torch.tensor(polarity.sensory, dtype=recurrent.dtype)
        self.register_buffer("recurrent_mask", recurrent.abs(), persistent=False)
        self.register_buffer("sensory_mask", sensory.abs(), persistent=False)
        generator = torch.Generator().manual_seed(seed)
        self.raw = nn.ParameterDict(first_weights(recurrent, sensory, self.outputs, generator).items())

    @property
    def units(self) -> int:
        """Number of neurons."""
        return self.state_width

    def weights(self) -> dict[str, Tensor]:
        """Effective weights with their gradients. Conductances and cm are positive; w is 0 where no synapse is.

        In this order: gleak, vleak, cm (units,); w, mu, sigma, erev (units, units), the source first; sensory_w,
        sensory_mu, sensory_sigma, sensory_erev (inputs, units); input_w, input_b (inputs,); output_w, output_b
        (outputs,).
        """
        weights = {name: positive(raw) if name in _POSITIVE else raw for name, raw in self.raw.items()}
        weights["w"] = weights["w"] * self.recurrent_mask
        weights["sensory_w"] = weights["sensory_w"] * self.sensory_mask
        return weights

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.advance`."""
        weights = self.weights()
        return self._event(weights, x, h, self._time_units(weights, dt_s))

    def read(self, h: Tensor) -> Tensor:
        """The last `outputs` neurons, scaled and shifted: (..., units) -> (..., outputs)."""
        shown: Tensor = super().read(h) * self.raw["output_w"] + self.raw["output_b"]
        return shown

    def sequence(self, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `Cell.sequence`. An event that is masked lasts no time, which is the identity.

        Raises `ConfigError` for shapes and number types that do not fit, and where engine="compiled" cannot be.
        """
        check_sequence(self, x, dt_s, h, mask)
        if mask is not None:
            x, dt_s = torch.where(mask[:, :, None], x, 0.0), torch.where(mask, dt_s, 0.0)
        weights, kernel = self.weights(), find_kernel(self, x)
        dt = self._time_units(weights, dt_s.to(x.dtype))
        events = x.shape[1]
        if kernel is not None:
            states = compiled_ltc(kernel, self, weights, x, dt, h)
        elif self.checkpoint_every is None or not torch.is_grad_enabled():
            states = self._events(weights, x, h, dt)
        else:
            length = math.isqrt(events) if isinstance(self.checkpoint_every, str) else self.checkpoint_every
            blocks = []
            for part, lasting in zip(x.split(length, dim=1), dt.split(length, dim=1), strict=True):
                blocks.append(again(self._events, weights, part, h, lasting))
                h = blocks[-1][:, -1]
            states = torch.cat(blocks, dim=1)
        return self.read(states), states[:, -1]

    def architecture(self) -> dict[str, object]:
        """See `Cell.architecture`. With another solver, or other unfolds, weights give other numbers."""
        wired = {} if self.wiring is None else {"wiring": self.wiring.to_json()}
        solved = {"solver": self.solver, "unfolds": self.unfolds, "time_unit_s": self.time_unit_s}
        return super().architecture() | solved | wired

    def _events(self, weights: Weights, x: Tensor, h: Tensor, dt: Tensor) -> Tensor:
        """States after every event, (B, T, units). x: (B, T, inputs), dt: (B, T) in time units."""
        states = []
        for t in range(x.shape[1]):
            h = self._event(weights, x[:, t], h, dt[:, t, None])
            states.append(h)
        return torch.stack(states, dim=1)

    def _event(self, weights: Weights, x: Tensor, h: Tensor, dt: Tensor) -> Tensor:
        """State after one event. dt: (B, 1) in time units."""
        if self.adjoint:  # what the drive is made of is larger than all that the adjoint keeps
            drive: Drive = again(sensory_drive, weights, x)
        else:
            drive = sensory_drive(weights, x)
        if self.solver in FIXED:
            return FIXED[self.solver](weights, drive, h, dt, self.unfolds)
        return adaptive(weights, drive, h, dt, self.unfolds, rtol=self.rtol, atol=self.atol, adjoint=self.adjoint)

    def _time_units(self, weights: Weights, dt_s: Tensor) -> Tensor:
        """dt_s in time units, cut to what cannot overflow. Raises `ConfigError` above the stable step."""
        dt = time_units(dt_s, self.time_unit_s)
        limit = math.inf if abstract() else stable_step(weights, self.solver) * self.unfolds
        if limit < math.inf and float(dt.detach().max()) > limit:
            longest_s, limit_s = float(dt.detach().max()) * self.time_unit_s, limit * self.time_unit_s
            raise ConfigError(
                f"dt_s is {longest_s:g} and the solver {self.solver!r} with {self.unfolds} unfolds is stable up to "
                f"{limit_s:g}; give unfolds={math.ceil(self.unfolds * longest_s / limit_s)}, or solver='semi_implicit'"
            )
        return dt


def again(function: Callable[..., Result], *arguments: object) -> Result:
    """Result of a function that is computed once more for its gradients, so that nothing but its arguments is kept."""
    result: Result = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
    return result


def stable_step_s(cell: LTC) -> float:
    """Longest solver step in seconds, dt_s / unfolds, for these weights; infinite for solvers that need no limit."""
    return stable_step(cell.weights(), cell.solver) * cell.time_unit_s


def first_weights(recurrent: Tensor, sensory: Tensor, outputs: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights as they are stored, in the order of `LTC.weights`, from the polarities."""
    inputs, units = sensory.shape

    def drawn(name: str, *shape: int) -> Tensor:
        low, high = _DRAWN[name]
        value = low + (high - low) * torch.rand(shape, generator=generator, dtype=recurrent.dtype)
        return raw_of(value) if name in _POSITIVE else value

    weights = {name: drawn(name, units) for name in ("gleak", "vleak", "cm")}
    for kind, polarity in (("", recurrent), ("sensory_", sensory)):
        weights |= {f"{kind}{name}": drawn(name, *polarity.shape) for name in ("w", "mu", "sigma")}
        weights[f"{kind}erev"] = polarity.clone()
    for kind, size in (("input", inputs), ("output", outputs)):
        weights |= {f"{kind}_w": recurrent.new_ones(size), f"{kind}_b": recurrent.new_zeros(size)}
    return weights


def check_solver(solver: str, adjoint: bool, checkpoint_every: int | str | None) -> None:
    """Raise `ConfigError` for an unknown solver and for ways to save memory that do not go with it."""
    if solver not in SOLVERS:
        raise ConfigError(unknown_name("solver of LTC", solver, list(SOLVERS)))
    if adjoint and solver != "adaptive":
        raise ConfigError(f"adjoint=True with solver={solver!r}; the adjoint equation is for solver='adaptive' alone")
    if adjoint and checkpoint_every is not None:
        raise ConfigError(
            f"adjoint=True with checkpoint_every={checkpoint_every!r}; give one of them, both save memory"
        )
    if isinstance(checkpoint_every, str) and checkpoint_every != SQRT:
        raise ConfigError(f"checkpoint_every is {checkpoint_every!r}; give a number of events, {SQRT!r} or None")
    if checkpoint_every is not None and not isinstance(checkpoint_every, str):
        check_sizes(checkpoint_every=checkpoint_every)
