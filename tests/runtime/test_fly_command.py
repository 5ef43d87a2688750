"""The command line of `fly`: what it refuses, and what its screen shows."""

from __future__ import annotations

import io
import math
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from envs.autopilot.companion import Companion, autopilot_conditions, simulated_autopilot
from liquid_pilot.bundle import load_bundle
from liquid_pilot.cli import main
from liquid_pilot.commands.fly import _run_loop
from liquid_pilot.commands.screen import Screen
from liquid_pilot.errors import LinkError
from liquid_pilot.links.link import Request
from liquid_pilot.logs import Event, read_csv
from liquid_pilot.runtime.flight import Outcome, Stage
from liquid_pilot.runtime.status import Status, one_line, render, snapshot
from liquid_pilot.runtime.watch import SensorWatch

LINK = ("--link", "mavlink:udpin:127.0.0.1:14540")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*LINK, "--height", "-1"), "--height"),
        ((*LINK, "--height", "nan"), "--height"),
        ((*LINK, "--duration", "-3"), "--duration"),
        ((*LINK, "--imu-hz", "5"), "--imu-hz"),
        ((*LINK, "--patience", "0"), "--patience"),
        ((*LINK, "--velocity", "inf,0"), "--velocity"),
        ((*LINK, "--system-id", "0"), "--system-id"),
        ((*LINK, "--hover-throttle", "1.5"), "hover_throttle"),
        ((*LINK, "--thrust-curve", "2"), "curve"),
        (("--link", "mavlink:udpin:0.0.0.0:14540"), "--allow-network"),
        (("--link", "/dev/ttyAMA0"), "mavlink:/dev/ttyAMA0@921600"),
        (("--link", "mavlink:/dev/no-such-device@921600"), "cannot be opened"),
        ((*LINK, "--log", "flight.txt"), ".mcap or .csv"),
        ((*LINK, "--log", "pyproject.toml"), "not written over"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fly", "hover", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and words in said


def test_a_policy_that_is_none_is_refused_before_anything_is_opened(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fly", "no-such-policy", "--link", "mavlink:/dev/no-such-device@921600"]) == 2
    assert "no-such-policy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "notes"),
    [
        ((), ["say with --airframe"]),
        (("--airframe", "cf2x", "--hover-throttle", "0.44"), []),
        (("--airframe", "racer", "--hover-throttle", "0.7"), ["racer has a rate loop of its own", "at full throttle"]),
    ],
)
def test_a_drone_that_the_policy_was_not_made_for_is_told_before_anything_is_asked_of_it(
    told: tuple[str, ...], notes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, link = tmp_path / "flight.csv", ("--link", f"mavlink:udpin:127.0.0.1:{port}", "--patience", "1")
    assert main(["fly", "hover", *link, "--dry-run", "--log", str(log), *told]) == 3  # nobody is there
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: hover")]
    logged = [row.text for row in read_csv(log).records if isinstance(row, Event) and row.kind == "caution"]
    assert said == logged and len(said) == len(notes)
    assert all(words in line for words, line in zip(notes, said, strict=True))


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fly", "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    for word in ("Ctrl-C", "mavlink:udpin:127.0.0.1:14540", "--dry-run", "SET_MESSAGE_INTERVAL", "exit codes"):
        assert word in said


@pytest.fixture(scope="module")
def statuses() -> dict[Stage, Status]:
    """One snapshot of each stage of a flight."""
    autopilot = simulated_autopilot("companion", autopilot_conditions(200.0), 0)
    companion, found = Companion(load_bundle("hover"), autopilot, imu_hz=200.0), {}
    try:
        for stage in (Stage.PREFLIGHT, Stage.ENGAGING, Stage.TAKEOFF, Stage.FLYING):
            companion.run(20.0, lambda wanted=stage: companion.flight.stage is wanted)  # type: ignore[misc]
            companion.run(0.5, lambda: False)
            found[stage] = snapshot(companion.flight, companion.world.now_s)
    finally:
        autopilot.vehicle.close()
    return found


def test_the_status_says_what_an_operator_asks(statuses: dict[Stage, Status]) -> None:
    flying = statuses[Stage.FLYING]
    said = "\n".join(render(flying, 200))
    for word in ("FLYING", "ACTIVE", "imu 20", "flow 5", "range", "OFFBOARD, armed", "battery 90%", "PX4", "timesync"):
        assert word in said, said
    assert flying.sensors["imu"].rate_hz == pytest.approx(200.0, rel=0.05) and flying.height_m > 0.3
    assert math.isfinite(flying.age.median_s) and flying.step.count > 100


def test_lines_are_as_many_at_every_stage_and_never_wider_than_the_screen(statuses: dict[Stage, Status]) -> None:
    counts = {stage: len(render(status, 80)) for stage, status in statuses.items() if stage is not Stage.PREFLIGHT}
    assert set(counts.values()) == {6}
    for status in statuses.values():
        assert all(len(line) <= 60 for line in render(status, 60))
        assert "\n" not in one_line(status) and status.stage.value in one_line(status)


class Terminal(io.StringIO):
    def __init__(self, live: bool) -> None:
        super().__init__()
        self.live = live

    def isatty(self) -> bool:
        return self.live


def shown(live: bool, statuses: dict[Stage, Status]) -> str:
    terminal: Any = Terminal(live)
    screen = Screen(terminal)
    for i, status in enumerate(statuses.values()):
        screen.show(lambda one=status: one, 100.0 * i)  # type: ignore[misc]
        while screen._status is not None:
            pass
        screen.show(lambda: pytest.fail("too early"), 100.0 * i + 0.1)
    screen.note("landing")
    screen.close()
    return str(terminal.getvalue())


def test_a_terminal_is_redrawn_in_place_and_notes_stay(statuses: dict[Stage, Status]) -> None:
    said = shown(True, statuses)
    assert len(re.findall(r"\x1b\[6F\x1b\[J", said)) >= 2
    assert said.endswith("landing\n")


def test_a_pipe_gets_plain_lines(statuses: dict[Stage, Status]) -> None:
    said = shown(False, statuses)
    assert "\x1b" not in said and said.count("\n") == len(statuses) + 1


def test_a_terminal_that_hangs_keeps_nobody_waiting(statuses: dict[Stage, Status]) -> None:
    import threading

    gate = threading.Event()

    class Stuck(Terminal):
        def write(self, text: str) -> int:
            gate.wait(20.0)
            return len(text)

    stuck: Any = Stuck(True)
    screen = Screen(stuck)
    for i in range(200):
        screen.show(lambda: statuses[Stage.FLYING], float(i))
        screen.note("note")
    assert len(screen._notes) <= 100 and not gate.is_set()
    gate.set()
    screen.close()


def test_a_terminal_without_unicode_gets_what_comes_after_it_too() -> None:
    raw = io.BytesIO()
    screen = Screen(io.TextIOWrapper(raw, encoding="ascii"))
    screen.note("mode \ufffd")
    screen.close()
    assert raw.getvalue() == b"mode \\ufffd\n"


class Diary:
    """Instead of screen and log."""

    def __init__(self) -> None:
        self.screen, self.said = self, list[str]()

    def note(self, t_s: float, kind: str, text: str) -> None:
        self.said.append(f"{kind}: {text}")

    def show(self, make: Any, now_s: float) -> None:
        pass


@pytest.mark.parametrize("asked", ["sensors", "kill", "land"])
def test_a_port_that_vanishes_when_something_is_asked_ends_the_flight_in_one_line(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    autopilot = simulated_autopilot("companion", autopilot_conditions(200.0), 0)
    try:
        one = Companion(load_bundle("hover"), autopilot, imu_hz=200.0)
        one.run(20.0, lambda: one.flight.stage is Stage.FLYING)

        def gone(what: Request, now_s: float) -> None:
            raise LinkError("serial device /dev/x has vanished")

        monkeypatch.setattr(one.link, "request", gone)
        monkeypatch.setattr("time.monotonic", lambda: one.world.now_s + 0.1)
        if asked == "sensors":
            one.loop.watch.sensors["imu"] = SensorWatch()
        elif asked == "kill":
            one.flight.kill()
        else:
            one.loop.sends = False
            one.flight._enter(Stage.LANDING, one.world.now_s)
        diary: Any = Diary()
        _run_loop(one.loop, one.flight, diary)
    finally:
        autopilot.vehicle.close()
    assert one.flight.outcome is Outcome.LOST
    assert "stage: done: serial device /dev/x has vanished" in diary.said
