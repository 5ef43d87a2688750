"""What the four numbers of an action mean: body rates, motor speeds or a velocity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt

from envs.physics import Body
from envs.sample_clock import EPS_S
from envs.task import turned
from envs.velocity_control import VELOCITY_GAINS, velocity_command
from liquid_pilot.command import CommandLimits, from_action
from liquid_pilot.errors import SimulationError
from liquid_pilot.geometry import heading
from liquid_pilot.messages import Floats3
from liquid_pilot.ops import FLOAT_OPS, Ops, S, Vec3, Vec4

if TYPE_CHECKING:
    from envs.launch import HandLaunch

VELOCITY_LIMITS_M_S: Final = (2.0, 2.0, 1.0)  # forward, left, up
YAW_RATE_LIMIT_RAD_S: Final = 2.0
VELOCITY_PERIOD_S: Final = 0.010  # of the velocity controller


class Drive(Protocol):
    """How actions reach the drone of one flight."""

    def begin(self, launch: HandLaunch) -> None:
        """Called once, in the hand."""
        ...

    def act(self, launch: HandLaunch, action: Vec4[float]) -> None:
        """Take the action of an IMU event."""
        ...

    def tick(self, launch: HandLaunch, t_s: float) -> None:
        """Called after every substep of physics."""
        ...


@dataclass(frozen=True, slots=True)
class RateDrive:
    """Collective thrust and body rates, through the rate loop."""

    limits: CommandLimits

    def begin(self, launch: HandLaunch) -> None:
        """The rate loop holds the thrust of the release."""

    def act(self, launch: HandLaunch, action: Vec4[float]) -> None:
        """Issue it."""
        launch.issue(from_action(self.limits, action), launch.t_s)

    def tick(self, launch: HandLaunch, t_s: float) -> None:
        """The rate loop does the rest."""


@dataclass(frozen=True, slots=True)
class MotorDrive:
    """Four motor speeds from standstill to full, past the rate loop; the motors' lag stays."""

    limits: CommandLimits

    def begin(self, launch: HandLaunch) -> None:
        """The motors keep their speed until the first action takes effect."""
        launch.keep_motors()

    def act(self, launch: HandLaunch, action: Vec4[float]) -> None:
        """Issue it."""
        launch.issue_speeds(motor_speeds(action), launch.t_s)

    def tick(self, launch: HandLaunch, t_s: float) -> None:
        """Nothing lies between."""


@dataclass(slots=True)
class VelocityDrive:
    """Velocity in the heading frame and yaw rate, through `envs.velocity_control` at its own rate."""

    limits: CommandLimits
    _action: Vec4[float] = (0.0, 0.0, 0.0, 0.0)
    _integral_m_s2: Floats3 = (0.0, 0.0, 0.0)
    _newest_s: float = -math.inf

    def begin(self, launch: HandLaunch) -> None:
        """The rate loop holds the thrust of the release."""

    def act(self, launch: HandLaunch, action: Vec4[float]) -> None:
        """Aim for it from now on."""
        self._action = action
        self.tick(launch, launch.t_s)

    def tick(self, launch: HandLaunch, t_s: float) -> None:
        """Command anew once the period has passed."""
        early = t_s < self._newest_s + VELOCITY_PERIOD_S - EPS_S
        if early or not (launch.released and launch.finite):
            return
        dt = min(t_s - self._newest_s, 2.0 * VELOCITY_PERIOD_S)
        self._newest_s = t_s
        body, matrix = launch.body, launch.quad.matrix
        wanted = wanted_velocity(FLOAT_OPS, self._action, body)
        command, self._integral_m_s2 = velocity_command(
            FLOAT_OPS, VELOCITY_GAINS, self.limits, body, matrix, wanted, self._integral_m_s2, dt
        )
        launch.issue(command, t_s)


def motor_speeds(action: Vec4[S]) -> Vec4[S]:
    """Fractions of full speed, of an action that means motor speeds."""
    a, b, c, d = action
    return 0.5 * (a + 1.0), 0.5 * (b + 1.0), 0.5 * (c + 1.0), 0.5 * (d + 1.0)


def wanted_velocity(ops: Ops, action: Vec4[S], body: Body[S]) -> tuple[Vec3[S], S]:
    """Velocity in the world (m/s) and yaw rate (rad/s), of an action that means a velocity in the heading frame."""
    (forward, left, up, turn), (fastest, aside, climb) = action, VELOCITY_LIMITS_M_S
    vx, vy = turned((forward * fastest, left * aside), heading(ops, body.attitude_wxyz))
    return (vx, vy, up * climb), turn * YAW_RATE_LIMIT_RAD_S


@dataclass(frozen=True, slots=True)
class ActionMode:
    """meaning: of the four numbers; drive: a fresh one for each flight."""

    meaning: str
    drive: Callable[[CommandLimits], Drive]


ACTION_MODES: Final[dict[str, ActionMode]] = {
    "ctbr": ActionMode("thrust, roll, pitch and yaw rate", RateDrive),
    "rpm": ActionMode("the speed of each motor, front-right, back-right, back-left, front-left", MotorDrive),
    "velocity": ActionMode("velocity forward, left and up, and yaw rate", VelocityDrive),
}


def read_action(action: object, meaning: str = ACTION_MODES["ctbr"].meaning) -> Vec4[float]:
    """Four finite numbers, cut to [-1, 1]. Raises `SimulationError` on anything else."""
    a, b, c, d = read_actions(action, (4,), meaning).tolist()
    return a, b, c, d


def read_actions(action: object, shape: tuple[int, ...], meaning: str) -> npt.NDArray[np.float64]:
    """Finite numbers in this shape, cut to [-1, 1]. Raises `SimulationError` on anything else."""
    try:
        values = np.asarray(action)
    except (TypeError, ValueError) as error:
        raise SimulationError(f"the action is no array ({error}); give {shape} numbers in -1 to 1") from error
    if values.shape != shape or values.dtype.kind not in "fiu":
        raise SimulationError(
            f"the action has shape {values.shape} and type {values.dtype}; give {shape} real numbers in -1 to 1: "
            f"{meaning}"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        bad = values if values.ndim == 1 else values[~np.isfinite(values).all(axis=1)][0]
        raise SimulationError(f"the action is {bad.tolist()}; all of it must be finite, check the policy's output")
    clipped: npt.NDArray[np.float64] = np.clip(values, -1.0, 1.0)
    return clipped
