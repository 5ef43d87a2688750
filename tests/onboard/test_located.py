"""What a policy that locates sees, and what a policy file of one must hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquid_pilot.bundle import load_bundle, save_bundle, shipped
from liquid_pilot.errors import BundleError
from liquid_pilot.observation import (
    CARRY_S,
    INITIAL_AGE_S,
    OBS_DIM,
    OBS_FIELDS,
    POSITION_DIM,
    POSITION_FIELDS,
    Located,
    assemble_position,
    layout_manifest,
    located,
)
from liquid_pilot.ops import FLOAT_OPS, NUMPY_OPS
from tests.onboard.bundles import assert_same, make, make_locating

METRES = st.floats(-100.0, 100.0)
PLACE = st.tuples(METRES, METRES, METRES)
VELOCITY = st.tuples(*[st.floats(-10.0, 10.0)] * 3)
STILL = (0.0, 0.0, 0.0)


def test_hand_computed() -> None:
    """Heading north; the target is 3 m north, 1 m east and 1 m above of where the drone has gone by now."""
    place, velocity, target = (10.0, 20.0, 1.0), (0.0, 2.0, -0.5), (11.0, 23.2, 1.95)
    seen = located(FLOAT_OPS, place, velocity, 0.1, 1.0, target, (0.0, 3.0, 0.0), (0.0, 1.0))
    assert seen.target_offset_m == pytest.approx((3.0, -1.0, 1.0))
    assert seen.velocity_error_m_s == pytest.approx((1.0, 0.0, 0.5))
    assert assemble_position(seen) == pytest.approx((3.0, -1.0, 1.0, 1.0, 0.0, 0.5, 1.0, 0.5))


@given(PLACE, VELOCITY, st.floats(0.0, CARRY_S), st.floats(-math.pi, math.pi))
def test_the_age_of_a_steady_flight_does_not_show(place: Any, velocity: Any, age_s: float, yaw: float) -> None:
    """A sample of any age up to `CARRY_S` tells the same offset from a target that flies alongside: zero."""
    now = tuple(p + v * age_s for p, v in zip(place, velocity, strict=True))
    seen = located(FLOAT_OPS, place, velocity, age_s, 0.0, now, velocity, (math.cos(yaw), math.sin(yaw)))
    assert seen.target_offset_m == pytest.approx(STILL, abs=1e-9)
    assert seen.velocity_error_m_s == pytest.approx(STILL, abs=1e-9)


@given(PLACE, VELOCITY, st.floats(CARRY_S, 0.99 * INITIAL_AGE_S), PLACE)
def test_an_old_sample_is_carried_no_further(place: Any, velocity: Any, age_s: float, target: Any) -> None:
    seen, cut = (located(FLOAT_OPS, place, velocity, age, 0.0, target, STILL, (1.0, 0.0)) for age in (age_s, CARRY_S))
    assert seen.target_offset_m == cut.target_offset_m and seen.age_s == age_s


@given(PLACE, VELOCITY, PLACE, VELOCITY, st.floats(-math.pi, math.pi))
def test_before_the_first_sample_both_vectors_are_zero(a: Any, b: Any, c: Any, d: Any, yaw: float) -> None:
    heading = (math.cos(yaw), math.sin(yaw))
    assert located(FLOAT_OPS, a, b, INITIAL_AGE_S, 1.0, c, d, heading) == Located(STILL, STILL, 0.0, INITIAL_AGE_S)


@given(PLACE, VELOCITY, PLACE, VELOCITY, st.floats(-math.pi, math.pi), st.floats(0.0, 2.0))
def test_the_heading_turns_what_is_seen_and_keeps_its_length(
    a: Any, b: Any, c: Any, d: Any, yaw: float, age_s: float
) -> None:
    east = located(FLOAT_OPS, a, b, age_s, 0.0, c, d, (1.0, 0.0))
    seen = located(FLOAT_OPS, a, b, age_s, 0.0, c, d, (math.cos(yaw), math.sin(yaw)))
    for world, own in (
        (east.target_offset_m, seen.target_offset_m),
        (east.velocity_error_m_s, seen.velocity_error_m_s),
    ):
        back = complex(own[0], own[1]) * complex(math.cos(yaw), math.sin(yaw))
        assert (back.real, back.imag, own[2]) == pytest.approx(world, abs=1e-9)


def test_arrays_give_what_floats_give() -> None:
    rng = np.random.default_rng([4])
    rows = rng.normal(size=(5, 16)) * 3.0
    rows[:, 6] = (0.0, 0.3, 0.7, 9.0, INITIAL_AGE_S)
    rows[:, 7] = 1.0

    def read(ops: Any, v: Any) -> tuple[Any, ...]:
        triples = [tuple(v[k : k + 3]) for k in (0, 3, 8, 11)]
        return assemble_position(
            located(ops, triples[0], triples[1], v[6], v[7], triples[2], triples[3], (v[14], v[15]))
        )

    together = np.array(read(NUMPY_OPS, rows.T))
    alone = np.array([read(FLOAT_OPS, row.tolist()) for row in rows]).T
    np.testing.assert_allclose(together, alone, rtol=0.0, atol=1e-12)


def test_the_layout_goes_on_after_the_one_of_every_policy() -> None:
    manifest = layout_manifest(locates=True)
    assert manifest[: len(OBS_FIELDS)] == layout_manifest()
    assert [entry["name"] for entry in manifest[len(OBS_FIELDS) :]] == [field.name for field in POSITION_FIELDS]
    assert all(set(entry["offset"]) == {0.0} for entry in manifest[len(OBS_FIELDS) :])
    assert sum(entry["width"] for entry in manifest) == OBS_DIM + POSITION_DIM


def test_a_policy_file_of_one_is_saved_and_loaded(tmp_path: Any) -> None:
    bundle = make_locating()
    loaded = load_bundle(save_bundle(tmp_path / "p.safetensors", bundle))
    assert_same(bundle, loaded)
    assert loaded.locates and not make().locates
    assert {name for name in shipped() if load_bundle(name).locates} == {"track-position"}


FLOWING = {"imu": (50.0, 200.0), "flow": (20.0, 50.0), "range": (20.0, 40.0)}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"trained_rates_hz": FLOWING}, r"trained_rates_hz.*missing \['attitude', 'position'\]"),
        ({"sensor_limits_s": {"imu": 0.1, "flow": 2.0, "range": 2.0}}, "sensor_limits_s"),
        ({"sensor_limits_s": {"imu": 0.1, "position": 0.0, "attitude": 2.0}}, "sensor_limits_s.position"),
        ({"spec": make().spec}, f"{OBS_DIM + POSITION_DIM} inputs"),
        ({"locates": False}, f"{OBS_DIM} inputs"),
    ],
)
def test_what_does_not_fit_together_is_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(BundleError, match=told):
        make_locating(**changed)
