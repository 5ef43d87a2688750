"""The torch engine of CfC layers: few operations a step, and a backward pass by hand.

What does not depend on the state is done for all steps at once: the part of x in the first map, the slopes of the cell,
the gradients of the weights. A step back then is one product of matrices a map, because the state after a step depends
on each of its heads elementwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from liquid_pilot.cells import FORMS, LECUN_GAIN, LECUN_SLOPE
from policies.cells.elapsed import time_units
from policies.sequence.kernel import refuse_second_order

if TYPE_CHECKING:
    from policies.cells.layer import CfCLayer


def fused(layer: CfCLayer, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """As `loop`, on any device and in any floating-point type."""
    dt = time_units(dt_s, layer.time_unit_s).T[:, :, None]
    vectors = len(FORMS[layer.form].vectors)
    weights = layer.weights()
    maps, own = weights[: len(weights) - vectors], weights[len(weights) - vectors :]
    depth = len(layer.backbone)
    matrices, biases = maps[0::2], maps[1::2]
    joined = [*matrices[:depth], torch.cat(matrices[depth:])], [*biases[:depth], torch.cat(biases[depth:])]
    kept = None if mask is None else ~mask.T[:, :, None]
    given = (layer.form, depth, x.transpose(0, 1), dt, h, kept)
    states: Tensor = _Fused.apply(*given, *joined[0], *joined[1], *own)  # type: ignore[no-untyped-call]
    return states.transpose(0, 1), states[-1]


def update(
    form: str, heads: tuple[Tensor, ...], vectors: tuple[Tensor, ...], h: Tensor, minus_dt: Tensor, out: Tensor
) -> None:
    """h' of the heads and h, (B, units) each, into `out`. minus_dt: (B, 1), the negative of time units."""
    if form == "decay":
        rate = functional.softplus(heads[1].contiguous())  # of a part of a matrix it takes seven times as long
        torch.lerp(torch.tanh(heads[0]), h, rate.mul_(minus_dt).exp_(), out=out)
    elif form == "pure":
        (w_tau, a), u = vectors, heads[0]
        kept = torch.exp(minus_dt * (w_tau.abs() + u.abs()))
        torch.addcmul(a, a * kept, u, value=-1.0, out=out)
    else:
        first, second = torch.tanh(heads[0]), torch.tanh(heads[1])
        gate = torch.sigmoid_(torch.addcmul(heads[3], heads[2], minus_dt, value=-1.0))
        if form == "default":
            torch.lerp(first, second, gate, out=out)
        else:
            torch.addcmul(first, gate, second, out=out)


@dataclass(frozen=True)
class Slopes:
    """Derivative of h', elementwise: in each head (..., heads, units), h (None: 0), dt and each vector (..., units)."""

    heads: Tensor
    h: Tensor | None
    dt: Tensor
    vectors: tuple[Tensor, ...] = ()


def slopes(form: str, heads: Tensor, vectors: tuple[Tensor, ...], h: Tensor, dt: Tensor) -> Slopes:
    """Derivative of `update`. heads: (..., heads, units), h: (..., units), dt: (..., 1)."""
    parts = heads.unbind(-2)
    if form == "decay":
        target, rate = torch.tanh(parts[0]), functional.softplus(parts[1])
        keep = torch.exp(-dt * rate)
        pull = (target - h) * keep
        by_heads = [(1.0 - keep) * (1.0 - target * target), pull * dt * torch.sigmoid(parts[1])]
        return Slopes(torch.stack(by_heads, -2), keep, pull * rate)
    if form == "pure":
        (w_tau, a), u = vectors, parts[0]
        speed = w_tau.abs() + u.abs()
        kept = torch.exp(-dt * speed)
        by_head = a * kept * (dt * u * u.sign() - 1.0)
        by_vectors = a * kept * u * dt * w_tau.sign(), 1.0 - kept * u
        return Slopes(by_head[..., None, :], None, a * kept * u * speed, by_vectors)
    first, second, gate = torch.tanh(parts[0]), torch.tanh(parts[1]), torch.sigmoid(parts[2] * dt + parts[3])
    share, reach = (1.0 - gate, second - first) if form == "default" else (torch.ones_like(gate), second)
    by_gate = reach * gate * (1.0 - gate)
    by_heads = [share * (1.0 - first * first), gate * (1.0 - second * second), by_gate * dt, by_gate]
    return Slopes(torch.stack(by_heads, -2), None, by_gate * parts[2])


