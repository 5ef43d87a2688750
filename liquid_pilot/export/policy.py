"""The two C files of a policy: physical units in, commands out, and a self-test that the target can run.

Equal bundles and options give equal bytes: no time, no path and no machine enters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from liquid_pilot.bundle import Bundle, SelfTest, verify
from liquid_pilot.cells import F32, CellSpec
from liquid_pilot.errors import ConfigError
from liquid_pilot.export import observed, sight
from liquid_pilot.export.core import FLOAT, Storage, check_storage, declarations, definitions
from liquid_pilot.export.plain_c import comment, comment_text, floats, identifier, identifier_of, number
from liquid_pilot.export.plan import make_plan
from liquid_pilot.export.quantise import quantised_network
from liquid_pilot.selftest import STEP_TOLERANCE, replay

RECORDED_STEPS: Final = 32  # of the bundle's self-test that go into the C file; a few kB
Q15_TOLERANCE: Final = 2e-3  # a state that falls to the other side of a half step is 2^-15 away, and the next hear it
INCLUDES: Final = ("#include <float.h>", "#include <math.h>", "#include <stdint.h>")  # the second for NAN alone


@dataclass(frozen=True, slots=True)
class CSource:
    """Text of `NAME.h` and `NAME.c`."""

    name: str
    header: str
    source: str

    @property
    def together(self) -> str:
        """One text that compiles by itself."""
        return self.header + self.source.replace(f'#include "{self.name}.h"\n', "", 1)


def export_c(bundle: Bundle, name: str | None = None, storage: Storage = FLOAT) -> CSource:
    """C of a policy, proved again here. name: prefix of everything in it; the policy's own if not given.

    Raises `BundleError` for a bundle that cannot be trusted, `ConfigError` for a name that C cannot have and for Q15 of
    a form whose state does not fit.
    """
    verify(bundle)
    check_storage(bundle.spec, storage)
    name = identifier_of(bundle.name) if name is None else identifier(name)
    header = "\n".join(_header(bundle, name, storage)) + "\n"
    source = "\n".join(_source(bundle, name, storage)) + "\n"
    return CSource(name, header, source)


def write_c(text: CSource, folder: str | Path) -> tuple[Path, Path]:
    """Write both files; the folder is made. Returns their paths. Raises `ConfigError` where that is not possible."""
    folder = Path(folder)
    paths = folder / f"{text.name}.h", folder / f"{text.name}.c"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in zip(paths, (text.header, text.source), strict=True):
            path.write_text(content, encoding="ascii", newline="\n")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error}); choose another folder or make room") from error
    return paths


def core_source(spec: CellSpec, weights: Mapping[str, F32], name: str, storage: Storage) -> str:
    """The step alone as one C text: no units, no encoder, no self-test. Raises `BundleError`, `ConfigError`."""
    plan = replace(make_plan(spec, weights), sight=None)
    lines = [*INCLUDES, *declarations(identifier(name), plan, storage), "", *definitions(name, plan, storage)]
    return "\n".join(lines) + "\n"


def _header(bundle: Bundle, name: str, storage: Storage) -> Iterator[str]:
    yield from comment(_told(bundle, name, storage))
    upper = name.upper()
    yield f"#ifndef {upper}_H"
    yield f"#define {upper}_H"
    yield ""
    yield "#include <stdint.h>"
    yield ""
    yield "#ifdef __cplusplus"
    yield 'extern "C" {'
    yield "#endif"
    yield ""
    yield from declarations(name, make_plan(bundle.spec, bundle.weights), storage)
    yield ""
    yield from _structs(name, locates=bundle.locates, sees=bundle.sees)
    yield ""
    yield f"/* One step, at each sample of the gyro. Returns {upper}_OK; {upper}_BAD_DT or {upper}_NOT_FINITE"
    yield " * where the command must not be flown. Two states step independently of each other. */"
    yield f"int {name}_step({name}_state *state, const {name}_observation *observation, {name}_command *command);"
    yield ""
    yield "/* Flies recorded steps: the largest difference from what was recorded. Do not fly above the tolerance. */"
    yield f"#define {upper}_SELFTEST_STEPS {_steps(bundle)}"
    yield f"#define {upper}_SELFTEST_TOLERANCE {number(Q15_TOLERANCE if storage.q15 else STEP_TOLERANCE)}"
    yield f"float {name}_selftest(void);"
    yield ""
    yield "#ifdef __cplusplus"
    yield "}"
    yield "#endif"
    yield "#endif"


def _told(bundle: Bundle, name: str, storage: Storage) -> Iterator[str]:
    """Lines of the comment at the top; what comes from the bundle is made harmless."""
    spec, metadata, limits = bundle.spec, bundle.metadata, bundle.limits
    kept = "int8 with a scale for each row" if storage.int8 else "float"
    yield f"{name}: a Liquid Pilot policy as C99. Written by liquid-pilot export; export again instead of editing."
    yield ""
    yield f"policy      {comment_text(bundle.name)}, for the task {comment_text(bundle.task)}"
    yield f"sha256      {comment_text(metadata['sha256'])} of the policy file"
    commit = comment_text(metadata["training"]["commit"])
    yield f"written by  version {comment_text(metadata['version'])}, commit {commit}"
    yield f"cell        {comment_text(spec.form)}, {spec.units} neurons, time unit {spec.time_unit_s:g} s"
    yield f"numbers     weights {kept}; state {'int16, 2^-15 a step' if storage.q15 else 'float'}"
    yield f"airframe    {comment_text(metadata['airframe'])}"
    for sensor, (low, high) in sorted(metadata["trained_rates_hz"].items()):
        yield f"trained at  {comment_text(sensor)} {float(low):g} to {float(high):g} Hz"
    for sensor, age in sorted(metadata["sensor_limits_s"].items()):
        yield f"silent      {comment_text(sensor)} after {float(age):g} s: no longer trust the command"
    set_points = metadata["setpoint_limits"]
    low, high = set_points["height_m"]
    yield (
        f"set-points  speed to {float(set_points['speed_m_s']):g} m/s, height {float(low):g} to {float(high):g} m, "
        f"yaw rate to {float(set_points['yaw_rate_rad_s']):g} rad/s"
    )
    roll, pitch, yaw = limits.rates_rad_s
    lowest, highest = limits.thrust_m_s2
    yield f"commands    thrust {lowest:g} to {highest:g} m/s^2 (force per mass, along body z)"
    yield f"            roll, pitch, yaw rate within {roll:g}, {pitch:g}, {yaw:g} rad/s"
    yield ""
    yield from observed.told(locates=bundle.locates, sees=bundle.sees)
    if bundle.spec.encoder is not None:
        yield ""
        yield from sight.told(bundle.spec.encoder)
    yield ""
    yield "No malloc, no globals that change, no call of the C library; the same work at every step. Compile with"
    yield "-ffp-contract=fast, and never with -ffast-math, which hides NaN."


def _structs(name: str, *, locates: bool, sees: bool) -> Iterator[str]:
    yield "/* What the sensors say, body frame FLU. A silent sensor is held: fresh is 0 and its age grows. */"
    yield "typedef struct {"
    yield from observed.struct(locates=locates, sees=sees)
    yield f"}} {name}_observation;"
    yield ""
    yield "/* For the rate loop, body frame FLU, within the limits above; and what the network said itself. */"
    yield "typedef struct {"
    yield "    float thrust_m_s2; /* collective thrust per mass, along body z */"
    yield "    float rates_rad_s[3]; /* roll, pitch, yaw */"
    yield "    float action[4]; /* within -1 and 1 */"
    yield f"}} {name}_command;"


def _source(bundle: Bundle, name: str, storage: Storage) -> Iterator[str]:
    yield from comment([f"{name}: see {name}.h. Written by liquid-pilot export; export again instead of editing."])
    yield f'#include "{name}.h"'
    yield ""
    yield from INCLUDES
    yield ""
    yield from definitions(name, make_plan(bundle.spec, bundle.weights), storage)
    yield ""
    yield from _policy_step(bundle, name)
    yield ""
    yield from _selftest(name, _recorded(bundle, storage), storage)


def _policy_step(bundle: Bundle, name: str) -> Iterator[str]:
    """The step in physical units: the same scaling as `observation.assemble`, the same limits as `command`."""
    low, high = bundle.limits.thrust_m_s2
    yield f"int {name}_step({name}_state *state, const {name}_observation *observation, {name}_command *command)"
    yield "{"
    yield f"    float x[{bundle.spec.inputs}];"
    yield "    float thrust;"
    yield "    int status;"
    features = 0 if bundle.spec.encoder is None else bundle.spec.encoder.features
    if features:
        yield "    int i;"
    yield from observed.scaling(locates=bundle.locates, features=features)
    yield f"    status = {name}_step_scaled(state, x, observation->dt_s, command->action);"
    yield f"    thrust = {number(low)} + (command->action[0] + 1.0f) * {number(0.5 * (high - low))};"
    yield f"    command->thrust_m_s2 = {number(high)} < thrust ? {number(high)} : thrust;"
    for k, limit in enumerate(bundle.limits.rates_rad_s):
        yield f"    command->rates_rad_s[{k}] = command->action[{k + 1}] * {number(limit)};"
    yield "    return status;"
    yield "}"


def _steps(bundle: Bundle) -> int:
    return min(RECORDED_STEPS, len(bundle.selftest.dt_s))


def _recorded(bundle: Bundle, storage: Storage) -> SelfTest:
    """The first steps of the bundle's recording; with quantised numbers, what the emulation of them gives."""
    steps = _steps(bundle)
    test = bundle.selftest
    short = SelfTest(test.x[:steps], test.dt_s[:steps], test.action[:steps], test.hidden[:steps])
    if test.grid is not None and test.speed_m_s is not None and test.features is not None:
        few = slice(0, sight.RECORDED_GRIDS)
        short = replace(short, grid=test.grid[few], speed_m_s=test.speed_m_s[few], features=test.features[few])
    if storage == FLOAT:
        return short
    action, hidden = replay(quantised_network(bundle, storage), short.x, short.dt_s)
    return replace(short, action=action, hidden=hidden)


