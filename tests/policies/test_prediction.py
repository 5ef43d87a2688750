"""Laws of the prediction benchmark: what is lost, told and predicted, and what needs no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from liquid_pilot.errors import ConfigError
from policies.prediction.fit import FitConfig, fit, predictions, squared_error
from policies.prediction.judge import across, judge
from policies.prediction.models import KINDS, MOST_SEEN, build, count, matched_size, plain, scaling
from policies.prediction.traces import Traces, load_traces
from policies.prediction.trivial import trivial
from policies.prediction.windows import LENGTH, STRIDE, Windows, held, noisy, thinned, windows

WIDTH = 4


def linear_traces(count: int = 25, steps: int = 73, noise: float = 0.0, seed: int = 0) -> list[np.ndarray]:
    """A damped rotation of four numbers, x' = A x + b, with a last number that never changes."""
    rng = np.random.default_rng(seed)
    angle = 0.5
    turn = 0.97 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = []
    for _ in range(count):
        x = np.append(rng.normal(size=WIDTH - 1), 0.7)
        rows = []
        for _ in range(steps):
            rows.append(x.copy())
            x[:2] = turn @ x[:2] + 0.1
            x[2] = 0.9 * x[2] + 0.3 * x[0]
            x[:3] += noise * rng.normal(size=3)
        found.append(np.array(rows, np.float32))
    return found


def write(path: Path, traces: list[np.ndarray]) -> Path:
    np.savez(path, **{f"trace_{k:04d}": trace for k, trace in enumerate(traces)})  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def parts() -> tuple[Windows, Windows, Windows]:
    traces = linear_traces()
    return windows(traces[15:25]), windows(traces[:5]), windows(traces[5:15])


def test_files_0_to_4_validate_5_to_14_test_and_15_to_24_train(tmp_path: Path) -> None:
    marked = [np.full((40, 3), float(k), np.float64) for k in range(31)]
    found = load_traces(write(tmp_path / "t.npz", marked))
    assert [trace[0, 0] for trace in found.valid] == [0, 1, 2, 3, 4]
    assert [trace[0, 0] for trace in found.test] == list(range(5, 15))
    assert [trace[0, 0] for trace in found.train] == list(range(15, 25))
    assert found.width == 3 and found.train[0].dtype == np.float32


def test_a_window_is_followed_by_the_next_step_of_its_trace() -> None:
    trace = np.arange(73 * 2, dtype=np.float32).reshape(73, 2)
    found = windows([trace])
    assert found.x.shape == (5, LENGTH, 2)
    for number in range(5):
        begin = number * STRIDE
        np.testing.assert_array_equal(found.x[number], trace[begin : begin + LENGTH])
        np.testing.assert_array_equal(found.y[number], trace[begin + 1 : begin + LENGTH + 1])
    assert windows([np.zeros((1000, 17), np.float32)] * 10).x.shape == (970, 32, 17)  # as published


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 0.95), st.integers(0, 1000))
def test_gaps_add_up_to_the_time_that_has_passed(share: float, seed: int) -> None:
    trace = np.random.default_rng(seed).normal(size=(63, 3)).astype(np.float32)
    found = thinned(windows([trace]), share, torch.Generator().manual_seed(seed))
    assert found.kept[:, 0].all()
    told = torch.where(found.kept, found.gap, 0.0).cumsum(dim=1)
    steps = torch.arange(1, LENGTH + 1).expand_as(told)
    np.testing.assert_array_equal(told[found.kept], steps[found.kept])
    assert bool((found.withheld().gap == 1.0).all())
    seen = held(found)
    np.testing.assert_array_equal(seen[found.kept], found.x[found.kept])
    repeats = ~found.kept[:, 1:]
    np.testing.assert_array_equal(seen[:, 1:][repeats], seen[:, :-1][repeats])


