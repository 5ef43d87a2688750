"""What a policy of HalfCheetah sees, declared once: fields of the simulator's observation, then three of time.

Sizes, index sets, the policy file's manifest and the assembly itself are derived from the tables here. "positions" and
"velocities" are the partial observations of Ni, Eysenbach and Salakhutdinov, "Recurrent model-free RL can be a strong
baseline for many POMDPs" (2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.observation import DT_SCALE_S

TASK: Final = "half-cheetah"
ACTIONS: Final = 6
MOST_FRAMES: Final = 100  # of physics, between two calls or that an observation is late
AGE_SCALE_S: Final = 0.05  # an age enters as age / (age + AGE_SCALE_S)
OBSERVE: Final = ("full", "positions", "velocities")


@dataclass(frozen=True, slots=True)
class BodyField:
    """A part of the simulator's observation: where it is there, and what it is divided by for the policy."""

    name: str
    index: tuple[int, ...]
    unit: str
    scale: float
    moves: bool  # a velocity
    meaning: str


# Scales are about what each number varies by in a run. PyBullet's come scaled by the environment already (speeds times
# 0.3, joints to -1..1 between their limits, joint speeds times 0.1).
_PYBULLET: Final = (
    BodyField("height", (0,), "m", 0.1, False, "torso above where it began"),
    BodyField("heading", (1, 2), "1", 1.0, False, "sine and cosine of the angle to the target"),
    BodyField("velocity", (3, 4, 5), "m/s * 0.3", 0.3, True, "of the torso, in the heading frame"),
    BodyField("roll_pitch", (6, 7), "rad", 0.25, False, "of the torso"),
    BodyField("joint_angle", (8, 10, 12, 14, 16, 18), "1", 0.5, False, "-1 to 1 between the joint's limits"),
    BodyField("joint_speed", (9, 11, 13, 15, 17, 19), "rad/s * 0.1", 0.5, True, "of each joint"),
    BodyField("contact", (20, 21, 22, 23, 24, 25), "1", 0.5, False, "1 where a foot, shin or thigh touched a call ago"),
)
_MUJOCO: Final = (
    BodyField("height", (0,), "m", 0.1, False, "torso above where it began"),
    BodyField("pitch", (1,), "rad", 0.25, False, "of the torso"),
    BodyField("joint_angle", (2, 3, 4, 5, 6, 7), "rad", 0.5, False, "of each joint"),
    BodyField("velocity", (8, 9), "m/s", 4.0, True, "of the torso, along x and z"),
    BodyField("pitch_rate", (10,), "rad/s", 4.0, True, "of the torso"),
    BodyField("joint_speed", (11, 12, 13, 14, 15, 16), "rad/s", 8.0, True, "of each joint"),
)
BODY_FIELDS: Final = {"pybullet": _PYBULLET, "mujoco": _MUJOCO}
TIME_FIELDS: Final = (  # name, unit, scale, meaning
    ("fresh", "1", 1.0, "1 where the body's numbers are new since the policy's previous step"),
    ("age", "1", 1.0, f"of the body's numbers: age / (age + {AGE_SCALE_S} s)"),
    ("dt_s", "s", DT_SCALE_S, "time since the policy's previous step"),
)


def body_fields(simulator: str, observe: str) -> tuple[BodyField, ...]:
    """The fields that a policy sees. Raises `ConfigError` for names that do not exist."""
    if simulator not in BODY_FIELDS:
        raise ConfigError(unknown_name("simulator", simulator, list(BODY_FIELDS)))
    if observe not in OBSERVE:
        raise ConfigError(unknown_name("observation", observe, list(OBSERVE)))
    return tuple(f for f in BODY_FIELDS[simulator] if observe == "full" or f.moves == (observe == "velocities"))


@dataclass(frozen=True, slots=True)
class CheetahLayout:
    """The layout of one simulator and choice of fields. Raises `ConfigError` for names that do not exist."""

    simulator: str
    observe: str = "full"

    def __post_init__(self) -> None:
        body_fields(self.simulator, self.observe)

    @property
    def index(self) -> tuple[int, ...]:
        """Which of the simulator's numbers, in the policy's order."""
        return tuple(i for field in body_fields(self.simulator, self.observe) for i in field.index)

    @property
    def scale(self) -> npt.NDArray[np.float64]:
        """What each of them is divided by."""
        fields = body_fields(self.simulator, self.observe)
        return np.array([field.scale for field in fields for _ in field.index])

    @property
    def width(self) -> int:
        """Numbers that the policy sees."""
        return len(self.index) + len(TIME_FIELDS)

    def body(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The body's part (..., width - 3) of the simulator's observation (..., all)."""
        return (raw[..., list(self.index)] / self.scale).astype(np.float32)

    def assemble(
        self, body: npt.NDArray[np.float32], fresh: bool, age_s: float, dt_s: float
    ) -> npt.NDArray[np.float32]:
        """The policy's input, (width,)."""
        times = (float(fresh), age_s / (age_s + AGE_SCALE_S), dt_s / DT_SCALE_S)
        return np.concatenate([body, np.array(times, np.float32)])

    def manifest(self) -> list[dict[str, Any]]:
        """The layout as plain data, for policy files; one must match it exactly."""
        fields = body_fields(self.simulator, self.observe)
        told = [
            {"name": f.name, "width": len(f.index), "unit": f.unit, "scale": f.scale, "index": list(f.index)}
            for f in fields
        ]
        return told + [{"name": n, "width": 1, "unit": u, "scale": s, "index": []} for n, u, s, _ in TIME_FIELDS]

    def meanings(self) -> list[str]:
        """What each entry of the manifest means, in words."""
        fields = body_fields(self.simulator, self.observe)
        return [field.meaning for field in fields] + [meaning for *_, meaning in TIME_FIELDS]
