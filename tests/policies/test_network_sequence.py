"""Laws of whole sequences through a policy network: the compiled one gives the numbers of its own steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from liquid_pilot.cell_spec import WIRED_FORMS, CellSpec
from liquid_pilot.errors import ConfigError
from liquid_pilot.flow_grid import even_grid
from liquid_pilot.observation import OBS_DIM
from policies.network import PolicyNetwork, avoid_spec, hover_spec
from policies.sequence.network import looped

SPECS = {form: hover_spec(form) for form in ("decay", "default", "no_gate", "pure", "gru", "lstm", "mlp")}
SPECS |= {f"{form}, wired": hover_spec(form, wiring="9-6-4") for form in WIRED_FORMS}


SPECS |= {f"{form}, seeing": avoid_spec(form, even_grid(3, 2, 80.0, 40.0)) for form in ("decay", "gru")}


def events(batch: int, steps: int, inputs: int = OBS_DIM) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch)
    x = torch.randn(batch, steps, inputs, generator=generator)
    dt_s = 0.03 * torch.rand(batch, steps, generator=generator)
    return x, dt_s, torch.rand(batch, steps, generator=generator) > 0.3


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("masked", [False, True])
def test_a_sequence_is_its_steps_with_the_same_gradients(spec: CellSpec, masked: bool) -> None:
    network = PolicyNetwork(spec, seed=3)
    x, dt_s, inside = events(5, 19, spec.inputs)
    mask = inside if masked else None
    found = []
    for run in (network, lambda *given: looped(network, *given)):
        h = torch.full((5, spec.state_width), 0.2, requires_grad=True)
        action, last = run(x, dt_s, h, mask)
        seen = action * inside[:, :, None]
        network.zero_grad()
        ((seen**2).sum() + last.sum()).backward()
        slopes = [p.grad.reshape(-1) for p in network.parameters() if p.grad is not None]
        found.append([seen.detach(), last.detach(), torch.cat(slopes), torch.zeros(0) if h.grad is None else h.grad])
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=2e-5)


def test_without_a_compiler_torch_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = PolicyNetwork(hover_spec("decay"))
    x, dt_s, inside = events(3, 7)
    wanted = looped(network, x, dt_s, network.initial_state(3), inside)
    monkeypatch.setenv("LIQUID_PILOT_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", str(tmp_path / "nothing"))
    from policies.sequence.compiled import cfc_kernel

    cfc_kernel.cache_clear()
    for ours, reference in zip(network(x, dt_s, None, inside), wanted, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-6)
    cfc_kernel.cache_clear()


def test_shapes_that_do_not_fit_are_refused() -> None:
    network = PolicyNetwork(hover_spec("mlp"))
    x, dt_s, inside = events(2, 4)
    for given in ((x[0], dt_s), (x, dt_s[:, :3]), (x, dt_s, None, inside[:, :3])):
        with pytest.raises(ConfigError, match="forward got"):
            network(*given)
