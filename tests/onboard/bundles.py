"""Policies of random weights and their parts, for the tests of policy files."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from liquid_pilot.bundle import Bundle, SelfTest, make_bundle, make_selftest
from liquid_pilot.cells import CellSpec, weight_shapes
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.observation import OBS_DIM

Tensors = dict[str, Any]
Metadata = dict[str, Any]


def make(form: str = "decay", seed: int = 0, backbone_units: int = 32, **changed: Any) -> Bundle:
    """A small policy with random weights."""
    spec = CellSpec(form, OBS_DIM, 0 if form == "mlp" else 19, 4, 1, backbone_units, 0.015)
    rng = np.random.default_rng([seed])
    weights = {name: (0.2 * rng.normal(size=shape)).astype(np.float32) for name, shape in weight_shapes(spec).items()}
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


def parts(bundle: Bundle) -> tuple[Tensors, Metadata]:
    """Tensors and metadata as they stand in the file."""
    tensors: Tensors = {f"weights.{name}": value.copy() for name, value in bundle.weights.items()}
    for name in SelfTest.__slots__:
        tensors[f"selftest.{name}"] = getattr(bundle.selftest, name).copy()
    return tensors, copy.deepcopy(bundle.metadata)


def assert_same(a: Bundle, b: Bundle) -> None:
    assert (a.name, a.task, a.spec, a.limits, a.metadata) == (b.name, b.task, b.spec, b.limits, b.metadata)
    (first, _), (second, _) = parts(a), parts(b)
    assert set(first) == set(second)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
