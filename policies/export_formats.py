"""A policy file as ONNX or TorchScript: a single step with the elapsed time as an input, at any batch.

x (B, inputs) the scaled observation, h (B, state_width), dt_s (B,) seconds -> action (B, outputs) within -1 and 1,
h_next (B, state_width). State starts at zeros. Input and time are cut as onboard; NaN passes through. For `mlp`, whose
state is empty, h is (B, 0).
"""

from __future__ import annotations

import io
import os
import secrets
import warnings
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from liquid_pilot.bundle import Bundle
from liquid_pilot.cells import VALUE_LIMIT
from liquid_pilot.errors import ConfigError, MissingExtraError
from liquid_pilot.schema import canonical_json
from policies.cells.elapsed import time_units
from policies.network import PolicyNetwork
from policies.parametrized import make_plain

INPUTS: Final = ("x", "h", "dt_s")
OUTPUTS: Final = ("action", "h_next")
METADATA_KEY: Final = "liquid_pilot"  # under which both formats hold the metadata of the policy file, as JSON


class PolicyStep(nn.Module):
    """x, h, dt_s -> action, h', as the module says. Nothing is checked."""

    def __init__(self, network: PolicyNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, h: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        network, limit = self.network, float(VALUE_LIMIT)
        x, h = x.clamp(-limit, limit), h.clamp(-limit, limit)
        z = network.features(x, h)
        if network.cell is None:
            return network.act(z), h
        h = network.cell(z, h, time_units(dt_s, network.spec.time_unit_s)[:, None])
        return network.act(h), h


def policy_step(bundle: Bundle) -> PolicyStep:
    """The step of a policy in torch, with masked matrices as they are in effect."""
    step = PolicyStep(PolicyNetwork.from_bundle(bundle))
    for module in list(step.modules()):
        make_plain(module)
    return step.eval().requires_grad_(False)


def _example(bundle: Bundle, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    spec = bundle.spec
    x = torch.randn(batch, spec.inputs, generator=generator)
    return x, torch.zeros(batch, spec.state_width), torch.full((batch,), 0.01)


def torchscript_bytes(bundle: Bundle) -> bytes:
    """A TorchScript file, for `torch.jit.load`; the metadata stands in its extra file `liquid_pilot`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", DeprecationWarning)
        traced = torch.jit.trace(policy_step(bundle), _example(bundle, 2))
        file = io.BytesIO()
        torch.jit.save(traced, file, _extra_files={METADATA_KEY: canonical_json(bundle.metadata)})
    return file.getvalue()


def onnx_bytes(bundle: Bundle) -> bytes:
    """An ONNX model; the metadata stands in its metadata_props as `liquid_pilot`.

    Raises `MissingExtraError` without the onnx packages.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  # torch.onnx needs it
    except ImportError as error:
        raise MissingExtraError(
            "ONNX needs onnx and onnxscript, which are not installed; run: pip install 'liquid-pilot[onnx]'"
        ) from error
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.` is deprecated", FutureWarning)
        program = torch.onnx.export(
            torch.export.export(policy_step(bundle), _example(bundle, 2), dynamic_shapes=({0: batch},) * 3),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            verbose=False,
        )
    assert program is not None
    model = onnx.load_model_from_string(program.model_proto.SerializeToString())
    onnx.helper.set_model_props(model, {METADATA_KEY: canonical_json(bundle.metadata)})
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; folders are made. Raises `ConfigError` where that is not possible."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error}); choose another path or make room") from error
