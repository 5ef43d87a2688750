"""The conventional rival: the cascaded PID on the estimate of the Kalman filter, from the policy's own messages."""

from __future__ import annotations

from envs.airframe import Airframe
from envs.sensors import PositionModel
from liquid_pilot.messages import Attitude, Command, FlowGrid, Message, PositionSetpoint, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2
from policies.experts.ekf import EkfNoise
from policies.experts.estimator import Estimator
from policies.experts.pid import PidController, pid_gains


def noise_with(position: PositionModel) -> EkfNoise:
    """What the filter expects of a drone with this position sensor, whose bias counts as noise."""
    return EkfNoise(
        position_z_m=position.noise_z_m + position.bias_z_m, position_velocity_m_s=position.noise_velocity_m_s
    )


class PidEkfPilot:
    """One per flight; `reset` before the next. Commands hover until the IMU moves, then flies.

    Without a set-point it stays at the height it has; without an IMU it is silent.
    """

    def __init__(self, airframe: Airframe, estimator: Estimator | None = None) -> None:
        self.controller = PidController(pid_gains(airframe))
        self.estimator = estimator or Estimator()
        self.reset()

    def reset(self) -> None:
        """Forget the flight."""
        self.controller.reset()
        self.estimator.reset()
        self._setpoint: Setpoint | None = None

    def feed(self, message: Message) -> Command | None:
        """Take a message; an accepted IMU sample gives a command."""
        if isinstance(message, Setpoint):
            self._setpoint = message
            return None
        if isinstance(message, (Attitude, FlowGrid, PositionSetpoint)) or not self.estimator.feed(message):
            return None
        body = self.estimator.body
        if body is None or self.estimator.release_s is None:
            return Command(message.t_s, GRAVITY_M_S2, (0.0, 0.0, 0.0))
        setpoint = self._setpoint or Setpoint(message.t_s, (0.0, 0.0), body.position_m[2], 0.0)
        return self.controller.command(message.t_s, body, setpoint)

    def tick(self, now_s: float) -> Command | None:
        """Nothing: it knows nothing between IMU samples."""
        return None
