"""How fast the world's engines are on one core, beside gym-pybullet-drones, and what a drone takes of memory."""

from __future__ import annotations

import importlib
import importlib.util
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np

import envs  # noqa: F401  # registers Hover-v0
from envs.airframe import Airframe
from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import draw_flights
from envs.launch import HandLaunch
from envs.pybullet_quad import PyBulletQuad
from liquid_pilot.bundle import Bundle
from liquid_pilot.observation import GRAVITY_M_S2
from scripts.benchmarks.throughput import compiled_steps_per_s
from scripts.benchmarks.timing import per_second

STEADY: Final = Conditions(imu_jitter=0.0)
PEER: Final = "gym_pybullet_drones"
PEER_PHYSICS_PER_S, PEER_RESET_S = 19.8e3, 0.043  # on a shared two-core x86 machine, where it is not installed
DRONES: Final = {"compiled": 20_000, "torch": 5_000, "pybullet": 20}
_MEMORY: Final = {
    "compiled": """
from scripts.benchmarks.world_engines import Experiment, fly_compiled, nominal_flights
fly_compiled(Experiment(airframe, nominal_flights(airframe, n), np.full((4, n), 0.5), np.full((2, 4, n), 0.5)))
""",
    "torch": """
from scripts.benchmarks.world_engines import Experiment, fly_torch, nominal_flights
fly_torch(Experiment(airframe, nominal_flights(airframe, n), np.full((4, n), 0.5), np.full((2, 4, n), 0.5)))
""",
    "pybullet": """
from envs.pybullet_quad import PyBulletQuad
quads = [PyBulletQuad(airframe) for _ in range(n)]
for quad in quads: quad.substep((9.81, (0.0, 0.0, 0.0)), (0.0, 0.0, 0.0), 0.002)
""",
}
# VmHWM begins anew with the program; ru_maxrss would begin with the parent's.
_PEAK: Final = r"""
import os, re, sys
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from envs.airframe import load_airframe
airframe, n = load_airframe({name!r}), {n}
{work}
sys.stderr.write("peak " + re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])
sys.stderr.flush()
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """One line of the table. ratio: over the peer, or empty; note: how it was measured."""

    what: str
    value: float
    unit: str
    peer: str = ""
    ratio: float | None = None
    note: str = ""


def sensed_physics_per_s(airframe: Airframe, seconds: float) -> float:
    """Physics steps of 2 ms in PyBullet with IMU, flow, range, delays and wind: a whole `HandLaunch`, in hover."""
    flights = draw_flights(airframe, STEADY, 1, np.random.default_rng([0]))
    with PyBulletQuad(airframe) as quad:
        launch = HandLaunch(quad, flights, STEADY, np.random.default_rng([1]))
        while not launch.released:
            launch.advance()

        def work() -> None:
            for _ in range(20):
                launch.issue((GRAVITY_M_S2, (0.0, 0.0, 0.0)), launch.t_s)
                launch.advance()

        return per_second(work, 20 * math.ceil(0.010 / SUBSTEP_S), seconds)


def resets_per_s(env: gymnasium.Env[Any, Any], seconds: float) -> float:
    """Resets of an environment, which is closed then."""
    try:
        return per_second(env.reset, 1, seconds)
    finally:
        env.close()


def _peer(seconds: float) -> tuple[float, float, str]:
    """(physics steps a second, seconds a reset, how they are known) of gym-pybullet-drones."""
    known = "CtrlAviary as measured on another x86 machine"
    if importlib.util.find_spec(PEER) is None:
        return PEER_PHYSICS_PER_S, PEER_RESET_S, known
    try:
        hover: Callable[[], Any] = importlib.import_module(f"{PEER}.envs.HoverAviary").HoverAviary
        env = hover()
        env.reset(seed=0)
        action = np.zeros(env.action_space.shape, np.float32)
        rate = per_second(lambda: env.step(action), env.PYB_STEPS_PER_CTRL, seconds)
        reset_s = 1.0 / resets_per_s(env, seconds)
    except Exception as error:  # somebody else's package, of any version
        return (
            PEER_PHYSICS_PER_S,
            PEER_RESET_S,
            f"CtrlAviary as measured on another x86 machine; here it failed: {type(error).__name__}",
        )
    return rate, reset_s, "measured here"


def peak_bytes(engine: str, airframe: str, drones: int) -> int:
    """Largest memory of a fresh process that flies so many drones; Linux counts it in KiB."""
    code = _PEAK.format(name=airframe, n=drones, work=_MEMORY[engine])
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    return 1024 * int(done.stderr.rpartition("peak ")[2])


def drone_bytes(engine: str, airframe: str) -> float:
    """What one more drone adds to the peak."""
    n = DRONES[engine]
    return (peak_bytes(engine, airframe, n) - peak_bytes(engine, airframe, 1)) / (n - 1)


def measure(
    airframe: Airframe, bundle: Bundle | None, seconds: float, memory: bool, tick: Callable[[], None]
) -> list[Pace]:
    """All lines. bundle: the network that the compiled engine flies; None = there is no C compiler."""
    physics, reset_s, known = _peer(seconds)
    peer = f"{physics:,.0f} /s"
    tick()
    paces: list[Pace] = []
    if bundle is not None:
        steps = compiled_steps_per_s(bundle, 1024, 100, False, seconds)
        note = "1024 drones, network, all sensors"
        paces.append(Pace("compiled engine, control steps", steps, "/s", note=note))
        paces.append(Pace("compiled engine, physics steps", 5.0 * steps, "/s", peer, 5.0 * steps / physics, note))
    tick()
    own = sensed_physics_per_s(airframe, seconds)
    note = f"all sensors, wind, delays; peer has none, {known}"
    paces.append(Pace("PyBullet engine, physics steps", own, "/s", peer, own / physics, note))
    tick()
    own_s = 1.0 / resets_per_s(gymnasium.make("liquid_pilot/Hover-v0", disable_env_checker=True), seconds)
    note = f"peer: {known}"
    paces.append(Pace("Hover-v0, reset", 1e3 * own_s, "ms", f"{1e3 * reset_s:.3g} ms", reset_s / own_s, note))
    tick()
    for engine in _MEMORY if memory and Path("/proc/self/status").exists() else ():
        if engine != "compiled" or bundle is not None:
            size = drone_bytes(engine, airframe.name) / 1024.0
            note = f"{DRONES[engine]:,} drones over one, in fresh processes"
            paces.append(Pace(f"{engine}: peak memory of a drone", size, "KiB", note=note))
    tick()
    return paces
