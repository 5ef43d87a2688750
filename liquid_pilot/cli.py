"""The command line of the wheel: `liquid-pilot inspect | zoo`. Needs numpy and safetensors alone."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from liquid_pilot import __version__
from liquid_pilot.errors import LiquidPilotError

if TYPE_CHECKING:
    from pathlib import Path

    from liquid_pilot.bundle import Bundle

EXIT_BAD_INPUT: Final = 2
_LABEL_WIDTH: Final = 14

_DESCRIPTION: Final = "Looks into Liquid Pilot policies: very small liquid networks that fly a quadrotor."
_EXAMPLES: Final = """\
examples:
  liquid-pilot zoo                              which policies are shipped
  liquid-pilot inspect hover                    a shipped policy, by name
  liquid-pilot inspect runs/hover/policy.safetensors
  liquid-pilot inspect hover --json | python -m json.tool
"""
_INSPECT_HELP: Final = """\
Prints what a policy file is and what it was made for, after proving that it can be trusted: schema, observation
layout, hash over all tensors, finite weights, and the self-test recorded when it was trained, which is flown again
here. A file that fails is refused with what was found, what is allowed and the fix, and exit code 2.

POLICY is the name of a shipped policy (see `liquid-pilot zoo`) or the path of a .safetensors file.
"""
_INSPECT_EXAMPLES: Final = """\
reading the output:
  wiring         full, or neurons and live synapses of a sparse cell; every matrix is 0 where no synapse is
  parameters     number of weights; of a sparse cell those of live synapses
  trained at     sensor rates, in Hz, that training drew from
  sensor limits  ages, in seconds, after which the supervisor no longer trusts a sensor
  set-points     largest speed, heights and yaw rate that it was trained to follow
  commands       what an action of -1 and +1 means: collective specific thrust and body rates (FLU)
  observation    a number x enters the network as (x - offset) / scale
  self-test      largest difference between recorded outputs and those of this machine

examples:
  liquid-pilot inspect hover
  liquid-pilot inspect hover --json
