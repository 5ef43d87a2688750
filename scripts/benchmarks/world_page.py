"""The page of docs that a run of the benchmark writes: words around its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

Section = tuple[str, tuple[str, ...], list[tuple[str, ...]]]

_HEAD: Final = """# Is the world right?

Written by `python -m scripts.benchmark world --episodes {episodes} --page docs/validation.md` ({airframe}); run it to
check these numbers on your machine. The same experiments are flown by `PyBulletQuad`, by `BatchedQuad` in torch, by
the compiled engine, and by an integrator of its own: fourth-order Runge-Kutta in numpy, its equations written anew from
the airframe's TOML file, sharing no physics with the others. Both batched engines fly in float32, as in training.
"""
_BEFORE: Final = {
    "Known answers": (
        "Expected values follow from formulas; those in brackets are the independent integrator's, where there is no\n"
        "formula. The engines integrate in first order with steps of 2 ms, which is what is left: a fall is 1 cm\n"
        "longer after 1 s, and a free top without drag gains energy."
    ),
    "Twins": (
        "Drones, attitudes, launches and mean wind as training draws them, in free flight; a new thrust and new body\n"
        "rates every 0.1 s. The rate loop is on in all of them, and keeps attitudes together."
    ),
    "Speed": (
        "One core of a shared machine: rates change with what else it does, ratios hardly. A step is 2 ms here.\n"
        "The peer is HoverAviary of gym-pybullet-drones (4.2 ms), which has neither IMU, flow, range, wind nor delays."
    ),
    "Episodes": (
        "Every control step a new uniform random action; most drones fall. Batched episodes last 3 s, those in\n"
        "PyBullet to their end or 3 s after the release. The last rows go round all tasks, airframes and faults, with\n"
        "observations and actions in turn. Not finite: episodes whose motion or observations left the finite numbers.\n"
        "A tenth is flown twice from the same seed and must repeat every bit."
    ),
}
_TAIL: Final = """
## What this does not show

The equations against a real drone. Ground effect takes one height for all rotors; drag is linear; the floor is a soft
spring, so that a dropped drone sinks in by centimetres; obstacles exist in PyBullet alone. The tests that go with
this page: `tests/world/test_twins.py`, `test_laws_of_motion.py`, `test_sensor_statistics.py`.
"""


def page(airframe: str, episodes: int, picture: str, sections: Sequence[Section]) -> str:
    """The whole page as Markdown. picture: its file's name, in the same folder."""
    parts = [_HEAD.format(airframe=airframe, episodes=episodes)]
    for title, header, rows in sections:
        before = next(text for start, text in _BEFORE.items() if title.startswith(start))
        lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
        parts.append("\n".join([f"\n## {title}\n", before, "", *lines, ""]))
        if title.startswith("Twins"):
            parts.append(f"\n![The engines laid over each other]({picture})\n")
    return "".join([*parts, _TAIL])
