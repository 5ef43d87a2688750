"""The compiled world under commands from outside: many drones, one control step a call."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from envs.airframe import Airframe
from envs.compiled.engine import CompiledRollout
from envs.compiled.job import Draw, Lanes, NetworkSource, Objective
from envs.compiled.model import EventCost, WorldModel
from envs.compiled.sight import Steps, blind
from envs.compiled.state import VALUES, Clocks, Reals, RolloutState, reset
from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import RELEASE_THRUST, Flights
from envs.task import SETPOINT_AIM, Aim, Course
from liquid_pilot.command import CommandLimits
from liquid_pilot.errors import ConfigError

AS_IT_IS: Final = CommandLimits((-1.0, 1.0), (1.0, 1.0, 1.0))  # an action is the command itself
FREE: Final = EventCost(1, lambda ops, weights, body, *_: 0.0 * body.position_m[2])
# A network whose action is its state, which it keeps: commands come in from outside.
_TEXT: Final = """
enum { NET_STATE = 4, NET_OUTPUTS = 4, NET_WEIGHTS = 1, NET_TAPE = 1, NET_DELTA = 1, NET_BLOCK = 1 };
static void net_step(const LP_REAL *w, const V *x, const V *h, V dt_s, V *tape, V *h_next, V *action) {
    (void)w, (void)x, (void)dt_s, (void)tape;
    for (int i = 0; i < NET_STATE; ++i) h_next[i] = action[i] = h[i];
}
static void net_vjp(
    const LP_REAL *w, const V *tape, V dt_s, const V *bar_h_next, const V *bar_action, V *delta, V *bar_x, V *bar_h
) {
    (void)w, (void)tape, (void)dt_s, (void)delta, (void)bar_x;
    for (int i = 0; i < NET_STATE; ++i) bar_h[i] = bar_h_next[i] + bar_action[i];
}
static void net_gradient(int count, const V *const *tapes, const V *delta, V *gradient) {
    (void)count, (void)tapes, (void)delta, (void)gradient;
}
"""
# Its encoder where it sees: whoever commands is shown the grid itself.
_BLANK: Final = """
enum { ENC_OUT = 1, ENC_TAPE = LP_GRID + 1, ENC_DELTA = 1, ENC_WEIGHTS = 1 };
#define ENC_OUT ENC_OUT
#define ENC_PER_M_S 0
static void enc_step(const LP_REAL *w, V *tape, V *features) { (void)w, (void)tape, features[0] = v_set(0); }
static void enc_vjp(const LP_REAL *w, const V *tape, const V *bar_features, V *delta) {
    (void)w, (void)tape, (void)bar_features, (void)delta;
}
static void enc_gradient(int grids, const V *const *tapes, const V *delta, V *gradient) {
    (void)grids, (void)tapes, (void)delta, (void)gradient;
}
"""
RELAY: Final = NetworkSource(_TEXT, 4, 4, 1, every_event=True)
SEEING_RELAY: Final = NetworkSource(_TEXT + _BLANK, 4, 4, 2, every_event=True, features=1)


class RelayWorld:
    """Drones of one airframe under commands (4, B): thrust_m_s2 and rates_rad_s or, with `motors`, motor speeds.

    Motor speeds are fractions of full and pass the rate loop by. Held drones ignore commands; a command takes effect
    after the flight's latency. aim: of drones that see, which step by `step_seeing`. Raises `NativeUnavailable`
    without a C compiler.
    """

    def __init__(
        self,
        airframe: Airframe,
        motors: bool = False,
        substep_s: float = SUBSTEP_S,
        threads: int = 1,
        aim: Aim = SETPOINT_AIM,
    ) -> None:
        self.airframe, self.motors = airframe, motors
        self.model = WorldModel(airframe, AS_IT_IS, FREE, motors=motors, aim=aim)
        network = RELAY if aim.sees is None else SEEING_RELAY
        self._rollout = CompiledRollout(self.model, network, substep_s=substep_s, threads=threads)
        self._weights = np.zeros(network.weights, self._rollout.dtype)
        self._idle = Objective((0.0,) * FREE.weights)

    def reset(self, flights: Flights, rng: np.random.Generator, course: Course | None = None) -> RolloutState:
        """Every drone in the hand at t = 0. course: the drawn set-points if not given."""
        state = reset(self.airframe, flights, rng, np.float32, course)
        if self.motors:  # they keep their speed until the first command takes effect
            state.values[VALUES["commands"]] = math.sqrt(RELEASE_THRUST)
        return state

    def blind(self, drones: int) -> Reals:
        """What is remembered of a grid before the first, see `envs.compiled.sight.blind`."""
        assert self.model.aim.sees is not None
        return blind(self.model.aim.sees, SEEING_RELAY.features, drones, self._rollout.dtype)

    def step(self, state: RolloutState, command: Any, conditions: Conditions, dt_s: Clocks, seed: int) -> RolloutState:
        """Run to the next IMU event, dt_s (B,) later; the state given is not changed. Noise follows from the seed.

        Raises `SimulationError` for a command that is not finite, `ConfigError` for shapes that do not fit.
        """
        return self._run(state, None, command, conditions, Draw(dt_s[None], seed=seed)).world

    def step_seeing(
        self,
        state: RolloutState,
        sight: Reals,
        command: Any,
        conditions: Conditions,
        dt_s: Clocks,
        seed: int,
        looks: Steps,
    ) -> tuple[RolloutState, Reals]:
        """As `step`, with what is remembered of the grid. looks: (1,), see `envs.compiled.sight.looks`."""
        lanes = self._run(state, sight, command, conditions, Draw(dt_s[None], seed=seed, looks=looks))
        assert lanes.sight is not None
        return lanes.world, lanes.sight

    def _run(self, state: RolloutState, sight: Reals | None, command: Any, conditions: Conditions, draw: Draw) -> Lanes:
        given: Reals = np.asarray(command, self._rollout.dtype)
        if given.shape != (4, len(state)):
            raise ConfigError(f"the command has shape {given.shape}; {(4, len(state))} is needed for these drones")
        lanes = Lanes(state, given, given, sight)
        return self._rollout.run(lanes, self._weights, draw, conditions, self._idle, gradients=False).lanes
