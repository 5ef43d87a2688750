"""`cfc_sequence`: a whole sequence of events through a CfC layer, by the engine that suits."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.native import NativeBuildError, NativeUnavailable
from policies.cells.cell import abstract
from policies.sequence.compiled import compiled
from policies.sequence.fused import fused
from policies.sequence.kernel import REALS
from policies.sequence.loop import loop

if TYPE_CHECKING:
    from policies.cells.layer import CfCLayer
    from policies.cells.ltc import LTC

_RUN: Final = {"loop": loop, "torch": fused, "compiled": compiled}
ENGINES: Final = ("auto", *_RUN)
_LOG: Final = logging.getLogger(__name__)


def cfc_sequence(
    layer: CfCLayer, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None = None, engine: str = "auto"
) -> tuple[Tensor, Tensor]:
    """x: (B, T, inputs), dt_s: (B, T), h: (B, units) -> states (B, T, units), last state (B, units).

    mask: (B, T) bool; where it is False the state is kept, and neither x nor dt_s is looked at.
    engine: "loop" is the reference and can be differentiated twice; "torch" and "compiled" give its numbers sooner, and
    once. "auto" is "compiled" in float32 and float64 on the CPU where a C compiler is found, else "torch". While torch
    traces, compiles or transforms a function, every engine is "loop".
    Raises `ConfigError` for an unknown engine and for shapes and number types that do not fit, `NativeUnavailable` or
    `NativeBuildError` where "compiled" is asked for and cannot be.
    """
    if engine not in ENGINES:
        raise ConfigError(unknown_name("sequence engine", engine, list(ENGINES)))
    check_sequence(layer, x, dt_s, h, mask)
    if mask is not None:
        x, dt_s = torch.where(mask[:, :, None], x, 0.0), torch.where(mask, dt_s, 0.0)
    dt_s = dt_s.to(x.dtype)
    if abstract():
        return loop(layer, x, dt_s, h, mask)
    runs_compiled = x.device.type == "cpu" and x.dtype in REALS
    if engine == "compiled" and not runs_compiled:
        raise ConfigError(f"engine 'compiled' got {x.dtype} on {x.device}; it takes float32 and float64 on the CPU")
    if engine != "auto":
        return _RUN[engine](layer, x, dt_s, h, mask)
    if runs_compiled:
        try:
            return compiled(layer, x, dt_s, h, mask)
        except (NativeUnavailable, NativeBuildError) as error:
            say_once(str(error))
    return fused(layer, x, dt_s, h, mask)


@lru_cache(maxsize=8)
def say_once(reason: str) -> None:
    """Warn that the loop or torch runs instead of what is compiled."""
    _LOG.warning("sequences run in torch, several times slower than compiled: %s", reason)


def check_sequence(layer: CfCLayer | LTC, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None) -> None:
    """Raise `ConfigError` for what does not fit. Nothing is broadcast: every argument has its own batch and steps."""
    batch, steps = x.shape[:2] if x.ndim == 3 else (-1, 0)
    wanted = {"x": (batch, steps, layer.inputs), "dt_s": (batch, steps), "h": (batch, layer.units)}
    given = {"x": x, "dt_s": dt_s, "h": h}
    if mask is not None:
        wanted["mask"], given["mask"] = (batch, steps), mask
    if steps < 1 or any(given[name].shape != shape for name, shape in wanted.items()):
        found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in given.items())
        raise ConfigError(
            f"a sequence of {found}; give x (B, T, {layer.inputs}) with T of at least 1, dt_s and mask (B, T), "
            f"h (B, {layer.units})"
        )
    dtype = next(layer.parameters()).dtype
    if (x.dtype, h.dtype) != (dtype, dtype) or not dt_s.is_floating_point():
        raise ConfigError(
            f"x is {x.dtype}, h {h.dtype}, dt_s {dt_s.dtype} and the weights {dtype}; give x and h in the number type "
            "of the weights, dt_s in seconds as floating-point numbers"
        )
    if mask is not None and mask.dtype != torch.bool:
        raise ConfigError(f"mask is {mask.dtype}; give torch.bool, True where there is an event")
