"""The exported step gives the numbers of eager torch, with elapsed time as a live input, at any batch."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from policies import AutoNCP, CfC, LiquidRNN
from policies.export_step import StepModule, step_module

INPUTS = 5
WIRING = AutoNCP(INPUTS, 12, 3)
Step: TypeAlias = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
CELLS: dict[str, dict[str, Any]] = {
    "decay": {"units": 6},
    "default": {"units": 6, "form": "default"},
    "no_gate": {"units": 6, "form": "no_gate", "backbone_layers": 0},
    "pure": {"units": 6, "form": "pure"},
    "wired": {"wiring": WIRING},
    "wired default": {"wiring": WIRING, "form": "default"},
    "slow": {"wiring": WIRING.multi_rate(trigger=0)},
}


def make(kind: str) -> LiquidRNN:
    torch.manual_seed(0)
    return LiquidRNN(CfC(INPUTS, time_unit_s=0.02, **CELLS[kind]), outputs=2)


def arguments(rnn: LiquidRNN, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch)
    h = torch.rand(batch, rnn.cell.state_width, generator=generator)
    return torch.randn(batch, INPUTS, generator=generator), h, 0.1 * torch.rand(batch, generator=generator)


def traced(step: StepModule, example: tuple[Tensor, Tensor, Tensor]) -> Step:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", DeprecationWarning)
        file = io.BytesIO()
        torch.jit.save(torch.jit.trace(step, example), file)
        file.seek(0)
        loaded: Step = torch.jit.load(file)
    return loaded


def program_of(step: StepModule, example: tuple[Tensor, Tensor, Tensor]) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    return torch.export.export(step, example, dynamic_shapes=({0: batch}, {0: batch}, {0: batch}))


def exported(step: StepModule, example: tuple[Tensor, Tensor, Tensor]) -> Step:
    module: Step = program_of(step, example).module()
    return module


def by_onnx(step: StepModule, example: tuple[Tensor, Tensor, Tensor]) -> Step:
    names = ["x", "h", "dt_s"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.` is deprecated", FutureWarning)
        program = torch.onnx.export(
            program_of(step, example), input_names=names, output_names=["y", "h_next"], verbose=False
        )
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        y, h = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)})
        return torch.from_numpy(np.asarray(y)), torch.from_numpy(np.asarray(h))

    return run


@pytest.mark.parametrize("kind", CELLS)
def test_the_step_module_is_the_step_and_independent_of_the_network(kind: str) -> None:
    rnn = make(kind)
    step, (x, h, dt_s) = step_module(rnn), arguments(rnn, 4)
    expected_y, expected_h = rnn.step(x, dt_s, h)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.zero_()
    y, following = step(x, h, dt_s)
    assert torch.equal(y, expected_y)
    assert torch.equal(following, expected_h)
    assert all("parametrizations" not in name for name in step.state_dict())


@pytest.mark.parametrize(
    ("export", "kind"),
    [(traced, kind) for kind in CELLS]
    + [(exported, kind) for kind in ("no_gate", "wired")]
    + [(by_onnx, kind) for kind in ("decay", "pure", "wired default", "slow")],
)
def test_exports_give_the_numbers_of_eager_at_batches_they_have_not_seen(export: Any, kind: str) -> None:
    rnn = make(kind)
    step = step_module(rnn)
    runs = export(step, arguments(rnn, 2))
    for batch in (1, 2, 5, 12):
        x, h, dt_s = arguments(rnn, batch)
        for scale in (0.0, 1.0, 30.0):
            y, following = runs(x, h, scale * dt_s)
            wanted_y, wanted_h = rnn.step(x, scale * dt_s, h)
            assert_allclose(y.numpy(), wanted_y.detach().numpy(), atol=2e-6)
            assert_allclose(following.numpy(), wanted_h.detach().numpy(), atol=2e-6)
    x, h, dt_s = arguments(rnn, 3)
    moved = (runs(x, h, dt_s)[1] - runs(x, h, 2.0 * dt_s)[1]).abs().max()
    assert float(moved) > 1e-3
