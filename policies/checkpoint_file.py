"""The file of a checkpoint, whatever the method: tensors and plain data, whole or not there, without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from liquid_pilot.errors import TrainingError

AGAIN = "start again without --resume"


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write atomically: a run that is cut off, or a full disk, leaves the previous checkpoint whole.

    Raises `TrainingError` where the file cannot be written.
    """
    partial = path.with_suffix(".partial")
    try:
        whole = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
        save_file(whole, partial, {"run": json.dumps(record)})
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path} cannot be written ({error}); make room, then continue with --resume") from error
    finally:
        partial.unlink(missing_ok=True)


def read_checkpoint(path: Path, schema: int, config: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, record) of a checkpoint of this schema and configuration, a dataclass that its record repeats.

    Raises `TrainingError` for a damaged file or another configuration.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["run"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # not a mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{path} is not a readable checkpoint ({error}); {AGAIN}") from error
    found, wanted = record.get("config"), json.loads(json.dumps(asdict(config)))
    if record.get("schema") != schema or found != wanted:
        differing = sorted(k for k in wanted if (found or {}).get(k) != wanted[k])
        raise TrainingError(
            f"{path} was made with another configuration (schema {record.get('schema')}, differing: {differing}); "
            "resume with the same options, or start again without --resume"
        )
    return tensors, record


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Turn what a missing part raises into `TrainingError`."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError) as error:
        raise TrainingError(f"{path} lacks a part ({error}); {AGAIN}") from error


def learner_tensors(networks: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights of networks, and what an Adam optimiser remembers."""
    tensors = {f"{name}.{key}": value for name, network in networks.items() for key, value in state_of(network)}
    for index, parameter in enumerate(parameters_of(optimizer)):
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{index}.{key}"] = value
    return tensors


def restore_learner(
    tensors: Mapping[str, Tensor], networks: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> None:
    """Inverse of `learner_tensors`. Raises `KeyError` or `RuntimeError` for what does not fit."""
    for name, network in networks.items():
        network.load_state_dict({key: tensors[f"{name}.{key}"] for key, _ in state_of(network)})
    for index, parameter in enumerate(parameters_of(optimizer)):
        if f"optimizer.{index}.step" in tensors:
            keys = ("step", "exp_avg", "exp_avg_sq")
            optimizer.state[parameter] = {key: tensors[f"optimizer.{index}.{key}"] for key in keys}


def state_of(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Names and values of a network's state."""
    return list(network.state_dict().items())


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Every parameter, in the order in which the optimiser was given them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
