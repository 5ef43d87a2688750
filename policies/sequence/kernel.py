"""Compiled sequences: C text of a network's step becomes one differentiable torch function over a whole sequence.

Any network will do whose text has net_step, net_vjp, net_gradient and net_bar_dt without a readout.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from envs.compiled.emit import prelude
from liquid_pilot.errors import ConfigError
from liquid_pilot.native import best_lane_bytes, build
from policies.fragments import fragment

REALS: Final = {torch.float32: "float", torch.float64: "double"}  # number types that a kernel may have


class Sequence(ctypes.Structure):
    """`Sequence` of sequence.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "steps")),
        *((name, ctypes.c_void_p) for name in (
            "weights", "x", "dt", "mask", "h", "states", "last", "tapes", "bar_states", "bar_last",
            "bar_weights", "bar_x", "bar_dt", "bar_h", "scratch",
        )),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Kernel:
    """A compiled network. weights: how many it has; tape, scratch: lanes of a step's tape and of scratch memory."""

    library: ctypes.CDLL
    lanes: int
    weights: int
    tape: int
    scratch: int

    def tapes(self, x: Tensor) -> Tensor:
        """Memory for the tapes of x, (B, T, inputs)."""
        batch, steps = x.shape[:2]
        return x.new_empty(-(-batch // self.lanes) * steps * self.tape * self.lanes)

    def call(self, function: str, batch: int, steps: int, like: Tensor, **arrays: Tensor | None) -> None:
        """Run `lp_forward` or `lp_backward` on contiguous tensors of one number type; None is a null pointer."""
        scratch = like.new_empty(self.scratch * self.lanes)
        pointers = {name: 0 if array is None else array.data_ptr() for name, array in arrays.items()}
        job = Sequence(batch=batch, steps=steps, scratch=scratch.data_ptr(), **pointers)
        getattr(self.library, function)(ctypes.byref(job))


def build_kernel(network: str, dtype: torch.dtype, lane_bytes: int | None = None) -> Kernel:
    """The kernel of a network's C text. Raises as `liquid_pilot.native.build`.

    lane_bytes: 16, 32 or 64; chosen for the processor if not given.
    """
    start = [prelude(lane_bytes or best_lane_bytes(), REALS[dtype]), fragment("short_tanh.c"), network]
    driver = [fragment(name) for name in ("rows.c", "sequence.c")]
    library = build("\n".join([*start, *driver]), "sequence")
    sizes = [getattr(library, f"lp_{name}") for name in ("lanes", "weights", "tape", "scratch")]
    for size in sizes:
        size.restype = ctypes.c_int64
    return Kernel(library, *(int(size()) for size in sizes))


def run(
    kernel: Kernel, weights: Tensor, x: Tensor, dt: Tensor, h: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """States (B, T, units) and the last one (B, units), with gradients.

    weights: (kernel.weights,), x: (B, T, inputs), dt: (B, T) as the network's text wants it, h: (B, units),
    mask: (B, T) of 0 and 1; all of the kernel's number type, on the CPU. The shapes are not checked.
    """
    needed = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (weights, x, dt, h))
    if not needed:
        return _forward(kernel, weights, x, dt, h, mask, None)
    both: tuple[Tensor, Tensor] = _Run.apply(kernel, weights, x, dt, h, mask)  # type: ignore[no-untyped-call]
    return both


def _forward(
    kernel: Kernel, weights: Tensor, x: Tensor, dt: Tensor, h: Tensor, mask: Tensor | None, tapes: Tensor | None
) -> tuple[Tensor, Tensor]:
    batch, steps, units = *x.shape[:2], h.shape[1]
    given = {"weights": weights, "x": x, "dt": dt, "mask": mask, "h": h}
    held = {name: None if array is None else array.contiguous() for name, array in given.items()}
    states, last = x.new_empty(batch, steps, units), x.new_empty(batch, units)
    kernel.call("lp_forward", batch, steps, x, **held, states=states, last=last, tapes=tapes)
    return states, last


class _Run(torch.autograd.Function):
    """`run`, differentiated once."""

    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, weights: Tensor, x: Tensor, dt: Tensor, h: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        tapes = kernel.tapes(x)
        ctx.kernel, ctx.shapes = kernel, [tensor.shape for tensor in (weights, x, dt, h)]
        ctx.save_for_backward(weights, dt, mask, tapes)
        return _forward(kernel, weights, x, dt, h, mask, tapes)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        refuse_second_order("compiled")
        bar_states, bar_last = grad_outputs
        weights, dt, mask, tapes = ctx.saved_tensors
        if bar_states is None and bar_last is None:
            return (None,) * 6
        asked = zip(("bar_weights", "bar_x", "bar_dt", "bar_h"), ctx.shapes, ctx.needs_input_grad[1:5], strict=True)
        bars = {name: weights.new_empty(shape) if needed else None for name, shape, needed in asked}
        given = {"weights": weights, "dt": dt, "mask": mask, "bar_states": bar_states, "bar_last": bar_last}
        held = {name: None if array is None else array.contiguous() for name, array in given.items()}
        ctx.kernel.call("lp_backward", *dt.shape, weights, **held, **bars, tapes=tapes)
        return None, *bars.values(), None


def refuse_second_order(engine: str) -> None:
    """Raise `ConfigError` in a backward pass that is itself to be differentiated."""
    if torch.is_grad_enabled():
        raise ConfigError(
            f"the engine {engine!r} is differentiated once, and create_graph=True asks for more; choose engine='loop'"
        )
