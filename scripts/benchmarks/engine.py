"""The compiled engine on this machine: does it agree with torch, how fast is it, what does it take."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.progress import Progress, TaskID

from envs.airframe import load_airframe
from envs.compiled.job import Draw
from envs.compiled.state import intervals
from envs.conditions import Conditions
from envs.flights import draw_flights
from liquid_pilot import native
from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.errors import ConfigError
from policies.compiled_trainer import evaluate_compiled, flight_rollout, new_lanes
from policies.fragments import flatten_weights
from policies.network import PolicyNetwork
from scripts.benchmarks import simulators
from scripts.benchmarks.agreement import OBJECTIVE, compare
from scripts.benchmarks.throughput import (
    CONTROL_S,
    STEADY,
    compiled_steps_per_s,
    physics_per_s,
    torch_physics_per_s,
    torch_steps_per_s,
)
from scripts.console import OUT, progress_bar
from scripts.files import write_json
from scripts.tables import rich_table

# (numbers, steps, drones, largest difference of the gradient, of the loss)
AGREEMENTS: Final = (
    ("float64", 40, 64, 1e-8, 1e-9),
    ("float64", 200, 64, 1e-6, 1e-9),
    ("float32", 40, 256, 1e-5, 1e-5),
    ("float32", 200, 256, 1e-3, 1e-5),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. torch, ratio: eager torch at the same, where it does that; note: how it was measured."""

    what: str
    measured: str
    goal: str = ""
    torch: str = ""
    ratio: str = ""
    note: str = ""


def compile_seconds(bundle: Bundle) -> tuple[float, float]:
    """(cold, cached): tracing, compiling and loading in fresh interpreters, start-up and imports not counted."""
    code = (
        "import sys, time\n"
        "from envs.airframe import load_airframe\n"
        "from liquid_pilot.cells import CellSpec\n"
        "from policies.compiled_trainer import flight_rollout\n"
        f"spec = {bundle.spec!r}\n"
        "airframe = load_airframe('cf2x')\n"
        "start = time.perf_counter()\n"
        "flight_rollout(airframe, spec)\n"
        "sys.stdout.write(str(time.perf_counter() - start))\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"LIQUID_PILOT_CACHE": str(Path(cache) / "compiled")}
        root = Path(__file__).resolve().parents[2]
        runs = [
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=root
            )
            for _ in range(2)
        ]
    return float(runs[0].stdout), float(runs[1].stdout)


@dataclass(frozen=True, slots=True)
class Memory:
    """workspace_bytes: scratch memory of one thread, whatever the number of drones; each group uses it in turn."""

    workspace_bytes: int
    drone_second_bytes: float
    seconds: float
    peak_gib: float


def long_rollout(bundle: Bundle, drones: int = 256, steps: int = 1000) -> Memory:
    """One gradient through `steps` control steps of `drones`."""
    rollout = flight_rollout(load_airframe("cf2x"), bundle.spec, bundle.limits)
    rng = np.random.default_rng([5])
    flights = draw_flights(rollout.model.airframe, STEADY, drones, rng)
    lanes, weights = new_lanes(rollout, flights, rng), flatten_weights(bundle.spec, bundle.weights)
    draw = Draw(intervals(STEADY, flights.imu_hz, steps, rng), seed=3)
    start = time.perf_counter()
    result = rollout.run(lanes, weights, draw, STEADY, OBJECTIVE)
    seconds = time.perf_counter() - start
    if result.gradient is None or not np.isfinite(result.gradient).all():
        raise ConfigError(f"the gradient over {steps} steps is not finite; the policy may be too weak to fly that long")
    size = rollout.workspace_bytes(steps, steps * 5)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # given in KiB on Linux
    return Memory(size, size / rollout.group / (steps * CONTROL_S), seconds, peak)


def rate_text(rate: float) -> str:
    """A rate in three digits, as 1.27 M/s."""
    unit, size = next(((u, s) for u, s in (("M", 1e6), ("k", 1e3)) if rate >= s), ("", 1.0))
    return f"{rate / size:.3g} {unit}/s"


def _speed(what: str, goal: str, compiled: float, eager: float) -> Figure:
    return Figure(what, rate_text(compiled), goal, rate_text(eager), f"{compiled / eager:,.0f} x")


def measure(policy: str, flights: int, quick: bool) -> list[Figure]:
    """Every figure, in the order of the table. Raises `LiquidPilotError` without a C compiler or for a bad policy."""
    torch.set_num_threads(1)
    bundle, seconds = load_bundle(policy), 0.2 if quick else 3.0
    figures: list[Figure] = []
    with progress_bar() as progress:
        task = progress.add_task("compiling", total=len(AGREEMENTS) + len(AGREEMENTS[2:]) + 7)

        def done(following: str, *found: Figure) -> None:
            figures.extend(found)
            progress.update(task, advance=1, description=following)

        cold, cached = compile_seconds(bundle)
        done(
            "agreement with torch",
            Figure("compile, cold", f"{cold:.2f} s", "<= 5 s"),
            Figure("compile, cached", f"{cached:.3f} s", "<= 0.1 s"),
        )
        for agreement in AGREEMENTS:
            done("agreement with torch", *_agreement(bundle, quick, *agreement))
        novice = untrained(bundle)
        for agreement in AGREEMENTS[2:]:
            done("agreement with torch", *_agreement(novice, quick, *agreement, whose="untrained"))
        figures += _speeds(bundle, seconds, done)
        memory = long_rollout(bundle)
        done(
            f"{flights} flights",
            Figure("memory of a drone-second", f"{memory.drone_second_bytes / 2**20:.2f} MiB", note="with gradients"),
            Figure(
                "1000 steps of 256 drones, time",
                f"{memory.seconds:.2f} s",
                note="one gradient",
            ),
            Figure(
                "1000 steps of 256 drones, memory",
                f"{memory.workspace_bytes / 2**20:.0f} MiB",
                "<= 24 GiB",
                note=f"scratch of one thread; the whole process: {memory.peak_gib:.2f} GiB at most",
            ),
        )
        figures.append(_flights(bundle, flights, progress, task))
        for what, measured, note in simulators.measure(seconds):
            figures.append(Figure(what, measured, note=note))
    return figures


