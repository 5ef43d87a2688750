"""What the network sees, declared once.

`OBS_FIELDS` is the only place where the layout is written: widths, slices, gymnasium space, bundle
manifest, documentation and the assembly itself are derived from it. `assemble` is called by the
trainer, both simulation engines and the onboard controller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic

from liquid_pilot.ops import Ops, S, Vec2, Vec3

GRAVITY_M_S2: Final = 9.81
INITIAL_RANGE_M: Final = 1.0  # held before the first return
INITIAL_AGE_S: Final = 10.0  # age of a sensor that has not spoken yet, and the largest age
DT_SCALE_S: Final = 0.02  # the elapsed time, last in every layout, enters as dt_s / DT_SCALE_S
CARRY_S: Final = 0.5  # a measured place is carried on by its velocity for its age, at most so long
AGE_SCALE_S: Final = 0.1  # an age enters as age / (age + AGE_SCALE_S), which has no ceiling to hit


@dataclass(frozen=True, slots=True)
class Held(Generic[S]):
    """The newest accepted value of every sensor at one IMU event, with freshness (0 or 1) and age.

    `flow_rate_rad_s` is rotation-compensated: (v_x/d, v_y/d). `dt_s` is the time since the
    network's previous step. Fresh = arrived since the previous step.
    """

    dt_s: S
    gyro_rad_s: Vec3[S]
    accel_m_s2: Vec3[S]
    accel_fresh: S
    accel_age_s: S
    flow_rate_rad_s: Vec2[S]
    flow_quality: S
    flow_fresh: S
    flow_age_s: S
    range_m: S
    range_fresh: S
    range_age_s: S
    setpoint_velocity_m_s: Vec2[S]
    setpoint_height_m: S
    setpoint_yaw_rate_rad_s: S


@dataclass(frozen=True, slots=True)
class ObsField:
    """One named part of the observation: `(read(held) - offset) / scale`, component by component."""

    name: str
    width: int
    unit: str
    offset: tuple[float, ...]
    scale: float
    meaning: str
    read: Callable[[Held[Any]], tuple[Any, ...]]


def _squashed(age_s: Any) -> Any:
    return age_s / (age_s + AGE_SCALE_S)


OBS_FIELDS: Final[tuple[ObsField, ...]] = (
    ObsField("gyro_rad_s", 3, "rad/s", (0.0,) * 3, 3.0, "body rates, newest", lambda h: h.gyro_rad_s),
    ObsField("accel_m_s2", 3, "m/s^2", (0.0, 0.0, GRAVITY_M_S2), 5.0, "specific force, newest", lambda h: h.accel_m_s2),
    ObsField(
        "flow_rate_rad_s", 2, "rad/s", (0.0,) * 2, 1.0, "rotation-compensated flow, held", lambda h: h.flow_rate_rad_s
    ),
    ObsField("flow_quality", 1, "1", (0.0,), 1.0, "quality of the held flow, 0..1", lambda h: (h.flow_quality,)),
    ObsField("range_m", 1, "m", (1.0,), 1.0, "distance along body -z, held", lambda h: (h.range_m,)),
    ObsField(
        "height_error_m",
        1,
        "m",
        (0.0,),
        0.5,
        "commanded height minus held range",
        lambda h: (h.setpoint_height_m - h.range_m,),
    ),
    ObsField(
        "setpoint_velocity_m_s",
        2,
        "m/s",
        (0.0,) * 2,
        1.0,
        "commanded velocity, heading frame",
        lambda h: h.setpoint_velocity_m_s,
    ),
    ObsField(
        "setpoint_yaw_rate_rad_s",
        1,
        "rad/s",
        (0.0,),
        1.0,
        "commanded yaw rate",
        lambda h: (h.setpoint_yaw_rate_rad_s,),
    ),
    ObsField(
        "fresh",
        3,
        "1",
        (0.0,) * 3,
        1.0,
        "accelerometer, flow, range: 1 if new since the previous step",
        lambda h: (h.accel_fresh, h.flow_fresh, h.range_fresh),
    ),
    ObsField(
        "age",
        3,
        "1",
        (0.0,) * 3,
        1.0,
        f"accelerometer, flow, range: age / (age + {AGE_SCALE_S} s)",
        lambda h: (_squashed(h.accel_age_s), _squashed(h.flow_age_s), _squashed(h.range_age_s)),
    ),
    ObsField("dt_s", 1, "s", (0.0,), DT_SCALE_S, "time since the previous step", lambda h: (h.dt_s,)),
)


def _slices() -> dict[str, slice]:
    slices, start = {}, 0
    for field in OBS_FIELDS:
        slices[field.name] = slice(start, start + field.width)
        start += field.width
    return slices


OBS_SLICES: Final[dict[str, slice]] = _slices()
OBS_DIM: Final[int] = sum(field.width for field in OBS_FIELDS)


def assemble(held: Held[S]) -> tuple[S, ...]:
    """The network's input: OBS_DIM scaled scalars in the order of `OBS_FIELDS`."""
    return tuple(
        (value - offset) * (1.0 / field.scale)
        for field in OBS_FIELDS
        for value, offset in zip(field.read(held), field.offset, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Located(Generic[S]):
    """What a position sensor says, seen from a target: both vectors in the heading frame, z up."""

    target_offset_m: Vec3[S]  # target less measured place
    velocity_error_m_s: Vec3[S]  # target's velocity less the measured one
    fresh: S
    age_s: S


@dataclass(frozen=True, slots=True)
class LocatedField:
    """One named part of what follows the observation where there is a position sensor: `read(located) / scale`."""

    name: str
    width: int
    unit: str
    scale: float
    meaning: str
    read: Callable[[Located[Any]], tuple[Any, ...]]


POSITION_FIELDS: Final[tuple[LocatedField, ...]] = (
    LocatedField("target_offset_m", 3, "m", 1.0, "target less measured place", lambda p: p.target_offset_m),
    LocatedField(
        "velocity_error_m_s", 3, "m/s", 1.0, "target's velocity less the measured one", lambda p: p.velocity_error_m_s
    ),
    LocatedField("position_fresh", 1, "1", 1.0, "1 if new since the previous step", lambda p: (p.fresh,)),
    LocatedField("position_age", 1, "1", 1.0, f"age / (age + {AGE_SCALE_S} s)", lambda p: (_squashed(p.age_s),)),
)
POSITION_DIM: Final[int] = sum(field.width for field in POSITION_FIELDS)


def assemble_position(located: Located[S]) -> tuple[S, ...]:
    """POSITION_DIM scaled scalars in the order of `POSITION_FIELDS`."""
    return tuple(value * (1.0 / field.scale) for field in POSITION_FIELDS for value in field.read(located))


def located(
    ops: Ops,
    place_m: Vec3[S],
    velocity_m_s: Vec3[S],
    age_s: S,
    fresh: S,
    target_m: Vec3[S],
    target_velocity_m_s: Vec3[S],
    heading: Vec2[S],
) -> Located[S]:
    """A position sample seen from a target. heading: (cos, sin) of the yaw; all vectors are of the world.

    The measured place is carried on by the measured velocity for the sample's age, at most `CARRY_S`. At the age
    `INITIAL_AGE_S` nothing is known: both vectors are zero, and so is `fresh`.
    """
    known: Any = ops.select(INITIAL_AGE_S, age_s, 1.0, 0.0)
    carried_s: Any = ops.minimum(age_s, CARRY_S)
    c, s = known * heading[0], known * heading[1]
    dx, dy, dz = (a - (b + v * carried_s) for a, b, v in zip(target_m, place_m, velocity_m_s, strict=True))
    ex, ey, ez = (a - b for a, b in zip(target_velocity_m_s, velocity_m_s, strict=True))
    return Located(
        (c * dx + s * dy, c * dy - s * dx, known * dz),
        (c * ex + s * ey, c * ey - s * ex, known * ez),
        known * fresh,
        age_s,
    )


SIGHT_FIELDS: Final[tuple[tuple[str, str], ...]] = (
    ("grid_fresh", "1 if a flow grid is new since the previous step"),
    ("grid_age", f"of its features: age / (age + {AGE_SCALE_S} s)"),
)
SIGHT_DIM: Final[int] = len(SIGHT_FIELDS)
FEATURES_FIELD: Final = "grid_features"  # what follows them: the encoder's, of the newest grid
FEATURES_MEANING: Final = "of the newest flow grid, by the policy's encoder; 0 before the first"


def assemble_sight(fresh: S, age_s: S) -> tuple[S, ...]:
    """SIGHT_DIM scaled scalars in the order of `SIGHT_FIELDS`; the features of the newest flow grid follow them."""
    return fresh, _squashed(age_s)


def layout_manifest(*, locates: bool = False, sees: bool = False, features: int = 0) -> list[dict[str, Any]]:
    """The layout as plain data, for bundles and documents; a bundle must match it exactly.

    locates: of a policy that has a position sensor: `POSITION_FIELDS` follow. sees: of one that has a flow grid, whose
    encoder makes so many features: `SIGHT_FIELDS` and they follow.
    """
    parts = [(f.name, f.width, f.unit, f.offset, f.scale) for f in OBS_FIELDS]
    if locates:
        parts += [(f.name, f.width, f.unit, (0.0,) * f.width, f.scale) for f in POSITION_FIELDS]
    if sees:
        parts += [(name, 1, "1", (0.0,), 1.0) for name, _ in SIGHT_FIELDS]
        parts += [(FEATURES_FIELD, features, "1", (0.0,) * features, 1.0)]
    return [
        {"name": name, "width": width, "unit": unit, "offset": list(offset), "scale": scale}
        for name, width, unit, offset, scale in parts
    ]


def has_position(manifest: Any) -> bool:
    """Whether a layout, as a bundle's metadata holds it, goes on to `POSITION_FIELDS`; the rest is not looked at."""
    return _goes_on_to(manifest, POSITION_FIELDS[0].name)


def has_sight(manifest: Any) -> bool:
    """Whether it goes on to `SIGHT_FIELDS`."""
    return _goes_on_to(manifest, SIGHT_FIELDS[0][0])


def _goes_on_to(manifest: Any, name: str) -> bool:
    place = len(OBS_FIELDS)
    told = manifest[place] if isinstance(manifest, list) and len(manifest) > place else None
    return isinstance(told, dict) and told.get("name") == name
