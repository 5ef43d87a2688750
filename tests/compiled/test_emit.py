"""C text of traced equations: what it computes, stores and adds, where it can be cut, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from envs.compiled.derivative import vjp
from envs.compiled.emit import emit_function, evaluate, prelude
from envs.compiled.expression import Graph, TraceError
from envs.compiled.tracer import TraceOps
from liquid_pilot.errors import ConfigError
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.ops import FLOAT_OPS, Ops
from tests.compiled.running import compile_text, compiled, draw, error, needs_compiler, on_floats

pytestmark = needs_compiler


def test_each_value_is_computed_once_and_only_if_needed() -> None:
    g = Graph()
    x, y = g.inputs("x", 2)
    ops = TraceOps(g)
    ops.exp(x)  # nobody needs it
    text = emit_function("f", {"x": [x, y]}, {"out": [ops.sin(x + y) * y, ops.sin(y + x)]})
    assert text.count("v_sin(") == 1
    assert "v_exp" not in text


def test_outputs_are_stored_or_added() -> None:
    g = Graph()
    x, y = g.inputs("x", 2)
    arrays: dict[str, list[Any]] = {"sum": [x + y, g.constant(0.0)], "product": [x * y, 7.0]}
    text = emit_function("f", {"x": [x, y]}, arrays, frozenset({"sum"}))
    found = compile_text(text, "f(in, out, out + 2); f(in, out, out + 2);", (2, 4))(draw(2))
    a, b = draw(2)
    np.testing.assert_allclose(found, [2.0 * (a + b), 0.0 * a, a * b, 0.0 * a + 7.0], rtol=1e-15)


def test_a_long_function_can_be_cut_in_two() -> None:
    """An intermediate value can be an input: gradients through both halves make that of the whole."""
    g = Graph()
    x, y = g.inputs("x", 2)
    (bar,) = g.inputs("bar", 1)
    ops = TraceOps(g)
    middle = ops.sin(x * y)
    end = ops.exp(middle) * x
    bar_middle, bar_x = vjp([end], [bar], [middle, x])
    text = emit_function("second", {"x": [x], "m": [middle], "bar": [bar]}, {"out": [bar_middle, bar_x]})
    assert "v_sin" not in text
    second = vjp([middle], [bar_middle], [x, y])
    whole = vjp([end], [bar], [x, y])
    values = {x: 0.3, y: 0.7, bar: 1.1}
    dx, dy, direct = evaluate(FLOAT_OPS, [*second, bar_x], values)
    assert [dx + direct, dy] == pytest.approx(evaluate(FLOAT_OPS, whole, values), rel=1e-14)


def test_wrong_use_of_emission_is_named() -> None:
    g = Graph()
    x, y = g.inputs("x", 2)
    with pytest.raises(TraceError, match=r"needs the input x\[1\]"):
        emit_function("f", {"x": [x]}, {"out": [x + y]})
    with pytest.raises(TraceError, match="given once"):
        emit_function("f", {"x": [x], "y": [x]}, {"out": [x]})
    with pytest.raises(TraceError, match="not constant"):
        emit_function("f", {"x": [g.constant(1.0)]}, {"out": [x]})
    with pytest.raises(TraceError, match="different names"):
        emit_function("f", {"x": [x]}, {"x": [x]})
    with pytest.raises(TraceError, match="accumulate"):
        emit_function("f", {"x": [x]}, {"out": [x]}, frozenset({"sum"}))
    with pytest.raises(TraceError, match="C name"):
        emit_function("f-1", {"x": [x]}, {"out": [x]})
    with pytest.raises(TraceError, match="no expression"):
        emit_function("f", {}, {"out": [1.0]})
    with pytest.raises(ConfigError, match="choose one of"):
        prelude(24)


def test_wrong_use_of_the_derivative_is_named() -> None:
    g = Graph()
    x, y = g.inputs("x", 2)
    with pytest.raises(TraceError, match="2 seeds for 1 outputs"):
        vjp([x * y], [1.0, 1.0], [x])
    with pytest.raises(TraceError, match="twice"):
        vjp([x * y], [1.0], [x, x])
    with pytest.raises(TraceError, match="no value"):
        evaluate(FLOAT_OPS, [x * y], {x: 1.0})
    assert vjp([x], [1.0], []) == []
    (slope,) = vjp([x * x, 3.0], [1.0, 1.0], [y])
    assert slope.is_constant and slope.value == 0.0


def test_float_lanes_of_all_widths_agree() -> None:
    def function(ops: Ops, x: Sequence[Any]) -> list[Any]:
        matrix = rotation_matrix((x[0], x[1], x[2], x[3]))
        return [ops.sin(matrix[0][0]) * x[1], ops.exp(matrix[1][2]) + ops.tanh(x[0]), ops.sqrt(x[2] * x[2] + 1.0)]

    x = draw(4, 64).astype(np.float32).astype(np.float64)
    wanted = on_floats(function, x)
    found = [compiled(function, 4, lane_bytes, "float")(x) for lane_bytes in (16, 32, 64)]
    assert error(found[0], wanted) < 2e-6
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, rtol=1e-6, atol=1e-6)
