"""How a flight ends when it is stopped, or taken over, at an awkward moment."""

from __future__ import annotations

import math
from dataclasses import replace

from liquid_pilot.runtime.flight import LAND_S, Outcome, Stage
from tests.runtime.test_flight import HOVER, companion, stage_of

UNTIL_TOLD = replace(HOVER, duration_s=math.inf)


def test_killing_stops_the_motors_after_a_long_flight() -> None:
    with companion(UNTIL_TOLD) as one:
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        one.flight._entered_s -= 2.0 * LAND_S  # as if it had flown for so long
        one.flight.kill()
        took_s = one.run(10.0)
        rules = one.world.autopilot.rules
        assert one.flight.outcome is Outcome.LOST and took_s < 0.5
        assert not rules.armed and rules.changes[-1][1] == "disarmed by force"


def test_killing_stops_the_motors_in_a_landing_that_does_not_end() -> None:
    with companion(UNTIL_TOLD) as one:
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        one.flight.land()
        one.run(20.0, lambda: stage_of(one) is Stage.LANDING)
        one.flight._entered_s -= 1.1 * LAND_S
        one.flight.kill()
        one.run(0.5)
        assert not one.world.autopilot.rules.armed
