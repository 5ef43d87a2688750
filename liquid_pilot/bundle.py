"""Policy files: one `.safetensors` file that holds all a policy needs to fly, and the proof that it does.

Tensors, all float32: `weights.NAME` (see `liquid_pilot.cells.weight_shapes`) and a recorded self-test,
`selftest.x` (K, inputs), `selftest.dt_s` (K,), `selftest.action` (K, outputs), `selftest.hidden`
(K, state_width): K recurrent steps from the initial state, recorded where the policy was trained; of a policy that
sees also `selftest.grid` (G, numbers), `selftest.speed_m_s` (G,), `selftest.features` (G, features): grids through its
encoder. Metadata: see `liquid_pilot.schema`. Saving and loading run the same checks, so that what can be saved can be
loaded; loading trusts nothing and runs no code from the file.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from liquid_pilot.cells import F32, CellSpec, check_weights, parameters
from liquid_pilot.command import CommandLimits
from liquid_pilot.errors import BundleError, ConfigError, unknown_name
from liquid_pilot.half_cheetah import TASK, CheetahLayout
from liquid_pilot.observation import has_position, has_sight, layout_manifest
from liquid_pilot.schema import (
    FIX,
    SCHEMA,
    canonical_json,
    cell_field,
    cell_spec,
    check_metadata,
    command_limits,
    encoder_field,
    parse_json,
    wiring_field,
)
from liquid_pilot.selftest import (
    GRID_PARTS,
    RUN_TOLERANCE,
    STEP_PARTS,
    STEP_TOLERANCE,
    SelfTest,
    check_selftest,
    make_selftest,
    run_difference,
    step_difference,
)

__all__ = [
    "Bundle",
    "SelfTest",
    "load_bundle",
    "make_bundle",
    "make_cheetah_bundle",
    "make_selftest",
    "policy_path",
    "run_selftest",
    "save_bundle",
    "shipped",
]

ZOO_DIR: Final = Path(__file__).parent / "zoo"
SUFFIX: Final = ".safetensors"
METADATA_KEY: Final = "liquid_pilot"
LARGEST_BYTES: Final = 16 * 2**20
SELFTEST_TOLERANCE: Final = STEP_TOLERANCE  # see `run_selftest`


@dataclass(frozen=True, slots=True)
class Bundle:
    """A policy in memory. Make one with `make_bundle` or `load_bundle`.

    metadata: all fields of `liquid_pilot.schema`; name, task and spec say the same again, typed.
    """

    name: str
    task: str
    spec: CellSpec
    weights: dict[str, F32]
    metadata: dict[str, Any]
    selftest: SelfTest

    @property
    def limits(self) -> CommandLimits:
        """Of a drone's commands. Raises `BundleError` for a policy that flies no drone."""
        if "command_limits" not in self.metadata:
            raise BundleError(
                f"policy {self.name!r} is of the task {self.task}, it flies no drone; run it with `python -m "
                f"scripts.evaluate {self.name} --task {self.task}`, or give a policy that flies"
            )
        return command_limits(self.metadata["command_limits"])

    @property
    def locates(self) -> bool:
        """Whether it flies to places, by a position sensor and an attitude instead of flow and range."""
        return has_position(self.metadata.get("observation"))

    @property
    def sees(self) -> bool:
        """Whether it has a forward flow grid, flies courses, and needs a heading besides flow and range."""
        return has_sight(self.metadata.get("observation"))

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return parameters(self.spec)


def make_bundle(
    name: str,
    task: str,
    spec: CellSpec,
    weights: Mapping[str, F32],
    limits: CommandLimits,
    selftest: SelfTest,
    *,
    trained_rates_hz: Mapping[str, Any],
    sensor_limits_s: Mapping[str, float],
    setpoint_limits: Mapping[str, Any],
    airframe: str,
    training: Mapping[str, Any],
    locates: bool = False,
) -> Bundle:
    """A complete, checked bundle. The keyword arguments are metadata fields of `liquid_pilot.schema`.

    locates: whether the policy has a position sensor: its observation is then `layout_manifest(locates=True)`. With an
    encoder in its spec it sees: its observation goes on to the grid's features, and its self-test needs grids.
    Raises `BundleError` for whatever `load_bundle` would refuse.
    """
    if locates and spec.encoder is not None:
        raise BundleError("the policy has an encoder and locates; a policy does one or the other; leave out locates")
    features = 0 if spec.encoder is None else spec.encoder.features
    own = {
        "observation": layout_manifest(locates=locates, sees=bool(features), features=features),
        **encoder_field(spec),
        "command_limits": {"thrust_m_s2": limits.thrust_m_s2, "rates_rad_s": limits.rates_rad_s},
        "trained_rates_hz": dict(trained_rates_hz),
        "sensor_limits_s": dict(sensor_limits_s),
        "setpoint_limits": dict(setpoint_limits),
        "airframe": airframe,
    }
    return _proved(name, task, spec, weights, selftest, own, training)


