"""Faults in the batched engines: torch and compiled fly the same ones, and none that has not begun."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from envs.compiled.faults import fault_rows
from envs.conditions import Conditions
from envs.faults import parse_fault
from liquid_pilot import native
from liquid_pilot.bundle import load_bundle
from policies.flat_state import pack
from policies.fragments import flatten_weights
from policies.network import PolicyNetwork
from tests.compiled.test_rollout import (
    BUSY,
    Case,
    Real,
    assert_same_state,
    fly,
    fly_torch,
    make_case,
    rollout,
)

pytestmark = pytest.mark.skipif(not native.available(), reason="needs a C compiler")

PHYSICAL = (
    "motor2:0.7@0.3+0.5",
    "battery:sag=0.9@0.2",
    "battery:0.95@0.6+0.3",
    "payload:+20%@0.5",
    "wind:step=4@0.4+1",
)
FREEZES = ("gyro:freeze@0.3+0.1", "accel:freeze@0.5+0.4", "flow:freeze@0.4+0.5", "range:freeze@0.6+0.7")
WRONG = ("flow:spike=2@0.2+0.4", "range:spike=1@0.3+0.6", "flow:nan@1.1+0.2", "range:nan@1.3+0.1", "accel:off@0.5+0.2")
LOST = (
    "imu:off@0.2+0.1",
    "gyro:off@0.4+0.15",
    "clock:jump=30@0.6+0.5",
    "clock:jump=0.4@0.75+0.1",
    "clock:jump=-0.2@1.5+0.3",
    "imu:off@0.7+0.05",
    "accel:off@0.2+0.5",
)
SILENT = ("imu:off@0.1+1.02", "clock:jump=-900@1.3")
GROUPS = {"physical": PHYSICAL, "frozen": FREEZES, "wrong": WRONG, "lost": LOST, "silent": SILENT}
GROUPS["all"] = (*PHYSICAL, *FREEZES, *WRONG, "gyro:off@0.3+0.02", "clock:jump=7@0.9")
STEADY = Path(__file__).parents[1] / "golden" / "hover.safetensors"  # whatever ships: rounding is magnified as it was
GENTLE = Conditions(hold_s=0.05, tilt_deg=(0.0, 5.0), launch_speed_m_s=(0.0, 0.3), launch_height_m=(1.8, 2.0))


def with_faults(conditions: Conditions, *texts: str) -> Conditions:
    return replace(conditions, faults=tuple(parse_fault(text) for text in texts))


def case_with(texts: tuple[str, ...], seconds: float, real: Real = np.float64, base: Conditions = GENTLE) -> Case:
    return make_case("decay", round(seconds * 100), 8, real, with_faults(base, *texts))


@pytest.mark.parametrize(
    ("group", "real"),
    [
        *((group, np.float64) for group in GROUPS),
        *((group, np.float32) for group in ("physical", "frozen", "wrong", "lost")),
    ],
)
def test_torch_and_compiled_fly_the_same_faults(group: str, real: Any) -> None:
    """In float32 to the rounding that a flight of 2 s magnifies: 3e-5 of a value without any fault."""
    case = case_with(GROUPS[group], 2.0, real)
    case = replace(case, network=PolicyNetwork.from_bundle(load_bundle(STEADY)).to(case.dtype))
    with torch.no_grad():
        _, states, _ = fly_torch(case)
    found, wanted = fly(case, rollout("decay", real), gradients=False).lanes.world, pack(states[-1])
    assert (wanted.value("body")[2] > 0.1).all()  # none has met the floor, which magnifies rounding further
    assert_same_state(found, wanted, 1e-11 if real is np.float64 else 3e-4)


@pytest.mark.parametrize("group", ["physical", "frozen", "wrong", "lost"])
def test_gradient_through_faults_is_that_of_torch(group: str) -> None:
    case = case_with(GROUPS[group], 0.9, base=replace(BUSY, imu_mixed=False, imu_hz=(100.0, 100.0)))
    loss, _, _ = fly_torch(case)
    loss.backward()
    slopes = {n.removeprefix("cell."): p.grad.numpy() for n, p in case.network.named_parameters() if p.grad is not None}
    wanted = flatten_weights(case.network.spec, slopes, np.float64)
    found = fly(case, rollout("decay"))
    assert found.gradient is not None
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-9)
    assert np.linalg.norm(found.gradient - wanted) <= 1e-8 * np.linalg.norm(wanted)


@pytest.mark.parametrize("group", ["physical", "frozen", "wrong", "lost"])
def test_a_fault_changes_nothing_before_it_begins_and_something_after(group: str) -> None:
    def flown(texts: tuple[str, ...], seconds: float) -> tuple[np.ndarray, np.ndarray]:
        case = case_with(texts, seconds, np.float32)
        state = fly(case, rollout("decay", np.float32), gradients=False).lanes.world
        return state.values, state.clocks

    for a, b in zip(flown(GROUPS[group], 0.2), flown((), 0.2), strict=True):
        assert_array_equal(a, b)
    assert (flown(GROUPS[group], 0.9)[0] != flown((), 0.9)[0]).any(axis=0).all()


def test_the_table_has_a_row_for_every_number_that_a_fault_changes() -> None:
    rows = fault_rows([parse_fault("battery:sag=0.8@3+2"), parse_fault("range:nan@1")])
    assert_array_equal(rows[:, 0], [4, 5, 6, 7, 1])
    assert_array_equal(rows[:, 1], [3, 3, 3, 3, 0])
    assert_allclose(rows[0, 2:], [3.0, 5.0, 10.0, -0.2])
    assert_allclose(rows[4, 2:], [1.0, np.inf, 0.0, 1.0])
    assert fault_rows([]).shape == (0, 6)
    assert_array_equal(fault_rows([parse_fault("imu:off@3"), parse_fault("clock:jump=-5@1+1")]), [[10, 3, 1, 2, 0, -5]])


def test_without_imu_samples_the_network_stands_still_and_then_sees_the_time_that_passed() -> None:
    case = case_with(("gyro:off@0.1+0.06",), 0.3)
    _, states, _ = fly_torch(case)
    silent = torch.stack([state.imu.silent_s for state in states])
    refused, step_s = silent > 0.0, torch.stack([state.imu.step_s for state in states])
    dt_s, issued = torch.as_tensor(case.draw.dt_s), torch.stack([state.command_times_s[-1] for state in states])
    for lane in range(silent.shape[1]):
        during = refused[:, lane].nonzero().ravel()
        after = int(during[-1]) + 1
        assert 5 <= len(during) <= 7 and (during.diff() == 1).all()
        assert step_s[after, lane] == pytest.approx(float(dt_s[during[0] : after + 1, lane].sum()))
        assert (step_s[during[0] : after, lane] == step_s[during[0], lane]).all()
        assert (issued[during[0] + 1 : after + 1, lane] == issued[during[0] + 1, lane]).all()
        assert issued[after + 1, lane] > issued[after, lane]
    before = int(refused.any(dim=1).nonzero()[0])
    gyro = torch.stack([torch.stack(state.sensors.gyro_rad_s) for state in states])
    assert (gyro[before : before + 3].diff(dim=0)[:, :, refused[before : before + 3].all(dim=0)] == 0.0).all()
