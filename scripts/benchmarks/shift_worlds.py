"""The worlds of the shift table, and in what each goes beyond what a policy was trained in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from envs.conditions import MIXED_IMU_HZ, Conditions
from policies.analytic import TrainConfig
from policies.curriculum import Curriculum, training_conditions

USUAL: Final = "nothing shifted"
AIRFRAME: Final = TrainConfig().airframe  # that all policies are trained with
_POOR: Final = {"texture": (0.2, 0.4)}  # quality of the flow falls with it, and its noise grows as one over quality
_NOISY: Final = {"noise_scale": (1.0, 3.0)}  # of gyro, accelerometer, flow and range
_MIXED: Final = {"imu_hz": MIXED_IMU_HZ, "imu_mixed": True}
_UNLIKE: Final = {"airframe_spread": 0.4}
_WINDY: Final = {"wind_m_s": (2.0, 2.0)}
_LOSSY: Final = {"flow_dropout": (0.3, 0.3)}
_SLOW: Final = {"flow_hz": (10.0, 10.0)}


@dataclass(frozen=True, slots=True)
class World:
    """One column of conditions. changes: fields of `Conditions` that are not those of the usual evaluation."""

    group: str
    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    airframe: str = AIRFRAME

    @property
    def conditions(self) -> Conditions:
        """Of the flights."""
        return replace(Conditions(), **self.changes)

    def beyond(self, curriculum: Curriculum) -> list[str]:
        """Names of what the training under this curriculum never drew; empty for a world inside it."""
        trained = training_conditions(curriculum, 1.0)
        found = [] if self.airframe == AIRFRAME else ["airframe"]
        for name, value in self.changes.items():
            known = getattr(trained, name)
            if name == "imu_mixed":
                inside = curriculum.mixed_chance > 0.0
            elif name == "imu_hz" and self.conditions.imu_mixed:
                inside = True  # told by imu_mixed, whose intervals training draws from the same span
            elif isinstance(value, tuple):
                inside = known[0] <= value[0] and value[1] <= known[1]
            else:
                inside = value <= known
            if not inside:
                found.append(name)
        return found


def _imu(hz: float) -> World:
    return World("rates", f"IMU {hz:g} Hz", {"imu_hz": (hz, hz)})


WORLDS: Final = (
    World("none", USUAL),
    World("airframe", "drones within 40 %", _UNLIKE),
    World("airframe", "another airframe (racer)", airframe="racer"),
    World("wind", "wind 2 m/s", _WINDY),
    World("wind", "wind 3 m/s", {"wind_m_s": (3.0, 3.0)}),
    World("flow", "poor texture", _POOR),
    World("flow", "noise x2", _NOISY),
    World("flow", "30 % of flow lost", _LOSSY),
    World("flow", "60 % of flow lost", {"flow_dropout": (0.6, 0.6)}),
    *map(_imu, (25.0, 50.0, 200.0, 400.0)),
    World("rates", "IMU mixed", _MIXED),
    World("rates", "flow 10 Hz", _SLOW),
    World("all", "all together", {**_UNLIKE, **_WINDY, **_POOR, **_NOISY, **_LOSSY, **_MIXED, **_SLOW}),
)
GROUPS: Final = tuple(dict.fromkeys(world.group for world in WORLDS if world.group != "none"))
