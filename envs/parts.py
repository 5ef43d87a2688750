"""Sensor parts by name: datasheet figures from TOML files, and what they make of `Conditions`.

    conditions_with(Conditions(), imu="bmi088", flow="paw3902", range="vl53l1x")

An IMU on a drone reads its part's noise and the airframe's vibration, which is the larger one: the vibration is that
of the default `ImuModel`. Rounding to the resolution enters as noise of a twelfth of its square (Bennett, "Spectra of
quantized signals", 1948). Left to the world as it is: texture and quality, light, fields of view, temperature other
than a walk of the gyro bias. A position part flies in PyBullet; its slowest rate is taken where none was asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from envs.conditions import Conditions, Span
from envs.sensors import DEFAULT_SENSORS, PositionModel
from envs.toml_tables import build, find_table, read_table
from liquid_pilot.errors import ConfigError, unknown_name

PART_DIR: Final = Path(__file__).parent / "sensor_parts"
BANDWIDTH_PER_HZ: Final = 0.5  # an IMU sample is filtered to half its rate
WARM_UP_K: Final = 10.0  # a part warms by so much in `WARM_UP_S`; its gyro bias walks as far
WARM_UP_S: Final = 100.0
FASTEST_NOISE_M_S: Final = 0.1  # a receiver measures velocity by Doppler, better than by its fixes


@dataclass(frozen=True, slots=True)
class ImuPart:
    """Noise densities are per root hertz; biases are +- what is left after calibration; drift is per kelvin."""

    name: str
    rate_hz: Span
    gyro_density_rad_s_rthz: float
    gyro_resolution_rad_s: float
    gyro_limit_rad_s: float
    gyro_bias_rad_s: float
    gyro_drift_rad_s_k: float
    accel_density_m_s2_rthz: float
    accel_resolution_m_s2: float
    accel_limit_m_s2: float
    accel_bias_m_s2: float


@dataclass(frozen=True, slots=True)
class FlowPart:
    """Noise is in counts a sample, one standard deviation at full quality; blind below `near_m`."""

    name: str
    rate_hz: Span
    counts_per_rad: float
    noise_counts: float
    limit_rad_s: float
    near_m: float
    latency_s: Span


@dataclass(frozen=True, slots=True)
class RangePart:
    """Noise is one standard deviation; no return below `near_m` and beyond `far_m`."""

    name: str
    rate_hz: Span
    noise_m: float
    resolution_m: float
    near_m: float
    far_m: float
    latency_s: Span


@dataclass(frozen=True, slots=True)
class PositionPart:
    """Standard deviations along a world axis: noise from fix to fix, bias over a flight."""

    name: str
    rate_hz: Span
    noise_xy_m: float
    noise_z_m: float
    bias_xy_m: float
    bias_z_m: float
    latency_s: Span


Part: TypeAlias = "ImuPart | FlowPart | RangePart | PositionPart"
P = TypeVar("P", ImuPart, FlowPart, RangePart, PositionPart)

KINDS: Final[dict[str, type[Part]]] = {"imu": ImuPart, "flow": FlowPart, "range": RangePart, "position": PositionPart}
_SPANS: Final[dict[str, Span]] = {  # of every figure by name; a wrong unit usually falls out of them
    "rate_hz": (0.1, 40_000.0),
    "latency_s": (0.0, 1.0),
    "gyro_density_rad_s_rthz": (1e-7, 1e-2),
    "gyro_resolution_rad_s": (0.0, 0.02),
    "gyro_limit_rad_s": (1.0, 100.0),
    "gyro_bias_rad_s": (0.0, 0.5),
    "gyro_drift_rad_s_k": (0.0, 0.01),
    "accel_density_m_s2_rthz": (1e-6, 0.1),
    "accel_resolution_m_s2": (0.0, 0.2),
    "accel_limit_m_s2": (15.0, 2000.0),
    "accel_bias_m_s2": (0.0, 3.0),
    "counts_per_rad": (10.0, 10_000.0),
    "noise_counts": (0.0, 50.0),
    "limit_rad_s": (0.5, 50.0),
    "near_m": (0.0, 0.5),
    "far_m": (0.6, 200.0),
    "noise_m": (0.0, 0.5),
    "resolution_m": (0.0, 0.1),
    "noise_xy_m": (0.0, 20.0),
    "noise_z_m": (0.0, 20.0),
    "bias_xy_m": (0.0, 50.0),
    "bias_z_m": (0.0, 50.0),
}


def load_part(name: str | Path) -> Part:
    """Part by shipped name ("bmi088") or by path to a TOML file. Raises `ConfigError` for what is no such part."""
    path = find_table("sensor part", name, PART_DIR)
    table = read_table(path)
    kind = table.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{path}: {unknown_name('kind of sensor part', kind, list(KINDS))}")
    part = build(KINDS[kind], table, f"{path} ({kind})")
    _check(part, path)
    return part


def _check(part: Part, path: Path) -> None:
    for name in sorted({field.name for field in fields(part)} & set(_SPANS)):
        value = getattr(part, name)
        low, high = _SPANS[name]
        ends = value if isinstance(value, tuple) else (value, value)
        if not low <= ends[0] <= ends[1] <= high:
            raise ConfigError(
                f"{path}: {name} is {value}; it must lie in {low:g} to {high:g} in the unit of its name, "
                "and two numbers must rise (degrees, milli-units or milliseconds given?)"
            )


def parse_sensors(text: str) -> dict[str, str]:
    """`imu=bmi088,flow=paw3902` -> {"imu": "bmi088", "flow": "paw3902"}; nothing for an empty text."""
    chosen: dict[str, str] = {}
    for entry in filter(None, (piece.strip() for piece in text.split(","))):
        kind, equals, name = (piece.strip() for piece in entry.partition("="))
        if not equals or not name:
            raise ConfigError(f"sensors {text!r} is not understood; write KIND=PART,..., for example imu=bmi088")
        if kind not in KINDS:
            raise ConfigError(unknown_name("kind of sensor", kind, list(KINDS)))
        if kind in chosen:
            raise ConfigError(f"sensors {text!r} names {kind} twice; give each kind one part")
        chosen[kind] = name
    return chosen


def conditions_with(
    conditions: Conditions,
    imu: str | Path | ImuPart | None = None,
    flow: str | Path | FlowPart | None = None,
    range: str | Path | RangePart | None = None,
    position: str | Path | PositionPart | None = None,
) -> Conditions:
    """The conditions with these parts, by name, path or value; what is not named stays as it is.

    Rates stay those of the conditions. Raises `ConfigError` where a part cannot have them, and for a part of another
    kind.
    """
    if imu is not None:
        conditions = _with_imu(conditions, _resolved(imu, ImuPart))
    if flow is not None:
        conditions = _with_flow(conditions, _resolved(flow, FlowPart))
    if range is not None:
        conditions = _with_range(conditions, _resolved(range, RangePart))
    if position is not None:
        conditions = _with_position(conditions, _resolved(position, PositionPart))
    return conditions


def _resolved(part: str | Path | P, kind: type[P]) -> P:
    found = load_part(part) if isinstance(part, (str, Path)) else part
    if not isinstance(found, kind):
        name = next(name for name, cls in KINDS.items() if cls is kind)
        raise ConfigError(f"{part!r} is no {name} part; choose one of: {', '.join(shipped_parts(name))}")
    return found


def shipped_parts(kind: str) -> list[str]:
    """Names of the shipped parts of a kind, one of `KINDS`."""
    return sorted(path.stem for path in PART_DIR.glob("*.toml") if read_table(path)["kind"] == kind)


def _middle_rate(name: str, rate_hz: Span, part: Part) -> float:
    """Geometric mean of a span of rates. Raises `ConfigError` unless the part can have all of them."""
    low, high = part.rate_hz
    if not low <= rate_hz[0] <= rate_hz[1] <= high:
        raise ConfigError(
            f"{name} is {rate_hz[0]:g} to {rate_hz[1]:g}; {part.name} has {low:g} to {high:g} Hz: "
            "choose a rate within, or another part"
        )
    return math.sqrt(rate_hz[0] * rate_hz[1])


def _rounded(noise: float, resolution: float) -> float:
    return math.hypot(noise, resolution / math.sqrt(12.0))


def _with_imu(conditions: Conditions, part: ImuPart) -> Conditions:
    bandwidth_rthz = math.sqrt(BANDWIDTH_PER_HZ * _middle_rate("imu_hz", conditions.imu_hz, part))
    gyro = _rounded(part.gyro_density_rad_s_rthz * bandwidth_rthz, part.gyro_resolution_rad_s)
    accel = _rounded(part.accel_density_m_s2_rthz * bandwidth_rthz, part.accel_resolution_m_s2)
    vibration = DEFAULT_SENSORS.imu
    model = replace(
        vibration,
        gyro_noise_rad_s=math.hypot(gyro, vibration.gyro_noise_rad_s),
        accel_noise_m_s2=math.hypot(accel, vibration.accel_noise_m_s2),
        gyro_limit_rad_s=part.gyro_limit_rad_s,
        accel_limit_m_s2=part.accel_limit_m_s2,
    )
    return replace(
        conditions,
        sensors=replace(conditions.sensors, imu=model),
        gyro_bias_rad_s=part.gyro_bias_rad_s,
        gyro_walk_rad_s2=part.gyro_drift_rad_s_k * WARM_UP_K / math.sqrt(WARM_UP_S),
        accel_bias_m_s2=part.accel_bias_m_s2,
    )


def _with_flow(conditions: Conditions, part: FlowPart) -> Conditions:
    """A count is an angle: the shorter its window, the noisier a sample's rate. The middle window counts here."""
    rad_s_per_count = _middle_rate("flow_hz", conditions.flow_hz, part) / part.counts_per_rad
    model = replace(
        DEFAULT_SENSORS.flow,
        noise_rad_s=_rounded(part.noise_counts, 1.0) * rad_s_per_count,
        limit_rad_s=part.limit_rad_s,
        near_m=part.near_m,
    )
    return replace(conditions, sensors=replace(conditions.sensors, flow=model), flow_latency_s=part.latency_s)


