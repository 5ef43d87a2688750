"""What the firmware must know of an airframe: its rate loop in the firmware's units, and throttle for thrust."""

from __future__ import annotations

import math

from envs.airframe import Airframe
from liquid_pilot.observation import GRAVITY_M_S2


class ThrustCurve:
    """Throttle for an airframe's thrust, where the motor's speed goes with the firmware's output."""

    def __init__(self, airframe: Airframe) -> None:
        self._share_per_m_s2 = 1.0 / (airframe.thrust_to_weight * GRAVITY_M_S2)
        self._idle = airframe.idle_speed

    def throttle(self, thrust_m_s2: float) -> float:
        """0 to 1: speed goes with the root of thrust, and begins at idle."""
        speed = math.sqrt(max(0.0, thrust_m_s2) * self._share_per_m_s2)
        return (speed - self._idle) / (1.0 - self._idle)


def tuning(airframe: Airframe) -> list[str]:
    """Our rate loop's gains in the firmware's units, for its command line.

    A P of 1 is 0.032029 thousandths of full output for each deg/s, an I of 1 0.244381 for each degree, a D of 1
    0.000529 for each deg/s^2 (constants of its `pid.h`). Output moves motor speed; about hover, torque follows.
    """
    gains, mixer = airframe.rate_loop, airframe.mixer
    force_n = 2.0 * airframe.rotor_thrust_max_n * airframe.hover_speed * (1.0 - airframe.idle_speed)
    arm = [sum(abs(xy[axis]) for xy in airframe.rotor_xy_m) for axis in (1, 0)]
    torque = (arm[0] * force_n, arm[1] * force_n, 4.0 * abs(airframe.yaw_m[0]) * force_n)
    lines = ["set simplified_pids_mode = OFF", "set anti_gravity_gain = 0", "set tpa_rate = 0", "set iterm_relax = OFF"]
    lines += ["set runaway_takeoff_prevention = OFF", "set crash_recovery = OFF", "set pid_at_min_throttle = ON"]
    for k, axis in enumerate(("roll", "pitch", "yaw")):
        output_per_rad_s2 = 1000.0 * mixer.inertia_kg_m2[k] / torque[k] * math.pi / 180.0
        wanted = (
            gains.kp_per_s[k] * output_per_rad_s2 / 0.032029,
            gains.ki_per_s2[k] * output_per_rad_s2 / 0.244381,
            gains.kd[k] * output_per_rad_s2 / 0.000529,
        )
        p, i, d = (min(250, max(low, round(gain))) for gain, low in zip(wanted, (1, 1, 0), strict=True))
        lines += [f"set p_{axis} = {p}", f"set i_{axis} = {i}", f"set d_{axis} = {d}", f"set d_max_{axis} = 0"]
    idle = round(airframe.idle_speed * 10_000)
    return [*lines, f"set motor_idle = {idle}", "set small_angle = 180", "set gyro_calib_noise_limit = 0"]
