"""What the compiled world is made of: the model that is compiled in, and how its arrays are read by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from envs.airframe import Airframe
from envs.compiled.equation import Arrays, Scalars
from envs.compiled.state import ACTUATORS, BODY, BODY_ROWS, CONSTANT_ROWS, CONSTANTS, PLACE_ROWS
from envs.compiled.tracer import flatten, unflatten
from envs.physics import Actuators, Body
from envs.sensors import DEFAULT_SENSORS, SensorModels
from envs.task import SETPOINT_AIM, Aim, Goal
from liquid_pilot.command import CommandLimits
from liquid_pilot.observation import SIGHT_DIM
from liquid_pilot.ops import Ops

MACHINE_ROWS: Final = BODY_ROWS + len(flatten(ACTUATORS))  # body and actuators
SEEN_ROWS: Final = 17  # what `observe` is given of IMU, flow and range, see `envs.compiled.sensing`
SEEN_PLACE_ROWS: Final = PLACE_ROWS + 2  # and, behind it, of a position sensor
NORMAL_ROWS: Final = {"DRIFT": 0, "GYRO": 9, "FLOW": 15, "RANGE": 17, "PLACE": 18}  # of standard normal numbers
UNIFORM_ROWS: Final = ("FLOW_LOSS", "FLOW_JITTER", "RANGE_LOSS", "RANGE_JITTER", "PLACE_LOSS", "PLACE_JITTER")


def noise_rows(locates: bool) -> tuple[int, int]:
    """How many standard normal and uniform numbers a control step takes; those of a position sensor come last."""
    return (NORMAL_ROWS["PLACE"] + PLACE_ROWS, len(UNIFORM_ROWS)) if locates else (NORMAL_ROWS["PLACE"], 4)


@dataclass(frozen=True, slots=True)
class EventCost:
    """Cost of one event: `function(ops, weights, body, goal, action, previous)`; so many weights, set at run time.

    Where a forest is crossed, it is given two arguments more: the obstacles nearby (see `envs.forest.Plot.nearest`),
    and the body once more, in which it has no slope.
    """

    weights: int
    function: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class WorldModel:
    """What is compiled in; all else is set at run time.

    sensors: at first; a rollout compiles those of its conditions where they differ. motors: the four numbers of a
    command are motor speeds, fractions of full, which pass the rate loop by.
    """

    airframe: Airframe
    limits: CommandLimits
    cost: EventCost
    sensors: SensorModels = DEFAULT_SENSORS
    motors: bool = False
    aim: Aim = SETPOINT_AIM


def seen_rows(model: WorldModel) -> int:
    """How many numbers `observe` is given of the sensors."""
    return SEEN_ROWS + SEEN_PLACE_ROWS * model.aim.locates + SIGHT_DIM * (model.aim.sees is not None)


def named(constants: Scalars) -> dict[str, Any]:
    """The drawn values of a flight by name: a scalar, or a tuple of them."""
    return {
        name: constants[CONSTANTS[name].start] if width == 1 else tuple(constants[CONSTANTS[name]])
        for name, width in CONSTANT_ROWS
    }


def machine_of(rows: Scalars) -> tuple[Body[Any], Actuators[Any]]:
    """Body and actuators."""
    return unflatten(BODY, rows[:BODY_ROWS]), unflatten(ACTUATORS, rows[BODY_ROWS:])


def biases_of(drift: Scalars) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Of gyro and accelerometer, as they have walked."""
    return tuple(drift[5:8]), tuple(drift[8:11])


def goal_of(model: WorldModel, ops: Ops, a: Arrays) -> Goal[Any]:
    """The true one."""
    return model.aim.goal(ops, a["course"], a["since"][0], machine_of(a["body"])[0])
