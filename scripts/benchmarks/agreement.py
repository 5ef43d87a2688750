"""Loss and gradient of the compiled engine beside torch's autograd: the same flights, the same random numbers.

At the edge of a select or a clamp a drone may go one way in one engine and the other way in the other, and there slopes
differ by more than rounding. Drones whose branches in float32 are not those in float64, in either engine, are counted
and left out on both sides: the others agree on every branch in both engines.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from envs.airframe import Airframe, load_airframe
from envs.batched_quad import BatchedQuad
from envs.batched_sensors import step_noise
from envs.compiled.engine import CompiledRollout
from envs.compiled.job import Draw, Lanes, Objective, RolloutResult
from envs.compiled.model import WorldModel, noise_rows
from envs.compiled.state import Reals, RolloutState, intervals
from envs.conditions import Conditions
from envs.flights import draw_flights
from liquid_pilot.bundle import Bundle
from liquid_pilot.command import from_action
from liquid_pilot.errors import SimulationError
from policies.compiled_trainer import FLIGHT_COST
from policies.cost import CostWeights, flight_cost
from policies.curriculum import Curriculum, training_conditions
from policies.flat_state import pack, unpack
from policies.fragments import flatten_weights, network_source
from policies.network import PolicyNetwork
from scripts.benchmarks.torch_branches import BranchWatch

# The whole world of training at IMU 100 Hz; a short hold, so that even short rollouts fly.
CONDITIONS: Final = replace(training_conditions(Curriculum(), 1.0), imu_hz=(100.0, 100.0), hold_s=0.1)
OBJECTIVE: Final = Objective(astuple(CostWeights()))
Real: TypeAlias = type[np.floating[Any]]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two engines are apart on one rollout, relative to torch. Gradients: norm over all weights, of all drones.

    left_out: drones that took another branch, see above; gradient, loss and floor are of the others, gradient_of_all is
    of every drone. aloft: drones that were not left out and never touched the floor; gradient_aloft is theirs, NaN
    without any. floor: gradient of torch in `dtype` from torch in float64: what rounding alone does.
    """

    dtype: str
    steps: int
    drones: int
    left_out: int
    gradient: float
    gradient_of_all: float
    loss: float
    floor: float
    aloft: int
    gradient_aloft: float


@dataclass(frozen=True)
class Case:
    """One rollout for any engine. All numbers are those of the narrower type, so that a wider engine flies the same."""

    airframe: Airframe
    bundle: Bundle
    conditions: Conditions
    start: RolloutState
    dt_s: npt.NDArray[np.float64]
    noise: tuple[Reals, Reals]

    def compiled(self, real: Real, watch_branches: bool = False, counted: Mask | None = None) -> RolloutResult:
        """Fly in the compiled engine."""
        spec, drones = self.bundle.spec, len(self.start)
        model = WorldModel(self.airframe, self.bundle.limits, FLIGHT_COST)
        rollout = CompiledRollout(model, network_source(spec), real, watch_branches=watch_branches)
        lanes = Lanes(self.start, *(np.zeros((rows, drones)) for rows in (spec.state_width, spec.outputs)))
        weights = flatten_weights(spec, self.bundle.weights, real)
        return rollout.run(lanes, weights, Draw(self.dt_s, self.noise), self.conditions, OBJECTIVE, counted=counted)

    def torch(self, real: Real) -> TorchFlight:
        """Fly in torch, by the reference."""
        drones, tensor = len(self.start), torch.float64 if real == np.float64 else torch.float32
        world = BatchedQuad(self.airframe, self.conditions, torch.Generator(), dtype=tensor)
        state = unpack(
            replace(self.start, **{n: getattr(self.start, n).astype(real) for n in ("constants", "course", "values")})
        )
        network = PolicyNetwork.from_bundle(self.bundle).to(tensor)
        normal, uniform = (torch.as_tensor(part.astype(real)) for part in self.noise)
        h, previous = network.initial_state(drones), torch.zeros((drones, self.bundle.spec.outputs), dtype=tensor)
        cost, weight, lowest_m = *torch.zeros((2, drones), dtype=tensor).unbind(), state.body.position_m[2]
        for k, dt_s in enumerate(torch.as_tensor(self.dt_s)):
            action, h = network.step(world.observe(state), h, state.dt_s)
            command = from_action(self.bundle.limits, (action[:, 0], action[:, 1], action[:, 2], action[:, 3]))
            state = world.step(state, command, dt_s, step_noise(normal[k], uniform[k]))
            since = state.t_s - state.release_s
            early = (since < OBJECTIVE.early_s).double()
            share = ((1.0 - (1.0 - OBJECTIVE.early_weight) * early) * (since > 0) * state.dt_s).to(tensor)
            cost = cost + flight_cost(CostWeights(), state.body, world.goal(state), action, previous) * share
            weight, previous = weight + share, action
            lowest_m = torch.minimum(lowest_m, state.body.position_m[2].detach())
        return TorchFlight(network, cost, weight, lowest_m.numpy())


