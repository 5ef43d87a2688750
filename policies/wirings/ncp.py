"""Neural circuit policies: sensory -> inter -> command -> motor, sparse, with recurrent command neurons.

Lechner et al., "Neural circuit policies enabling auditable autonomy" (2020).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from policies.wirings.checks import LARGEST, check_counts, check_range
from policies.wirings.synapses import Rng, check_sparsity, fan_out, generator, scattered
from policies.wirings.wiring import Wiring

LAYERS: Final = ("inter", "command", "motor")
_COMMAND_SHARE: Final = 0.4  # of the neurons that are not motor neurons, as published


def NCP(
    inputs: int,
    inter: int,
    command: int,
    motor: int,
    sensory_fanout: int,
    inter_fanout: int,
    recurrent_command_synapses: int,
    motor_fanin: int,
    rng: Rng = 0,
) -> Wiring:
    """Wiring with explicit numbers of neurons and synapses.

    Each input feeds `sensory_fanout` inter neurons, each of these `inter_fanout` command neurons, and each motor neuron
    hears `motor_fanin` command neurons; a neuron that all draws left out gets further synapses. Exactly
    `recurrent_command_synapses` join command neurons, loops onto themselves included. rng: a generator or a seed.
    Raises `ConfigError`.
    """
    check_counts(inputs=inputs, inter=inter, command=command, motor=motor)
    check_range("sensory_fanout", sensory_fanout, 1, inter, "the number of inter neurons")
    check_range("inter_fanout", inter_fanout, 1, command, "the number of command neurons")
    check_range("recurrent_command_synapses", recurrent_command_synapses, 0, command**2, "the pairs of command neurons")
    check_range("motor_fanin", motor_fanin, 1, command, "the number of command neurons")
    units, random = inter + command + motor, generator(rng)
    check_range("number of neurons", units, 1, LARGEST)
    first, second, last = slice(0, inter), slice(inter, inter + command), slice(inter + command, units)
    sensory = np.zeros((inputs, units), dtype=np.int8)
    recurrent = np.zeros((units, units), dtype=np.int8)
    sensory[:, first] = fan_out(inputs, inter, sensory_fanout, random)
    recurrent[first, second] = fan_out(inter, command, inter_fanout, random)
    recurrent[second, second] = scattered(command, command, recurrent_command_synapses, random)
    recurrent[second, last] = fan_out(motor, command, motor_fanin, random).T
    return Wiring(inputs, (inter, command, motor), LAYERS, recurrent, sensory, motor)


def AutoNCP(inputs: int, units: int, outputs: int, sparsity: float = 0.5, rng: Rng = 0) -> Wiring:
    """`NCP` of so many neurons, `outputs` of them motor neurons, with the published shares of layers and synapses.

    sparsity: 0 (dense) to 0.9. rng: a generator or a seed. Raises `ConfigError`.
    """
    check_range("units", units, 3, LARGEST)
    check_range("outputs", outputs, 1, units - 2, "so that an inter and a command neuron are left")
    command = max(int(_COMMAND_SHARE * (units - outputs)), 1)
    return layered(inputs, units - outputs - command, command, outputs, sparsity, rng)


def layered(inputs: int, inter: int, command: int, motor: int, sparsity: float = 0.5, rng: Rng = 0) -> Wiring:
    """`NCP` of layers of these sizes with the published shares of synapses. See `AutoNCP`."""
    check_sparsity(sparsity)
    check_counts(inputs=inputs, inter=inter, command=command, motor=motor)
    density = 1.0 - sparsity
    return NCP(
        inputs,
        inter,
        command,
        motor,
        sensory_fanout=max(int(inter * density), 1),
        inter_fanout=max(int(command * density), 1),
        recurrent_command_synapses=min(max(int(command * density * 2), 1), command**2),
        motor_fanin=max(int(command * density), 1),
        rng=rng,
    )
