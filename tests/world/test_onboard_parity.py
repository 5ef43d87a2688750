"""One stream of events through the onboard memory and through the batched world: the same observation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from envs import batched_quad, batched_sensors, sensors
from envs.airframe import load_airframe
from envs.batched_quad import BatchedQuad
from envs.batched_state import BatchedState
from envs.conditions import Conditions
from envs.fault_messages import FailingSensors, Sample
from envs.faults import parse_fault
from envs.flights import draw_flights
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import Attitude, Flow, FlowGrid, Imu, Position, Range, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2, OBS_SLICES, assemble

LANES = 3
FLOW, FRESH = OBS_SLICES["flow_rate_rad_s"], OBS_SLICES["fresh"]


class Recorded:
    """A batched flight in hover, and what its sensors send, as messages with the faults of the flight."""

    def __init__(self, conditions: Conditions, monkeypatch: pytest.MonkeyPatch) -> None:
        airframe = load_airframe("cf2x")
        self.world = BatchedQuad(airframe, conditions, torch.Generator().manual_seed(2), dtype=torch.float64)
        self.state = self.world.reset(draw_flights(airframe, conditions, LANES, np.random.default_rng(2)))
        self.before = self.state
        self.failing = [FailingSensors(conditions.faults) for _ in range(LANES)]
        self.under_way: list[list[tuple[float, Sample]]] = [[] for _ in range(LANES)]
        read_flow, sense, newest = sensors.read_flow, batched_sensors.sense_substep, [(torch.zeros(LANES),) * 2]

        def spy_flow(*args: Any) -> Any:
            newest[0] = read_flow(*args)
            return newest[0]

        def spy_sense(before: Any, *args: Any) -> Any:
            after = sense(before, *args)
            for lane in range(LANES):
                t, d = float(after.flow.pending_stamp_s[lane]), float(after.range.pending[0, lane])
                if t != before.flow.pending_stamp_s[lane]:
                    window = t - float(before.flow.window_start_s[lane])
                    x, y = (float(rate[lane]) * window for rate in newest[0])
                    self._send(lane, "flow", after, Flow(t, window, (x, y), float(after.flow.pending[2, lane])))
                t = float(after.range.pending_stamp_s[lane])
                if t != before.range.pending_stamp_s[lane]:
                    self._send(lane, "range", after, Range(t, d))
            return after

        monkeypatch.setattr(batched_sensors, "read_flow", spy_flow)
        monkeypatch.setattr(batched_quad, "sense_substep", spy_sense)

    def _send(self, lane: int, name: str, after: Any, message: Sample) -> None:
        sent = self.failing[lane].sample(name, message, message.t_s - float(self.state.release_s[lane]), 0.5)
        assert sent is not None
        self.under_way[lane].append((float(getattr(after, name).deliver_s[lane]), sent))

    def advance(self) -> None:
        """To the next IMU event."""
        zero = torch.zeros(LANES, dtype=torch.float64)
        self.before = self.state
        command = (zero + GRAVITY_M_S2, (zero, zero, zero))
        self.state = self.world.step(self.state, command, self.world.intervals(self.state))

    def due(self, lane: int) -> list[Flow | Range | Position | Attitude]:
        """What has arrived since the last call, in order."""
        t = float(self.state.t_s[lane]) + 1e-9
        arrived = sorted((item for item in self.under_way[lane] if item[0] <= t), key=lambda item: item[0])
        self.under_way[lane] = [item for item in self.under_way[lane] if item[0] > t]
        return [message for _, message in arrived if not isinstance(message, FlowGrid)]  # there is none here

    def imu(self, lane: int) -> Imu | None:
        """The IMU's message of the present event."""
        held, t = self.state.sensors, float(self.state.t_s[lane])
        a, b, c, d, e, f = (float(v[lane]) for v in (*held.gyro_rad_s, *held.accel_m_s2))
        since_s = t - float(self.before.release_s[lane])  # at the release itself: still the hand's
        return self.failing[lane].imu(Imu(t, (a, b, c), (d, e, f)), since_s)

    def setpoint(self, lane: int) -> Setpoint:
        """The set-point of a lane."""
        return Setpoint(0.0, (0.0, 0.0), float(self.state.constants["setpoint_height_m"][lane]), 0.0)


def heard(state: BatchedState, lane: int) -> bool:
    """Whether the batched world says that its pilot took the newest IMU sample."""
    return float(state.imu.silent_s[lane]) == 0.0


@pytest.mark.parametrize("imu_hz", [25.0, 100.0, 400.0])
def test_observation_equals_the_onboard_memory_fed_with_the_same_events(
    imu_hz: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = Conditions(imu_hz=(imu_hz, imu_hz), flow_hz=(35.0, 35.0), flow_dropout=(0.2, 0.2))
    flight, memories, seen_flow = Recorded(conditions, monkeypatch), [SensorMemory() for _ in range(LANES)], 0.0
    for event in range(int(1.2 * imu_hz)):
        if event:
            flight.advance()
        wanted = flight.world.observe(flight.state).numpy()
        for lane, memory in enumerate(memories):
            imu = flight.imu(lane)
            assert imu is not None
            assert [memory.accept(message) for message in (*flight.due(lane), imu)][-1] is None
            found = assemble(memory.take(flight.setpoint(lane)))
            assert_allclose(found, wanted[lane], atol=1e-6, err_msg=f"event {event}, lane {lane}")
            seen_flow += float(wanted[lane][FRESH][1])
    assert seen_flow > 30


@pytest.mark.parametrize(
    ("faults", "odd_flows"),
    [
        (("imu:off@0.2+0.3", "gyro:off@0.6+0.2", "gyro:freeze@0.7+0.2", "accel:off@0.4+0.3"), 0),
        (("imu:off@0.2+1.3",), 1),
        *(((f"clock:jump={jump_s}@0.2+0.6",), 4) for jump_s in (30.0, -30.0, 0.5, -0.3)),
    ],
)
def test_without_imu_samples_too_the_observation_is_that_of_the_onboard_memory(
    faults: tuple[str, ...], odd_flows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """odd_flows: so many samples of flow a drone may have compensated with other gyro samples, next to a leap."""
    conditions = Conditions(
        flow_hz=(35.0, 35.0), hold_s=0.2, tilt_deg=(0.0, 20.0), launch_height_m=(1.8, 2.0),
        faults=tuple(parse_fault(text) for text in faults),
    )  # fmt: skip
    flight, memories = Recorded(conditions, monkeypatch), [SensorMemory() for _ in range(LANES)]
    refused, odd = 0, [set[float]() for _ in range(LANES)]
    for event in range(200):
        if event:
            flight.advance()
        wanted = flight.world.observe(flight.state).numpy()
        for lane, memory in enumerate(memories):
            imu = flight.imu(lane)
            for message in flight.due(lane):
                memory.accept(message)
            accepted = imu is not None and memory.accept(imu) is None
            assert accepted == heard(flight.state, lane)
            refused += not accepted
            if not accepted:
                continue
            found = np.array(assemble(memory.take(flight.setpoint(lane))))
            if np.abs(found[FLOW] - wanted[lane][FLOW]).max() > 1e-6:
                odd[lane].add(float(found[FLOW][0]))
                found[FLOW] = wanted[lane][FLOW]
            assert_allclose(found, wanted[lane], atol=1e-6, err_msg=f"event {event}, lane {lane}")
    assert refused >= 2 * LANES or "jump=0.5" in faults[0]
    assert max(len(values) for values in odd) <= odd_flows
