"""What the command line of the forest table takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from liquid_pilot.errors import ConfigError
from scripts.console import OUT
from scripts.files import check_file, check_folder
from scripts.workers.options import ALL_CORES, WorkerOptions

QUICK: Final = (2, 30, 10, 40)  # seeds, updates, updates of a trial, flights


@dataclass(frozen=True)
class Forests:
    """Train models to cross forests on optical flow, and cross them; one of the models is blind.

    Decay, the published CfC, a GRU and an MLP of equal parameters, tuned alike, behind the same encoder; at several
    speeds, in denser forests, among other obstacles, with trees that the grid does not show, before walls, at other
    rates of grid and IMU, with lost grids. Then what can be read from the neurons of what comes. With --policies
    nothing is trained. Prints a table; writes avoid.json, .md and .png.

    Trained policies and flown cells are kept in --out, so that a table that was interrupted goes on where it stopped.
    Needs a C compiler. Takes half an hour of two cores; --quick, which measures nothing, some minutes:

      python -m scripts.benchmark avoid --quick --out runs/avoid-quick
      python -m scripts.benchmark avoid --models decay gru --updates 6000 --out runs/avoid-long
      python -m scripts.benchmark avoid --policies runs/avoid-{0,1,2}/policy.safetensors --out runs/avoid-seeds
    """

    policies: tuple[str, ...] = ()
    """Policies of `train avoid`, one for each seed, to fly in place of any training; a name, or paths. What is said of
    trainings (--models, --seeds, --updates, --trial-updates, --batch, --quick) is left out then."""
    models: tuple[str, ...] = ("decay", "default", "gru", "mlp", "blind")
    """Models: decay, default (the published CfC), gru, mlp, blind."""
    seeds: int = 3
    """Reported trainings of each model."""
    updates: int = 1500
    """Gradient steps of every reported training."""
    trial_updates: int = 150
    """Gradient steps of every tuning trial, of which each model gets six."""
    batch: int = 128
    """Drones flown at once in training."""
    flights: int = 500
    """Crossings of a cell."""
    quick: bool = False
    """Two seeds of 30 updates and 40 crossings, to see what comes out; the figures mean nothing."""
    out: Path = Path("runs/avoid-table")
    """Folder of everything."""
    page: Path | None = None
    """Also write the table as a page of docs, its picture beside it."""
    workers: WorkerOptions = ALL_CORES

    def run(self) -> None:
        """Train, fly, print, draw."""
        import torch

        from liquid_pilot import native
        from scripts.benchmarks import avoid, avoid_page
        from scripts.benchmarks.contest import Recipe

        check_folder("--out", self.out)
        if self.page is not None:
            check_file("--page", self.page, ".md")
        if not native.available():
            raise ConfigError("no C compiler found; forests are crossed in the compiled engine alone: install gcc")
        usual_of = Forests()
        trained = ("models", "seeds", "updates", "trial_updates", "batch", "quick")
        foreign = [f"--{name.replace('_', '-')}" for name in trained if getattr(self, name) != getattr(usual_of, name)]
        if self.policies and foreign:
            raise ConfigError(f"{' '.join(foreign)}: of trainings, and --policies trains none; leave them out")
        torch.set_num_threads(1)
        usual = (self.seeds, self.updates, self.trial_updates, self.flights)
        seeds, updates, trial_updates, flights = QUICK if self.quick else usual
        recipe = Recipe(updates, self.batch, "compiled", trial_updates, task="avoid")
        plan = avoid.Plan(self.out, recipe, seeds, flights, arms=avoid.arms_of(self.models))
        found = avoid.score(plan, self.policies, self.workers) if self.policies else avoid.run(plan, self.workers)
        files = avoid_page.present(found, self.out, self.page)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")
