"""Exported C: strict, clean under sanitizers, numpy's numbers, the same bytes again, and no foreign word in it."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from liquid_pilot.bundle import Bundle, load_bundle, run_selftest
from liquid_pilot.cells import CellSpec, Network
from liquid_pilot.command import from_action
from liquid_pilot.errors import BundleError, ConfigError
from liquid_pilot.export.core import FLOAT, Storage
from liquid_pilot.export.plain_c import comment_text, identifier, identifier_of, number
from liquid_pilot.export.policy import core_source, export_c, write_c
from liquid_pilot.forms import FORMS
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import Attitude, Imu, Position, PositionSetpoint
from liquid_pilot.native import build
from liquid_pilot.native_step import FLAGS
from liquid_pilot.observation import INITIAL_AGE_S, OBS_DIM, OBS_FIELDS, assemble, assemble_position
from liquid_pilot.targets import TargetHolder
from tests.export.compiling import COMPILERS, needs_compiler, program
from tests.onboard.bundles import make, make_locating, wired_spec

SMALL = Storage(int8=True)
MAIN = """
#include <stdio.h>
#include "p.h"
int main(void)
{
    p_state state;
    p_observation seen = {0};
    p_command command;
    volatile float zero = 0.0f;
    int good, bad, lost;
    p_init(&state);
    seen.dt_s = 0.01f;
    good = p_step(&state, &seen, &command);
    printf("%.9g %.9g\\n", (double)p_selftest(), (double)command.thrust_m_s2);
    seen.dt_s = 3e38f;
    seen.range_m = 3e38f;
    good += p_step(&state, &seen, &command);
    seen.dt_s = -1.0f;
    bad = p_step(&state, &seen, &command);
    seen.dt_s = zero / zero;
    bad += p_step(&state, &seen, &command);
    seen.dt_s = 0.01f;
    seen.range_m = zero / zero;
    lost = p_step(&state, &seen, &command);
    printf("%d %d %d %d\\n", good, bad, lost, command.action[0] != command.action[0]);
    p_reset(&state);
    return 0;
}
"""


def spec_of(form: str, layers: int = 1, units: int = 19, outputs: int = 4) -> CellSpec:
    return CellSpec(form, OBS_DIM, 0 if form == "mlp" else units, outputs, layers, 32, 0.015)


CASES: dict[str, CellSpec] = {f"{form}, {layers}": spec_of(form, layers) for form in FORMS for layers in (0, 2)}
CASES |= {f"{form}, wired": wired_spec(form) for form in ("decay", "default", "no_gate", "pure")}
CASES |= {"gru64": spec_of("gru", 0, 64), "one neuron": spec_of("decay", 1, 1)}


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("storage", [FLOAT, SMALL], ids=["float", "int8"])
@pytest.mark.parametrize("case", CASES)
def test_strict_c_that_repeats_its_recording_and_tells_of_bad_input(
    case: str, storage: Storage, compiler: str, tmp_path: Path
) -> None:
    done = program(export_c(make(spec=CASES[case]), "p", storage), MAIN, tmp_path, compiler, ("-O0",))
    figures, statuses = done.stdout.splitlines()
    difference, thrust = map(float, figures.split())
    assert 0.0 <= difference <= 1e-5
    assert 0.0 <= thrust <= 19.62
    assert statuses == "0 2 2 1"


@needs_compiler
@pytest.mark.parametrize("storage", [FLOAT, Storage(int8=True, q15=True)], ids=["float", "int8 and Q15"])
@pytest.mark.parametrize("case", ["decay, 2", "gru, 0", "default, wired"])
def test_clean_under_sanitizers(case: str, storage: Storage, tmp_path: Path) -> None:
    flags = ("-O1", "-g", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
    done = program(export_c(make(spec=CASES[case]), "p", storage), MAIN, tmp_path, flags=flags)
    assert done.stderr == ""
    assert done.stdout.splitlines()[1] == "0 2 2 1"


def test_equal_bundles_give_equal_bytes(tmp_path: Path) -> None:
    first, second = export_c(load_bundle("hover")), export_c(load_bundle("hover"))
    assert first == second
    header, source = write_c(first, tmp_path / "new")
    assert header.read_bytes() == second.header.encode("ascii")
    assert source.read_bytes() == second.source.encode("ascii")
    assert first != export_c(make(seed=1), "hover")


@needs_compiler
def test_physical_units_are_those_of_the_controller() -> None:
    bundle = make()
    text = export_c(bundle, "p")
    lib = build(text.together, "units", ("-std=c99", "-O1"))
    network, rng = Network(bundle.spec, bundle.weights), np.random.default_rng(0)
    state, h = np.zeros(19, np.float32), network.initial_state()
    command = np.zeros(8, np.float32)
    for _ in range(50):
        x = rng.normal(size=OBS_DIM)
        x[-1] = rng.uniform(0.0, 5.0)
        scale = np.concatenate([[field.scale] * field.width for field in OBS_FIELDS])
        offset = np.concatenate([field.offset for field in OBS_FIELDS])
        physical = (x * scale + offset).astype(np.float32)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (state, physical, command)]
        assert lib.p_step(*pointers) == 0
        action, h = network.step(x.astype(np.float32), h, float(physical[-1]))
        a, b, c, d = action.tolist()
        thrust, rates = from_action(bundle.limits, (a, b, c, d))
        assert_allclose(command, [thrust, *rates, *action], atol=2e-4)
        assert_allclose(state, h, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("storage", [FLOAT, SMALL], ids=["float", "int8"])
def test_a_policy_that_locates_is_strict_c_too(storage: Storage, tmp_path: Path) -> None:
    done = program(
        export_c(make_locating(), "p", storage), MAIN.replace("range_m", "setpoint_yaw_rate_rad_s"), tmp_path
    )
    figures, statuses = done.stdout.splitlines()
    assert 0.0 <= float(figures.split()[0]) <= 1e-5
    assert statuses == "0 2 2 1"


@needs_compiler
def test_places_in_c_are_seen_as_by_the_controller() -> None:
    """Over a flight: what the C is given is what the controller was fed, and its network acts the same."""
    bundle = make_locating()
    lib = build(export_c(bundle, "p").together, "places", ("-std=c99", "-O1"))
    memory, targets = SensorMemory(), TargetHolder(bundle.metadata["setpoint_limits"], None)
    network, rng = Network(bundle.spec, bundle.weights), np.random.default_rng([7])
    state, h, command = np.zeros(19, np.float32), network.initial_state(), np.zeros(8, np.float32)
    targets.accept(PositionSetpoint(0.0, (1.0, -2.0, 1.5), (0.5, -0.7, 0.1), 2.0), None)
    place, velocity, age_s = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), INITIAL_AGE_S
    for k in range(60):
        t = 0.02 * k
        gyro, accel = rng.normal(size=3).tolist(), rng.normal(size=3).tolist()
        fresh = k > 10 and k % 3 == 0 and k < 25
        if k == 5:
            memory.accept(Attitude(t, (0.8, 0.0, 0.0, 0.6)))
        if fresh:
            place, velocity = tuple(rng.normal(size=3).tolist()), tuple(rng.normal(size=3).tolist())
            memory.accept(Position(t - 0.013, place, velocity))
        memory.accept(Imu(t, gyro, accel))
        age_s = INITIAL_AGE_S if memory.position_t_s is None else t - memory.position_t_s
        c, s = memory.heading() or (0.0, 0.0)
        held, found = targets.take(memory, t)
        yaw_rate = held.setpoint_yaw_rate_rad_s
        target = (1.0, -2.0, 1.5, 0.5, -0.7, 0.1)
        given = (*gyro, *accel, 1.0, 0.0, *place, *velocity, float(fresh), age_s, *target, c, s, yaw_rate, held.dt_s)
        physical = np.array(given, np.float32)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (state, physical, command)]
        assert lib.p_step(*pointers) == 0
        x = np.array(assemble(held) + assemble_position(found), np.float32)
        action, h = network.step(x, h, held.dt_s)
        assert_allclose(command[4:], action, rtol=0.0, atol=1e-6)
        assert_allclose(state, h, rtol=0.0, atol=1e-6)


@needs_compiler
def test_two_states_do_not_know_of_each_other() -> None:
    bundle = make()
    lib = build(core_source(bundle.spec, bundle.weights, "p", FLOAT), "states", FLAGS)
    rng, action = np.random.default_rng(1), np.zeros(4, np.float32)
    alone, first, second = (np.zeros(19, np.float32) for _ in range(3))

    def step(state: np.ndarray[Any, Any], x: np.ndarray[Any, Any]) -> None:
        lib.p_step_scaled(
            ctypes.c_void_p(state.ctypes.data), ctypes.c_void_p(x.ctypes.data), ctypes.c_float(0.01),
            ctypes.c_void_p(action.ctypes.data),
        )  # fmt: skip

    for _ in range(20):
        step(alone, rng.normal(size=(2, OBS_DIM)).astype(np.float32)[0])
    rng = np.random.default_rng(1)
    for _ in range(20):
        x, other = rng.normal(size=(2, OBS_DIM)).astype(np.float32)
        step(first, x)
        step(second, other)
    np.testing.assert_array_equal(first, alone)
    assert np.abs(second - alone).max() > 1e-3


HOSTILE = ["*/ int x; /*", "??/\n#error", "a\\\nb", '"; system("rm");', "/* // ??)", "\x00\x1b[2J\u202e", "%s%n" * 400]


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_stays_inside_its_comment(text: str) -> None:
    found = comment_text(text)
    assert not set(found) & set("*/\\?\"'<>\n\r\t\x00") and found.isascii() and found.isprintable()
    assert len(found) <= 100


@needs_compiler
@pytest.mark.parametrize("text", HOSTILE)
def test_a_bundle_cannot_break_out_of_the_header(text: str, tmp_path: Path) -> None:
    training = {"config": {}, "seed": 0, "commit": text[:900], "minutes": 1.0}
    hostile = export_c(make(training=training), "p")
    plain = export_c(make(training=training | {"commit": "plain"}), "p")
    without = re.compile(r"/\*.*?\*/", re.DOTALL)
    assert without.sub("", hostile.header) == without.sub("", plain.header)
    program(hostile, MAIN, tmp_path, flags=("-O0", "-trigraphs"))


@pytest.mark.parametrize("name", ["", "1a", "a b", "a*/", "a\n", "ä", "a-b", "a" * 49, "__attribute__((x))", "a;b"])
def test_names_that_c_cannot_have_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="begin C names"):
        identifier(name)


@pytest.mark.parametrize(
    ("name", "wanted"), [("hover", "hover"), ("test-hover", "test_hover"), ("2.5", "policy_2_5"), ("a" * 64, "a" * 48)]
)
def test_names_of_policies_become_names_of_c(name: str, wanted: str) -> None:
    assert identifier_of(name) == wanted


def test_numbers_read_back_as_themselves() -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=2000) * 10.0 ** rng.uniform(-30, 6, 2000)).astype(np.float32)
    for value in [*values, np.float32(0.0), np.float32(-0.0), np.float32(1e6), np.float32(16777216.0)]:
        text = number(value)
        assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?f", text) and ("." in text or "e" in text)
        assert np.float32(text[:-1]) == value


def test_a_bundle_that_was_changed_is_not_exported() -> None:
    good: Bundle = make()
    weights = {name: value * np.float32(1.01) for name, value in good.weights.items()}
    assert run_selftest(replace(good, weights=weights)) > 1e-5
    with pytest.raises(BundleError):
        export_c(replace(good, weights=weights))


@pytest.mark.parametrize("form", ["lstm", "pure", "no_gate", "mlp"])
def test_q15_is_for_states_within_one(form: str) -> None:
    with pytest.raises(ConfigError, match="Q15 is for"):
        export_c(make(spec=spec_of(form)), storage=Storage(q15=True))


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_c(export_c(make()), tmp_path / "file" / "below")


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("flag", ["-ffast-math", "-Ofast", "-ffinite-math-only"])
def test_flags_that_hide_nan_are_refused_by_the_file_itself(compiler: str, flag: str, tmp_path: Path) -> None:
    _, source = write_c(export_c(make()), tmp_path)
    built = subprocess.run([compiler, flag, "-fsyntax-only", str(source)], capture_output=True, text=True, check=False)
    assert built.returncode != 0 and "sees NaN" in built.stderr
