"""What a drone has not that a policy was made for is told, by name and by thrust; nothing is where all is as it was."""

from __future__ import annotations

import pytest

from liquid_pilot.bundle import load_bundle
from liquid_pilot.cautions import airframe_cautions
from liquid_pilot.links.throttle import Throttle

HOVER = load_bundle("hover")
ENOUGH_M_S2 = HOVER.limits.thrust_m_s2[1]


@pytest.mark.parametrize("airframe", ["cf2x", None])
@pytest.mark.parametrize("thrust_m_s2", [ENOUGH_M_S2, 3.0 * ENOUGH_M_S2, None])
def test_nothing_is_told_of_the_drone_that_it_was_made_for(airframe: str | None, thrust_m_s2: float | None) -> None:
    assert airframe_cautions(HOVER, airframe, thrust_m_s2) == []


def test_another_airframe_is_told_with_its_thrust_where_that_is_known() -> None:
    (named,) = airframe_cautions(HOVER, "racer", None)
    assert "made for the airframe cf2x; racer has a rate loop of its own" in named and "weight" not in named
    (weighed,) = airframe_cautions(HOVER, "racer", 40.9)
    assert weighed.startswith(named) and "4.17 times its weight" in weighed


@pytest.mark.parametrize(("hover_throttle", "curve"), [(0.55, 0.0), (0.8, 0.5), (0.9, 1.0)])
def test_a_throttle_that_leaves_less_than_is_commanded_is_told(hover_throttle: float, curve: float) -> None:
    full_m_s2 = Throttle(hover_throttle, curve).thrust_m_s2(1.0)
    assert full_m_s2 < ENOUGH_M_S2
    (weak,) = airframe_cautions(HOVER, "cf2x", full_m_s2)
    assert f"{ENOUGH_M_S2:.1f} m/s^2" in weak and f"{full_m_s2:.1f} at full throttle" in weak
    assert len(airframe_cautions(HOVER, "heavy", full_m_s2)) == 2


def test_what_flies_no_drone_has_no_airframe() -> None:
    assert airframe_cautions(load_bundle("half-cheetah"), "racer", 1.0) == []
