"""An hour of flight over a bad link, a fault a minute, in simulated time: nothing breaks, nothing grows.

Sorties of a minute follow each other over one link and one controller, each with a drone of its own (a reboot of the
autopilot, as the link sees it). Frames are lost, doubled, late and so out of order. In each sortie one thing fails; the
time until the supervisor answers is held against the limit that it promises, and every command is checked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from envs.autopilot.channel import ChannelFaults
from envs.autopilot.companion import Companion, autopilot_conditions, simulated_autopilot
from envs.faults import Fault, parse_fault
from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.links.mavlink_frames import dialect
from liquid_pilot.messages import Setpoint
from liquid_pilot.runtime.flight import Outcome, Plan, Stage
from liquid_pilot.supervisor import State, limits_of_sensors
from scripts.benchmarks import onboard
from scripts.console import OUT, progress_bar
from scripts.flying import import_pybullet
from scripts.tables import rich_table

SORTIE_S: Final = 60.0
BAD_LINK: Final = ChannelFaults(loss=0.01, duplicates=0.05, jitter_s=0.02)
SET_POINT: Final = Setpoint(0.0, (0.0, 0.0), 1.0, 0.0)
SETTLE_S: Final = 6.0  # after the take-off the first fault may come
LATE_S: Final = 0.060  # jitter of the link both ways, a period of the slowest sensor, a tick
AIRFRAMES: Final = ("companion", "cf2x")
# What fails, for how long, and which of the supervisor's limits answers it; None: the policy rides it out.
FAULTS: Final[tuple[tuple[str, float, str | None], ...]] = (
    ("imu:off", 0.4, "imu_s"),
    ("flow:off", 4.0, "flow_s"),
    ("gyro:off", 0.4, "imu_s"),
    ("range:off", 4.0, "range_s"),
    ("accel:off", 2.0, None),
    ("flow:nan", 4.0, "flow_s"),
    ("range:nan", 4.0, "range_s"),
    ("flow:spike", 2.0, None),
    ("range:spike", 2.0, None),
    ("wind:step=3m/s", 5.0, None),
    ("imu:off", 3.0, "imu_s"),  # longer than the blind glide: the autopilot's own failsafe lands it
    ("battery:0.9", 5.0, None),
    ("flow:off", 1.0, None),
)


@dataclass(slots=True)
class Soaked:
    """What an hour came to. worst_answer_s: by fault, beyond its limit where positive."""

    sorties: int = 0
    simulated_s: float = 0.0
    events: int = 0
    commands: int = 0
    not_finite: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    late: list[str] = field(default_factory=list)
    worst_answer_s: dict[str, float] = field(default_factory=dict)
    hard_landings: list[str] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def growth_mb(self) -> float:
        """Memory at the end less that after the first tenth (at least two sorties), where caches have filled."""
        first = min(max(2, len(self.rss_mb) // 10), len(self.rss_mb) - 1)
        return self.rss_mb[-1] - self.rss_mb[first] if len(self.rss_mb) > 1 else 0.0


class _Watcher:
    """Looks at every command on the wire, and at how long a fault goes unanswered."""

    def __init__(self, soaked: Soaked, fault: Fault, limit_s: float | None) -> None:
        self._soaked, self._fault, self._limit_s = soaked, fault, limit_s
        self._reader = dialect().MAVLink(None)
        self.answer_s: float | None = None  # after the fault's beginning

    def look(self, companion: Companion) -> None:
        """After every event."""
        soaked = self._soaked
        soaked.events += 1
        for data in companion.world.sent:
            if data[7] != 82:
                continue
            m = self._reader.decode(bytearray(data))
            soaked.commands += 1
            finite = math.isfinite(m.body_roll_rate + m.body_pitch_rate + m.body_yaw_rate + m.thrust)
            if not finite or m.type_mask != 128 or not 0.0 <= m.thrust <= 1.0:
                soaked.not_finite += 1
        since_s = companion.world.autopilot.vehicle.launch.flight_time_s - self._fault.start_s
        if self.answer_s is None and since_s > 0.0 and companion.controller.state is not State.ACTIVE:
            self.answer_s = since_s

    def judge(self) -> None:
        """When the sortie is over: was the fault answered, and in time."""
        if self._limit_s is None:
            return
        soaked, name = self._soaked, str(self._fault)
        kind = name.partition("@")[0]
        if self.answer_s is None or self.answer_s > self._limit_s + LATE_S:
            soaked.late.append(f"{name}: {'never' if self.answer_s is None else f'{self.answer_s:.3f} s'}")
            return
        soaked.answered[kind] += 1
        soaked.worst_answer_s[kind] = max(soaked.worst_answer_s.get(kind, 0.0), self.answer_s)


def rss_mb() -> float:
    """Resident anonymous memory of this process (Linux): without pages of files, which come and go with the machine."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1e3 for line in file if line.startswith("RssAnon:"))


