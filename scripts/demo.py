"""The whole road in a few minutes: train, score, export, fly the exported file, draw, report.

Training is that of `python -m scripts.train hover`. With a C compiler it runs to its end in some seconds; without
one the torch engine serves, the budget cuts it short, and the result says so. The new policy and the shipped one are
flown beside a controller that is told the true state.

Examples:
  python -m scripts.demo
  python -m scripts.demo --budget-s 300 --flights 100 --out runs/demo-long
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tyro
from rich.rule import Rule

from liquid_pilot.bundle import Bundle, load_bundle
from scripts.case import Case
from scripts.console import OUT, exit_code, progress_bar
from scripts.evaluation import evaluate
from scripts.files import check_folder, write_json
from scripts.flying import GEOMETRIC, FlightPool, fly_one
from scripts.pictures.flight import draw_flight
from scripts.pictures.report import Paragraph, Picture, Section, Table, write_report
from scripts.tables import HEADER, cells, condition, failures, number, score_table
from scripts.workers.options import ALL_CORES, WorkerOptions

OUTAGE: Final = "flow:off@6s+1s"


@dataclass(frozen=True)
class Options:
    """What the demo flies and where it writes."""

    out: Path = Path("runs/demo")
    """Folder of pictures, tables and report."""
    budget_s: float = 120.0
    """Most seconds of training; a run that is cut short shrinks its curriculum to fit."""
    flights: int = 40
    """Flights of each row of the table."""
    shipped: str = "hover"
    """The policy that is flown beside the new one: shipped name or path."""
    seed: int = 0
    """Seed of training and flights."""
    workers: WorkerOptions = ALL_CORES


def train(options: Options) -> Path:
    """Train on the short budget; returns the exported policy."""
    from scripts import train as trainer  # torch only once it is needed

    OUT.print(Rule(f"1. Training a 19-neuron policy, at most {options.budget_s:g} s", align="left"))
    wanted = trainer.Options(task="hover", out=options.out / "train", seed=options.seed, budget_s=options.budget_s)
    return trainer.run(wanted, OUT)


def score(options: Options, policies: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of the table: every policy at IMU 100 Hz and at mixed intervals."""
    OUT.print(Rule(f"2. {options.flights} flights a row in PyBullet, from hand launches", align="left"))
    rows = []
    with FlightPool(options.workers) as pool, progress_bar() as progress:
        for imu_hz in ("100", "mixed"):
            for name, policy in policies.items():
                case = Case(policy=policy, flights=options.flights, imu_hz=imu_hz, seed=options.seed)
                rows.append(evaluate(case, pool, progress) | {"policy": name})
    OUT.print(score_table("hover, 15 s flights, wind to 1 m/s, every drone different", rows))
    OUT.print("new: trained above. geometric: told the true state; shows what is possible.")
    write_json(options.out / "scores.json", {"cells": rows})
    return rows


def outage(options: Options, policies: Mapping[str, str]) -> list[Section]:
    """Fly each exported file once in the onboard controller, flow silent for a second, and draw it."""
    OUT.print(Rule("3. One flight of each exported file, optical flow silent from 6 to 7 s", align="left"))
    sections = []
    for name, policy in policies.items():
        job = Case(policy=policy, flights=1, fault=(OUTAGE,), seed=options.seed).job()
        trace = fly_one(job, 0)
        stem = name.partition(",")[0]
        title = f"Policy {name}: one flight, flow lost for 1 s"
        pictures = draw_flight(trace, options.out / f"flight_{stem}.png", title)
        alts = ("path, height, velocity, tilt, commands, sensor arrivals", "state and time constant of each neuron")
        blocks = [Picture(path, f"{name}: {alt}") for path, alt in zip(pictures, alts, strict=False)]
        sections.append(Section(f"One flight: {name}", blocks))
    return sections


def told(bundle: Bundle) -> str:
    """How far the new policy's training came, honestly."""
    training = bundle.metadata["training"]
    done, wanted = training["updates"], training["config"]["updates"]
    if done >= wanted:
        return f"All {wanted} updates of the recipe, in {60 * training['minutes']:.0f} s on this machine."
    return (
        f"The budget cut training short after {done} of {wanted} updates "
        f"({60 * training['minutes']:.0f} s on this machine): expect a worse policy than the shipped one."
    )


def write_up(options: Options, rows: Sequence[dict[str, Any]], flights: Sequence[Section], seconds: float) -> Path:
    """The report: curve, table, flights."""
    bundle = load_bundle(str(options.out / "train" / "policy.safetensors"))
    about = (
        f"A liquid network of {bundle.spec.units} neurons ({bundle.parameters:,} parameters) flies a quadrotor from "
        "gyro, accelerometer, downward optical flow and range finder alone. Every flight starts tilted in a hand "
        "and is thrown; mass, motors, biases, delays and wind differ from flight to flight."
    )
    curve_text = f"{told(bundle)} The geometric controller is told the true state and shows what is possible."
    table = Table(
        ("policy", "conditions", *HEADER),
        [[row["policy"], condition(row), *cells(row)] for row in rows],
        "Errors are each flight's mean from 5 s after the release on; a failed flight counts as infinite. "
        f"Seed {options.seed}.",
    )
    curve = options.out / "train" / "learning_curve.png"
    sections = [
        Section("What this is", [Paragraph(about)]),
        Section("Learning", [Picture(curve, "learning curve"), Paragraph(curve_text)]),
        Section("Scores", [table]),
        *flights,
        Section("Cost", [Paragraph(f"This page took {seconds:.0f} s from training to report.")]),
    ]
    return write_report(options.out / "report.html", "Liquid Pilot: demo", sections)


def run(options: Options) -> None:
    """Train, score, fly, report."""
    start = time.perf_counter()
    check_folder("--out", options.out)
    options.workers.check()
    load_bundle(options.shipped)  # say now, not after the training, that it cannot be flown
    options.out.mkdir(parents=True, exist_ok=True)
    new = str(train(options))
    OUT.print(told(load_bundle(new)))
    networks = {"shipped": options.shipped, "new": new}
    rows = score(options, networks | {GEOMETRIC: GEOMETRIC})
    flights = outage(options, networks)
    report = write_up(options, rows, flights, time.perf_counter() - start)
    shipped = next(row for row in rows if row["policy"] == "shipped")
    OUT.print(Rule(f"done in {time.perf_counter() - start:.0f} s", align="left"))
    OUT.print(
        f"The shipped policy at IMU 100 Hz: {shipped['success_rate']:.1%} of {shipped['flights']} flights still up, "
        f"failures: {failures(shipped)}; median speed error (m/s): {number(shipped['speed_error_median_m_s'])}."
    )
    OUT.print(f"Report: {report}   pictures: {options.out}/*.png", soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.demo`. Returns the exit code."""
    options = tyro.cli(Options, prog="python -m scripts.demo", args=argv, description=__doc__)
    return exit_code(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
