"""Hover is hover for every curve, the map has an inverse, and the meter finds what a drone really needs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquid_pilot.errors import ConfigError
from liquid_pilot.links.throttle import HoverMeter, Throttle
from liquid_pilot.observation import GRAVITY_M_S2

THROTTLES = st.builds(Throttle, st.floats(0.05, 0.95), st.floats(0.0, 1.0))


@given(THROTTLES)
def test_hover_thrust_is_the_hover_throttle_and_no_thrust_none(throttle: Throttle) -> None:
    assert throttle.throttle(GRAVITY_M_S2) == pytest.approx(throttle.hover_throttle)
    assert throttle.throttle(0.0) == throttle.throttle(-3.0) == 0.0


@given(THROTTLES, st.floats(0.0, 1.0))
def test_there_and_back(throttle: Throttle, u: float) -> None:
    assert throttle.throttle(throttle.thrust_m_s2(u)) == pytest.approx(u, abs=1e-6)


@given(THROTTLES, st.lists(st.floats(0.0, 60.0), min_size=2, max_size=2))
def test_more_thrust_is_never_less_throttle_and_never_above_one(throttle: Throttle, thrusts: list[float]) -> None:
    low, high = (throttle.throttle(thrust) for thrust in sorted(thrusts))
    assert 0.0 <= low <= high <= 1.0


@pytest.mark.parametrize(
    "given", [(0.0, 0.0), (1.2, 0.0), (math.nan, 0.0), (0.5, -0.1), (0.5, 1.1), (True, 0.0), ("0.5", 0.0)]
)
def test_impossible_calibrations_are_refused(given: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="give a number"):
        Throttle(*given)


@given(st.floats(0.7, 1.3), st.floats(0.0, 1.0))
def test_the_meter_finds_the_hover_throttle_of_a_drone_that_is_heavier_or_lighter(scale: float, curve: float) -> None:
    """Felt thrust is `scale` times what was commanded."""
    throttle = Throttle(0.4, curve)
    meter = HoverMeter(throttle)
    assert meter.hover_throttle is None
    for i in range(4000):
        thrust = GRAVITY_M_S2 / scale + 0.5 * math.sin(0.01 * i)
        meter.update(0.005, thrust, scale * thrust)
    meter.update(0.005, 9.81, math.nan)
    assert meter.hover_throttle == pytest.approx(throttle.throttle(GRAVITY_M_S2 / scale), rel=0.02)
