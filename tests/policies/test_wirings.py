"""Laws of the wirings: counts, fan-outs, nothing left unconnected, masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.wirings import NCP, AutoNCP, Wiring, fully_connected, random_wiring
from tests.policies.wiring_cases import DRAWS, SIZES, ncp_arguments, small


def targets_per_source(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    counts: np.ndarray[Any, Any] = np.count_nonzero(matrix, axis=1)
    return counts


def check_fan(matrix: np.ndarray[Any, Any], each: int) -> None:
    """Every source has `each` synapses; where it has more, each further one leads to a target nobody had chosen."""
    counts, fan_in = targets_per_source(matrix), np.count_nonzero(matrix, axis=0)
    orphan_fan_in = max(1, matrix.shape[0] * each // matrix.shape[1])
    extra = int(counts.sum()) - matrix.shape[0] * each
    assert (counts >= each).all() and (fan_in >= 1).all()
    assert extra % orphan_fan_in == 0
    assert extra // orphan_fan_in <= np.count_nonzero(fan_in == orphan_fan_in)
    if each == matrix.shape[1]:
        assert extra == 0


@given(ncp_arguments())
def test_ncp_has_the_neurons_and_synapses_that_were_asked_for(arguments: dict[str, int]) -> None:
    wiring = NCP(**arguments)
    inter, command, motor = wiring.slices
    assert wiring.layers == (arguments["inter"], arguments["command"], arguments["motor"])
    assert wiring.names == ("inter", "command", "motor") and wiring.outputs == arguments["motor"]
    check_fan(wiring.sensory[:, inter], arguments["sensory_fanout"])
    check_fan(wiring.recurrent[inter, command], arguments["inter_fanout"])
    check_fan(wiring.recurrent[command, motor].T, arguments["motor_fanin"])
    assert np.count_nonzero(wiring.recurrent[command, command]) == arguments["recurrent_command_synapses"]
    assert set(np.unique(wiring.recurrent)) | set(np.unique(wiring.sensory)) <= {-1, 0, 1}
    parts = [wiring.recurrent[inter, command], wiring.recurrent[command, command], wiring.recurrent[command, motor]]
    assert wiring.synapses == sum(np.count_nonzero(part) for part in parts)
    assert wiring.sensory_synapses == np.count_nonzero(wiring.sensory[:, inter])


def test_fan_outs_are_exact_where_no_neuron_is_left_out() -> None:
    wiring = NCP(32, 12, 6, 1, sensory_fanout=6, inter_fanout=4, recurrent_command_synapses=6, motor_fanin=6)
    inter, command, motor = wiring.slices
    assert wiring.units == 19 and wiring.outputs == 1
    assert set(targets_per_source(wiring.sensory[:, inter])) == {6}
    assert set(targets_per_source(wiring.recurrent[inter, command])) == {4}
    assert np.count_nonzero(wiring.recurrent[command, motor]) == 6
    assert wiring.sensory_synapses == 192 and wiring.synapses == 48 + 6 + 6
    assert wiring.density == pytest.approx(252 / (19 * 19 + 32 * 19))


def test_neurons_left_out_get_the_mean_fan_in() -> None:
    wiring = NCP(2, 9, 1, 1, sensory_fanout=1, inter_fanout=1, recurrent_command_synapses=0, motor_fanin=1)
    assert set(np.count_nonzero(wiring.sensory[:, :9], axis=0)) <= {1, 2} and wiring.sensory_synapses == 9


@pytest.mark.parametrize(("outputs", "layers"), [(4, (9, 6, 4)), (6, (8, 5, 6)), (1, (11, 7, 1))])
def test_auto_ncp_of_nineteen_neurons_has_the_published_layers(outputs: int, layers: tuple[int, ...]) -> None:
    assert AutoNCP(12, 19, outputs).layers == layers


def test_auto_ncp_has_the_published_fan_outs() -> None:
    wiring = AutoNCP(12, 19, 4)
    inter, command, motor = wiring.slices
    assert set(targets_per_source(wiring.sensory[:, inter])) == {4}
    check_fan(wiring.recurrent[inter, command], 3)
    assert np.count_nonzero(wiring.recurrent[command, command]) == 6
    check_fan(wiring.recurrent[command, motor].T, 3)


@given(units=st.integers(4, 60), data=st.data())
def test_auto_ncp_has_the_sizes_of_the_public_package(units: int, data: st.DataObject) -> None:
    from ncps.wirings import AutoNCP as PublicAutoNCP

    outputs = data.draw(st.integers(1, units - 3))
    sparsity = data.draw(st.floats(0.1, 0.9))
    theirs = PublicAutoNCP(units, outputs, sparsity)
    ours = AutoNCP(units, units, outputs, sparsity)
    inter, command, motor = ours.slices
    assert ours.layers == tuple(len(theirs.get_neurons_of_layer(i)) for i in range(3))
    check_fan(ours.sensory[:, inter], theirs._sensory_fanout)
    check_fan(ours.recurrent[inter, command], theirs._inter_fanout)
    check_fan(ours.recurrent[command, motor].T, theirs._motor_fanin)
    assert np.count_nonzero(ours.recurrent[command, command]) == theirs._recurrent_command_synapses


@given(inputs=st.integers(1, 8), units=st.integers(1, 12), sparsity=st.floats(0.0, 0.9), data=st.data())
def test_random_wirings_leave_nothing_out(inputs: int, units: int, sparsity: float, data: st.DataObject) -> None:
    outputs = data.draw(st.integers(1, units))
    wiring = random_wiring(inputs, units, outputs, sparsity, rng=data.draw(st.integers(0, 99)))
    asked = round(units * units * (1 - sparsity)), round(inputs * units * (1 - sparsity))
    assert wiring.layers == (units,) and wiring.outputs == outputs
    assert asked[0] <= wiring.synapses <= asked[0] + units
    assert asked[1] <= wiring.sensory_synapses <= asked[1] + inputs + units
    walk = (
        np.linalg.matrix_power(np.eye(units) + np.abs(wiring.recurrent), units) > 0
    )  # paths of up to `units` synapses
    assert ((np.abs(wiring.sensory) @ walk) > 0).any(axis=0).all()
    assert walk[:, units - outputs :].any(axis=1).all()
    assert wiring.sensory.any(axis=1).all()


def test_random_wiring_that_needs_no_help_has_exactly_the_synapses_asked_for() -> None:
    wiring = random_wiring(10, 20, 4, 0.5)
    assert (wiring.synapses, wiring.sensory_synapses) == (200, 100)


def test_fully_connected_has_every_synapse_and_both_signs() -> None:
    wiring = fully_connected(3, 8, 2)
    assert (wiring.synapses, wiring.sensory_synapses, wiring.density) == (64, 24, 1.0)
    assert {-1, 1} == set(np.unique(wiring.recurrent))


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: AutoNCP(7, 19, 4, rng=rng),
        lambda rng: NCP(**SIZES, **DRAWS, rng=rng),
        lambda rng: fully_connected(3, 8, 2, rng),
        lambda rng: random_wiring(3, 8, 2, 0.5, rng),
    ],
)
def test_a_seed_is_a_wiring(make: Callable[[Any], Wiring]) -> None:
    assert make(5).to_json() == make(5).to_json() == make(np.random.default_rng(5)).to_json()
    assert make(5).to_json() != make(6).to_json()
    stream = np.random.default_rng(5)
    assert make(stream).to_json() != make(stream).to_json()


@given(ncp_arguments())
def test_masks_are_zero_exactly_where_no_synapse_is(arguments: dict[str, int]) -> None:
    wiring = NCP(**arguments)
    sources, width = wiring.sensory, wiring.inputs
    for here, full, wired in zip(wiring.slices, wiring.masks(), wiring.masks("wired"), strict=True):
        size = here.stop - here.start
        assert full.shape == wired.shape == (size, width + size)
        assert full.dtype == np.float32 and set(np.unique(full)) <= {0.0, 1.0}
        np.testing.assert_array_equal(full[:, :width], (sources[:, here] != 0).T)
        np.testing.assert_array_equal(full[:, width:], np.ones((size, size)))
        np.testing.assert_array_equal(wired[:, :width], full[:, :width])
        own = (wiring.recurrent[here, here] != 0).T
        off_diagonal = ~np.eye(size, dtype=bool)
        np.testing.assert_array_equal(wired[:, width:][off_diagonal], own[off_diagonal])
        assert (np.diag(wired[:, width:]) == 1).all()
        sources, width = wiring.recurrent[here], size


def test_a_mask_says_who_listens_in_rows_and_who_speaks_in_columns() -> None:
    first, second = small(recurrent=np.array([[0, 1, 1], [0, 0, -1], [0, 0, 0]])).masks("wired")
    np.testing.assert_array_equal(first, [[1, 0, 1, 0], [0, 1, 1, 1]])  # a 1 hears input 1, a 0 and itself
    np.testing.assert_array_equal(second, [[1, 1, 1]])


def test_live_weights_are_the_ones_of_the_masks() -> None:
    wiring = AutoNCP(12, 19, 4)
    between_layers = wiring.synapses - 6  # all but the recurrent command synapses
    assert wiring.live_weights() == wiring.sensory_synapses + between_layers + 9**2 + 6**2 + 4**2
    command = wiring.recurrent[wiring.slices[1], wiring.slices[1]]
    loops = np.count_nonzero(np.diag(command))
    assert wiring.live_weights("wired") == wiring.sensory_synapses + wiring.synapses + 19 - loops


def test_multi_rate_adds_slow_layers_and_keeps_the_synapses() -> None:
    wiring = AutoNCP(7, 19, 4)
    slow = wiring.multi_rate(trigger=6)
    assert (slow.slow_layers, slow.trigger) == (("command",), 6)
    assert slow.to_json() == {**wiring.to_json(), "slow_layers": ["command"], "trigger": 6}


def test_inputs_may_be_unused_where_that_is_said() -> None:
    wiring = small(sensory=np.array([[1, 1, 0], [0, 0, 0]]), allow_unused_inputs=True)
    assert wiring.sensory_synapses == 2
    assert Wiring.from_json(wiring.to_json()).to_json() == wiring.to_json()


def test_the_matrices_are_a_wirings_own() -> None:
    sensory = np.array([[1, 0, 0], [0, -1, 0]])
    wiring = small(sensory=sensory)
    sensory[:] = 0
    assert wiring.sensory_synapses == 2 and wiring.sensory.dtype == wiring.recurrent.dtype == np.int8
    with pytest.raises(ValueError, match="read-only"):
        wiring.recurrent[0, 0] = 1


def test_from_arrays_takes_sizes_from_the_arrays() -> None:
    wiring = small()
    assert Wiring.from_arrays(wiring.sensory, wiring.recurrent, 1, {"a": 2, "b": 1}).to_json() == wiring.to_json()
    assert Wiring.from_arrays(wiring.sensory, wiring.recurrent, 1).layers == (3,)
