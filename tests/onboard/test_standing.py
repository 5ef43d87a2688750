"""A drone that stands is known by three signs at once; asked to go below the floor, it then stops its motors."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from liquid_pilot.cells import CellSpec
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.controller import Controller
from liquid_pilot.forms import F32
from liquid_pilot.messages import Flow, Imu, Range, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2, OBS_DIM
from liquid_pilot.standing import CARRYING, SEEN_M, stands
from liquid_pilot.supervisor import State, SupervisorLimits
from tests.onboard.flying import LEVEL, STILL, small_bundle, state_of

IDLE_M_S2, FLYING_M_S2 = 0.05 * GRAVITY_M_S2, GRAVITY_M_S2


@dataclass
class Thrust:
    """A policy that always asks for one thrust (m/s^2) and no rotation."""

    thrust_m_s2: float
    core: str = "own"
    spec: CellSpec = field(default_factory=lambda: small_bundle().spec)

    def initial_state(self) -> F32:
        return np.zeros(self.spec.units, np.float32)

    def step(self, x: F32, h: F32, dt_s: float) -> tuple[F32, F32]:
        assert x.shape == (OBS_DIM,)
        share = self.thrust_m_s2 / DEFAULT_LIMITS.thrust_m_s2[1]
        return np.array([2.0 * share - 1.0, 0.0, 0.0, 0.0], np.float32), h

    def time_constants(self, x: F32, h: F32) -> F32:
        return np.zeros(0, np.float32)


def flown(
    thrust_m_s2: float, height_m: float, last_seen_m: float = 0.1, seconds: float = 1.0, gyro: Any = STILL
) -> Controller:
    """A second in which flow and range are silent, after they have spoken."""
    limits = {"speed_m_s": 1.0, "height_m": [-0.05, 2.5], "yaw_rate_rad_s": 1.0}
    bundle = small_bundle()
    bundle = cast("Any", SimpleNamespace(**{**vars(bundle), "metadata": {"setpoint_limits": limits}}))
    controller = Controller(bundle, core=Thrust(thrust_m_s2))
    for message in (Setpoint(0.0, (0.0, 0.0), 1.0, 0.0), Flow(0.0, 0.02, (0.0, 0.0), 1.0), Range(0.0, last_seen_m)):
        controller.feed(message)
    controller.feed(Imu(0.0, STILL, LEVEL))
    controller.feed(Setpoint(0.0, (0.0, 0.0), height_m, 0.0))
    for k in range(1, round(seconds * 100)):
        controller.feed(Imu(k / 100.0, gyro, LEVEL))
    return controller


def test_only_all_signs_together_say_that_it_stands() -> None:
    low = (SEEN_M - 0.01, 0.3 * GRAVITY_M_S2)
    assert stands(STILL, LEVEL, *low)
    assert not stands((1.6, 0.0, 0.0), LEVEL, *low)  # it turns
    assert not stands(STILL, (0.0, 0.0, 0.6 * GRAVITY_M_S2), *low)  # it falls
    assert not stands(STILL, LEVEL, SEEN_M + 0.01, low[1])  # it was last seen in the air
    assert not stands(STILL, LEVEL, low[0], 1.01 * CARRYING * GRAVITY_M_S2)  # its rotors may carry it
    assert not stands(STILL, None, *low) and not stands(STILL, LEVEL, low[0], None)  # who knows?


def test_a_drone_that_falls_under_so_little_thrust_feels_it() -> None:
    """The strongest and lightest that is drawn has 1.5 times the nominal thrust over mass."""
    felt = (0.0, 0.0, 1.5 * CARRYING * GRAVITY_M_S2)
    assert not stands(STILL, felt, 0.1, CARRYING * GRAVITY_M_S2 - 0.01)


def test_motors_stop_where_it_stands_and_is_asked_to_go_below_the_floor() -> None:
    limit_s = SupervisorLimits().landed_s
    early, late = (flown(IDLE_M_S2, -0.05, seconds=limit_s + extra_s) for extra_s in (-0.05, 0.1))
    assert state_of(early) is State.ACTIVE and state_of(late) is State.KILLED
    command = late.feed(Imu(1.0, STILL, LEVEL))
    assert command is not None and command.thrust_m_s2 == 0.0
    late.reset()
    assert state_of(late) is State.INIT


@pytest.mark.parametrize(
    "other",
    [{"height_m": 0.5}, {"thrust_m_s2": FLYING_M_S2}, {"last_seen_m": 1.0}, {"gyro": (0.0, 2.0, 0.0)}],
    ids=["asked for height", "carried by its rotors", "seen in the air", "turning"],
)
def test_motors_turn_where_one_sign_is_missing(other: dict[str, Any]) -> None:
    assert state_of(flown(**{"thrust_m_s2": IDLE_M_S2, "height_m": -0.05, **other})) is State.ACTIVE
