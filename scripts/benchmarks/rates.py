"""The rate sweep: one policy or several, at IMU and flow rates from slow to fast, and with flow lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from scripts.benchmarks.cell_file import CellFile
from scripts.case import Case
from scripts.console import OUT, progress_bar
from scripts.evaluation import evaluate, policy_sha256
from scripts.flying import FlightPool
from scripts.pictures.rates import draw_rates
from scripts.tables import NARROW_HEADER, rich_table, short_names
from scripts.tables import cells as figures
from scripts.workers.options import Workers

FLOW_HZ: Final = 40.0
IMU_HZ: Final = "100"


class Point(Protocol):
    """One condition of a sweep, named by group and label."""

    @property
    def group(self) -> str:
        """What belongs together, as a panel of a picture."""
        ...

    @property
    def label(self) -> str:
        """Which one it is there."""
        ...

    def case(self, base: Case, /) -> Case:
        """The base case under this condition."""
        ...


# What makes a cell the same cell: everything that its figures depend on.
_IDENTITY: Final = (
    "policy_sha256", "policy_name", "flights", "seed", "engine", "duration_s", "wind_m_s", "airframe", "spread",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RatePoint:
    """One condition of the rates. group: the panel of the picture; label: its tick there."""

    group: str
    label: str
    imu_hz: str = IMU_HZ
    flow_hz: float = FLOW_HZ
    dropout: tuple[str, ...] = ()
    fault: tuple[str, ...] = ()

    def case(self, base: Case) -> Case:
        """The base case under this condition."""
        return replace(base, imu_hz=self.imu_hz, flow_hz=self.flow_hz, dropout=self.dropout, fault=self.fault)


SWEEP: Final = (
    *(RatePoint("imu", hz, imu_hz=hz) for hz in ("25", "50", "100", "200", "400", "mixed")),
    *(RatePoint("flow", str(hz), flow_hz=float(hz)) for hz in (5, 10, 20, 50, 100)),
    RatePoint("loss", "30 %\ndropped", dropout=("flow:0.3",)),
    RatePoint("loss", "silent for\n1 s", fault=("flow:off@6s+1s",)),
)


def sweep(
    bases: Sequence[Case],
    folder: Path,
    workers: Workers,
    points: Sequence[Point] = SWEEP,
    name: str = "rates",
) -> list[Any]:
    """Fly every base case (one per policy) at every point; returns the cells.

    Cells that `NAME.json` in the folder already holds, for the same tensors, flights, seed and conditions,
    are not flown again; the file is written after every cell.
    """
    for base in bases:
        base.check()
    kept, cells = CellFile(folder / f"{name}.json"), list[dict[str, Any]]()
    with FlightPool(workers) as pool, progress_bar() as progress:
        whole = progress.add_task(f"sweep of {name}", total=len(bases) * len(points))
        for base in bases:
            sha256 = policy_sha256(base.policy)
            for point in points:
                marks = _marks(point.case(base), sha256) | {"group": point.group, "label": point.label}
                cells.append(kept.cell(marks, partial(evaluate, point.case(base), pool, progress)))
                progress.advance(whole)
    return cells


def _marks(base: Case, sha256: str) -> dict[str, Any]:
    """What a stored cell must have in common with a wanted one; a policy without a file goes by name."""
    values = (
        sha256, "" if sha256 else base.policy, base.flights, base.seed, base.engine, base.seconds, base.wind,
        base.airframe, base.spread,
    )  # fmt: skip
    return dict(zip(_IDENTITY, values, strict=True))


def present(cells: Sequence[dict[str, Any]], folder: Path) -> Path:
    """Print the cells as one table a policy and draw them; returns the picture."""
    names = short_names(str(cell["policy"]) for cell in cells)
    named = [cell | {"policy": names[str(cell["policy"])]} for cell in cells]
    for policy in dict.fromkeys(cell["policy"] for cell in named):
        rows = [[_words(cell), *figures(cell)[1:]] for cell in named if cell["policy"] == policy]
        title = f"{policy}: {named[0]['flights']} flights a row; IMU {IMU_HZ} Hz and flow {FLOW_HZ:g} Hz where not said"
        OUT.print(rich_table(title, ("conditions", *NARROW_HEADER[1:]), rows))
    undisturbed = [
        cell | {"group": "loss", "label": "none"} for cell in named if (cell["group"], cell["label"]) == ("imu", IMU_HZ)
    ]
    return draw_rates([*undisturbed, *named], folder / "rates.png", "Success and speed error against sensor rates")


def _words(cell: dict[str, Any]) -> str:
    label = str(cell["label"]).replace("\n", " ")
    if cell["group"] == "loss":
        return f"flow {label}"
    name = "IMU" if cell["group"] == "imu" else "flow"
    return f"{name} {label}" if label == "mixed" else f"{name} {label} Hz"
