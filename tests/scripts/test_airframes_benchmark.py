"""Airframes drawn between those that ship: laws of the draw, and the table of a policy on many drones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from envs.airframe import load_airframe
from envs.airframe_draw import between, draw_airframe, write_airframe
from liquid_pilot.errors import ConfigError
from scripts.benchmark import main
from scripts.benchmarks import airframes
from scripts.benchmarks.airframes_command import Airframes
from scripts.workers.options import Workers


def test_what_is_drawn_is_a_drone_and_survives_its_file(tmp_path: Path) -> None:
    masses = []
    for index in range(60):
        drawn = draw_airframe(f"drawn-{index}", np.random.default_rng([7, index]))
        assert load_airframe(write_airframe(tmp_path / f"{index}.toml", drawn)) == drawn  # no figure is complained of
        masses.append(drawn.mass_kg)
    assert 0.024 < min(masses) < 0.05 and 0.5 < max(masses) < 1.0
    assert draw_airframe("a", np.random.default_rng(1)) == draw_airframe("a", np.random.default_rng(1))


def test_between_two_drones_ends_at_both() -> None:
    small, large = load_airframe("cf2x"), load_airframe("companion")
    assert between(small, large, 0.0) == small
    found = between(small, large, 1.0)
    assert dataclasses.replace(found, name=large.name).mass_kg == pytest.approx(large.mass_kg)
    assert np.allclose(found.rotor_xy_m, large.rotor_xy_m) and np.allclose(found.rate_loop.kd, large.rate_loop.kd)
    middle = between(small, large, 0.5)
    assert middle.mass_kg == pytest.approx((small.mass_kg * large.mass_kg) ** 0.5)
    assert middle.rate_loop.kd[2] == pytest.approx(0.5 * (small.rate_loop.kd[2] + large.rate_loop.kd[2]))  # one is 0


def test_the_table_counts_every_flight_and_goes_on(tmp_path: Path) -> None:
    Airframes(("geometric",), drawn=2, flights=5, out=tmp_path, workers=Workers(1)).run()
    text = (tmp_path / "airframes.md").read_text(encoding="utf-8")
    assert "cf2x, 27 g | 5 |" in text and "g | 2 | 100.0 |" in text  # two that are drawn, a flight each
    assert "2 drawn" in text and (tmp_path / "airframes.png").is_file()
    before = (tmp_path / "airframes.json").stat().st_mtime_ns
    Airframes(("geometric",), drawn=2, flights=5, out=tmp_path, workers=Workers(1)).run()
    assert (tmp_path / "airframes.json").stat().st_mtime_ns == before  # nothing was flown again


def test_the_worst_drone_is_told() -> None:
    cell = {"policy": "p", "group": airframes.DRAWN, "label": "a", "flights": 4, "mass_kg": 0.1}
    good = cell | {"success_rate": 1.0, "speed_error_median_m_s": 0.1}
    bad = cell | {"success_rate": 0.25, "speed_error_median_m_s": None, "mass_kg": 0.2}
    (row,) = airframes.rows_of([good, bad])
    assert row[1] == "2 drawn, 100 to 200 g" and row[2:5] == ["8", "62.5", "25.0"]


def test_no_flights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one policy"):
        Airframes((), out=tmp_path).run()
    assert main(["airframes", "hover", "--flights", "0"]) == 2
