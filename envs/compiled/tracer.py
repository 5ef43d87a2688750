"""Tracing: `ops` on expressions, and structures of scalars to and from flat lists.

Say `body = unflatten(template, graph.inputs("S", 13))`, then `outputs = flatten(step(TraceOps(graph), body))`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

from envs.compiled.expression import Expr, Graph, TraceError

Tree = TypeVar("Tree")


@dataclass(frozen=True, slots=True)
class TraceOps:
    """`liquid_pilot.ops.Ops` on the expressions of one graph; plain numbers are allowed in every place."""

    graph: Graph

    def sin(self, x: Any, /) -> Expr:
        """Sine of radians."""
        return self.graph.node("sin", x)

    def cos(self, x: Any, /) -> Expr:
        """Cosine of radians."""
        return self.graph.node("cos", x)

    def sqrt(self, x: Any, /) -> Expr:
        """Square root."""
        return self.graph.node("sqrt", x)

    def exp(self, x: Any, /) -> Expr:
        """Exponential."""
        return self.graph.node("exp", x)

    def tanh(self, x: Any, /) -> Expr:
        """Hyperbolic tangent."""
        return self.graph.node("tanh", x)

    def minimum(self, x: Any, y: Any, /) -> Expr:
        """The smaller of two."""
        return self.graph.node("minimum", x, y)

    def maximum(self, x: Any, y: Any, /) -> Expr:
        """The larger of two."""
        return self.graph.node("maximum", x, y)

    def clip(self, x: Any, low: Any, high: Any, /) -> Expr:
        """X cut to the two."""
        return self.minimum(self.maximum(x, low), high)

    def select(self, a: Any, b: Any, x: Any, y: Any, /) -> Expr:
        """X where a > b, else y."""
        return self.graph.node("select", a, b, x, y)


def flatten(tree: object) -> list[Any]:
    """The scalars of nested tuples, lists and dataclasses, in order of declaration."""
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in flatten(part)]
    if is_dataclass(tree) and not isinstance(tree, type):
        return [leaf for field in fields(tree) for leaf in flatten(getattr(tree, field.name))]
    return [tree]


def unflatten(template: Tree, leaves: Sequence[Any]) -> Tree:
    """A structure like `template` that holds `leaves` (in the order of `flatten`) in place of its scalars."""
    wanted = len(flatten(template))
    if wanted != len(leaves):
        raise TraceError(f"{len(leaves)} scalars for a {type(template).__name__} of {wanted}; give exactly {wanted}")
    result: Tree = _filled(template, iter(leaves))
    return result


def _filled(template: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(template, (tuple, list)):
        return type(template)([_filled(part, leaves) for part in template])
    if is_dataclass(template) and not isinstance(template, type):
        values = {field.name: _filled(getattr(template, field.name), leaves) for field in fields(template)}
        return type(template)(**values)
    return next(leaves)
