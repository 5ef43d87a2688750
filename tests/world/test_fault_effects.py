"""IMU samples that faults keep from the pilot: the rule of the batched engines is that of the onboard memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.fault_effects import ImuTimes, fits_clock, hear_imu
from envs.fault_messages import FailingSensors
from envs.faults import Fault
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import Imu, Range
from liquid_pilot.ops import NUMPY_OPS

ZERO = (0.0, 0.0, 0.0)


@given(
    dts=st.lists(st.floats(0.002, 0.2), min_size=8, max_size=40),
    jumps=st.lists(
        st.tuples(
            st.floats(0.0, 3.0), st.floats(0.05, 2.0), st.sampled_from([-40.0, -0.8, -0.3, -0.01, 0.05, 0.7, 9.0])
        ),
        max_size=3,
    ),
    silences=st.lists(
        st.tuples(st.sampled_from(["imu", "gyro"]), st.floats(0.0, 3.0), st.floats(0.01, 1.5)), max_size=2
    ),
)
def test_imu_samples_are_refused_as_the_onboard_memory_does(
    dts: list[float], jumps: list[tuple[float, float, float]], silences: list[tuple[str, float, float]]
) -> None:
    faults = [Fault("clock", start, start + length, "jump", value) for start, length, value in jumps]
    faults += [Fault(part, start, start + length) for part, start, length in silences]
    sensors, memory, t_s, release_s = FailingSensors(faults), SensorMemory(), 0.0, math.inf
    memory.accept(Imu(0.0, ZERO, ZERO))
    times = ImuTimes(*np.zeros((5, 1)))
    for dt_s in dts:
        t_s, before, moves = t_s + dt_s, memory.imu_t_s, memory.clock_jumps
        message = sensors.imu(Imu(t_s, ZERO, ZERO), t_s - release_s)
        accepted = message is not None and memory.accept(message) is None
        event = hear_imu(NUMPY_OPS, faults, times, np.array([dt_s]), np.array([t_s]), np.array([release_s]))
        assert event.refused.tolist() == [not accepted]
        assert event.moved.tolist() == [memory.clock_jumps > moves]
        assert event.times.step_s == pytest.approx(memory.step_s, abs=1e-9)
        assert accepted or memory.imu_t_s == before
        times, release_s = event.times, min(release_s, t_s)


@given(
    start_s=st.floats(0.0, 0.5),
    jump_s=st.sampled_from([-40.0, -1.5, -0.8, -0.3, 0.05, 0.7, 1.5, 9.0]),
    before_s=st.floats(0.01, 0.5),
    imu_s=st.floats(0.01, 0.5),
    sample_s=st.floats(0.01, 0.5),
)
def test_samples_fit_the_clock_as_the_onboard_memory_finds(
    start_s: float, jump_s: float, before_s: float, imu_s: float, sample_s: float
) -> None:
    faults, memory = [Fault("clock", start_s, math.inf, "jump", jump_s)], SensorMemory()
    sensors, release_s = FailingSensors(faults), 0.0
    stamps = []
    for t_s in (before_s, sample_s):
        message = sensors.sample("range", Range(t_s, 1.0), t_s - release_s, 0.5)
        assert isinstance(message, Range)
        stamps.append(message)
    imu = sensors.imu(Imu(imu_s, ZERO, ZERO), imu_s - release_s)
    assert imu is not None
    assert memory.accept(stamps[0]) is None and memory.accept(imu) is None
    times = (np.array([x]) for x in (sample_s, before_s, imu.t_s, release_s))
    assert fits_clock(NUMPY_OPS, faults, *times).tolist() == [memory.accept(stamps[1]) is None]
