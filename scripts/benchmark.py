"""Benchmarks of policies and of the machinery.

Examples:
  python -m scripts.benchmark rates hover                        # the shipped policy over all sensor rates
  python -m scripts.benchmark rates hover geometric runs/hover-default/policy.safetensors --flights 200
  python -m scripts.benchmark speed                              # how fast the parts are on this machine
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Union

import tyro

from liquid_pilot.errors import ConfigError
from scripts.benchmarks import rates, speed
from scripts.console import OUT, exit_code
from scripts.evaluation import Case
from scripts.tables import rich_table


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
    workers: int | None = None
    """Parallel processes; as many as processors if not given."""

    def run(self) -> None:
        """Fly, print, draw."""
        if not self.policies:
            raise ConfigError("no policy to sweep; give at least one, for example: rates hover geometric")
        cases = [
            Case(policy=policy, flights=self.flights, engine=self.engine, seconds=self.seconds, seed=self.seed)
            for policy in self.policies
        ]
        cells = rates.sweep(cases, self.out, self.workers)
        picture = rates.present(cells, self.out)
        OUT.print(f"wrote {self.out / 'rates.json'} and {picture}")


@dataclass(frozen=True)
class Speed:
    """Time the parts: import, one controller step, PyBulletQuad, BatchedQuad."""

    policy: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")] = "hover"
    """Shipped name or path of the policy whose step is timed."""

    def run(self) -> None:
        """Measure and print."""
        OUT.print(rich_table("speed on this machine", ("what", "measured", "goal"), speed.measure(self.policy)))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.benchmark`. Returns the exit code."""
    kinds = Union[  # noqa: UP007  # an annotated union, which `|` cannot write
        Annotated[Rates, tyro.conf.subcommand("rates")], Annotated[Speed, tyro.conf.subcommand("speed")]
    ]
    command: Rates | Speed = tyro.cli(kinds, prog="python -m scripts.benchmark", args=argv, description=__doc__)
    run: Callable[[], None] = command.run
    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
