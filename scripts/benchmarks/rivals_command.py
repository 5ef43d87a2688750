"""What the command line of the comparison with conventional controllers takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from envs.conditions import parse_imu_hz
from envs.references import EIGHT_PERIODS_S
from liquid_pilot.errors import ConfigError
from scripts.case import Case
from scripts.console import OUT
from scripts.files import check_folder
from scripts.workers.options import ALL_CORES, WorkerOptions


@dataclass(frozen=True)
class Rivals:
    """Policies and others' controllers do the same: hover, follow velocities, fly figure-eights of 1.0 x 0.5 m.

    Prints a table; writes rivals.json, .md and .png. Each flies what it was made for; eights are for those that know
    their place. A comparison that was interrupted goes on where it stopped.
    """

    policies: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[POLICY ...]")] = (
        "hover", "track", "track-position", "pid-ekf", "pid", "geometric", "raptor", "raptor-late",
    )  # fmt: skip
    """Shipped names, paths of .safetensors files, conventional controllers, or raptor (extra rivals)."""
    flights: int = 100
    """Flights a cell."""
    imu_hz: tuple[str, ...] = ("50", "100", "400")
    """IMU rates in Hz, or "mixed"."""
    speeds_m_s: tuple[float, ...] = (1.0, 2.0)
    """Fastest speeds of steps and sinusoids in m/s."""
    periods_s: tuple[float, ...] = EIGHT_PERIODS_S
    """Seconds of a lap of the figure-eights."""
    out: Path = Path("runs/rivals")
    """Folder of the results."""
    seed: int = 0
    """Seed of all flights."""
    workers: WorkerOptions = ALL_CORES

    def run(self) -> None:
        """Fly, print, draw."""
        from scripts.benchmarks import rivals

        if not self.policies:
            raise ConfigError("no policy to compare; leave the names out, or give at least one")
        if self.flights < 1:
            raise ConfigError(f"flights is {self.flights}; fly at least one")
        if not self.imu_hz:
            raise ConfigError("no rate to fly at; leave --imu-hz out, or give at least one")
        for text in self.imu_hz:
            parse_imu_hz(text)
        check_folder("--out", self.out)
        base = Case(policy=self.policies[0], flights=self.flights, seed=self.seed)
        points = rivals.points_of(self.imu_hz, self.speeds_m_s, self.periods_s)
        files = rivals.present(rivals.compare(self.policies, base, self.out, self.workers, points), self.out)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")
