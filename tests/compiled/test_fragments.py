"""Law of the network fragments: step and derivative are those of the torch network, for every form and depth."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from envs.compiled.emit import prelude
from liquid_pilot import native
from liquid_pilot.cell_spec import WIRED_FORMS, CellSpec, parameters, weight_masks
from liquid_pilot.errors import ConfigError
from liquid_pilot.wiring import LAYERS
from policies import fragments
from policies.cells.cfc import CfC
from policies.fragments import flatten_weights, network_source, split_weights
from policies.network import PolicyNetwork
from policies.wirings.flown import flown_wiring
from policies.wirings.ncp import layered

pytestmark = pytest.mark.skipif(not native.available(), reason="needs a C compiler")

LANES = 4  # of double in 32 bytes
STEPS = 3
DRIVER = """
/* STEPS steps of NET_BLOCK lanes at most: loss = sum(bar_action * action) over steps + sum(bar_h * last h). */
void drive(const double *w, const double *x, const double *dt, const double *h0, const double *bar_action,
           const double *bar_h, double *action, double *h_last, double *slope, double *bar_x, double *bar_h0) {
    enum { STEPS = 3 };
    static V tape[STEPS][NET_TAPE], delta[STEPS][NET_DELTA], slopes[NET_WEIGHTS];
    const V *tapes[STEPS];
    V h[NET_STATE + 1], next[NET_STATE + 1], bar[NET_STATE + 1], before[NET_STATE + 1];
    memcpy(h, h0, sizeof(V) * NET_STATE);
    for (int k = 0; k < STEPS; ++k) {
        net_step(w, (const V *)x + k * NET_INPUTS, h, ((const V *)dt)[k], tape[k], next, (V *)action + k * NET_OUTPUTS);
        memcpy(h, next, sizeof(V) * NET_STATE);
    }
    memcpy(h_last, h, sizeof(V) * NET_STATE);
    memcpy(bar, bar_h, sizeof(V) * NET_STATE);
    for (int k = STEPS - 1; k >= 0; --k) {
        net_vjp(w, tape[k], ((const V *)dt)[k], bar, (const V *)bar_action + k * NET_OUTPUTS, delta[k],
                (V *)bar_x + k * NET_INPUTS, before);
        memcpy(bar, before, sizeof(V) * NET_STATE);
        tapes[k] = tape[k];
    }
    memcpy(bar_h0, bar, sizeof(V) * NET_STATE);
    memset(slopes, 0, sizeof slopes);
    net_gradient(1, tapes, delta[0], slopes);
    net_gradient(2, tapes + 1, delta[1], slopes);
    for (int i = 0; i < NET_WEIGHTS; ++i) slope[i] = v_sum(slopes[i]);
}
"""
SPECS = (
    CellSpec("decay", 5, 7, 3, 1, 10, 0.015),
    CellSpec("decay", 5, 6, 4, 0, 1, 0.015),
    CellSpec("default", 5, 7, 3, 1, 10, 0.015),
    CellSpec("no_gate", 5, 3, 2, 1, 9, 0.02),
    CellSpec("pure", 5, 7, 3, 0, 1, 0.015),
    CellSpec("pure", 5, 7, 3, 1, 10, 0.015),
    CellSpec("gru", 5, 7, 3, 0, 1, 0.015),
    CellSpec("gru", 5, 6, 4, 1, 10, 0.015),
    CellSpec("gru", 5, 3, 2, 2, 9, 0.015),
    CellSpec("lstm", 5, 7, 3, 0, 1, 0.015),
    CellSpec("lstm", 5, 6, 4, 1, 10, 0.015),
    CellSpec("mlp", 5, 0, 3, 2, 10, 0.015),
    *(CellSpec(form, 5, 12, 3, 0, 1, 0.015, flown_wiring("5-4-3", 5, 3, 1)) for form in WIRED_FORMS),
)


def aligned(values: Any) -> Any:
    """A copy at an address that vectors may be read from."""
    room = np.zeros(values.size + 8)
    start = -(room.ctypes.data // 8) % 8
    found = room[start : start + values.size].reshape(values.shape)
    found[...] = values
    return found


def driven(network: PolicyNetwork, given: dict[str, Any], dt_s: Any, trigger: int | None) -> list[Any]:
    """Actions, last state, and the slopes of `DRIVER` in the weights, the inputs and the first state."""
    spec, source = network.spec, network_source(network.spec, trigger)
    library = native.build(f"{prelude(32, 'double')}\n{source.text}\n{DRIVER}", "fragment")
    named = {name: value.detach().numpy().copy() for name, value in network.named_weights().items()}
    for name, mask in weight_masks(spec).items():
        named[name][~mask] = 0.0
    weights = flatten_weights(spec, named, np.float64)
    made = [aligned(np.zeros(given[n].shape)) for n in ("bar_action", "h")] + [np.zeros(len(weights))]
    made += [aligned(np.zeros(given[n].shape)) for n in ("x", "h")]
    arrays = [weights, given["x"], dt_s, given["h"], given["bar_action"], given["bar_h"], *made]
    library.drive(*(ctypes.c_void_p(array.ctypes.data) for array in arrays))
    return made


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.form}-{s.backbone_layers if s.wiring is None else 'wired'}")
def test_step_and_derivative_are_those_of_the_torch_network(spec: CellSpec) -> None:
    rng = np.random.default_rng(0)
    network = PolicyNetwork(spec, 1).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.as_tensor(rng.normal(size=parameter.shape)))
    shapes: dict[str, tuple[int, ...]] = {"x": (STEPS, spec.inputs), "bar_action": (STEPS, spec.outputs)}
    shapes |= {"h": (spec.state_width,), "bar_h": (spec.state_width,)}
    given = {name: aligned(rng.normal(size=(*shape, LANES))) for name, shape in shapes.items()}
    dt_s = aligned(rng.uniform(0.0, 0.05, (STEPS, LANES)))

    x = torch.tensor(given["x"].transpose(2, 0, 1), requires_grad=True)
    h = torch.tensor(given["h"].T, requires_grad=True)
    actions, last = network(x, torch.tensor(dt_s.T), h)
    loss = (actions * torch.tensor(given["bar_action"].transpose(2, 0, 1))).sum()
    (loss + (last * torch.tensor(given["bar_h"].T)).sum()).backward()

    found_action, found_h, found_slope, found_x, found_h0 = driven(network, given, dt_s, None)
    dead = {name: ~mask for name, mask in weight_masks(spec).items()}
    assert_allclose(found_action.transpose(2, 0, 1), actions.detach().numpy(), atol=1e-13)
    assert_allclose(found_h.T, last.detach().numpy(), atol=1e-13)
    assert x.grad is not None
    assert_allclose(found_x.transpose(2, 0, 1), x.grad.numpy(), atol=1e-12)
    if spec.units:
        assert h.grad is not None
        assert_allclose(found_h0.T, h.grad.numpy(), atol=1e-12)
    for name, slope in split_weights(spec, found_slope).items():
        wanted = network.named_weights()[name].grad
        assert wanted is not None
        if name in dead:
            assert not wanted.numpy()[dead[name]].any()
            slope[dead[name]] = 0.0  # dropped by `PolicyNetwork.set_gradient`
        assert_allclose(slope, wanted.numpy(), atol=1e-12, err_msg=name)


def test_slow_neurons_are_those_of_the_torch_cell_of_two_rates() -> None:
    spec = next(spec for spec in SPECS if spec.wiring is not None and spec.form == "decay")
    assert spec.wiring is not None
    rng, trigger = np.random.default_rng(3), 2
    network = PolicyNetwork(spec, 1).double()
    inter, command, motor = spec.wiring.sizes
    synapses = layered(5, inter, command, motor, rng=1).multi_rate(trigger)
    cell = CfC(5, wiring=synapses, time_unit_s=spec.time_unit_s).double()
    assert network.cell is not None
    for layer, name in zip(cell.layers, LAYERS, strict=True):
        layer.load_state_dict(network.cell.get_submodule(name).state_dict())
    x_shape, state = (STEPS, spec.inputs, LANES), spec.units + 1
    given = {"x": aligned(rng.normal(size=x_shape)), "bar_action": aligned(rng.normal(size=(STEPS, 3, LANES)))}
    given["x"][:, trigger] = [[0, 1, 1, 0], [1, 0, 1, 0], [0, 1, 0, 0]]  # of one lane never
    given |= {"h": aligned(rng.normal(size=(state, LANES))), "bar_h": aligned(rng.normal(size=(state, LANES)))}
    given["h"][-1] = [0.0, 0.01, 0.02, 0.03]  # seconds since the slow neurons advanced
    dt_s = aligned(rng.uniform(0.0, 0.05, (STEPS, LANES)))

    h = torch.tensor(given["h"].T, requires_grad=True)
    shown, last = cell.sequence(torch.tensor(given["x"].transpose(2, 0, 1)), torch.tensor(dt_s.T), h)
    actions = torch.tanh(network.readout(shown))
    loss = (actions * torch.tensor(given["bar_action"].transpose(2, 0, 1))).sum()
    (loss + (last[:, :-1] * torch.tensor(given["bar_h"][:-1].T)).sum()).backward()

    found_action, found_h, found_slope, _, found_h0 = driven(network, given, dt_s, trigger)
    assert_allclose(found_action.transpose(2, 0, 1), actions.detach().numpy(), atol=1e-13)
    assert_allclose(found_h.T, last.detach().numpy(), atol=1e-13)
    assert h.grad is not None
    assert_allclose(found_h0[:-1].T, h.grad[:, :-1].numpy(), atol=1e-12)
    split = split_weights(spec, found_slope)
    for layer, name in zip(cell.layers, LAYERS, strict=True):
        slope = layer.get_parameter("head.target.bias").grad
        assert slope is not None
        assert_allclose(split[f"{name}.target.bias"], slope.numpy(), atol=1e-12)


@pytest.mark.parametrize("spec", [SPECS[0], SPECS[1], SPECS[2]], ids=lambda s: f"{s.form}-{s.backbone_layers}")
def test_slow_neurons_of_a_dense_cell_are_refused(spec: CellSpec) -> None:
    with pytest.raises(ConfigError, match="wired decay cell"):
        network_source(spec, 0)


@pytest.mark.parametrize("spec", [SPECS[0], SPECS[-1]], ids=["dense", "wired"])
def test_flat_weights_split_again(spec: CellSpec) -> None:
    weights = PolicyNetwork(spec, 2).weights()
    whole = flatten_weights(spec, weights)
    assert whole.shape == (network_source(spec).weights,)
    assert parameters(spec) == len(whole) - sum(int((~mask).sum()) for mask in weight_masks(spec).values())
    for name, part in split_weights(spec, whole).items():
        assert_allclose(part, weights[name], atol=0.0)


def test_form_without_fragment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(fragments.CELL_FILES, "pure")
    with pytest.raises(ConfigError, match="choose one of: decay"):
        network_source(replace(SPECS[0], form="pure"))