def _with_range(conditions: Conditions, part: RangePart) -> Conditions:
    _middle_rate("range_hz", conditions.range_hz, part)
    noise_m = _rounded(part.noise_m, part.resolution_m)
    model = replace(DEFAULT_SENSORS.range, noise_m=noise_m, near_m=part.near_m, far_m=part.far_m)
    return replace(conditions, sensors=replace(conditions.sensors, range=model), range_latency_s=part.latency_s)


def _with_position(conditions: Conditions, part: PositionPart) -> Conditions:
    """Its velocity has the noise of a place over a period, as of two fixes that were filtered; GPS measures better."""
    rate_hz = conditions.position_hz if conditions.locates else (part.rate_hz[0], part.rate_hz[0])
    middle_hz = _middle_rate("position_hz", rate_hz, part)
    model = PositionModel(
        noise_xy_m=part.noise_xy_m,
        noise_z_m=part.noise_z_m,
        bias_xy_m=part.bias_xy_m,
        bias_z_m=part.bias_z_m,
        noise_velocity_m_s=min(part.noise_xy_m * middle_hz, FASTEST_NOISE_M_S),
    )
    return replace(
        conditions,
        sensors=replace(conditions.sensors, position=model),
        position_hz=rate_hz,
        position_latency_s=part.latency_s,
    )
