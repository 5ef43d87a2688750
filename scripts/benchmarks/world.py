"""The world on trial: known answers in every engine, how far the engines are apart, speed, endurance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from rich.progress import Progress

from envs.airframe import Airframe
from liquid_pilot import native
from liquid_pilot.bundle import load_bundle
from scripts.benchmarks import world_speed
from scripts.benchmarks.world_checks import STEP_AT, Check, checks, common_experiment
from scripts.benchmarks.world_engines import (
    CONTROL_S,
    Experiment,
    Trajectory,
    fly_compiled,
    fly_pybullet,
    fly_torch,
)
from scripts.benchmarks.world_episodes import (
    Endurance,
    batched_task_episodes,
    compiled_episodes,
    task_episodes,
    torch_episodes,
)
from scripts.benchmarks.world_page import page
from scripts.benchmarks.world_reference import fly_reference
from scripts.benchmarks.world_speed import Pace
from scripts.benchmarks.world_twins import LIMIT_DEG, LIMIT_M, Distance, distance, tilt_deg, twin_experiment
from scripts.console import OUT
from scripts.files import write_json
from scripts.pictures.world import Panel, draw_world
from scripts.tables import rich_table

REFERENCE: Final = "RK4"
ENGINES: Final[dict[str, Callable[[Experiment], Trajectory]]] = {
    REFERENCE: fly_reference,
    "PyBullet": fly_pybullet,
    "torch": fly_torch,
    "compiled": fly_compiled,
}
REFERENCE_LIMIT_M, REFERENCE_LIMIT_DEG = 0.05, 1.0  # of engines that integrate in first order, from one in fourth
SHOWN_DRONES: Final = 5
WIDTH: Final = 124  # of the printed tables, where the terminal is narrower or none
HEADER: Final = ("what", "unit", "expected", *ENGINES, "apart", "allowed", "verdict")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table of known answers. values: by engine; difference: the largest from what is expected."""

    what: str
    unit: str
    expected: float
    values: dict[str, float]
    tolerance: float
    by_formula: bool

    @property
    def difference(self) -> float:
        """Largest of all engines; not a number if one is."""
        apart = [abs(value - self.expected) for value in self.values.values()]
        return math.nan if any(math.isnan(x) for x in apart) else max(apart)

    @property
    def passed(self) -> bool:
        """Whether every engine is within the tolerance."""
        return self.difference <= self.tolerance


@dataclass(frozen=True, slots=True)
class Trial:
    """All that was measured."""

    airframe: str
    rows: list[Row]
    twins: dict[str, Distance]
    drones: int
    paces: list[Pace]
    endurance: list[Endurance]
    panels: list[Panel]

    @property
    def passed(self) -> bool:
        """Whether every row, twin and episode is as it must be; speed has no verdict."""
        apart = all(within(names, found) for names, found in self.twins.items())
        return all(row.passed for row in self.rows) and apart and all(part.passed for part in self.endurance)


def within(names: str, found: Distance) -> bool:
    """Whether two engines are as near as they must be: twins closer than an engine and the independent integrator."""
    metres, degrees = twin_limits(names)
    return found.p95_m <= metres and found.p95_deg <= degrees


def twin_limits(names: str) -> tuple[float, float]:
    """(metres, degrees) for the 95th percentile."""
    return (REFERENCE_LIMIT_M, REFERENCE_LIMIT_DEG) if REFERENCE in names else (LIMIT_M, LIMIT_DEG)


def engines() -> dict[str, Callable[[Experiment], Trajectory]]:
    """Those that this machine has: without a C compiler there is no compiled one."""
    return {name: fly for name, fly in ENGINES.items() if name != "compiled" or native.available()}


def judge(asked: list[Check], flown: Mapping[str, Trajectory]) -> list[Row]:
    """One row for each check."""
    rows = []
    for lane, check in enumerate(asked):
        values = {name: check.read(path.lane(lane)) for name, path in flown.items()}
        expected = values[REFERENCE] if check.expected is None else check.expected
        rows.append(Row(check.what, check.unit, expected, values, check.tolerance, check.expected is not None))
    return rows


