"""C text of traced expressions: one static inline function over lane vectors a call of `emit_function`.

The text needs `prelude()` before it, which fixes the vector type V of LP_LANES numbers of type LP_REAL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from envs.compiled.derivative import reachable
from envs.compiled.expression import Expr, Graph, TraceError
from liquid_pilot.errors import ConfigError
from liquid_pilot.ops import Ops

HEADERS: Final = ("vector_math.h", "branches.h")
LANE_BYTES: Final = (16, 32, 64)
_INFIX: Final = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_CALLS: Final = {"minimum": "v_min", "maximum": "v_max"}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOCAL: Final = re.compile(r"V|t[0-9]+")


def prelude(lane_bytes: int, real: str = "float", watch_branches: bool = False) -> str:
    """The vector type and its functions, as C text. lane_bytes: 16, 32 or 64; real: "float" or "double".

    watch_branches: every lane signs which way its selects went, see branches.h.
    """
    if lane_bytes not in LANE_BYTES or real not in ("float", "double"):
        raise ConfigError(f"lanes of {lane_bytes} bytes of {real!r}; choose one of {LANE_BYTES} and float or double")
    lanes = lane_bytes // (4 if real == "float" else 8)
    settings = {"REAL": real, "LANES": lanes, "BRANCHES": int(watch_branches)}
    defines = "".join(f"#define LP_{name} {value}\n" for name, value in settings.items())
    return defines + "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in HEADERS)


def emit_function(
    name: str,
    inputs: Mapping[str, Sequence[Expr]],
    outputs: Mapping[str, Sequence[Any]],
    accumulate: frozenset[str] = frozenset(),
) -> str:
    """`static inline void name(const V *restrict input ..., V *restrict output ...)` as C text.

    inputs: C array names with the expressions that stand in them, element by element; an expression
    need not be an input of the graph, then the function takes its value instead of computing it.
    outputs: C array names with what to store there; arrays in `accumulate` are added to. Arrays must
    not overlap. Each value is computed once, and only what an output needs. Raises `TraceError` for
    an input that is missing, constant or given twice, and for names that C does not take.
    """
    for word in (name, *inputs, *outputs):
        if not _NAME.fullmatch(word) or _LOCAL.fullmatch(word):
            raise TraceError(f"{word!r} cannot be a C name here; use letters, digits and _, but not t with a number")
    if set(inputs) & set(outputs) or not accumulate <= set(outputs):
        raise TraceError(f"{name}: inputs and outputs need different names, and accumulate must name outputs")
    graph = _graph_of(name, [*inputs.values(), *outputs.values()])
    places = _places(name, inputs)
    stored = {array: [graph.lift(value) for value in values] for array, values in outputs.items()}
    needed = reachable((value for values in stored.values() for value in values), places)
    parameters = [f"const V *restrict {array}" for array in inputs] + [f"V *restrict {array}" for array in outputs]
    lines = [f"static inline void {name}({', '.join(parameters)}) {{"]
    for index in sorted(needed):
        node = graph.nodes[index]
        if index in places:
            lines.append(f"    const V t{index} = {places[index]};")
        elif node.op == "input":
            raise TraceError(f"{name} needs the input {node.name}, in none of its arrays {list(inputs)}; add it")
        elif not node.is_constant:
            lines.append(f"    const V t{index} = {_formula(node)};")
    for array, values in stored.items():
        adds = array in accumulate
        lines += [
            f"    {array}[{i}] {'+=' if adds else '='} {_term(value)};"
            for i, value in enumerate(values)
            if not (adds and value.is_constant and value.value == 0.0)
        ]
    return "\n".join([*lines, "}", ""])


def _graph_of(name: str, arrays: Sequence[Sequence[Any]]) -> Graph:
    for array in arrays:
        for value in array:
            if isinstance(value, Expr):
                return value.graph
    raise TraceError(f"{name} holds no expression; trace a function of at least one Graph.input")


def _places(name: str, inputs: Mapping[str, Sequence[Expr]]) -> dict[int, str]:
    """C text of every given expression by node index."""
    places: dict[int, str] = {}
    for array, values in inputs.items():
        for i, value in enumerate(values):
            if not isinstance(value, Expr) or value.is_constant or value.index in places:
                raise TraceError(
                    f"{name}: {array}[{i}] is {value!r}; an input must be an expression, not constant, and given once"
                )
            places[value.index] = f"{array}[{i}]"
    return places


def _term(node: Expr) -> str:
    if node.is_constant:
        return f"v_set({node.value!r})"
    return f"t{node.index}"


def _formula(node: Expr) -> str:
    terms = [_term(arg) for arg in node.args]
    if node.op == "neg":
        return f"-{terms[0]}"
    if node.op in _INFIX:
        return f"{terms[0]} {_INFIX[node.op]} {terms[1]}"
    return f"{_CALLS.get(node.op, f'v_{node.op}')}({', '.join(terms)})"


def evaluate(ops: Ops, outputs: Sequence[Expr], values: Mapping[Expr, Any]) -> list[Any]:
    """Values of traced outputs over any `ops` (floats, arrays, tensors), given those of the inputs."""
    arithmetic: dict[str, Callable[..., Any]] = {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "neg": lambda a: -a,
    }
    found: dict[int, Any] = {node.index: value for node, value in values.items()}
    for index in sorted(reachable(outputs, found)):
        node = outputs[0].graph.nodes[index]
        if node.is_constant:
            found.setdefault(index, node.value)
        elif index not in found:
            if node.op == "input":
                raise TraceError(f"the input {node.name} has no value; give one for every input")
            function = arithmetic.get(node.op) or getattr(ops, node.op)
            found[index] = function(*(found[arg.index] for arg in node.args))
    return [found[output.index] for output in outputs]
