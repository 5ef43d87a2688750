"""Traced numbers: an equation run on `Expr` instead of floats leaves its arithmetic in a `Graph`.

Expressions are hash-consed (the same operation on the same arguments is one node), folded where
arguments are constants, and numbered so that arguments come before what uses them. Folding follows
the algebra of finite numbers: x * 0 is 0, x - x is 0, x / constant is x * (1 / constant).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Final, NoReturn

from liquid_pilot.errors import LiquidPilotError

ARITY: Final[dict[str, int]] = {
    "add": 2,
    "sub": 2,
    "mul": 2,
    "div": 2,
    "neg": 1,
    "sin": 1,
    "cos": 1,
    "sqrt": 1,
    "exp": 1,
    "tanh": 1,
    "minimum": 2,
    "maximum": 2,
    "select": 4,
}
COMMUTATIVE: Final = frozenset({"add", "mul"})
_FLOAT: Final[dict[str, Callable[..., float]]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "sin": math.sin,
    "cos": math.cos,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "tanh": math.tanh,
    "minimum": min,
    "maximum": max,
    "select": lambda a, b, x, y: x if a > b else y,
}
_UFUNCS: Final = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "negative": "neg"}


class TraceError(LiquidPilotError, TypeError):
    """Something was done to a traced number that cannot be written down as an equation."""


class Expr:
    """One traced number of one drone; made by `Graph.input`, `Graph.constant` and arithmetic.

    op: "input", "const" or a key of `ARITY`. index: its place in `graph.nodes`. name: of an input.
    value: of a constant. Compared and hashed by identity; equal expressions of a graph are identical.
    """

    __slots__ = ("args", "graph", "index", "name", "op", "value")

    def __init__(self, graph: Graph, index: int, op: str, args: tuple[Expr, ...], name: str, value: float) -> None:
        self.graph, self.index, self.op, self.args, self.name, self.value = graph, index, op, args, name, value

    @property
    def is_constant(self) -> bool:
        """True if the value is known while tracing."""
        return self.op == "const"

    def __repr__(self) -> str:
        if self.op == "const":
            return repr(self.value)
        if self.op == "input":
            return self.name
        shown = (arg.name or (repr(arg.value) if arg.is_constant else f"t{arg.index}") for arg in self.args)
        return f"{self.op}({', '.join(shown)})"

    def __add__(self, other: Any, /) -> Expr:
        return self.graph.node("add", self, other)

    def __radd__(self, other: Any, /) -> Expr:
        return self.graph.node("add", other, self)

    def __sub__(self, other: Any, /) -> Expr:
        return self.graph.node("sub", self, other)

    def __rsub__(self, other: Any, /) -> Expr:
        return self.graph.node("sub", other, self)

    def __mul__(self, other: Any, /) -> Expr:
        return self.graph.node("mul", self, other)

    def __rmul__(self, other: Any, /) -> Expr:
        return self.graph.node("mul", other, self)

    def __truediv__(self, other: Any, /) -> Expr:
        return self.graph.node("div", self, other)

    def __rtruediv__(self, other: Any, /) -> Expr:
        return self.graph.node("div", other, self)

    def __neg__(self) -> Expr:
        return self.graph.node("neg", self)

    def __pos__(self) -> Expr:
        return self

    __hash__ = object.__hash__

    def _decide(self, other: object = None, /) -> NoReturn:
        raise TraceError(
            f"a decision (if, while, and, or, ==, <, bool) was asked of the traced number {self!r}, whose value is "
            "known only in flight: a data-dependent `if` cannot be traced; use ops.select, ops.minimum or ops.maximum"
        )

    __bool__ = __lt__ = __le__ = __gt__ = __ge__ = _decide

    def __eq__(self, other: object, /) -> bool:
        self._decide()

    def __ne__(self, other: object, /) -> bool:
        self._decide()

    def _convert(self) -> NoReturn:
        raise TraceError(
            f"the traced number {self!r} was to become a plain number, whose value is known only in flight (a function "
            "such as math.sin does that); allowed are + - * / and the functions of ops: use ops.sin(x) and the like"
        )

    __float__ = __int__ = __index__ = __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = _convert

    def _shape(self, *_: object) -> NoReturn:
        raise TraceError(
            f"the traced number {self!r} was used as a vector; equations see one drone's scalars: index the tuple that "
            "holds them, not the number"
        )

    __iter__ = __len__ = __getitem__ = _shape

    def _unknown(self, *_: object) -> NoReturn:
        raise TraceError(
            f"an operator outside + - * / was used on the traced number {self!r}; write x * x for a square, "
            "ops.sqrt for a root, ops.maximum(x, -x) for a magnitude"
        )

    __pow__ = __rpow__ = __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = __matmul__ = __rmatmul__ = _unknown
    __abs__ = _unknown

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Expr:
        """Let a numpy scalar stand left of an operator; refuse numpy's functions."""
        op = _UFUNCS.get(ufunc.__name__)
        if op is None or method != "__call__" or kwargs:
            raise TraceError(f"numpy.{ufunc.__name__} cannot be traced; allowed are + - * / and the functions of ops")
        return self.graph.node(op, *inputs)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        """Refuse torch's functions, which would take the number for a tensor."""
        name = getattr(func, "__name__", func)
        raise TraceError(f"torch function {name} cannot be traced; allowed are + - * / and the functions of ops")