@dataclass(frozen=True)
class TorchFlight:
    """What a rollout came to in torch, (B,): cost and what it was weighed by, lowest height at an event."""

    network: PolicyNetwork
    cost: Tensor
    weight: Tensor
    lowest_m: Reals

    def loss_and_gradient(self, counted: Mask) -> tuple[float, npt.NDArray[np.float64]]:
        """Mean cost per second of the counted drones, and its gradient in the flat weights."""
        rows = torch.from_numpy(counted)
        loss = self.cost[rows].sum() / self.weight[rows].sum()
        named = self.network.named_weights()
        slopes = torch.autograd.grad(loss, list(named.values()), retain_graph=True)
        arrays = {name: slope.numpy() for name, slope in zip(named, slopes, strict=True)}
        return float(loss.detach()), flatten_weights(self.network.spec, arrays, np.float64)


def make_case(bundle: Bundle, real: Real, steps: int, drones: int, conditions: Conditions = CONDITIONS) -> Case:
    """Draw `drones` flights of `steps` control steps, with all noise."""
    airframe, rng = load_airframe("cf2x"), np.random.default_rng([1])
    tensor = torch.float64 if real == np.float64 else torch.float32
    world = BatchedQuad(airframe, conditions, torch.Generator().manual_seed(1), dtype=tensor)
    start = pack(world.reset(draw_flights(airframe, conditions, drones, rng)))
    dt_s = intervals(conditions, np.full(drones, conditions.imu_hz[0]), steps, rng)
    normals, uniforms = noise_rows(locates=False)
    normal = rng.standard_normal((steps, normals, drones)).astype(real)
    uniform = rng.random((steps, uniforms, drones)).astype(real)
    return Case(airframe, bundle, conditions, start, dt_s, (normal, uniform))


def compare(bundle: Bundle, dtype: str, steps: int, drones: int, conditions: Conditions = CONDITIONS) -> Agreement:
    """Fly `drones` for `steps` control steps in both engines, in "float32" or "float64", and compare.

    Raises `SimulationError` where no drone takes the same branches in all.
    """
    real = np.float64 if dtype == "float64" else np.float32
    case = make_case(bundle, real, steps, drones, conditions)
    counted = np.ones(drones, np.bool_)
    if real == np.float64:
        exact = flown = case.torch(real)
        _, of_all = flown.loss_and_gradient(counted)
    else:
        flown, of_all, ways = watched(case, real)
        exact, _, wide_ways = watched(case, np.float64)
        narrow, wide = (case.compiled(kind, watch_branches=True).branches for kind in (real, np.float64))
        counted = (ways == wide_ways).all(axis=0) & (narrow == wide)
    if not counted.any():
        raise SimulationError(f"all {drones} drones took different branches within {steps} steps; fly more drones")
    found, (loss, wanted) = case.compiled(real, counted=counted), flown.loss_and_gradient(counted)
    aloft: Mask = counted & (flown.lowest_m > case.airframe.rest_height_m)
    return Agreement(
        dtype,
        steps,
        drones,
        int((~counted).sum()),
        _apart(found.gradient, wanted),
        _apart(case.compiled(real).gradient, of_all),
        abs(found.loss / loss - 1.0),
        _apart(wanted, exact.loss_and_gradient(counted)[1]),
        int(aloft.sum()),
        _aloft_apart(case, real, flown, aloft),
    )


def _aloft_apart(case: Case, real: Real, flown: TorchFlight, aloft: Mask) -> float:
    if not aloft.any():
        return math.nan
    return _apart(case.compiled(real, counted=aloft).gradient, flown.loss_and_gradient(aloft)[1])


def watched(case: Case, real: Real) -> tuple[TorchFlight, npt.NDArray[np.float64], Mask]:
    """Fly in torch: the flight, the gradient of all drones, the ways (branches, B) they took there and back."""
    with BranchWatch(len(case.start)) as watch:
        flight = case.torch(real)
        _, gradient = flight.loss_and_gradient(np.ones(len(case.start), np.bool_))
    return flight, gradient, watch.ways()


def _apart(found: npt.NDArray[np.float64] | None, wanted: npt.NDArray[np.float64]) -> float:
    assert found is not None
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
