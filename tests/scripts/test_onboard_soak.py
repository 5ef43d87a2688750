"""Short forms of the onboard benchmarks: the same code as the long runs, and nothing of them is timed."""

from __future__ import annotations

import pytest

from scripts.benchmarks import onboard_fuzz, onboard_soak
from scripts.benchmarks.onboard_soak import FAULTS, Soaked


def test_a_short_soak_answers_its_faults_and_lands_every_sortie() -> None:
    soaked = onboard_soak.soak(seconds=30.0, imu_hz=100.0, sortie_s=22.0)
    assert soaked.sorties >= 2 and soaked.commands > 2000 and soaked.not_finite == 0
    assert soaked.sorties <= 3  # each of which has a fault that must be answered
    assert soaked.late == [] and sum(soaked.answered.values()) == soaked.sorties
    assert dict(soaked.outcomes) == {"landed": soaked.sorties}
    assert soaked.refused["clock_jumps"] == soaked.sorties - 1  # every new drone is a reboot on the same link
    table = {row[0]: row[1] for row in onboard_soak.rows(soaked)}
    assert table["faults answered in time"] == f"{soaked.sorties} of {soaked.sorties}"


def test_a_fault_that_nobody_answers_would_be_told() -> None:
    """The judge is not blind: an answer that never comes, or comes late, is in the list."""
    from envs.faults import parse_fault

    for answer_s, told in ((None, "never"), (0.5, "0.500 s"), (0.1, "")):
        soaked = Soaked()
        watcher = onboard_soak._Watcher(soaked, parse_fault("imu:off@5s+1s"), 0.1)
        watcher.answer_s = answer_s
        watcher.judge()
        assert (told in soaked.late[0]) if told else not soaked.late


def test_every_kind_of_silence_is_among_the_faults() -> None:
    promised = {what for what, _, limit in FAULTS if limit is not None}
    assert {"imu:off", "gyro:off", "flow:off", "flow:nan", "range:off", "range:nan"} <= promised


@pytest.mark.parametrize("seed", [0, 1])
def test_mutated_bytes_raise_nothing_and_command_nothing_that_is_not_finite(seed: int) -> None:
    found = onboard_fuzz.fuzz(60_000, seed)
    assert found.exceptions == [] and found.not_finite == 0
    assert found.bytes >= 60_000 and found.messages > 100 and found.counters["bad_checksum"] > 50
