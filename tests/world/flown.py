"""Flies an environment with an expert that is told the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.physics import Body
from envs.quad_env import QuadEnv
from liquid_pilot.command import DEFAULT_LIMITS, to_action
from liquid_pilot.messages import Setpoint
from policies.experts.geometric import GeometricController

Override = Callable[[dict[str, Any]], npt.NDArray[np.float32] | None]
CUT = np.array([-1.0, 0.0, 0.0, 0.0], dtype=np.float32)


def motion(info: dict[str, Any]) -> Body[float]:
    return Body(info["position_m"], info["velocity_m_s"], info["attitude_wxyz"], info["rates_rad_s"])


def flown(
    env: QuadEnv, seed: int, override: Override = lambda info: None, setpoint: Setpoint | None = None
) -> list[tuple[float, bool, bool, dict[str, Any]]]:
    """Every step of an episode of actions "ctbr": (reward, terminated, truncated, info)."""
    _, info = env.reset(seed=seed)
    expert = GeometricController()
    rows: list[tuple[float, bool, bool, dict[str, Any]]] = []
    while not (rows and (rows[-1][1] or rows[-1][2])):
        assert env._launch is not None
        action = override(info)
        if action is None:
            command = expert.command(info["t_s"], motion(info), setpoint or env._launch.setpoint)
            action = np.array(to_action(DEFAULT_LIMITS, command.thrust_m_s2, command.rates_rad_s), dtype=np.float32)
            if not info["released"]:
                expert.reset()
        _, reward, terminated, truncated, info = env.step(action)
        rows.append((float(reward), terminated, truncated, info))
    return rows