def compare(flown: Mapping[str, Trajectory]) -> dict[str, Distance]:
    """PyBullet beside every other engine."""
    pivot = "PyBullet"
    return {f"{pivot} and {name}": distance(flown[pivot], path) for name, path in flown.items() if name != pivot}


def measure(airframe: Airframe, drones: int, episodes: int, quick: bool, progress: Progress) -> Trial:
    """Everything, in the order of the tables. quick: speeds for a moment only, and no memory."""
    torch.set_num_threads(1)
    task = progress.add_task("known answers", total=13)

    def done(following: str = "speed") -> None:
        progress.update(task, advance=1, description=following)

    asked, flyers = checks(airframe), engines()
    experiment, twins = common_experiment(airframe, asked), twin_experiment(airframe, drones, seed=0)
    known, apart = {}, {}
    for name, fly in flyers.items():
        known[name], apart[name] = fly(experiment), fly(twins)
        done("known answers, twins")
    bundle = load_bundle("hover") if "compiled" in flyers else None
    paces = world_speed.measure(airframe, bundle, 0.3 if quick else 2.0, not quick, done)
    own = progress.add_task("episodes", total=(4 if "compiled" in flyers else 2) * episodes)

    def tick(count: int) -> None:
        progress.update(own, advance=count)

    endurance = [torch_episodes(airframe, episodes, 0, tick), task_episodes(episodes, 0, tick)]
    if "compiled" in flyers:
        endurance.insert(0, compiled_episodes(airframe, episodes, 0, tick))
        endurance.append(batched_task_episodes(episodes, 0, tick))
    panels = pictures(asked, known, apart)
    return Trial(airframe.name, judge(asked, known), compare(apart), drones, paces, endurance, panels)


def pictures(asked: list[Check], known: Mapping[str, Trajectory], apart: Mapping[str, Trajectory]) -> list[Panel]:
    """Step responses, a drop and a second of drawn commands."""
    lane = {check.what.split(":")[0].split(",")[0]: i for i, check in enumerate(asked)}
    motor = next(i for i, check in enumerate(asked) if check.what.startswith("motor speed"))

    def history(title: str, y: str, index: int, name: str, axis: int, until_s: float) -> Panel:
        last = round(until_s / CONTROL_S) + 1
        curves = {
            engine: [(path.t_s[:last], getattr(path, name)[:last, axis, index])] for engine, path in known.items()
        }
        return Panel(title, "s", y, curves)

    few = range(min(SHOWN_DRONES, apart[REFERENCE].position_m.shape[2]))
    seen = {
        engine: [(path.position_m[:, 0, i], path.position_m[:, 2, i]) for i in few] for engine, path in apart.items()
    }
    tilts = {engine: [(path.t_s, tilt_deg(path.attitude_wxyz[..., i])) for i in few] for engine, path in apart.items()}
    start = f"command steps at {STEP_AT * CONTROL_S:g} s"
    return [
        history(f"Motor, {start}", "speed (of full)", motor, "motor_speed", 0, 0.4),
        history(f"Roll rate, {start}", "rad/s", lane["roll rate step"], "rates_rad_s", 0, 0.8),
        history("A drop without thrust", "height (m)", lane["drop"], "position_m", 2, 1.0),
        history("A free top", "roll rate (rad/s)", lane["free top"], "rates_rad_s", 0, 2.0),
        Panel("Drawn drones, from the side", "east (m)", "height (m)", seen),
        Panel("The same drones: tilt", "s", "degrees", tilts),
    ]


