"""The hover task of gym-pybullet-drones, `HoverAviary`: flights from its start, under its observation and its reward.

Theirs: 8 s at 30 Hz from rest at (0, 0, 0.11), a reward of max(0, 2 - e^4) a step for the distance e in metres to
(0, 0, 1), and the ends of an episode. Their thresholds for "learned" are returns of 474 (one RPM for all motors) and
467 (four); to stand at the start forever gives 333, the target all the time 484. Different from theirs: an agent there
sets RPM within 5 % of hover at 30 Hz and is told the true state; here the RPM come from the rate loop, through motor
lag, and a pilot has its sensors, which know no position across.
An end of theirs costs the exact: within 0.1 mm of the target an episode is over, and the rest of its return is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pybullet

from envs.aviary import make_aviary
from envs.conditions import Conditions
from envs.trace import Array, FlightTrace
from liquid_pilot.geometry import rotation_matrix, to_world
from liquid_pilot.ops import Vec3

TARGET_M: Final[Vec3[float]] = (0.0, 0.0, 1.0)
START_HEIGHT_M: Final = 0.1125
DURATION_S: Final = 8.1  # theirs ends with the step after 8 s
LEARNED_RETURN: Final = 467.0  # four motors
LEARNED_RETURN_ONE_D: Final = 474.0  # one RPM for all


@dataclass(frozen=True, slots=True)
class HoverAviaryEpisode:
    """What an agent of theirs would have been given, step for step."""

    observation: Array  # (steps, 12) position, roll pitch yaw, velocity and angular velocity, all in the world
    reward: Array  # (steps,)
    early: bool  # ended before 8 s: too far off, too high, leaning too far, or within 0.1 mm of the target

    @property
    def total(self) -> float:
        """The return."""
        return float(self.reward.sum())


def hover_aviary_conditions(conditions: Conditions) -> Conditions:
    """Their start, target and still air, the drone as its file says; sensors, latencies and motor lag stay."""
    still, height = (0.0, 0.0), (START_HEIGHT_M, START_HEIGHT_M)
    return replace(
        conditions,
        wind_m_s=still,
        airframe_spread=0.0,
        rotor_spread=0.0,
        tilt_deg=still,
        launch_speed_m_s=still,
        launch_rate_rad_s=still,
        launch_height_m=height,
        setpoint_height_m=(TARGET_M[2], TARGET_M[2]),
        setpoint_speed_m_s=still,
        setpoint_yaw_rate_rad_s=still,
    )


def hover_aviary_episode(trace: FlightTrace) -> HoverAviaryEpisode:
    """A flight from `hover_aviary_conditions` as an episode, which begins at the release.

    Observation, reward and end are those of `HoverAviary`, asked every 1/30 s. Between IMU events positions and
    velocities are interpolated; attitude and rates are those of the newest event.
    """
    judge = make_aviary("HoverAviary")
    try:
        return _judged(judge, trace)
    finally:
        judge.close()


def _judged(judge: Any, trace: FlightTrace) -> HoverAviaryEpisode:
    observation, reward, ended = [], [], False
    while not ended:
        since_s = (judge.step_counter + judge.PYB_STEPS_PER_CTRL) / judge.PYB_FREQ
        if trace.release_s + since_s > trace.t_s[-1]:
            break
        _show(judge, trace, trace.release_s + since_s)
        observation.append(judge._computeObs()[0, :12])
        reward.append(judge._computeReward())
        ended = bool(judge._computeTerminated() or judge._computeTruncated())
        judge.step_counter += judge.PYB_STEPS_PER_CTRL
    early = judge.step_counter - judge.PYB_STEPS_PER_CTRL <= judge.EPISODE_LEN_SEC * judge.PYB_FREQ
    return HoverAviaryEpisode(np.array(observation, dtype=np.float64), np.array(reward, dtype=np.float64), early)


def _show(judge: Any, trace: FlightTrace, t_s: float) -> None:
    """Put the judge's drone where the flight's was."""
    newest = int(np.searchsorted(trace.t_s, t_s, side="right")) - 1
    w, x, y, z = (float(q) for q in trace.attitude_wxyz[newest])
    p, q, r = (float(rate) for rate in trace.rates_rad_s[newest])
    judge.quat[0] = x, y, z, w
    judge.rpy[0] = pybullet.getEulerFromQuaternion((x, y, z, w))
    judge.ang_v[0] = to_world(rotation_matrix((w, x, y, z)), (p, q, r))
    for axis in range(3):
        judge.pos[0, axis] = np.interp(t_s, trace.t_s, trace.position_m[:, axis])
        judge.vel[0, axis] = np.interp(t_s, trace.t_s, trace.velocity_m_s[:, axis])
