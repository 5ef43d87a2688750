"""What the command line that times the cells takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from liquid_pilot.errors import ConfigError
from scripts.console import OUT
from scripts.files import check_folder


@dataclass(frozen=True)
class Cells:
    """Time, memory and size of every cell beside torch's LSTM and, where it is installed, the public package ncps.

    Then how much a cell's state depends on the rate at which one signal is sampled. Writes cells.json and cells.png.
    Takes some minutes with the memory of long LTC sequences.
    """

    batches: tuple[int, ...] = (32, 256)
    """Sequences at once; one table for each."""
    steps: int = 64
    """Events of a sequence."""
    repeats: int = 9
    """Rounds; every cell is timed once in each, and the median counts."""
    memory: bool = True
    """Also count the bytes that long LTC sequences keep for their gradients, solver by solver."""
    out: Path = Path("runs/cells")
    """Folder of the results."""

    def run(self) -> None:
        """Measure, print, write."""
        from scripts.benchmarks.cells import measure, present, present_memory
        from scripts.benchmarks.consistency import present_consistency

        check_folder("--out", self.out)
        for name, least in (
            ("batches", min(self.batches, default=0)),
            ("steps", self.steps),
            ("repeats", self.repeats),
        ):
            if least < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give whole numbers of at least 1")
        written, picture = present(measure(self.batches, self.steps, self.repeats), self.out)
        present_consistency()
        if self.memory:
            present_memory()
        OUT.print(f"wrote {written} and {picture}")
