"""`liquid-pilot inspect`: what a policy file is, after proving that it can be trusted."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from liquid_pilot.commands.text import flat, plain, table, write

if TYPE_CHECKING:
    from pathlib import Path

    from liquid_pilot.bundle import Bundle

_LABEL_WIDTH: Final = 14
_HELP: Final = """\
Prints what a policy file is and what it was made for, after proving that it can be trusted: schema, observation
layout, hash over all tensors, finite weights, and the self-test recorded when it was trained, which is flown again
here. A file that fails is refused with what was found, what is allowed and the fix, and exit code 2.

POLICY is the name of a shipped policy (see `liquid-pilot zoo`) or the path of a .safetensors file.
"""
_EXAMPLES: Final = """\
reading the output:
  wiring         full, or neurons and live synapses of a sparse cell; every matrix is 0 where no synapse is
  parameters     number of weights; of a sparse cell those of live synapses
  trained at     sensor rates, in Hz, that training drew from
  sensor limits  ages, in seconds, after which the supervisor no longer trusts a sensor
  set-points     largest speed, heights and yaw rate that it was trained to follow
  commands       what an action of -1 and +1 means: collective specific thrust and body rates (FLU)
  runs in        of a policy of half-cheetah, in the place of what drones have: simulator, and what is seen there
  observation    a number x enters the network as (x - offset) / scale
  self-test      largest difference between recorded outputs and those of this machine

examples:
  liquid-pilot inspect hover
  liquid-pilot inspect hover --json
  liquid-pilot inspect hover --card
"""


def add_parser(commands: Any) -> None:
    """The command's arguments. commands: of `argparse.ArgumentParser.add_subparsers`."""
    parser = commands.add_parser(
        "inspect",
        help="what a policy is, what it sees and commands, and whether it can be trusted",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("policy", metavar="POLICY", help="shipped name, or path of a .safetensors file")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="one JSON object instead of text")
    shown.add_argument("--card", action="store_true", help="its model card instead: how made, what it scores, limits")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    from liquid_pilot.bundle import load_bundle, policy_path
    from liquid_pilot.card import read_card

    if arguments.card:
        write(plain(line) if line else "" for line in read_card(arguments.policy).splitlines())
        return 0
    path = policy_path(arguments.policy)
    found = describe(load_bundle(path), path)
    write([json.dumps(found, indent=2)] if arguments.json else _lines(found))
    return 0


def describe(bundle: Bundle, path: Path) -> dict[str, Any]:
    """All that `inspect` knows, as plain data. Flies the self-test. Keys end in their unit."""
    from liquid_pilot.bundle import run_selftest
    from liquid_pilot.half_cheetah import TASK
    from liquid_pilot.schema import cell_field

    spec, metadata = bundle.spec, bundle.metadata
    own = _of_cheetah(bundle) if bundle.task == TASK else _of_drone(bundle)
    return {
        "name": bundle.name,
        "task": bundle.task,
        "file": str(path),
        "file_bytes": path.stat().st_size,
        **{key: metadata[key] for key in ("schema", "version", *own["copied"], "training")},
        "cell": cell_field(spec),
        "wiring": metadata["wiring"],
        "neurons": spec.units,
        "parameters": bundle.parameters,
        "weight_bytes": sum(int(weight.nbytes) for weight in bundle.weights.values()),
        **own["made"],
        "observation_width": spec.inputs,
        "observation": own["observation"],
        "sha256": metadata["sha256"],
        "selftest_steps": len(bundle.selftest.dt_s),
        "selftest_difference": run_selftest(bundle),
    }


# Loading proved that the file's layout is that of the running code; the meanings are written there alone.


def _of_drone(bundle: Bundle) -> dict[str, Any]:
    """What a policy that flies has of its own: metadata that is copied, what is made of it, its observation."""
    from liquid_pilot.observation import FEATURES_MEANING, OBS_FIELDS, POSITION_FIELDS, SIGHT_FIELDS

    meanings = [field.meaning for field in OBS_FIELDS]
    meanings += [field.meaning for field in POSITION_FIELDS] if bundle.locates else []
    meanings += [*(meaning for _, meaning in SIGHT_FIELDS), FEATURES_MEANING] if bundle.sees else []
    rows = zip(bundle.metadata["observation"], meanings, strict=True)
    encoder = ("encoder",) if bundle.sees else ()
    return {
        "copied": (*encoder, "trained_rates_hz", "sensor_limits_s", "setpoint_limits", "airframe"),
        "made": {"command_limits": asdict(bundle.limits)},
        "observation": [entry | {"meaning": meaning} for entry, meaning in rows],
    }


