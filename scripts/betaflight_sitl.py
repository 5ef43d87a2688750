"""Flies a policy through the real Betaflight firmware: our sensors and physics, its rate loop and mixer.

The firmware (GPLv3) runs as a process of its own on loopback. It is built by: pip install 'liquid-pilot[sitl]'.
A flight is a hover with steps of the commanded velocity. The firmware's clock is simulated.

Examples:
  python -m scripts.betaflight_sitl                      # the shipped policy, five flights of 30 s
  python -m scripts.betaflight_sitl runs/hover/policy.safetensors --flights 1 --seconds 12 --log flight.mcap
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from envs.airframe import Airframe, load_airframe
from envs.betaflight.flight import Sitl, fly
from envs.conditions import Conditions
from envs.flights import draw_flights
from liquid_pilot.controller import Controller
from liquid_pilot.errors import ConfigError
from liquid_pilot.logs import open_log
from liquid_pilot.logs.background import BackgroundLog
from liquid_pilot.messages import Setpoint
from scripts.console import ERR, OUT, exit_code
from scripts.tables import rich_table

STEP_M_S = 0.4
EXIT_FAILED = 1


@dataclass(frozen=True)
class Run:
    """Fly, print, and fail (exit code 1) where a flight is not up at its end."""

    policy: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")] = "hover"
    """Shipped name or path of a .safetensors file."""
    airframe: str = "cf2x"
    """Shipped airframe, or path of a TOML file. Its rate-loop gains become the firmware's."""
    flights: int = 5
    """How many flights, one after the other, each with a drone, sensors and a firmware of its own."""
    seconds: float = 30.0
    """Of flight after the release."""
    seed: int = 0
    """Of drones, sensors, wind."""
    log: Path | None = None
    """Where the last flight is logged to (.mcap or .csv)."""
    json: bool = False
    """One JSON object instead of a table."""

    def run(self) -> int:
        """All flights."""
        flown = self.fly()
        up = sum(one.up for one in flown)
        if self.json:
            OUT.print_json(json.dumps({"up": up, "flights": [asdict(one) for one in flown]}))
        else:
            header = ("flight", "up", "lowest, m", "highest, m", "height error, m", "speed error, m/s", "tilt, deg")
            OUT.print(rich_table(f"{up} of {len(flown)} up after {self.seconds:g} s", header, _rows(flown)))
        return 0 if up == len(flown) else EXIT_FAILED

    def fly(self) -> list[Sitl]:
        """All flights, without a word about the whole."""
        if self.flights < 1 or not self.seconds >= 4.0:
            raise ConfigError(f"{self.flights} flights of {self.seconds} s; give 1 or more, of 4 s or more")
        airframe = load_airframe(self.airframe)
        return [self._fly(airframe, k) for k in range(self.flights)]

    def _fly(self, airframe: Airframe, k: int) -> Sitl:
        rng = np.random.default_rng([self.seed, k])
        conditions = Conditions(tilt_deg=(0.0, 20.0), launch_height_m=(0.9, 1.3))
        flights = draw_flights(airframe, conditions, 1, rng, self.seconds)
        log = BackgroundLog(open_log(self.log)) if self.log is not None and k == self.flights - 1 else None
        controller = Controller.load(self.policy, log=log)
        with tempfile.TemporaryDirectory(prefix="betaflight-") as folder:
            try:
                found = fly(
                    controller, airframe, flights, conditions, rng, Path(folder), steps(self.seconds), self.seconds,
                    lambda text: ERR.print(f"flight {k + 1}: {text}", highlight=False),
                )  # fmt: skip
            finally:
                if log is not None:
                    log.close()
        ERR.print(f"flight {k + 1}: {'up' if found.up else 'NOT up'}, {found}", highlight=False)
        return found


def steps(seconds: float) -> list[tuple[float, Setpoint]]:
    """Hover for the first third, then forward, left, and hover again, at 1 m."""
    velocities = ((0.0, 0.0), (0.0, 0.0), (STEP_M_S, 0.0), (0.0, STEP_M_S), (-STEP_M_S, 0.0), (0.0, 0.0))
    share = seconds / len(velocities)
    return [(k * share, Setpoint(0.0, velocity, 1.0, 0.0)) for k, velocity in enumerate(velocities)]


def _rows(flown: list[Sitl]) -> list[tuple[str, ...]]:
    return [
        (
            str(k),
            "yes" if one.up else "NO",
            f"{one.lowest_m:.2f}",
            f"{one.highest_m:.2f}",
            f"{one.height_error_m:.3f}",
            f"{one.speed_error_m_s:.3f}",
            f"{one.tilt_deg:.1f}",
        )
        for k, one in enumerate(flown, start=1)
    ]


def main() -> int:
    """The command line."""
    failed: list[int] = []
    code = exit_code(lambda: failed.append(tyro.cli(Run, description=__doc__).run()))
    return code or failed[0]


if __name__ == "__main__":
    sys.exit(main())
