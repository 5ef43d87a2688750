"""The drone of the autopilot: it stands on the floor, sensors running, until its motors carry it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from envs.airframe import Airframe
from envs.conditions import Conditions
from envs.fault_messages import Sensed
from envs.flights import Flights, draw_flights
from envs.launch import HandLaunch
from envs.mission import from_floor
from envs.pybullet_quad import ZERO3, PyBulletQuad
from liquid_pilot.geometry import to_body
from liquid_pilot.ops import Vec3

STILL_M_S: Final = 0.1
DESCENT_M_S: Final = 0.5  # of its own landing
HELD_S: Final = 1e9  # until its motors carry it
LEVEL_GAIN_PER_S: Final = 5.0
CLIMB_GAIN_PER_S: Final = 3.0
TRIM_PER_S2: Final = 2.0
MOST_TRIM_M_S2: Final = 4.0
GRAVITY_M_S2: Final = 9.81


@dataclass(frozen=True, slots=True)
class Drawn:
    """One drone and its day."""

    airframe: Airframe
    conditions: Conditions
    flights: Flights


def on_the_floor(airframe: Airframe, conditions: Conditions, seed: int) -> Drawn:
    """A drawn drone that stands level on its skids."""
    conditions = replace(conditions, hold_s=HELD_S)
    flights = draw_flights(airframe, conditions, 1, np.random.default_rng([seed]))
    return Drawn(airframe, conditions, from_floor(flights, airframe))


class Vehicle:
    """Physics and sensors from one IMU event to the next, in the vehicle's own time.

    The floor of the simulated world holds a body's centre, but no skids. So the drone is held until thrust exceeds its
    weight, and again once it has landed and its motors have stopped.
    """

    def __init__(self, drawn: Drawn, seed: int) -> None:
        self.airframe = drawn.airframe
        self.quad = PyBulletQuad(drawn.airframe)
        self.launch = HandLaunch(self.quad, drawn.flights, drawn.conditions, np.random.default_rng([seed, 1]))
        self.touchdown_m_s = 0.0
        self._aloft = False
        self._trim_m_s2 = 0.0
        self._rest_m = drawn.airframe.rest_height_m
        self.launch.first_messages()

    @property
    def t_s(self) -> float:
        """Time of the newest IMU event."""
        return self.launch.t_s

    @property
    def height_m(self) -> float:
        """Of the body's centre."""
        return self.launch.body.position_m[2]

    @property
    def landed(self) -> bool:
        """On the floor, and not about to leave it."""
        if not self.launch.released:
            return True
        return self.height_m < self._rest_m + 0.02 and abs(self.launch.body.velocity_m_s[2]) < STILL_M_S

    @property
    def still(self) -> bool:
        """Nothing moves."""
        body = self.launch.body
        return math.hypot(*body.velocity_m_s) < STILL_M_S and math.hypot(*body.rates_rad_s) < 0.2

    @property
    def upright(self) -> float:
        """Cosine of the tilt."""
        return self.quad.matrix[2][2]

    @property
    def aloft(self) -> bool:
        """Whether its motors carry it, or it falls."""
        return self.launch.released

    def stop_motors(self) -> None:
        """Disarmed. On the floor it stands on its skids again."""
        launch = self.launch
        if launch.released and self.landed:
            launch.conditions = replace(launch.conditions, hold_s=HELD_S)
            launch.release_s = math.inf
            self.quad.throw(ZERO3, ZERO3)
        launch.issue_speeds((0.0, 0.0, 0.0, 0.0), self.t_s)

    def obey(self, throttle: float, rates_rad_s: Vec3[float]) -> None:
        """Throttle 0 to 1 of full thrust (linear), body rates in FLU."""
        self._command(throttle * self.airframe.thrust_to_weight * GRAVITY_M_S2, rates_rad_s)

    def _command(self, thrust_m_s2: float, rates_rad_s: Vec3[float]) -> None:
        if not self.launch.released and thrust_m_s2 > GRAVITY_M_S2:
            self.launch.conditions = replace(self.launch.conditions, hold_s=self.t_s)  # lets go at the next event
        self.launch.issue((thrust_m_s2, rates_rad_s), self.t_s)

    def descend(self) -> None:
        """Level and slowly down, by the true state: what an autopilot makes of its own estimate."""
        body = self.launch.body
        ux, uy, uz = to_body(self.quad.matrix, (0.0, 0.0, 1.0))
        error = -DESCENT_M_S - body.velocity_m_s[2]
        trim = self._trim_m_s2 + TRIM_PER_S2 * error * self.launch.dt_s
        self._trim_m_s2 = max(-MOST_TRIM_M_S2, min(MOST_TRIM_M_S2, trim))  # ground effect carries, or weight pulls
        wanted = GRAVITY_M_S2 + CLIMB_GAIN_PER_S * error + self._trim_m_s2
        thrust = 0.0 if self.landed else max(0.0, wanted / max(0.5, uz))
        self._command(thrust, (-uy * LEVEL_GAIN_PER_S, ux * LEVEL_GAIN_PER_S, 0.0))

    def advance(self) -> list[Sensed]:
        """On to the next IMU event; what has arrived by then."""
        return self.launch.advance(self._substep)

    def close(self) -> None:
        """Free the simulator."""
        self.quad.close()

    def _substep(self, _: float) -> None:
        aloft = self.height_m > self._rest_m + 0.02
        if self._aloft and not aloft:
            self.touchdown_m_s = max(self.touchdown_m_s, math.hypot(*self.launch.body.velocity_m_s))
        self._aloft = aloft
