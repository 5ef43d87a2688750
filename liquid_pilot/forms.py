"""Forms of a cell: the equations that give the new state of neurons from the linear maps that feed them.

Published CfC forms: Hasani et al., "Closed-form continuous-time neural networks" (2022). `decay` is the
exact step of dh/dt = (tanh(f) - h) / tau over dt with f and tau frozen: identity at dt = 0, |h| <= 1 for
every input and every dt. `gru` (Cho et al., 2014) and `lstm` (Hochreiter and Schmidhuber, 1997; forget gate of
Gers et al., 2000), with the gates of PyTorch, are rivals that know dt only as an input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

F32: TypeAlias = npt.NDArray[np.float32]
Heads: TypeAlias = tuple[F32, ...]  # linear maps of the backbone's output, then of the state, (units,) each
Vectors: TypeAlias = tuple[F32, ...]  # parameters that belong to a neuron, (units,) each

RATE_FLOOR: Final = 1e-12  # slowest rate (per time unit) that `time_constants` reports as a number


def softplus(x: F32) -> F32:
    """log(1 + exp(x)) for any x, without overflow and, unlike `np.logaddexp`, without a warning for NaN."""
    result: F32 = np.maximum(x, np.float32(0.0)) + np.log1p(np.exp(-np.abs(x)))
    return result


def sigmoid(x: F32) -> F32:
    """1 / (1 + exp(-x)) for any finite x, by tanh because that cannot overflow."""
    result: F32 = np.tanh(x * np.float32(0.5)) * np.float32(0.5) + np.float32(0.5)
    return result


def decay(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """h' = h e + (1 - e) tanh(f), e = exp(-dt softplus(r)). dt in time units."""
    target, rate = heads
    keep = np.exp(softplus(rate) * np.float32(-dt))
    updated: F32 = h * keep + (np.float32(1.0) - keep) * np.tanh(target)
    return updated


def decay_time_constant(heads: Heads, vectors: Vectors) -> F32:
    """Time constant of each neuron of `decay`, in time units, (n,)."""
    constant: F32 = np.float32(1.0) / np.maximum(softplus(heads[1]), np.float32(RATE_FLOOR))
    return constant


def default(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """Published gated form: h' = tanh(f1) (1 - s) + s tanh(f2), s = sigmoid(ta dt + tb)."""
    ff1, ff2, time_a, time_b = heads
    gate = sigmoid(time_a * np.float32(dt) + time_b)
    updated: F32 = np.tanh(ff1) * (np.float32(1.0) - gate) + gate * np.tanh(ff2)
    return updated


def no_gate(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """Published additive form: h' = tanh(f1) + s tanh(f2), s = sigmoid(ta dt + tb)."""
    ff1, ff2, time_a, time_b = heads
    updated: F32 = np.tanh(ff1) + sigmoid(time_a * np.float32(dt) + time_b) * np.tanh(ff2)
    return updated


def pure(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """Published solution form: h' = -a exp(-dt (|w_tau| + |u|)) u + a."""
    (u,), (w_tau, a) = heads, vectors
    kept: F32 = np.exp((np.abs(w_tau) + np.abs(u)) * np.float32(-dt))
    updated: F32 = np.subtract(a, a * kept * u)
    return updated


def gru(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """Gated recurrent unit: h' = (1 - u) tanh(nx + r nh) + u h, r = sigmoid(rx + rh), u = sigmoid(ux + uh)."""
    reset_x, update_x, new_x, reset_h, update_h, new_h = heads
    update = sigmoid(update_x + update_h)
    new = np.tanh(new_x + sigmoid(reset_x + reset_h) * new_h)
    updated: F32 = (np.float32(1.0) - update) * new + update * h
    return updated


def lstm(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """Long short-term memory on [h; c]: c' = k c + w tanh(nx + nh), h' = s tanh(c'); gates sigmoid(x part + h part)."""
    write_x, keep_x, new_x, show_x, write_h, keep_h, new_h, show_h = heads
    units = len(new_x)
    new = sigmoid(write_x + write_h) * np.tanh(new_x + new_h)
    memory = sigmoid(keep_x + keep_h) * h[units:] + new
    updated: F32 = np.concatenate([sigmoid(show_x + show_h) * np.tanh(memory), memory])
    return updated


def memoryless(heads: Heads, vectors: Vectors, h: F32, dt: float) -> F32:
    """The empty state of a network without neurons that remember."""
    updated: F32 = h.copy()
    return updated


@dataclass(frozen=True, slots=True)
class Form:
    """A cell form: `update(heads, vectors, h, dt) -> h'`, and the names of its weights.

    heads: linear maps, each a `NAME.weight` and a `NAME.bias`. recurrent: more of them, of the state alone;
    the backbone of such a form sees x alone. vectors: parameters of shape (units,). time_constant: of each
    neuron in time units, where the form has one. state: of how many vectors of (units,) the state h is made; the
    first one is what the neurons show to readout and recurrent maps.
    """

    update: Callable[[Heads, Vectors, F32, float], F32]
    heads: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    time_constant: Callable[[Heads, Vectors], F32] | None = None
    recurrent: tuple[str, ...] = ()
    state: int = 1


_GATED: Final = ("ff1", "ff2", "time_a", "time_b")
FORMS: Final[dict[str, Form]] = {
    "decay": Form(decay, ("target", "rate"), time_constant=decay_time_constant),
    "default": Form(default, _GATED),
    "no_gate": Form(no_gate, _GATED),
    "pure": Form(pure, ("ff1",), ("w_tau", "a")),
    "gru": Form(gru, ("reset_x", "update_x", "new_x"), recurrent=("reset_h", "update_h", "new_h")),
    "lstm": Form(
        lstm,
        ("write_x", "keep_x", "new_x", "show_x"),
        recurrent=("write_h", "keep_h", "new_h", "show_h"),
        state=2,
    ),
    "mlp": Form(memoryless),
}
