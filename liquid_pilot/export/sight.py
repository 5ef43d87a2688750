"""What a policy that sees has besides its step in C: a flow grid, read and encoded, into features that the state keeps.

The arithmetic is that of `liquid_pilot.flow_grid.GridReader` and `liquid_pilot.encoder.Encoder` once more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from liquid_pilot.encoder import EncoderSpec
from liquid_pilot.export import products
from liquid_pilot.export.plain_c import floats, number
from liquid_pilot.flow_grid import FLOW_KNEE_RAD_S, SPEED_SCALE_M_S, GridReader
from liquid_pilot.forms import F32

RECORDED_GRIDS: Final = 2  # of the bundle's self-test that go into the C file
_ANGLES_A_LINE: Final = 8


@dataclass(frozen=True, slots=True)
class Sight:
    """An encoder, its two products."""

    spec: EncoderSpec
    layers: tuple[products.Affine, products.Affine]


def told(spec: EncoderSpec) -> Iterator[str]:
    """Lines of a comment about the grid."""
    grid = spec.grid
    yield f"The flow grid: {len(grid.elevation_rad)} rows of {len(grid.azimuth_rad)} rays, upper left first. Degrees:"
    for name, angles in (("azimuth, to the left", grid.azimuth_rad), ("elevation, up", grid.elevation_rad)):
        texts = [f"{math.degrees(angle):.3f}" for angle in angles]
        yield f"  {name}"
        for start in range(0, len(texts), _ANGLES_A_LINE):
            yield f"    {', '.join(texts[start : start + _ANGLES_A_LINE])}"
    yield "Give it to see when it comes, then step; a silent grid is held, and its age grows. Do not give it a grid"
    yield "whose numbers are all NaN, all 0, at the sensor's limit for more than half of the rays, or those of the one"
    yield "before. While there is no good grid younger than its limit, or no heading, command the speed 0; without the"
    yield "grid also call forget, and give grid_age as before the first."


def declarations(name: str, spec: EncoderSpec) -> Iterator[str]:
    """Sizes and functions, for a header."""
    upper = name.upper()
    yield f"#define {upper}_FLOWS {spec.grid.numbers}"
    yield f"#define {upper}_FEATURES {spec.features}"
    yield ""
    yield "/* One flow grid. flow_rad_s: row by row, of each ray the flow to +azimuth, then to +elevation, in rad/s,"
    yield " * body rotation not removed; NaN = the ray saw nothing. gyro_rad_s: mean body rates over the grid's window."
    yield f" * speed_m_s: commanded. Returns {upper}_OK; {upper}_NOT_FINITE where a number is infinite, or NaN and no"
    yield " * flow, and keeps what was seen before. */"
    yield f"{_signature(name, spec)};"
    yield "/* Features are again as before the first grid. */"
    yield f"void {name}_forget({name}_state *state);"


def _signature(name: str, spec: EncoderSpec) -> str:
    return (
        f"int {name}_see({name}_state *state, const float flow_rad_s[{spec.grid.numbers}], const float gyro_rad_s[3],\n"
        "    float speed_m_s)"
    )


def tables(name: str, sight: Sight) -> Iterator[str]:
    """Constants."""
    yield from floats(f"{name}_turning", GridReader(sight.spec.grid).turning.astype(np.float32))
    for k, layer in enumerate(sight.layers):
        yield from products.tables(f"{name}_encoder{k}", layer, False)


def functions(name: str, sight: Sight) -> Iterator[str]:
    """`NAME_encode`, which takes a grid as it was read, and `NAME_see`."""
    spec, upper = sight.spec, name.upper()
    numbers, rays = spec.grid.numbers, spec.grid.rays
    first, second = sight.layers
    yield "/* seen: a grid as it was read, then the commanded speed as it enters. */"
    yield f"static void {name}_encode(const float seen[{numbers + 1}], float features[{spec.features}])"
    yield "{"
    yield f"    float hidden[{products.padded_rows(first.rows)}];"
    yield f"    float out[{products.padded_rows(second.rows)}];"
    yield "    int i, k;"
    for line in products.call(name, f"{name}_encoder0", first, "seen", "hidden", False):
        yield f"    {line}"
    yield f"    for (i = 0; i < {spec.hidden}; ++i)"
    yield f"        hidden[i] = hidden[i] > 0.0f ? hidden[i] : {name}_exp(hidden[i]) - 1.0f;"
    for line in products.call(name, f"{name}_encoder1", second, "hidden", "out", False):
        yield f"    {line}"
    yield f"    for (i = 0; i < {spec.features}; ++i)"
    yield f"        features[i] = {name}_tanh(out[i]);"
    if not any(products.blocks(layer.rows)[0] for layer in sight.layers):
        yield "    (void)k;"
    yield "}"
    yield ""
    yield _signature(name, spec)
    yield "{"
    yield f"    float seen[{numbers + 1}];"
    yield "    float finite = speed_m_s - speed_m_s;"
    yield "    int i, k;"
    yield "    for (i = 0; i < 3; ++i)"
    yield "        finite += gyro_rad_s[i] - gyro_rad_s[i];"
    yield f"    for (i = 0; i < {rays}; ++i)"
    yield "        for (k = 0; k < 2; ++k) {"
    yield f"            const float *turning = {name}_turning + 6 * i + k;"
    yield "            const float turned = turning[0] * gyro_rad_s[0] + turning[2] * gyro_rad_s[1]"
    yield "                + turning[4] * gyro_rad_s[2];"
    yield "            const float flow = flow_rad_s[2 * i + k] - turned;"
    yield f"            const float size = {number(FLOW_KNEE_RAD_S)} + (flow < 0.0f ? -flow : flow);"
    yield "            const float shown = flow == flow ? 2.0f * flow / size : 0.0f;"
    yield "            finite += shown - shown;"
    yield f"            seen[{rays} * k + i] = shown;"
    yield "        }"
    yield "    if (!(finite == 0.0f))"
    yield f"        return {upper}_NOT_FINITE;"
    yield f"    seen[{numbers}] = speed_m_s * {number(1.0 / SPEED_SCALE_M_S)};"
    yield f"    {name}_encode(seen, state->features);"
    yield f"    return {upper}_OK;"
    yield "}"
    yield ""
    yield f"void {name}_forget({name}_state *state)"
    yield "{"
    yield "    int i;"
    yield f"    for (i = 0; i < {spec.features}; ++i)"
    yield "        state->features[i] = 0.0f;"
    yield "}"
    yield ""


def recording(name: str, grid: F32, speed_m_s: F32, features: F32) -> Iterator[str]:
    """Constants of recorded grids: what `NAME_encode` takes, and what it then gave."""
    seen = np.concatenate([grid, speed_m_s[:, None] / SPEED_SCALE_M_S], axis=1).astype(np.float32)
    yield from floats(f"{name}_recorded_seen", seen)
    yield from floats(f"{name}_recorded_features", features)
