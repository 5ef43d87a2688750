"""What goes into and comes out of a compiled rollout, and the C structure that carries it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from envs.compiled.state import Clocks, Reals, RolloutState


@dataclass(frozen=True, slots=True)
class NetworkSource:
    """A network as C text.

    text: enums NET_STATE, NET_OUTPUTS, NET_WEIGHTS, NET_TAPE, NET_DELTA, NET_BLOCK; functions net_step, net_vjp,
    net_gradient. state_width, outputs, weights: their sizes again. every_event: stepped and listened to even where the
    IMU sample was refused. features: of its encoder, which has enums ENC_OUT, ENC_TAPE, ENC_DELTA, ENC_WEIGHTS and
    functions enc_step, enc_vjp, enc_gradient, and whose weights, counted in, are the last.
    """

    text: str
    state_width: int
    outputs: int
    weights: int
    every_event: bool = False
    features: int = 0


@dataclass(frozen=True, slots=True)
class Draw:
    """The randomness of T control steps of B drones: intervals dt_s (T, B) in seconds, and noise.

    noise: None = drawn in the rollout from `seed`, each drone a stream of its own; or (normal (T, n, B),
    uniform (T, u, B)), n and u by `envs.compiled.world.noise_rows`, with rows as `envs.batched_sensors.StepNoise` names
    them. looks: (T,) of drones that see, see `envs.compiled.sight.looks`.
    """

    dt_s: Clocks
    noise: tuple[Reals, Reals] | None = None
    seed: int = 0
    looks: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True)
class Objective:
    """How the cost of events adds up: weighed by dt, and by `early_weight` until `early_s` after release."""

    cost_weights: tuple[float, ...]
    early_s: float = 0.6
    early_weight: float = 0.3


@dataclass(frozen=True, slots=True)
class Lanes:
    """What goes on from call to call. h (state_width, B), action (outputs, B): those of the network.

    sight: of drones that see, (rows, B), see `envs.compiled.sight.blind`.
    """

    world: RolloutState
    h: Reals
    action: Reals
    sight: Reals | None = None


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """What a rollout came to.

    cost: summed over events and lanes; weight: what it was weighed by. gradient: of `loss` in the flat weights,
    (weights,), or None. branches: signature of the ways a drone's selects and clamps went, (B,), if watched.
    """

    cost: float
    weight: float
    gradient: npt.NDArray[np.float64] | None
    lanes: Lanes
    branches: npt.NDArray[np.uint32] | None = None

    @property
    def loss(self) -> float:
        """Mean cost per second of flight."""
        return self.cost / max(self.weight, 1e-3)


class Job(ctypes.Structure):
    """`Job` of records.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in (
            "steps", "all_substeps", "lanes", "first_group", "last_group", "gradients", "faults", "scoring",
            "every_event", "grids",
        )),
        ("seed", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in (
            "substeps", "dt_s", "normal", "uniform", "constants", "course", "delays", "counted", "values", "clocks",
            "h", "action", "weights", "cost_weights", "settings", "fault_table", "looks", "sight", "imu_events",
            "totals", "gradient", "ledger", "trouble", "workspace", "branches",
        )),
    )  # fmt: skip
