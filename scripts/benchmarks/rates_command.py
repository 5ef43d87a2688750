"""What the command line of the rate sweep takes."""

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
class Rates:
    """Fly policies at IMU 25 to 400 Hz and mixed, at flow 5 to 100 Hz, and with flow samples lost.

    Prints a table and writes rates.json and rates.png. A sweep that was interrupted goes on where it stopped:
    cells that are already in rates.json for the same policy tensors, flights and seed are not flown again.
    """

    policies: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="POLICY [POLICY ...]")]
    """Shipped names, paths of .safetensors files, or "geometric" (told the true state)."""
    flights: int = 200
    """Flights a cell."""
    out: Path = Path("runs/rates")
    """Folder of rates.json and rates.png."""
    engine: str = "pybullet"
    """pybullet, or batched for the network alone in the training world."""
    seconds: float = 15.0
    """Length of a flight after the release, in seconds."""
    seed: int = 0
    """Seed of all flights."""
    workers: WorkerOptions = ALL_CORES

    def run(self) -> None:
        """Fly, print, draw."""
        from scripts.benchmarks import rates

        if not self.policies:
            raise ConfigError("no policy to sweep; give at least one, for example: rates hover geometric")
        check_folder("--out", self.out)
        cases = [
            Case(policy=policy, flights=self.flights, engine=self.engine, seconds=self.seconds, seed=self.seed)
            for policy in self.policies
        ]
        cells = rates.sweep(cases, self.out, self.workers)
        picture = rates.present(cells, self.out)
        OUT.print(f"wrote {self.out / 'rates.json'} and {picture}")
