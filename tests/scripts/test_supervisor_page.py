"""docs/supervisor.md says what the code does."""

from __future__ import annotations

from liquid_pilot.supervisor import RULES, Condition, State
from liquid_pilot.supervisor_table import CONDITION_MEANING, STATE_MEANING
from scripts.supervisor_page import PAGE, page


def test_the_page_is_that_of_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m scripts.supervisor_page"


def test_everything_is_explained() -> None:
    assert set(STATE_MEANING) == set(State) and set(CONDITION_MEANING) == set(Condition)
    text = page()
    assert all(f"| {one.name} |" in text for one in Condition)
    pairs = {(source, rule.target) for rule in RULES for source in rule.sources}
    assert all(f"    {source.value} --> {target.value}: " in text for source, target in pairs)
    assert "{" not in text
