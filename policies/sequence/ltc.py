"""The compiled engine of LTC cells: semi-implicit unfolds over the synapses that there are, on rows of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

import torch
from torch import Tensor

from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.native import NativeBuildError, NativeUnavailable
from policies.cells.cell import abstract
from policies.fragments import fragment
from policies.sequence.choose import say_once
from policies.sequence.kernel import REALS, Kernel, build_kernel, run

if TYPE_CHECKING:
    from policies.cells.ltc import LTC

Sources: TypeAlias = tuple[tuple[int, ...], ...]  # of the synapses that end at each neuron

LTC_ENGINES: Final = ("auto", "loop", "compiled")
_OF_NEURONS: Final = ("gleak", "vleak", "cm")
_OF_SYNAPSES: Final = ("w", "mu", "sigma", "erev")


def check_engine(engine: str, solver: str, checkpoint_every: int | str | None) -> None:
    """Raise `ConfigError` for an unknown engine, and for options of `LTC` that are not compiled."""
    if engine not in LTC_ENGINES:
        raise ConfigError(unknown_name("engine of LTC", engine, list(LTC_ENGINES)))
    if engine == "compiled" and (solver != "semi_implicit" or checkpoint_every is not None):
        raise ConfigError(
            f"engine='compiled' with solver={solver!r}, checkpoint_every={checkpoint_every!r}; it takes "
            "solver='semi_implicit' and keeps little without checkpoints: leave them out, or choose engine='loop'"
        )


def find_kernel(cell: LTC, x: Tensor) -> Kernel | None:
    """The kernel for a sequence x, (B, T, inputs), or None where torch runs it event by event.

    Where engine="compiled" is asked for and cannot be: `ConfigError`, `NativeUnavailable` or `NativeBuildError`.
    """
    if cell.engine == "loop" or cell.solver != "semi_implicit" or cell.checkpoint_every is not None:
        return None
    if abstract() or x.device.type != "cpu" or x.dtype not in REALS:
        if cell.engine == "auto":
            return None
        found = "a function that torch traces or transforms" if abstract() else f"{x.dtype} on {x.device}"
        raise ConfigError(
            f"engine 'compiled' got {found}; it takes float32 and float64 on the CPU: choose engine='auto' or 'loop'"
        )
    try:
        masks = cell.sensory_mask, cell.recurrent_mask
        return ltc_kernel(cell.unfolds, *(sources(mask) for mask in masks), len(masks[0]), x.dtype)
    except (NativeUnavailable, NativeBuildError) as error:
        if cell.engine == "compiled":
            raise
        say_once(str(error))
        return None


def compiled_ltc(kernel: Kernel, cell: LTC, weights: Mapping[str, Tensor], x: Tensor, dt: Tensor, h: Tensor) -> Tensor:
    """States after every event, (B, T, units), of `find_kernel`'s kernel. `weights`: of the cell; dt: in time units."""
    masks = {"sensory_": cell.sensory_mask, "": cell.recurrent_mask}
    parts = [weights[name] for name in _OF_NEURONS]
    for kind, mask in masks.items():
        every = torch.stack([weights[f"{kind}{name}"].T.reshape(-1) for name in _OF_SYNAPSES], dim=1)
        parts.append(every.index_select(0, mask.T.reshape(-1).nonzero()[:, 0]).reshape(-1))
    states, _ = run(kernel, torch.cat(parts), x * weights["input_w"] + weights["input_b"], dt, h, None)
    return states


@lru_cache(maxsize=64)
def ltc_kernel(
    unfolds: int,
    sensory: Sources,
    recurrent: Sources,
    inputs: int,
    dtype: torch.dtype,
    lane_bytes: int | None = None,
) -> Kernel:
    """The kernel of these synapses. See `build_kernel`."""
    text = [f"#define NET_{name} {size}" for name, size in (("INPUTS", inputs), ("UNITS", len(recurrent)))]
    text.append(f"#define NET_UNFOLDS {unfolds}")
    for kind, found in (("sensory", sensory), ("recurrent", recurrent)):
        first = [sum(map(len, found[:n])) for n in range(len(found) + 1)]
        source = [place for ending in found for place in ending]
        text += [f"#define NET_{kind.upper()} {len(source)}", _table(f"{kind}_first", first)]
        text.append(_table(f"{kind}_source", source))
    text += [fragment(name) for name in ("short_sigmoid.c", "ltc.c")]
    return build_kernel("\n".join(text), dtype, lane_bytes)


def sources(mask: Tensor) -> Sources:
    """Of a mask (sources, targets), for each target the sources whose synapses end there, in their order."""
    return tuple(tuple(n for n, there in enumerate(column) if there) for column in mask.T.tolist())


def _table(name: str, values: Sequence[int]) -> str:
    held = ", ".join(map(str, values or [0]))  # C has no arrays of nothing
    return f"static const int {name}[] = {{{held}}};"