class Graph:
    """Owns expressions. nodes: all of them, arguments before their users."""

    def __init__(self) -> None:
        self.nodes: list[Expr] = []
        self._known: dict[tuple[Any, ...], Expr] = {}

    def constant(self, value: float) -> Expr:
        """A number known while tracing. Raises `TraceError` if it is not finite."""
        number = float(value) + 0.0  # -0.0 becomes 0.0: they are one constant
        if not math.isfinite(number):
            raise TraceError(f"the constant {value!r} is not finite; traced equations hold finite constants only")
        return self._intern(("const", number), "const", (), "", number)

    def input(self, name: str) -> Expr:
        """A number that is known only in flight. The same name gives the same expression."""
        return self._intern(("input", name), "input", (), name, math.nan)

    def inputs(self, name: str, count: int) -> list[Expr]:
        """Inputs name[0] ... name[count - 1]."""
        return [self.input(f"{name}[{i}]") for i in range(count)]

    def lift(self, value: Any) -> Expr:
        """An expression of this graph from an expression or a plain number. Raises `TraceError` for all else."""
        if isinstance(value, Expr):
            if value.graph is not self:
                raise TraceError(f"{value!r} belongs to another Graph; trace one function within one Graph")
            return value
        if not isinstance(value, bool) and isinstance(value, Real):
            return self.constant(float(value))
        shape = getattr(value, "shape", None)
        found = f"a {type(value).__name__}" + ("" if shape is None else f" of shape {tuple(shape)}")
        raise TraceError(f"{found} met a traced number; equations see one drone's scalars, not vectors")

    def node(self, op: str, *args: Any) -> Expr:
        """The operation `op` of `ARITY` on expressions or plain numbers, folded where that is exact."""
        if ARITY.get(op) != len(args):
            raise TraceError(f"operation {op!r} with {len(args)} arguments; known are {ARITY}")
        lifted = tuple(self.lift(arg) for arg in args)
        if all(arg.is_constant for arg in lifted):
            return self.constant(_folded(op, [arg.value for arg in lifted]))
        return self._simplify(op, lifted)

    def _intern(self, key: tuple[Any, ...], op: str, args: tuple[Expr, ...], name: str, value: float) -> Expr:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Expr(self, len(self.nodes), op, args, name, value)
            self.nodes.append(known)
        return known

    def _raw(self, op: str, args: tuple[Expr, ...]) -> Expr:
        if op in COMMUTATIVE and args[0].index > args[1].index:
            args = (args[1], args[0])
        return self._intern((op, *(arg.index for arg in args)), op, args, "", math.nan)

    def _simplify(self, op: str, args: tuple[Expr, ...]) -> Expr:
        if op == "neg":
            (a,) = args
            return a.args[0] if a.op == "neg" else self._raw(op, args)
        if op in ("add", "sub"):
            return self._sum(op, *args)
        if op in ("mul", "div"):
            return self._product(op, *args)
        if op in ("minimum", "maximum"):
            a, b = args
            if a is b:
                return a
            return self._raw(op, (b, a) if a.is_constant else args)
        if op == "select":
            a, b, x, y = args
            if x is y or a is b:
                return y
            if a.is_constant and b.is_constant:
                return x if a.value > b.value else y
        return self._raw(op, args)

    def _sum(self, op: str, a: Expr, b: Expr) -> Expr:
        if is_number(b, 0.0):
            return a
        if is_number(a, 0.0):
            return b if op == "add" else self.node("neg", b)
        if op == "sub" and a is b:
            return self.constant(0.0)
        if b.op == "neg":
            return self.node("sub" if op == "add" else "add", a, b.args[0])
        if a.op == "neg":
            inner = a.args[0]
            return self.node("sub", b, inner) if op == "add" else self.node("neg", self.node("add", inner, b))
        return self._raw(op, (a, b))

    def _product(self, op: str, a: Expr, b: Expr) -> Expr:
        if op == "div":
            if b.is_constant:
                return self.node("mul", a, _folded("div", [1.0, b.value]))
            if a is b:
                return self.constant(1.0)
        elif a.is_constant:
            a, b = b, a
        if is_number(a, 0.0) or is_number(b, 0.0):
            return self.constant(0.0)
        if op == "mul" and is_number(b, 1.0):
            return a
        if op == "mul" and is_number(b, -1.0):
            return self.node("neg", a)
        if a.op == "neg":
            return self.node("neg", self.node(op, a.args[0], b))
        if b.op == "neg":
            return self.node("neg", self.node(op, a, b.args[0]))
        return self._raw(op, (a, b))


def is_number(expression: Expr, value: float) -> bool:
    """True if the expression is the constant `value`."""
    return expression.is_constant and expression.value == value


def _folded(op: str, values: Sequence[float]) -> float:
    try:
        return _FLOAT[op](*values)
    except (ArithmeticError, ValueError) as error:
        raise TraceError(f"{op}({', '.join(map(repr, values))}) of constants has no value: {error}") from error
