"""Reverse-mode derivative of traced expressions, with torch's conventions where the slope jumps.

`minimum` and `maximum` with a constant are `torch.clamp`: the slope is 1 up to and including the
bound. Of two expressions they are `torch.minimum` and `torch.maximum`: a tie gives half to each.
`select` is `torch.where`: its condition has no slope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from envs.compiled.expression import Expr, Graph, TraceError, is_number


def _clamp(node: Expr, seed: Expr) -> tuple[Expr, ...]:
    """Slopes of minimum and maximum; a constant is always the second argument."""
    graph, (a, b) = node.graph, node.args
    over, under = (a, b) if node.op == "maximum" else (b, a)  # `over` > `under` where the result is a
    if b.is_constant:
        return graph.node("select", under, over, 0.0, seed), graph.constant(0.0)
    tie = graph.node("select", under, over, 0.0, seed * 0.5)
    first = graph.node("select", over, under, seed, tie)
    return first, seed - first


def _select(node: Expr, seed: Expr) -> tuple[Expr, ...]:
    graph, (a, b, _, _) = node.graph, node.args
    zero = graph.constant(0.0)
    return zero, zero, graph.node("select", a, b, seed, zero), graph.node("select", a, b, zero, seed)


_SLOPES: Final[dict[str, Callable[[Expr, Expr], tuple[Any, ...]]]] = {
    "add": lambda n, g: (g, g),
    "sub": lambda n, g: (g, -g),
    "mul": lambda n, g: (g * n.args[1], g * n.args[0]),
    "div": lambda n, g: (g / n.args[1], -(g / n.args[1]) * n),
    "neg": lambda n, g: (-g,),
    "sin": lambda n, g: (g * n.graph.node("cos", n.args[0]),),
    "cos": lambda n, g: (-(g * n.graph.node("sin", n.args[0])),),
    "sqrt": lambda n, g: (0.5 * g / n,),
    "exp": lambda n, g: (g * n,),
    "tanh": lambda n, g: (g * (1.0 - n * n),),
    "minimum": _clamp,
    "maximum": _clamp,
    "select": _select,
}


def vjp(outputs: Sequence[Any], seeds: Sequence[Any], wrt: Sequence[Expr]) -> list[Expr]:
    """Gradient of sum(seed * output) in each of `wrt`.

    outputs, seeds: as many each, expressions or plain numbers. wrt: expressions taken as independent
    of each other: inputs, or intermediate ones to cut a long function in two. Raises `TraceError` for
    seeds that do not match the outputs, a constant or a repeated expression in wrt.
    """
    if len(outputs) != len(seeds):
        raise TraceError(f"{len(seeds)} seeds for {len(outputs)} outputs; give one seed an output")
    if not wrt:
        return []
    graph = wrt[0].graph
    roots, chosen = [graph.lift(output) for output in outputs], {graph.lift(w).index for w in wrt}
    if len(chosen) != len(wrt) or any(w.is_constant for w in wrt):
        raise TraceError("wrt holds a constant or the same expression twice; list every independent expression once")
    carriers = depends_on(graph, roots, chosen)
    bar: dict[int, Expr] = {}

    def add(node: Expr, slope: Expr) -> None:
        if node.index in carriers and not is_number(slope, 0.0):
            bar[node.index] = bar[node.index] + slope if node.index in bar else slope

    for root, seed in zip(roots, seeds, strict=True):
        add(root, graph.lift(seed))
    for index in sorted(carriers - chosen, reverse=True):
        if index in bar:
            node = graph.nodes[index]
            for arg, slope in zip(node.args, _SLOPES[node.op](node, bar[index]), strict=True):
                add(arg, slope)
    return [bar.get(w.index, graph.constant(0.0)) for w in wrt]


def depends_on(graph: Graph, roots: Iterable[Expr], chosen: set[int]) -> set[int]:
    """Indices of the nodes below `roots` whose value depends on a chosen node, the chosen ones included."""
    below = reachable(roots, chosen)
    found: set[int] = set()
    for index in sorted(below):
        if index in chosen or any(arg.index in found for arg in graph.nodes[index].args):
            found.add(index)
    return found


def reachable(roots: Iterable[Expr], stop: Iterable[int] = ()) -> set[int]:
    """Indices of all nodes that the roots need; arguments of the nodes in `stop` are not followed."""
    known, cut, stack = set[int](), set(stop), list(roots)
    while stack:
        node = stack.pop()
        if node.index not in known:
            known.add(node.index)
            if node.index not in cut:
                stack.extend(node.args)
    return known
