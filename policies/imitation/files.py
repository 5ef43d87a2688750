"""Files of recorded flights: one safetensors file, proved when it is read, which may be read in part.

Tensors, events of all flights one after the other (E events, F flights): `observation` F32 (E, OBS_DIM), `action` F32
(E, 4), `dt_s` F32 (E,), `held` U8 (E,), `state` F32 (E, STATE_DIM) or none, `length` I64 (F,), and `digest` U8 (F, 32):
SHA-256 of each flight's bytes, little-endian, in the order observation, action, dt_s, held, state. The header holds one
metadata string, `liquid_pilot_flights`, a JSON object:

schema: 1. task, airframe, expert, expert_sha256 (of a policy file, else empty), seed. conditions: of the flights.
observation: `layout_manifest()`; state: its names, widths and scales, or null.
command_limits: {thrust_m_s2, rates_rad_s} that an action of size 1 stands for.
sha256: over `length`, `digest` and all other fields.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from envs.state_observation import STATE_DIM, STATE_FIELDS
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits
from liquid_pilot.errors import TrainingError
from liquid_pilot.observation import OBS_DIM, layout_manifest
from policies.imitation.demonstrations import Demonstrations

SCHEMA: Final = 1
KEY: Final = "liquid_pilot_flights"
SUFFIX: Final = ".safetensors"
_EVENTS: Final = ("observation", "action", "dt_s", "held", "state")
_TYPES: Final = {"held": "U8", "length": "I64", "digest": "U8"}  # others are F32


@dataclass(frozen=True, slots=True)
class Origin:
    """Where flights come from. conditions: plain data; expert_sha256: of a policy that taught, else empty."""

    task: str
    airframe: str
    expert: str
    expert_sha256: str
    seed: int
    conditions: Any
    limits: CommandLimits = DEFAULT_LIMITS


def save_flights(path: Path, flights: Demonstrations, origin: Origin) -> Path:
    """Write a file, whole or not at all. Returns the path. Raises `TrainingError` where it cannot be written."""
    if path.suffix != SUFFIX:
        raise TrainingError(f"{path}: a file of flights ends in {SUFFIX}; give such a name")
    tensors = {name: _stored(flights, name) for name in _EVENTS if getattr(flights, name) is not None}
    tensors["length"] = flights.length.astype("<i8")
    tensors["digest"] = _digests(tensors, flights.length)
    about = _about(origin, flights.state is not None)
    about["sha256"] = _sha256(tensors, about)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, unfinished, {KEY: json.dumps(about, sort_keys=True)})
        unfinished.replace(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path} cannot be written ({error}); make room or choose another path") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def load_flights(path: Path, flights: int | None = None) -> tuple[Demonstrations, Origin]:
    """The first flights of a file, or all of them; no more is read than asked for, and what is read is proved.

    Raises `TrainingError` for a file that is cut short, edited, of another layout, or whose numbers are not finite.
    """
    try:
        with safe_open(path, framework="np") as file:
            about = _checked(path, (file.metadata() or {}).get(KEY), set(file.keys()))
            everything = {name: file.get_tensor(name) for name in ("length", "digest")}
            length = everything["length"].astype(np.int64)[:flights]
            if flights is not None and not 1 <= flights <= len(everything["length"]):
                raise TrainingError(
                    f"{path} holds {len(everything['length'])} flights, {flights} are asked for; give 1 to that many"
                )
            events, names = int(length.sum()), [name for name in _EVENTS if name in file.keys()]
            tensors = {name: file.get_slice(name)[:events] for name in names}
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path} is not a whole file of flights ({error}); copy or collect it again") from error
    if _sha256(everything, about) != about["sha256"]:
        raise TrainingError(f"{path}: its sha256 is not that of its contents; it was edited or damaged; collect again")
    widths = {"observation": OBS_DIM, "action": 4, "state": STATE_DIM}
    for name, value in tensors.items():
        if value.shape[1:] != ((widths[name],) if name in widths else ()):
            raise TrainingError(
                f"{path}: {name} has shape {value.shape}; it is {widths.get(name, 1)} wide; collect again"
            )
        wanted = np.dtype(np.uint8) if name == "held" else np.dtype(np.float32)
        if value.dtype != wanted or len(value) != events:
            raise TrainingError(
                f"{path}: {name} is {value.dtype} with {len(value)} events, the flights say {wanted} with {events}; "
                "collect again"
            )
    if not np.array_equal(_digests(tensors, length), everything["digest"][: len(length)]):
        raise TrainingError(f"{path}: a flight is not the one that was recorded; it was edited or damaged")
    held = tensors.pop("held").astype(np.bool_)
    limits = CommandLimits(*(tuple(about["command_limits"][key]) for key in ("thrust_m_s2", "rates_rad_s")))
    given = {key: about[key] for key in ("task", "airframe", "expert", "expert_sha256", "seed", "conditions")}
    return Demonstrations(held=held, length=length, **tensors), Origin(limits=limits, **given)


def _stored(flights: Demonstrations, name: str) -> npt.NDArray[Any]:
    value = getattr(flights, name)
    return np.ascontiguousarray(value, np.uint8 if name == "held" else "<f4")


def _digests(tensors: Mapping[str, npt.NDArray[Any]], length: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """SHA-256 of each flight, (F, 32)."""
    found, stop = np.zeros((len(length), 32), np.uint8), np.cumsum(length)
    for number, (begin, end) in enumerate(zip(stop - length, stop, strict=True)):
        hasher = hashlib.sha256()
        for name in _EVENTS:
            if name in tensors:
                hasher.update(np.ascontiguousarray(tensors[name][begin:end]).tobytes())
        found[number] = np.frombuffer(hasher.digest(), np.uint8)
    return found


def _state_manifest() -> list[dict[str, Any]]:
    return [{"name": f.name, "width": f.width, "unit": f.unit, "scale": f.scale} for f in STATE_FIELDS]


def _about(origin: Origin, with_state: bool) -> dict[str, Any]:
    limits = {"thrust_m_s2": list(origin.limits.thrust_m_s2), "rates_rad_s": list(origin.limits.rates_rad_s)}
    told = {key: value for key, value in asdict(origin).items() if key != "limits"}
    layout = {"observation": layout_manifest(), "state": _state_manifest() if with_state else None}
    about: dict[str, Any] = json.loads(
        json.dumps({"schema": SCHEMA, **told, "command_limits": limits, **layout}, default=str)
    )
    return about


def _sha256(tensors: Mapping[str, npt.NDArray[Any]], about: Mapping[str, Any]) -> str:
    rest = json.dumps({key: value for key, value in about.items() if key != "sha256"}, sort_keys=True)
    hasher = hashlib.sha256(rest.encode())
    for name in ("length", "digest"):
        hasher.update(np.ascontiguousarray(tensors[name]).tobytes())
    return hasher.hexdigest()


def _checked(path: Path, text: str | None, names: set[str]) -> dict[str, Any]:
    """The metadata of a file of this schema and layout."""
    if text is None:
        raise TrainingError(f"{path} is no file of flights: its header lacks {KEY!r}; make one with scripts.collect")
    try:
        about = json.loads(text)
        schema, layout, state = about["schema"], about["observation"], about["state"]
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: its metadata cannot be read ({error}); collect again") from error
    wanted = {*_EVENTS, "length", "digest"} - (set() if state else {"state"})
    if schema != SCHEMA or names != wanted:
        raise TrainingError(
            f"{path} has schema {schema} and tensors {sorted(names)}; {SCHEMA} and {sorted(wanted)} are needed; "
            "collect again"
        )
    if layout != json.loads(json.dumps(layout_manifest())) or (state and state != _state_manifest()):
        ours = [field["name"] for field in layout_manifest()]
        raise TrainingError(
            f"{path} was recorded with another observation layout ({[field.get('name') for field in layout]}, this "
            f"version has {ours} with its own widths, offsets and scales); collect again with this version"
        )
    return dict(about)
