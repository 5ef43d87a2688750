"""Schema 1 of a policy file's metadata: what every field is, and the check of each.

A policy file is one safetensors file. Its header holds one metadata string, `liquid_pilot`: a JSON
object with exactly these fields.

schema: 1. name: of the policy; task: it was trained for; version: of the project that wrote it.
cell: {form, inputs, units, outputs, backbone_layers, backbone_units, time_unit_s} (`CellSpec`).
wiring: "full", or of a wired cell {inter, command, motor, seed, live_synapses} (`CellWiring`): for each layer a row per
neuron, in it a "1" for each source that a synapse leads from; every matrix of the layer is 0 elsewhere.
observation: `layout_manifest()`, in order; of a policy that locates, which flies to places by a position sensor and the
autopilot's attitude, `layout_manifest(locates=True)`; of one that sees, which flies courses by a forward flow grid
besides, `layout_manifest(sees=True, features=...)`.
encoder: of a policy that sees, and in no other file: {azimuth_rad: [falling], elevation_rad: [falling], hidden,
features} (`liquid_pilot.encoder.EncoderSpec`).
command_limits: {thrust_m_s2: [lowest, highest], rates_rad_s: [roll, pitch, yaw]} (`CommandLimits`).
trained_rates_hz: {imu, flow, range}, of a policy that locates {imu, position, attitude}, of one that sees {imu, flow,
range, grid, attitude}, each [lowest, highest] that training drew. sensor_limits_s: of the same sensors: age after which
a sensor counts as silent.
setpoint_limits: {speed_m_s, height_m: [lowest, highest], yaw_rate_rad_s} that training drew, so far as to be flown (of
the target of a policy that locates).
airframe: name of the nominal one. training: {config, seed, commit, minutes} and anything else that is JSON.
sha256: over all tensors and all other fields (`liquid_pilot.bundle.digest`).

A policy of the task half-cheetah flies no drone. In place of command_limits, trained_rates_hz, sensor_limits_s,
setpoint_limits and airframe it has simulator ("pybullet" or "mujoco"), observe ("full", "positions", "velocities") and
trained_rhythm: {frames: [fewest, most], dropped, delay_frames: [fewest, most], noise}; observation is
`CheetahLayout.manifest()`, and its outputs are six torques in -1..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from liquid_pilot.cells import CellSpec
from liquid_pilot.command import CommandLimits
from liquid_pilot.encoder import EncoderSpec
from liquid_pilot.errors import BundleError, ConfigError
from liquid_pilot.flow_grid import MOST_RAYS, GridLayout
from liquid_pilot.half_cheetah import ACTIONS as CHEETAH_ACTIONS
from liquid_pilot.half_cheetah import BODY_FIELDS, OBSERVE, TASK, CheetahLayout
from liquid_pilot.observation import (
    GRAVITY_M_S2,
    OBS_DIM,
    POSITION_DIM,
    SIGHT_DIM,
    has_position,
    has_sight,
    layout_manifest,
)
from liquid_pilot.schema_checks import (
    FIX,
    Check,
    anything,
    anything_listed,
    canonical_json,
    exactly,
    frames,
    is_number,
    name,
    number,
    numbers,
    one_of,
    parse_json,
    record,
    refuse,
    span,
    text,
    whole,
)
from liquid_pilot.wiring import LAYERS, CellWiring

__all__ = [
    "FIX",
    "FULL",
    "SCHEMA",
    "canonical_json",
    "cell_field",
    "cell_spec",
    "cell_wiring",
    "check_metadata",
    "command_limits",
    "encoder_field",
    "encoder_spec",
    "parse_json",
    "wiring_field",
]

SCHEMA: Final = 1
ACTIONS: Final = 4
FULL: Final = "full"  # a cell without a wiring: every neuron hears everything
SENSORS: Final = ("imu", "flow", "range")
LOCATING_SENSORS: Final = ("imu", "position", "attitude")
SEEING_SENSORS: Final = ("imu", "flow", "range", "grid", "attitude")


def _angles(field: str, value: Any) -> None:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_RAYS or not all(map(is_number, value)):
        raise refuse(field, value, f"a list of 1 to {MOST_RAYS} angles")


def _cell(inputs: int) -> Check:
    """The cell of a policy that flies."""

    def check(field: str, value: Any) -> None:
        spec = cell_spec(value, FULL)
        if (spec.inputs, spec.outputs) != (inputs, ACTIONS):
            raise refuse(field, value, f"{inputs} inputs (the observation) and {ACTIONS} outputs (thrust and rates)")

    return check


def _cheetah_cell(field: str, value: Any) -> None:
    if cell_spec(value, FULL).outputs != CHEETAH_ACTIONS:
        raise refuse(field, value, f"{CHEETAH_ACTIONS} outputs (torques)")


def _wiring(field: str, value: Any) -> None:
    wiring = cell_wiring(value)
    if wiring is not None and wiring.live_synapses != value["live_synapses"]:
        raise refuse(f"{field}.live_synapses", value["live_synapses"], f"{wiring.live_synapses}, as its rows have them")


def _same_layout(field: str, value: Any, allowed: list[dict[str, Any]]) -> None:
    """The layout of the running code, field by field and in order."""
    if not isinstance(value, list):
        raise refuse(field, value, "a list of observation fields")
    for k, wanted in enumerate(allowed):
        if k >= len(value) or canonical_json(value[k]) != canonical_json(wanted):
            raise refuse(f"{field}[{k}]", value[k] if k < len(value) else "missing", f"{wanted}")
    if len(value) != len(allowed):
        raise refuse(f"{field}[{len(allowed)}]", value[len(allowed)], f"nothing: the layout has {len(allowed)} fields")


def _command_limits(field: str, value: Any) -> None:
    record({"thrust_m_s2": span(0.0, 200.0), "rates_rad_s": numbers(3, 0.01, 60.0)})(field, value)
    low, high = value["thrust_m_s2"]
    if not low < GRAVITY_M_S2 < high:
        raise refuse(f"{field}.thrust_m_s2", [low, high], f"a span around {GRAVITY_M_S2} m/s^2, to carry the weight")


_RATE: Final = span(0.1, 10000.0)
_AGE: Final = number(0.001, 60.0)
_EVERY: Final[dict[str, Check]] = {
    "schema": exactly(SCHEMA, f"{SCHEMA}, the schema that this version reads"),
    "name": name,
    "task": name,
    "version": text,
    "wiring": _wiring,
    "training": record({"config": anything, "seed": whole, "commit": text, "minutes": number(0.0, 1e7)}, more=True),
    "sha256": text,
}
_CHEETAH: Final = record(
    _EVERY
    | {
        "cell": _cheetah_cell,
        "simulator": one_of(tuple(BODY_FIELDS)),
        "observe": one_of(OBSERVE),
        "observation": anything_listed,
        "trained_rhythm": record(
            {"frames": frames(1), "dropped": number(0.0, 1.0), "delay_frames": frames(0), "noise": number(0.0, 1e3)}
        ),
    }
)


def _drone(inputs: int, sensors: Sequence[str], layout: list[dict[str, Any]], **more: Check) -> Check:
    """All metadata of a policy that flies. more: fields beside those of every one."""
    return record(
        _EVERY
        | more
        | {
            "cell": _cell(inputs),
            "observation": lambda field, value: _same_layout(field, value, layout),
            "command_limits": _command_limits,
            "trained_rates_hz": record({sensor: _RATE for sensor in sensors}),
            "sensor_limits_s": record({sensor: _AGE for sensor in sensors}),
            "setpoint_limits": record(
                {"speed_m_s": number(0.0, 100.0), "height_m": span(-1.0, 1000.0), "yaw_rate_rad_s": number(0.0, 60.0)}
            ),
            "airframe": name,
        }
    )


_DRONE: Final = _drone(OBS_DIM, SENSORS, layout_manifest())
_LOCATING: Final = _drone(OBS_DIM + POSITION_DIM, LOCATING_SENSORS, layout_manifest(locates=True))


def _seeing(features: int) -> Check:
    """All metadata of a policy that sees; its encoder was checked."""
    layout = layout_manifest(sees=True, features=features)
    return _drone(OBS_DIM + SIGHT_DIM + features, SEEING_SENSORS, layout, encoder=lambda field, value: None)


def check_metadata(metadata: Any) -> None:
    """Raise `BundleError` unless the metadata is what this version reads, field by field."""
    if isinstance(metadata, dict) and metadata.get("schema") != SCHEMA:
        raise BundleError(
            f"the policy has schema {metadata.get('schema')!r}; this version reads schema {SCHEMA}; {FIX}, "
            "or use the version that wrote it"
        )
    if isinstance(metadata, dict) and metadata.get("task") == TASK:
        _CHEETAH("", metadata)
        layout = CheetahLayout(metadata["simulator"], metadata["observe"])
        _same_layout("observation", metadata["observation"], layout.manifest())
        if metadata["cell"]["inputs"] != layout.width:
            raise refuse("cell.inputs", metadata["cell"]["inputs"], f"{layout.width}, the width of its observation")
    elif isinstance(metadata, dict) and has_position(metadata.get("observation")):
        _LOCATING("", metadata)
    elif isinstance(metadata, dict) and has_sight(metadata.get("observation")):
        features = encoder_spec(metadata.get("encoder")).features
        _seeing(features)("", metadata)
    else:
        _DRONE("", metadata)
    cell_spec(metadata["cell"], metadata["wiring"], metadata.get("encoder"))


def cell_spec(cell: Any, wiring: Any, encoder: Any = None) -> CellSpec:
    """The `CellSpec` of the metadata fields `cell`, `wiring` and, if there is one, `encoder`. Raises `BundleError`."""
    before = None if encoder is None else encoder_spec(encoder)
    try:
        return CellSpec(**cell, wiring=cell_wiring(wiring), encoder=before)
    except (TypeError, ConfigError) as error:
        raise refuse("cell", cell, f"what CellSpec takes ({error})") from error


def cell_field(spec: CellSpec) -> dict[str, Any]:
    """The metadata field `cell` of a spec."""
    return {key: value for key, value in asdict(spec).items() if key not in ("wiring", "encoder")}


def encoder_spec(value: Any) -> EncoderSpec:
    """The `EncoderSpec` of the metadata field `encoder`. Raises `BundleError`."""
    record({"azimuth_rad": _angles, "elevation_rad": _angles, "hidden": whole, "features": whole})("encoder", value)
    try:
        rows = (tuple(float(angle) for angle in value[name]) for name in ("azimuth_rad", "elevation_rad"))
        return EncoderSpec(GridLayout(*rows), value["hidden"], value["features"])
    except ConfigError as error:
        raise refuse("encoder", value, f"what EncoderSpec takes ({error})") from error


def encoder_field(spec: CellSpec) -> dict[str, Any]:
    """{"encoder": the metadata field of a spec}, or {} where it has none."""
    if spec.encoder is None:
        return {}
    grid = spec.encoder.grid
    angles = {"azimuth_rad": list(grid.azimuth_rad), "elevation_rad": list(grid.elevation_rad)}
    return {"encoder": {**angles, "hidden": spec.encoder.hidden, "features": spec.encoder.features}}


def cell_wiring(value: Any) -> CellWiring | None:
    """The wiring of the metadata field `wiring`; None for "full". Raises `BundleError`."""
    if value == FULL:
        return None
    if not isinstance(value, dict) or set(value) != {*LAYERS, "seed", "live_synapses"}:
        raise refuse("wiring", value, f"{FULL!r}, or an object with {', '.join(LAYERS)}, seed and live_synapses")
    try:
        rows = {name: tuple(value[name]) if isinstance(value[name], list) else value[name] for name in LAYERS}
        return CellWiring(**rows, seed=value["seed"])
    except ConfigError as error:
        raise refuse("wiring", value, f"what CellWiring takes ({error})") from error


def wiring_field(spec: CellSpec) -> Any:
    """The metadata field `wiring` of a spec."""
    if spec.wiring is None:
        return FULL
    rows = {name: list(getattr(spec.wiring, name)) for name in LAYERS}
    return rows | {"seed": spec.wiring.seed, "live_synapses": spec.wiring.live_synapses}


def command_limits(value: dict[str, Any]) -> CommandLimits:
    """`CommandLimits` of a checked metadata field `command_limits`."""
    low, high = (float(x) for x in value["thrust_m_s2"])
    roll, pitch, yaw = (float(x) for x in value["rates_rad_s"])
    return CommandLimits((low, high), (roll, pitch, yaw))
