"""A small policy and streams of messages for the tests of the onboard code."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from liquid_pilot.cells import CellSpec, weight_shapes
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits
from liquid_pilot.controller import Controller
from liquid_pilot.messages import Command, Flow, Imu, Message, Range, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2, OBS_DIM
from liquid_pilot.supervisor import State

if TYPE_CHECKING:
    from liquid_pilot.bundle import Bundle

SETPOINT = Setpoint(0.0, (0.0, 0.0), 1.0, 0.0)
STILL = (0.0, 0.0, 0.0)
LEVEL = (0.0, 0.0, GRAVITY_M_S2)
METADATA: dict[str, Any] = {
    "sensor_limits_s": {"imu": 0.1, "flow": 2.0, "range": 2.0},
    "setpoint_limits": {"speed_m_s": 1.0, "height_m": [0.3, 2.5], "yaw_rate_rad_s": 1.0},
}


def small_bundle(units: int = 19, seed: int = 0, limits: CommandLimits = DEFAULT_LIMITS) -> Bundle:
    """A policy with random weights, as a controller needs it."""
    rng = np.random.default_rng([seed])
    spec = CellSpec("decay", OBS_DIM, units, 4, 1, 32, 0.015)
    weights = {
        name: (rng.normal(size=shape) / math.sqrt(shape[-1])).astype(np.float32)
        for name, shape in weight_shapes(spec).items()
    }
    return cast(
        "Bundle",
        SimpleNamespace(name="random", spec=spec, weights=weights, limits=limits, metadata=METADATA),
    )


def stream(
    duration_s: float, imu_hz: float = 100.0, flow_hz: float = 40.0, range_hz: float = 30.0, start_s: float = 0.0
) -> list[Message]:
    """Messages of a drone that stands still, in order of time; the set-point comes first."""
    messages: list[Message] = [
        Imu(start_s + i / imu_hz, (0.01, -0.02, 0.005), LEVEL) for i in range(round(duration_s * imu_hz))
    ]
    if flow_hz:
        dt = 1.0 / flow_hz
        messages += [Flow(start_s + (i + 0.31) * dt, dt, (0.001, 0.002), 0.8) for i in range(int(duration_s * flow_hz))]
    if range_hz:
        messages += [Range(start_s + (i + 0.47) / range_hz, 1.0) for i in range(int(duration_s * range_hz))]
    messages.sort(key=lambda message: message.t_s)
    return [Setpoint(start_s, (0.0, 0.0), 1.0, 0.0), *messages]


def fly(controller: Controller, messages: list[Message]) -> list[Command]:
    """All commands that the messages bring forth."""
    return [command for command in map(controller.feed, messages) if command is not None]


NARROW = CommandLimits(thrust_m_s2=(0.0, 14.0), rates_rad_s=(3.0, 2.0, 1.0))
BUNDLE = small_bundle(limits=NARROW)


def state_of(controller: Controller) -> State:
    """A call, because type checkers take a property for a constant."""
    return controller.state


def started(duration_s: float = 1.0, **options: Any) -> Controller:
    """A controller that flies; its newest IMU is 0.01 s before `duration_s`."""
    controller = Controller(BUNDLE, **options)
    assert len(fly(controller, stream(duration_s))) == round(duration_s * 100)
    assert state_of(controller) is State.ACTIVE
    return controller


def after(start_s: float, duration_s: float, **rates: float) -> list[Message]:
    """A stream without a set-point."""
    return stream(duration_s, start_s=start_s, **rates)[1:]


def changes(controller: Controller) -> list[tuple[float, str]]:
    """Times and texts of all changes of state."""
    return [(round(e.t_s, 3), e.text) for e in controller.events if e.kind == "state"]
