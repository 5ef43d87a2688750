"""Objects of a wrong kind are refused by name, not by a traceback from deep inside."""

from __future__ import annotations

from typing import Any

import pytest

from envs.hover import HoverEnv
from liquid_pilot import Controller, Imu
from liquid_pilot.errors import ConfigError, MessageError
from liquid_pilot.supervisor import SupervisorLimits


@pytest.mark.parametrize(
    "wrong", [{"setpoint_timeout_s": "x"}, {"setpoint_timeout_s": -1.0}, {"limits": 3}, {"limits": 0}]
)
def test_controller_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="give"):
        Controller.load("hover", **wrong)


@pytest.mark.parametrize("wrong", ["x", None, (1.0,)])
def test_time_of_a_tick(wrong: Any) -> None:
    controller = Controller.load("hover")
    controller.feed(Imu(t_s=0.0, gyro_rad_s=(0, 0, 0), accel_m_s2=(0, 0, 9.81)))
    with pytest.raises(MessageError, match="seconds"):
        controller.tick(wrong)


@pytest.mark.parametrize("wrong", ["x", None, True, -0.1, float("nan")])
def test_supervisor_limits(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="imu_s"):
        SupervisorLimits(imu_s=wrong)


@pytest.mark.parametrize("wrong", [{"duration_s": "x"}, {"limits": 3}, {"conditions": {}}])
def test_environment_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="give"):
        HoverEnv(**wrong)
