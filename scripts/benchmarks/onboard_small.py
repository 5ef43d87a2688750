"""Small numbers: how far int8 weights and a Q15 state take a policy from float, open loop and in flight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from envs.scoring import FlightScore, score_hover, summarise
from liquid_pilot import Controller
from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.export.core import FLOAT, Q15_FORMS, Storage
from liquid_pilot.export.quantise import quantised_network
from liquid_pilot.selftest import replay
from scripts.benchmarks.onboard import Plan
from scripts.case import Case
from scripts.console import OUT, progress_bar
from scripts.cortex_m7.drawn import drawn_events
from scripts.flying import FlightPool, Job, fly_one, import_pybullet
from scripts.tables import number, rich_table, short_name

STORAGES: Final = {"float": FLOAT, "int8": Storage(int8=True), "int8 and Q15": Storage(int8=True, q15=True)}
IMU_HZ: Final = (100.0, 400.0)


@dataclass(frozen=True, slots=True)
class SmallJob:
    """Flights of a policy whose numbers are stored so."""

    job: Job
    storage: Storage


@lru_cache(maxsize=4)
def _controller(policy: str, storage: Storage) -> Controller:
    bundle = load_bundle(policy)
    return Controller(bundle, core=quantised_network(bundle, storage))


def score_small(small: SmallJob, index: int) -> FlightScore:
    """Score of flight `index`."""
    controller = _controller(small.job.policy, small.storage)
    return score_hover(fly_one(small.job, index, controller), small.job.duration_s)


def open_loop(bundle: Bundle, storage: Storage) -> dict[str, float]:
    """Differences of the action from float over 1,000 recurrent steps of drawn inputs within -2 and 2."""
    x, dt_s = drawn_events(bundle.spec.inputs)
    found, wanted = (replay(quantised_network(bundle, which), x, dt_s) for which in (storage, FLOAT))
    off, off_state = (np.abs(a - b) for a, b in zip(found, wanted, strict=True))
    return {
        "action_rms": float(np.sqrt(np.mean(off**2))),
        "action_largest": float(off.max()),
        "state_largest": float(off_state.max(initial=0.0)),
    }


def in_flight(plan: Plan, storage: Storage, imu_hz: float, pool: FlightPool) -> dict[str, Any]:
    """The figures of `scripts.evaluate`, in PyBullet through the controller."""
    flights = min(plan.flights, 4) if plan.quick else plan.flights
    job = Case(policy=plan.policy, imu_hz=f"{imu_hz:g}", flights=flights).job()
    with progress_bar() as progress:
        task = progress.add_task(f"flights at IMU {imu_hz:g} Hz", total=flights)
        scores = pool.each(score_small, SmallJob(job, storage), flights, lambda: progress.advance(task))
    return dict(summarise(scores))


def run(plan: Plan) -> dict[str, Any]:
    """Compute, fly, print. Figures for onboard.json."""
    import_pybullet()
    bundle = load_bundle(plan.policy)
    if bundle.sees:
        OUT.print(f"{short_name(plan.policy)} sees: there are no small numbers of its encoder yet, and no rows here")
        return {}
    rates = IMU_HZ[:1] if plan.quick else IMU_HZ
    rows, figures = [], dict[str, Any]()
    with FlightPool(plan.workers) as pool:
        for name, storage in STORAGES.items():
            if storage.q15 and bundle.spec.form not in Q15_FORMS:
                continue
            off = open_loop(bundle, storage)
            figures[name] = {"open_loop": off, "in_flight": {}}
            for imu_hz in rates:
                score = in_flight(plan, storage, imu_hz, pool)
                figures[name]["in_flight"][f"imu_{imu_hz:g}_hz"] = score
                flown = [f"{score['success_rate']:.0%}", number(score["speed_error_median_m_s"])]
                errors = [f"{off['action_rms']:.1e}", f"{off['action_largest']:.1e}"]
                rows.append([name, *errors, f"{imu_hz:g}", *flown, number(score["height_error_median_m"])])
    header = ("what", "action\noff, rms", "largest", "IMU\nHz", "still up", "speed\nm/s", "height\nm")
    title = f"{short_name(plan.policy)} in small numbers: open loop; then {plan.flights} flights a row in PyBullet"
    OUT.print(rich_table(title, header, rows))
    return figures
