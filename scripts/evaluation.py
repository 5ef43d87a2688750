"""The figures that a case scores."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.progress import Progress

from envs.airframe import load_airframe
from envs.scoring import FlightScore, summarise
from liquid_pilot.bundle import load_bundle
from liquid_pilot.cautions import airframe_cautions
from liquid_pilot.errors import ConfigError
from liquid_pilot.observation import GRAVITY_M_S2
from scripts.case import OF_TRACK, TRACKS, Case
from scripts.console import ERR, on_backend
from scripts.crossings import AVOID, crossing_row, pairs
from scripts.flying import (
    AVIARY_SCORE,
    CONVENTIONAL,
    FlightPool,
    Job,
)
from scripts.returns import return_figures, return_one
from scripts.tables import short_name


def policy_sha256(policy: str) -> str:
    """Hash over the policy's tensors; empty for a conventional controller. Proves the file on the way."""
    return "" if policy in CONVENTIONAL else str(load_bundle(policy).metadata["sha256"])


def cautions(case: Case) -> list[str]:
    """In what the flights differ from those that the policy was made for, a sentence each; none of what flies no drone.

    Raises `BundleError` for a file that cannot be proved.
    """
    if case.policy in CONVENTIONAL:
        return []
    bundle, airframe = load_bundle(case.policy), load_airframe(case.airframe)
    if "airframe" not in bundle.metadata:
        return []
    found = airframe_cautions(bundle, airframe.name, airframe.thrust_to_weight * GRAVITY_M_S2)
    fastest = float(bundle.metadata["setpoint_limits"]["speed_m_s"])
    asked = (
        case.track_m_s if case.task in TRACKS else pairs(case.speed, case.density)[0][0] if case.task == AVOID else 0.0
    )
    if asked > fastest:
        found.append(f"{bundle.name} was made for at most {fastest:g} m/s; onboard, what is asked beyond is cut to it")
    lowest_m = float(bundle.metadata["setpoint_limits"]["height_m"][0])
    if case.task == "mission" and lowest_m > 0.0:
        found.append(f"{bundle.name} cannot be asked to land; onboard, heights below {lowest_m:g} m are cut to it")
    return found


def evaluate(case: Case, pool: FlightPool, progress: Progress) -> dict[str, Any]:
    """Fly the case and return its row: flat keys, ready for JSON. Raises `LiquidPilotError`."""
    case.check()
    job, sha256, start = case.job(), policy_sha256(case.policy), time.perf_counter()
    load_airframe(case.airframe)  # refuse a bad name here, not in a worker
    task = progress.add_task(describe(case), total=case.count)
    if case.engine == "batched":
        found = figures(_batched(case, job, pool.threads, lambda done: progress.update(task, completed=done)))
    elif case.score == AVIARY_SCORE:
        found = return_figures(pool.each(return_one, job, job.flights, lambda: progress.advance(task)))
    else:
        found = figures(pool.score(job, lambda: progress.advance(task)))
    progress.remove_task(task)
    if case.task == AVOID:  # neither crossed nor touched anything, and aloft at the end
        found["stopped"] = found.get("failed_not_crossed", 0) / found["flights"]
    row = _condition(case, job) | {"policy_sha256": sha256} | found
    return row | {"workers": pool.workers, "wall_s": round(time.perf_counter() - start, 3)}


def describe(case: Case) -> str:
    """Short text of a case, for progress bars."""
    extra = "".join(f", {text}" for text in (*case.dropout, *case.fault))
    if case.task == AVOID:
        extra = f", {case.speed} m/s, {case.density} trees/m^2{extra}"
    return f"{short_name(case.policy)}: IMU {case.imu_hz} Hz, flow {case.flow_hz:g} Hz{extra}"


def _batched(case: Case, job: Job, threads: int, on_progress: Callable[[int], None]) -> list[FlightScore]:
    import torch

    from policies.batched_evaluation import evaluate_batched  # torch only where it is asked for
    from policies.drills import avoid_drill, drill_of, track_drill, track_position_drill

    torch.set_num_threads(1)
    airframe = load_airframe(case.airframe)
    bundle = load_bundle(case.policy)
    drills = {
        "track": lambda: track_drill(case.reference, case.track_m_s, case.transient_s),
        "track-position": lambda: track_position_drill(case.reference, case.track_m_s),
        AVOID: lambda: avoid_drill(job.speed_m_s, job.density_per_m2, job.walled, job.obstacles, size=job.size),
    }
    drill = drills[case.task]() if case.task in drills else drill_of(case.task)

    def fly(backend: str) -> list[FlightScore]:
        given = (bundle, airframe, job.conditions, case.count, case.seed, job.duration_s)
        if backend == "compiled":
            from policies.compiled_trainer import evaluate_compiled

            return evaluate_compiled(*given, threads, on_progress, drill)
        if case.task == AVOID:
            raise ConfigError(
                "the batched engine crosses forests with the compiled backend alone; it needs a C compiler"
            )
        return evaluate_batched(*given, on_progress, drill)

    return on_backend(case.backend, ERR, fly)


def _condition(case: Case, job: Job) -> dict[str, Any]:
    conditions = job.conditions
    return {
        "policy": case.policy,
        "task": case.task,
        "engine": case.engine,
        "sim": case.sim,
        "score": case.score,
        **({name: getattr(case, name) for name in OF_TRACK} if case.task in TRACKS else {}),
        **(
            {
                **crossing_row(conditions, job.speed_m_s, job.density_per_m2, job.walled),
                "flow": case.flow,
                "obstacles": job.obstacles,
                "size": job.size,
            }
            if case.task == AVOID
            else {}
        ),
        "airframe": case.airframe,
        "spread": case.spread,
        "sensors": case.sensors,
        "imu_hz": "mixed" if conditions.imu_mixed else conditions.imu_hz[0],
        "flow_hz": case.flow_hz,
        "range_hz": case.range_hz,
        "flow_dropout": conditions.flow_dropout[0],
        "range_dropout": conditions.range_dropout[0],
        "faults": " ".join(case.fault),
        "wind_m_s": conditions.wind_m_s[1],
        "duration_s": job.duration_s,
        "seed": case.seed,
    }


def figures(scores: list[FlightScore]) -> dict[str, Any]:
    """Flat figures of a row: `envs.scoring.summarise`, with a key for each reason of a failure."""
    summary = dict(summarise(scores))
    reasons: Any = summary.pop("reasons")
    return summary | {f"failed_{reason.replace(' ', '_')}": count for reason, count in reasons.items()}
