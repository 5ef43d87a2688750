"""What the batched world remembers of every drone: tensors with the lanes last, (B,) or (k, B)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from envs.fault_effects import ImuTimes
from envs.flights import Flights
from envs.physics import Actuators, Body
from envs.wind import GustState
from liquid_pilot.ops import Vec2, Vec3

Tree = TypeVar("Tree")


@dataclass(frozen=True, slots=True)
class Channel:
    """A slow sensor: its clock, the sample under way and the sample held. Times are float64 seconds."""

    next_s: Tensor  # (B,) end of the current window
    window_start_s: Tensor  # (B,)
    pending: Tensor  # (k, B) sample on its way to the controller
    pending_stamp_s: Tensor  # (B,)
    deliver_s: Tensor  # (B,) inf = nothing under way
    held: Tensor  # (k, B)
    held_stamp_s: Tensor  # (B,)
    fresh: Tensor  # (B,) bool: delivered since the previous IMU event


@dataclass(frozen=True, slots=True)
class SensorState:
    """Everything between the true motion and the observation."""

    gyro_rad_s: Vec3[Tensor]
    accel_m_s2: Vec3[Tensor]
    accel_stamp_s: Tensor
    accel_fresh: Tensor  # bool
    gyro_sum: Vec3[Tensor]  # over IMU samples in the current flow window
    gyro_count: Tensor
    flow_integral_rad: Vec2[Tensor]
    flow_reading: Tensor  # (3, B) newest that was sent: rate x, y before compensation, quality
    flow: Channel  # held: compensated rate x, y, quality
    range: Channel  # held: distance
    place: Channel  # held: position and velocity; without a position sensor it never speaks


@dataclass(frozen=True, slots=True)
class BatchedState:
    """One moment of B drones, at an IMU event."""

    constants: dict[str, Tensor]  # the drawn flights, by field of `Flights`
    course: Tensor  # (k, B) what each flight is to fly, see `envs.task.Aim`
    t_s: Tensor  # (B,) float64
    dt_s: Tensor  # (B,) float64, interval that ended here
    release_s: Tensor  # (B,) float64, inf while held
    body: Body[Tensor]
    actuators: Actuators[Tensor]
    acceleration_m_s2: Vec3[Tensor]
    gusts: GustState[Tensor]
    gyro_bias_rad_s: Vec3[Tensor]
    accel_bias_m_s2: Vec3[Tensor]
    commands: Tensor  # (4, K, B) thrust and rates, newest last
    command_times_s: Tensor  # (K, B) float64
    sensors: SensorState
    imu: ImuTimes[Tensor]  # as the onboard memory knows them, each (B,) float64


def map_tensors(function: Callable[..., Tensor], first: Tree, *others: Tree) -> Tree:
    """The same structure with `function` applied to every tensor (of all trees side by side)."""
    if isinstance(first, Tensor):
        return cast(Tree, function(first, *others))
    parts = [_children(tree) for tree in (first, *others)]
    mapped = {name: map_tensors(function, *(part[name] for part in parts)) for name in parts[0]}
    if isinstance(first, tuple):
        return cast(Tree, tuple(mapped.values()))
    return cast(Tree, mapped) if isinstance(first, dict) else type(first)(**mapped)


def _children(tree: object) -> dict[str, Any]:
    """The parts of a tuple, dict or dataclass by name."""
    if isinstance(tree, tuple):
        return {str(i): part for i, part in enumerate(tree)}
    if isinstance(tree, dict):
        return dict(tree)
    if is_dataclass(tree):
        return {f.name: getattr(tree, f.name) for f in fields(tree)}
    raise TypeError(f"a {type(tree).__name__} has no place in a tree of tensors")


def detach(tree: Tree) -> Tree:
    """The same values without their history."""
    return map_tensors(lambda tensor: tensor.detach(), tree)


def choose(mask: Tensor, chosen: Tree, otherwise: Tree) -> Tree:
    """Lane by lane: `chosen` where mask (B,) is true, `otherwise` elsewhere."""
    return map_tensors(lambda a, b: torch.where(mask, a, b), chosen, otherwise)


def lane_constants(flights: Flights, dtype: torch.dtype) -> dict[str, Tensor]:
    """The drawn flights as tensors, (B,) or (k, B); delays, phases and outages keep float64 as times do."""
    times = ("latency", "outage", "phase")
    constants = {}
    for field in fields(flights):
        kind = torch.float64 if any(word in field.name for word in times) else dtype
        constants[field.name] = torch.as_tensor(getattr(flights, field.name).T.copy(), dtype=kind)
    return constants


def vec3(tensor: Tensor) -> Vec3[Tensor]:
    """Rows of a (3, B) tensor."""
    return tensor[0], tensor[1], tensor[2]


def to_dict(tree: object, prefix: str) -> dict[str, Tensor]:
    """Every tensor of a tree by its dotted path, for files."""
    if isinstance(tree, Tensor):
        return {prefix: tree.contiguous()}
    return {
        path: value
        for name, part in _children(tree).items()
        for path, value in to_dict(part, f"{prefix}.{name}").items()
    }


def from_dict(template: Tree, tensors: dict[str, Tensor], prefix: str) -> Tree:
    """A tree shaped like `template` with the tensors that `to_dict` named. Raises `KeyError`."""
    paths = iter(to_dict(template, prefix))
    return map_tensors(lambda _: tensors[next(paths)], template)