class _Fused(torch.autograd.Function):
    """States (T, B, units) from x (T, B, inputs), dt (T, B, 1), h, kept steps (T, B, 1) and weights.

    weights: the matrices of the maps (the last one joins all heads), their biases, the vectors.
    """

    @staticmethod
    def forward(
        ctx: Any, form: str, depth: int, x: Tensor, dt: Tensor, h: Tensor, kept: Tensor | None, *weights: Tensor
    ) -> Tensor:
        maps, vectors = _scaled(depth, weights)
        later, minus_one = [(matrix.T, bias) for matrix, bias in maps[1:]], x.new_full((), -1.0)
        of_x, of_state = maps[0][0][:, : x.shape[2]], maps[0][0][:, x.shape[2] :].T
        first = functional.linear(x, of_x, maps[0][1])  # (T, B, rows); the part of the state is added step by step
        values = [first, *(x.new_empty(*x.shape[:2], len(bias)) for _, bias in later)]
        heads = values[-1].unflatten(2, (-1, h.shape[1]))
        states = x.new_empty(*x.shape[:2], h.shape[1])
        steps = zip(*(value.unbind() for value in values), strict=True)
        parts = zip(*(head.unbind() for head in heads.unbind(2)), strict=True)
        before = h
        for t, (state, elapsed, step, part) in enumerate(
            zip(states.unbind(), (-dt).unbind(), steps, parts, strict=True)
        ):
            step[0].addmm_(before, of_state)
            for k, (matrix, bias) in enumerate(later):
                torch.add(minus_one, step[k].sigmoid_(), alpha=2.0, out=step[k])
                torch.addmm(bias, step[k], matrix, out=step[k + 1])
            update(form, part, vectors, before, elapsed, state)
            if kept is not None:
                torch.where(kept[t], before, state, out=state)
            before = state
        ctx.form, ctx.depth = form, depth
        ctx.save_for_backward(x, dt, h, kept, states, *values, *weights)
        return states

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        refuse_second_order("torch")
        bar_states: Tensor = grad_outputs[0].contiguous()
        depth = ctx.depth
        x, dt, h, kept, states, *rest = ctx.saved_tensors
        values, weights = rest[: depth + 1], rest[depth + 1 :]
        hidden = values[:-1]
        maps, vectors = _scaled(depth, weights)
        before = torch.cat([h[None], states[:-1]])
        slope = slopes(ctx.form, values[-1].unflatten(2, (-1, h.shape[1])), vectors, before, dt)
        taken, deltas, bar = _steps_back(maps, hidden, slope, bar_states, kept, x.shape[2])
        bar_x = deltas[0] @ maps[0][0][:, : x.shape[2]] if ctx.needs_input_grad[2] else None
        bar_dt = (taken * slope.dt).sum(2, keepdim=True) if ctx.needs_input_grad[3] else None
        seen, flat = [torch.cat([x, before], dim=2), *hidden], [delta.flatten(0, 1) for delta in deltas]
        by_maps = [delta.T @ given.flatten(0, 1) for delta, given in zip(flat, seen, strict=True)]
        by_matrices = [by * scale for by, (scale, _) in zip(by_maps, _scales(depth), strict=True)]
        by_biases = [delta.sum(0) * scale for delta, (_, scale) in zip(flat, _scales(depth), strict=True)]
        by_vectors = [(taken * by).sum((0, 1)) for by in slope.vectors]
        return None, None, bar_x, bar_dt, bar, None, *by_matrices, *by_biases, *by_vectors


def _steps_back(
    maps: list[tuple[Tensor, Tensor]],
    hidden: list[Tensor],
    slope: Slopes,
    bar_states: Tensor,
    kept: Tensor | None,
    inputs: int,
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Bars of the states that steps made, (T, B, units), of the values of every map, and of the first state."""
    taken, by_heads = torch.empty_like(bar_states), slope.heads.unbind()
    deltas = [torch.empty_like(layer) for layer in hidden] + [torch.empty_like(slope.heads).flatten(2)]
    bends = [(0.5 - 0.5 * layer * layer).unbind() for layer in hidden]
    each, of_state = [delta.unbind() for delta in deltas], maps[0][0][:, inputs:]
    bar = torch.zeros_like(bar_states[0])
    for t in reversed(range(len(taken))):
        live = torch.add(bar_states[t], bar, out=taken[t])
        held = None if kept is None else live * kept[t]
        if held is not None:
            live -= held
        torch.mul(live[:, None], by_heads[t], out=each[-1][t].view_as(by_heads[t]))
        for k in reversed(range(len(hidden))):
            torch.mm(each[k + 1][t], maps[k + 1][0], out=each[k][t]).mul_(bends[k][t])
        bar = each[0][t] @ of_state
        if slope.h is not None:
            bar.addcmul_(live, slope.h[t])
        if held is not None:
            bar += held
    return taken, deltas, bar


def _scales(depth: int) -> list[tuple[float, float]]:
    """Of the matrix and the bias of every map, so that a backbone's activation is tanh(x / 2) and no more.

    That is 2 sigmoid(x) - 1, which costs torch a fraction of a tanh.
    """
    after, before = [2.0 * LECUN_SLOPE] * depth + [1.0], [1.0] + [LECUN_GAIN] * depth
    return [(gain * slope, slope) for gain, slope in zip(before, after, strict=True)]


def _scaled(depth: int, weights: Sequence[Tensor]) -> tuple[list[tuple[Tensor, Tensor]], tuple[Tensor, ...]]:
    """(scaled matrix, scaled bias) of every map, and the vectors."""
    count = depth + 1
    pairs = zip(weights[:count], weights[count : 2 * count], _scales(depth), strict=True)
    maps = [(matrix * by_matrix, bias * by_bias) for matrix, bias, (by_matrix, by_bias) in pairs]
    return maps, tuple(weights[2 * count :])
