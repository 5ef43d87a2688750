"""What the command line of the fault sweep takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from liquid_pilot.errors import ConfigError
from scripts.case import Case
from scripts.console import OUT
from scripts.files import check_folder
from scripts.workers.options import ALL_CORES, WorkerOptions


@dataclass(frozen=True)
class Faults:
    """Fly policies under every fault: motors, power, wind, and each sensor lost, frozen or spiking.

    A flight is up as of `evaluate`, or has come down safely by its supervisor, or has crashed. Prints a table; writes
    faults.json, .md and .png. A sweep that was interrupted goes on where it stopped.
    """

    policies: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="POLICY [POLICY ...]")]
    """Shipped names, paths of .safetensors files, or conventional controllers."""
    flights: int = 200
    """Flights a row."""
    spread: float = 0.05
    """Mass, inertia, thrust and drag of a drone are drawn within this share of nominal."""
    imu_hz: str = "100"
    """IMU rate in Hz, or "mixed"."""
    out: Path = Path("runs/faults")
    """Folder of the results."""
    seed: int = 0
    """Seed of all flights."""
    workers: WorkerOptions = ALL_CORES

    def run(self) -> None:
        """Fly, print, draw."""
        from scripts.benchmarks import faults

        if not self.policies:
            raise ConfigError("no policy to sweep; give at least one, for example: faults hover")
        check_folder("--out", self.out)
        base = Case(
            policy=self.policies[0], flights=self.flights, imu_hz=self.imu_hz, spread=self.spread, seed=self.seed
        )
        files = faults.present(faults.sweep(self.policies, base, self.out, self.workers), self.out)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")
