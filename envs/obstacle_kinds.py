"""What stands in a forest: trees, balls, boxes, gates, or all of them."""

from __future__ import annotations

from typing import Final

import numpy as np

from envs.conditions import Span
from envs.flights import Array
from envs.shapes import SHAPE_ROWS, TREE_ROWS, TRUNK
from liquid_pilot.errors import ConfigError, unknown_name

TREES: Final = "trees"
OBSTACLES: Final = (TREES, "spheres", "boxes", "gates", "mixed")
FOURTH: Final = 4  # one place in so many may have a gate
BALL_RADIUS_M: Final[Span] = (0.2, 0.45)
BALL_Z_M: Final[Span] = (0.5, 1.8)  # where drones fly
BOX_HALF_M: Final[Span] = (0.12, 0.35)
BOX_TOP_M: Final[Span] = (1.2, 3.0)  # it stands on the floor
GATE_HALF_M: Final[Span] = (0.6, 0.8)  # of the way through, across
GATE_TOP_M: Final[Span] = (2.0, 2.4)
BEAM_HALF_M: Final = 0.05
GATE_ROOM_M: Final = 0.9  # radius around the middle of a gate
SIZES: Final[Span] = (0.25, 2.0)  # factor on how thick obstacles are
NO_TREE: Final = -1e3  # radius


def gates(places: int) -> int:
    """How many gates a plot has room for: in every fourth place."""
    return -(-places // FOURTH)


def check_size(size: float) -> float:
    """The size. Raises `ConfigError`."""
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not SIZES[0] <= size <= SIZES[1]:
        raise ConfigError(
            f"size is {size!r}; give a factor on how thick obstacles are, {SIZES[0]:g} to {SIZES[1]:g}, 1 is the usual"
        )
    return float(size)


def shaped(trees: Array, kind: str, rng: np.random.Generator, size: float = 1.0) -> Array:
    """Obstacles (k, `SHAPE_ROWS`, n) in place of trees (places, `TREE_ROWS`, n); what no tree has is drawn.

    size: factor on radii of balls, half sides of boxes, and beams of gates; trees are as they are given.

    mixed: of four places the first has a tree, the others a ball, a box, a gate. gates: of four places the last has a
    gate, the others trees. A gate takes the row of its place, for a post, and two of those behind all places.
    Raises `ConfigError` for an unknown kind.
    """
    if kind not in OBSTACLES:
        raise ConfigError(unknown_name("obstacles", kind, list(OBSTACLES)))
    places, _, n = trees.shape
    rows = np.empty((places + 2 * gates(places), SHAPE_ROWS, n))
    rows[:, :TREE_ROWS], rows[:, TREE_ROWS:] = NO_TREE, np.array(TRUNK)[:, None]
    rows[:places, :TREE_ROWS] = trees
    if kind == TREES:
        return rows
    drawn, turn, mixed = rng.random((places, 3, n)), np.arange(places) % FOURTH, kind == "mixed"
    for name, make, own in (("spheres", _balls, 1), ("boxes", _boxes, 2)):
        where = (turn == own) & mixed | (kind == name)
        rows[:places][where] = make(rows[:places][where], drawn[where], size)
    if mixed or kind == "gates":
        at = np.nonzero(turn == FOURTH - 1)[0]
        behind = places + np.arange(len(at))
        rows[at], rows[behind], rows[behind + len(at)] = _gates(rows[at], drawn[at], size)
    return rows


def _between(span: Span, u: Array) -> Array:
    return span[0] + (span[1] - span[0]) * u


def _stands(rows: Array, radius: Array | float) -> Array:
    """The radius where a tree stands."""
    return np.where(rows[:, 2] > NO_TREE, radius, NO_TREE)


def _balls(rows: Array, u: Array, size: float) -> Array:
    zero = np.zeros_like(rows[:, 0])
    radius = _stands(rows, size * _between(BALL_RADIUS_M, u[:, 0]))
    return np.stack([rows[:, 0], rows[:, 1], radius, _between(BALL_Z_M, u[:, 1]), zero, zero, zero], axis=1)


def _boxes(rows: Array, u: Array, size: float) -> Array:
    half_z = 0.5 * _between(BOX_TOP_M, u[:, 2])
    sides = [size * _between(BOX_HALF_M, u[:, k]) for k in range(2)]
    return np.stack([rows[:, 0], rows[:, 1], _stands(rows, 0.0), half_z, *sides, half_z], axis=1)


def _gates(rows: Array, u: Array, size: float) -> tuple[Array, Array, Array]:
    """Two posts and the beam over them, of a gate across the course."""
    half, top = _between(GATE_HALF_M, u[:, 0]), _between(GATE_TOP_M, u[:, 1])
    beam = np.full_like(half, size * BEAM_HALF_M)
    away = half + beam
    x, y, none = rows[:, 0], rows[:, 1], _stands(rows, 0.0)
    left, right = (np.stack([x, y + side * away, none, 0.5 * top, beam, beam, 0.5 * top], axis=1) for side in (1, -1))
    return left, right, np.stack([x, y, none, top + beam, beam, away + beam, beam], axis=1)