def make_cheetah_bundle(
    name: str,
    layout: CheetahLayout,
    spec: CellSpec,
    weights: Mapping[str, F32],
    selftest: SelfTest,
    *,
    trained_rhythm: Mapping[str, Any],
    training: Mapping[str, Any],
) -> Bundle:
    """The same for a policy of HalfCheetah. trained_rhythm, training: metadata fields of `liquid_pilot.schema`."""
    own = {
        "simulator": layout.simulator,
        "observe": layout.observe,
        "observation": layout.manifest(),
        "trained_rhythm": dict(trained_rhythm),
    }
    return _proved(name, TASK, spec, weights, selftest, own, training)


def _proved(
    name: str,
    task: str,
    spec: CellSpec,
    weights: Mapping[str, F32],
    selftest: SelfTest,
    own: Mapping[str, Any],
    training: Mapping[str, Any],
) -> Bundle:
    from liquid_pilot import __version__

    metadata: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name,
        "task": task,
        "version": __version__,
        "cell": cell_field(spec),
        "wiring": wiring_field(spec),
        **own,
        "training": dict(training),
        "sha256": "",
    }
    metadata = parse_json(canonical_json(metadata))  # tuples become lists, as after loading
    bundle = Bundle(name, task, spec, dict(weights), metadata, selftest)
    check_metadata(metadata)
    _check_tensors(bundle)
    metadata["sha256"] = digest(_tensors(bundle), metadata)
    verify(bundle)
    return bundle


def run_selftest(bundle: Bundle) -> float:
    """Repeat the recorded steps, each from the state recorded before it, and grids: the `step_difference`."""
    return step_difference(bundle.spec, bundle.weights, bundle.selftest)


def digest(tensors: Mapping[str, F32], metadata: Mapping[str, Any]) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor in order of name, then over the metadata.

    The metadata enters as canonical JSON without its `sha256` field. Bytes are little-endian.
    """
    hasher = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        hasher.update(f"{name} F32 {list(value.shape)}\n".encode())
        hasher.update(value.astype("<f4").tobytes())
    rest = {key: value for key, value in metadata.items() if key != "sha256"}
    hasher.update(canonical_json(rest).encode())
    return hasher.hexdigest()


def verify(bundle: Bundle) -> None:
    """Prove a bundle: metadata, weights, hash, self-test. Raises `BundleError` for the first thing wrong."""
    check_metadata(bundle.metadata)
    meta = bundle.metadata
    told = (bundle.name, bundle.task, bundle.spec)
    written = (meta["name"], meta["task"], cell_spec(meta["cell"], meta["wiring"], meta.get("encoder")))
    if told != written:
        raise BundleError(f"the bundle says {told}, its metadata {written}; build it with make_bundle")
    _check_tensors(bundle)
    found, wanted = digest(_tensors(bundle), meta), meta["sha256"]
    if found != wanted:
        raise BundleError(
            f"the sha256 over tensors and metadata is {found}, the file says {wanted!r}; it was edited or damaged; "
            "copy it again, or export the policy again"
        )
    difference = run_selftest(bundle)
    if not difference <= SELFTEST_TOLERANCE:
        raise BundleError(
            f"the self-test differs by {difference:.3g} from what was recorded in training; allowed is "
            f"{SELFTEST_TOLERANCE:g}; these are not the tested weights, or this machine computes wrongly; {FIX}"
        )
    difference = run_difference(bundle.spec, bundle.weights, bundle.selftest)
    if not difference <= RUN_TOLERANCE:
        raise BundleError(
            f"the self-test, flown as one run, differs by {difference:.3g} from what was recorded in training; allowed "
            f"is {RUN_TOLERANCE:g}, as rounding grows; these are not the tested weights, or its recurrence is not "
            f"stable; {FIX}"
        )


def _tensors(bundle: Bundle) -> dict[str, F32]:
    tensors = {f"weights.{name}": value for name, value in bundle.weights.items()}
    return tensors | {f"selftest.{name}": value for name, value in bundle.selftest.tensors.items()}


def _check_tensors(bundle: Bundle) -> None:
    check_weights(bundle.spec, bundle.weights)
    check_selftest(bundle.spec, bundle.selftest)


def shipped() -> list[str]:
    """Names of the policies that come with this package."""
    return sorted(path.stem for path in ZOO_DIR.glob(f"*{SUFFIX}"))


def policy_path(name_or_path: str | Path) -> Path:
    """File of a shipped name ("hover") or of a path: a `Path`, or a text with a separator or `.safetensors`.

    Raises `ConfigError` for a name that is not shipped; a path need not exist.
    """
    if isinstance(name_or_path, Path):
        return name_or_path
    if not isinstance(name_or_path, str):
        raise ConfigError(f"{name_or_path!r} is no policy; give a shipped name or the path of a {SUFFIX} file")
    separators = {os.sep, os.altsep or os.sep}
    if name_or_path.endswith(SUFFIX) or any(separator in name_or_path for separator in separators):
        return Path(name_or_path)
    if name_or_path not in shipped():
        raise ConfigError(f"{unknown_name('policy', name_or_path, shipped())}; or give the path of a {SUFFIX} file")
    return ZOO_DIR / f"{name_or_path}{SUFFIX}"


def save_bundle(path: str | Path, bundle: Bundle) -> Path:
    """Write a bundle, whole or not at all; equal bundles give equal bytes. Returns the path.

    Raises `BundleError` for whatever `load_bundle` would refuse, and where the file cannot be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise BundleError(f"{path}: a policy file ends in {SUFFIX}; give such a name")
    verify(bundle)
    data = save(_tensors(bundle), {METADATA_KEY: canonical_json(bundle.metadata)})
    if len(data) > LARGEST_BYTES:
        raise BundleError(f"{path} would have {len(data)} bytes; allowed are {LARGEST_BYTES}; use a smaller network")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BundleError(f"{path} cannot be written ({error}); choose another path or make room") from error
    return path


