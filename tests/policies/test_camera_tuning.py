"""Laws of tuning to a camera: what is recorded is what is shown, the head stays, runs repeat and resume."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("cv2")

from envs.airframe import load_airframe
from envs.flights import draw_flights
from envs.rollout import fly_task
from envs.sensor_events import SensorSuite
from liquid_pilot import Controller
from liquid_pilot.bundle import Bundle, load_bundle, run_selftest
from liquid_pilot.encoder import Encoder
from liquid_pilot.errors import ConfigError, MissingExtraError, SimulationError, TrainingError
from liquid_pilot.flow_grid import DEFAULT_GRID
from liquid_pilot.messages import Command, Imu, Message
from liquid_pilot.observation import OBS_DIM
from policies.camera_files import export_policy, load_checkpoint, save_checkpoint
from policies.camera_flights import DRAWS, Crossings, GridRecorder, SeenGrids, camera_task, joined, record_crossing
from policies.camera_tuning import CameraConfig, CameraTrainer, Pairs, distance, encoder_of, feature_errors
from policies.network import PolicyNetwork

START = load_bundle("avoid")
SHORT = Crossings(speed_m_s=(2.0, 4.0), flight_s=0.1)  # and half a second in the hand
TINY = CameraConfig(
    str(START.metadata["sha256"]), flights=2, rounds=2, held_out=1, updates=8, batch=16, crossings=SHORT
)
Record = Callable[..., SeenGrids]


def distorted(bundle: Bundle, airframe: Any, crossings: Crossings, rng: np.random.Generator) -> SeenGrids:
    """In the place of a flight: smooth grids, and a camera that is dull, and biased by how the policy flies."""
    waves = np.sin(np.outer(np.arange(8), np.linspace(0.0, 3.0, DEFAULT_GRID.numbers)))
    scene = rng.standard_normal((40, 1, 8)) @ waves
    true = (scene + 0.1 * rng.standard_normal((40, DRAWS, DEFAULT_GRID.numbers))).astype(np.float32)
    camera = (0.5 * scene[:, 0] + 0.1 * bundle.weights["encoder.0.bias"].mean()).astype(np.float32)
    return SeenGrids(camera, true, rng.uniform(1.0, 5.0, 40).astype(np.float32), np.array([40]))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.camera_tuning.record_crossing", distorted)


def run(trainer: CameraTrainer, updates: int) -> list[float]:
    return [trainer.update(trainer.done / trainer.updates).loss for _ in range(updates)]


class Noting(Controller):
    """Keeps the features that its network saw of each new grid."""

    def feed(self, message: Message) -> Command | None:
        command = super().feed(message)
        if isinstance(message, Imu) and self.observation[OBS_DIM] == 1.0:
            self.seen = [*getattr(self, "seen", []), self.observation[-24:]]
        return command


def test_recorded_is_what_the_network_was_shown_and_recording_changes_no_flight() -> None:
    task, model = camera_task(3.0, 0.1, DEFAULT_GRID)
    airframe, traces, controller = load_airframe("cf2x"), [], Noting(START)
    recorder = GridRecorder(controller, np.random.default_rng(9))
    for pilot in (Controller(START), recorder):
        rng = np.random.default_rng(3)
        flights = draw_flights(airframe, task.conditions, 1, rng, 0.6)
        scale = float(flights.noise_scale[0])

        def watch(launch: Any, pilot: Any = pilot, scale: float = scale) -> None:
            if pilot is recorder:
                recorder.watch(launch, model, scale)

        traces.append(fly_task(pilot, task, airframe, flights, task.conditions, rng, 0.6, on_launch=watch))
    assert_array_equal(traces[0].position_m, traces[1].position_m)
    grids, encoder = recorder.grids(), Encoder(START.spec.encoder, START.weights)  # type: ignore[arg-type]
    assert grids.flights == 1 and len(grids) == grids.length[0] > 15
    told = [encoder.features(grid, speed) for grid, speed in zip(grids.camera, grids.speed_m_s, strict=True)]
    assert_allclose(told, controller.seen[-len(grids) :], atol=1e-6)
    assert len(controller.seen) - len(grids) <= 3  # before the first attitude
    camera, true = grids.camera[-8:], grids.true[-8:].mean(axis=1)
    assert grids.true.shape == (len(grids), DRAWS, DEFAULT_GRID.numbers)
    assert np.corrcoef(camera[camera != 0.0], true[camera != 0.0])[0, 1] > 0.3  # the same forest


def test_a_tiny_run_comes_nearer_to_what_true_rays_say_and_an_anchor_holds_it(quick: None) -> None:
    errors, moved = [], []
    for anchor in (0.0, 1e-3, 1e3):
        trainer = CameraTrainer(replace(TINY, flights=8, updates=100, batch=64, anchor=anchor), START)
        run(trainer, 100)
        row = trainer.validate(trainer.idle())
        errors.append(row.camera_error / row.camera_error_before)
        moved.append(float(distance(encoder_of(trainer.network), encoder_of(trainer.before)).detach()))
        assert trainer.best_score == row.score or errors[-1] > 0.99
    assert errors[0] < 0.7 and errors[1] < 0.7 and moved[0] > moved[1] > moved[2] < 1e-2


def test_flights_follow_from_the_generator() -> None:
    airframe = load_airframe("cf2x")
    one, two = (record_crossing(START, airframe, SHORT, np.random.default_rng(4)) for _ in range(2))
    for name in ("camera", "true", "speed_m_s", "length"):
        assert_array_equal(getattr(one, name), getattr(two, name))
    assert len(one) > 5 and 2.0 <= one.speed_m_s.min() <= one.speed_m_s.max() <= 4.0


def test_the_head_is_left_alone_and_the_file_proves_itself(quick: None, tmp_path: Path) -> None:
    trainer = CameraTrainer(replace(TINY, flights=8, updates=100, batch=64), START)
    run(trainer, 100)
    trainer.validate(trainer.idle())
    bundle = load_bundle(export_policy(trainer, tmp_path / "p.safetensors", "tuned", "0", "a command"))
    run_selftest(bundle)
    for name, value in START.weights.items():
        if name.startswith("encoder."):
            assert (bundle.weights[name] != value).any()
        else:
            assert_array_equal(bundle.weights[name], value)
    for field in ("trained_rates_hz", "sensor_limits_s", "setpoint_limits", "command_limits", "airframe", "task"):
        assert bundle.metadata[field] == START.metadata[field]
    told = bundle.metadata["training"]
    assert told["start_sha256"] == START.metadata["sha256"] and told["config"]["method"] == told["method"] == "camera"
    assert (told["flights"], told["rounds"], told["seed"], told["command"]) == (8, 2, 0, "a command")


def test_a_run_repeats_and_a_resumed_one_is_as_one_that_was_never_stopped(quick: None, tmp_path: Path) -> None:
    path, whole, first = tmp_path / "c.safetensors", CameraTrainer(TINY, START), CameraTrainer(TINY, START)
    losses = run(whole, 8)
    whole.validate(whole.idle())
    assert run(first, 3) == losses[:3]
    save_checkpoint(path, first)
    run(first, 2)  # was killed here
    second = load_checkpoint(path, TINY, START)
    assert run(second, 5) == losses[3:] and second.round == 1
    second.validate(second.idle())
    assert second.best_score == whole.best_score and second.done == 8
    for a, b in ((whole.network, second.network), (whole.best, second.best), (whole.flown, second.flown)):
        assert all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())
    other = CameraTrainer(replace(TINY, seed=1), START)
    assert run(other, 8) != losses


def test_rounds_follow_the_share_and_the_newest_encoder_flies(quick: None) -> None:
    trainer = CameraTrainer(replace(TINY, flights=4, updates=40), START)
    rows = [trainer.update(share) for share in (0.0, 0.1, 0.2, 0.5, 0.6, 0.9)]
    assert [row.flights for row in rows] == [1, 2, 2, 3, 4, 4] and trainer.held_out[0].flights == 1
    start = PolicyNetwork.from_bundle(START)
    name = "encoder.0.bias"
    assert_array_equal(trainer.before.weights()[name], start.weights()[name])
    assert (trainer.flown.weights()[name] != start.weights()[name]).any()
    assert (trainer.flown.weights()[name] != trainer.network.weights()[name]).any()


def test_where_nothing_is_better_the_start_is_kept(quick: None) -> None:
    trainer = CameraTrainer(replace(TINY, learning_rate=1.0), START)
    run(trainer, 8)
    row = trainer.validate(trainer.idle())
    assert row.score > trainer.best_score and trainer.stale == 1
    assert all((trainer.best.weights()[name] == value).all() for name, value in START.weights.items())
    pairs = Pairs.of(joined(trainer.held_out), encoder_of(trainer.before))
    assert feature_errors(encoder_of(trainer.before), pairs)[1] < 1e-6


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"task": "hover"}, "avoid"),
        ({"seed": -1}, "seed"),
        ({"rounds": 0}, "rounds"),
        ({"held_out": 0}, "held_out"),
        ({"flights": 1}, "one for each of the 2 rounds"),
        ({"batch": 1}, "batch"),
        ({"updates": 1}, "updates"),
        ({"learning_rate": 2.0}, "learning_rate"),
        ({"anchor": -1.0}, "anchor"),
    ],
)
def test_a_run_that_cannot_be_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        replace(TINY, **changes)


def test_who_cannot_be_tuned_is_refused(quick: None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sees no flow grid"):
        CameraTrainer(TINY, load_bundle("hover"))
    with pytest.raises(ConfigError, match="airframe: cf2x there, racer here"):
        CameraTrainer(replace(TINY, airframe="racer"), START)
    with pytest.raises(ConfigError, match="another policy"):
        CameraTrainer(replace(TINY, start_sha256="0"), START)
    refused: list[dict[str, Any]] = [{"speed_m_s": (0.0, 1.0)}, {"flight_s": 0.0}]
    for changes in refused:
        with pytest.raises(ConfigError):
            Crossings(**changes)
    trainer = CameraTrainer(TINY, START)
    run(trainer, 1)
    save_checkpoint(tmp_path / "c.safetensors", trainer)
    with pytest.raises(TrainingError, match="start_sha256"):
        load_checkpoint(tmp_path / "c.safetensors", replace(TINY, start_sha256="0"), START)


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match="vision"):
        record_crossing(START, load_airframe("cf2x"), SHORT, np.random.default_rng(0))


def test_nobody_watches_where_there_is_no_grid() -> None:
    task, _ = camera_task(3.0, 0.1, DEFAULT_GRID)
    rng = np.random.default_rng(0)
    sensors = SensorSuite(draw_flights(load_airframe("cf2x"), task.conditions, 1, rng), task.conditions, rng)
    with pytest.raises(SimulationError, match="no flow grid"):
        sensors.watch_grid(lambda *_: None)
