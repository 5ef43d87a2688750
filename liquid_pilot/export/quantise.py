"""Small numbers on the ground: what int8 weights and a Q15 state do to a policy, before it is exported.

An int8 weight is a whole number times the scale of its row. `quantised_bundle` is a policy whose float weights are
exactly those products: it flies, is scored and proved like any other, and gives the numbers of the int8 C to a few
units in the last place, for the C adds the same products in float and multiplies by the scale at the end. Biases, the
parameters of single neurons and the factors of motor neurons stay float.

A Q15 state is rounded to 2^-15 after each step, halves away from 0, and cut to -1 and 1 - 2^-15. `RoundedState` does
that in numpy. Where the last bits of a float step differ, now and then a number falls to the other side of a half, so
that C and numpy then are one or a few 2^-15 apart. A state that changes by less than half of 2^-15 a step stands still:
Q15 is for neurons whose time constant is not thousands of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from liquid_pilot.bundle import Bundle, SelfTest, make_bundle
from liquid_pilot.cells import F32, CellSpec, Network
from liquid_pilot.export.core import Storage, check_storage
from liquid_pilot.export.products import quantised, row_scales
from liquid_pilot.selftest import replay
from liquid_pilot.stepper import Stepper

Q15_ONE: Final = np.float32(32768.0)


def int8_weights(weights: Mapping[str, F32]) -> dict[str, F32]:
    """The weights that int8 stands for: of each matrix the nearest whole numbers times the scales of its rows."""
    return {
        name: quantised(value).astype(np.float32) * row_scales(value)[:, None] if value.ndim == 2 else value.copy()
        for name, value in weights.items()
    }


def quantised_bundle(bundle: Bundle, name: str | None = None) -> Bundle:
    """The policy with `int8_weights`, its self-test recorded anew on the same inputs. Its name ends in -int8."""
    check_storage(bundle.spec, Storage(int8=True))
    weights = int8_weights(bundle.weights)
    test = bundle.selftest
    action, hidden = replay(Network(bundle.spec, weights), test.x, test.dt_s)
    metadata = bundle.metadata
    return make_bundle(
        name or f"{bundle.name[:59]}-int8",
        bundle.task,
        bundle.spec,
        weights,
        bundle.limits,
        SelfTest(test.x, test.dt_s, action, hidden),
        trained_rates_hz=metadata["trained_rates_hz"],
        sensor_limits_s=metadata["sensor_limits_s"],
        setpoint_limits=metadata["setpoint_limits"],
        airframe=metadata["airframe"],
        training=metadata["training"] | {"quantised_from": metadata["sha256"]},
        locates=bundle.locates,
    )


def rounded_to_q15(h: F32) -> F32:
    """The number that Q15 keeps of each; NaN becomes -1, as in C: there the action tells of it."""
    steps = np.trunc(h * Q15_ONE + np.copysign(np.float32(0.5), h))
    kept = np.where(steps >= 32767.0, 32767.0, np.where(steps > -32768.0, steps, -32768.0))
    rounded: F32 = (kept / Q15_ONE).astype(np.float32)
    return rounded


@dataclass(frozen=True, slots=True)
class RoundedState:
    """A network whose state is rounded to Q15 after each step; a `Stepper`."""

    network: Network

    @property
    def spec(self) -> CellSpec:
        """Form and sizes."""
        return self.network.spec

    @property
    def core(self) -> str:
        """What computes."""
        return "own"

    def initial_state(self) -> F32:
        """Zeros, (state_width,)."""
        return self.network.initial_state()

    def step(self, x: F32, h: F32, dt_s: float) -> tuple[F32, F32]:
        """See `Network.step`; the action is that of the state before it is rounded."""
        action, following = self.network.step(x, h, dt_s)
        return action, rounded_to_q15(following)

    def time_constants(self, x: F32, h: F32) -> F32:
        """See `Network.time_constants`."""
        return self.network.time_constants(x, h)


def quantised_network(bundle: Bundle, storage: Storage) -> Stepper:
    """What C of this storage computes, in numpy. Raises `ConfigError` for Q15 of a form whose state does not fit."""
    check_storage(bundle.spec, storage)
    weights = int8_weights(bundle.weights) if storage.int8 else bundle.weights
    network = Network(bundle.spec, weights)
    return RoundedState(network) if storage.q15 else network
