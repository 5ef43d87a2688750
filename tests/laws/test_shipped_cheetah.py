"""The shipped policies of HalfCheetah run, at their usual interval and at random ones with a third of all lost."""

from __future__ import annotations

import pytest

from envs.half_cheetah.rhythm import IRREGULAR, REGULAR, Rhythm
from scripts.cheetah import CheetahJob, episode


@pytest.mark.parametrize(
    ("policy", "rhythm", "least"),
    [
        ("half-cheetah-teacher", REGULAR, 2700.0),
        ("half-cheetah", REGULAR, 2400.0),
        ("half-cheetah", IRREGULAR, 2200.0),
        ("half-cheetah-positions", REGULAR, 2400.0),
    ],
    ids=lambda value: "irregular" if value is IRREGULAR else "regular" if value is REGULAR else str(value),
)
def test_a_shipped_policy_runs(policy: str, rhythm: Rhythm, least: float) -> None:
    found = episode(CheetahJob(policy, rhythm, episodes=1, seed=5), 0)
    assert not found.lost
    assert found.total > least
    assert found.speed_m_s > 1.0
