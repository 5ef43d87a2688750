"""What the command line of the flights in another simulator takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from liquid_pilot.errors import ConfigError
from scripts.console import OUT
from scripts.files import check_folder
from scripts.workers.options import ALL_CORES, WorkerOptions


@dataclass(frozen=True)
class Transfer:
    """Policies fly the same flights in this project's world and in gym-pybullet-drones, each in its own task.

    Prints a table; writes transfer.json and .md. What was interrupted goes on where it stopped, and a run of fewer
    --flights is a part of one of more. A flight there takes three times as long as one here.
    """

    policies: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[POLICY ...]")] = (
        "hover", "track", "track-position", "mission",
    )  # fmt: skip
    """Shipped names or paths of .safetensors files."""
    flights: int = 200
    """Flights of a policy in each world."""
    track_m_s: float = 2.0
    """Of track and track-position: the fastest speed that is drawn, in m/s."""
    out: Path = Path("runs/transfer")
    """Folder of the results."""
    seed: int = 0
    """Seed of all flights."""
    workers: WorkerOptions = ALL_CORES

    def run(self) -> None:
        """Fly and print."""
        from scripts.benchmarks import transfer

        if not self.policies:
            raise ConfigError("no policy to fly; leave the names out, or give at least one")
        check_folder("--out", self.out)
        cases = [transfer.case_of(policy, self.track_m_s, self.flights, self.seed) for policy in self.policies]
        files = transfer.present(transfer.compare(cases, self.out, self.workers), self.out)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")