def load_bundle(name_or_path: str | Path) -> Bundle:
    """Load and prove a policy: a shipped name ("hover"), or the path of a `.safetensors` file.

    Raises `ConfigError` for a name that is not shipped and `BundleError` for a file that cannot be
    trusted. The arrays of the result are read-only.
    """
    path = policy_path(name_or_path)
    try:
        bundle = _decode(_read(path))
        verify(bundle)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    return bundle


def _read(path: Path) -> bytes:
    """All bytes of a regular file of allowed size."""
    if not path.is_file():
        found = "it is not a regular file" if path.exists() else "there is no such file"
        raise BundleError(f"{found}; give the path of a policy file, or the name of a shipped one: {shipped()}")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BundleError(f"it cannot be read ({error}); check the path and its permissions") from error
    if len(data) > LARGEST_BYTES:
        raise BundleError(f"it has more than {LARGEST_BYTES} bytes; a policy file is smaller; give another file")
    return data


def _decode(data: bytes) -> Bundle:
    """Bundle of a file's bytes, of checked metadata; tensors are not checked yet."""
    metadata = _metadata(data)
    check_metadata(metadata)
    try:
        entries = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise BundleError(f"it is not a whole safetensors file ({error}); copy it again") from error
    groups: dict[str, dict[str, F32]] = {"weights": {}, "selftest": {}}
    for name, entry in entries:
        group, _, rest = name.partition(".")
        if group not in groups or entry["dtype"] != "F32":
            raise BundleError(
                f"tensor {name!r} is of type {entry['dtype']}; allowed are 'weights.*' and 'selftest.*' in F32; {FIX}"
            )
        value = np.frombuffer(bytes(entry["data"]), dtype="<f4").reshape(entry["shape"]).astype(np.float32)
        value.flags.writeable = False
        groups[group][rest] = value
    test = groups["selftest"]
    spec = cell_spec(metadata["cell"], metadata["wiring"], metadata.get("encoder"))
    wanted = STEP_PARTS | (GRID_PARTS if spec.encoder is not None else frozenset())
    if set(test) != wanted:
        raise BundleError(f"the self-test has tensors {sorted(test)}; it must have {sorted(wanted)}; {FIX}")
    return Bundle(metadata["name"], metadata["task"], spec, groups["weights"], metadata, SelfTest(**test))


def _metadata(data: bytes) -> Any:
    """The `liquid_pilot` metadata in the header of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise BundleError(
            f"it has {len(data)} bytes and a header of {length}; it is empty, cut off or no safetensors file; copy it "
            "again (no other format, such as a pickle or a PyTorch checkpoint, is ever read)"
        )
    header = parse_json(data[8 : 8 + length])
    told = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(told, dict) or set(told) != {METADATA_KEY} or not isinstance(told[METADATA_KEY], str):
        raise BundleError(
            f"its header lacks the metadata {METADATA_KEY!r}, one text alone; it is no policy file; export one"
        )
    return parse_json(told[METADATA_KEY])
