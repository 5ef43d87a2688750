"""Traced equations are what they were written as, and their derivatives are torch's and those of differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.compiled.derivative import vjp
from envs.compiled.emit import evaluate
from envs.compiled.expression import Expr, Graph, TraceError
from envs.compiled.tracer import TraceOps, flatten, unflatten
from liquid_pilot.ops import NUMPY_OPS, Ops
from liquid_pilot.rate_loop import RateLoopState
from tests.compiled.running import (
    Function,
    compiled,
    compiled_vjp,
    draw,
    error,
    in_torch,
    needs_compiler,
    on_floats,
    trace,
)

pytestmark = needs_compiler

Program = tuple[tuple[str, int, int, int, int], ...]

PRIMITIVES: dict[str, Function] = {
    "add": lambda ops, x: [x[0] + x[1], 2.5 + x[0], x[0] + 2.5],
    "sub": lambda ops, x: [x[0] - x[1], 2.5 - x[0], x[0] - 2.5],
    "mul": lambda ops, x: [x[0] * x[1], 2.5 * x[0], x[0] * x[0]],
    "div": lambda ops, x: [x[0] / (x[1] * x[1] + 0.5), 2.5 / (x[0] * x[0] + 0.5), x[0] / 2.5],
    "neg": lambda ops, x: [-x[0], -(x[0] - x[1]), -x[0] * -x[1], x[0] - -x[1], -x[0] - x[1], -x[0] / (x[1] * x[1] + 1)],
    "sin": lambda ops, x: [ops.sin(x[0])],
    "cos": lambda ops, x: [ops.cos(x[0])],
    "sqrt": lambda ops, x: [ops.sqrt(x[0] * x[0] + 0.1)],
    "exp": lambda ops, x: [ops.exp(x[0])],
    "tanh": lambda ops, x: [ops.tanh(x[0])],
    "minimum": lambda ops, x: [ops.minimum(x[0], x[1]), ops.minimum(x[0], 0.3)],
    "maximum": lambda ops, x: [ops.maximum(x[0], x[1]), ops.maximum(x[0], 0.3)],
    "clip": lambda ops, x: [ops.clip(x[0], -0.3, 0.3), ops.clip(x[0], x[1] - 0.5, x[1] + 0.5)],
    "select": lambda ops, x: [ops.select(x[0], x[1], x[1] * 2.0, x[0]), ops.select(x[0], 0.3, x[1], 0.5)],
}


def check(function: Function, x: Any, tolerance: float = 1e-10) -> None:
    """Compiled, float and torch agree in value, compiled and torch in gradient."""
    found = compiled(function, len(x))(x)
    seed = draw(len(found), x.shape[1], 99)
    value, gradient = in_torch(function, x, seed)
    assert np.abs(gradient).max() > 0.0
    assert error(found, on_floats(function, x)) <= tolerance
    assert error(found, value) <= tolerance
    assert error(compiled_vjp(function, len(x))(np.concatenate([x, seed])), gradient) <= tolerance


def differences(function: Callable[[Any], Any], x: Any, seed: Any, step: float = 1e-5) -> Any:
    """Central differences of sum(seed * function(x)) in each of x, lane by lane."""
    rows = []
    for i in range(len(x)):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        rows.append((seed * (function(up) - function(down))).sum(axis=0) / (2.0 * step))
    return np.array(rows)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitive_agrees_in_value_and_gradient(name: str) -> None:
    check(PRIMITIVES[name], draw(2), 1e-14)


@pytest.mark.parametrize("name", sorted(set(PRIMITIVES) - {"minimum", "maximum", "clip", "select"}))
def test_gradient_of_a_smooth_primitive_is_that_of_differences(name: str) -> None:
    function, x = PRIMITIVES[name], draw(2, seed=1)
    run = compiled(function, 2)
    seed = draw(run.outputs, seed=2)
    found = compiled_vjp(function, 2)(np.concatenate([x, seed]))
    assert error(found, differences(run, x, seed)) < 1e-8


Instruction = Callable[[Ops, Any, Any, Any, Any], Any]
INSTRUCTIONS: dict[str, Instruction] = {  # functions get arguments that they can take
    "add": lambda ops, a, b, x, y: a + b,
    "sub": lambda ops, a, b, x, y: 1.5 - a - b,
    "mul": lambda ops, a, b, x, y: ops.tanh(a) * b,
    "div": lambda ops, a, b, x, y: a / (b * b + 0.5),
    "neg": lambda ops, a, b, x, y: -a,
    "sin": lambda ops, a, b, x, y: ops.sin(a),
    "cos": lambda ops, a, b, x, y: ops.cos(0.7 * a),
    "sqrt": lambda ops, a, b, x, y: ops.sqrt(a * a + 0.1),
    "exp": lambda ops, a, b, x, y: ops.exp(ops.tanh(a)),
    "minimum": lambda ops, a, b, x, y: ops.minimum(a, b),
    "maximum": lambda ops, a, b, x, y: ops.maximum(a, 0.2),
    "select": lambda ops, a, b, x, y: ops.select(a, b, x, y),
}


def run_program(program: Program, ops: Ops, inputs: Sequence[Any]) -> list[Any]:
    """Each instruction adds one number to those so far."""
    known = list(inputs)
    for op, *places in program:
        a, b, x, y = (known[place % len(known)] for place in places)
        known.append(INSTRUCTIONS[op](ops, a, b, x, y))
    return known[-2:]


programs = st.lists(
    st.tuples(
        st.sampled_from(sorted(INSTRUCTIONS)),
        st.integers(0, 40),
        st.integers(0, 40),
        st.integers(0, 40),
        st.integers(0, 40),
    ),
    min_size=3,
    max_size=25,
).map(tuple)


@settings(max_examples=60)
@given(program=programs, seed=st.integers(0, 1000))
def test_random_equations_keep_value_and_gradient(program: Program, seed: int) -> None:
    def function(ops: Ops, x: Sequence[Any]) -> list[Any]:
        return run_program(program, ops, x)

    x, weights = draw(3, 4, seed), draw(2, 4, seed + 1)
    inputs, outputs = trace(function, 3)
    seeds = inputs[0].graph.inputs("seed", 2)
    values = dict(zip([*inputs, *seeds], [*x, *weights], strict=True))
    wanted, gradient = in_torch(function, x, weights)
    found = np.array([np.broadcast_to(v, 4) for v in evaluate(NUMPY_OPS, outputs, values)])
    slopes = np.array([np.broadcast_to(v, 4) for v in evaluate(NUMPY_OPS, vjp(outputs, seeds, inputs), values)])
    assert error(found, wanted) < 1e-12
    assert error(slopes, gradient) < 1e-10


@settings(max_examples=5)
@given(program=programs)
def test_random_equations_compile(program: Program) -> None:
    def function(ops: Ops, x: Sequence[Any]) -> list[Any]:
        return [*run_program(program, ops, x), x[0] * x[1]]

    check(function, draw(3))


def test_jumps_of_the_slope_follow_torch() -> None:
    def function(ops: Ops, x: Sequence[Any]) -> list[Any]:
        return [
            ops.minimum(x[0], 1.0),
            ops.maximum(x[0], 1.0),
            ops.minimum(x[0], x[1]),
            ops.maximum(x[0], x[1]),
            ops.select(x[0], x[1], x[0], 3.0 * x[1]),
        ]

    x = np.array([[1.0] * 8, [1.0] * 4 + [2.0] * 4])  # at the bound, and both tied and apart
    for i in range(5):
        seed = np.zeros((5, 8))
        seed[i] = 1.0
        _, gradient = in_torch(function, x, seed)
        np.testing.assert_array_equal(compiled_vjp(function, 2)(np.concatenate([x, seed])), gradient)


def test_equal_expressions_are_one() -> None:
    g = Graph()
    x, y = g.inputs("x", 2)
    ops = TraceOps(g)
    assert x + y is y + x
    assert x * y is y * x
    assert x - y is not y - x
    assert ops.sin(x + y) is ops.sin(y + x)
    assert ops.maximum(0.5, x) is ops.maximum(x, 0.5)
    assert g.input("x[0]") is x
    assert 2.0 * x + 3 is np.float64(2.0) * x + np.float32(3.0)


def test_constants_fold() -> None:
    g = Graph()
    (x,) = g.inputs("x", 1)
    ops = TraceOps(g)
    minus = -x
    for same in (x + 0.0, 0 + x, x - 0.0, x * 1, 1.0 * x, x / 1.0, -minus, ops.minimum(x, x), ops.select(x, 1.0, x, x)):
        assert same is x
    for zero in (x * 0.0, 0.0 * x, x - x, 0.0 / x):
        assert zero.is_constant and zero.value == 0.0
    assert ops.sin(0.5).value == math.sin(0.5)
    assert ops.select(2.0, 1.0, x, -x) is x
    assert sum([x, x], 0) is x + x
    assert (x / 4.0) is x * 0.25


def branching(x: Any) -> float:
    return 1.0 if x > 0.0 else 2.0


TENSOR = torch.ones(3)
UNTRACEABLE: dict[str, tuple[Callable[[Expr], object], str]] = {
    "if": (branching, r"data-dependent `if` .* use ops\.select"),
    "equality": (lambda x: x == 1.0, "data-dependent"),
    "min": (lambda x: min(cast(Any, x), 1.0), r"ops\.minimum"),
    "bool": (lambda x: not cast(Any, x), "data-dependent"),
    "float": (float, "plain number"),
    "math": (lambda x: math.sin(x), r"use ops\.sin"),
    "numpy": (lambda x: np.sin(x), r"numpy\.sin cannot be traced"),
    "torch": (lambda x: torch.sin(cast(Any, x)), "torch function sin cannot be traced"),
    "power": (lambda x: x**2, r"write x \* x"),
    "abs": (lambda x: abs(x), r"ops\.maximum\(x, -x\)"),
    "round": (lambda x: round(x), "plain number"),
    "index": (lambda x: x[0], "one drone's scalars"),
    "unpack": (lambda x: list(cast(Any, x)), "one drone's scalars"),
    "array": (lambda x: x + np.zeros(3), r"ndarray of shape \(3,\)"),
    "array first": (lambda x: np.zeros(3) + x, r"ndarray of shape \(3,\)"),
    "tensor": (lambda x: x + TENSOR, r"Tensor of shape \(3,\)"),
    "tuple": (lambda x: x + cast(Any, (1.0, 2.0)), "a tuple met a traced number"),
    "text": (lambda x: x * "2", "a str met"),
    "truth": (lambda x: x * True, "a bool met"),
    "other graph": (lambda x: x + Graph().input("x"), "another Graph"),
    "infinity": (lambda x: x + math.inf, "not finite"),
    "by zero": (lambda x: x / 0.0, r"div\(1\.0, 0\.0\) of constants has no value"),
    "root": (lambda x: TraceOps(x.graph).sqrt(-1.0) * x, "has no value"),
    "arguments": (lambda x: x.graph.node("sin", x, x), "'sin' with 2 arguments"),
    "unknown": (lambda x: x.graph.node("log", x), "operation 'log'"),
}


@pytest.mark.parametrize("case", UNTRACEABLE)
def test_what_cannot_be_traced_is_named(case: str) -> None:
    action, message = UNTRACEABLE[case]
    with pytest.raises(TraceError, match=message):
        action(Graph().input("speed"))


def test_structures_survive_flattening() -> None:
    tree = (RateLoopState((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), [7.0, (8.0,)])
    leaves = flatten(tree)
    assert leaves == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert unflatten(tree, leaves) == tree
    with pytest.raises(TraceError, match="7 scalars for a tuple of 8"):
        unflatten(tree, leaves[:-1])