def _selftest(name: str, test: SelfTest, storage: Storage) -> Iterator[str]:
    """Recorded steps and the function that flies them; it looks at every action and at the last state."""
    steps, inputs = test.x.shape
    outputs, width = test.action.shape[1], test.hidden.shape[1]
    parts: dict[str, F32] = {"x": test.x, "dt_s": test.dt_s, "action": test.action}
    if width:
        parts["hidden"] = test.hidden[-1]
    for part, values in parts.items():
        yield from floats(f"{name}_recorded_{part}", np.asarray(values, np.float32))
    if test.grid is not None and test.speed_m_s is not None and test.features is not None:
        yield from sight.recording(name, test.grid, test.speed_m_s, test.features)
    yield ""
    yield f"static float {name}_further(float largest, float found, float recorded)"
    yield "{"
    yield "    const float apart = found > recorded ? found - recorded : recorded - found;"
    yield "    const float size = recorded > 0.0f ? recorded : -recorded;"
    yield "    /* numbers beyond 1 are no more precise than their size allows */"
    yield "    const float difference = size > 1.0f ? apart / size : apart;"
    yield "    /* NaN is the furthest */"
    yield "    return difference <= largest ? largest : difference >= 0.0f ? difference : FLT_MAX;"
    yield "}"
    yield ""
    yield f"float {name}_selftest(void)"
    yield "{"
    yield f"    {name}_state state;"
    yield f"    float action[{outputs}];"
    yield "    float largest = 0.0f;"
    yield "    int i, k;"
    yield f"    {name}_init(&state);"
    yield f"    for (k = 0; k < {steps}; ++k) {{"
    recorded = f"{name}_recorded_x + {inputs} * k, {name}_recorded_dt_s[k]"
    yield f"        (void){name}_step_scaled(&state, {recorded}, action);"
    yield f"        for (i = 0; i < {outputs}; ++i)"
    yield f"            largest = {name}_further(largest, action[i], {name}_recorded_action[{outputs} * k + i]);"
    yield "    }"
    if width:
        state = "3.0517578125e-05f * (float)state.h[i]" if storage.q15 else "state.h[i]"
        yield f"    for (i = 0; i < {width}; ++i)"
        yield f"        largest = {name}_further(largest, {state}, {name}_recorded_hidden[i]);"
    if test.grid is not None and test.features is not None:
        numbers, (grids, features) = test.grid.shape[1], test.features.shape
        yield f"    for (k = 0; k < {grids}; ++k) {{"
        yield f"        {name}_encode({name}_recorded_seen + {numbers + 1} * k, state.features);"
        yield f"        for (i = 0; i < {features}; ++i)"
        found = f"state.features[i], {name}_recorded_features[{features} * k + i]"
        yield f"            largest = {name}_further(largest, {found});"
        yield "    }"
    yield "    return largest;"
    yield "}"
