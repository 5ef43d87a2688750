"""The firmware loop of docs/main_loop.c: it sees what the onboard memory sees, and the guide shows it."""

from __future__ import annotations

import math
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose

from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.cells import Network
from liquid_pilot.command import from_action
from liquid_pilot.export.policy import export_c, write_c
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import Flow, Imu, Range, SensorMessage, Setpoint
from liquid_pilot.observation import assemble
from tests.export.compiling import COMPILERS, STRICT, needs_compiler

DOCS = Path(__file__).parents[2] / "docs"
LOOP = (DOCS / "main_loop.c").read_text("ascii")
HEIGHT_M = 1.0
EVENTS = """
#include <stdio.h>
#include <stdlib.h>
static int here(char kind)
{
    int c = fgetc(stdin);
    if (c == EOF)
        exit(0);
    if (c == kind)
        return 1;
    ungetc(c, stdin);
    return 0;
}
static float number(void)
{
    float x = 0.0f;
    if (fscanf(stdin, "%f", &x) != 1)
        exit(2);
    return x;
}
static uint64_t stamp(void)
{
    unsigned long t = 0;
    if (fscanf(stdin, "%lu", &t) != 1)
        exit(2);
    return (uint64_t)t;
}
int board_imu(imu_sample *sample)
{
    int i;
    if (!here('I'))
        return 0;
    sample->t_us = stamp();
    for (i = 0; i < 3; ++i)
        sample->gyro_rad_s[i] = number();
    for (i = 0; i < 3; ++i)
        sample->accel_m_s2[i] = number();
    (void)fgetc(stdin);
    return 1;
}
int board_flow(flow_sample *sample)
{
    if (!here('F'))
        return 0;
    sample->t_us = stamp();
    sample->window_us = stamp();
    sample->angle_rad[0] = number();
    sample->angle_rad[1] = number();
    sample->quality = number();
    (void)fgetc(stdin);
    return 1;
}
int board_range(range_sample *sample)
{
    if (!here('R'))
        return 0;
    sample->t_us = stamp();
    sample->distance_m = number();
    (void)fgetc(stdin);
    return 1;
}
void board_command(const hover_command *command)
{
    printf("%.9g %.9g %.9g %.9g\\n", (double)command->thrust_m_s2, (double)command->rates_rad_s[0],
        (double)command->rates_rad_s[1], (double)command->rates_rad_s[2]);
}
void board_no_command(void)
{
    puts("silent");
}
"""


@dataclass
class Stream:
    """Messages in order of arrival, and the lines that say the same to the C."""

    messages: list[SensorMessage]
    lines: list[str]

    def imu(self, t_us: int, gyro: list[float], accel: list[float]) -> None:
        self.messages.append(Imu(t_us * 1e-6, (gyro[0], gyro[1], gyro[2]), (accel[0], accel[1], accel[2])))
        self.lines.append(f"I {t_us} {' '.join(map(repr, gyro + accel))}")

    def flow(self, t_us: int, window_us: int, x: float, y: float, quality: float) -> None:
        self.messages.append(Flow(t_us * 1e-6, window_us * 1e-6, (x, y), quality))
        self.lines.append(f"F {t_us} {window_us} {x!r} {y!r} {quality!r}")

    def range(self, t_us: int, distance_m: float) -> None:
        self.messages.append(Range(t_us * 1e-6, distance_m))
        self.lines.append(f"R {t_us} {distance_m!r}")


def stream(seed: int) -> Stream:
    """Some seconds: uneven IMU, late flow with windows of any length, blind flow, ranges without a return, silences."""
    rng, told, t_us = np.random.default_rng(seed), Stream([], []), 1_000_000
    flow_us = range_us = 0
    for k in range(900):
        t_us += int(rng.integers(2_000, 40_000)) if k != 400 else 2_900_000
        flow_end = t_us - int(rng.integers(0, 30_000))
        if rng.random() < 0.4 and flow_end > flow_us and not 200 < k < 330:
            flow_us, window = flow_end, int(rng.integers(1_000, 60_000))
            x, y = rng.normal(0.0, 0.02, 2).tolist()
            told.flow(flow_us, window, x, y, float(rng.choice([0.0, 0.3, 1.0])))
        range_end = t_us - int(rng.integers(0, 20_000))
        if rng.random() < 0.4 and range_end > range_us:
            range_us = range_end
            told.range(range_us, math.nan if rng.random() < 0.2 else float(rng.uniform(0.3, 2.0)))
        told.imu(t_us, rng.normal(0.0, 1.0, 3).tolist(), rng.normal((0.0, 0.0, 9.81), 1.0).tolist())
    return told


def expected(bundle: Bundle, messages: list[SensorMessage]) -> list[list[float] | None]:
    """Commands of the onboard memory and network; None where flow or range have been silent for too long."""
    memory, network = SensorMemory(replace(SensorMemory().limits, ahead_s=10.0)), Network(bundle.spec, bundle.weights)
    hidden, found = network.initial_state(), list[list[float] | None]()
    for message in messages:
        assert memory.accept(message) is None
        if not isinstance(message, Imu):
            continue
        held = memory.take(Setpoint(0.0, (0.0, 0.0), HEIGHT_M, 0.0))
        output, hidden = network.step(np.array(assemble(held), np.float32), hidden, held.dt_s)
        a, b, c, d = output.tolist()
        thrust, rates = from_action(bundle.limits, (a, b, c, d))
        low, high = bundle.limits.thrust_m_s2
        trusted = held.flow_age_s < 2.0 and held.range_age_s < 2.0
        found.append([min(max(thrust, low), high), *rates] if trusted else None)
    return found


@needs_compiler
def test_the_loop_gives_the_commands_of_the_onboard_controller(tmp_path: Path) -> None:
    bundle = load_bundle("hover")
    _, source = write_c(export_c(bundle), tmp_path)
    (tmp_path / "main.c").write_text(LOOP + EVENTS, "ascii")
    files = [str(source), str(tmp_path / "main.c"), "-o", str(tmp_path / "main")]
    built = subprocess.run([COMPILERS[0], *STRICT, "-O1", *files], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    silent = 0
    for seed in range(3):
        told = stream(seed)
        text = "\n".join(told.lines) + "\n"
        done = subprocess.run([str(tmp_path / "main")], input=text, capture_output=True, text=True, check=True)
        ours = expected(bundle, told.messages)
        theirs = [None if line == "silent" else [*map(float, line.split())] for line in done.stdout.splitlines()]
        assert [one is None for one in theirs] == [one is None for one in ours]
        silent += sum(one is None for one in ours)
        assert_allclose([x for x in theirs if x], [x for x in ours if x], atol=1e-4)
    assert silent > 100


def test_the_guide_shows_the_loop_as_it_is() -> None:
    guide = (DOCS / "onboard.md").read_text("utf-8")
    shown = guide.split("```c\n")[1].split("```")[0]
    assert shown.count("\n") > 10
    assert shown in LOOP
