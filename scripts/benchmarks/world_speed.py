"""How fast the world's engines are on one core, beside gym-pybullet-drones, and what a drone takes of memory."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import gymnasium
import numpy as np

import envs  # noqa: F401  # registers Hover-v0
from envs.airframe import Airframe
from envs.aviary import make_aviary
from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import draw_flights
from envs.launch import HandLaunch
from envs.pybullet_quad import PyBulletQuad
from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import MissingExtraError
from liquid_pilot.observation import GRAVITY_M_S2
from scripts.benchmarks.throughput import compiled_steps_per_s
from scripts.benchmarks.timing import per_second

STEADY: Final = Conditions(imu_jitter=0.0)
PEER: Final = "HoverAviary"
REPETITIONS: Final = 9  # of ours and of the peer in turn
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


def peer_physics_per_s(seconds: float) -> float:
    """Physics steps of HoverAviary of gym-pybullet-drones. Raises `MissingExtraError` without it."""
    env = make_aviary(PEER)
    try:
        env.reset(seed=0)
        action = np.zeros(env.action_space.shape, np.float32)
        return per_second(lambda: env.step(action), env.PYB_STEPS_PER_CTRL, seconds)
    finally:
        env.close()


def side_by_side(
    ours: Callable[[float], float], theirs: Callable[[float], float], seconds: float
) -> tuple[float, float, float]:
    """Medians of both rates and of their ratio over interleaved repetitions: what else the machine does meets both."""
    pairs = [(ours(seconds / REPETITIONS), theirs(seconds / REPETITIONS)) for _ in range(REPETITIONS)]
    own, peer = zip(*pairs, strict=True)
    return median(own), median(peer), median(a / b for a, b in pairs)


@dataclass(frozen=True, slots=True)
class PhysicsPace:
    """Physics steps of ours and of the peer, the median ratio, a reset of the peer, and how its figures are known."""

    own_per_s: float
    peer_per_s: float
    ratio: float
    peer_reset_s: float
    known: str


def physics_pace(airframe: Airframe, seconds: float) -> PhysicsPace:
    """`sensed_physics_per_s` beside the peer, or beside known figures where it is not installed or does not run."""

    def ours(share: float) -> float:
        return sensed_physics_per_s(airframe, share)

    try:
        rates = side_by_side(ours, peer_physics_per_s, seconds)
        reset_s = 1.0 / resets_per_s(make_aviary(PEER), seconds)
        return PhysicsPace(*rates, reset_s, f"measured here, median of {REPETITIONS} in turn")
    except Exception as error:  # somebody else's package, of any version
        known = "CtrlAviary as measured on another x86 machine"
        if not isinstance(error, MissingExtraError):
            known += f"; here it failed: {type(error).__name__}"
    own = ours(seconds)
    return PhysicsPace(own, PEER_PHYSICS_PER_S, own / PEER_PHYSICS_PER_S, PEER_RESET_S, known)


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
    physics = physics_pace(airframe, seconds)
    peer = f"{physics.peer_per_s:,.0f} /s"
    tick()
    paces: list[Pace] = []
    if bundle is not None:
        steps = compiled_steps_per_s(bundle, 1024, 100, False, seconds)
        note, ratio = "1024 drones, network, all sensors", 5.0 * steps / physics.peer_per_s
        paces.append(Pace("compiled engine, control steps", steps, "/s", note=note))
        paces.append(Pace("compiled engine, physics steps", 5.0 * steps, "/s", peer, ratio, note))
    tick()
    note = f"all sensors, wind, delays; peer has none, {physics.known}"
    paces.append(Pace("PyBullet engine, physics steps", physics.own_per_s, "/s", peer, physics.ratio, note))
    tick()
    own_s = 1.0 / resets_per_s(gymnasium.make("liquid_pilot/Hover-v0", disable_env_checker=True), seconds)
    peer, ratio = f"{1e3 * physics.peer_reset_s:.3g} ms", physics.peer_reset_s / own_s
    paces.append(Pace("Hover-v0, reset", 1e3 * own_s, "ms", peer, ratio, f"peer: {physics.known}"))
    tick()
    for engine in _MEMORY if memory and Path("/proc/self/status").exists() else ():
        if engine != "compiled" or bundle is not None:
            size = drone_bytes(engine, airframe.name) / 1024.0
            note = f"{DRONES[engine]:,} drones over one, in fresh processes"
            paces.append(Pace(f"{engine}: peak memory of a drone", size, "KiB", note=note))
    tick()
    return paces
