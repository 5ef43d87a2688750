"""Motors off where a set-point asks for less than the floor: what an autopilot's land detector does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from envs.airframe import Airframe
from envs.physics import Body
from liquid_pilot.messages import Command, Setpoint

if TYPE_CHECKING:  # importing it loads the simulator
    from envs.pilots import Expert

STANDS_WITHIN_M: Final = 0.02  # of the height of a standing drone
STANDS_M_S: Final = 0.2


class Lander:
    """An `Expert` that flies as another one does, until it stands and is asked to go further down."""

    def __init__(self, expert: Expert, airframe: Airframe) -> None:
        self._expert, self._rest_m = expert, airframe.rest_height_m

    def command(self, t_s: float, body: Body[float], setpoint: Setpoint) -> Command:
        """The command at an IMU event."""
        stands = body.position_m[2] < self._rest_m + STANDS_WITHIN_M and math.hypot(*body.velocity_m_s) < STANDS_M_S
        if stands and setpoint.height_m < self._rest_m:
            return Command(t_s, 0.0, (0.0, 0.0, 0.0))
        return self._expert.command(t_s, body, setpoint)
