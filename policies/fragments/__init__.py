"""C text of the networks, for the compiled rollout; `policies.fragments.network_source` joins it for a spec."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from envs.compiled.job import NetworkSource
from liquid_pilot.cells import FORMS, CellSpec, weight_shapes
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.flow_grid import SPEED_SCALE_M_S

CELL_FILES: Final = {
    "decay": "decay.c",
    "default": "gated.c",
    "no_gate": "gated.c",
    "pure": "pure.c",
    "gru": "gru.c",
    "lstm": "lstm.c",
    "mlp": "memoryless.c",
}


def network_source(spec: CellSpec, trigger: int | None = None) -> NetworkSource:
    """The C text of a network. trigger: see `network_text`. Raises `ConfigError` for a form that has no fragment."""
    stored = sum(math.prod(shape) for shape in weight_shapes(spec).values())
    width = spec.state_width + (trigger is not None)
    features = 0 if spec.encoder is None else spec.encoder.features
    return NetworkSource(network_text(spec, spec.outputs, trigger), width, spec.outputs, stored, features=features)


def network_text(spec: CellSpec, outputs: int, trigger: int | None = None) -> str:
    """The C text of a network with a readout of so many outputs; with none it has its slope in elapsed time instead.

    That is there without a wiring alone: a sequence of a wired cell goes layer by layer, each with its own text.

    trigger: the input that lets the command neurons of a wired decay cell advance, where it is above 0.5, by the time
    since it last did, as `Wiring.multi_rate` has it; that time is one more number of the state. No policy file states
    it: such a network is trained and scored here alone. Raises as `network_source`, and for a trigger of another cell.
    """
    if trigger is not None and (spec.wiring is None or spec.form != "decay" or not 0 <= trigger < spec.inputs):
        raise ConfigError(
            f"trigger is input {trigger} of a {'dense' if spec.wiring is None else 'wired'} {spec.form!r} cell of "
            f"{spec.inputs} inputs; slow neurons stand still as a step of no time, which changes nothing in the decay "
            "form alone: give a wired decay cell and one of its inputs"
        )
    if spec.form not in CELL_FILES:
        raise ConfigError(unknown_name("compiled cell form", spec.form, list(CELL_FILES)))
    sizes = {
        "INPUTS": spec.inputs,
        "UNITS": spec.units,
        "STATES": FORMS[spec.form].state,
        "OUTPUTS": outputs,
        "LAYERS": spec.backbone_layers,
        "HIDDEN": spec.backbone_units if spec.backbone_layers else 0,
        "TIME_UNIT_S": repr(float(spec.time_unit_s)),
        "RECURRENT": len(FORMS[spec.form].recurrent),
        "INTERPOLATE": int(spec.form == "default"),
    }
    files = [CELL_FILES[spec.form], "dense.c", "network.c", *([] if outputs else ["elapsed.c"])]
    if spec.wiring is not None:
        inter, command, _ = spec.wiring.sizes
        sizes |= {"INTER": inter, "COMMAND": command, "SLOW": int(trigger is not None), "TRIGGER": trigger or 0}
        files[2] = "wired.c"
    defines = "".join(f"#define NET_{name} {value}\n" for name, value in sizes.items())
    if spec.encoder is not None and outputs:
        encoder = spec.encoder
        sizes = {
            "IN": encoder.inputs,
            "HIDDEN": encoder.hidden,
            "OUT": encoder.features,
            "PER_M_S": 1.0 / SPEED_SCALE_M_S,
        }
        defines += "".join(f"#define ENC_{name} {value}\n" for name, value in sizes.items())
        files.append("encoder.c")
    return "\n".join([defines, *map(fragment, files)])


def fragment(name: str) -> str:
    """The C text of a file of this folder."""
    return (Path(__file__).parent / name).read_text("utf-8")


def flatten_weights(
    spec: CellSpec, weights: Mapping[str, npt.NDArray[Any]], dtype: Any = np.float32
) -> npt.NDArray[Any]:
    """All weights in one array, in the order of `weight_shapes`."""
    return np.concatenate([np.asarray(weights[name], dtype).reshape(-1) for name in weight_shapes(spec)])


def split_weights(spec: CellSpec, flat: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Inverse of `flatten_weights`; also for gradients."""
    found, start = {}, 0
    for name, shape in weight_shapes(spec).items():
        size = int(np.prod(shape))
        found[name] = flat[start : start + size].reshape(shape)
        start += size
    return found
