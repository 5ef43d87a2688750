"""One environment for every flying task: PyBullet from one IMU event to the next, under a `Task`.

The hold in the hand (or on the ground) is part of the episode: actions are ignored and the reward is 0, so that a
recurrent policy sees gravity before it flies.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt

from envs.actions import ACTION_MODES, Drive, read_action
from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.fault_messages import Sensed
from envs.flights import draw_flights
from envs.grid_observation import GridMemory, told_setpoint
from envs.state_observation import OBS_BOUND, STATE_DIM, assemble_state
from envs.task import Moment, Task
from envs.task_flight import SUCCESS, TaskFlight
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits
from liquid_pilot.errors import ConfigError, SimulationError, unknown_name
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import FlowGrid, Imu, Setpoint
from liquid_pilot.observation import OBS_DIM, POSITION_DIM, Held, Located, assemble, assemble_position, located
from liquid_pilot.ops import FLOAT_OPS
from liquid_pilot.targets import NOWHERE

if TYPE_CHECKING:  # they load PyBullet, which no task needs before it flies
    from envs.launch import HandLaunch
    from envs.pybullet_quad import PyBulletQuad
    from envs.window import Window

Observation: TypeAlias = Any  # (width,) float32; a dictionary of two such with obs="both"
Action: TypeAlias = npt.NDArray[np.float32]

OBS_DIMS: Final[dict[str, int]] = {"sensors": OBS_DIM, "state": STATE_DIM}
OBS_MODES: Final = (*OBS_DIMS, "both")
CRASH_REWARD: Final = -10.0
DONE_REWARD: Final = 10.0


def make_conditions(conditions: Conditions | None, overrides: dict[str, Any]) -> Conditions:
    """The given conditions (or the defaults) with fields replaced. Raises `ConfigError`."""
    base = conditions or Conditions()
    allowed = set(Conditions.__dataclass_fields__)
    unknown = sorted(set(overrides) - allowed)
    if unknown:
        raise ConfigError(f"unknown options {unknown}; conditions have the fields: {', '.join(sorted(allowed))}")
    return replace(base, **overrides)


def observation_space(obs: str, locates: bool = False, sight: int = 0) -> gymnasium.spaces.Space[Any]:
    """Of an observation mode: a box, or a dictionary of both boxes.

    locates: with a position sensor. sight: numbers that are shown of a flow grid.
    """
    more = {"sensors": sight + (POSITION_DIM if locates else 0), "state": 0}
    boxes: dict[str, gymnasium.spaces.Space[Any]] = {
        name: gymnasium.spaces.Box(-OBS_BOUND, OBS_BOUND, (dim + more[name],), np.float32)
        for name, dim in OBS_DIMS.items()
    }
    return gymnasium.spaces.Dict(boxes) if obs == "both" else boxes[obs]


def check_options(obs: Any, action: Any, conditions: Any, limits: Any, duration_s: Any) -> None:
    """Raise `ConfigError` for options of an environment that are none."""
    if obs not in OBS_MODES:
        raise ConfigError(unknown_name("obs", obs, list(OBS_MODES)))
    if action not in list(ACTION_MODES):
        raise ConfigError(unknown_name("action", action, list(ACTION_MODES)))
    number = isinstance(duration_s, (int, float)) and math.isfinite(duration_s) and duration_s > 0.0
    if duration_s is not None and not number:
        raise ConfigError(f"duration_s is {duration_s!r}; give positive seconds of flight after the release")
    if not isinstance(limits, CommandLimits):
        raise ConfigError(f"limits is {limits!r}; give a liquid_pilot.command.CommandLimits")
    if conditions is not None and not isinstance(conditions, Conditions):
        raise ConfigError(f"conditions is a {type(conditions).__name__}; give an envs.conditions.Conditions")


class QuadEnv(gymnasium.Env[Observation, Action]):
    """A task as a gymnasium environment.

    obs: "sensors" (OBS_DIM,) as laid out in `OBS_FIELDS`, "state" (STATE_DIM,), the truth, in `STATE_FIELDS`, or
    "both", a dictionary of the two, for critics that may know more than the actor. With a position sensor
    (position_hz=(20, 50), or `envs.parts.conditions_with(..., position="mocap")`) the `POSITION_FIELDS` follow the
    sensors'; in a forest, at a grid_hz above 0, the `SIGHT_FIELDS` and the newest flow grid, as `GridReader` reads it.
    action (4,) in -1..1: "ctbr" thrust and body rates within `limits`; "rpm" motor speeds, 0 to full; "velocity" in
    the heading frame within `VELOCITY_LIMITS_M_S`, and yaw rate.

    Reward: the task's times dt, so that a return does not depend on the IMU rate; `CRASH_REWARD` more when lost,
    `DONE_REWARD` when done early. Truncated: `duration_s` after the release. `info`: dt_s, t_s, released, true
    position_m, velocity_m_s, attitude_wxyz, rates_rad_s, wind_m_s, what the task adds, and `success` at the end.

    render_mode: "rgb_array", or "human", PyBullet's window in real time, of which a process has one; looking changes no
    flight. `metadata` of an instance holds the modes that can work here and steps per second of flight (mean IMU rate).
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 100}  # noqa: RUF012  # gymnasium's

    def __init__(
        self,
        task: Task,
        *,
        obs: str = "sensors",
        action: str = "ctbr",
        conditions: Conditions | None = None,
        airframe: str = "cf2x",
        limits: CommandLimits = DEFAULT_LIMITS,
        duration_s: float | None = None,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        """overrides: fields of `Conditions`, for example imu_hz=(50, 200). Raises `ConfigError`."""
        if render_mode not in (None, *QuadEnv.metadata["render_modes"]):
            raise ConfigError(f"render_mode is {render_mode!r}; choose None, 'human' or 'rgb_array'")
        check_options(obs, action, conditions, limits, duration_s)
        self.task = task
        self.obs = obs
        self.action_mode = ACTION_MODES[action]
        self.render_mode = render_mode
        self.conditions = make_conditions(conditions or task.conditions, overrides)
        self.metadata = {"render_modes": _render_modes(), "render_fps": round(self.conditions.mean_imu_hz)}
        self.limits = limits
        self.duration_s = task.duration_s if duration_s is None else float(duration_s)
        self.airframe = load_airframe(airframe)
        sees = task.sees if self.conditions.sees else None
        self._grid = None if sees is None else GridMemory(sees.model.layout)
        sight = 0 if self._grid is None else self._grid.width
        self.observation_space = observation_space(obs, self.conditions.locates, sight)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._memory = SensorMemory()
        self._silent_s = 0.0  # since the newest IMU sample that was accepted
        self._quad: PyBulletQuad | None = None
        self._window: Window | None = None
        self._flight: TaskFlight | None = None
        self._drive: Drive = self.action_mode.drive(limits)
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw a new flight and put the drone where it begins."""
        from envs.launch import HandLaunch
        from envs.pybullet_quad import PyBulletQuad

        super().reset(seed=seed)
        if self._quad is None:
            self._quad = PyBulletQuad(self.airframe)
        drawn = draw_flights(self.airframe, self.conditions, 1, self.np_random, self.duration_s)
        flights = self.task.launch(drawn, self.airframe)
        launch = HandLaunch(self._quad, flights, self.conditions, self.np_random)
        course = self.task.course(flights, self.duration_s, self.np_random)
        self._flight = flight = TaskFlight(launch, self.task, course, self.duration_s)
        self._drive = self.action_mode.drive(self.limits)
        self._drive.begin(launch)
        self._memory.reset()
        if self._grid is not None:
            self._grid.reset()
        self._silent_s = 0.0
        self._over = False
        moment = flight.moment()
        self._show(flight, moment)
        return self._observe(flight, launch.first_messages(), moment), self._info(flight, moment)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Fly to the next IMU event. Raises `SimulationError` out of turn or for a bad action."""
        flight = self._flight
        if flight is None or self._over:
            raise SimulationError("no episode is running; call reset() before step()")
        launch = flight.launch
        drive = self._drive
        drive.act(launch, read_action(action, self.action_mode.meaning))
        was_released = launch.released

        def on_substep(t_s: float) -> None:
            flight.substep(t_s)
            drive.tick(launch, t_s)

        messages = launch.advance(on_substep)
        moment = flight.moment()
        self._show(flight, moment)
        observation = self._observe(flight, messages, moment)
        if not was_released:
            return observation, 0.0, False, False, self._info(flight, moment)
        lost, done = flight.judge(moment)
        outcome = flight.outcome(moment, lost, done)
        terminated, truncated = lost or done, outcome is not None and not (lost or done)
        reward = CRASH_REWARD if lost else DONE_REWARD if done else 0.0
        if launch.finite:
            reward += self.task.reward_per_s(FLOAT_OPS, moment) * launch.dt_s
        info = self._info(flight, moment)
        if outcome is not None:
            self._over, info["success"] = True, outcome == SUCCESS
        return observation, reward, terminated, truncated, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """The drone and a ring where it should be, (480, 640, 3), for render_mode="rgb_array"; otherwise None.

        With "human" the window shows every step by itself, in real time.
        """
        if self.render_mode is None:
            return None
        if self._quad is None or self._flight is None:
            raise SimulationError("there is nothing to see yet; call reset() before render()")
        if self.render_mode == "human":
            return None
        target_m = self._flight.moment().goal.point.position_m
        return self._quad.picture(target_m=target_m, t_s=self._flight.launch.t_s)

    def close(self) -> None:
        """Free PyBullet's client, close the window."""
        if self._quad is not None:
            self._quad.close()
            self._quad = None
        if self._window is not None:
            self._window.close()
            self._window = None
        self._flight = None

    def _show(self, flight: TaskFlight, moment: Moment[float]) -> None:
        if self.render_mode != "human":
            return
        if self._window is None:
            from envs.window import Window

            self._window = Window(self.airframe)
        body = moment.body
        self._window.show(body.position_m, body.attitude_wxyz, moment.goal.point.position_m, flight.launch.t_s)

    @property
    def _launch(self) -> HandLaunch | None:
        return None if self._flight is None else self._flight.launch

    def _observe(self, flight: TaskFlight, messages: list[Sensed], moment: Moment[float]) -> Observation:
        heard = False
        for message in messages:
            if isinstance(message, FlowGrid):
                if self._grid is not None:
                    self._grid.accept(message)
                continue
            heard = self._memory.accept(message) is None and isinstance(message, Imu)  # the IMU's comes last
        self._silent_s = 0.0 if heard else self._silent_s + flight.launch.dt_s
        if self.obs == "state":
            return _bounded(assemble_state(moment))
        setpoint = flight.launch.setpoint
        if self._grid is not None:
            setpoint = told_setpoint(setpoint.t_s, moment.goal, self._memory.heading())
        sensed = assemble(self._held(setpoint))
        if self.conditions.locates:
            sensed += assemble_position(self._located(moment))
        if self._grid is not None:
            sensed += self._grid.show(self._memory, self._silent_s)
        seen = _bounded(sensed)
        return {"sensors": seen, "state": _bounded(assemble_state(moment))} if self.obs == "both" else seen

    def _held(self, setpoint: Setpoint) -> Held[float]:
        """What the memory holds; where no IMU sample was accepted, nothing is fresh and all is older by the silence."""
        if self._silent_s == 0.0:
            return self._memory.take(setpoint)
        return replace(self._aged.take(setpoint), accel_fresh=0.0, flow_fresh=0.0, range_fresh=0.0)

    @property
    def _aged(self) -> SensorMemory:
        """A copy to take from in a silence: what has arrived stays fresh for the next IMU sample that is accepted."""
        aged = copy(self._memory)
        aged.imu_t_s = (self._memory.imu_t_s or 0.0) + self._silent_s
        return aged

    def _located(self, moment: Moment[float]) -> Located[float]:
        """What the position sensor said, seen from the target, by the heading that the attitude told."""
        point, compass = moment.goal.point, self._memory.heading()
        silent = self._silent_s > 0.0
        said, fresh, age_s = (self._aged if silent else self._memory).take_position()
        fresh *= not silent
        if said is None or compass is None:
            return NOWHERE
        place, speed = said.position_m, said.velocity_m_s
        return located(FLOAT_OPS, place, speed, age_s, fresh, point.position_m, point.velocity_m_s, compass)

    def _info(self, flight: TaskFlight, moment: Moment[float]) -> dict[str, Any]:
        launch, task = flight.launch, self.task
        body = launch.body
        return {
            "dt_s": launch.dt_s,
            "t_s": launch.t_s,
            "released": launch.released,
            "position_m": body.position_m,
            "velocity_m_s": body.velocity_m_s,
            "attitude_wxyz": body.attitude_wxyz,
            "rates_rad_s": body.rates_rad_s,
            "wind_m_s": launch.wind_m_s,
            **({task.phase_name: task.phases[int(moment.goal.phase)]} if task.phases else {}),
            **task.describe(FLOAT_OPS, flight.memory, moment),
        }


def _render_modes() -> list[str]:
    """Those that can work on this machine."""
    from envs.window import has_display

    return ["human", "rgb_array"] if has_display() else ["rgb_array"]


def _bounded(values: tuple[float, ...]) -> npt.NDArray[np.float32]:
    """A lost simulation ends in numbers too."""
    return np.clip(np.nan_to_num(np.array(values, dtype=np.float32)), -OBS_BOUND, OBS_BOUND)
