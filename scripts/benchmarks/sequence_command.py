"""What the command line of the prediction benchmark takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from scripts.console import OUT
from scripts.files import check_folder
from scripts.workers.options import ALL_CORES, WorkerOptions


@dataclass(frozen=True)
class Sequence:
    """Next-step prediction of HalfCheetah's motion: liquid cells, rivals, and what needs no training at all.

    All models see the elapsed time, have about as many parameters, the same scaling, and the same six trials of
    learning rate and time unit on a seed that is not reported. Writes sequence.json, .md and .png; every finished
    training is kept, so that an interrupted benchmark goes on where it stopped. Takes an hour or so.
    """

    data: Path | None = None
    """.npz of traces (`python -m scripts.collect half-cheetah`, or arrays trace_0000 and on of your own): 0-4 validate,
    5-14 test, 15-24 train. Without it, traces of the shipped teacher are recorded in --out."""
    models: tuple[str, ...] = ()
    """decay, default, no_gate, pure, ltc, mixed, attention, lstm, gru, ctrnn, grud, odernn, transformer, mlp; all if
    not given."""
    noise: tuple[float, ...] = (0.0, 0.1, 0.2, 0.5)
    """Standard deviations of noise on what is seen in the test, each in those of the training data."""
    missing: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
    """Shares of samples that are lost in the test."""
    shares: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5)
    """Shares of the training data that the main models (decay, default, ltc, lstm, gru) also learn from."""
    seeds: int = 5
    """Reported trainings of each model."""
    epochs: int = 30
    """Of a training; a trial has a fifth."""
    parameters: int = 7000
    """About how many each model has; the main ones also come with the 19 neurons of decay."""
    quick: bool = False
    """Rough figures in some minutes: one seed, few epochs, less noise and loss, no sweep over the data."""
    out: Path = Path("runs/sequence")
    """Folder of everything."""
    workers: WorkerOptions = ALL_CORES

    def run(self) -> None:
        """Train, judge, print, draw."""
        from scripts.benchmarks import sequence, sequence_page

        check_folder("--out", self.out)
        own = self
        if self.quick:
            own = replace(self, seeds=1, epochs=min(self.epochs, 5), noise=(0.0, 0.2), missing=(0.0, 0.3), shares=())
        plan = sequence.Plan(
            own.out, own.data, own.models, own.noise, own.missing, own.shares, own.seeds, own.epochs, own.parameters
        )
        files = sequence_page.present(sequence.run(plan, own.workers), own.out)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")
