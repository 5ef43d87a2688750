"""Where a picture of a wiring puts things: columns of nodes in the order of flow, and a curve for each synapse."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from policies.wirings.wiring import Wiring

Points: TypeAlias = npt.NDArray[np.float64]
Node: TypeAlias = tuple[int, int]  # column, place in it from the top

COLUMN_GAP: Final = 3.6
PITCH: Final = (0.46, 0.8)  # smallest and usual distance of neighbours in a column
SPREAD: Final = 1.5  # largest distance, in a column of few
TALL: Final = 15.0  # a column that would be taller has its neighbours closer
RADIUS: Final = 0.2
TOUCH: Final = 0.25  # synapses end at this distance from the middle of a node, so that their ends are seen
FACE_RAD: Final = 1.1  # synapses arrive within this angle of a node's side
PULL: Final = 0.45  # how long a curve between columns keeps level, as a share of its width
MOTOR: Final = "motor"


@dataclass(frozen=True, eq=False)
class Column:
    """Nodes that stand above each other. points: (n, 2), from the top; slow: whether they wait for the trigger."""

    title: str
    points: Points
    slow: bool = False


@dataclass(frozen=True, eq=False)
class SynapseCurve:
    """points: (4, 2), the control points of a cubic Bezier curve from the source to the target."""

    points: Points
    polarity: int
    recurrent: bool  # within a column


def columns_of(wiring: Wiring) -> tuple[Column, ...]:
    """The inputs, then the layers; a last layer that holds other neurons beside the motor neurons is shown as two."""
    names, sizes, slow = [*wiring.names], [*wiring.layers], [name in wiring.slow_layers for name in wiring.names]
    if wiring.outputs < sizes[-1]:
        names, slow = [*names, MOTOR], [*slow, slow[-1]]
        sizes[-1:] = [sizes[-1] - wiring.outputs, wiring.outputs]
    most = max(wiring.inputs, *sizes)
    pitch = float(np.clip(TALL / most, *PITCH))
    columns = []
    for number, (title, size, waits) in enumerate(
        zip(["sensory", *names], [wiring.inputs, *sizes], [False, *slow], strict=True)
    ):
        step = np.clip(pitch * most / size, pitch, max(SPREAD, pitch))
        heights = step * ((size - 1) / 2 - np.arange(size))
        columns.append(Column(title, np.stack([np.full(size, number * COLUMN_GAP), heights], axis=1), bool(waits)))
    return tuple(columns)


def curves_of(wiring: Wiring, columns: tuple[Column, ...]) -> list[SynapseCurve]:
    """A curve for each synapse. Those that arrive at one side of a node are spread over it in the order of origin."""
    nodes = [(c, place) for c, column in enumerate(columns) for place in range(len(column.points))]
    joined = np.concatenate([wiring.sensory, wiring.recurrent])
    arrivals: dict[tuple[Node, bool], list[tuple[Node, int]]] = defaultdict(list)
    for i, j in np.argwhere(joined):
        source, target = nodes[i], nodes[wiring.inputs + j]
        arrivals[target, source[0] < target[0]].append((source, int(joined[i, j])))
    curves = []
    for (target, forward), sources in arrivals.items():
        sources.sort(key=lambda item: columns[item[0][0]].points[item[0][1], 1])
        for rank, (source, polarity) in enumerate(sources):
            angle = FACE_RAD * ((2 * rank + 1) / len(sources) - 1)
            start, end = (columns[c].points[place] for c, place in (source, target))
            recurrent = source[0] == target[0]
            if source == target:
                points = _loop(end)
            elif recurrent:
                points = _arc(start, end, angle)
            else:
                points = _between(start, end, angle, 1.0 if forward else -1.0)
            curves.append(SynapseCurve(points, polarity, recurrent))
    return curves


def _around(centre: Points, angle: float, distance: float) -> Points:
    """Point around a node; angle 0 is on its right, pi / 2 above it."""
    return centre + distance * np.array([np.cos(angle), np.sin(angle)])


def _between(start: Points, end: Points, angle: float, way: float) -> Points:
    """Curve between columns, level at its ends; arrives `angle` above the middle of a side. way: +1 right, -1 left."""
    first = start + np.array([way * RADIUS, 0.0])
    last = end + TOUCH * np.array([-way * np.cos(angle), np.sin(angle)])
    pull = np.array([PULL * (last[0] - first[0]), 0.0])
    return np.stack([first, first + pull, last - pull, last])


def _arc(start: Points, end: Points, angle: float) -> Points:
    """Curve within a column, on its right; the farther it leads, the farther out it swings."""
    up = np.sign(end[1] - start[1])
    first, last = _around(start, 0.8 * up, RADIUS), _around(end, angle, TOUCH)
    swing = np.array([0.45 + 0.22 * abs(end[1] - start[1]), 0.0])
    return np.stack([first, first + swing, last + swing, last])


def _loop(centre: Points) -> Points:
    """Curve from a node onto itself, above it."""
    first, last = _around(centre, 2.1, RADIUS), _around(centre, 1.0, TOUCH)
    return np.stack([first, first + np.array([-0.14, 0.32]), last + np.array([0.22, 0.32]), last])
