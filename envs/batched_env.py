"""Many drones at once under a task: gymnasium's vector interface on the compiled engine, in numpy.

    gymnasium.make_vec("liquid_pilot/Hover-v0", num_envs=1024)

All drones step together, each to its own next IMU event. What differs from one drone in PyBullet: heights and
touchdowns are looked at once an IMU event, not once a substep; velocity actions command once an IMU event; mixed
intervals are drawn for all drones at once and vary by the jitter. In a forest all take their flow grids at the same
IMU events, of the motion at that event and by its gyro sample, and go on hearing them in an IMU silence; the heading's
error is constant over a flight, and the heading known from the start; obstacles are looked at once an IMU event; there
are no pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any, Final, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from envs.actions import ACTION_MODES, motor_speeds, read_actions, wanted_velocity
from envs.airframe import load_airframe
from envs.batched_moment import Lanes, Tracks, moment_of
from envs.batched_step import Float32, advance, rows, sensed
from envs.compiled.relay import RelayWorld
from envs.compiled.sight import Camera
from envs.compiled.state import CONSTANTS
from envs.conditions import SUBSTEP_S, Conditions, check_batched, check_locates, check_sees
from envs.flights import Flights, draw_flights
from envs.forest import COURSE_ROWS
from envs.quad_env import (
    CRASH_REWARD,
    DONE_REWARD,
    check_options,
    make_conditions,
    observation_space,
)
from envs.state_observation import assemble_state
from envs.task import SETPOINT_AIM, Aim, Course, Moment, Task
from envs.velocity_control import VELOCITY_GAINS, velocity_command
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits, from_action
from liquid_pilot.errors import ConfigError, SimulationError
from liquid_pilot.observation import SIGHT_DIM
from liquid_pilot.ops import NUMPY_OPS

Array: TypeAlias = npt.NDArray[np.float64]
Observation: TypeAlias = Any  # (N, width) float32; a dictionary of two such with obs="both"

SPARE_SHARE: Final = 4  # flights drawn ahead: one for so many drones, and at least LEAST_SPARE
LEAST_SPARE: Final = 64


class BatchedQuadEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """A task with num_envs drones. Options, observations, actions, reward and ends as of `envs.quad_env.QuadEnv`.

    A flight that ends is followed by a new one in the same step: its last observation is in info["final_obs"] (rows
    where info["_final_obs"]), whether it was flown well in info["final_info"]["success"]. `info` further holds dt_s and
    released of every drone; `moment` is the truth. substep_s: longest physics substep; threads: of the engine, which do
    not change the result. Raises `ConfigError`, and `NativeUnavailable` without a C compiler.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        task: Task,
        num_envs: int,
        *,
        obs: str = "sensors",
        action: str = "ctbr",
        conditions: Conditions | None = None,
        airframe: str = "cf2x",
        limits: CommandLimits = DEFAULT_LIMITS,
        duration_s: float | None = None,
        substep_s: float = SUBSTEP_S,
        threads: int = 1,
        render_mode: None = None,
        **overrides: Any,
    ) -> None:
        if isinstance(num_envs, bool) or not isinstance(num_envs, (int, np.integer)) or num_envs < 1:
            raise ConfigError(f"num_envs is {num_envs!r}; give a whole number, at least one")
        if render_mode is not None:
            raise ConfigError(f"render_mode is {render_mode!r}; many drones draw no pictures, make one environment")
        check_options(obs, action, conditions, limits, duration_s)
        self.task, self.obs, self.action_mode, self.limits = task, obs, action, limits
        self.conditions = make_conditions(conditions or task.conditions, overrides)
        self._sees = task.sees if self.conditions.sees else None
        self._check(self.conditions)
        if task.camera:
            raise ConfigError("a camera takes its pictures in PyBullet; make one environment, or leave camera out")
        self.duration_s = task.duration_s if duration_s is None else float(duration_s)
        self.airframe = load_airframe(airframe)
        self.num_envs = int(num_envs)
        sight = 0 if self._sees is None else SIGHT_DIM + self._sees.model.layout.numbers
        self.single_observation_space = observation_space(obs, sight=sight)
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        sees, aim = self._sees, SETPOINT_AIM
        if sees is not None:
            aim = Aim(COURSE_ROWS + sees.plot.rows, task.goal, sees=sees)
        self._world = RelayWorld(self.airframe, action == "rpm", substep_s, threads, aim)
        self._camera = Camera()
        self._lanes: Lanes | None = None
        self._spare: Lanes | None = None
        self._used = 0

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw new flights for all drones. seed: one for all of them."""
        if isinstance(seed, list):
            raise ConfigError("seed is a list; all drones draw from one generator, give one whole number")
        super().reset(seed=seed)
        self._lanes, self._spare, self._camera = self._drawn(self.num_envs), None, Camera()
        return self._observe(self._lanes), self._info(self._lanes)

    def set_conditions(self, conditions: Conditions) -> None:
        """Draw later flights under these conditions; where they have one IMU rate, all drones fly at it from now on.

        Raises `ConfigError` for those that only PyBullet flies, and for a flow grid where there was none, or none now.
        """
        self._check(conditions)
        self.conditions, self._spare = conditions, None
        if self._lanes is not None and conditions.imu_hz[0] == conditions.imu_hz[1]:
            self._lanes.state.constants[CONSTANTS["imu_hz"]] = conditions.imu_hz[0]

    def step(self, actions: Any) -> tuple[Observation, Array, npt.NDArray[np.bool_], npt.NDArray[np.bool_], Any]:
        """Fly every drone to its next IMU event. Raises `SimulationError` out of turn or for bad actions."""
        lanes = self._flying()
        values = read_actions(actions, (self.num_envs, 4), ACTION_MODES[self.action_mode].meaning)
        command = self._command(lanes, values.T)
        flew = lanes.released
        self._camera = advance(self._world, lanes, self._camera, command, self.conditions, self.np_random)
        moment = self._moment(lanes)
        reward, terminated, truncated, success = self._judged(lanes, moment, flew)
        observation = self._observe(lanes, moment)
        over = terminated | truncated
        info: dict[str, Any] = {}
        if over.any():
            described = self.task.describe(NUMPY_OPS, tuple(lanes.memory), moment)
            final = {"success": success}  # in copies: what is remembered is about to begin anew
            final |= {name: np.array(np.broadcast_to(value, over.shape)) for name, value in described.items()}
            info = {"final_obs": _copied(observation), "_final_obs": over, "final_info": final, "_final_info": over}
            self._relaunch(lanes, np.flatnonzero(over), observation)
        return observation, reward, terminated, truncated, self._info(lanes) | info

    def relaunch(self, index: npt.NDArray[np.intp]) -> Observation:
        """New flights for the drones at index, before their flights are over; returns what all drones see."""
        lanes = self._flying()
        observation = self._observe(lanes)
        if len(index):
            self._relaunch(lanes, index, observation)
        return observation

    def snapshot(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """The flights under way, as arrays by name, and the random generator, as plain data.

        Flights drawn ahead are not in it: `set_conditions` before the next step, here and after `restore`, and both
        fly on in the same way.
        """
        camera = {"camera": np.array(astuple(self._camera))} if self._sees is not None else {}
        return self._flying().tables() | camera, dict(self.np_random.bit_generator.state)

    def restore(self, tables: Mapping[str, npt.NDArray[Any]], generator: dict[str, Any]) -> Observation:
        """Go on from a `snapshot`; returns what the drones see.

        Raises `ConfigError` for one of another environment.
        """
        try:
            lanes = Lanes.of_tables(tables)
            camera = Camera(*tables["camera"].tolist()) if self._sees is not None else Camera()
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"the snapshot lacks a part ({error}); give one of this environment") from error
        if lanes.count != self.num_envs:
            raise ConfigError(f"the snapshot has {lanes.count} drones, this environment {self.num_envs}")
        for name, table in (self._lanes or self._drawn(1)).tables().items():
            found, wanted = tables[name].shape if name in tables else None, (*table.shape[:-1], self.num_envs)
            if found != wanted:
                raise ConfigError(
                    f"the snapshot's {name} has shape {found}, this environment's {wanted}; give one of an environment "
                    "of the same task and options"
                )
        try:
            self.np_random.bit_generator.state = generator
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigError(f"the snapshot's generator is none ({error}); give the one that came with it") from error
        self._lanes, self._spare, self._camera = lanes, None, camera
        return self._observe(lanes)

    @property
    def moment(self) -> Moment[Any]:
        """The truth about every drone now, arrays (N,). Raises `SimulationError` before the first reset."""
        return self._moment(self._flying())

    def _check(self, conditions: Conditions) -> None:
        check_batched(conditions)
        check_locates(False, conditions)
        check_sees(self._sees is not None, conditions)

    def _flying(self) -> Lanes:
        if self._lanes is None:
            raise SimulationError("no flights are under way; call reset() before step()")
        return self._lanes

    def _drawn(self, n: int) -> Lanes:
        """n drones in the hand."""
        rng = self.np_random
        flights: Flights = draw_flights(self.airframe, self.conditions, n, rng, self.duration_s)
        flights = self.task.launch(flights, self.airframe)
        course: Course = self.task.course(flights, self.duration_s, rng)
        memory = np.tile(np.array(self.task.begin, dtype=np.float64)[:, None], (1, n))
        state = self._world.reset(flights, rng, course if self._sees is not None else None)
        return Lanes(state, course, memory, Tracks.begin(n), np.zeros((3, n)), self._world.blind(n))

    def _relaunch(self, lanes: Lanes, index: npt.NDArray[np.intp], observation: Observation) -> None:
        """New flights for the drones at index; writes what they see into the observation."""
        spare = self._spare
        if spare is None or self._used + len(index) > spare.count:
            many = max(LEAST_SPARE, self.num_envs // SPARE_SHARE, len(index))
            spare, self._used = self._drawn(many), 0
            self._spare = spare
        fresh = spare.rows(slice(self._used, self._used + len(index)))
        self._used += len(index)
        lanes.put(index, fresh)
        for target, new in zip(_tables(observation), _tables(self._observe(fresh)), strict=True):
            target[index] = new

    def _command(self, lanes: Lanes, action: Array) -> Array:
        """What the engine takes, (4, N), for actions (4, N)."""
        a = (action[0], action[1], action[2], action[3])
        if self.action_mode == "rpm":
            return np.stack(motor_speeds(a))
        if self.action_mode == "ctbr":
            thrust, rates = from_action(self.limits, a)
            return np.stack([thrust, *rates])
        moment, old = self._moment(lanes), lanes.integral_m_s2
        wanted = wanted_velocity(NUMPY_OPS, a, moment.body)
        gains, integral = VELOCITY_GAINS, (old[0], old[1], old[2])
        command, summed = velocity_command(
            NUMPY_OPS, gains, self.limits, moment.body, moment.matrix, wanted, integral, moment.dt_s
        )
        lanes.integral_m_s2 = np.where(lanes.released, np.stack(summed), old)
        return np.stack(np.broadcast_arrays(command[0], *command[1]))

    def _moment(self, lanes: Lanes) -> Moment[Any]:
        return moment_of(lanes, self.task, self.airframe, self.duration_s)

    def _judged(
        self, lanes: Lanes, moment: Moment[Any], flew: npt.NDArray[np.bool_]
    ) -> tuple[Array, npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """(reward, terminated, truncated, success); brings what is remembered of the flights up to date."""
        task, ops = self.task, NUMPY_OPS
        memory, lost, done = task.judge(ops, tuple(lanes.memory), moment)
        if memory:
            lanes.memory = np.where(flew, np.stack(np.broadcast_arrays(*memory)), lanes.memory)
        finite = lanes.finite
        crash = flew & ((np.broadcast_to(lost, flew.shape) > 0.5) | ~finite)
        landed = flew & ~crash & (np.broadcast_to(done, flew.shape) > 0.5)
        terminated = crash | landed
        truncated = flew & ~terminated & (moment.since_release_s >= self.duration_s)
        earned = np.where(flew & finite, task.reward_per_s(ops, moment) * moment.dt_s, 0.0)
        reward = earned + CRASH_REWARD * crash + DONE_REWARD * landed
        flown = np.broadcast_to(task.succeeded(ops, tuple(lanes.memory)), flew.shape) > 0.5
        return reward.astype(np.float64), terminated, truncated, landed | (truncated & flown)

    def _observe(self, lanes: Lanes, moment: Moment[Any] | None = None) -> Observation:
        moment = self._moment(lanes) if moment is None else moment
        if self.obs == "state":
            return rows(assemble_state(moment), lanes.count)
        seen = rows(sensed(self._world, lanes, self.task, moment, self.conditions.faults), lanes.count)
        return {"sensors": seen, "state": rows(assemble_state(moment), lanes.count)} if self.obs == "both" else seen

    def _info(self, lanes: Lanes) -> dict[str, Any]:
        return {"dt_s": lanes.state.clock("dt_s"), "released": lanes.released}


def _tables(observation: Observation) -> list[Float32]:
    return list(observation.values()) if isinstance(observation, dict) else [observation]


def _copied(observation: Observation) -> Observation:
    if isinstance(observation, dict):
        return {name: table.copy() for name, table in observation.items()}
    return observation.copy()
