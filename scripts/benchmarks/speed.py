"""How fast the parts are on this machine: import, controller step, both engines."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Final

import numpy as np

from scripts.benchmarks.timing import per_second
from scripts.console import progress_bar
from scripts.flying import import_pybullet
from scripts.tables import short_name

_GRAVITY: Final = (0.0, 0.0, 9.81)


def import_seconds(repeats: int = 5) -> float:
    """Median time to import `liquid_pilot` and its controller in a fresh interpreter, start-up not counted."""
    code = (
        "import time; t = time.perf_counter(); import liquid_pilot; liquid_pilot.Controller; "
        "import sys; sys.stdout.write(str(time.perf_counter() - t))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(repeats)
    ]
    return float(np.median([float(run.stdout) for run in runs]))


def controller_step_us(policy: str, steps: int = 5000) -> tuple[float, float]:
    """(median, 99th percentile) of one `feed(Imu)` in microseconds, flow and range arriving in between."""
    from liquid_pilot import Controller, Flow, Imu, Range, Setpoint

    controller = Controller.load(policy)
    controller.feed(Setpoint(t_s=0.0, velocity_m_s=(0.0, 0.0), height_m=1.0, yaw_rate_rad_s=0.0))
    rng = np.random.default_rng([0])
    gyro = rng.normal(0.0, 0.1, (steps, 3)).tolist()
    spent = np.zeros(steps)
    for step in range(steps):
        t = 0.01 * step
        if step % 2 == 0:
            controller.feed(Flow(t_s=t, dt_s=0.02, flow_rad=(0.001, 0.0), quality=0.9))
        if step % 3 == 0:
            controller.feed(Range(t_s=t, distance_m=1.0))
        imu = Imu(t_s=t, gyro_rad_s=gyro[step], accel_m_s2=_GRAVITY)
        start = time.perf_counter()
        controller.feed(imu)
        spent[step] = time.perf_counter() - start
    warm = 1e6 * spent[steps // 10 :]
    return float(np.median(warm)), float(np.percentile(warm, 99.0))


def pybullet_steps_per_s(seconds: float = 2.0, h_s: float = 0.002) -> float:
    """Physics steps of `PyBulletQuad` in a second: rate loop, motors, forces, rigid body."""
    import_pybullet()
    from envs.airframe import load_airframe
    from envs.pybullet_quad import PyBulletQuad

    command, calm = (9.81, (0.0, 0.0, 0.0)), (0.0, 0.0, 0.0)
    with PyBulletQuad(load_airframe("cf2x")) as quad:

        def work() -> None:
            for _ in range(100):
                quad.substep(command, calm, h_s)

        return per_second(work, 100, seconds)


def batched_steps_per_s(batch: int = 1024, seconds: float = 3.0) -> float:
    """Control steps of `BatchedQuad` in a second on one thread, without gradients, at IMU 100 Hz, all sensors drawn."""
    import torch

    from envs.airframe import load_airframe
    from envs.batched_quad import BatchedQuad
    from envs.conditions import Conditions
    from envs.flights import draw_flights

    torch.set_num_threads(1)
    airframe, conditions = load_airframe("cf2x"), Conditions(imu_jitter=0.0)
    world = BatchedQuad(airframe, conditions, torch.Generator().manual_seed(0))
    state = world.reset(draw_flights(airframe, conditions, batch, np.random.default_rng([0])))
    zero = torch.zeros(batch)
    command = (zero + _GRAVITY[2], (zero, zero, zero))

    def work() -> None:
        nonlocal state
        world.observe(state)
        state = world.step(state, command, world.intervals(state))

    with torch.no_grad():
        return per_second(work, batch, seconds)


def measure(policy: str) -> list[tuple[str, str, str]]:
    """Rows (what, measured, goal) of the speed table."""
    with progress_bar() as progress:
        task = progress.add_task("import", total=4)
        seconds = import_seconds()
        progress.update(task, advance=1, description="controller step")
        median, p99 = controller_step_us(policy)
        progress.update(task, advance=1, description="PyBulletQuad")
        bullet = pybullet_steps_per_s()
        progress.update(task, advance=1, description="BatchedQuad")
        batched = batched_steps_per_s()
    return [
        ("import of liquid_pilot with its controller", f"{seconds:.3f} s", "at most 0.25 s"),
        (f"one controller step of {short_name(policy)}, median", f"{median:.1f} us", "at most 60 us"),
        (f"one controller step of {short_name(policy)}, 99th percentile", f"{p99:.1f} us", ""),
        ("PyBulletQuad, physics steps", f"{bullet:,.0f} /s", "at least 15,000 /s"),
        ("BatchedQuad, control steps at IMU 100 Hz, one thread", f"{batched:,.0f} /s", "at least 50,000 /s"),
    ]
