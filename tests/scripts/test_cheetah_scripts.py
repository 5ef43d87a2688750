"""HalfCheetah at the command line: every method trains and goes on, policies are scored and drawn, refusals teach."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from PIL import Image

from envs.half_cheetah import env as env_module
from envs.half_cheetah.rhythm import REGULAR, Rhythm
from liquid_pilot.bundle import load_bundle, save_bundle
from liquid_pilot.cli import main as wheel
from policies.half_cheetah import cloning, ppo, teaching, trainer
from policies.half_cheetah.sizes import teacher_spec
from scripts import evaluate, train
from scripts.cheetah import CheetahJob, CheetahRhythm, episode, rhythm_text
from scripts.pictures.video import FORMATS
from scripts.training import cheetah, cheetah_ppo, cheetah_teacher
from scripts.training.options import FOREIGN, Options, changed_options
from tests.onboard.bundles import make_cheetah

CALLS = 40
FILES = {"checkpoint.safetensors", "config.json", "learning_curve.png", "policy.safetensors", "progress.csv"}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short episodes, few of them."""
    monkeypatch.setattr(env_module, "USUAL_CALLS", CALLS)
    monkeypatch.setattr(
        cheetah, "CheetahConfig", small_config(trainer.CheetahConfig, herd=2, validation_episodes=2, validate_every=2)
    )
    own = {"cheetahs": 2, "validation_episodes": 2, "validate_every": 2}
    taught = own | {"units": 8, "batch": 16, "events": 16, "epochs": 1}
    monkeypatch.setattr(cheetah_teacher, "TeachingConfig", small_config(teaching.TeachingConfig, **taught))
    monkeypatch.setattr(cheetah_teacher, "Cloning", small_config(cloning.Cloning, rounds=2, herd=2, updates=20))
    few = own | {"events": 16, "epochs": 1}
    usual = ppo.usual_config
    monkeypatch.setattr(cheetah_ppo, "usual_config", lambda fine_tuning, **chosen: usual(fine_tuning, **(few | chosen)))


def small_config(kind: Any, **sizes: Any) -> Any:
    """The configuration's class with other defaults."""
    return lambda **chosen: kind(**(sizes | chosen))


@pytest.fixture(name="teacher", scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = make_cheetah(spec=teacher_spec(29, 8), seed=3)
    return str(save_bundle(tmp_path_factory.mktemp("teacher") / "teacher.safetensors", made))


@pytest.fixture(name="policy", scope="module")
def policy_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_bundle(tmp_path_factory.mktemp("policy") / "p.safetensors", make_cheetah(observe="positions")))


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith(("error: ", "liquid-pilot: "))]


