"""Laws of the torch cells: published numbers, identity and composition in time, parity with what flies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from liquid_pilot.cells import CellSpec, Network, parameters
from liquid_pilot.errors import ConfigError
from policies.network import PolicyNetwork, hover_spec

FORMS = ("decay", "default", "no_gate", "pure", "gru", "lstm", "mlp")
NCPS_MODES = {"default": "default", "no_gate": "no_gate", "pure": "pure"}


def random_network(form: str, seed: int = 0, **sizes: Any) -> PolicyNetwork:
    spec = CellSpec(form=form, inputs=7, units=0 if form == "mlp" else 5, outputs=4, **sizes)
    return PolicyNetwork(spec, seed)


def sized(form: str, layers: int = 1) -> dict[str, Any]:
    return {"backbone_layers": layers, "backbone_units": 6, "time_unit_s": 0.015}


@pytest.mark.parametrize("form", NCPS_MODES)
@pytest.mark.parametrize("dt", [0.0, 0.3, 1.0, 7.0])
def test_published_forms_give_the_numbers_of_the_public_package(form: str, dt: float) -> None:
    from ncps.torch import CfCCell

    theirs = CfCCell(7, 5, mode=NCPS_MODES[form], backbone_units=6, backbone_layers=1).double()
    ours = random_network(form, **sized(form)).double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter))
    state = theirs.state_dict()
    names = {"backbone.0.weight": "backbone.0.weight", "backbone.0.bias": "backbone.0.bias"}
    heads = ["ff1"] if form == "pure" else ["ff1", "ff2", "time_a", "time_b"]
    names |= {f"cell.{h}.{p}": f"{h}.{p}" for h in heads for p in ("weight", "bias")}
    own = ours.state_dict()
    own |= {mine: state[other].reshape(own[mine].shape) for mine, other in names.items()}
    if form == "pure":
        own |= {"cell.w_tau": state["w_tau"].flatten(), "cell.a": state["A"].flatten()}
    ours.load_state_dict(own)
    x, h = torch.randn(3, 7, dtype=torch.float64), torch.rand(3, 5, dtype=torch.float64)
    _, mine = ours.step(x, h, torch.full((3,), dt * 0.015, dtype=torch.float64))
    expected, _ = theirs(x, h, torch.full((3, 1), dt, dtype=torch.float64))
    assert_allclose(mine.detach().numpy(), expected.detach().numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("form", "layers"), [(form, layers) for form in FORMS for layers in (0, 1, 2) if form != "mlp" or layers]
)
def test_torch_equals_numpy_over_a_thousand_steps(form: str, layers: int) -> None:
    network = random_network(form, seed=3, **sized(form, layers))
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


def test_gru_gives_the_numbers_of_torch() -> None:
    ours, theirs = random_network("gru", 1, **sized("gru", 0)).double(), torch.nn.GRUCell(7, 5).double()
    own = ours.state_dict()
    for side, letter in (("x", "ih"), ("h", "hh")):
        for part in ("weight", "bias"):
            blocks = theirs.state_dict()[f"{part}_{letter}"].chunk(3)  # reset, update, new
            own |= {f"cell.{g}_{side}.{part}": b for g, b in zip(("reset", "update", "new"), blocks, strict=True)}
    ours.load_state_dict(own)
    mine = expected = torch.rand(3, 5, dtype=torch.float64) * 2 - 1
    for dt in (0.0, 0.01, 7.0):
        x = torch.randn(3, 7, dtype=torch.float64)
        _, mine = ours.step(x, mine, torch.full((3,), dt, dtype=torch.float64))
        expected = theirs(x, expected)
        assert_allclose(mine.detach().numpy(), expected.detach().numpy(), atol=1e-14)


def test_lstm_gives_the_numbers_of_torch() -> None:
    ours, theirs = random_network("lstm", 1, **sized("lstm", 0)).double(), torch.nn.LSTMCell(7, 5).double()
    own = ours.state_dict()
    for side, letter in (("x", "ih"), ("h", "hh")):
        for part in ("weight", "bias"):
            blocks = theirs.state_dict()[f"{part}_{letter}"].chunk(4)
            for gate, block in zip(("write", "keep", "new", "show"), blocks, strict=True):
                own[f"cell.{gate}_{side}.{part}"] = block
    ours.load_state_dict(own)
    mine = torch.rand(3, 10, dtype=torch.float64) * 2 - 1
    expected = mine.split(5, dim=1)
    for dt in (0.0, 0.01, 7.0):
        x = torch.randn(3, 7, dtype=torch.float64)
        action, mine = ours.step(x, mine, torch.full((3,), dt, dtype=torch.float64))
        expected = theirs(x, expected)
        assert_allclose(mine.detach().numpy(), torch.cat(expected, dim=1).detach().numpy(), atol=1e-14)
        assert_allclose(action.detach(), torch.tanh(ours.readout(expected[0])).detach(), atol=1e-14)


def test_decay_is_the_identity_at_dt_zero_and_published_forms_are_not() -> None:
    x, h = torch.randn(4, 7), torch.rand(4, 5) * 2 - 1
    _, same = random_network("decay", **sized("decay")).step(x, h, torch.zeros(4))
    assert torch.equal(same, h)
    _, moved = random_network("default", **sized("default")).step(x, h, torch.zeros(4))
    assert float((moved - h).detach().abs().max()) > 0.1


def test_decay_two_half_steps_are_one_step_when_rates_ignore_the_state() -> None:
    network = random_network("decay", **sized("decay")).double()
    with torch.no_grad():
        network.get_parameter("backbone.0.weight")[:, 7:] = 0.0  # the backbone no longer sees h
    x, h = torch.randn(4, 7, dtype=torch.float64), torch.rand(4, 5, dtype=torch.float64)
    dt = torch.tensor([0.001, 0.01, 0.1, 1.0], dtype=torch.float64)
    _, whole = network.step(x, h, dt)
    _, half = network.step(x, h, dt / 2)
    _, twice = network.step(x, half, dt / 2)
    assert_allclose(twice.detach(), whole.detach(), atol=1e-12)


@given(scale=st.floats(0.0, 1e4), dt=st.floats(0.0, 1e4), seed=st.integers(0, 50))
def test_decay_state_stays_in_the_unit_box(scale: float, dt: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    network = random_network("decay", seed, **sized("decay"))
    x = scale * torch.randn(8, 7, generator=generator)
    h = torch.rand(8, 5, generator=generator) * 2 - 1
    _, after = network.step(x, h, torch.full((8,), dt))
    assert float(after.detach().abs().max()) <= 1.0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("split", [1, 7, 19])
def test_streaming_equals_sequence_wherever_it_is_split(form: str, split: int) -> None:
    network = random_network(form, **sized(form)).double()
    x, dt = torch.randn(2, 20, 7, dtype=torch.float64), torch.rand(2, 20, dtype=torch.float64) * 0.05
    whole, last = network(x, dt)
    first, h = network(x[:, :split], dt[:, :split])
    second, h = network(x[:, split:], dt[:, split:], h)
    assert_allclose(torch.cat([first, second], 1).detach(), whole.detach(), atol=1e-14)
    assert_allclose(h.detach(), last.detach(), atol=1e-14)


def test_elapsed_time_belongs_to_the_sample_even_when_batch_equals_units() -> None:
    network = random_network("decay", **sized("decay")).double()
    x, h = torch.randn(5, 7, dtype=torch.float64), torch.rand(5, 5, dtype=torch.float64)
    dt = torch.tensor([0.0, 0.01, 0.02, 0.05, 0.1], dtype=torch.float64)
    _, together = network.step(x, h, dt)
    alone = [network.step(x[i : i + 1], h[i : i + 1], dt[i : i + 1])[1] for i in range(5)]
    assert_allclose(together.detach(), torch.cat(alone).detach(), atol=1e-14)


def test_wrong_shapes_and_names_are_refused() -> None:
    network = random_network("decay", **sized("decay"))
    with pytest.raises(ConfigError, match="dt_s"):
        network.step(torch.zeros(3, 7), torch.zeros(3, 5), torch.zeros(3, 1))
    with pytest.raises(ConfigError, match="give"):
        network(torch.zeros(3, 7), torch.zeros(3))
    with pytest.raises(ConfigError, match="choose one of"):
        hover_spec("elman")


def test_compared_networks_have_about_as_many_parameters_and_a_19_neuron_state() -> None:
    counts = {form: parameters(hover_spec(form)) for form in ("decay", "default", "no_gate", "gru", "lstm", "mlp")}
    assert max(counts.values()) - min(counts.values()) < 0.05 * counts["decay"]
    assert all(hover_spec(form).units == 19 for form in ("decay", "default", "no_gate", "pure"))
