"""Networks of about as many parameters, so that a comparison is fair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn

from liquid_pilot.errors import ConfigError, unknown_name
from policies.cells.baselines import CTRNN, GRU, GRUD, LSTM, MLP, ODERNN, Transformer
from policies.cells.cell import Cell, check_sizes
from policies.cells.cfc import CfC
from policies.cells.layer import Masked
from policies.cells.ltc import LTC
from policies.rnn import LiquidRNN

HEADS: Final = 2  # of a matched transformer, unless told otherwise


def _transformer(inputs: int, size: int, heads: int = HEADS, **options: Any) -> Cell:
    return Transformer(inputs, heads * size, heads, **options)


def _mlp(inputs: int, size: int, **options: Any) -> Cell:
    return MLP(inputs, (size,), **options)


KINDS: Final[dict[str, Callable[..., Cell]]] = {  # inputs, and the size that is looked for
    "cfc": CfC,
    "lstm": LSTM,
    "gru": GRU,
    "ctrnn": CTRNN,
    "grud": GRUD,
    "odernn": ODERNN,
    "transformer": _transformer,
    "mlp": _mlp,
}


def parameters(module: nn.Module) -> int:
    """Number of live weights: of masked matrices, those where a synapse is."""
    total = sum(parameter.numel() for parameter in module.parameters())
    for part in module.modules():
        if isinstance(part, Masked):
            total -= int((part.mask == 0).sum())
        elif isinstance(part, LTC):  # w, mu, sigma and erev of each synapse
            total -= 4 * sum(int((mask == 0).sum()) for mask in (part.recurrent_mask, part.sensory_mask))
    return total


def matched(kind: str, inputs: int, outputs: int, wanted: int, **options: Any) -> LiquidRNN:
    """The network of this kind, with a readout, whose number of parameters is nearest to `wanted`.

    kind: one of `KINDS`; options: of its cell. Its units (of an MLP those of one hidden layer, of a transformer the
    width of a head) are chosen. Raises `ConfigError` for an unknown kind, and where even the smallest is too large.
    """
    if kind not in KINDS:
        raise ConfigError(unknown_name("kind of network", kind, list(KINDS)))
    check_sizes(wanted=wanted)

    def build(size: int) -> LiquidRNN:
        return LiquidRNN(KINDS[kind](inputs, size, **options), outputs)

    def count(size: int) -> int:
        with torch.device("meta"):
            return parameters(build(size))

    if count(1) > wanted:
        raise ConfigError(f"wanted is {wanted} parameters; the smallest {kind!r} of these inputs has {count(1)}")
    low, high = 1, 2
    while count(high) <= wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= wanted else (low, middle)
    return build(min(low, high, key=lambda size: abs(count(size) - wanted)))
