"""The step of a policy in compiled C, called through ctypes, and the choice between it and numpy.

The C is what `liquid_pilot.export` writes for firmware, compiled once for this machine (`liquid_pilot.native`: some
tenths of a second, then from a cache). It is proved against numpy before it may fly. Both give the same numbers to
about 1e-6, each of them the same bits at every replay.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from liquid_pilot import native
from liquid_pilot.cells import F32, Network
from liquid_pilot.errors import BundleError, ConfigError, LiquidPilotError, MessageError, unknown_name

if TYPE_CHECKING:
    from liquid_pilot.bundle import Bundle
    from liquid_pilot.cell_spec import CellSpec
    from liquid_pilot.stepper import Stepper

CORES: Final = ("numpy", "auto", "c")
# Not -O3: gcc 12 then unrolls the rows of a block before it looks for vectors, and the step takes three times as long.
FLAGS: Final = (
    "-std=c99",
    "-O2",
    "-ftree-vectorize",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
)
PROOF_TOLERANCE: Final = 1e-5  # between C and numpy, over the recorded steps of the bundle
_PREFIX: Final = "policy"


class CompiledNetwork:
    """A policy network in C; a `Stepper` like `cells.Network`. Not to be shared between threads.

    Raises `NativeUnavailable` without a compiler, `NativeBuildError` where it fails.
    """

    def __init__(self, network: Network, source: str) -> None:
        library = native.build(source, "policy_step", FLAGS)
        self._library = library  # keeps the code loaded
        self._numpy = network
        spec = network.spec
        self._x_shape, self._h_shape = (spec.inputs,), (spec.state_width,)
        self._x = np.zeros(spec.inputs, np.float32)
        self._h = np.zeros(max(spec.state_width, 1), np.float32)
        self._own = self._h[: spec.state_width]
        self._action = np.zeros(spec.outputs, np.float32)
        step: Any = getattr(library, f"{_PREFIX}_step_scaled")
        step.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_float, ctypes.c_void_p]
        step.restype = ctypes.c_int
        self._step = step
        buffers = (self._h, self._x, self._action)
        self._state_at, self._x_at, self._action_at = (ctypes.c_void_p(buffer.ctypes.data) for buffer in buffers)

    @property
    def spec(self) -> CellSpec:
        """Form and sizes."""
        return self._numpy.spec

    @property
    def core(self) -> str:
        """What computes."""
        return "c"

    def caller(self) -> Callable[[float], int]:
        """The bare call, for timing: one more step of the last x, from the state it left, by its dt_s."""
        step, state, x, action = self._step, self._state_at, self._x_at, self._action_at
        return lambda dt_s: int(step(state, x, dt_s, action))

    def initial_state(self) -> F32:
        """Zeros, (state_width,)."""
        return self._numpy.initial_state()

    def step(self, x: F32, h: F32, dt_s: float) -> tuple[F32, F32]:
        """See `Network.step`: the same shapes, errors and, to about 1e-6, numbers."""
        if not 0.0 <= dt_s:
            raise MessageError(f"dt_s is {dt_s!r}; give the seconds since the previous step, 0 or more")
        if x.shape != self._x_shape or h.shape != self._h_shape:
            raise MessageError(f"x has shape {x.shape} and h {h.shape}; give {self._x_shape} and {self._h_shape}")
        self._x[:] = x
        self._own[:] = h
        self._step(self._state_at, self._x_at, dt_s, self._action_at)
        return self._action.copy(), self._own.copy()

    def time_constants(self, x: F32, h: F32) -> F32:
        """See `Network.time_constants`."""
        return self._numpy.time_constants(x, h)


def compiled(bundle: Bundle) -> CompiledNetwork:
    """The C core of a policy, proved: each of the bundle's recorded steps is within 1e-5 of numpy.

    Raises `BundleError` where it does not, `NativeUnavailable` and `NativeBuildError` where there is none.
    """
    from liquid_pilot.export.core import FLOAT
    from liquid_pilot.export.policy import core_source
    from liquid_pilot.selftest import largest_difference, repeat

    numpy_network = Network(bundle.spec, bundle.weights)
    network = CompiledNetwork(numpy_network, core_source(bundle.spec, bundle.weights, _PREFIX, FLOAT))
    test = bundle.selftest
    found, wanted = (repeat(which, test) for which in (network, numpy_network))
    difference = max(largest_difference(a, b) for a, b in zip(found, wanted, strict=True))
    if not difference <= PROOF_TOLERANCE:
        raise BundleError(
            f"the C core differs from numpy by {difference:.3g} over the self-test; allowed is {PROOF_TOLERANCE:g}; "
            "another compiler can be chosen by setting CC, or fly with core='numpy'"
        )
    return network


def choose_core(bundle: Bundle, core: str) -> tuple[Stepper, str]:
    """What steps the policy, and why it is not C where "auto" found none that works ("" otherwise).

    core: "numpy", "c", or "auto": C where it can be built and proves itself, numpy otherwise. Raises `ConfigError` for
    another name; for "c" what `compiled` raises.
    """
    if core not in CORES:
        raise ConfigError(unknown_name("core", core, list(CORES)))
    if core == "numpy":
        return Network(bundle.spec, bundle.weights), ""
    try:
        return compiled(bundle), ""
    except LiquidPilotError as error:
        if core == "c":
            raise
        return Network(bundle.spec, bundle.weights), f"numpy flies instead of C: {error}"
