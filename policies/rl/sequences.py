"""Sequences of a policy network in which flights begin: exact, and without a loop over steps.

A sequence is cut where a flight begins, the pieces are run side by side, and what they give is put back in place.
Pieces of about the same length share a call; what is filled up behind a piece's end is masked.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.native import NativeBuildError, NativeUnavailable
from policies.cells.wired import Wired
from policies.network import PolicyNetwork
from policies.sequence.choose import say_once
from policies.sequence.kernel import REALS
from policies.sequence.network import compiled

ENGINES: Final = ("auto", "loop", "compiled")


def readout_sequence(
    network: PolicyNetwork, x: Tensor, dt_s: Tensor, h: Tensor, starts: Tensor | None = None, engine: str = "auto"
) -> tuple[Tensor, Tensor]:
    """What the network's readout gives before the tanh, (B, T, outputs), and the last state (B, state).

    x: (B, T, inputs), dt_s: (B, T), h: (B, state), starts: (B, T) bool, True where a flight begins: there the state
    before the step is at rest. engine: "loop" steps the network, the reference; "compiled" gives its numbers sooner;
    "auto" is "compiled" where it can be. Raises `ConfigError` for shapes that do not fit and for an unknown engine,
    `NativeUnavailable` or `NativeBuildError` where "compiled" is asked for and cannot be.
    """
    _check(network, x, dt_s, h, starts, engine)
    if network.cell is None:
        means: Tensor = network.readout(network.backbone(x))
        return means, h
    if starts is None or not bool(starts.any()):
        read, last = _run(network, x, dt_s, h, None, engine)
    else:
        read, last = _in_pieces(network, x, dt_s, h, starts, engine)
    means = network.readout(read[..., : network.spec.units])
    return means, last


def _in_pieces(
    network: PolicyNetwork, x: Tensor, dt_s: Tensor, h: Tensor, starts: Tensor, engine: str
) -> tuple[Tensor, Tensor]:
    """What the readout reads, (B, T, ...), and the last state (B, state)."""
    batch, steps = dt_s.shape
    first = starts.clone()
    first[:, 0] = True
    row, begin = first.nonzero(as_tuple=True)  # in the order of rows, then of steps
    flat = row * steps + begin
    length = torch.diff(flat, append=flat.new_tensor([batch * steps]))
    before = torch.where(starts[row, begin, None], 0.0, h[row])
    events, elapsed = x.flatten(0, 1), dt_s.flatten()
    places, found, last = [], [], h
    size = torch.log2(length.double()).ceil()
    for shared in size.unique():
        these = (size == shared).nonzero()[:, 0]
        after = torch.arange(int(length[these].max()))
        inside = after < length[these, None]
        taken = torch.where(inside, flat[these, None] + after, flat[these, None])
        read, end = _run(network, events[taken], elapsed[taken], before[these], inside, engine)
        places.append(taken[inside])
        found.append(read[inside])
        final = begin[these] + length[these] == steps
        last = last.index_copy(0, row[these][final], end[final])
    order = torch.argsort(torch.cat(places))
    return torch.cat(found)[order].unflatten(0, (batch, steps)), last


def _run(
    network: PolicyNetwork, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None, engine: str
) -> tuple[Tensor, Tensor]:
    """What the readout reads, (B, T, ...), and the last state, of sequences in which no flight begins."""
    if engine != "loop" and isinstance(network.cell, Wired):
        return network.cell.sequence(x, dt_s, h, mask)
    if engine == "compiled" or (engine == "auto" and x.dtype in REALS and x.device.type == "cpu"):
        try:
            return compiled(network, x, dt_s, h, mask)
        except (NativeUnavailable, NativeBuildError) as error:
            if engine == "compiled":
                raise
            say_once(str(error))
    states = []
    for t in range(x.shape[1]):
        _, following = network.step(x[:, t], h, dt_s[:, t])
        h = following if mask is None else torch.where(mask[:, t, None], following, h)
        states.append(h)
    return torch.stack(states, dim=1), h


def _check(network: PolicyNetwork, x: Tensor, dt_s: Tensor, h: Tensor, starts: Tensor | None, engine: str) -> None:
    if engine not in ENGINES:
        raise ConfigError(unknown_name("sequence engine", engine, list(ENGINES)))
    batch, steps = x.shape[:2] if x.ndim == 3 else (-1, 0)
    width = network.spec.state_width
    wanted = {"x": (batch, steps, network.spec.inputs), "dt_s": (batch, steps), "h": (batch, width)}
    given = {"x": x, "dt_s": dt_s, "h": h}
    if starts is not None:
        wanted["starts"], given["starts"] = (batch, steps), starts
    if steps < 1 or any(given[name].shape != shape for name, shape in wanted.items()):
        found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in given.items())
        raise ConfigError(
            f"a sequence of {found}; give x (B, T, {network.spec.inputs}) with T of at least 1, dt_s and starts "
            f"(B, T), h (B, {width})"
        )
