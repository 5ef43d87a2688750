"""Benchmarks of policies and of the machinery.

Examples:
  python -m scripts.benchmark rates hover                        # the shipped policy over all sensor rates
  python -m scripts.benchmark rates hover geometric runs/hover-default/policy.safetensors --flights 200
  python -m scripts.benchmark faults hover pid-ekf               # motors, wind, sensors that fail
  python -m scripts.benchmark rivals                             # track beside PID, EKF and geometric control
  python -m scripts.benchmark airframes                          # one policy on many drones, 27 g to 0.9 kg
  python -m scripts.benchmark transfer                           # the same flights in gym-pybullet-drones
  python -m scripts.benchmark speed                              # how fast the parts are on this machine
  python -m scripts.benchmark engine                             # the compiled engine beside torch
  python -m scripts.benchmark cells                              # what a cell costs, beside torch's LSTM
  python -m scripts.benchmark tracking                           # figure-eights of the conventional controllers
  python -m scripts.benchmark world                              # known answers of the world, in every engine
  python -m scripts.benchmark onboard steps parity               # what flies onboard: C, numpy, ONNX, Cortex-M7
  python -m scripts.benchmark demonstrations                     # how many demonstrations a clone needs
  python -m scripts.benchmark roads runs/hover runs/hover-dagger runs/hover-ppo     # how long each way takes
  python -m scripts.benchmark half-cheetah                       # models that imitate one teacher, at any rhythm
  python -m scripts.benchmark sequence --data traces.npz --quick # prediction of recorded motion, model by model
  python -m scripts.benchmark table --seeds 2 --updates 400      # models and trainings against IMU rates
  python -m scripts.benchmark shift                              # models in worlds they were not trained in
  python -m scripts.benchmark avoid                              # models that cross forests on optical flow
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from collections.abc import Sequence as Arguments
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro

from envs.airframe import load_airframe
from liquid_pilot.errors import ConfigError
from scripts.benchmarks import speed
from scripts.benchmarks.airframes_command import Airframes
from scripts.benchmarks.avoid_command import Forests
from scripts.benchmarks.cells_command import Cells
from scripts.benchmarks.cheetah_command import CheetahTable
from scripts.benchmarks.faults_command import Faults
from scripts.benchmarks.rates_command import Rates
from scripts.benchmarks.rivals_command import Rivals
from scripts.benchmarks.sequence_command import Sequence
from scripts.benchmarks.shift_command import Shift
from scripts.benchmarks.transfer_command import Transfer
from scripts.console import ERR, OUT, exit_code, on_backend, progress_bar
from scripts.files import check_file, check_folder
from scripts.tables import rich_table
from scripts.workers.options import ALL_CORES, WorkerOptions


@dataclass(frozen=True)
class Speed:
    """Time the parts: import, one controller step, PyBulletQuad, BatchedQuad."""

    policy: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")] = "hover"
    """Shipped name or path of the policy whose step is timed."""

    def run(self) -> None:
        """Measure and print."""
        OUT.print(rich_table("speed on this machine", ("what", "measured", "goal"), speed.measure(self.policy)))


@dataclass(frozen=True)
class Engine:
    """The compiled engine beside torch: the same gradients, speed, compile time, memory. Takes one or two minutes."""

    policy: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")] = "hover"
    """Shipped name or path of the trained policy that flies."""
    out: Path = Path("runs/engine")
    """Folder of engine.json."""
    flights: int = 10_000
    """Flights that are scored against the clock."""
    quick: bool = False
    """Measure each speed for a moment only; the figures then are rough."""

    def run(self) -> None:
        """Measure, print, write."""
        from scripts.benchmarks.engine import measure, present

        check_folder("--out", self.out)
        path = present(measure(self.policy, self.flights, self.quick), self.out)
        OUT.print(f"wrote {path}")


@dataclass(frozen=True)
class Tracking:
    """Figure-eights of 1.0 x 0.5 m at 10, 5.5 and 3.5 s a lap: geometric controller and PID, told the true state.

    Prints second-lap errors beside those of published controllers and writes tracking.json and tracking.png.
    """

    airframe: str = "cf2x"
    """Shipped airframe or path of a TOML file."""
    flights: int = 10
    """Flights of drawn drones in wind for each figure, beside the nominal one; 0 = none."""
    out: Path = Path("runs/tracking")
    """Folder of tracking.json and tracking.png."""

    def run(self) -> None:
        """Fly, print, draw."""
        from scripts.benchmarks import tracking

        check_folder("--out", self.out)
        if self.flights < 0:
            raise ConfigError(f"flights is {self.flights}; give 0 or more")
        airframe = load_airframe(self.airframe)
        with progress_bar() as progress:
            figures, laps = tracking.measure(airframe, self.flights, progress)
        files = tracking.present(figures, laps, tracking.settle_rows(airframe), airframe.name, self.out)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")


@dataclass(frozen=True)
class World:
    """Known answers of the world in PyBullet, torch, the compiled engine and an integrator of its own, side by side.

    Then how far the engines are apart, their speed and memory, and episodes of random actions. Writes world.json and
    world.png. Takes about half a minute; with 10000 episodes ten minutes.
    """

    airframe: str = "cf2x"
    """Shipped airframe."""
    drones: int = 64
    """Drawn drones that the engines fly side by side."""
    episodes: int = 200
    """Episodes of random actions in each engine."""
    quick: bool = False
    """Measure each speed for a moment only, and no memory; the figures then are rough."""
    out: Path = Path("runs/world")
    """Folder of world.json and world.png."""
    page: Path | None = None
    """Also write the tables as a Markdown page, its picture beside it."""

    def run(self) -> None:
        """Measure, print, draw."""
        from scripts.benchmarks import world

        check_folder("--out", self.out)
        if self.page is not None:
            check_file("--page", self.page, ".md")
        for name in ("drones", "episodes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a whole number of at least 1")
        airframe = load_airframe(self.airframe)
        with progress_bar() as progress:
            trial = world.measure(airframe, self.drones, self.episodes, self.quick, progress)
        files = world.present(trial, self.out, self.page)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")


@dataclass(frozen=True)
class RateTable:
    """Tune, train and fly decay, published CfC, GRU and MLP of equal parameters at IMU 25 to 400 Hz and mixed.

    Two trainings: narrow (IMU 50 to 100 Hz) and wide (22 to 440 Hz and mixed). Every model gets six trials on a seed
    that is not reported. Writes table.json, table.md and table.png; trained policies and flown cells are kept, so
    that an interrupted table goes on where it stopped.
    """

    seeds: int = 5
    """Reported trainings of each model."""
    updates: int = 1000
    """Gradient steps of every training."""
    batch: int = 48
    """Drones flown at once in training."""
    flights: int = 2000
    """Flights of a cell, in the batched engine."""
    pybullet_flights: int = 0
    """Flights of a cell in PyBullet, at IMU 25, 100 and 400 Hz, by the first seed of each; 0 = none."""
    lstm: bool = False
    """One more competitor, an LSTM."""
    out: Path = Path("runs/table")
    """Folder of everything."""
    backend: Literal["auto", "compiled", "torch"] = "auto"
    """Engine of training and batched flights; auto: compiled where a C compiler is found."""
    workers: WorkerOptions = ALL_CORES

    def run(self) -> None:
        """Train, fly, print, draw."""
        import torch

        from scripts.benchmarks import table
        from scripts.benchmarks.contest import LSTM, MODELS, Recipe

        check_folder("--out", self.out)
        torch.set_num_threads(1)

        def fill(backend: str) -> dict[str, Any]:
            recipe = Recipe(self.updates, self.batch, backend)
            models = (*MODELS, LSTM) if self.lstm else MODELS
            plan = table.Plan(self.out, recipe, self.seeds, self.flights, self.pybullet_flights, models=models)
            return table.run(plan, self.workers)

        files = table.present(on_backend(self.backend, ERR, fill), self.out)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")


@dataclass(frozen=True)
class Onboard:
    """What flies onboard: time of a step in every runtime, parity, small numbers in flight, a Cortex-M7 in QEMU.

    Writes onboard.json; the figures of sections that are not run stay in it.
    """

    sections: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[SECTION ...]")] = ()
    """steps: microseconds of a step. parity: every runtime beside numpy. small: int8 weights and Q15 state, in flight.
    m7: instructions, flash and RAM on a Cortex-M7. latency: IMU sample to command over MAVLink, beside the Kalman
    filter with PID; of a policy that sees, flow grid to command in the controller. fuzz, files: mutated MAVLink; logs,
    policy files and MSP. soak: an hour of simulated flight over a bad link with a fault a minute. All of them if none
    is named, about half an hour."""
    policy: str = "hover"
    """Shipped name or path of the policy."""
    flights: int = 100
    """Flights of each closed-loop score."""
    workers: WorkerOptions = ALL_CORES
    quick: bool = False
    """Measure for a moment only, fly few; the figures then are rough."""
    fifo: bool = False
    """Real-time priority of what is timed in a loop, where permitted."""
    seed: int = 0
    """Of faults, links and mutations."""
    out: Path = Path("runs/onboard")
    """Folder of onboard.json."""

    def run(self) -> None:
        """Measure, print, write."""
        from scripts.benchmarks import onboard

        check_folder("--out", self.out)
        onboard.chosen(self.sections)
        if self.flights < 1:
            raise ConfigError(f"flights is {self.flights}; fly at least one")
        plan = onboard.Plan(self.policy, self.out, self.flights, self.workers, self.quick, self.fifo, self.seed)
        OUT.print(f"wrote {onboard.run(plan, self.sections)}")


@dataclass(frozen=True)
class DemonstrationTable:
    """Success and speed error against the number of demonstration flights, for decay, GRU, LSTM and MLP.

    They have about as many parameters. Behaviour cloning of the geometric controller; every model gets four trials on
    a seed that is not reported. Writes demonstrations.json, .md and .png; trained and flown cells are kept, so that an
    interrupted table goes on where it stopped. Takes half an hour on one core.
    """

    seeds: int = 5
    """Reported trainings of each cell; each draws flights of its own from all that were recorded."""
    counts: tuple[int, ...] = (10, 30, 100, 300, 1000)
    """Demonstration flights."""
    updates: int = 800
    """Gradient steps of every training."""
    flights: int = 500
    """Flights of a score, in the batched engine."""
    noise: float = 0.1
    """Standard deviation of what is added to the expert's actions as it flies, not to those learned from."""
    out: Path = Path("runs/demonstrations")
    """Folder of everything."""
    threads: int = 1
    """Threads of the scored flights."""

    def run(self) -> None:
        """Record, train, fly, print, draw."""
        import torch

        from scripts.flying import import_pybullet

        import_pybullet()  # the environments load it
        from scripts.benchmarks import demonstrations

        check_folder("--out", self.out)
        torch.set_num_threads(1)
        plan = demonstrations.Plan(self.out, self.seeds, self.counts, self.updates, self.flights, self.noise)
        files = demonstrations.present(demonstrations.run(plan, self.threads), self.out)
        OUT.print(f"wrote {', '.join(str(file) for file in files)}")


