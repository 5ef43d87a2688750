"""Packed sequences of several lengths, laid out with padding and packed again."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from liquid_pilot.errors import ConfigError


def lay_out(
    x: PackedSequence, dt_s: object, times_s: object, mask: object
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """x (B, T, inputs), dt_s and times_s (B, T), and the mask (B, T) of their lengths, in the order before packing.

    Raises `ConfigError` unless dt_s and times_s are packed as x is, one number for each event, and there is no mask.
    """
    if mask is not None:
        raise ConfigError("mask stands beside a PackedSequence, which has its lengths; leave the mask out")
    laid, lengths = pad_packed_sequence(x, batch_first=True)
    steps = torch.arange(laid.shape[1])
    inside = (steps < lengths[:, None]).to(laid.device)
    return laid, _alike("dt_s", dt_s, x), _alike("times_s", times_s, x), inside


def pack_like(x: PackedSequence, y: Tensor, mask: Tensor) -> PackedSequence:
    """y (B, T, outputs) in the order before packing, packed as x is. mask: of `lay_out`."""
    if x.sorted_indices is not None:
        y, mask = y[x.sorted_indices], mask[x.sorted_indices]
    events = y.transpose(0, 1)[mask.transpose(0, 1)]  # by step, then by row: the order of packed data
    return PackedSequence(events, x.batch_sizes, x.sorted_indices, x.unsorted_indices)


def _alike(name: str, packed: object, x: PackedSequence) -> Tensor | None:
    if packed is None:
        return None
    if not isinstance(packed, PackedSequence):
        raise ConfigError(
            f"x is a PackedSequence and {name} a {type(packed).__name__}; pack {name} (B, T) as x is packed"
        )
    laid, lengths = pad_packed_sequence(packed, batch_first=True)
    _, wanted = pad_packed_sequence(x, batch_first=True)
    if laid.ndim != 2 or not torch.equal(lengths, wanted):
        raise ConfigError(
            f"{name} has lengths {lengths.tolist()} and events of shape {tuple(laid.shape[2:])}; give one number for "
            f"each event, and the lengths of x, {wanted.tolist()}"
        )
    return laid
