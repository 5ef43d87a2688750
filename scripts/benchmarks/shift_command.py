"""What the command line of the shift table takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from liquid_pilot.errors import ConfigError
from scripts.console import OUT
from scripts.files import check_file, check_folder
from scripts.workers.options import ALL_CORES, WorkerOptions

QUICK: Final = (2, 30, 10, 40)  # seeds, updates, updates of a trial, flights


@dataclass(frozen=True)
class Shift:
    """Train in one world, fly in sixteen: decay, published CfC, LSTM, GRU and MLP of equal parameters, tuned alike.

    The worlds shift the airframe, the wind, the quality of the flow and the rates of the sensors, one at a time and
    together. Then the decay cell in parts: without the curriculum, with one time constant, wired, and wired with fast
    layers (every IMU sample) and slow ones (new flow). Prints success and speed error, their change from the usual
    world, and verdicts by a written rule, also negative ones; writes shift.json, shift.md and shift.png.

    Trained policies and flown cells are kept in --out, so that a table that was interrupted goes on where it stopped.
    Needs a C compiler. Takes more than an hour of one core; --quick, which measures nothing, a few minutes:

      python -m scripts.benchmark shift --quick --out runs/shift-quick
      python -m scripts.benchmark shift --pybullet-flights 50
      python -m scripts.benchmark shift --training narrow --no-ablation --out runs/shift-narrow
    """

    seeds: int = 5
    """Reported trainings of each model."""
    updates: int = 600
    """Gradient steps of every reported training."""
    trial_updates: int = 200
    """Gradient steps of every tuning trial, of which each model gets six."""
    batch: int = 48
    """Drones flown at once in training."""
    flights: int = 500
    """Flights of a cell, in the compiled engine."""
    training: Literal["wide", "narrow"] = "wide"
    """wide: IMU 22 to 440 Hz and mixed, so that no IMU rate is a shift. narrow: 50 to 100 Hz."""
    ablation: bool = True
    """Train and fly the decay cell in parts; of the wide training alone."""
    pybullet_flights: int = 0
    """Flights of a cell in PyBullet, in five of the worlds, by the first seed of each model and by the geometric
    controller, which is told the true state; 0 = none."""
    quick: bool = False
    """Two seeds of 30 updates and 40 flights, to see what comes out; the figures mean nothing."""
    out: Path = Path("runs/shift")
    """Folder of everything."""
    page: Path | None = None
    """Also write the table as a page of docs, its picture beside it."""
    workers: WorkerOptions = ALL_CORES

    def run(self) -> None:
        """Train, fly, print, draw."""
        import torch

        from liquid_pilot import native
        from scripts.benchmarks import shift, shift_page
        from scripts.benchmarks.contest import Recipe
        from scripts.benchmarks.shift_arms import ABLATION, RACE

        check_folder("--out", self.out)
        if self.page is not None:
            check_file("--page", self.page, ".md")
        if not native.available():
            raise ConfigError("no C compiler found, and torch would take a hundred times as long; install gcc")
        if self.ablation and self.training != "wide":
            raise ConfigError(f"the decay cell in parts is trained wide; with --training {self.training} --no-ablation")
        torch.set_num_threads(1)
        usual = (self.seeds, self.updates, self.trial_updates, self.flights)
        seeds, updates, trial_updates, flights = QUICK if self.quick else usual
        recipe = Recipe(updates, self.batch, "compiled", trial_updates)
        arms = (*RACE, *ABLATION) if self.ablation else RACE
        given = (self.training, seeds, flights, self.pybullet_flights)
        plan = shift.Plan(self.out, recipe, *given, arms=arms)
        files = shift_page.present(shift.run(plan, self.workers), self.out, self.page)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")
