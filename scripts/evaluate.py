"""Score a policy in closed loop: hundreds of flights from hand launches, failures counted, errors printed.

Every flight starts held still at up to 45 degrees of tilt, is thrown with up to 1.5 m/s and 2 rad/s, and has
an airframe, biases, latencies and wind of its own. Success: never within 0.1 m of the ground, never above
3.5 m, tilt under 20 degrees from 3 s on, up at the end. A flight's error is its mean from 5 s after the
release to the end; a failed flight counts as infinite; median and 90th percentile are over flights.

With --task avoid a drone crosses 30 m of a forest: success is to touch nothing on the way; who stops before a wall has
not crossed, which is counted apart. Several speeds and densities are several rows.

With --task half-cheetah a policy runs episodes of 4,000 physics frames (16.5 s; in MuJoCo 5,000, 50 s), each from a
start of its own; its score is the return of the original environment, mean and deviation over episodes, at any rhythm.

Examples:
  python -m scripts.evaluate hover                                   # the shipped policy, 500 flights
  python -m scripts.evaluate geometric --flights 100                 # the controller that knows the truth
  python -m scripts.evaluate runs/hover/policy.safetensors --imu-hz mixed --json score.json
  python -m scripts.evaluate hover --dropout flow:0.3 --fault flow:off@6s+1s --picture flight.png
  python -m scripts.evaluate hover --flights 1 --fault flow:off@6s+1s --video flight.mp4          # or flight.gif
  python -m scripts.evaluate hover --engine batched --flights 2000   # the network alone, fast
  python -m scripts.evaluate planner --task avoid --speed 1,2,3,4 --density 0.1 --flights 100     # of forests
  python -m scripts.evaluate avoid --task avoid --flights 1 --sight sight.png     # what it saw, and its neurons
  python -m scripts.evaluate hover --sim gym-pybullet-drones --flights 100                        # in its CtrlAviary
  python -m scripts.evaluate hover --sim gym-pybullet-drones --score hover-aviary --flights 100   # by its reward
  python -m scripts.evaluate half-cheetah --task half-cheetah --flights 20 --json run.json --video run.mp4
  python -m scripts.evaluate half-cheetah --task half-cheetah --frames 1-6 --dropped 0.3          # at irregular time
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import Progress

from envs.airframe import load_airframe
from liquid_pilot.errors import ConfigError
from liquid_pilot.half_cheetah import TASK as CHEETAH
from scripts.camera_cost import camera_cost_ms
from scripts.case import Case
from scripts.cheetah import USUAL_EPISODES, CheetahJob, CheetahRhythm, cheetah_table, evaluate_cheetah, rhythm_text
from scripts.console import ERR, OUT, exit_code, progress_bar
from scripts.crossings import AVOID
from scripts.evaluation import cautions, evaluate
from scripts.files import check_file, write_json
from scripts.flying import ERRORS_SCORE, OWN_SIM, FlightPool, Job, fly_one, score_of
from scripts.forest_flights import PATHS, fly_path, obstacles_in
from scripts.pictures.avoid import X_M, Y_M, Panel, draw_crossings
from scripts.pictures.cheetah import draw_cheetah
from scripts.pictures.flight import draw_flight
from scripts.pictures.sight import draw_sight
from scripts.pictures.video import check_video, draw_video
from scripts.returns import return_table
from scripts.seen_flight import check_seen, fly_seen
from scripts.tables import number, score_table, short_name
from scripts.training.options import changed_options
from scripts.workers.options import ALL_CORES, WorkerOptions


@dataclass(frozen=True)
class Options:
    """A case, and where its results go."""

    case: Case
    cheetah: CheetahRhythm = field(default_factory=CheetahRhythm)
    json: Path | None = None
    """Write the score, with its conditions, as one JSON object to this file."""
    picture: Path | None = None
    """Draw one of the flights to this PNG (and its neurons to a second one beside it)."""
    video: Path | None = None
    """Draw one of the flights as a video to this .mp4, or to this .gif (smaller pictures, fewer of them)."""
    forest: Path | None = None
    """Of --task avoid: draw flights through one forest from above to this PNG, a panel for each speed and density."""
    sight: Path | None = None
    """Of --task avoid: draw what one of the flights saw to this PNG: flow grids, neurons and free space over time."""
    draw_flight: Annotated[int, tyro.conf.arg(aliases=["--picture-flight"])] = 0
    """Which flight --picture, --sight and --video draw, from 0."""
    workers: WorkerOptions = ALL_CORES


def run(options: Options) -> None:
    """Fly, print the table, write what was asked for."""
    case = options.case
    if case.task == CHEETAH:
        run_cheetah(options)
        return
    if options.cheetah != CheetahRhythm():
        raise ConfigError(
            f"--frames, --dropped, --delay-frames and --noise are of --task {CHEETAH}; conditions of a flight are "
            "--imu-hz, --dropout and --fault"
        )
    cells = case.cells()
    for cell in cells:
        cell.check()
    if len(cells) > 1 and (options.picture is not None or options.video is not None or options.sight is not None):
        raise ConfigError("--picture, --sight and --video draw one flight; give one speed and one density")
    check_outputs(options, case.count)
    for caution in dict.fromkeys(text for cell in cells for text in cautions(cell)):
        ERR.print(f"note: {caution}", highlight=False)
    with FlightPool(options.workers) as pool, progress_bar() as progress:
        rows = [evaluate(cell, pool, progress) for cell in cells]
        drawn = draw_forests(options, cells, pool, progress)
    row = rows[0]
    world = case.engine if case.sim == OWN_SIM else case.sim
    what = case.task if case.score == ERRORS_SCORE else case.score
    length = f"{row['duration_s']:g} s flights" if len(cells) == 1 else f"{len(cells)} cells"
    title = f"{what}: {length}, wind to {row['wind_m_s']:g} m/s, {world}, seed {case.seed}"
    OUT.print(score_table(title, rows) if case.score == ERRORS_SCORE else return_table(title, rows))
    if "touchdown_median_m_s" in row:
        median, p90 = number(row["touchdown_median_m_s"]), number(row["touchdown_p90_m_s"])
        OUT.print(f"touchdown: median {median} m/s, p90 {p90} m/s, over the flights that touched the floor")
    if case.flow == "camera":
        picture_ms, flow_ms = camera_cost_ms(cells[0].job())
        OUT.print(f"camera: {picture_ms:.1f} ms to draw a picture, {flow_ms:.1f} ms to find its flow")
    if options.json is not None:
        write_json(options.json, row if len(rows) == 1 else {"cells": rows})
        OUT.print(f"wrote {options.json}")
    if drawn is not None:
        OUT.print(f"wrote {drawn}")
    draw(options, cells[0].job())
    if options.sight is not None:
        seen = fly_seen(cells[0].job(), options.draw_flight)
        where = f"{case.speed} m/s, {case.density} {case.obstacles}/m²"
        title = f"{short_name(case.policy)}: flight {options.draw_flight}, {where}"
        OUT.print(f"wrote {draw_sight(seen, options.sight, title)}")


def run_cheetah(options: Options) -> None:
    """The same for a policy of HalfCheetah."""
    case = options.case
    foreign = changed_options(case, Case(case.policy, CHEETAH, flights=case.flights, seed=case.seed))
    if foreign:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
        raise ConfigError(
            f"{CHEETAH} has no {words}; its conditions are --frames, --dropped, --delay-frames and --noise"
        )
    episodes = USUAL_EPISODES if case.flights is None else case.flights
    job = CheetahJob(case.policy, options.cheetah.rhythm(), episodes, case.seed)
    check_outputs(options, episodes)
    with FlightPool(options.workers) as pool, progress_bar() as progress:
        task = progress.add_task(short_name(case.policy), total=episodes)
        row = evaluate_cheetah(job, pool, lambda: progress.advance(task))
    OUT.print(cheetah_table(f"{CHEETAH} in {row['simulator']}, seed {case.seed}", [row]))
    if options.json is not None:
        write_json(options.json, row)
        OUT.print(f"wrote {options.json}")
    title = f"{short_name(case.policy)}: episode {options.draw_flight}, {rhythm_text(row)}"
    for path in draw_cheetah(job, options.draw_flight, options.picture, options.video, title):
        OUT.print(f"wrote {path}")


def check_outputs(options: Options, flights: int) -> None:
    """Raise `ConfigError` for files that could not be written, before the long work."""
    if not 0 <= options.draw_flight < flights:
        raise ConfigError(f"draw_flight is {options.draw_flight}; flights count from 0 to {flights - 1}")
    if options.json is not None:
        check_file("--json", options.json, ".json")
    if options.forest is not None:
        check_file("--forest", options.forest, ".png")
        if options.case.task != AVOID or options.case.engine != "pybullet":
            raise ConfigError("--forest draws flights of --task avoid in PyBullet")
    if options.sight is not None:
        check_file("--sight", options.sight, ".png")
        check_seen(options.case)
    if options.picture is not None:
        check_file("--picture", options.picture, ".png")
    if options.video is not None:
        check_video("--video", options.video)


def draw_forests(options: Options, cells: Sequence[Case], pool: FlightPool, progress: Progress) -> Path | None:
    """The picture of paths from above, if it was asked for: further flights, all of a cell in one forest."""
    if options.forest is None:
        return None
    task, panels = progress.add_task("paths", total=PATHS * len(cells)), []
    for cell in cells:
        job = replace(cell.job(), flights=PATHS)
        paths = pool.each(fly_path, job, PATHS, lambda: progress.advance(task))
        title = f"{cell.speed} m/s, {cell.density} {cell.obstacles}/m$^2$"
        panels.append(Panel(title, obstacles_in(job, X_M, Y_M), paths))
    return draw_crossings(panels, options.forest, f"{short_name(options.case.policy)} through a forest")


def draw(options: Options, job: Job) -> None:
    """The picture and the video that were asked for, of one flight, flown once more."""
    if options.picture is None and options.video is None:
        return
    case, trace = options.case, fly_one(job, options.draw_flight)
    title = f"{short_name(case.policy)}: flight {options.draw_flight}"
    if options.picture is not None:
        for path in draw_flight(trace, options.picture, title):
            OUT.print(f"wrote {path}")
    if options.video is not None:
        ending = score_of(job, trace).reason if case.score == ERRORS_SCORE else ""
        look = load_airframe(case.airframe), job.conditions.faults, ending
        with progress_bar() as progress:
            task = progress.add_task(str(options.video), total=None)
            draw_video(
                trace,
                options.video,
                title,
                *look,
                on_frame=lambda done, total: progress.update(task, completed=done, total=total),
            )
        OUT.print(f"wrote {options.video}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.evaluate`. Returns the exit code."""
    options = tyro.cli(
        Options,
        prog="python -m scripts.evaluate",
        args=argv,
        description=__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return exit_code(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
