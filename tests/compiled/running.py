"""Runs one function over `ops` on floats, in torch, as a traced graph and compiled, with its derivative."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from envs.batched_ops import TORCH_OPS
from envs.compiled.derivative import vjp
from envs.compiled.emit import emit_function, prelude
from envs.compiled.expression import Expr, Graph
from envs.compiled.tracer import TraceOps
from liquid_pilot.native import available, build
from liquid_pilot.ops import FLOAT_OPS, Ops

Array: TypeAlias = NDArray[Any]
Function: TypeAlias = Callable[[Ops, Sequence[Any]], Sequence[Any]]  # (ops, scalars in) -> scalars out

FLAGS = ("-std=gnu11", "-O2", "-march=native", "-fno-math-errno", "-Wall", "-Werror", "-Wno-psabi")

needs_compiler = pytest.mark.skipif(not available(), reason="no C compiler")

_DRIVER = """
void run(const LP_REAL *x, LP_REAL *y, long blocks) {{
    for (long b = 0; b < blocks; b++) {{
        V in[{inputs}], out[{outputs}];
        for (int i = 0; i < {inputs}; i++) in[i] = v_load(x + (b * {inputs} + i) * LP_LANES);
        for (int i = 0; i < {outputs}; i++) out[i] = v_set(0);
        {call}
        for (int i = 0; i < {outputs}; i++) v_store(y + (b * {outputs} + i) * LP_LANES, out[i]);
    }}
}}
"""


@dataclass(frozen=True)
class Compiled:
    """A compiled function of `inputs` arrays to `outputs` arrays."""

    library: ctypes.CDLL
    inputs: int
    outputs: int
    lanes: int
    real: str

    def __call__(self, x: Array) -> Array:
        """(inputs, B) -> (outputs, B); B must be a multiple of the lanes."""
        dtype = np.float32 if self.real == "float" else np.float64
        blocks = x.shape[1] // self.lanes
        assert x.shape == (self.inputs, blocks * self.lanes)
        laid = np.ascontiguousarray(x.reshape(self.inputs, blocks, self.lanes).transpose(1, 0, 2), dtype=dtype)
        y = np.empty((blocks, self.outputs, self.lanes), dtype)
        self.library.run(ctypes.c_void_p(laid.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_long(blocks))
        return np.asarray(y.transpose(1, 0, 2).reshape(self.outputs, -1))


def compile_text(text: str, call: str, counts: tuple[int, int], lane_bytes: int = 64, real: str = "double") -> Compiled:
    """C text and a driver around the statement `call`, which reads `in` and writes `out`; counts: of both."""
    driver = _DRIVER.format(inputs=counts[0], outputs=counts[1], call=call)
    library = build(prelude(lane_bytes, real) + text + driver, "tested", FLAGS)
    return Compiled(library, *counts, lane_bytes // (4 if real == "float" else 8), real)


def trace(function: Function, count: int) -> tuple[list[Expr], list[Expr]]:
    """(inputs x[0..count), outputs) in a new graph."""
    graph = Graph()
    inputs = graph.inputs("x", count)
    return inputs, [graph.lift(value) for value in function(TraceOps(graph), inputs)]


def compiled(function: Function, count: int, lane_bytes: int = 64, real: str = "double") -> Compiled:
    """Outputs of a function of `count` scalars."""
    inputs, outputs = trace(function, count)
    text = emit_function("traced", {"x": inputs}, {"y": outputs})
    return compile_text(text, "traced(in, out);", (count, len(outputs)), lane_bytes, real)


def compiled_vjp(function: Function, count: int, lane_bytes: int = 64, real: str = "double") -> Compiled:
    """Gradient in all inputs, of inputs followed by seeds."""
    inputs, outputs = trace(function, count)
    seeds = inputs[0].graph.inputs("seed", len(outputs))
    text = emit_function("traced", {"x": inputs, "seed": seeds}, {"bar": vjp(outputs, seeds, inputs)})
    return compile_text(text, f"traced(in, in + {count}, out);", (count + len(seeds), count), lane_bytes, real)


def on_floats(function: Function, x: Array) -> Array:
    """(inputs, B) -> (outputs, B), drone by drone."""
    return np.asarray(np.array([function(FLOAT_OPS, column.tolist()) for column in x.T], dtype=np.float64).T)


def in_torch(function: Function, x: Array, seed: Array) -> tuple[Array, Array]:
    """(outputs, gradient of sum(seed * outputs)) by autograd."""
    leaves = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    lanes = torch.zeros(x.shape[1], dtype=torch.float64)
    outputs = torch.stack([lanes + value for value in function(TORCH_OPS, leaves.unbind())])
    (gradient,) = torch.autograd.grad((outputs * torch.tensor(seed)).sum(), leaves)
    return outputs.detach().numpy(), gradient.numpy()


def draw(count: int, lanes: int = 16, seed: int = 0) -> Array:
    """(count, lanes) standard normal numbers."""
    return np.random.default_rng(seed).normal(size=(count, lanes))


def error(found: Array, wanted: Array) -> float:
    """Largest difference, relative to the value and to the largest of its row."""
    size = np.abs(wanted) + np.abs(wanted).max(axis=1, keepdims=True) + 1e-12
    return float(np.max(np.abs(found - wanted) / size))
