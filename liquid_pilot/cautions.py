"""In what a drone differs from the one that a policy was made for. Commands tell it before they fly."""

from __future__ import annotations

from typing import Final

from liquid_pilot.bundle import Bundle
from liquid_pilot.observation import GRAVITY_M_S2

MARGIN: Final = 0.99  # of the thrust that is asked for; what is rounded away is no difference


def airframe_cautions(bundle: Bundle, airframe: str | None, full_thrust_m_s2: float | None) -> list[str]:
    """A sentence for each difference. airframe: name of the drone's; full_thrust_m_s2: all it has over its mass.

    Either is None where it is not known. A policy that flies no drone has no differences.
    """
    if "airframe" not in bundle.metadata:
        return []
    made_for, asked_m_s2, found = str(bundle.metadata["airframe"]), bundle.limits.thrust_m_s2[1], list[str]()
    thrust = "" if full_thrust_m_s2 is None else f"thrust of {full_thrust_m_s2 / GRAVITY_M_S2:.2f} times its weight"
    if airframe is not None and airframe != made_for:
        own = " and ".join(["a rate loop of its own", *([thrust] if thrust else [])])
        found.append(f"{bundle.name} was made for the airframe {made_for}; {airframe} has {own}")
    if full_thrust_m_s2 is not None and full_thrust_m_s2 < MARGIN * asked_m_s2:
        found.append(
            f"{bundle.name} commands thrust up to {asked_m_s2:.1f} m/s^2; this drone has {full_thrust_m_s2:.1f} at "
            f"full throttle, {thrust}, and what is beyond it is lost"
        )
    return found
