"""The task Avoid as an environment: see `envs.avoid`. In PyBullet what stands in the forest are bodies.

A flight is done when 30 m of the course lie behind it, and lost when it touches something or leaves the bounds. A drone
that finds no way through and waits has not crossed, which is counted apart from having touched something.
"""

from __future__ import annotations

from typing import Any, Final

from envs.avoid import CROSSING_M, avoid_goal, crossing, crossing_s, facing_course, plot_of, sighted
from envs.batched_env import BatchedQuadEnv
from envs.conditions import Conditions
from envs.flow_grid import Sight
from envs.obstacle_kinds import TREES
from envs.quad_env import QuadEnv
from envs.shapes import FAR_M
from envs.task import Memory, Moment, Task, any_of, crashed, exceeds, following_reward_per_s, with_own
from liquid_pilot.ops import Ops

AVOID_M_S: Final = 3.0
AVOID_DENSITY_PER_M2: Final = 0.1
NEARNESS_M: Final = 0.3  # free space below which nearness costs reward, up to 1 a second


def _reward_per_s(ops: Ops, moment: Moment[Any]) -> Any:
    near = ops.clip(1.0 - moment.free_m * (1.0 / NEARNESS_M), 0.0, 1.0)
    return following_reward_per_s(ops, moment.body, moment.goal.point) - near


def _judge(ops: Ops, memory: Memory, moment: Moment[Any]) -> tuple[Memory, Any, Any]:
    """What is remembered: least free space so far, and when 30 m were crossed, 0 before."""
    closest = ops.minimum(memory[0], moment.free_m)
    crossed = 1.0 - exceeds(ops, CROSSING_M, moment.body.position_m[0])
    lost = any_of(ops, crashed(ops, moment), 1.0 - exceeds(ops, closest, 0.0))
    return (closest, crossed * ops.maximum(moment.since_release_s, 0.0)), lost, crossed


def avoid_task(
    speed_m_s: float = AVOID_M_S,
    density_per_m2: float = AVOID_DENSITY_PER_M2,
    walled: bool = False,
    camera: bool = False,
    obstacles: str = TREES,
    size: float = 1.0,
) -> Task:
    """A crossing at a speed, in forests of so many obstacles per square metre. walled: there is no way through.

    obstacles: what they are, see `envs.obstacle_kinds.OBSTACLES`. size: factor on how thick they are. camera: flow
    grids come of a camera's pictures, by OpenCV. Raises `ConfigError`.
    """
    course = crossing(speed_m_s, density_per_m2, walled, obstacles, size=size)
    return Task(
        conditions=sighted(Conditions()),
        duration_s=crossing_s(speed_m_s),
        launch=facing_course,
        course=course,
        goal=avoid_goal,
        reward_per_s=_reward_per_s,
        begin=(FAR_M, 0.0),
        judge=_judge,
        succeeded=lambda ops, memory: 0.0,  # crossing in time ends the flight before
        describe=lambda ops, memory, moment: {"closest_m": memory[0], "crossed_s": memory[1]},
        unmet="not crossed",
        sees=Sight(plot=plot_of(obstacles)),
        camera=camera,
        crosses_m=CROSSING_M,
    )


class AvoidEnv(QuadEnv):
    """Terminated: touched or out of bounds, or crossed, which is success. Options: those of `avoid_task` and `QuadEnv`.

    `info` adds closest_m, the least free space so far, and crossed_s, 0 until the forest is crossed.
    """

    def __init__(self, **options: Any) -> None:
        task, others = with_own(avoid_task, options)
        super().__init__(task, **others)


class AvoidVectorEnv(BatchedQuadEnv):
    """Many drones at once, each in a forest of its own. Options: those of `avoid_task` and `BatchedQuadEnv`."""

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        task, others = with_own(avoid_task, options)
        super().__init__(task, num_envs, **others)
