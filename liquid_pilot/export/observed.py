"""What exported C takes and how it scales it: the observation as a struct, and the lines that make the network's input.

For a policy that locates, `liquid_pilot.observation` itself is run on numbers that write down what is done to them, so
that C and Python compute the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

from liquid_pilot.export.plain_c import comment_text, number
from liquid_pilot.observation import (
    INITIAL_AGE_S,
    INITIAL_RANGE_M,
    OBS_DIM,
    OBS_FIELDS,
    SIGHT_DIM,
    SIGHT_FIELDS,
    Held,
    assemble,
    assemble_position,
    located,
)
from liquid_pilot.ops import Ops

LOCATED: Final = (  # name, width, unit, meaning: what a policy that locates is given
    ("gyro_rad_s", 3, "rad/s", "body rates, newest"),
    ("accel_m_s2", 3, "m/s^2", "specific force, newest"),
    ("accel_fresh", 1, "1", "1 if the accelerometer is new since the previous step"),
    ("accel_age_s", 1, "s", "age of the accelerometer"),
    ("position_m", 3, "m", "measured place in the world, held"),
    ("velocity_m_s", 3, "m/s", "measured velocity in the world, held"),
    ("position_fresh", 1, "1", "1 if the place is new since the previous step"),
    ("position_age_s", 1, "s", f"age of the place; {INITIAL_AGE_S:g} before the first, and before the first heading"),
    ("target_m", 3, "m", "where to be in the world"),
    ("target_velocity_m_s", 3, "m/s", "how fast that place moves"),
    ("heading", 2, "1", "cosine and sine of the yaw, newest attitude carried on by the gyro; 0, 0 before the first"),
    ("setpoint_yaw_rate_rad_s", 1, "rad/s", "commanded yaw rate"),
    ("dt_s", 1, "s", "time since the previous step"),
)


@dataclass(slots=True)
class _Lines:
    """Lines of C, one for each operation; the same operation on the same numbers stands once."""

    names: dict[str, str] = field(default_factory=dict)  # expression -> variable

    def let(self, expression: str) -> _Term:
        name = self.names.setdefault(expression, f"v{len(self.names)}")
        return _Term(self, name)

    def select(self, a: Any, b: Any, x: Any, y: Any) -> _Term:
        return self.let(f"{_text(a)} > {_text(b)} ? {_text(x)} : {_text(y)}")

    def minimum(self, x: Any, y: Any) -> _Term:
        return self.let(f"{_text(x)} < {_text(y)} ? {_text(x)} : {_text(y)}")


@dataclass(frozen=True, slots=True)
class _Term:
    """A float of the C code."""

    lines: _Lines
    text: str

    def __add__(self, other: Any) -> _Term:
        return self.lines.let(f"{self.text} + {_text(other)}")

    def __sub__(self, other: Any) -> _Term:
        return self if other == 0.0 else self.lines.let(f"{self.text} - {_text(other)}")

    def __mul__(self, other: Any) -> _Term:
        return self if other == 1.0 else self.lines.let(f"{self.text} * {_text(other)}")

    def __truediv__(self, other: Any) -> _Term:
        return self.lines.let(f"{self.text} / {_text(other)}")


def _text(value: Any) -> str:
    return value.text if isinstance(value, _Term) else number(value)


def struct(*, locates: bool, sees: bool = False) -> Iterator[str]:
    """Fields of the observation's struct."""
    fields = LOCATED if locates else [(f.name, f.width, f.unit, f.meaning) for f in OBS_FIELDS]
    if sees:
        fields = [*fields, *((name, 1, "1", meaning) for name, meaning in SIGHT_FIELDS)]
    for name, width, unit, meaning in fields:
        size = "" if width == 1 else f"[{width}]"
        yield f"    float {name}{size}; /* {unit}: {comment_text(meaning.replace('/', 'over'))} */"


def told(*, locates: bool, sees: bool = False) -> Iterator[str]:
    """Lines of a comment about the observation."""
    if locates:
        yield "Body frame FLU (x forward, y left, z up), world ENU (z up), SI units. The observation, in this order, of"
        yield "which step makes the network's input; flow and range are to it sensors that never spoke:"
        for name, width, unit, meaning in LOCATED:
            yield f"  {name}[{width}] in {unit}"
            yield f"    {comment_text(meaning.replace('/', 'over'))}"
        return
    yield "Body frame FLU (x forward, y left, z up), SI units. The observation, in this order; number x enters the"
    yield "network as (x - offset) / scale, which step does:"
    for one in OBS_FIELDS:
        offset = ", ".join(f"{value:g}" for value in one.offset)
        yield f"  {one.name}[{one.width}] in {one.unit}, offset {offset}, scale {one.scale:g}"
        yield f"    {comment_text(one.meaning.replace('/', 'over'))}"
    for name, meaning in SIGHT_FIELDS if sees else ():
        yield f"  {name}[1] as it is"
        yield f"    {comment_text(meaning.replace('/', 'over'))}"


def scaling(*, locates: bool, features: int = 0) -> Iterator[str]:
    """Lines that fill `x` from `observation`: as `assemble`, and `assemble_position` where the policy locates.

    features: of the flow grid that it sees, from the state.
    """
    if locates:
        yield from _located_scaling()
        return
    place = 0
    for one in OBS_FIELDS:
        for k, offset in enumerate(one.offset):
            read = f"observation->{one.name}" + ("" if one.width == 1 else f"[{k}]")
            entered = f"({read} - {number(offset)})" if offset else read
            yield f"    x[{place}] = {entered} * {number(1.0 / one.scale)};"
            place += 1
    if features:
        yield from (f"    x[{OBS_DIM + k}] = observation->{name};" for k, (name, _) in enumerate(SIGHT_FIELDS))
        yield f"    for (i = 0; i < {features}; ++i)"
        yield f"        x[{OBS_DIM + SIGHT_DIM} + i] = state->features[i];"


def _located_scaling() -> Iterator[str]:
    lines = _Lines()
    given: dict[str, Any] = {}
    for name, width, _, _ in LOCATED:
        read = [f"observation->{name}" + ("" if width == 1 else f"[{k}]") for k in range(width)]
        terms = tuple(_Term(lines, text) for text in read)
        given[name] = terms[0] if width == 1 else terms
    (c, s), (vx, vy, _) = given["heading"], given["target_velocity_m_s"]
    held: Held[Any] = Held(
        dt_s=given["dt_s"],
        gyro_rad_s=given["gyro_rad_s"],
        accel_m_s2=given["accel_m_s2"],
        accel_fresh=given["accel_fresh"],
        accel_age_s=given["accel_age_s"],
        flow_rate_rad_s=(0.0, 0.0),
        flow_quality=0.0,
        flow_fresh=0.0,
        flow_age_s=INITIAL_AGE_S,
        range_m=INITIAL_RANGE_M,
        range_fresh=0.0,
        range_age_s=INITIAL_AGE_S,
        setpoint_velocity_m_s=(c * vx + s * vy, c * vy - s * vx),
        setpoint_height_m=given["target_m"][2],
        setpoint_yaw_rate_rad_s=given["setpoint_yaw_rate_rad_s"],
    )
    found = located(
        cast("Ops", lines),
        given["position_m"],
        given["velocity_m_s"],
        given["position_age_s"],
        given["position_fresh"],
        given["target_m"],
        given["target_velocity_m_s"],
        given["heading"],
    )
    x = [_text(value) for value in assemble(held) + assemble_position(found)]
    yield from (f"    const float {name} = {expression};" for expression, name in lines.names.items())
    yield from (f"    x[{place}] = {text};" for place, text in enumerate(x))