@dataclass(frozen=True)
class Roads:
    """Compare training runs: seconds and events of the world until their policies hover.

    Runs are those of `python -m scripts.train`; runs of the same method, start and cell share a row. Trains nothing.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs."""
    out: Path = Path("runs/roads")
    """Folder of roads.json."""

    def run(self) -> None:
        """Read, print."""
        from scripts.benchmarks import roads

        check_folder("--out", self.out)
        if not self.runs:
            raise ConfigError("no run is named; give the folders of runs of scripts.train")
        OUT.print(f"wrote {roads.compare(self.runs, self.out)}")


def main(argv: Arguments[str] | None = None) -> int:
    """Entry point of `python -m scripts.benchmark`. Returns the exit code."""
    kinds = Union[  # noqa: UP007  # an annotated union, which `|` cannot write
        Annotated[Rates, tyro.conf.subcommand("rates")],
        Annotated[Faults, tyro.conf.subcommand("faults")],
        Annotated[Rivals, tyro.conf.subcommand("rivals")],
        Annotated[Airframes, tyro.conf.subcommand("airframes")],
        Annotated[Transfer, tyro.conf.subcommand("transfer")],
        Annotated[Speed, tyro.conf.subcommand("speed")],
        Annotated[Engine, tyro.conf.subcommand("engine")],
        Annotated[Cells, tyro.conf.subcommand("cells")],
        Annotated[RateTable, tyro.conf.subcommand("table")],
        Annotated[Shift, tyro.conf.subcommand("shift")],
        Annotated[Forests, tyro.conf.subcommand("avoid")],
        Annotated[Tracking, tyro.conf.subcommand("tracking")],
        Annotated[DemonstrationTable, tyro.conf.subcommand("demonstrations")],
        Annotated[Roads, tyro.conf.subcommand("roads")],
        Annotated[World, tyro.conf.subcommand("world")],
        Annotated[Onboard, tyro.conf.subcommand("onboard")],
        Annotated[CheetahTable, tyro.conf.subcommand("half-cheetah")],
        Annotated[Sequence, tyro.conf.subcommand("sequence")],
    ]
    command: Any = tyro.cli(kinds, prog="python -m scripts.benchmark", args=argv, description=__doc__)
    run: Callable[[], None] = command.run
    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
