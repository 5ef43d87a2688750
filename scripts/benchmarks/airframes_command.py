"""What the command line of one policy on many drones takes."""

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
class Airframes:
    """Fly hovering policies on the airframes that ship, and on others drawn between them, from 27 g to 0.9 kg.

    Prints a table and writes airframes.json, .md and .png, and the drawn airframes as TOML files. A sweep that was
    interrupted goes on where it stopped.
    """

    policies: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[POLICY ...]")] = ("hover",)
    """Shipped names, paths of .safetensors files, or conventional controllers."""
    drawn: int = 50
    """Airframes that are drawn."""
    flights: int = 100
    """Flights on each that ships; a fifth of it on each that is drawn."""
    seed: int = 0
    """Seed of airframes and flights."""
    out: Path = Path("runs/airframes")
    """Folder of the results."""
    workers: WorkerOptions = ALL_CORES

    def run(self) -> None:
        """Fly, print, draw."""
        from scripts.benchmarks import airframes

        if not self.policies or self.flights < 1 or self.drawn < 0:
            raise ConfigError(
                f"{len(self.policies)} policies, {self.flights} flights and {self.drawn} drawn airframes; give at "
                "least one policy and one flight, and no fewer than 0 airframes"
            )
        check_folder("--out", self.out)
        base = Case(policy=self.policies[0], flights=self.flights, seconds=15.0, seed=self.seed)
        on = airframes.drones(self.out, self.drawn, self.flights, self.seed)
        files = airframes.present(airframes.fly(self.policies, base, self.out, self.workers, on), self.out)
        OUT.print(f"wrote {', '.join(map(str, files))}")