def untrained(bundle: Bundle, seed: int = 1) -> Bundle:
    """The policy as it was before training: most of its drones fall to the floor within two seconds."""
    return replace(bundle, weights=PolicyNetwork(bundle.spec, seed).weights())


def _agreement(
    bundle: Bundle, quick: bool, dtype: str, steps: int, drones: int, gradient: float, loss: float, whose: str = ""
) -> list[Figure]:
    """Figures of one comparison with torch. gradient, loss: largest differences allowed."""
    found = compare(bundle, dtype, 20 if quick and steps > 40 else steps, 16 if quick else drones)
    name = f"{whose} {found.dtype}, {found.steps} steps:".strip()
    counted = found.drones - found.left_out
    of = f"relative difference, {counted} drones"
    figures = [
        Figure(
            f"{name} gradient",
            f"{found.gradient:.1e}",
            f"<= {gradient:.0e}",
            "" if dtype == "float64" else f"{found.floor:.1e}",
            note=of if dtype == "float64" else f"{of}; under torch: {dtype} from float64 there",
        ),
        Figure(f"{name} loss", f"{found.loss:.1e}", f"<= {loss:.0e}", note=of),
    ]
    if dtype == "float64":
        return figures
    share = f"{found.left_out} of {found.drones}, {found.left_out / found.drones:.1%}"
    figures.append(
        Figure(f"{name} left out", share, "< 1 %", note="drones with a select or clamp that went another way")
    )
    if found.left_out:
        figures.append(Figure(f"{name} gradient, none left out", f"{found.gradient_of_all:.1e}", note="all drones"))
    if 0 < found.aloft < counted:
        note = f"the {found.aloft} of those {counted} drones that never touched the floor"
        figures.append(Figure(f"{name} gradient, aloft", f"{found.gradient_aloft:.1e}", note=note))
    return figures


def _speeds(bundle: Bundle, seconds: float, done: Callable[..., None]) -> list[Figure]:
    """Control steps and substeps a second, of both engines."""
    name = "control steps"
    done("control steps with gradients")
    with_gradients = _speed(
        f"{name} with gradients",
        ">= 300 k/s",
        compiled_steps_per_s(bundle, 256, 100, True, seconds),
        torch_steps_per_s(bundle, 256, 20, True, seconds),
    )
    done("control steps without gradients")
    without = _speed(
        f"{name}, no gradients",
        ">= 1 M/s",
        compiled_steps_per_s(bundle, 1024, 100, False, seconds),
        torch_steps_per_s(bundle, 1024, 20, False, seconds),
    )
    threads = os.cpu_count() or 1
    shared = Figure(
        f"{name}, no gradients, {threads} threads",
        rate_text(compiled_steps_per_s(bundle, 1024, 100, False, seconds, threads)),
        note="1024 drones, split among the threads; other work on the machine counts against it",
    )
    done("physics substeps")
    physics = _speed(
        "physics substeps alone",
        ">= 20 M/s",
        physics_per_s(bundle, seconds),
        torch_physics_per_s(1024, seconds),
    )
    done("memory")
    return [with_gradients, without, shared, physics]


def _flights(bundle: Bundle, flights: int, progress: Progress, task: TaskID) -> Figure:
    """Score flights of 15 s at IMU 100 Hz."""
    own = progress.add_task("scoring flights", total=flights)
    start = time.perf_counter()
    scores = evaluate_compiled(
        bundle, load_airframe("cf2x"), Conditions(), flights, 0, on_progress=lambda n: progress.update(own, completed=n)
    )
    seconds = time.perf_counter() - start
    progress.update(task, advance=1)
    up = sum(score.success for score in scores) / len(scores)
    return Figure(f"{flights:,} flights of 15 s scored", f"{seconds:.1f} s", note=f"{up:.2%} still up")


def present(figures: Sequence[Figure], folder: Path) -> Path:
    """Print the table and write engine.json; returns its path."""
    rows = [tuple(asdict(figure).values())[:5] for figure in figures]
    header = ("what", "measured", "goal", "torch", "ratio")
    OUT.print(rich_table("the compiled engine beside eager torch, one thread where not said", header, rows))
    OUT.print(
        "Agreement: relative difference from torch's autograd, norm over all weights, of all drones together. Left out "
        "on both sides: drones with a select or clamp that goes another way in float32 than in float64, in either. "
        "Under torch: its own gradient in float32 from that in float64, which is rounding alone. An untrained policy "
        "drops its drones, and contact with the floor magnifies rounding in both: compare those that stay aloft. "
        "The whole world: per-motor forces, lags, drag, ground effect, wind, rate loop, all sensors, randomisation. A "
        "control step is 10 ms: network, 5 substeps, all sensors drawn. torch's substeps are counted within its "
        "control steps."
    )
    for figure in figures:
        if figure.what.split()[0] in ("crazyflow", "l2f"):
            OUT.print(f"{figure.what}: {figure.measured}; {figure.note}", markup=False)  # a note may hold [brackets]
    path = folder / "engine.json"
    write_json(path, {"figures": [asdict(figure) for figure in figures], "processor": _processor()})
    return path


def _processor() -> dict[str, Any]:
    return {"lane_bytes": native.best_lane_bytes(), "compiler": " ".join(native.find_compiler())}