def _of_cheetah(bundle: Bundle) -> dict[str, Any]:
    """The same of a policy of HalfCheetah."""
    from liquid_pilot.half_cheetah import CheetahLayout

    layout = CheetahLayout(bundle.metadata["simulator"], bundle.metadata["observe"])
    rows = zip(layout.manifest(), layout.meanings(), strict=True)
    return {
        "copied": ("simulator", "observe", "trained_rhythm"),
        "made": {},
        "observation": [entry | {"meaning": meaning} for entry, meaning in rows],
    }


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The text of `inspect`, line by line."""
    cell = found["cell"]
    layers = (
        f"backbone {cell['backbone_layers']} x {cell['backbone_units']}" if cell["backbone_layers"] else "no backbone"
    )
    head = {
        "policy": f"{found['name']} (task {found['task']})",
        "file": f"{found['file']}, {found['file_bytes']:,} bytes, schema {plain(found['schema'])}",
        "cell": f"{cell['form']}, {found['neurons']} neurons, {layers}, time unit {cell['time_unit_s']:g} s",
        "wiring": _wiring(found["wiring"]),
        **({"encoder": _encoder(found["encoder"])} if "encoder" in found else {}),
        "parameters": f"{found['parameters']:,} ({found['weight_bytes']:,} bytes)",
        **(_drone_lines(found) if "command_limits" in found else _cheetah_lines(found)),
        "sha256": plain(found["sha256"]),
        "self-test": f"passed: {found['selftest_steps']} steps, largest difference {found['selftest_difference']:.1e}",
    }
    for label, text in head.items():
        yield f"{label:<{_LABEL_WIDTH}} {text}"
    yield ""
    yield f"observation: {found['observation_width']} numbers; x enters as (x - offset) / scale"
    rows = [["name", "width", "unit", "offset", "scale", "meaning"]]
    for field in found["observation"]:
        offset = field.get("offset", [0.0])
        shown = f"{offset[0]:g}" if len(set(offset)) == 1 else ", ".join(f"{item:g}" for item in offset)
        rows.append([field["name"], str(field["width"]), field["unit"], shown, f"{field['scale']:g}", field["meaning"]])
    yield from (f"  {line}" for line in table(rows))
    training = list(flat(found["training"]))
    if training:
        yield ""
        yield "training"
        yield from (f"  {line}" for line in table([list(pair) for pair in training]))


def _drone_lines(found: Mapping[str, Any]) -> dict[str, str]:
    limits = found["command_limits"]
    roll, pitch, yaw = limits["rates_rad_s"]
    return {
        "trained at": f"{plain(found['trained_rates_hz'])} (Hz)",
        "sensor limits": f"{plain(found['sensor_limits_s'])} (s)",
        "set-points": plain(found["setpoint_limits"]),
        "airframe": plain(found["airframe"]),
        "commands": f"thrust {plain(limits['thrust_m_s2'])} m/s^2; "
        f"roll, pitch, yaw rate within {roll:g}, {pitch:g}, {yaw:g} rad/s",
    }


def _cheetah_lines(found: Mapping[str, Any]) -> dict[str, str]:
    rhythm = found["trained_rhythm"]
    return {
        "runs in": f"{plain(found['simulator'])}, observes {plain(found['observe'])}; it flies no drone",
        "trained at": f"calls every {plain(rhythm['frames'])} frames, {rhythm['dropped']:.0%} dropped, "
        f"{plain(rhythm['delay_frames'])} frames late, noise {rhythm['noise']:g}",
        "commands": "6 torques, -1 to 1 of the largest: thigh, shin and foot, back then front",
    }


def _encoder(found: Mapping[str, Any]) -> str:
    spans, counts = [], []
    for name in ("azimuth", "elevation"):
        angles = found[f"{name}_rad"]
        counts.append(str(len(angles)))
        spans.append(f"{name} {math.degrees(angles[-1]):.0f} to {math.degrees(angles[0]):.0f}")
    grid = f"flow grid of {' x '.join(counts)} rays, {' and '.join(spans)} degrees"
    return f"{grid}; {found['hidden']} hidden units, {found['features']} features"


def _wiring(found: Any) -> str:
    """What the policy says of its synapses; that its weights obey was proved when it was loaded."""
    if not isinstance(found, Mapping):
        return plain(found)
    layers = {name: found[name] for name in ("inter", "command", "motor")}
    neurons = ", ".join(f"{len(rows)} {name}" for name, rows in layers.items())
    possible = sum(len(row) for rows in layers.values() for row in rows)
    return f"{neurons} neurons; {found['live_synapses']} live synapses of {possible}; drawn with seed {found['seed']}"
