"""A policy that sees in C: strict, proved with its encoder, and the numbers of reader, encoder and network in numpy."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from liquid_pilot.bundle import Bundle
from liquid_pilot.cells import Network
from liquid_pilot.command import from_action
from liquid_pilot.controller import Controller
from liquid_pilot.encoder import Encoder, EncoderSpec
from liquid_pilot.errors import ConfigError
from liquid_pilot.export.core import Storage
from liquid_pilot.export.policy import CSource, export_c
from liquid_pilot.flow_grid import GridReader, even_grid
from liquid_pilot.native import build
from liquid_pilot.native_step import compiled
from liquid_pilot.observation import OBS_DIM, OBS_FIELDS, assemble_sight
from tests.export.compiling import needs_compiler, program
from tests.onboard.bundles import make_seeing, seeing_spec

SPECS = {
    "default": seeing_spec(),
    "small": seeing_spec(encoder=EncoderSpec(even_grid(5, 2, 60.0, 20.0), 3, 2)),
    "mlp": seeing_spec("mlp", EncoderSpec(even_grid(7, 1, 60.0, 20.0), 9, 5)),
    "gru": seeing_spec("gru", EncoderSpec(even_grid(1, 1, 60.0, 20.0), 1, 1)),
}
MAIN = """
#include <stdio.h>
#include "p.h"
int main(void)
{
    static float flow[P_FLOWS];
    const float gyro[3] = {0.1f, -0.2f, 0.3f};
    float wild[3] = {0.0f, 0.0f, 0.0f};
    volatile float zero = 0.0f;
    p_state state;
    p_observation seen = {0};
    p_command command;
    int i, bad = 0, kept = 1, status;
    float features[P_FEATURES];
    p_init(&state);
    for (i = 0; i < P_FLOWS; ++i)
        flow[i] = i % 3 ? 0.1f * (float)(i % 17 - 8) : zero / zero;
    status = p_see(&state, flow, gyro, 2.0f);
    seen.grid_fresh = 1.0f;
    seen.grid_age = 0.2f;
    seen.dt_s = 0.01f;
    status += p_step(&state, &seen, &command);
    for (i = 0; i < P_FEATURES; ++i)
        features[i] = state.features[i];
    bad += p_see(&state, flow, gyro, zero / zero);
    wild[1] = zero / zero;
    bad += p_see(&state, flow, wild, 1.0f);
    wild[1] = 1.0f / zero;
    bad += p_see(&state, flow, wild, 1.0f);
    flow[P_FLOWS - 1] = -1.0f / zero;
    bad += p_see(&state, flow, gyro, 1.0f);
    for (i = 0; i < P_FEATURES; ++i)
        kept = kept && features[i] == state.features[i];
    p_forget(&state);
    for (i = 0; i < P_FEATURES; ++i)
        kept = kept && state.features[i] == 0.0f;
    state.features[0] = 1.0f;
    p_reset(&state);
    printf("%.9g %d %d %d %g\\n", (double)p_selftest(), status, bad, kept, (double)state.features[0]);
    return 0;
}
"""


@needs_compiler
@pytest.mark.parametrize("flags", [("-O0",), ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")])
@pytest.mark.parametrize("case", SPECS)
def test_strict_c_that_proves_its_encoder_and_keeps_what_it_saw(
    case: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    done = program(export_c(make_seeing(spec=SPECS[case]), "p"), MAIN, tmp_path, flags=flags)
    difference, *rest = done.stdout.split()
    assert 0.0 <= float(difference) <= 1e-5
    assert rest == ["0", "8", "1", "0"]


@needs_compiler
@pytest.mark.parametrize("table", ["p_encoder0_weight", "p_encoder0_bias", "p_encoder1_weight", "p_encoder1_bias"])
def test_the_self_test_finds_another_encoder(table: str, tmp_path: Path) -> None:
    text = export_c(make_seeing(), "p")
    source, count = re.subn(rf"({table}\[\d+\] = {{\s*)([^,]+),", r"\g<1>9.0f,", text.source)
    assert count == 1
    done = program(CSource("p", text.header, source), MAIN, tmp_path)
    assert float(done.stdout.split()[0]) > 1e-3


def call(function: Any, *arrays: Any) -> int:
    made = [ctypes.c_float(a) if isinstance(a, float) else ctypes.c_void_p(a.ctypes.data) for a in arrays]
    return int(function(*made))


@needs_compiler
@pytest.mark.parametrize("case", SPECS)
def test_c_sees_and_flies_as_numpy_does(case: str) -> None:
    bundle = make_seeing(spec=SPECS[case])
    spec = bundle.spec.encoder
    assert spec is not None
    lib = build(export_c(bundle, "p").together, "sight", ("-std=c99", "-O1"))
    reader, encoder = GridReader(spec.grid), Encoder(spec, bundle.weights)
    network, rng = Network(bundle.spec, bundle.weights), np.random.default_rng([3])
    h, width = network.initial_state(), max(bundle.spec.state_width, 1)
    state, command = np.zeros(width + spec.features, np.float32), np.zeros(8, np.float32)
    features = np.zeros(spec.features, np.float32)
    scale = np.concatenate([[field.scale] * field.width for field in OBS_FIELDS])
    offset = np.concatenate([field.offset for field in OBS_FIELDS])
    for k in range(200):
        fresh = k >= 3 and k % 4 == 0
        if fresh:
            rows, columns = len(spec.grid.elevation_rad), len(spec.grid.azimuth_rad)
            flow = rng.normal(0.0, 3.0 ** rng.integers(-3, 2), (rows, columns, 2)).astype(np.float32)
            flow[rng.random((rows, columns)) < 0.2] = np.nan
            gyro, speed = rng.normal(0.0, 2.0, 3).astype(np.float32), float(rng.uniform(0.0, 4.0))
            assert call(lib.p_see, state, flow, gyro, speed) == 0
            x, y, z = gyro.tolist()
            features = encoder.features(reader.read(flow.astype(np.float64), (x, y, z)), speed)
            assert_allclose(state[width:], features, rtol=0.0, atol=5e-6)
        x = rng.normal(size=OBS_DIM)
        x[-1] = rng.uniform(0.0, 5.0)
        sight = assemble_sight(float(fresh), 0.013 * (k % 4))
        physical = np.array([*(x * scale + offset), *sight], np.float32)
        assert call(lib.p_step, state, physical, command) == 0
        dt_s = float(physical[OBS_DIM - 1])
        action, h = network.step(np.array([*x, *sight, *features], np.float32), h, dt_s)
        a, b, c, d = action.tolist()
        thrust, rates = from_action(bundle.limits, (a, b, c, d))
        assert_allclose(command[4:], action, rtol=0.0, atol=1e-5)
        assert_allclose(command[:4], [thrust, *rates], rtol=0.0, atol=2e-4)
        assert_allclose(state[: bundle.spec.state_width], h, rtol=0.0, atol=1e-5)


@needs_compiler
def test_the_compiled_step_flies_it_onboard() -> None:
    bundle = make_seeing()
    network = compiled(bundle)
    assert network.core == "c" and network.spec == bundle.spec
    assert Controller(bundle, core="c").core == "c"


def test_the_header_tells_of_the_grid_and_of_nothing_else_for_others() -> None:
    bundle: Bundle = make_seeing()
    header = export_c(bundle, "p").header
    for words in (
        "5 rows of 32 rays",
        "43.594",
        "-16.000",
        "int p_see(",
        "#define P_FLOWS 320",
        "grid_age",
        "silent      grid",
    ):
        assert words in header


def test_int8_is_refused_and_q15_is_not() -> None:
    with pytest.raises(ConfigError, match="int8"):
        export_c(make_seeing(), storage=Storage(int8=True))
    assert "int16_t h[19]" in export_c(make_seeing(), storage=Storage(q15=True)).header
