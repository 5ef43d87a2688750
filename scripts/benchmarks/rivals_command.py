"""What the command line of the comparison with conventional controllers takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from liquid_pilot.errors import ConfigError
from scripts.console import OUT
from scripts.evaluation import Case
from scripts.files import check_folder
from scripts.workers.options import ALL_CORES, WorkerOptions


@dataclass(frozen=True)
class Rivals:
    """Policies and conventional controllers follow the same velocities: steps and sinusoids at 1 and 2 m/s.

    Prints a table; writes rivals.json, .md and .png. A comparison that was interrupted goes on where it stopped.
    """

    policies: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[POLICY ...]")] = (
        "track", "pid-ekf", "pid", "geometric",
    )  # fmt: skip
    """Shipped names, paths of .safetensors files, or conventional controllers."""
    flights: int = 100
    """Flights a cell."""
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
        check_folder("--out", self.out)
        base = Case(policy=self.policies[0], flights=self.flights, seed=self.seed)
        files = rivals.present(rivals.compare(self.policies, base, self.out, self.workers), self.out)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")