@pytest.mark.parametrize("method", ["dagger", "ppo", "teacher"])
def test_every_method_leaves_a_policy_and_goes_on(
    method: str, teacher: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / method
    words = ["half-cheetah", "--method", method, "--out", str(folder), "--frames", "1-6"]
    dropped = 0.0 if method == "teacher" else 0.2  # a teacher sees the true body
    words += ["--dropped", "0.2"] if dropped else []
    words += {
        "dagger": ["--expert", teacher, "--updates", "3", "--batch", "2", "--episodes", "3", "--rounds", "2",
                   "--observe", "positions", "--wiring", "8-5-6"],
        "ppo": ["--steps", "64", "--observe", "velocities", "--cell", "gru"],
        "teacher": ["--steps", "64", "--irregular", "0.5"],
    }[method]  # fmt: skip
    assert train.main(words) == 0
    assert {path.name for path in folder.iterdir()} >= FILES
    made = load_bundle(folder / "policy.safetensors")
    observe = {"dagger": "positions", "ppo": "velocities", "teacher": "full"}[method]
    assert made.task == "half-cheetah" and made.metadata["observe"] == observe
    assert made.metadata["trained_rhythm"]["frames"] == [1, 6] and made.metadata["trained_rhythm"]["dropped"] == dropped
    assert json.loads((folder / "config.json").read_text())["irregular"] == 0.5
    assert train.main([*words, "--resume"]) == 0  # finished: nothing is left to do but to score it again
    after = load_bundle(folder / "policy.safetensors")
    assert {k: v.tobytes() for k, v in after.weights.items()} == {k: v.tobytes() for k, v in made.weights.items()}
    capsys.readouterr()
    assert train.main([*words, "--resume", "--seed", "5"]) == 2
    assert len(found := errors(capsys)) == 1 and "another configuration" in found[0] and "seed" in found[0]


def test_reinforcement_starts_from_a_policy_that_imitation_made(teacher: str, tmp_path: Path) -> None:
    student, finer = tmp_path / "student", tmp_path / "finer"
    words = ["--expert", teacher, "--updates", "2", "--batch", "2", "--episodes", "2", "--rounds", "1"]
    assert train.main(["half-cheetah", *words, "--out", str(student)]) == 0
    began = load_bundle(student / "policy.safetensors")
    words = ["half-cheetah", "--method", "ppo", "--init", str(student / "policy.safetensors"), "--steps", "32"]
    assert train.main([*words, "--out", str(finer)]) == 0
    found = load_bundle(finer / "policy.safetensors").metadata["training"]
    assert found["start_sha256"] == began.metadata["sha256"] and found["config"]["critic_first"] == 8
    assert train.main([*words, "--out", str(finer), "--resume"]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--method", "analytic"], "no method 'analytic'; choose one of: dagger, ppo"),
        (["--method", "bc"], "no method 'bc'"),
        (["--airframe", "racer"], "no --airframe"),
        (["--backend", "torch"], "no --backend"),
        (["--steps", "100"], "no --steps"),
        (["--demos", "x.safetensors", "--flights", "3"], "no --demos, --flights"),
        (["--method", "ppo", "--updates", "3"], "no --updates"),
        (["--method", "ppo", "--expert", "hover"], "no --expert"),
        (["--method", "teacher", "--observe", "positions"], "no --observe"),
        (["--method", "teacher", "--dropped", "0.1"], "no --dropped"),
        (["--method", "teacher", "--batch", "100"], "give a divisor of the"),
        (["--method", "teacher", "--cell", "gru", "--init", "hover"], "no --cell, --init"),
        (["--expert", "nobody"], "nobody"),
        (["--expert", "hover"], "--method teacher"),
        (["--method", "dagger", "--simulator", "mujoco"], "no teacher of mujoco is shipped"),
        (["--frames", "fast"], "1-6"),
        (["--dropped", "1"], "below 1"),
        (["--irregular", "2"], "irregular"),
        (["--resume"], "no checkpoint"),
        (["--method", "ppo", "--init", "hover"], "task: hover there"),
        (["--method", "ppo", "--wiring", "8-5-4"], "8-5-4"),
    ],
)
def test_a_run_that_cannot_be_is_refused_in_one_line(
    words: list[str], told: str, teacher: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expert = [] if "--method" in words or "--expert" in words else ["--expert", teacher]
    assert train.main(["half-cheetah", *expert, *words, "--out", str(tmp_path / "run")]) == 2
    assert len(found := errors(capsys)) == 1 and told in found[0]


def test_options_of_half_cheetah_are_refused_by_hover(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--observe", "positions"], ["--dropped", "0.3"], ["--simulator", "mujoco"]):
        assert train.main(["hover", *words, "--out", str(tmp_path / "run")]) == 2
        assert len(found := errors(capsys)) == 1 and words[0] in found[0]
    assert not (tmp_path / "run").exists()


def test_every_option_that_is_refused_exists() -> None:
    usual = Options("half-cheetah")
    for names in FOREIGN.values():
        for name in names:
            group, _, inner = name.rpartition(".")
            assert hasattr(getattr(usual, group) if group else usual, inner), name
    assert changed_options(usual, usual) == []
    assert changed_options(replace(usual, cell="gru", seed=1), usual) == ["cell", "seed"]


def test_a_policy_is_scored_drawn_and_filmed(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FORMATS, ".mp4", replace(FORMATS[".mp4"], fps=10.0))
    json_file, picture, video = (tmp_path / name for name in ("run.json", "run.png", "run.mp4"))
    words = [policy, "--task", "half-cheetah", "--flights", "3", "--workers", "1", "--seed", "2"]
    given = ["--json", str(json_file), "--picture", str(picture), "--video", str(video), "--picture-flight", "1"]
    assert evaluate.main([*words, *given]) == 0
    row = json.loads(json_file.read_text())
    totals = [episode(CheetahJob(policy, REGULAR, 3, 2), k).total for k in range(3)]
    assert row["return_mean"] == pytest.approx(statistics.fmean(totals)) and row["return_lowest"] == min(totals)
    assert row["return_sd"] == pytest.approx(statistics.stdev(totals)) and row["return_sd"] > 0.0
    assert row["flights"] == 3 and row["policy_sha256"] == load_bundle(policy).metadata["sha256"]
    assert (row["simulator"], row["observe"], row["frames"], row["lost"]) == ("pybullet", "positions", None, 0)
    with Image.open(picture) as image:
        assert image.width > 500 and len(image.convert("L").getcolors(1 << 20) or []) > 20
    count, _ = imageio_ffmpeg.count_frames_and_secs(str(video))
    assert count is not None and abs(count - CALLS * 0.0165 * 10.0) <= 1
    hard = ["--frames", "1-6", "--dropped", "0.3", "--delay-frames", "0-2", "--noise", "0.1"]
    assert evaluate.main([*words, *hard, "--json", str(json_file)]) == 0
    again = json.loads(json_file.read_text())
    assert again["return_mean"] != row["return_mean"]
    assert (again["frames"], again["dropped"], again["delay_frames"], again["noise"]) == ([1, 6], 0.3, [0, 2], 0.1)
    assert "return" in capsys.readouterr().out


def test_scores_do_not_depend_on_the_number_of_workers(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # workers are processes of their own, with whole episodes
    rows = []
    for workers in ("1", "2"):
        words = [policy, "--task", "half-cheetah", "--flights", "2", "--frames", "20", "--workers", workers]
        assert evaluate.main([*words, "--json", str(tmp_path / "row.json")]) == 0
        rows.append(json.loads((tmp_path / "row.json").read_text()))
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--fault", "flow:off@6s"], "no --fault"),
        (["--imu-hz", "50", "--wind", "2"], "no --imu-hz, --wind"),
        (["--engine", "batched"], "no --engine"),
        (["--seconds", "3"], "no --seconds"),
        (["--frames", "6-1"], "frames"),
        (["--frames", "1-"], "1-6"),
        (["--dropped", "1"], "below 1"),
        (["--noise", "-1"], "noise"),
        (["--delay-frames", "200"], "delay_frames"),
        (["--flights", "0"], "at least one"),
        (["--seed", "-1"], "seed"),
        (["--workers", "0"], "workers"),
        (["--picture-flight", "20"], "0 to 19"),
        (["--json", "row.txt"], ".json"),
        (["--video", "run.avi"], "run.avi"),
    ],
)
def test_a_score_that_makes_no_sense_is_refused_in_one_line(
    words: list[str], told: str, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main([policy, "--task", "half-cheetah", *words]) == 2
    assert len(found := errors(capsys)) == 1 and told in found[0]


def test_policies_of_one_task_are_refused_by_the_other(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["hover", "--task", "half-cheetah", "--workers", "1"],
        [policy, "--flights", "1", "--workers", "1"],
        [policy, "--flights", "1", "--engine", "batched"],
        ["hover", "--frames", "1-6"],
        ["geometric", "--task", "half-cheetah"],
    ):
        assert evaluate.main(words) == 2
        assert len(found := errors(capsys)) == 1 and ("half-cheetah" in found[0] or "geometric" in found[0])


def test_no_trainer_of_hover_takes_a_cheetah(policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["--init", policy],
        ["--method", "ppo", "--init", policy],
        ["--method", "dagger", "--expert", policy],
    ):
        assert train.main(["hover", *words, "--out", str(tmp_path / "run")]) == 2
        assert len(found := errors(capsys)) == 1 and "flies no drone" in found[0]


def test_the_wheel_shows_a_cheetah_and_does_not_fly_it(
    policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wheel(["inspect", policy]) == 0
    told = capsys.readouterr().out
    assert "observes positions" in told and "calls every 1 to 6 frames, 30% dropped" in told and "6 torques" in told
    assert wheel(["inspect", policy, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["observation_width"] == sum(entry["width"] for entry in found["observation"]) == 20
    assert found["trained_rhythm"]["frames"] == [1, 6] and all(entry["meaning"] for entry in found["observation"])
    log = tmp_path / "flight.csv"
    for words in (
        ["fly", policy, "--link", "mavlink:udpin:127.0.0.1:14540", "--dry-run", "--log", str(log)],
        ["export", policy, "--c", str(tmp_path / "c")],
    ):
        assert wheel(words) == 2
        assert len(found := errors(capsys)) == 1 and "flies no drone" in found[0]
    assert not list(tmp_path.iterdir())


def test_a_rhythm_is_told_in_few_words() -> None:
    def row(rhythm: Rhythm) -> dict[str, Any]:
        return {"frames": rhythm.frames, "dropped": rhythm.dropped, "delay_frames": rhythm.delay_frames,
                "noise": rhythm.noise}  # fmt: skip

    assert rhythm_text(row(REGULAR)) == "regular"
    assert rhythm_text(row(Rhythm((2, 2)))) == "2 frames"
    told = rhythm_text(row(CheetahRhythm("1-6", 0.3, "0-4", 0.1).rhythm()))
    assert told == "1-6 frames, 30% dropped, 0-4 frames late, noise 0.1"


@pytest.mark.parametrize("main", [train.main, evaluate.main])
def test_help_teaches_how_a_cheetah_runs(main: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    assert "half-cheetah --task half-cheetah" in told or "train half-cheetah" in told
    assert "--dropped" in told and "--frames" in told and "--delay-frames" in told
