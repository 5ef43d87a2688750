"""Train a policy: by analytic gradients, by imitation of an expert, by reinforcement learning, or on a camera.

The result is one file, `policy.safetensors`, which `scripts.evaluate` scores and the onboard controller
flies. Beside it: the resolved configuration, the learning curve (CSV, PNG, TensorBoard) and a checkpoint
from which `--resume` continues.

Examples:
  python -m scripts.train hover                          # the shipped policy, about a minute
  python -m scripts.train hover --cell default --seed 3  # the published CfC form
  python -m scripts.train hover --wiring 9-6-4           # 9 inter, 6 command, 4 motor neurons, sparsely wired
  python -m scripts.train hover --airframe racer         # another drone; or the path of a TOML file of your own
  python -m scripts.train hover --budget-s 120 --out runs/quick
  python -m scripts.train hover --method dagger          # imitation of the geometric controller, some minutes
  python -m scripts.train hover --method dagger --expert hover --cell gru       # a policy teaches another cell
  python -m scripts.train hover --method bc --demos demos.safetensors           # cloning of recorded flights
  python -m scripts.train hover --init runs/hover-dagger/policy.safetensors --learning-rate 1e-3   # and on by gradients
  python -m scripts.train hover --method ppo             # reinforcement learning, from nothing
  python -m scripts.train hover --method ppo --init hover          # on from a policy, without forgetting it
  python -m scripts.train track                          # follow velocities to 2 m/s; the shipped policy, some minutes
  python -m scripts.train mission                        # from the floor, through the air, to the floor
  python -m scripts.train avoid                          # through forests on optical flow, about 20 minutes
  python -m scripts.train avoid --method dagger          # ... taught by a planner that is told where trees stand
  python -m scripts.train avoid --method camera --init avoid       # ... its encoder fitted to a camera's pictures
  python -m scripts.train half-cheetah --method teacher            # a teacher by PPO, about an hour; --resume goes on
  python -m scripts.train half-cheetah                             # 19 neurons imitate it at any rhythm, some minutes
  python -m scripts.train half-cheetah --observe positions --wiring 8-5-6
  python -m scripts.train half-cheetah --method ppo --init half-cheetah     # or from nothing, without --init
  tensorboard --logdir runs/hover                        # watch it learn
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

import tyro
from rich.console import Console

from liquid_pilot.errors import ConfigError
from scripts.console import OUT, exit_code
from scripts.training.options import Options, check_foreign

__all__ = ["METHODS", "Options", "main", "run"]

# The module whose `run(options, console)` trains, the usual method first; torch is loaded only once one is chosen.
METHODS: Final[dict[str, dict[str, str]]] = {
    "hover": {
        "analytic": "scripts.training.analytic",
        "bc": "scripts.training.imitation",
        "dagger": "scripts.training.imitation",
        "ppo": "scripts.training.ppo",
    },
    "track": {"analytic": "scripts.training.analytic"},
    "track-position": {"analytic": "scripts.training.analytic"},
    "mission": {"analytic": "scripts.training.analytic"},
    "avoid": {
        "analytic": "scripts.training.analytic",
        "bc": "scripts.training.imitation",
        "dagger": "scripts.training.imitation",
        "camera": "scripts.training.camera",
    },
    "half-cheetah": {
        "dagger": "scripts.training.cheetah",
        "ppo": "scripts.training.cheetah_ppo",
        "teacher": "scripts.training.cheetah_teacher",
    },
}


def run(options: Options, console: Console) -> Path:
    """Train as the options say; returns the policy file."""
    methods = METHODS[options.task]
    method: str = options.method or next(iter(methods))
    if method not in methods:
        raise ConfigError(f"{options.task} has no method {method!r}; choose one of: {', '.join(sorted(methods))}")
    check_foreign(options, method)
    policy: Path = import_module(methods[method]).run(replace(options, method=cast(Any, method)), console)
    return policy


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.train`. Returns the exit code."""
    options = tyro.cli(
        Options,
        prog="python -m scripts.train",
        args=argv,
        description=__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )

    def train_to_file() -> None:
        run(options, OUT)

    return exit_code(train_to_file)


if __name__ == "__main__":
    sys.exit(main())
