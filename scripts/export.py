"""Export a policy as ONNX or TorchScript: one step, with the elapsed time as an input.

x (B, 21) the scaled observation, h (B, state) zeros at first, dt_s (B,) seconds -> action (B, 4), h_next (B, state).
What was written is loaded again and flown over the policy's recorded self-test before it counts. C for firmware is
written by `liquid-pilot export POLICY --c DIR`, which needs no torch.

Examples:
  python -m scripts.export hover --onnx hover.onnx
  python -m scripts.export runs/hover/policy.safetensors --torchscript hover.pt
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
import tyro

from liquid_pilot.bundle import SELFTEST_TOLERANCE, Bundle, load_bundle
from liquid_pilot.errors import BundleError, ConfigError, MissingExtraError
from scripts.console import OUT, exit_code
from scripts.files import check_file

F32: TypeAlias = npt.NDArray[np.float32]
Step: TypeAlias = Callable[[F32, F32, F32], tuple[F32, F32]]


@dataclass(frozen=True)
class Options:
    """A policy and where it goes; give one file at least."""

    policy: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")]
    """Shipped name, or path of a .safetensors file."""
    onnx: Path | None = None
    """ONNX file to write (.onnx)."""
    torchscript: Path | None = None
    """TorchScript file to write (.pt)."""


def onnx_step(data: bytes) -> Step:
    """The step of an ONNX model, in onnxruntime. Raises `MissingExtraError` without it."""
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError(
            "proving an ONNX file needs onnxruntime, which is not installed; run: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def step(x: F32, h: F32, dt_s: F32) -> tuple[F32, F32]:
        given = {"x": x, "h": h, "dt_s": dt_s}
        taken = {put.name: given[put.name] for put in session.get_inputs()}
        action, following = session.run(["action", "h_next"], taken)
        return np.asarray(action), np.asarray(following)

    return step


def torchscript_step(data: bytes) -> Step:
    """The step of a TorchScript file."""
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", DeprecationWarning)
        module = torch.jit.load(io.BytesIO(data))

    def step(x: F32, h: F32, dt_s: F32) -> tuple[F32, F32]:
        action, following = module(*(torch.from_numpy(value) for value in (x, h, dt_s)))
        return action.numpy(), following.numpy()

    return step


def make_onnx(bundle: Bundle) -> bytes:
    """`policies.export_formats.onnx_bytes`, without torch's remarks on packages that no policy needs."""
    from policies.export_formats import onnx_bytes

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    return onnx_bytes(bundle)


def selftest_difference(bundle: Bundle, step: Step) -> float:
    """Largest difference of any action or state from the bundle's recorded steps; NaN if one is NaN.

    Each step from the state that was recorded before it, as `liquid_pilot.selftest` has it.
    """
    test, h, largest = bundle.selftest, np.zeros((1, bundle.spec.state_width), np.float32), 0.0
    for k in range(len(test.dt_s)):
        action, h = step(test.x[k : k + 1].copy(), h, test.dt_s[k : k + 1].copy())
        for found, wanted in ((action, test.action[k]), (h, test.hidden[k])):
            largest = max(largest, float(np.abs(found[0] - wanted).max(initial=0.0)), key=lambda v: (v != v, v))
        h = test.hidden[k : k + 1].copy()
    return largest


def run(options: Options) -> None:
    """Write what was asked for, each proved. Raises `BundleError` where a file computes something else."""
    if options.onnx is None and options.torchscript is None:
        raise ConfigError("nothing to write; give --onnx FILE.onnx, --torchscript FILE.pt, or both")
    if options.onnx is not None:
        check_file("--onnx", options.onnx, ".onnx")
    if options.torchscript is not None:
        check_file("--torchscript", options.torchscript, ".pt")
    bundle = load_bundle(options.policy)
    from policies import export_formats as formats  # torch takes a second; errors above do not wait for it

    for path, make, load in (
        (options.onnx, make_onnx, onnx_step),
        (options.torchscript, formats.torchscript_bytes, torchscript_step),
    ):
        if path is None:
            continue
        data = make(bundle)
        difference = selftest_difference(bundle, load(data))
        if not difference <= SELFTEST_TOLERANCE:
            raise BundleError(
                f"{path.name} differs by {difference:.3g} from the recorded self-test of {bundle.name!r}; allowed is "
                f"{SELFTEST_TOLERANCE:g}; it is not written: try other versions of torch and onnxruntime"
            )
        formats.write_whole(path, data)
        OUT.print(f"wrote {path}: {len(data):,} bytes, self-test within {difference:.1e}", highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.export`. Returns the exit code."""
    options = tyro.cli(Options, prog="python -m scripts.export", args=argv, description=__doc__)
    return exit_code(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
