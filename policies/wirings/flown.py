"""The wiring of a policy: drawn as a neural circuit policy, written as its file states it."""

from __future__ import annotations

import re

from liquid_pilot.errors import ConfigError
from liquid_pilot.wiring import CellWiring
from policies.wirings.ncp import layered


def flown_wiring(text: str, inputs: int, outputs: int, seed: int) -> CellWiring:
    """The wiring of "INTER-COMMAND-MOTOR" neurons, such as "9-6-4", with the published shares of synapses.

    Within a layer every neuron hears every other, as in the published wired CfC; the polarities of the synapses are
    left out, because a CfC learns the signs of its weights. Raises `ConfigError`, also where there are not as many
    motor neurons as outputs.
    """
    found = re.fullmatch(r"([1-9]\d{0,3})-([1-9]\d{0,3})-([1-9]\d{0,3})", text)
    if found is None:
        raise ConfigError(f"wiring is {text!r}; give the neurons of three layers, INTER-COMMAND-MOTOR, such as 9-6-4")
    inter, command, motor = (int(size) for size in found.groups())
    if motor != outputs:
        raise ConfigError(
            f"wiring is {text!r}, with {motor} motor neurons; they are the outputs, of which there are {outputs}; "
            f"give {inter}-{command}-{outputs}"
        )
    masks = layered(inputs, inter, command, motor, rng=seed).masks("full")
    first, second, third = (tuple("".join("01"[int(live)] for live in row) for row in mask.tolist()) for mask in masks)
    return CellWiring(first, second, third, seed)
