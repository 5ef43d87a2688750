"""Wirings for the tests: a small one, and arguments of NCP."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from policies.wirings import Wiring

SIZES = {"inputs": 5, "inter": 4, "command": 3, "motor": 2}
DRAWS = {"sensory_fanout": 2, "inter_fanout": 2, "recurrent_command_synapses": 4, "motor_fanin": 2}


def small(**changes: Any) -> Wiring:
    """input 0, 1 -> a 0, a 1 -> b 0, the motor neuron."""
    fields: dict[str, Any] = {
        "inputs": 2,
        "layers": (2, 1),
        "names": ("a", "b"),
        "recurrent": np.array([[0, 0, 1], [0, 0, -1], [0, 0, 0]]),
        "sensory": np.array([[1, 0, 0], [0, -1, 0]]),
        "outputs": 1,
    }
    return Wiring(**{**fields, **changes})


@st.composite
def ncp_arguments(draw: st.DrawFn) -> dict[str, int]:
    inputs, inter, command, motor = (draw(st.integers(1, 9)) for _ in range(4))
    return {
        "inputs": inputs,
        "inter": inter,
        "command": command,
        "motor": motor,
        "sensory_fanout": draw(st.integers(1, inter)),
        "inter_fanout": draw(st.integers(1, command)),
        "recurrent_command_synapses": draw(st.integers(0, command**2)),
        "motor_fanin": draw(st.integers(1, command)),
        "rng": draw(st.integers(0, 2**32)),
    }
