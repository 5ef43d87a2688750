"""Liquid Pilot onboard: flies a quadrotor with a very small liquid neural network.

>>> from liquid_pilot import Controller, Imu, Setpoint
>>> controller = Controller.load("hover")  # a shipped policy, or the path of a bundle
>>> controller.feed(Setpoint(t_s=0.0, velocity_m_s=(0, 0), height_m=1.0, yaw_rate_rad_s=0.0))
>>> command = controller.feed(Imu(t_s=0.01, gyro_rad_s=(0, 0, 0), accel_m_s2=(0, 0, 9.81)))

Frames: world ENU, body FLU. SI units. Needs numpy and safetensors only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from liquid_pilot.errors import LiquidPilotError
from liquid_pilot.messages import Attitude, Command, Flow, FlowGrid, Imu, Position, PositionSetpoint, Range, Setpoint

if TYPE_CHECKING:
    from liquid_pilot.bundle import load_bundle
    from liquid_pilot.controller import Controller

__version__ = "0.1.0"

__all__ = [
    "Attitude",
    "Command",
    "Controller",
    "Flow",
    "FlowGrid",
    "Imu",
    "LiquidPilotError",
    "Position",
    "PositionSetpoint",
    "Range",
    "Setpoint",
    "__version__",
    "load_bundle",
]

# Imported on first use: a process that only exchanges messages does not pay for numpy.
_LAZY = {"Controller": "liquid_pilot.controller", "load_bundle": "liquid_pilot.bundle"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
