"""The workshop's world: PyBullet and its batched twin, sensors, tasks. Importing it registers the tasks.

Light on purpose: neither torch nor pybullet is imported before a world that needs it is made.
"""

from __future__ import annotations

import gymnasium

for _task in ("Hover", "Track", "Mission"):
    gymnasium.register(
        id=f"liquid_pilot/{_task}-v0",
        entry_point=f"envs.{_task.lower()}:{_task}Env",
        vector_entry_point=f"envs.{_task.lower()}:{_task}VectorEnv",
        order_enforce=False,  # the environment says itself what to do when it is stepped before a reset
    )

gymnasium.register(
    id="liquid_pilot/Avoid-v0",
    entry_point="envs.avoid_task:AvoidEnv",
    vector_entry_point="envs.avoid_task:AvoidVectorEnv",
    order_enforce=False,
)

gymnasium.register(
    id="liquid_pilot/HalfCheetah-v0", entry_point="envs.half_cheetah.env:HalfCheetahEnv", order_enforce=False
)
