"""One cell of a table: a policy, and the conditions that it is flown under. Used by all scripts that score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import tyro

from envs.airframe import load_airframe
from envs.conditions import Conditions, parse_dropout, parse_imu_hz
from envs.faults import fault_names, parse_fault
from envs.obstacle_kinds import OBSTACLES, TREES
from envs.parts import conditions_with, parse_sensors
from liquid_pilot.bundle import load_bundle
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.half_cheetah import TASK as CHEETAH
from scripts.crossings import AVOID, FLOWS, OF_AVOID, grid_span, pairs
from scripts.flying import (
    AVIARY_SCORE,
    AVIARY_SIM,
    CONVENTIONAL,
    ERRORS_SCORE,
    OWN_SIM,
    PILOTS,
    PLANNER,
    RAPTORS,
    Job,
    import_pybullet,
    task_of,
)

TASKS: Final = ("hover", "track", "track-position", "mission", AVOID)  # of a drone
TRACKS: Final = ("track", "track-position")
OF_TRACK: Final = ("reference", "track_m_s", "transient_s")
USUAL_FLIGHTS: Final = 500
ENGINES: Final = ("pybullet", "batched")
SIMS: Final = (OWN_SIM, AVIARY_SIM)
SCORES: Final = (ERRORS_SCORE, AVIARY_SCORE)
BACKENDS: Final = ("compiled", "torch")
FAULT_HELP: Final = (
    "Faults, as NAME@START[+DURATION] in seconds after the release: flow:off@6s+1s. Names, with their default values: "
    f"{', '.join(fault_names())}. docs/faults.md says what each does."
)


@dataclass(frozen=True)
class Case:
    """What is flown, and under which conditions."""

    policy: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")]
    """A shipped policy ("hover"), the path of a .safetensors file, or a conventional controller: "geometric" and "pid"
    are told the true state, the upper rows of every table; "pid-ekf" has the policy's sensors and a Kalman filter;
    "planner" is told where the trees of a forest stand as well, which the others fly into.
    "raptor": a published policy (extra rivals) that is told the true state and commands motors, 100 times a second and
    at once; "raptor-late" does so with the latency of everybody else's commands."""
    task: str = "hover"
    """hover: recover from a throw out of a hand, then hold velocity zero and a commanded height. track: follow a
    velocity that changes; its speed error is the root mean square, and 0.5 m/s the most. track-position: follow a
    place, by a position sensor (20 to 50 Hz, 20 % lost) and the autopilot's attitude, without flow and range;
    0.5 m of distance, root mean square, is the most. mission: take off, hover, follow, land softly, motors off.
    avoid: cross 30 m of a forest by a forward flow grid and touch nothing; who stops on the way has not crossed.
    half-cheetah: run; its conditions are --frames, --dropped,
    --delay-frames and --noise."""
    reference: str = "any"
    """Of track and track-position: steps, sinusoid, figure_eight, lissajous, or any for one drawn each flight."""
    track_m_s: float = 1.0
    """Of track and track-position: the fastest speed that is drawn, in m/s."""
    transient_s: float = 0.0
    """Of track: seconds from the beginning of a step on, which takes 1 s, in which errors do not count, such as 1.5."""
    speed: str = "3"
    """Of avoid: the speed that is asked for in m/s, or several, as in 1,2,3,4: a row for each."""
    density: str = "0.1"
    """Of avoid: obstacles per square metre, or several."""
    obstacles: str = TREES
    """Of avoid: what they are. trees, spheres, boxes, gates (a gate in every fourth place, trees in the others), or
    mixed: a quarter of each."""
    size: float = 1.0
    """Of avoid: factor on how thick obstacles are (radii of trunks and balls, sides of boxes, beams of gates; not
    of the trunks of a wall), 0.25 to 2."""
    walled: bool = False
    """Of avoid: no forest has a way through; not to have crossed, and to have touched nothing, is the best there is."""
    grid_hz: str = "20-30"
    """Of avoid: rate of the forward flow grid in Hz, or a span."""
    flow: str = "analytic"
    """Of avoid: where grids come from. analytic: rays and the true motion, with noise. camera: low-resolution pictures,
    compared by OpenCV (extra vision); in PyBullet."""
    flights: int | None = None
    """How many flights, 500 if not given; of half-cheetah episodes, 20. All count; a failed flight has an infinite
    error."""
    imu_hz: str = "100"
    """IMU rate in Hz, or "mixed": every interval drawn anew between 1/400 and 1/25 s. In PyBullet every drone's
    on its own; the batched engines draw one interval for all drones that they fly at once (compiled: up to 1024), and
    vary it by 10 % from drone to drone."""
    flow_hz: float = 40.0
    """Rate of the optical flow sensor in Hz."""
    range_hz: float = 30.0
    """Rate of the range finder in Hz."""
    dropout: tuple[str, ...] = ()
    """Share of samples that are lost, as SENSOR:SHARE: flow:0.3 range:0.1, of avoid also grid:0.5."""
    fault: Annotated[tuple[str, ...], tyro.conf.arg(help=FAULT_HELP)] = ()
    wind: float = 1.0
    """Strongest mean wind in m/s; gusts come on top."""
    airframe: str = "cf2x"
    """Shipped airframe or path of a TOML file. Every flight's drone is drawn around it (--spread)."""
    spread: float = 0.2
    """Mass, inertia, thrust and drag of a drone are drawn within this share of nominal."""
    sensors: str = ""
    """Sensor parts, as KIND=PART,...: imu=bmi088,flow=paw3902,range=vl53l1x. A part is a shipped name (IMU: bmi088,
    icm42688p; flow: paw3902, pmw3901; range: vl53l1x) or the path of a TOML file."""
    engine: str = "pybullet"
    """pybullet: rigid body in PyBullet, through the onboard controller and its supervisor. batched: the network
    alone in the training world, much faster."""
    backend: str = "auto"
    """Of the batched engine. compiled: the world traced to C. torch: the reference. auto: compiled where a C compiler
    is found, else torch."""
    sim: str = OWN_SIM
    """Whose world the pybullet engine is. liquid-pilot: ours. gym-pybullet-drones: the rigid body, rotors, drag, ground
    effect and damping of its CtrlAviary under our sensors, rate loop, motor lag, wind and launches (cf2x only)."""
    score: str = ERRORS_SCORE
    """errors: share still up, errors of speed and height. hover-aviary: the return in HoverAviary of
    gym-pybullet-drones, from its start to its target, in still air and with its own drone, which replace what is said
    here of wind, airframes' spread and seconds; an expert then holds the position, which no sensor knows."""
    seconds: float | None = None
    """Length of a flight after the release, in seconds. If not given 15, of a mission 25, of avoid what 30 m take at
    60 % of the speed, and 4 more."""
    seed: int = 0
    """Seed of all flights. The same seed is the same flights, whatever the policy or the number of workers."""

    @property
    def count(self) -> int:
        """Of flights."""
        return USUAL_FLIGHTS if self.flights is None else self.flights

    def check(self) -> None:
        """Raise `ConfigError` for names that do not exist and numbers that make no sense."""
        if self.task not in TASKS:
            raise ConfigError(unknown_name("task", self.task, [*TASKS, CHEETAH]))
        if self.engine not in ENGINES:
            raise ConfigError(unknown_name("engine", self.engine, list(ENGINES)))
        if self.backend not in ("auto", *BACKENDS):
            raise ConfigError(unknown_name("backend", self.backend, ["auto", *BACKENDS]))
        if self.engine == "batched" and self.policy in CONVENTIONAL:
            raise ConfigError(f"{self.policy} is no policy of ours; it flies with --engine pybullet only")
        self._check_sim()
        self._check_places()
        self._check_avoid()
        if self.task == "mission" and self.policy in RAPTORS:
            raise ConfigError(f"{self.policy} never stops its motors; it flies hover and track, no mission")
        if self.seconds is not None and not 1.0 <= self.seconds <= 3600.0:
            raise ConfigError(f"seconds is {self.seconds:g}; a flight may last 1 to 3600 s")
        task_of(self._job(Conditions(), 1.0))

    def _check_places(self) -> None:
        """Who flies to places is told nothing else, and nobody else is told places."""
        asked = self.task == "track-position"
        if self.policy in CONVENTIONAL:
            if asked:
                raise ConfigError(f"{self.policy} flies no places here; see python -m scripts.benchmark tracking")
            return
        if load_bundle(self.policy).locates != asked:
            fitting = "flies to places: give --task track-position" if not asked else "knows no places"
            raise ConfigError(f"{self.policy} cannot fly the task {self.task}: it {fitting}")
        usual = Case(self.policy)
        foreign = [
            name
            for name in ("flow_hz", "range_hz", "dropout", "transient_s")
            if getattr(self, name) != getattr(usual, name)
        ]
        foreign += [text for text in self.fault if text.startswith(("flow:", "range:"))]
        if asked and foreign:
            raise ConfigError(
                f"track-position has neither flow nor range, nor steps alone; leave out {' '.join(foreign)}"
            )

    def _check_avoid(self) -> None:
        """Who sees flies avoid, and nobody else does but those who are told the truth."""
        asked, usual = self.task == AVOID, Case(self.policy)
        if not asked:
            foreign = [
                f"--{name.replace('_', '-')}" for name in OF_AVOID if getattr(self, name) != getattr(usual, name)
            ]
            foreign += [text for text in self.dropout if text.startswith("grid:")]
            if foreign:
                raise ConfigError(f"{' '.join(foreign)}: of the task avoid alone; give --task avoid, or leave it out")
        if self.obstacles not in OBSTACLES:
            raise ConfigError(unknown_name("obstacles", self.obstacles, list(OBSTACLES)))
        if self.flow not in FLOWS:
            raise ConfigError(unknown_name("flow", self.flow, list(FLOWS)))
        if self.flow == "camera":
            if self.engine != "pybullet":
                raise ConfigError(
                    "a camera takes its pictures in PyBullet; leave --flow camera or --engine batched out"
                )
            from envs.vision import import_cv2

            import_cv2()  # refuse here, not in a worker
        if asked and len(self.cells()) > 1:
            raise ConfigError(f"speed {self.speed} and density {self.density} are several cells; fly them one by one")
        if self.policy == PLANNER and not asked:
            raise ConfigError(f"{PLANNER} crosses forests alone; give --task avoid")
        if self.policy in PILOTS and asked:
            raise ConfigError(f"{self.policy} flies no courses over ground; planner and geometric fly avoid")
        if self.policy in CONVENTIONAL or load_bundle(self.policy).sees == asked:
            return
        fitting = "sees a flow grid: give --task avoid" if not asked else "has no flow grid, nor flies courses"
        raise ConfigError(f"{self.policy} cannot fly the task {self.task}: it {fitting}")

    def cells(self) -> list[Case]:
        """One case for each speed and density of avoid; any other task is one cell. Raises `ConfigError`."""
        if self.task != AVOID:
            return [self]
        return [replace(self, speed=f"{v:g}", density=f"{d:g}") for v, d in pairs(self.speed, self.density)]

    def _check_sim(self) -> None:
        if self.sim not in SIMS:
            raise ConfigError(unknown_name("sim", self.sim, list(SIMS)))
        if self.score not in SCORES:
            raise ConfigError(unknown_name("score", self.score, list(SCORES)))
        if self.score == AVIARY_SCORE and self.task != "hover":
            raise ConfigError(f"score {self.score} is of hovering; leave --score or --task {self.task} out")
        if self.score == AVIARY_SCORE and self.sim != AVIARY_SIM:
            raise ConfigError(f"score {self.score} is a task of {AVIARY_SIM}; fly it with --sim {AVIARY_SIM}")
        if self.sim == AVIARY_SIM:
            if self.engine != "pybullet":
                raise ConfigError(f"{self.sim} flies one drone in PyBullet; leave --engine {self.engine} out")
            import_pybullet()
            from envs.aviary import check_airframe, import_aviary

            import_aviary("envs")  # refuse here, not in a worker
            check_airframe(load_airframe(self.airframe))

    def conditions(self) -> Conditions:
        """The conditions of the flights. Raises `ConfigError`."""
        imu_hz, mixed = parse_imu_hz(self.imu_hz)
        conditions = replace(
            task_of(self._job(Conditions(), 1.0)).conditions,
            imu_hz=imu_hz,
            imu_mixed=mixed,
            flow_hz=(self.flow_hz, self.flow_hz),
            range_hz=(self.range_hz, self.range_hz),
            wind_m_s=(0.0, self.wind),
            airframe_spread=self.spread,
            faults=tuple(parse_fault(text) for text in self.fault),
        )
        if self.task == AVOID:
            conditions = replace(conditions, grid_hz=grid_span(self.grid_hz))
        conditions = conditions_with(conditions, **parse_sensors(self.sensors))
        losses = [parse_dropout(text) for text in self.dropout]
        if len({sensor for sensor, _ in losses}) < len(losses):
            raise ConfigError(f"dropout is {' '.join(self.dropout)}; give each sensor one share")
        for sensor, share in losses:
            changed: Any = {f"{sensor}_dropout": (share, share)}
            conditions = replace(conditions, **changed)
        return conditions

    def job(self) -> Job:
        """The flights of this case."""
        conditions = self.conditions()
        seconds = self.seconds or task_of(self._job(conditions, 1.0)).duration_s
        if self.score == AVIARY_SCORE:
            from envs.hover_aviary import DURATION_S, hover_aviary_conditions

            conditions, seconds = hover_aviary_conditions(conditions), DURATION_S
        return self._job(conditions, seconds)

    def _job(self, conditions: Conditions, seconds: float) -> Job:
        flown = (self.policy, self.airframe, conditions, self.count, self.seed, seconds, self.sim, self.score)
        if self.task == AVOID:
            speed, density = pairs(self.speed, self.density)[0]
            return Job(
                *flown,
                self.task,
                speed_m_s=speed,
                density_per_m2=density,
                walled=self.walled,
                camera=self.flow == "camera",
                obstacles=self.obstacles,
                size=self.size,
            )
        return Job(*flown, self.task, self.reference, self.track_m_s, self.transient_s)
