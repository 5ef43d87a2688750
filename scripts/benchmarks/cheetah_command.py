"""What the command line of the HalfCheetah table takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scripts.console import OUT
from scripts.files import check_folder
from scripts.workers.options import ALL_CORES, WorkerOptions


@dataclass(frozen=True)
class CheetahTable:
    """Imitation of one teacher by every model, from full and partial observation, run at rhythms seen and unseen.

    All models of an observation have about as many parameters, the same trials of the learning rate on a seed that is
    not reported, and the same training: DAgger, half of the episodes at irregular time with 30 % of the observations
    lost. Writes cheetah.json, .md and .png; trained and scored cells are kept, so that an interrupted table goes on
    where it stopped.
    """

    models: tuple[str, ...] = ("decay", "wired", "gru", "lstm", "mlp")
    """decay: CfC of 19 neurons. wired: the same as a circuit of 8-5-6 neurons. default, no_gate, pure: published CfC
    forms. gru, lstm, mlp (no memory): rivals."""
    partial: tuple[str, ...] = ("decay", "gru")
    """Models that also learn from positions alone and from velocities alone."""
    seeds: int = 3
    """Reported trainings of each cell."""
    updates: int = 2500
    """Gradient steps of a training."""
    episodes: int = 120
    """Episodes that a training records."""
    flights: int = 20
    """Episodes of a score at the two rhythms of training; half as many at each unseen one."""
    expert: str = "half-cheetah-teacher"
    """Who teaches: a shipped policy or the path of one that sees the full body."""
    out: Path = Path("runs/half-cheetah-table")
    """Folder of everything."""
    workers: WorkerOptions = ALL_CORES

    def run(self) -> None:
        """Train, run, print, draw."""
        from scripts.flying import import_pybullet

        import_pybullet()  # the environments load it
        from scripts.benchmarks import cheetah

        check_folder("--out", self.out)
        plan = cheetah.Plan(
            self.out, self.expert, self.models, self.partial, self.seeds, self.updates, self.episodes, self.flights
        )
        files = cheetah.present(cheetah.run(plan, self.workers), self.out)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")
