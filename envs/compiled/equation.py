"""An equation over `ops` as one C function and its derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from envs.compiled.derivative import vjp
from envs.compiled.emit import emit_function
from envs.compiled.expression import Expr, Graph
from envs.compiled.tracer import TraceOps
from liquid_pilot.ops import Ops

Scalars: TypeAlias = Sequence[Any]
Arrays: TypeAlias = Mapping[str, Scalars]


@dataclass(frozen=True, slots=True)
class Equation:
    """One C function: inputs with their lengths, and how outputs follow. wrt: inputs that get a gradient.

    seeded: outputs that carry one back; stored: gradients that overwrite instead of being added.
    """

    name: str
    inputs: dict[str, int]
    outputs: Callable[[Ops, Arrays], dict[str, Scalars]]
    wrt: tuple[str, ...] = ()
    seeded: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()

    def emit(self) -> str:
        """C text of the function and, where something is differentiated, of NAME_vjp."""
        graph = Graph()
        given = {array: graph.inputs(array, count) for array, count in self.inputs.items()}
        made = {array: list(values) for array, values in self.outputs(TraceOps(graph), given).items()}
        text = emit_function(self.name, given, {f"new_{array}": values for array, values in made.items()})
        if not self.wrt:
            return text
        bars = {f"bar_{array}": graph.inputs(f"bar_{array}", len(made[array])) for array in self.seeded}
        chosen = [expression for array in self.wrt for expression in given[array]]
        slopes = vjp(
            [value for array in self.seeded for value in made[array]],
            [seed for array in self.seeded for seed in bars[f"bar_{array}"]],
            chosen,
        )
        found: dict[str, list[Expr]] = {}
        for array in self.wrt:
            found[f"to_{array}"], slopes = slopes[: self.inputs[array]], slopes[self.inputs[array] :]
        added = frozenset(f"to_{array}" for array in self.wrt if array not in self.stored)
        return text + emit_function(f"{self.name}_vjp", {**given, **bars}, found, added)
