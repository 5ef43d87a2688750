"""The workshop's world: PyBullet and its batched twin, sensors, tasks. Importing it registers the tasks.

Light on purpose: neither torch nor pybullet is imported before a world that needs it is made.
"""

from __future__ import annotations

import gymnasium

gymnasium.register(
    id="liquid_pilot/Hover-v0",
    entry_point="envs.hover:HoverEnv",
    order_enforce=False,  # the environment says itself what to do when it is stepped before a reset
)
