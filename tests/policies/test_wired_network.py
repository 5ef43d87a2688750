"""Laws of a wired policy network: the wired CfC of the library, masks that hold, and parity with what flies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from envs.airframe import load_airframe
from liquid_pilot import native
from liquid_pilot.bundle import load_bundle
from liquid_pilot.cell_spec import WIRED_FORMS, CellSpec, parameters, weight_masks
from liquid_pilot.cells import Network
from liquid_pilot.errors import ConfigError
from liquid_pilot.observation import OBS_DIM
from liquid_pilot.wiring import LAYERS
from policies.analytic import AnalyticTrainer
from policies.cells import matching
from policies.cells.cfc import CfC
from policies.cells.layer import CfCLayer
from policies.cells.wired import Wired
from policies.checkpoint import load_checkpoint, save_checkpoint
from policies.export import export_policy
from policies.network import PolicyNetwork, hover_spec
from policies.warm_start import check_start
from policies.wirings import AutoNCP
from policies.wirings.flown import flown_wiring
from tests.onboard.bundles import make
from tests.policies.test_training import TINY

needs_compiler = pytest.mark.skipif(not native.available(), reason="needs a C compiler")


def small(form: str, seed: int = 0) -> PolicyNetwork:
    """7 inputs; 6, 4 and 3 neurons."""
    return PolicyNetwork(CellSpec(form, 7, 13, 3, 0, 1, 0.015, flown_wiring("6-4-3", 7, 3, 5)), seed)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_default_sizes_are_those_of_the_published_shares(seed: int) -> None:
    drawn, published = flown_wiring("9-6-4", OBS_DIM, 4, seed), AutoNCP(OBS_DIM, 19, 4, rng=seed)
    for mask, wanted in zip(drawn.masks.values(), published.masks("full"), strict=True):
        np.testing.assert_array_equal(mask, wanted != 0)
    assert drawn.live_synapses == published.live_weights("full")
    spec = hover_spec("default", wiring="9-6-4", wiring_seed=seed)
    assert matching.parameters(PolicyNetwork(spec)) == parameters(spec)


@pytest.mark.parametrize("form", WIRED_FORMS)
def test_the_network_is_the_wired_cfc_with_a_readout_for_each_motor_neuron(form: str) -> None:
    wiring = AutoNCP(OBS_DIM, 19, 4, rng=2)
    cell = CfC(OBS_DIM, wiring=wiring, form=form, time_unit_s=0.015).double()
    network = PolicyNetwork(hover_spec(form, 0.015, "9-6-4", 2), 1).double()
    for name, layer in zip(LAYERS, cell.layers, strict=True):
        layer.load_state_dict(cast(Wired, network.cell)[name].state_dict())
    x, dt_s = torch.randn(3, 20, OBS_DIM, dtype=torch.float64), 0.05 * torch.rand(3, 20, dtype=torch.float64)
    motor, _ = cell.sequence(x, dt_s, torch.zeros(3, 19, dtype=torch.float64))
    actions, _ = network(x, dt_s)
    wanted = torch.tanh(motor * network.readout.weight + network.readout.bias)
    assert_allclose(actions.detach(), wanted.detach(), atol=1e-13)


@pytest.mark.parametrize("form", WIRED_FORMS)
def test_torch_equals_numpy_over_a_thousand_steps(form: str) -> None:
    network = small(form, 3)
    flying = Network(network.spec, network.weights())
    rng = np.random.default_rng(0)
    h_torch, h_numpy = network.initial_state(1), flying.initial_state()
    with torch.no_grad():
        for k in range(1000):
            x = rng.normal(size=7).astype(np.float32)
            dt = 0.0 if k % 50 == 0 else float(np.exp(rng.uniform(np.log(0.001), np.log(0.2))))
            a_torch, h_torch = network.step(torch.from_numpy(x)[None], h_torch, torch.tensor([dt]))
            a_numpy, h_numpy = flying.step(x, h_numpy, dt)
            assert_allclose(a_torch[0].numpy(), a_numpy, atol=1e-5)
    assert_allclose(h_torch[0].numpy(), h_numpy, atol=1e-5)


@pytest.mark.parametrize("form", WIRED_FORMS)
def test_masks_hold_whatever_the_optimiser_does(form: str) -> None:
    network = small(form)
    masks = weight_masks(network.spec)
    heads = {"decay": 2, "default": 4, "no_gate": 4, "pure": 1}
    assert len(masks) == 3 * heads[form]  # every matrix, the time gates too
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    before = after = network.weights()
    for k in range(5):
        optimizer.zero_grad()
        x, dt_s = torch.randn(4, 6, 7), 0.05 * torch.rand(4, 6)
        if k % 2:
            network(x, dt_s)[0].square().sum().backward()
        else:  # as the compiled engine tells it: dense derivatives
            network.set_gradient({name: torch.randn(p.shape) for name, p in network.named_weights().items()})
        optimizer.step()
        after = network.weights()
        for name, mask in masks.items():
            assert not after[name][~mask].any() and not np.signbit(after[name][~mask]).any()
            assert not network.named_weights()[name].detach().numpy()[~mask].any()
    assert all((after[name] != before[name])[mask].all() for name, mask in masks.items())


def test_weights_written_where_no_synapse_is_do_nothing() -> None:
    network = small("decay")
    x, dt_s = torch.randn(2, 5, 7), torch.full((2, 5), 0.02)
    wanted, _ = network(x, dt_s)
    with torch.no_grad():
        for name, mask in weight_masks(network.spec).items():
            network.named_weights()[name][torch.as_tensor(~mask)] = 3.0
    found, _ = network(x, dt_s)
    assert torch.equal(found, wanted)
    Network(network.spec, network.weights())  # nor are they exported


def test_motor_neurons_of_decay_begin_fast() -> None:
    network = PolicyNetwork(hover_spec("decay", wiring="9-6-4"))
    motor = cast(CfCLayer, cast(Wired, network.cell)["motor"])
    tau_s = 0.015 / torch.nn.functional.softplus(motor.head.get_parameter("rate.bias"))
    assert_allclose(tau_s.detach(), 0.02, rtol=1e-5)


@pytest.mark.parametrize("backend", ["torch", pytest.param("compiled", marks=needs_compiler)])
def test_a_run_flies_its_wiring_into_a_policy_file(backend: str, tmp_path: Path) -> None:
    trainer = AnalyticTrainer(replace(TINY, wiring="9-6-4", wiring_seed=3), backend)
    before = trainer.network.weights()
    trainer.update(0.5)
    trainer.best.load_state_dict(trainer.network.state_dict())
    bundle = load_bundle(export_policy(trainer, tmp_path / "policy.safetensors", "wired", "test"))
    assert bundle.spec.wiring == flown_wiring("9-6-4", OBS_DIM, 4, 3)
    assert bundle.parameters == 2 * (256 + 19) + 8
    for name, mask in weight_masks(bundle.spec).items():
        assert not bundle.weights[name][~mask].any()
        assert (bundle.weights[name] != before[name])[mask].any()


@needs_compiler
def test_a_resumed_run_gives_the_weights_of_one_that_was_never_stopped(tmp_path: Path) -> None:
    config, path = replace(TINY, wiring="9-6-4"), tmp_path / "c.safetensors"
    whole = AnalyticTrainer(config, "compiled")
    for k in range(4):
        whole.update(0.5)
        if k == 1:
            save_checkpoint(path, whole)
    second = load_checkpoint(path, config, "compiled")
    for _ in range(2):
        second.update(0.5)
    for name, value in whole.network.weights().items():
        np.testing.assert_array_equal(second.network.weights()[name], value)


def test_a_bundle_gives_the_network_again() -> None:
    network = PolicyNetwork(hover_spec("default", wiring="9-6-4"), 4)
    again = PolicyNetwork.from_bundle(make(spec=network.spec))
    wanted = make(spec=network.spec).weights
    for name, value in again.weights().items():
        np.testing.assert_array_equal(value, wanted[name])


@pytest.mark.parametrize("text", ["9-6", "9-6-4-1", "9 6 4", "0-6-4", "nine-6-4", "9-6-4\n", ""])
def test_wirings_that_are_no_three_layers_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="INTER-COMMAND-MOTOR, such as 9-6-4"):
        hover_spec("decay", wiring=text)


def test_wirings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"1 motor neurons.*there are 4; give 12-6-4"):
        hover_spec("decay", wiring="12-6-1")
    with pytest.raises(ConfigError, match="give it to one of: decay, default, no_gate, pure"):
        hover_spec("gru", wiring="9-6-4")
    bundle, here = make(spec=hover_spec("decay", wiring="9-6-4")), hover_spec("decay", wiring="9-6-4", wiring_seed=1)
    with pytest.raises(ConfigError, match="wiring: 9-6-4 of seed 0 there, 9-6-4 of seed 1 here"):
        check_start(bundle, here, bundle.limits, load_airframe("cf2x"), "hover")
