"""Control steps and physics substeps a second, of the compiled engine and of eager torch, on one thread if not said."""

from __future__ import annotations

import ctypes
from typing import Final

import numpy as np
import torch

from envs.airframe import load_airframe
from envs.batched_quad import BatchedQuad
from envs.compiled.emit import prelude
from envs.compiled.job import Draw
from envs.compiled.state import intervals
from envs.compiled.world import world_source
from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import draw_flights
from envs.task import setpoint_course
from liquid_pilot import native
from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import SimulationError
from policies.backend import Recipe
from policies.compiled_trainer import flight_rollout, new_lanes
from policies.cost import CostWeights
from policies.fragments import flatten_weights
from policies.network import PolicyNetwork
from policies.torch_backend import TorchBackend
from scripts.benchmarks.agreement import OBJECTIVE
from scripts.benchmarks.timing import per_second

STEADY: Final = Conditions(imu_jitter=0.0)  # IMU 100 Hz: every control step is 10 ms, 5 substeps of 2 ms
CONTROL_S: Final = 0.010
# Rate loop, motors, forces and rigid body of one lane group, again and again; the vectors stay in cache. A call for
# each substep, as in the rollout: inlined, a compiler takes what stays the same out of the loop.
_PHYSICS: Final = """
static __attribute__((noinline)) void one_substep(V *const *in, V *next, V *acc, V *flow) {
    substep(in[0], in[1], in[2], in[3], in[4], in[5], next, acc, flow);
}
void lp_physics(int64_t count, LP_REAL *rows) {
    V *at = (V *)rows, *body = at, *next = at + LP_BODY, *drift = next + LP_BODY, *constants = drift + LP_DRIFT;
    V *command = constants + LP_CONSTANTS, *wind = command + 4, *h_both = wind + 3, acc[3], flow[2];
    for (int64_t k = 0; k < count; ++k) {
        V *const in[] = {body, drift, constants, command, wind, h_both};
        one_substep(in, next, acc, flow);
        V *spare = body;
        body = next, next = spare;
    }
}
"""


def compiled_steps_per_s(
    bundle: Bundle, drones: int, steps: int, gradients: bool, seconds: float, threads: int = 1
) -> float:
    """Control steps of 10 ms with network, all sensors drawn."""
    rollout = flight_rollout(load_airframe("cf2x"), bundle.spec, bundle.limits, threads=threads)
    rng = np.random.default_rng([2])
    flights = draw_flights(rollout.model.airframe, STEADY, drones, rng)
    lanes, weights = new_lanes(rollout, flights, rng), flatten_weights(bundle.spec, bundle.weights)
    draw = Draw(intervals(STEADY, flights.imu_hz, steps, rng), seed=3)
    return per_second(lambda: rollout.run(lanes, weights, draw, STEADY, OBJECTIVE, gradients), drones * steps, seconds)


def torch_steps_per_s(bundle: Bundle, drones: int, steps: int, gradients: bool, seconds: float) -> float:
    """The same in eager torch, on one thread."""
    airframe, generator = load_airframe("cf2x"), torch.Generator().manual_seed(0)
    network, flights = (
        PolicyNetwork.from_bundle(bundle),
        draw_flights(airframe, STEADY, drones, np.random.default_rng([2])),
    )
    recipe = Recipe(airframe, CostWeights(), SUBSTEP_S, OBJECTIVE.early_s, OBJECTIVE.early_weight, 20.0)
    backend = TorchBackend(recipe, bundle.spec, generator)
    carry = backend.launch(flights, setpoint_course(flights), STEADY, None, np.ones(drones, np.bool_))

    def work() -> None:
        with torch.set_grad_enabled(gradients):
            backend.gradient(network, carry, STEADY, steps)

    return per_second(work, drones * steps, seconds)


def physics_per_s(bundle: Bundle, seconds: float, count: int = 20_000) -> float:
    """Physics substeps alone: no sensors, no network, no gradient; on one thread."""
    rollout = flight_rollout(load_airframe("cf2x"), bundle.spec, bundle.limits)
    text = f"{prelude(rollout.group * 4, 'float')}\n{world_source(rollout.model)}\n{_PHYSICS}"
    library = native.build(text, "physics")
    rng = np.random.default_rng([4])
    lanes = new_lanes(rollout, draw_flights(rollout.model.airframe, STEADY, rollout.group, rng), rng).world
    hover = np.repeat([[9.81], [0.0], [0.0], [0.0]], rollout.group, axis=1)
    machine = np.concatenate([lanes.value("body"), lanes.value("actuators")])
    drift = np.concatenate([lanes.value(name) for name in ("gusts", "gyro_bias_rad_s", "accel_bias_m_s2")])
    rest = np.concatenate([np.zeros((3, rollout.group)), np.full((2, rollout.group), 0.002)])
    rows = np.concatenate([machine, machine, drift, lanes.constants, hover, rest]).astype(np.float32)
    room = np.zeros(rows.size + 16, np.float32)
    start = -(room.ctypes.data // 4) % 16
    room[start : start + rows.size] = rows.ravel()
    address = ctypes.c_void_p(room.ctypes.data + 4 * start)
    rate = per_second(lambda: library.lp_physics(ctypes.c_int64(count), address), count * rollout.group, seconds)
    if not np.isfinite(room).all():
        raise SimulationError("the physics benchmark left the finite numbers; its figure would mean nothing")
    return rate


def torch_physics_per_s(drones: int, seconds: float) -> float:
    """Physics substeps of `BatchedQuad` without gradients: its step with the slow sensors at rest, 5 substeps."""
    airframe = load_airframe("cf2x")
    world = BatchedQuad(airframe, STEADY, torch.Generator().manual_seed(0))
    state = world.reset(draw_flights(airframe, STEADY, drones, np.random.default_rng([2])))
    zero = torch.zeros(drones)
    command, dt_s = (zero + 9.81, (zero, zero, zero)), torch.full((drones,), CONTROL_S, dtype=torch.float64)
    noise = world.noise(drones)
    with torch.no_grad():
        return per_second(lambda: world.step(state, command, dt_s, noise), 5 * drones, seconds)
