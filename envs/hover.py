"""The task Hover (`liquid_pilot/Hover-v0`): recover from a throw, then hold velocity and height.

One `step` runs to the next IMU event. The hold in the hand is part of the episode: actions are
ignored and the reward is 0, so that a recurrent policy sees gravity before it flies.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt

from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.launch import HandLaunch
from envs.physics import Body
from envs.pybullet_quad import PyBulletQuad
from envs.scoring import TILT_AFTER_S, TILT_LIMIT_DEG, out_of_bounds
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits, from_action
from liquid_pilot.errors import ConfigError, SimulationError
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import SensorMessage, Setpoint
from liquid_pilot.observation import OBS_DIM, assemble

Observation: TypeAlias = npt.NDArray[np.float32]
Action: TypeAlias = npt.NDArray[np.float32]

OBS_BOUND: Final = 1000.0  # wider than any scaled reading
TUMBLE_COS: Final = 0.0  # past 90 degrees of tilt


def hover_reward_per_s(body: Body[float], setpoint: Setpoint) -> float:
    """Reward per second of flight: 1 for a perfect hover, never below -1.

    Less 1 per m/s of horizontal speed error, 1 per m of height error, 0.2 per m/s of climb and 0.05
    per rad/s of body rate.
    """
    w, x, y, z = body.attitude_wxyz
    yaw = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    sx, sy = setpoint.velocity_m_s
    ex = body.velocity_m_s[0] - (math.cos(yaw) * sx - math.sin(yaw) * sy)
    ey = body.velocity_m_s[1] - (math.sin(yaw) * sx + math.cos(yaw) * sy)
    height = abs(body.position_m[2] - setpoint.height_m)
    spin = math.sqrt(sum(rate * rate for rate in body.rates_rad_s))
    return max(-1.0, 1.0 - math.hypot(ex, ey) - height - 0.2 * abs(body.velocity_m_s[2]) - 0.05 * spin)


CRASH_REWARD: Final = -10.0


def read_action(action: object) -> tuple[float, float, float, float]:
    """Four finite numbers, cut to [-1, 1]. Raises `SimulationError` on anything else."""
    try:
        values = np.asarray(action)
    except (TypeError, ValueError) as error:
        raise SimulationError(f"the action is no array ({error}); give 4 numbers in -1 to 1") from error
    if values.shape != (4,) or values.dtype.kind not in "fiu":
        raise SimulationError(
            f"the action has shape {values.shape} and type {values.dtype}; "
            "give 4 real numbers in -1 to 1: thrust, roll, pitch and yaw rate"
        )
    a, b, c, d = (min(max(float(v), -1.0), 1.0) if math.isfinite(v) else math.nan for v in values)
    if math.isnan(a + b + c + d):
        raise SimulationError(f"the action is {values.tolist()}; all of it must be finite, check the policy's output")
    return a, b, c, d


def make_conditions(conditions: Conditions | None, overrides: dict[str, Any]) -> Conditions:
    """The given conditions (or the defaults) with fields replaced. Raises `ConfigError`."""
    base = conditions or Conditions()
    allowed = set(Conditions.__dataclass_fields__)
    unknown = sorted(set(overrides) - allowed)
    if unknown:
        raise ConfigError(f"unknown options {unknown}; conditions have the fields: {', '.join(sorted(allowed))}")
    made = replace(base, **overrides)
    if any(fault.sensor == "imu" for fault in made.faults):
        raise ConfigError("a step ends at an IMU event, so the IMU cannot fail here; fly a pilot with envs.rollout.fly")
    return made


class HoverEnv(gymnasium.Env[Observation, Action]):
    """Observation (OBS_DIM,) as laid out in `OBS_FIELDS`; action (4,) in -1..1: thrust, body rates.

    Reward: `hover_reward_per_s` times dt, so that a return does not depend on the IMU rate; -10 more
    when terminated. Terminated: nearer than 0.1 m to the ground, above 3.5 m, tilt past 90 degrees.
    Truncated: `duration_s` after the release. `info`: dt_s, t_s, released, true position_m,
    velocity_m_s, attitude_wxyz, rates_rad_s, wind_m_s, and `success` at the end.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012  # gymnasium's type

    def __init__(
        self,
        *,
        conditions: Conditions | None = None,
        airframe: str = "cf2x",
        limits: CommandLimits = DEFAULT_LIMITS,
        duration_s: float = 15.0,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        """overrides: fields of `Conditions`, for example imu_hz=(50, 200). Raises `ConfigError`."""
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"render_mode is {render_mode!r}; choose None or 'rgb_array'")
        if not isinstance(duration_s, (int, float)) or not (math.isfinite(duration_s) and duration_s > 0.0):
            raise ConfigError(f"duration_s is {duration_s!r}; give positive seconds of flight after the release")
        if not isinstance(limits, CommandLimits):
            raise ConfigError(f"limits is {limits!r}; give a liquid_pilot.command.CommandLimits")
        if conditions is not None and not isinstance(conditions, Conditions):
            raise ConfigError(f"conditions is a {type(conditions).__name__}; give an envs.conditions.Conditions")
        self.render_mode = render_mode
        self.conditions = make_conditions(conditions, overrides)
        self.limits = limits
        self.duration_s = duration_s
        self.airframe = load_airframe(airframe)
        self.observation_space = gymnasium.spaces.Box(-OBS_BOUND, OBS_BOUND, (OBS_DIM,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._memory = SensorMemory()
        self._quad: PyBulletQuad | None = None
        self._launch: HandLaunch | None = None
        self._over = True
        self._leant = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw a new flight and put the drone into the hand."""
        super().reset(seed=seed)
        if self._quad is None:
            self._quad = PyBulletQuad(self.airframe)
        flights = draw_flights(self.airframe, self.conditions, 1, self.np_random, self.duration_s)
        self._launch = launch = HandLaunch(self._quad, flights, self.conditions, self.np_random)
        self._memory.reset()
        self._over = self._leant = False
        return self._observe(launch, launch.first_messages()), self._info(launch)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Fly to the next IMU event. Raises `SimulationError` out of turn or for a bad action."""
        launch = self._launch
        if launch is None or self._over:
            raise SimulationError("no episode is running; call reset() before step()")
        launch.issue(from_action(self.limits, read_action(action)), launch.t_s)
        was_released = launch.released
        observation = self._observe(launch, launch.advance())
        if not was_released:
            return observation, 0.0, False, False, self._info(launch)
        fallen = self._fallen(launch)
        truncated = not fallen and launch.flight_time_s >= self.duration_s
        reward = CRASH_REWARD if fallen else 0.0
        if launch.finite:
            reward += hover_reward_per_s(launch.body, launch.setpoint) * launch.dt_s
        info = self._info(launch)
        if fallen or truncated:
            self._over = True
            info["success"] = truncated and not self._leant
        return observation, reward, fallen, truncated, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """The drone from behind and above, (240, 320, 3), or None without a render mode."""
        if self.render_mode is None:
            return None
        if self._quad is None:
            raise SimulationError("there is nothing to see yet; call reset() before render()")
        return self._quad.picture()

    def close(self) -> None:
        """Free PyBullet's client."""
        if self._quad is not None:
            self._quad.close()
            self._quad = None
        self._launch = None

    def _observe(self, launch: HandLaunch, messages: list[SensorMessage]) -> Observation:
        for message in messages:
            self._memory.accept(message)
        values = np.array(assemble(self._memory.take(launch.setpoint)), dtype=np.float32)
        np.clip(values, -OBS_BOUND, OBS_BOUND, out=values)
        return values

    def _fallen(self, launch: HandLaunch) -> bool:
        upright = launch.quad.matrix[2][2]
        if launch.flight_time_s >= TILT_AFTER_S and upright <= math.cos(math.radians(TILT_LIMIT_DEG)):
            self._leant = True
        lost = not launch.finite or out_of_bounds(launch.lowest_m, launch.highest_m) is not None
        return lost or upright < TUMBLE_COS

    def _info(self, launch: HandLaunch) -> dict[str, Any]:
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
        }
