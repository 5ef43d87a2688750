"""Policies of random weights and their parts, for the tests of policy files."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from liquid_pilot.bundle import Bundle, make_bundle, make_cheetah_bundle, make_selftest
from liquid_pilot.cells import CellSpec, weight_masks, weight_shapes
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.encoder import EncoderSpec
from liquid_pilot.flow_grid import DEFAULT_GRID
from liquid_pilot.half_cheetah import ACTIONS, CheetahLayout
from liquid_pilot.observation import OBS_DIM, POSITION_DIM, SIGHT_DIM
from liquid_pilot.wiring import CellWiring

Tensors = dict[str, Any]
Metadata = dict[str, Any]


def draw_wiring(inputs: int, sizes: tuple[int, int, int], seed: int = 0) -> CellWiring:
    """Half of all synapses, anywhere, and one at least to each neuron."""
    rng, layers = np.random.default_rng([seed]), []
    for size, before in zip(sizes, (inputs, *sizes), strict=False):
        live = rng.random((size, before + size)) < 0.5
        live[np.arange(size), rng.integers(before, size=size)] = True
        layers.append(tuple("".join("01"[int(value)] for value in row) for row in live.tolist()))
    first, second, third = layers
    return CellWiring(first, second, third, seed)


def wired_spec(form: str, inputs: int = OBS_DIM, sizes: tuple[int, int, int] = (9, 6, 4), seed: int = 0) -> CellSpec:
    """A wired cell, with time in units of 15 ms."""
    return CellSpec(form, inputs, sum(sizes), sizes[-1], 0, 1, 0.015, draw_wiring(inputs, sizes, seed))


def draw_weights(spec: CellSpec, seed: int = 0, size: float = 0.2) -> dict[str, npt.NDArray[np.float32]]:
    """Random weights, 0 where a wiring has no synapse."""
    rng, masks = np.random.default_rng([seed]), weight_masks(spec)
    drawn = {name: (size * rng.normal(size=shape)).astype(np.float32) for name, shape in weight_shapes(spec).items()}
    if spec.encoder is not None:
        drawn["encoder.0.weight"] *= np.float32(0.25)  # of many inputs: features that are not all near -1 and 1
    return {name: np.where(masks.get(name, True), value, np.float32(0.0)) for name, value in drawn.items()}


def make(
    form: str = "decay", seed: int = 0, backbone_units: int = 32, spec: CellSpec | None = None, **changed: Any
) -> Bundle:
    """A small policy with random weights. spec: in place of the one of form and backbone_units."""
    spec = spec or CellSpec(form, OBS_DIM, 0 if form == "mlp" else 19, 4, 1, backbone_units, 0.015)
    rng, weights = np.random.default_rng([seed]), draw_weights(spec, seed)
    values: dict[str, Any] = {
        "trained_rates_hz": {"imu": (50.0, 200.0), "flow": (20.0, 50.0), "range": (20.0, 40.0)},
        "sensor_limits_s": {"imu": 0.1, "flow": 2.0, "range": 2.0},
        "setpoint_limits": {"speed_m_s": 0.5, "height_m": (0.5, 2.0), "yaw_rate_rad_s": 1.0},
        "airframe": "cf2x",
        "training": {"config": {"batch": 256}, "seed": 0, "commit": "unknown", "minutes": 1.5, "host": "test"},
    }
    return make_bundle(
        "test-hover", "hover", spec, weights, DEFAULT_LIMITS, make_selftest(spec, weights, rng), **(values | changed)
    )


def make_locating(form: str = "decay", seed: int = 0, spec: CellSpec | None = None, **changed: Any) -> Bundle:
    """A small policy with random weights that flies to places by IMU, position and attitude."""
    spec = spec or CellSpec(form, OBS_DIM + POSITION_DIM, 0 if form == "mlp" else 19, 4, 1, 32, 0.015)
    values: dict[str, Any] = {
        "locates": True,
        "trained_rates_hz": {"imu": (50.0, 200.0), "position": (20.0, 50.0), "attitude": (10.0, 50.0)},
        "sensor_limits_s": {"imu": 0.1, "position": 1.0, "attitude": 2.0},
        "setpoint_limits": {"speed_m_s": 2.0, "height_m": (0.5, 3.0), "yaw_rate_rad_s": 1.0},
    }
    return make(seed=seed, spec=spec, **(values | changed))


def seeing_spec(form: str = "decay", encoder: EncoderSpec | None = None) -> CellSpec:
    """A cell behind an encoder of a flow grid."""
    encoder = encoder or EncoderSpec(DEFAULT_GRID)
    units = 0 if form == "mlp" else 19
    return CellSpec(form, OBS_DIM + SIGHT_DIM + encoder.features, units, 4, 1, 64, 0.015, encoder=encoder)


def make_seeing(form: str = "decay", seed: int = 0, spec: CellSpec | None = None, **changed: Any) -> Bundle:
    """A policy with random weights that flies courses by a flow grid. spec: in place of the one of form."""
    values: dict[str, Any] = {
        "trained_rates_hz": {
            "imu": (50.0, 200.0),
            "flow": (20.0, 50.0),
            "range": (20.0, 40.0),
            "grid": (10.0, 40.0),
            "attitude": (10.0, 50.0),
        },
        "sensor_limits_s": {"imu": 0.1, "flow": 2.0, "range": 2.0, "grid": 0.5, "attitude": 1.0},
        "setpoint_limits": {"speed_m_s": 4.0, "height_m": (0.5, 3.0), "yaw_rate_rad_s": 1.0},
    }
    return make(seed=seed, spec=spec or seeing_spec(form), **(values | changed))


def make_cheetah(
    simulator: str = "pybullet",
    observe: str = "full",
    form: str = "decay",
    seed: int = 0,
    spec: CellSpec | None = None,
    **changed: Any,
) -> Bundle:
    """A small policy of HalfCheetah with random weights. spec: in place of the one of form."""
    layout = CheetahLayout(simulator, observe)
    spec = spec or CellSpec(form, layout.width, 0 if form == "mlp" else 19, ACTIONS, 1, 8, 0.0165)
    rng, weights = np.random.default_rng([seed]), draw_weights(spec, seed)
    values: dict[str, Any] = {
        "trained_rhythm": {"frames": (1, 6), "dropped": 0.3, "delay_frames": (0, 0), "noise": 0.0},
        "training": {"config": {"batch": 64}, "seed": 0, "commit": "unknown", "minutes": 1.5},
    }
    test = make_selftest(spec, weights, rng)
    return make_cheetah_bundle("test-cheetah", layout, spec, weights, test, **(values | changed))


def parts(bundle: Bundle) -> tuple[Tensors, Metadata]:
    """Tensors and metadata as they stand in the file."""
    tensors: Tensors = {f"weights.{name}": value.copy() for name, value in bundle.weights.items()}
    tensors |= {f"selftest.{name}": value.copy() for name, value in bundle.selftest.tensors.items()}
    return tensors, copy.deepcopy(bundle.metadata)


def assert_same(a: Bundle, b: Bundle) -> None:
    assert (a.name, a.task, a.spec, a.metadata) == (b.name, b.task, b.spec, b.metadata)
    (first, _), (second, _) = parts(a), parts(b)
    assert set(first) == set(second)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
