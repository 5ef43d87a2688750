"""What is no wiring, and what the error says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from liquid_pilot.errors import ConfigError
from policies.wirings import NCP, AutoNCP, Wiring, fully_connected, random_wiring
from tests.policies.wiring_cases import DRAWS, SIZES, small


@pytest.mark.parametrize("rng", [-1, 1.5, True, None, "7", np.random.RandomState(0)])
def test_a_seed_is_a_whole_number(rng: Any) -> None:
    with pytest.raises(ConfigError, match=r"rng is .*give a numpy\.random\.Generator or a seed"):
        AutoNCP(7, 19, 4, rng=rng)


def test_recurrence_has_two_ways() -> None:
    with pytest.raises(ConfigError, match="unknown recurrence 'none'; choose one of: full, wired"):
        small().masks("none")


@pytest.mark.parametrize(
    ("trigger", "slow", "said"),
    [
        (7, ("command",), "trigger is 7; give a whole number from 0 to 6"),
        (-1, ("command",), "trigger is -1"),
        (True, ("command",), "trigger is True"),
        (None, ("command",), "trigger None; give both, or neither"),
        (0, (), "give both, or neither"),
        (0, ("comand",), "unknown layer 'comand'; choose one of: command, inter, motor"),
        (0, "command", "the slow layers are 'command'; give a tuple"),
        (0, ("command", "command"), "name each of them once"),
        (0, [["command"]], "unknown layer"),
        (0, None, "give a tuple"),
    ],
)
def test_slow_layers_are_layers_that_an_input_triggers(trigger: Any, slow: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        AutoNCP(7, 19, 4).multi_rate(trigger, slow)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sensory_fanout": 5}, "sensory_fanout is 5; give a whole number from 1 to 4, the number of inter neurons"),
        ({"inter_fanout": 4}, "inter_fanout is 4; give a whole number from 1 to 3, the number of command neurons"),
        ({"motor_fanin": 4}, "motor_fanin is 4; give a whole number from 1 to 3"),
        ({"recurrent_command_synapses": 10}, "recurrent_command_synapses is 10; give a whole number from 0 to 9"),
        ({"recurrent_command_synapses": -1}, "recurrent_command_synapses is -1"),
        *(({name: value}, f"{name} is {value}") for name in (*SIZES, *DRAWS) for value in (-1, 2.0, None, True)),
        *(({name: 0}, f"{name} is 0") for name in (*SIZES, "sensory_fanout", "inter_fanout", "motor_fanin")),
        ({"inputs": 10**9}, "inputs is 1000000000; give a whole number from 1 to 4096"),
        ({"inter": 4096}, "number of neurons is 4101"),
    ],
)
def test_ncp_refuses_sizes_that_do_not_fit(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        NCP(**{**SIZES, **DRAWS, **changes})


@pytest.mark.parametrize("sparsity", [-0.1, 0.91, 1.0, float("nan"), float("inf"), None, "0.5", True])
@pytest.mark.parametrize("make", [AutoNCP, random_wiring])
def test_sparsity_leaves_a_network(make: Callable[..., Wiring], sparsity: Any) -> None:
    with pytest.raises(ConfigError, match=r"sparsity is .*; give a number from 0 \(dense\) to 0\.9"):
        make(7, 19, 4, sparsity)


@pytest.mark.parametrize(
    "make", [AutoNCP, lambda inputs, units, outputs: random_wiring(inputs, units, outputs, 0.5), fully_connected]
)
@pytest.mark.parametrize("sizes", [(0, 9, 2), (3, 0, 2), (3, 9, 0), (3, 9, 10), (3, 9.0, 2), (3, 2, 3), (3, 9, "2")])
def test_sizes_are_whole_numbers_that_fit(make: Callable[..., Wiring], sizes: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError, match="give a whole number from"):
        make(*sizes)


def test_auto_ncp_needs_an_inter_and_a_command_neuron() -> None:
    assert AutoNCP(3, 6, 4, 0.0).layers == (1, 1, 4)
    with pytest.raises(ConfigError, match="outputs is 5; give a whole number from 1 to 4, so that an inter"):
        AutoNCP(3, 6, 5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recurrent": np.zeros((2, 2), int)}, r"recurrent is int64 \(2, 2\); give an array .* \(3, 3\)"),
        ({"sensory": np.zeros((3, 2), int)}, r"sensory is int64 \(3, 2\); give an array .* \(2, 3\)"),
        ({"sensory": np.ones((2, 3))}, r"sensory is float64 \(2, 3\); give an array of whole numbers"),
        ({"sensory": np.ones((2, 3), bool)}, "sensory is bool"),
        ({"sensory": [[1, 0, 0], [0, -1, 0]]}, "sensory is a list"),
        ({"sensory": np.array([[1, 0, 0], [0, 2, 0]])}, r"sensory holds 2; a polarity is -1, 0 \(no synapse\) or \+1"),
        ({"sensory": np.array([[255, 0, 0], [0, 1, 0]], np.uint8)}, "sensory holds 255"),
        ({"sensory": np.array([[1, 0, 1], [0, 1, 0]])}, "from input 0 to b 0; each stays in its layer"),
        ({"recurrent": np.array([[0, 0, 1], [0, 0, 1], [1, 0, 0]])}, "from b 0 to a 0; each stays in its layer"),
        ({"sensory": np.array([[1, 0, 0], [1, 0, 0]])}, "no input acts on a 1; give each an incoming synapse"),
        ({"recurrent": np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0]])}, "no motor neuron hears a 0; give each a synapse"),
        ({"recurrent": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])}, "no input acts on b 0"),
        ({"sensory": np.array([[1, 1, 0], [0, 0, 0]])}, "no synapse leaves input 1; connect each"),
        ({"layers": [2, 1]}, "layers is .* give a tuple"),
        ({"layers": ()}, "layers is"),
        ({"layers": (3, 0)}, "size of a layer is 0"),
        ({"layers": (2, True)}, "size of a layer is True"),
        ({"layers": (4096, 1)}, "number of neurons is 4097"),
        ({"names": ("a",)}, "names is .* give a tuple of 2 different texts"),
        ({"names": ("a", "a")}, "names is"),
        ({"names": ("a", "")}, "names is"),
        ({"names": "ab"}, "names is"),
        ({"names": ("a", ["b"])}, "names is"),
        ({"outputs": 0}, "outputs is 0; give a whole number from 1 to 1, the size of the last layer"),
        ({"outputs": 2}, "outputs is 2"),
        ({"inputs": 3}, r"sensory is int64 \(2, 3\)"),
        ({"inputs": 0}, "inputs is 0"),
        ({"allow_unused_inputs": 1}, "allow_unused_inputs is 1; give True or False"),
    ],
)
def test_a_wiring_that_is_not_sound_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        small(**changes)


def test_neurons_that_only_hear_each_other_are_not_connected() -> None:
    recurrent = np.zeros((9, 9), int)
    recurrent[:8, 8], recurrent[range(7), range(1, 8)], recurrent[7, 0] = 1, 1, 1
    sensory = np.zeros((1, 9), int)
    sensory[0, 8] = 1
    with pytest.raises(ConfigError, match=r"no input acts on .* 0, .* 5 and 2 more; give"):
        Wiring.from_arrays(sensory, recurrent, outputs=1)


@pytest.mark.parametrize("matrix", [np.ones(3, int), np.ones((2, 2, 2), int), [[1], [1, 2]], None])
def test_from_arrays_takes_matrices_alone(matrix: Any) -> None:
    with pytest.raises(ConfigError, match=r"sensory is .*give an array of whole numbers"):
        Wiring.from_arrays(matrix, np.ones((2, 2), int), 1)
    with pytest.raises(ConfigError, match=r"layers is .*give name and size"):
        Wiring.from_arrays(np.ones((2, 2), int), np.ones((2, 2), int), 1, [2])  # type: ignore[arg-type]
