"""Laws of sequences in which flights begin: cut into pieces they are the steps, in value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from liquid_pilot import native
from liquid_pilot.errors import ConfigError
from liquid_pilot.observation import OBS_DIM
from policies.network import PolicyNetwork, hover_spec
from policies.rl.sequences import ENGINES, readout_sequence

FORMS = ["decay", "default", "no_gate", "pure", "gru", "lstm", "mlp", "9-6-4"]
BATCH, STEPS = 7, 21


def events(share: float) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(BATCH, STEPS, OBS_DIM, generator=generator)
    dt_s = 0.03 * torch.rand(BATCH, STEPS, generator=generator)
    starts = torch.rand(BATCH, STEPS, generator=generator) < share
    if share:
        starts[0], starts[1, 0], starts[2, -1] = True, True, True  # only beginnings, one first, one last
    return x, dt_s, starts


def stepped(network: PolicyNetwork, x: Tensor, dt_s: Tensor, h: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """One step after the other, the state multiplied by 0 where a flight begins."""
    actions = []
    for t in range(STEPS):
        action, h = network.step(x[:, t], h * ~starts[:, t, None], dt_s[:, t])
        actions.append(action)
    return torch.stack(actions, dim=1), h


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.4])
def test_pieces_are_the_steps(form: str, engine: str, share: float) -> None:
    if engine == "compiled" and not native.available():
        pytest.skip("no C compiler")
    spec = hover_spec("decay", wiring=form) if form == "9-6-4" else hover_spec(form)
    network = PolicyNetwork(spec, seed=2)
    x, dt_s, starts = events(share)
    found = []
    for run in ("pieces", "steps"):
        h = torch.full((BATCH, network.spec.state_width), 0.3, requires_grad=True)
        if run == "pieces":
            means, last = readout_sequence(network, x, dt_s, h, starts, engine)
            action = torch.tanh(means)
        else:
            action, last = stepped(network, x, dt_s, h, starts)
        network.zero_grad()
        ((action**3).sum() + (last**2).sum()).backward()
        slopes = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        by_h = torch.zeros(0) if h.grad is None else h.grad
        found.append([action.detach(), last.detach(), torch.cat(slopes), by_h])
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=2e-5)


def test_what_was_before_a_beginning_changes_nothing_after_it() -> None:
    network = PolicyNetwork(hover_spec("decay"), seed=2)
    x, dt_s, _ = events(0.0)
    starts = torch.zeros(BATCH, STEPS, dtype=torch.bool)
    starts[:, 9] = True
    other = x.clone()
    other[:, :9] += 1.0
    ours, theirs = (readout_sequence(network, seen, dt_s, torch.zeros(BATCH, 19), starts)[0] for seen in (x, other))
    assert torch.equal(ours[:, 9:], theirs[:, 9:]) and not torch.allclose(ours[:, :9], theirs[:, :9])


def test_what_does_not_fit_is_refused() -> None:
    network = PolicyNetwork(hover_spec("decay"))
    x, dt_s, starts = events(0.1)
    h = network.initial_state(BATCH)
    for given in (
        (x[0], dt_s, h, None),
        (x, dt_s[:, 1:], h, None),
        (x, dt_s, h[:, 1:], None),
        (x, dt_s, h, starts[1:]),
    ):
        with pytest.raises(ConfigError, match="a sequence of x"):
            readout_sequence(network, *given)
    with pytest.raises(ConfigError, match="auto, compiled, loop"):
        readout_sequence(network, x, dt_s, h, None, "fast")
