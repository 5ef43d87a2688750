"""The compiled rollout for the analytic trainer and for scoring: loss, gradient and flights without torch's graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from envs.airframe import Airframe
from envs.batched_state import BatchedState
from envs.compiled.engine import CompiledRollout
from envs.compiled.job import Draw, Lanes, Objective
from envs.compiled.model import EventCost, WorldModel
from envs.compiled.sight import Camera, blind, looks
from envs.compiled.state import CONSTANTS, Clocks, choose, intervals, reset
from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import Flights, draw_flights
from envs.ledger import flight_scores, new_ledger
from envs.physics import Body
from envs.scoring import FlightScore, Rule
from envs.sensors import DEFAULT_SENSORS, SensorModels
from envs.task import SETPOINT_AIM, Aim, Course, Goal
from liquid_pilot.bundle import Bundle
from liquid_pilot.cells import CellSpec
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits
from liquid_pilot.errors import ConfigError
from liquid_pilot.observation import OBS_DIM, POSITION_DIM, SIGHT_DIM
from liquid_pilot.ops import Ops
from policies.avoid_cost import AvoidWeights, avoid_cost
from policies.backend import Carry, Mask, Recipe, worth_keeping
from policies.cost import CostWeights, event_cost
from policies.curriculum import SILENT
from policies.drills import HOVER_DRILL, Drill
from policies.flat_state import pack, unpack
from policies.fragments import flatten_weights, network_source, split_weights
from policies.network import PolicyNetwork

CHUNK_STEPS: Final = 64  # events that are flown before asking whether every flight is over
LANES_AT_ONCE: Final = 1024  # drones that are flown between two reports of progress


def _traced_cost(
    ops: Ops,
    weights: Sequence[Any],
    body: Body[Any],
    goal: Goal[Any],
    action: Sequence[Any],
    previous: Sequence[Any],
    places: bool = False,
) -> Any:
    return event_cost(ops, CostWeights(*weights), body, goal, action, previous, places)


def _traced_avoid_cost(ops: Ops, weights: Sequence[Any], *given: Any) -> Any:
    return avoid_cost(ops, AvoidWeights(*weights), *given)


AVOID_COST: Final = EventCost(len(fields(AvoidWeights)), _traced_avoid_cost)
FLIGHT_COST: Final = EventCost(len(fields(CostWeights)), _traced_cost)
PLACE_COST: Final = EventCost(len(fields(CostWeights)), partial(_traced_cost, places=True))


def flight_rollout(
    airframe: Airframe,
    spec: CellSpec,
    limits: CommandLimits = DEFAULT_LIMITS,
    substep_s: float = SUBSTEP_S,
    dtype: type[np.floating[Any]] = np.float32,
    threads: int = 1,
    aim: Aim = SETPOINT_AIM,
    sensors: SensorModels = DEFAULT_SENSORS,
    trigger: int | None = None,
) -> CompiledRollout:
    """A task compiled for an airframe, its sensors and a network. trigger: of slow neurons, see `network_text`."""
    seen = 0 if spec.encoder is None else SIGHT_DIM + spec.encoder.features
    wanted = OBS_DIM + POSITION_DIM * aim.locates + seen
    if (spec.encoder and spec.encoder.grid) != (aim.sees and aim.sees.model.layout):
        raise ConfigError(
            "a policy that sees flies avoid alone, with the grid that it was made for, and nothing else does"
        )
    if spec.inputs != wanted:
        raise ConfigError(
            f"the network has {spec.inputs} inputs and this task gives {wanted}; a policy that flies to places flies "
            "track-position alone, and nothing else does"
        )
    cost = PLACE_COST if aim.locates else AVOID_COST if aim.sees else FLIGHT_COST
    model = WorldModel(airframe, limits, cost, sensors, aim=aim)
    return CompiledRollout(model, network_source(spec, trigger), dtype, substep_s=substep_s, threads=threads)


@dataclass(frozen=True)
class FlatCarry:
    """A `policies.backend.Carry` that stays in flat arrays until somebody asks for tensors."""

    lanes: Lanes
    camera: Camera = field(default_factory=Camera)

    @property
    def world(self) -> BatchedState:
        """The drones."""
        return unpack(self.lanes.world)

    @property
    def h(self) -> Tensor:
        """State of the network, (B, units)."""
        return torch.from_numpy(np.ascontiguousarray(self.lanes.h.T))

    @property
    def action(self) -> Tensor:
        """Newest action, (B, 4)."""
        return torch.from_numpy(np.ascontiguousarray(self.lanes.action.T))


def saved_sight(carry: Carry) -> dict[str, Tensor]:
    """What a checkpoint must hold of drones that see, beside what every `Carry` has; nothing of others."""
    if not isinstance(carry, FlatCarry) or carry.lanes.sight is None:
        return {}
    camera = torch.tensor(astuple(carry.camera), dtype=torch.float64)
    return {"carry.sight": torch.from_numpy(np.ascontiguousarray(carry.lanes.sight)), "carry.camera": camera}


def seeing(carry: Carry, saved: Mapping[str, Tensor]) -> FlatCarry:
    """The carry of drones that see, with what `saved_sight` gave."""
    lanes = replace(lanes_of(carry), sight=saved["carry.sight"].numpy())
    return FlatCarry(lanes, Camera(*saved["carry.camera"].tolist()))


def lanes_of(carry: Carry) -> Lanes:
    """The flat arrays of any carry."""
    if isinstance(carry, FlatCarry):
        return carry.lanes
    return Lanes(pack(carry.world), carry.h.numpy().T, carry.action.numpy().T)


class CompiledBackend:
    """`policies.backend.Backend` on the compiled rollout; random numbers come from `rng`.

    threads: of the rollout; results do not depend on it. trigger: of slow neurons, see `network_text`. Raises
    `ConfigError` below 1 thread, and for a trigger that the cell cannot have.
    """

    name: str = "compiled"

    def __init__(
        self, recipe: Recipe, spec: CellSpec, rng: np.random.Generator, threads: int = 1, trigger: int | None = None
    ) -> None:
        self.recipe, self.rng = recipe, rng
        drill, given = recipe.drill, (recipe.airframe, spec)
        self.rollout = flight_rollout(
            *given,
            substep_s=recipe.substep_s,
            threads=threads,
            aim=drill.aim(recipe.course_s),
            sensors=drill.sensors,
            trigger=trigger,
        )
        self.objective = Objective(astuple(recipe.cost), recipe.early_s, recipe.early_weight)

    def launch(self, flights: Flights, course: Course, conditions: Conditions, old: Carry | None, keep: Mask) -> Carry:
        """See `policies.backend.Backend.launch`."""
        fresh = new_lanes(self.rollout, flights, self.rng, course)
        if old is None:
            return FlatCarry(fresh)
        lanes, camera, drill = lanes_of(old), old.camera if isinstance(old, FlatCarry) else Camera(), self.recipe.drill
        body, age_s = lanes.world.value("body"), lanes.world.clock("t_s") - lanes.world.clock("release_s")
        good = worth_keeping(self.recipe, lanes.world.course, body[2], (body[7], body[8]), age_s)
        good = good & keep & np.isfinite(lanes.h).all(axis=0)
        world = choose(good, lanes.world, fresh.world)
        world.constants[CONSTANTS["imu_hz"]] = fresh.world.constants[CONSTANTS["imu_hz"]]
        world.course[:] = np.where(
            good, drill.onward(world.course, fresh.world.course, conditions, self.rng), world.course
        )
        sight = fresh.sight
        if sight is not None and lanes.sight is not None and conditions.grid_dropout != SILENT:
            sight = np.where(good, lanes.sight, sight)
        if drill.sees is not None:
            drill.sees.plot.centre(world.value("body"))
        h, action = np.where(good, lanes.h, fresh.h), np.where(good, lanes.action, fresh.action)
        return FlatCarry(Lanes(world, h, action, sight), camera)

    def gradient(self, network: PolicyNetwork, carry: Carry, conditions: Conditions, steps: int) -> tuple[float, Carry]:
        """See `policies.backend.Backend.gradient`."""
        lanes = lanes_of(carry)
        dt_s = intervals(conditions, lanes.world.constants[CONSTANTS["imu_hz"]][0], steps, self.rng)
        weights = flatten_weights(network.spec, network.weights())
        camera = carry.camera if isinstance(carry, FlatCarry) else Camera()
        draw, camera = draw_steps(self.rollout, dt_s, camera, conditions, self.rng)
        result = self.rollout.run(lanes, weights, draw, conditions, self.objective)
        assert result.gradient is not None
        slopes = split_weights(network.spec, result.gradient.astype(np.float32))
        network.set_gradient({name: torch.from_numpy(slope) for name, slope in slopes.items()})
        return result.loss, FlatCarry(result.lanes, camera)

    def evaluate(
        self, network: PolicyNetwork, conditions: Conditions, flights: int, seed: int, duration_s: float
    ) -> list[FlightScore]:
        """See `policies.backend.Backend.evaluate`."""
        weights = flatten_weights(network.spec, network.weights())
        given = (self.rollout, weights, conditions, flights, seed, duration_s)
        return fly_and_score(*given, drill=self.recipe.drill)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**63))


def draw_steps(
    rollout: CompiledRollout, dt_s: Clocks, camera: Camera, conditions: Conditions, rng: np.random.Generator
) -> tuple[Draw, Camera]:
    """The randomness of so many steps, and the camera after them."""
    if rollout.model.aim.sees is None:
        return Draw(dt_s, seed=_seed(rng)), camera
    events, camera = looks(camera, dt_s, conditions, rng)
    return Draw(dt_s, seed=_seed(rng), looks=events), camera


def new_lanes(
    rollout: CompiledRollout, flights: Flights, rng: np.random.Generator, course: Course | None = None
) -> Lanes:
    """Every drone in the hand, the network at rest. course: the drawn set-points if not given."""
    batch, real = len(flights), rollout.dtype.type
    world = reset(rollout.model.airframe, flights, rng, real, course)
    h, action = (np.zeros((rows, batch), real) for rows in (rollout.network.state_width, rollout.network.outputs))
    sees = rollout.model.aim.sees
    return Lanes(world, h, action, None if sees is None else blind(sees, rollout.network.features, batch, real))


def fly_and_score(
    rollout: CompiledRollout,
    weights: Any,
    conditions: Conditions,
    flights: int,
    seed: int,
    duration_s: float = 15.0,
    on_progress: Callable[[int], None] = lambda done: None,
    drill: Drill = HOVER_DRILL,
) -> list[FlightScore]:
    """Score `flights` flights of `duration_s` after release. The same draw of flights as the other engines fly.

    A flight whose command or motion is not finite fails. weights: flat, see `policies.fragments.flatten_weights`.
    on_progress: told the number of flights done.
    """
    drawn = draw_flights(rollout.model.airframe, conditions, flights, np.random.default_rng([seed]), duration_s)
    course = drill.course(drawn, duration_s, np.random.default_rng([seed, 0]))
    drawn = drill.launch(drawn, rollout.model.airframe)
    scores: list[FlightScore] = []
    for part, start in enumerate(range(0, flights, LANES_AT_ONCE)):
        part_of, rng = slice(start, start + LANES_AT_ONCE), np.random.default_rng([seed, 1 + part])
        rows = drawn.rows(part_of)
        lanes = new_lanes(rollout, rows, rng, course[:, part_of])
        scores += _fly_part(rollout, weights, conditions, lanes, rng, duration_s, drill.rule)
        on_progress(len(scores))
    return scores


def _fly_part(
    rollout: CompiledRollout,
    weights: Any,
    conditions: Conditions,
    lanes: Lanes,
    rng: np.random.Generator,
    duration_s: float,
    rule: Rule,
) -> list[FlightScore]:
    camera = Camera()
    ledger, imu_hz = new_ledger(len(lanes.world)), lanes.world.constants[CONSTANTS["imu_hz"]][0]
    while bool((lanes.world.clock("t_s") < lanes.world.clock("release_s") + duration_s).any()):
        dt_s = intervals(conditions, imu_hz, CHUNK_STEPS, rng)
        draw, camera = draw_steps(rollout, dt_s, camera, conditions, rng)
        lanes = rollout.score(lanes, weights, draw, conditions, ledger, duration_s, rule)
    return flight_scores(ledger, rule)


def evaluate_compiled(
    bundle: Bundle,
    airframe: Airframe,
    conditions: Conditions,
    flights: int,
    seed: int,
    duration_s: float = 15.0,
    threads: int = 1,
    on_progress: Callable[[int], None] = lambda done: None,
    drill: Drill = HOVER_DRILL,
) -> list[FlightScore]:
    """`fly_and_score` for a policy file."""
    rollout = flight_rollout(
        airframe, bundle.spec, bundle.limits, threads=threads, aim=drill.aim(duration_s), sensors=conditions.sensors
    )
    weights = flatten_weights(bundle.spec, bundle.weights)
    return fly_and_score(rollout, weights, conditions, flights, seed, duration_s, on_progress, drill)