def test_as_many_samples_are_lost_as_is_said_and_nothing_where_none_is() -> None:
    whole = windows([np.zeros((1000, 2), np.float32)] * 4)
    found = thinned(whole, 0.3, torch.Generator().manual_seed(1))
    assert float((~found.kept[:, 1:]).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert bool(thinned(whole, 0.0, torch.Generator().manual_seed(1)).kept.all())


def test_noise_has_its_deviation_and_leaves_what_follows_alone() -> None:
    whole = windows([np.zeros((1000, 2), np.float32)] * 4)
    found = noisy(whole, torch.tensor([0.5, 2.0]), torch.Generator().manual_seed(2))
    np.testing.assert_allclose(found.x.flatten(0, 1).std(dim=0), [0.5, 2.0], rtol=0.03)
    assert torch.equal(found.y, whole.y)


@pytest.mark.parametrize("name", list(KINDS))
def test_every_model_bridges_nothing_where_nothing_is_lost(name: str, parts: tuple[Windows, ...]) -> None:
    train = parts[0]
    model = build(name, 4, scaling(train), seed=3)
    few = train.rows(torch.arange(3))
    whole = model(few.x, few.gap)
    with torch.no_grad():
        np.testing.assert_allclose(model.bridge(few), whole.detach(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model(few.x, few.gap, few.kept).detach(), whole.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", list(KINDS))
def test_what_is_lost_does_not_reach_a_model(name: str, parts: tuple[Windows, ...]) -> None:
    model = build(name, 4, scaling(parts[0]), seed=4)
    lossy = thinned(parts[0].rows(torch.arange(6)), 0.5, torch.Generator().manual_seed(5))
    changed = Windows(torch.where(lossy.kept[:, :, None], lossy.x, 9.0), lossy.y, lossy.kept, lossy.gap)
    ours, theirs = predictions(model, lossy), predictions(model, changed)
    np.testing.assert_allclose(ours[lossy.kept], theirs[lossy.kept], rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(model.bridge(lossy), model.bridge(changed), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "wanted"), [*((name, 7000) for name in KINDS), *((name, 3000) for name in ("decay", "ltc", "lstm", "gru"))]
)
def test_models_have_about_as_many_parameters(name: str, wanted: int) -> None:
    found = count(name, matched_size(name, 17, wanted), 17)
    assert found == pytest.approx(wanted, rel=0.06)


def test_a_linear_world_is_predicted_by_the_linear_map_and_not_by_persistence(parts: tuple[Windows, ...]) -> None:
    train, _, test = parts
    settled = trivial(train)
    errors = {name: float(squared_error(predict(test), test)) for name, predict in settled.items()}
    assert errors["linear AR(1)"] < 1e-4 and errors["linear AR(8)"] < 1e-4
    assert errors["persistence"] == pytest.approx(float((test.x - test.y).square().mean()), rel=1e-5)
    assert errors["zero"] == pytest.approx(float(test.y.square().mean()), rel=1e-5)
    assert errors["persistence"] > 0.01


def test_training_learns_keeps_its_best_epoch_and_repeats_to_the_bit(parts: tuple[Windows, ...]) -> None:
    train, valid, test = parts
    found = []
    for augmented in (False, False, True):
        model = build("decay", 6, scaling(train), seed=0)
        before = float(squared_error(predictions(model, test), test))
        kept = fit(model, train, valid, FitConfig(4, 8, 1e-2, augmented=augmented))
        after = float(squared_error(predictions(model, test), test))
        assert after < 0.7 * before
        if not augmented:
            assert kept.valid == pytest.approx(float(squared_error(predictions(model, valid), valid)), rel=1e-6)
        found.append(plain(model))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert not all(torch.equal(found[0][name], found[2][name]) for name in found[0])


def test_figures_survive_a_number_that_never_changes(parts: tuple[Windows, ...]) -> None:
    train, _, test = parts
    given_scaling = scaling(train)
    assert float(given_scaling.deviation[-1]) == 1.0
    model = build("lstm", 6, given_scaling)
    fit(model, train, parts[1], FitConfig(4, 8, 1e-2))
    found = judge(model, test, given_scaling.noise, (0.0, 0.2), (0.0, 0.3))
    assert all(np.isfinite(found[name]) for name in ("clean", "normalised"))
    assert found["noise"]["0"] == pytest.approx(found["clean"]) == found["given"]["0"] == found["whole"]["0"]
    assert found["noise"]["0.2"] > found["clean"]
    noised = noisy(test, given_scaling.noise, torch.Generator().manual_seed(0))
    assert torch.equal(noised.x[..., -1], test.x[..., -1])
    assert not torch.equal(noised.x[..., 0], test.x[..., 0])


@pytest.mark.parametrize("name", list(KINDS))
def test_seeds_draw_first_weights_of_their_own(name: str, parts: tuple[Windows, ...]) -> None:
    first, again, other = (build(name, 6, scaling(parts[0]), seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    drawn = [key for key, value in first.items() if key.startswith("cells") and value.ndim == 2 and value.std() > 0]
    assert drawn and not any(torch.equal(first[key], other[key]) for key in drawn)


def test_what_lies_outside_the_training_range_is_seen_at_its_edge(parts: tuple[Windows, ...]) -> None:
    train = parts[0]
    given_scaling = scaling(train)
    model, few = build("gru", 4, given_scaling), train.rows(torch.arange(3))
    edge = given_scaling.mean + MOST_SEEN * given_scaling.deviation
    far = given_scaling.mean + 30.0 * given_scaling.deviation
    ours, theirs = (model(x.expand_as(few.x).contiguous(), few.gap) for x in (edge, far))
    np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-5, atol=1e-5)


def test_across_a_gap_its_length_tells_how_far_to_look(parts: tuple[Windows, ...]) -> None:
    train, valid, test = parts
    model = build("decay", 8, scaling(train))
    fit(model, train, valid, FitConfig(12, 8, 1e-2))
    found = judge(model, test, scaling(train).noise, (), (0.0, 0.5))
    assert found["across"]["0"] == pytest.approx(found["across_untold"]["0"], rel=1e-4)
    assert found["across"]["0.5"] < found["across_untold"]["0.5"]
    lossy = thinned(test, 0.5, torch.Generator().manual_seed(1))
    assert across(test.y, lossy) == 0.0
    wrong_where_lost = torch.where(torch.roll(lossy.kept, -1, dims=1)[:, :, None], test.y, 9.0)
    assert across(wrong_where_lost, lossy) == 0.0


def test_less_training_data_is_the_beginning_of_each_trace() -> None:
    traces = linear_traces()
    whole = Traces(tuple(traces[15:25]), tuple(traces[:5]), tuple(traces[5:15]))
    half = whole.first(0.5)
    assert [len(trace) for trace in half.train] == [round(0.5 * len(trace)) for trace in whole.train]
    np.testing.assert_array_equal(half.train[0], whole.train[0][: len(half.train[0])])
    assert half.test is whole.test
    with pytest.raises(ConfigError, match="33"):
        whole.first(0.1)


BAD = {
    "too few": linear_traces(24),
    "too short": [*linear_traces(24), np.zeros((20, WIDTH))],
    "another width": [*linear_traces(24), np.zeros((73, WIDTH + 1))],
    "whole numbers": [*linear_traces(24), np.zeros((73, WIDTH), np.int64)],
    "one dimension": [*linear_traces(24), np.zeros(73)],
    "NaN": [*linear_traces(24), np.full((73, WIDTH), np.nan)],
}


@pytest.mark.parametrize("name", list(BAD))
def test_traces_that_are_none_are_refused_with_what_is_wanted(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"scripts\.collect"):
        load_traces(write(tmp_path / "bad.npz", BAD[name]))


def test_other_files_are_refused_and_no_pickle_is_opened(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "names.npz", **{f"x{k}": trace for k, trace in enumerate(linear_traces())})  # type: ignore[arg-type]
    objects = np.empty(1, object)
    objects[0] = {"a": 1}
    np.savez(tmp_path / "pickle.npz", trace_0000=objects)
    whole = write(tmp_path / "whole.npz", linear_traces()).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("text.npz", "names.npz", "pickle.npz", "cut.npz", "one.npy", "missing.npz"):
        with pytest.raises(ConfigError):
            load_traces(tmp_path / name)


def test_an_unknown_model_is_named_with_those_there_are(parts: tuple[Windows, ...]) -> None:
    with pytest.raises(ConfigError, match="decay"):
        build("lstmm", 4, scaling(parts[0]))