def _number(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 1000.0 else f"{value:.4g}"


def _verdict(passed: bool) -> str:
    return "pass" if passed else "FAIL"


def table_rows(trial: Trial) -> list[tuple[str, ...]]:
    """Known answers as text, in the order of `HEADER`."""
    return [
        (
            row.what,
            row.unit,
            _number(row.expected) if row.by_formula else f"({_number(row.expected)})",
            *(_number(row.values[name]) if name in row.values else "-" for name in ENGINES),
            f"{row.difference:.2g}",
            f"{row.tolerance:.2g}",
            _verdict(row.passed),
        )
        for row in trial.rows
    ]


def twin_rows(trial: Trial) -> list[tuple[str, ...]]:
    """Distances as text."""
    rows: list[tuple[str, ...]] = []
    for names, found in trial.twins.items():
        metres, degrees = twin_limits(names)
        rows.append(
            (
                names,
                f"{1e3 * found.p95_m:.3g}",
                f"{1e3 * found.most_m:.3g}",
                f"{1e3 * metres:g}",
                f"{found.p95_deg:.2g}",
                f"{found.most_deg:.2g}",
                f"{degrees:g}",
                _verdict(within(names, found)),
            )
        )
    return rows


TWIN_HEADER: Final = ("what", "p95 mm", "most mm", "limit mm", "p95 deg", "most deg", "limit deg", "verdict")
PACE_HEADER: Final = ("what", "measured", "peer", "ratio", "conditions")
EPISODE_HEADER: Final = ("what", "episodes", "control steps", "not finite", "flown twice", "same bits", "s", "verdict")


def pace_rows(trial: Trial) -> list[tuple[str, ...]]:
    """Speed and memory as text."""
    return [
        (
            pace.what,
            f"{pace.value:,.0f} {pace.unit}" if pace.value >= 100.0 else f"{pace.value:.3g} {pace.unit}",
            pace.peer,
            "" if pace.ratio is None else f"{pace.ratio:.3g} x",
            pace.note,
        )
        for pace in trial.paces
    ]


def episode_rows(trial: Trial) -> list[tuple[str, ...]]:
    """Endurance as text."""
    return [
        (
            part.engine,
            f"{part.flown.episodes:,}",
            f"{part.flown.steps:,}",
            str(part.flown.not_finite),
            f"{part.repeated:,}",
            "yes" if part.same else "NO",
            f"{part.flown.seconds:.1f}",
            _verdict(part.passed),
        )
        for part in trial.endurance
    ]


def sections(trial: Trial) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """(title, header, rows) of every table."""
    return [
        (f"Known answers, {trial.airframe}", HEADER, table_rows(trial)),
        (f"Twins: {trial.drones} drawn drones after 1 s of the same commands", TWIN_HEADER, twin_rows(trial)),
        ("Speed on one core, memory", PACE_HEADER, pace_rows(trial)),
        ("Episodes of random actions", EPISODE_HEADER, episode_rows(trial)),
    ]


def present(trial: Trial, folder: Path, page_md: Path | None) -> list[Path]:
    """Print the tables; write world.json, world.png and, where asked, the page with its picture. Returns the paths."""
    wide = Console(width=max(OUT.width, WIDTH))
    for title, header, rows in sections(trial):
        wide.print(rich_table(title, header, rows))
    OUT.print(
        f"{REFERENCE}: an independent integrator; expected values in brackets are its own, where no formula gives one."
    )
    OUT.print("All pass." if trial.passed else "NOT all pass: see the rows marked FAIL.")
    written = folder / "world.json"
    kept = {name: value for name, value in asdict(trial).items() if name != "panels"}
    write_json(written, kept | {"passed": trial.passed})
    subtitle = f"{trial.airframe}; {REFERENCE} is an independent integrator; curves that hide each other agree"
    files = [written, draw_world(trial.panels, folder / "world.png", subtitle)]
    if page_md is not None:
        picture = draw_world(trial.panels, page_md.with_suffix(".png"), subtitle)
        page_md.write_text(
            page(trial.airframe, trial.endurance[0].flown.episodes, picture.name, sections(trial)), encoding="utf-8"
        )
        files += [page_md, picture]
    return files
