"""Laws of model cards: the same inputs give the same card, which names its policy and how it was made."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import tyro

from liquid_pilot.bundle import load_bundle
from liquid_pilot.card import read_card
from liquid_pilot.errors import BundleError, ConfigError
from scripts import card
from scripts.cards import scores
from scripts.cards.scores import CARDS, Plan, plan_of, task_card
from scripts.case import TASKS
from scripts.training.options import CheetahOptions, ImitationOptions, Options, command_of
from tests.scripts.synthetic import write_random_policy


@pytest.fixture(name="short")
def one_short_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"a second": {"seconds": 1.0}}
    monkeypatch.setitem(CARDS, "hover", replace(CARDS["hover"], conditions=rows))


def test_the_same_policy_flights_and_seed_give_the_same_card(short: None, tmp_path: Path) -> None:
    policy = write_random_policy(tmp_path / "policy.safetensors")
    words = [str(policy), "--flights", "2", "--workers", "1"]
    assert card.main(words) == 0
    written = tmp_path / "policy.md"
    first = written.read_bytes()
    assert card.main(words) == 0 and written.read_bytes() == first
    text = read_card(policy)
    assert text == first.decode() and load_bundle(policy).metadata["sha256"] in text
    assert "\n| a second | " in text and "2 flights of 1 s a row, seed 0" in text
    assert f"`{shlex.join(['python', '-m', 'scripts.card', *words[:3]])}`" in text


def test_a_card_of_other_weights_is_refused(tmp_path: Path) -> None:
    policy = write_random_policy(tmp_path / "policy.safetensors")
    with pytest.raises(BundleError, match=r"python -m scripts\.card"):
        read_card(policy)
    (tmp_path / "policy.md").write_text(f"sha256 {'0' * 64}\n", encoding="utf-8")
    with pytest.raises(BundleError, match="other weights"):
        read_card(policy)
    with pytest.raises(ConfigError, match="unknown policy"):
        read_card("no-such-policy")


@pytest.mark.parametrize("task", [task for task in CARDS if task in TASKS])
def test_every_condition_of_a_task_can_be_flown(task: str) -> None:
    plan = Plan(task, task, 1, 0, "cf2x")  # the shipped policy of that name
    cases = [scores._case(plan, changes) for changes in task_card(task).conditions.values()]
    for case in cases:
        case.check()
    assert len({str(case) for case in cases}) == len(cases)


def test_what_cannot_be_flown_is_refused_before_the_first_flight(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="unknown task of a card 'swim'"):
        task_card("swim")
    with pytest.raises(ConfigError, match="leave --airframe out"):
        plan_of("half-cheetah", load_bundle("half-cheetah"), None, 0, "cf2x")
    assert card.main(["hover", "--flights", "0", "--out", "never.md"]) == 2
    assert card.main(["hover", "--out", "card.txt"]) == 2
    said = capsys.readouterr().err
    assert "flights is 0" in said and "card.md" in said and not Path("never.md").exists()


@pytest.mark.parametrize(
    "options",
    [
        Options("hover"),
        Options("track", "analytic", updates=7, learning_rate=1e-3, seed=3, backend="torch"),
        Options("hover", "bc", wiring="9-6-4", imitation=ImitationOptions(demos=Path("my demos.npz"), noise=0.2)),
        Options("half-cheetah", cheetah=CheetahOptions(observe="positions", frames="1-6"), budget_s=90.0),
    ],
)
def test_a_recorded_command_asks_for_the_same_training(options: Options) -> None:
    told = replace(options, out=Path("elsewhere"), threads=2, verbose=True, resume=True)
    python, module, script, *arguments = shlex.split(command_of(told))
    assert (python, module, script) == ("python", "-m", "scripts.train")
    assert tyro.cli(Options, args=arguments, config=(tyro.conf.OmitArgPrefixes,)) == options