"""


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="liquid-pilot", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=raw
    )
    parser.add_argument("--version", action="version", version=f"liquid-pilot {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    inspect = commands.add_parser(
        "inspect",
        help="what a policy is, what it sees and commands, and whether it can be trusted",
        description=_INSPECT_HELP,
        epilog=_INSPECT_EXAMPLES,
        formatter_class=raw,
    )
    inspect.add_argument("policy", metavar="POLICY", help="shipped name, or path of a .safetensors file")
    inspect.add_argument("--json", action="store_true", help="one JSON object instead of text")
    inspect.set_defaults(run=_inspect)
    zoo = commands.add_parser(
        "zoo", help="the policies that are shipped with this package", description="Lists the shipped policies."
    )
    zoo.set_defaults(run=_zoo)
    return parser


def describe(bundle: Bundle, path: Path) -> dict[str, Any]:
    """All that `inspect` knows, as plain data. Flies the self-test. Keys end in their unit."""
    from liquid_pilot.bundle import run_selftest
    from liquid_pilot.observation import OBS_DIM, OBS_FIELDS, layout_manifest
    from liquid_pilot.schema import cell_field

    spec, limits, metadata = bundle.spec, bundle.limits, bundle.metadata
    copied = ("schema", "version", "trained_rates_hz", "sensor_limits_s", "setpoint_limits", "airframe", "training")
    return {
        "name": bundle.name,
        "task": bundle.task,
        "file": str(path),
        "file_bytes": path.stat().st_size,
        **{key: metadata[key] for key in copied},
        "cell": cell_field(spec),
        "wiring": metadata["wiring"],
        "neurons": spec.units,
        "parameters": bundle.parameters,
        "weight_bytes": sum(int(weight.nbytes) for weight in bundle.weights.values()),
        "command_limits": asdict(limits),
        "observation_width": OBS_DIM,
        # Loading proved that the file's layout is this one; the meanings are written here alone.
        "observation": [
            entry | {"meaning": field.meaning} for entry, field in zip(layout_manifest(), OBS_FIELDS, strict=True)
        ],
        "sha256": metadata["sha256"],
        "selftest_steps": len(bundle.selftest.dt_s),
        "selftest_difference": run_selftest(bundle),
    }


def _plain(value: Any) -> str:
    """One line of text for a value of the metadata."""
    if isinstance(value, Mapping):
        return ", ".join(f"{_plain(key)} {_plain(item)}" for key, item in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        if len(value) == 2 and all(isinstance(item, (int, float)) for item in value):
            low, high = value
            return _plain(low) if low == high else f"{_plain(low)} to {_plain(high)}"
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    # The file is foreign: what it says must not steer the terminal.
    return "".join(c if c.isprintable() else "?" for c in str(value)) or "-"


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of nested metadata."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif value not in (None, "", [], ()):
        yield _plain(prefix), _plain(value)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows with columns padded to the widest cell, two spaces apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The text of `inspect`, line by line."""
    cell, limits = found["cell"], found["command_limits"]
    roll, pitch, yaw = limits["rates_rad_s"]
    layers = (
        f"backbone {cell['backbone_layers']} x {cell['backbone_units']}" if cell["backbone_layers"] else "no backbone"
    )
    head = {
        "policy": f"{found['name']} (task {found['task']})",
        "file": f"{found['file']}, {found['file_bytes']:,} bytes, schema {_plain(found['schema'])}",
        "cell": f"{cell['form']}, {found['neurons']} neurons, {layers}, time unit {cell['time_unit_s']:g} s",
        "wiring": _wiring(found["wiring"]),
        "parameters": f"{found['parameters']:,} ({found['weight_bytes']:,} bytes)",
        "trained at": f"{_plain(found['trained_rates_hz'])} (Hz)",
        "sensor limits": f"{_plain(found['sensor_limits_s'])} (s)",
        "set-points": _plain(found["setpoint_limits"]),
        "airframe": _plain(found["airframe"]),
        "commands": f"thrust {_plain(limits['thrust_m_s2'])} m/s^2; "
        f"roll, pitch, yaw rate within {roll:g}, {pitch:g}, {yaw:g} rad/s",
        "sha256": _plain(found["sha256"]),
        "self-test": f"passed: {found['selftest_steps']} steps, largest difference {found['selftest_difference']:.1e}",
    }
    for label, text in head.items():
        yield f"{label:<{_LABEL_WIDTH}} {text}"
    yield ""
    yield f"observation: {found['observation_width']} numbers; x enters as (x - offset) / scale"
    rows = [["name", "width", "unit", "offset", "scale", "meaning"]]
    for field in found["observation"]:
        offset = field["offset"]
        shown = f"{offset[0]:g}" if len(set(offset)) == 1 else ", ".join(f"{item:g}" for item in offset)
        rows.append([field["name"], str(field["width"]), field["unit"], shown, f"{field['scale']:g}", field["meaning"]])
    yield from (f"  {line}" for line in _table(rows))
    training = list(_flat(found["training"]))
    if training:
        yield ""
        yield "training"
        yield from (f"  {line}" for line in _table([list(pair) for pair in training]))


def _wiring(found: Any) -> str:
    """What the policy says of its synapses; that its weights obey was proved when it was loaded."""
    if not isinstance(found, Mapping):
        return _plain(found)
    layers = {name: found[name] for name in ("inter", "command", "motor")}
    neurons = ", ".join(f"{len(rows)} {name}" for name, rows in layers.items())
    possible = sum(len(row) for rows in layers.values() for row in rows)
    return f"{neurons} neurons; {found['live_synapses']} live synapses of {possible}; drawn with seed {found['seed']}"


def _write(lines: Iterable[str]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without Unicode gets escapes, not an error
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _inspect(arguments: argparse.Namespace) -> int:
    from liquid_pilot.bundle import load_bundle, policy_path

    path = policy_path(arguments.policy)
    found = describe(load_bundle(path), path)
    _write([json.dumps(found, indent=2)] if arguments.json else _lines(found))
    return 0


def _zoo(arguments: argparse.Namespace) -> int:
    from liquid_pilot.bundle import ZOO_DIR, load_bundle, policy_path, shipped

    names = shipped()
    if not names:
        raise LiquidPilotError(f"no policy in {ZOO_DIR}; this installation is incomplete, install the wheel again")
    rows = [["name", "task", "cell", "neurons", "parameters", "bytes"]]
    for name in names:
        bundle, size = load_bundle(name), policy_path(name).stat().st_size
        rows.append(
            [name, bundle.task, bundle.spec.form, str(bundle.spec.units), f"{bundle.parameters:,}", f"{size:,}"]
        )
    _write(_table(rows))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0, or 2 for anything that the caller can put right."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except LiquidPilotError as error:
        sys.stderr.write(f"liquid-pilot: {' '.join(str(error).split())}\n")
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # the reader, for example `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
