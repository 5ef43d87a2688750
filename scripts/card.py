"""Write a policy's model card: evaluate it under the conditions of its task, and say what it is and where that ends.

A card is Markdown beside the policy file; `liquid-pilot inspect POLICY --card` shows it. The same policy, flights and
seed give the same card. A policy that is trained or changed needs a new one, for a card names the sha256 of its policy.

Examples:
  python -m scripts.card hover                                  # the shipped policy: liquid_pilot/zoo/hover.md
  python -m scripts.card runs/hover/policy.safetensors          # runs/hover/policy.md
  python -m scripts.card hover --command "python -m scripts.train hover --updates 8000"   # where the file does not tell
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from liquid_pilot.bundle import load_bundle, policy_path
from liquid_pilot.card import card_path
from scripts.cards.page import page
from scripts.cards.scores import plan_of, score
from scripts.console import OUT, exit_code, progress_bar
from scripts.files import check_file
from scripts.flying import FlightPool
from scripts.workers.options import ALL_CORES, WorkerOptions


@dataclass(frozen=True)
class Options:
    """Of which policy, from how many flights, and where to."""

    policy: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")]
    """A shipped policy, or the path of a .safetensors file."""
    flights: int | None = None
    """Flights of a row, 100 if not given; of half-cheetah episodes, 20."""
    seed: int = 0
    """Seed of all flights."""
    airframe: str | None = None
    """Shipped airframe or path of a TOML file that flies; the one that the policy was made for if not given."""
    command: str | None = None
    """The command that trained the policy, where its file does not tell."""
    out: Path | None = None
    """The card; beside the policy file, with .md, if not given."""
    workers: WorkerOptions = ALL_CORES

    @property
    def made_by(self) -> str:
        """The command that makes the same card."""
        told = {"--flights": self.flights, "--airframe": self.airframe, "--command": self.command}
        options = [word for name, value in told.items() if value is not None for word in (name, str(value))]
        seed = ["--seed", str(self.seed)] if self.seed else []
        return shlex.join(["python", "-m", "scripts.card", self.policy, *options, *seed])


def run(options: Options) -> None:
    """Evaluate and write."""
    policy, bundle = policy_path(options.policy), load_bundle(options.policy)
    out = card_path(policy) if options.out is None else options.out
    check_file("--out", out, ".md")
    plan = plan_of(options.policy, bundle, options.flights, options.seed, options.airframe)
    with FlightPool(options.workers) as pool, progress_bar() as progress:
        scores = score(plan, pool, progress)
    trained_by = options.command or bundle.metadata["training"].get("command", "")
    text = page(bundle, policy.stat().st_size, scores, trained_by, options.made_by)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    OUT.print(f"wrote {out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.card`. Returns the exit code."""
    options = tyro.cli(Options, prog="python -m scripts.card", args=argv, description=__doc__)
    return exit_code(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