def soak(
    policy: str = "hover",
    seconds: float = 3600.0,
    imu_hz: float = 400.0,
    *,
    sortie_s: float = SORTIE_S,
    channel: ChannelFaults = BAD_LINK,
    seed: int = 0,
    on_sortie: Callable[[Soaked], None] = lambda soaked: None,
) -> Soaked:
    """Fly until so much time was simulated. Nothing is filtered: what went wrong is in the result."""
    bundle, soaked, companion = load_bundle(policy), Soaked(), None
    while soaked.simulated_s < seconds:
        what, length_s, limit = FAULTS[soaked.sorties % len(FAULTS)]
        rng = np.random.default_rng([seed, soaked.sorties])
        start_s = round(float(rng.uniform(SETTLE_S, max(SETTLE_S, sortie_s - 15.0))), 3)
        fault = parse_fault(f"{what}@{start_s}s+{length_s}s")
        limit_s = (
            None if limit is None else float(getattr(limits_of_sensors(bundle.metadata["sensor_limits_s"]), limit))
        )
        companion = _sortie(bundle, soaked, companion, fault, limit_s, imu_hz, sortie_s, channel, seed)
        soaked.rss_mb.append(rss_mb())
        on_sortie(soaked)
    return soaked


def _sortie(
    bundle: Bundle,
    soaked: Soaked,
    companion: Companion | None,
    fault: Fault,
    limit_s: float | None,
    imu_hz: float,
    sortie_s: float,
    channel: ChannelFaults,
    seed: int,
) -> Companion:
    """One more; the companion is made at the first and goes on with every other."""
    index = soaked.sorties
    conditions = autopilot_conditions(imu_hz, (fault,))
    autopilot = simulated_autopilot(AIRFRAMES[index % len(AIRFRAMES)], conditions, 1000 * seed + index)
    plan = replace(Plan(SET_POINT, imu_hz=imu_hz), duration_s=sortie_s - 12.0)
    if companion is None:
        companion = Companion(bundle, autopilot, plan, channel=channel, seed=seed, imu_hz=imu_hz)
    else:
        companion.world.replace(autopilot)
        companion.calibrate(autopilot)
        companion.start(plan)
    watcher, world = _Watcher(soaked, fault, limit_s), companion.world
    begin_s = world.now_s
    try:
        while not companion.flight.done and world.now_s - begin_s < 2.0 * sortie_s:
            world.step(companion.act)
            watcher.look(companion)
        _come_down(companion)
        record = world.record.summary(autopilot)
    finally:
        autopilot.vehicle.close()
    flew = companion.flight.stage is Stage.DONE and record["flown_s"] > fault.start_s
    if flew:
        watcher.judge()
    outcome = companion.flight.outcome or Outcome.LOST
    soaked.outcomes[outcome.value if flew else f"{outcome.value} before the fault"] += 1
    if not record["landed_softly"]:
        soaked.hard_landings.append(f"{fault}: {record['touchdown_m_s']:.1f} m/s, {companion.flight.reason}")
    for name, count in companion.link.status(world.now_s).counters.items():
        soaked.refused[name] = count
    soaked.sorties += 1
    soaked.simulated_s += world.now_s - begin_s
    return companion


def _come_down(companion: Companion) -> None:
    """Where the companion has let go, its autopilot lands."""
    begin_s = companion.world.now_s
    while companion.world.autopilot.rules.armed and companion.world.now_s - begin_s < 30.0:
        companion.world.step(lambda: None)


def rows(soaked: Soaked) -> list[tuple[str, str, str]]:
    """(what, found, goal)."""
    promised, refused = sum(soaked.answered.values()), soaked.refused
    table = [
        ("simulated", f"{soaked.simulated_s / 60.0:.1f} min, {soaked.sorties} sorties", ""),
        ("IMU events", f"{soaked.events:,}", ""),
        ("commands", f"{soaked.commands:,}", ""),
        ("not finite or out of limits", str(soaked.not_finite), "0"),
        ("faults answered in time", f"{promised} of {promised + len(soaked.late)}", "all"),
    ]
    table += [(f"slowest answer to {kind}", f"{s:.2f} s", "") for kind, s in sorted(soaked.worst_answer_s.items())]
    table += [("late", late, "") for late in soaked.late]
    table += [(f"sorties: {name}", str(count), "") for name, count in soaked.outcomes.items()]
    table += [("touchdown above 1.5 m/s", landing, "") for landing in soaked.hard_landings]
    reboots, memory = str(refused["clock_jumps"]), f"{soaked.rss_mb[-1]:.1f} MB ({soaked.growth_mb:+.1f} MB)"
    return [
        *table,
        ("reboots the clock followed", reboots, str(soaked.sorties - 1)),
        ("memory, growth after the first tenth", memory, "flat"),
    ]


def run(plan: onboard.Plan) -> dict[str, Any]:
    """The section "soak"."""
    import_pybullet()
    seconds = 300.0 if plan.quick else 3600.0
    with progress_bar() as progress:
        task = progress.add_task("minutes", total=seconds / 60.0)
        soaked = soak(
            plan.policy,
            seconds,
            seed=plan.seed,
            on_sortie=lambda one: progress.update(task, completed=round(one.simulated_s / 60.0, 1)),
        )
    title = "flights at IMU 400 Hz in simulated time, over a bad link, with a fault a minute"
    OUT.print(rich_table(title, ("what", "found", "goal"), rows(soaked)))
    return onboard.figures(soaked)
