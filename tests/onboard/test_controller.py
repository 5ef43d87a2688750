"""The controller as a whole: what goes in, what comes out, and what never does."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liquid_pilot.bundle import make_bundle, make_selftest, save_bundle
from liquid_pilot.cells import Network
from liquid_pilot.command import DEFAULT_LIMITS, from_action
from liquid_pilot.controller import Controller
from liquid_pilot.errors import BundleError, LiquidPilotError, MessageError
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import Command, Flow, Imu, Message, Range, Setpoint
from liquid_pilot.observation import OBS_DIM, OBS_SLICES, assemble
from liquid_pilot.supervisor import State, SupervisorLimits
from tests.onboard.flying import (
    BUNDLE,
    LEVEL,
    METADATA,
    NARROW,
    SETPOINT,
    STILL,
    after,
    changes,
    fly,
    small_bundle,
    started,
    state_of,
    stream,
)

NAN = math.nan


def assert_sane(command: Command) -> None:
    assert all(map(math.isfinite, (command.t_s, command.thrust_m_s2, *command.rates_rad_s)))
    assert NARROW.thrust_m_s2[0] <= command.thrust_m_s2 <= NARROW.thrust_m_s2[1]
    assert all(abs(w) <= m for w, m in zip(command.rates_rad_s, NARROW.rates_rad_s, strict=True))


def test_the_first_command_comes_with_the_first_imu_after_a_setpoint() -> None:
    controller = Controller(BUNDLE)
    assert state_of(controller) is State.INIT
    assert controller.feed(Imu(0.0, STILL, LEVEL)) is None and state_of(controller) is State.STANDBY
    moved = controller.hidden
    assert np.abs(moved).sum() == 0.0  # the very first step has dt = 0
    assert controller.feed(Imu(0.01, STILL, LEVEL)) is None
    assert np.abs(controller.hidden).sum() > 0.0  # it sees gravity before it flies
    controller.feed(Flow(0.01, 0.02, (0.0, 0.0), 1.0))
    controller.feed(Range(0.01, 1.0))
    assert controller.feed(Imu(0.02, STILL, LEVEL)) is None and state_of(controller) is State.READY
    assert controller.feed(replace(SETPOINT, t_s=0.02)) is None
    command = controller.feed(Imu(0.03, STILL, LEVEL))
    assert command is not None and command.t_s == 0.03 and state_of(controller) is State.ACTIVE
    assert_sane(command)


def test_commands_are_those_of_the_network_stepped_by_hand_with_true_elapsed_times() -> None:
    rng = np.random.default_rng([4])
    memory, network = SensorMemory(), Network(BUNDLE.spec, BUNDLE.weights)
    controller, hidden, command = Controller(BUNDLE), network.initial_state(), None
    controller.feed(SETPOINT)
    t = 0.0
    for _ in range(200):
        batch: list[Message] = [Imu(t, tuple(rng.normal(size=3)), (0.1, 0.2, 9.7))]
        if rng.random() < 0.4:
            batch.insert(0, Flow(t - 0.003, 0.02, tuple(0.01 * rng.normal(size=2)), float(rng.random())))
        if rng.random() < 0.3:
            batch.insert(0, Range(t - 0.002, 1.0 + float(rng.random())))
        for message in batch:
            command = controller.feed(message)
            memory.accept(message)  # type: ignore[arg-type]  # no set-point among them
        held = memory.take(SETPOINT)
        action, hidden = network.step(np.array(assemble(held), dtype=np.float32), hidden, held.dt_s)
        a, b, c, d = (float(value) for value in action)
        thrust, rates = from_action(NARROW, (a, b, c, d))
        assert command is not None
        assert (command.thrust_m_s2, *command.rates_rad_s) == pytest.approx((thrust, *rates), abs=1e-9)
        t += float(np.exp(rng.uniform(np.log(1 / 400), np.log(1 / 25))))
    np.testing.assert_array_equal(controller.hidden, hidden)
    assert controller.time_constants.shape == (19,) and (controller.time_constants > 0.0).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 220), st.floats(0.0, 0.4)), max_size=60))
def test_repeated_and_late_messages_change_nothing(repeats: list[tuple[int, float]]) -> None:
    """Anything that was already fed, fed again at any later place, leaves states and commands as they are."""
    messages = stream(1.5)
    plain = Controller(BUNDLE)
    expected = fly(plain, messages)
    noisy: list[Message] = []
    for index, message in enumerate(messages):
        noisy.append(message)
        noisy += [
            messages[place]
            for place, _ in repeats
            if 0 < place <= index and index - place < 60 and messages[index].t_s - messages[place].t_s < 0.5
        ]
    limits = SupervisorLimits(rejected_in_a_row=10**9)
    disturbed = Controller(BUNDLE, limits=limits)
    assert fly(disturbed, noisy) == expected
    np.testing.assert_array_equal(disturbed.hidden, plain.hidden)
    rejected = sum(n for name, n in disturbed.counters.items() if name.startswith("rejected"))
    assert rejected == len(noisy) - len(messages)


wild = st.floats() | st.sampled_from([0.0, 1.0, -1.0, 1e300, NAN, math.inf, -math.inf])
times = st.floats(-0.02, 0.05) | wild
triples = st.tuples(wild, wild, wild)
hostile = st.one_of(
    st.builds(Imu, times, triples, triples),
    st.builds(Imu, times, st.just((0.1, 0.2, 0.3)), triples),
    st.builds(Flow, times, wild | st.just(0.02), st.tuples(wild, wild), wild | st.just(0.5)),
    st.builds(Range, times, wild),
    st.builds(Setpoint, times, st.tuples(wild, wild), wild, wild),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(hostile, st.booleans(), st.none() | times), max_size=25))
def test_nothing_hostile_raises_or_reaches_the_command(messages: list[tuple[Message, bool, float | None]]) -> None:
    controller = Controller(BUNDLE, setpoint_timeout_s=0.3)
    commands = fly(controller, stream(0.2))
    now = 0.2
    for message, relative, tick in messages:
        given_time = replace(message, t_s=now + message.t_s) if relative else message
        issued = [controller.feed(given_time)]
        if tick is not None:
            issued.append(controller.tick(now + tick))
        issued.append(controller.feed(Imu(now, (0.1, 0.0, -0.1), LEVEL)))
        for command in issued:
            if command is not None:
                assert_sane(command)
                commands.append(command)
        assert np.isfinite(controller.hidden).all() and np.isfinite(controller.observation).all()
        now += 0.01
    # and once the noise is over, it flies again, on whatever clock
    final = fly(controller, stream(2.0, imu_hz=50.0, start_s=now + 0.02))
    assert len(final) > 40 and state_of(controller) in (State.ACTIVE, State.KILLED)


@pytest.mark.parametrize("junk", [None, 1.0, "imu", (0.0, STILL, LEVEL), Command(0.0, 1.0, STILL), object()])
def test_objects_that_are_no_messages_are_refused(junk: Any) -> None:
    with pytest.raises(MessageError, match="feed"):
        started().feed(junk)


def test_the_same_stream_gives_the_same_commands_and_reset_starts_anew() -> None:
    messages = [*stream(1.0), *after(1.02, 0.3, flow_hz=0.0), Range(NAN, 1.0)]
    controller = Controller(BUNDLE)
    first = fly(controller, messages)
    assert fly(Controller(BUNDLE), messages) == first
    for resets in (1, 2):
        for _ in range(resets):
            controller.reset()
        assert (controller.state, controller.counters, controller.events) == (State.INIT, {}, [])
        assert not controller.hidden.any() and not controller.observation.any()
        assert fly(controller, messages) == first


def test_a_tumble_is_caught_by_the_gyro_alone() -> None:
    controller = started(1.0)
    spin: list[Message] = [Imu(1.0 + 0.01 * k, (8.0 if k < 20 else 0.0, 0.0, 0.0), (0.0, 0.0, 1.0)) for k in range(60)]
    commands = fly(controller, spin)
    (_, text), *rest = changes(controller)[2:]
    assert text == "ACTIVE -> DEGRADED: TILTED" and not rest
    assert commands[-1].rates_rad_s[0] == -NARROW.rates_rad_s[0]  # it turns back the way it came
    fly(controller, [Imu(1.6 + 0.01 * k, STILL, (0.0, 0.0, 1.0)) for k in range(60)])
    fly(controller, [Imu(2.2 + 0.01 * k, STILL, (0.0, 0.0, 1.0)) for k in range(120)])
    assert state_of(controller) is State.KILLED
    killed = controller.feed(Imu(4.0, STILL, LEVEL))
    assert killed == Command(4.0, 0.0, STILL)
    fly(controller, [replace(SETPOINT, t_s=4.0), *after(4.01, 3.0)])
    assert state_of(controller) is State.KILLED
    controller.reset()
    assert state_of(controller) is State.INIT


def test_a_reset_clock_is_followed_and_the_network_keeps_its_state() -> None:
    controller = started(3.0)
    before = controller.hidden
    commands = fly(controller, after(0.0, 0.025, flow_hz=0.0, range_hz=0.0))
    np.testing.assert_array_equal(controller.hidden, before)  # dt is clamped to nothing
    assert commands == []
    commands += fly(controller, after(0.03, 1.0))
    assert controller.counters["clock_jumps"] == 1 and state_of(controller) is State.ACTIVE
    assert [text for _, text in changes(controller)[2:]] == [
        "ACTIVE -> DEGRADED: CLOCK_JUMPED",
        "DEGRADED -> ACTIVE: data are good",
    ]
    assert len(commands) == 100  # all but the two samples that it took to believe


def seen(controller: Controller, field: str) -> list[float]:
    return [float(value) for value in controller.observation[OBS_SLICES[field]]]


def test_setpoints_are_limited_checked_and_aged() -> None:
    controller = started(0.5, setpoint_timeout_s=0.5)
    controller.feed(Setpoint(0.5, (3.0, 4.0), 9.0, -7.0))
    controller.feed(Imu(0.5, STILL, LEVEL))
    assert seen(controller, "setpoint_velocity_m_s") == pytest.approx([0.6, 0.8])
    assert seen(controller, "setpoint_yaw_rate_rad_s") == [-1.0] and seen(
        controller, "height_error_m"
    ) == pytest.approx([3.0])
    assert controller.counters["clamped_setpoint"] == 1
    for bad in (
        Setpoint(0.6, (NAN, 0.0), 1.0, 0.0),
        Setpoint(0.4, STILL[:2], 1.0, 0.0),
        Setpoint(99.0, STILL[:2], 1, 0),
    ):
        controller.feed(bad)
    assert controller.counters["rejected_setpoint"] == 3
    fly(controller, after(0.51, 0.4))
    assert seen(controller, "setpoint_velocity_m_s") == pytest.approx([0.6, 0.8])
    fly(controller, after(0.92, 0.5))
    assert seen(controller, "setpoint_velocity_m_s") == [0.0, 0.0] and state_of(controller) is State.ACTIVE  # it hovers
    fly(controller, after(1.5, 2.0))
    assert state_of(controller) is State.DEGRADED and changes(controller)[-1][1].endswith("SETPOINT_LOST")
    controller.feed(Setpoint(3.5, (0.0, 0.0), 1.0, 0.0))
    controller.feed(Imu(3.5, STILL, LEVEL))
    assert state_of(controller) is State.ACTIVE


def test_a_network_that_fails_is_replaced_and_its_state_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = started(1.0)
    whole = Network.step
    for broken in (NAN, math.inf):
        monkeypatch.setattr(Network, "step", lambda self, x, h, dt, v=broken: (np.full(4, v), h))
        command = controller.feed(Imu(1.0 if math.isnan(broken) else 1.01, STILL, LEVEL))
        assert command is not None and state_of(controller) is State.DEGRADED
        assert_sane(command)
        assert not controller.hidden.any()
    monkeypatch.setattr(Network, "step", whole)
    fly(controller, after(1.02, 1.0))
    assert state_of(controller) is State.ACTIVE and controller.counters["bad_output"] == 2


def test_stop_lands_and_kill_kills() -> None:
    controller = started(1.0)
    controller.stop()
    fly(controller, after(1.0, 0.5))
    assert state_of(controller) is State.LAND
    fly(controller, [replace(m, distance_m=0.04) if isinstance(m, Range) else m for m in after(1.5, 1.0)])
    assert state_of(controller) is State.KILLED and changes(controller)[-1][1] == "LAND -> KILLED: LANDED"
    other = started(1.0)
    other.kill()
    assert other.feed(Imu(1.0, STILL, LEVEL)) == Command(1.0, 0.0, STILL)


def test_floods_are_counted_in_full_and_noted_in_part() -> None:
    controller = started(0.5)
    for _ in range(5000):
        controller.feed(Imu(0.1, STILL, LEVEL))
        controller.feed(Imu(0.6, (NAN, 0.0, 0.0), LEVEL))
    assert controller.counters["rejected_imu"] == 10_000
    assert 10 < len(controller.events) < 20
    assert "dropped" in controller.events[-1].text and state_of(controller) is State.ACTIVE
    assert controller.feed(Imu(0.6, STILL, LEVEL)) is not None


@pytest.mark.parametrize("change", [{"inputs": OBS_DIM + 1}, {"outputs": 3}])
def test_a_policy_of_another_layout_is_refused(change: dict[str, int]) -> None:
    bundle = small_bundle()
    bundle.spec = replace(bundle.spec, **change)  # type: ignore[misc,arg-type]  # a stand-in, not frozen
    with pytest.raises(BundleError, match="inputs"):
        Controller(bundle)


def test_a_policy_file_flies_as_the_policy_in_memory(tmp_path: Path) -> None:
    selftest = make_selftest(BUNDLE.spec, BUNDLE.weights, np.random.default_rng([2]))
    bundle = make_bundle(
        "random",
        "hover",
        BUNDLE.spec,
        BUNDLE.weights,
        NARROW,
        selftest,
        trained_rates_hz={"imu": [50.0, 100.0], "flow": [20.0, 50.0], "range": [20.0, 40.0]},
        airframe="cf2x",
        training={"config": {}, "seed": 0, "commit": "", "minutes": 0.0},
        **METADATA,
    )
    path = save_bundle(tmp_path / "random.safetensors", bundle)
    messages = stream(1.0)
    assert fly(Controller.load(path), messages) == fly(Controller(BUNDLE), messages)


def test_bad_options_are_refused(tmp_path: Path) -> None:
    for timeout_s in (0.0, -1.0, NAN):
        with pytest.raises(LiquidPilotError, match="setpoint_timeout_s"):
            Controller(BUNDLE, setpoint_timeout_s=timeout_s)
    with pytest.raises(LiquidPilotError):
        Controller.load(tmp_path / "none.safetensors")
    assert Controller(small_bundle(limits=DEFAULT_LIMITS), limits=SupervisorLimits(flow_s=0.5)).state is State.INIT
