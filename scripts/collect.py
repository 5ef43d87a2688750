"""Record an expert's flights: what the sensors say at every IMU event, and what the expert does.

Of hover the result is one `.safetensors` file, from which `python -m scripts.train hover --method bc --demos FILE`
learns. The flights are those of training: IMU rates from 22 to 440 Hz and mixed, losses, outages, wind, drones that
differ. The same seed gives the same file, with any number of workers.

Of half-cheetah it is one `.npz` of traces for `python -m scripts.benchmark sequence --data FILE`: arrays trace_0000 and
on, (steps, width) float32, the simulator's own observation at its usual rate, with a share of the policy's actions
replaced by random ones.

Examples:
  python -m scripts.collect hover --expert geometric --flights 500 --out demos.safetensors
  python -m scripts.collect hover --expert pid --engine pybullet --flights 50 --out demos.safetensors
  python -m scripts.collect hover --expert hover --noise 0.05 --out demos.safetensors     # a policy as the expert
  python -m scripts.collect half-cheetah --out traces.npz                                 # 25 traces of 1000 steps
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from scripts.console import OUT, exit_code, progress_bar
from scripts.files import check_file
from scripts.flying import FlightPool, import_pybullet
from scripts.workers.options import ALL_CORES, WorkerOptions

if TYPE_CHECKING:
    from policies.imitation.collect import Collection
    from policies.imitation.demonstrations import Demonstrations


@dataclass(frozen=True)
class Options:
    """What is flown, by whom, and where it is kept; see the examples at the top of `scripts/collect.py`."""

    task: Annotated[Literal["hover", "half-cheetah"], tyro.conf.Positional]
    """What is flown: hover = recover from a throw, then hold velocity and height. half-cheetah = run."""
    out: Path
    """The file: .safetensors, of half-cheetah .npz."""
    expert: str | None = None
    """geometric (usual), pid: told the true state. A policy, by name or path: on its sensors. PATH.zip: a
    stable-baselines3 model that flies on the observation "state" or "sensors". Of half-cheetah a policy, usually
    half-cheetah-teacher; its simulator is the one that is run."""
    flights: int | None = None
    """How many; 500, of half-cheetah 25 if not given."""
    random_actions: float = 0.05
    """Of half-cheetah: share of actions that are replaced by random ones."""
    seconds: float = 10.0
    """Length of a flight after the release, in seconds."""
    seed: int = 0
    """Seed of flights and noise."""
    airframe: str = "cf2x"
    """Shipped airframe or path of a TOML file. Every flight's drone is drawn around it."""
    engine: Literal["batched", "pybullet"] = "batched"
    """batched: up to 32 drones at once on the compiled engine, which share one IMU rate. pybullet: one by one."""
    noise: float = 0.1
    """Standard deviation of what is added to the expert's actions (-1 to 1) as it flies, not to those recorded, so that
    the flights show how to come back; without any, a clone of some hundred flights crashes."""
    state: bool = False
    """Also record the true state."""
    workers: WorkerOptions = ALL_CORES


def _part(collection: Collection, number: int) -> Demonstrations:
    import_pybullet()  # the environments load it
    from policies.imitation.collect import record_part

    return record_part(collection, number)


def run(options: Options) -> Path:
    """Fly and write; returns the file."""
    if options.task == "half-cheetah":
        return run_cheetah(options)
    flights, expert = 500 if options.flights is None else options.flights, options.expert or "geometric"
    check_file("--out", options.out, ".safetensors")
    from policies.imitation.collect import Collection, shuffled  # torch only once it is needed
    from policies.imitation.files import save_flights

    collection = Collection(
        options.task,
        expert,
        flights,
        options.seed,
        options.airframe,
        options.engine,
        options.seconds,
        options.noise,
        keep_state=options.state,
    )
    origin = collection.origin()
    with FlightPool(options.workers) as pool, progress_bar() as bar:
        task = bar.add_task(f"{expert}: {flights} flights", total=collection.parts)
        parts = pool.each(_part, collection, collection.parts, lambda: bar.advance(task))
    recorded = shuffled(parts, options.seed)
    path = save_flights(options.out, recorded, origin)
    size = path.stat().st_size / 1e6
    OUT.print(f"wrote {path}: {recorded.flights} flights, {recorded.events:,} events, {size:.1f} MB")
    return path


def run_cheetah(options: Options) -> Path:
    """Record traces of HalfCheetah; returns the file."""
    check_file("--out", options.out, ".npz")
    from scripts.cheetah import CheetahJob, TraceJob, record_trace, save_traces

    count = 25 if options.flights is None else options.flights
    job = TraceJob(
        CheetahJob(options.expert or "half-cheetah-teacher", episodes=count, seed=options.seed), options.random_actions
    )
    with FlightPool(options.workers) as pool, progress_bar() as bar:
        task = bar.add_task(f"{job.run.policy}: {count} traces", total=count)
        traces = pool.each(record_trace, job, count, lambda: bar.advance(task))
    path = save_traces(options.out, traces)
    OUT.print(f"wrote {path}: {count} traces of {traces[0].shape}, {path.stat().st_size / 1e6:.1f} MB")
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.collect`. Returns the exit code."""
    options = tyro.cli(Options, prog="python -m scripts.collect", args=argv, description=__doc__)

    def collect_to_file() -> None:
        run(options)

    return exit_code(collect_to_file)


if __name__ == "__main__":
    sys.exit(main())
