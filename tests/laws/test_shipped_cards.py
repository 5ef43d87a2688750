"""Every shipped policy has a card, of these weights and under the conditions that cards of its task have."""

from __future__ import annotations

import pytest

from liquid_pilot.bundle import load_bundle, shipped
from liquid_pilot.card import read_card
from scripts.cards.scores import task_card


@pytest.mark.parametrize("policy", shipped())
def test_a_shipped_policy_has_a_card_of_its_own_weights(policy: str) -> None:
    bundle, text = load_bundle(policy), read_card(policy)
    assert text.startswith(f"# {policy}\n")
    assert f"| sha256 | `{bundle.metadata['sha256']}` |" in text
    assert f"| parameters | {bundle.parameters:,} |" in text
    for name in task_card(bundle.task).conditions:
        assert f"\n| {name} | " in text
    assert "- command: `python -m scripts.train " in text
