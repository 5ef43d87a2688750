"""CompiledRollout: many drones through many control steps in one call, with the gradient in the weights.

The same world as `envs.batched_quad.BatchedQuad`, traced and compiled. The network comes as C text (its step
and its derivative, see `NetworkSource`) and as one flat array of weights; the engine knows no cell.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from envs.compiled.emit import prelude
from envs.compiled.faults import fault_rows, imu_events
from envs.compiled.job import Draw, Job, Lanes, NetworkSource, Objective, RolloutResult
from envs.compiled.model import WorldModel, noise_rows
from envs.compiled.sight import ARRIVES, sight_rows
from envs.compiled.state import CLOCKS, Reals
from envs.compiled.tracer import flatten
from envs.compiled.world import world_source
from envs.conditions import SUBSTEP_S, Conditions, check_batched, check_locates, check_sees
from envs.ledger import LEDGER, Ledger
from envs.scoring import HOVER_RULE, MEASURE_AFTER_S, Rule
from envs.sensors import SensorModels
from liquid_pilot.errors import ConfigError, SimulationError
from liquid_pilot.native import best_lane_bytes, build

PARTS: Final = ("lanes.c", "noise.c", "records.c", "onboard.c", "sight.c", "forward.c", "backward.c", "rollout.c")


class CompiledRollout:
    """One compiled world and network.

    dtype: float32, or float64 for proofs. lane_bytes: 16, 32 or 64; chosen for the processor if not given.
    threads: lane groups are split among them; results do not depend on it. watch_branches: results say which way
    every drone's selects went and, with gradients, its minima and maxima; equal in float32 and float64 where no branch
    differs. Raises `NativeUnavailable` without a C compiler.
    """

    def __init__(
        self,
        model: WorldModel,
        network: NetworkSource,
        dtype: type[np.floating[Any]] = np.float32,
        lane_bytes: int | None = None,
        substep_s: float = SUBSTEP_S,
        threads: int = 1,
        watch_branches: bool = False,
    ) -> None:
        self.model, self.network, self.dtype, self.substep_s = model, network, np.dtype(dtype), substep_s
        self.lane_bytes = lane_bytes or best_lane_bytes()
        self.group = self.lane_bytes // self.dtype.itemsize
        self.threads, self.watch_branches = check_threads(threads), watch_branches
        self._libraries: dict[SensorModels, ctypes.CDLL] = {}
        self._library = self._compiled(model.sensors)
        self._scratch: list[npt.NDArray[np.uint8]] = []  # of each thread

    def _sight_shape(self, batch: int) -> tuple[int, int] | None:
        sees = self.model.aim.sees
        return None if sees is None else (sight_rows(sees, self.network.features), batch)

    @property
    def noise_rows(self) -> tuple[int, int]:
        """Standard normal and uniform numbers of a control step."""
        return noise_rows(self.model.aim.locates)

    def _compiled(self, sensors: SensorModels) -> ctypes.CDLL:
        """The world with these sensors, compiled when it is first flown."""
        if sensors not in self._libraries:
            real = "float" if self.dtype == np.float32 else "double"
            world = world_source(replace(self.model, sensors=sensors))
            parts = [prelude(self.lane_bytes, real, self.watch_branches), world, self.network.text]
            parts += [(Path(__file__).parent / part).read_text("utf-8") for part in PARTS]
            library = build("\n".join(parts), "rollout")
            library.lp_rollout.restype = library.lp_workspace.restype = ctypes.c_int64
            library.lp_workspace.argtypes = (ctypes.c_int64,) * 4
            self._libraries[sensors] = library
        return self._libraries[sensors]

    def run(
        self,
        lanes: Lanes,
        weights: Reals,
        draw: Draw,
        conditions: Conditions,
        objective: Objective,
        gradients: bool = True,
        counted: npt.NDArray[np.bool_] | None = None,
    ) -> RolloutResult:
        """Fly the control steps of `draw`. The lanes given are not changed.

        counted: (B,), the drones that cost and gradient are of; all if not given. Raises
        `SimulationError` where a command is not finite, naming drone and step; `ConfigError` for arrays or conditions
        that do not fit.
        """
        return self._fly(lanes, weights, draw, conditions, objective, gradients, counted, None, math.inf, HOVER_RULE)

    def score(
        self,
        lanes: Lanes,
        weights: Reals,
        draw: Draw,
        conditions: Conditions,
        ledger: Ledger,
        duration_s: float,
        rule: Rule = HOVER_RULE,
    ) -> Lanes:
        """Fly without gradients and keep score of flights that last `duration_s` after release.

        ledger: (len(LEDGER), B) as `envs.ledger.new_ledger` makes it; brought up to date in place. A flight whose
        command is not finite has failed: it goes on with the command before, and the others do not notice.
        """
        if ledger.shape != (len(LEDGER), len(lanes.world)):
            raise ConfigError(f"ledger has shape {ledger.shape}; {(len(LEDGER), len(lanes.world))} is needed")
        spare = Objective((0.0,) * self.model.cost.weights)
        return self._fly(lanes, weights, draw, conditions, spare, False, None, ledger, duration_s, rule).lanes

    def _fly(
        self,
        lanes: Lanes,
        weights: Reals,
        draw: Draw,
        conditions: Conditions,
        objective: Objective,
        gradients: bool,
        counted: npt.NDArray[np.bool_] | None,
        ledger: Ledger | None,
        duration_s: float,
        rule: Rule,
    ) -> RolloutResult:
        batch, steps = len(lanes.world), len(draw.dt_s)
        counted = np.ones(batch, np.bool_) if counted is None else counted
        self._check(lanes, weights, draw, conditions, objective, counted)
        padded = -(-batch // self.group) * self.group
        groups = padded // self.group
        substeps = np.ceil(draw.dt_s.max(axis=1, initial=0.0) / self.substep_s - 1e-9).astype(np.int32)
        faults = fault_rows(conditions.faults)
        given = [self._lanes(part, padded) for part in draw.noise or ()]
        shown = np.zeros((len(LEDGER), batch)) if ledger is None else ledger
        world = lanes.world
        events, imu = imu_events(world, draw.dt_s, substeps, conditions)
        arrays: dict[str, npt.NDArray[Any]] = {
            "substeps": substeps,
            "dt_s": self._lanes(draw.dt_s, padded, np.float64),
            **({} if draw.noise is None else dict(zip(("normal", "uniform"), given, strict=True))),
            "constants": self._lanes(world.constants, padded),
            "course": self._lanes(world.course, padded),
            "delays": self._lanes(world.delays, padded, np.float64),
            "counted": np.pad(counted, (0, padded - batch)).astype(self.dtype),
            "values": self._lanes(world.values, padded, copy=True),
            "clocks": self._lanes(world.clocks, padded, np.float64, copy=True),
            "h": self._lanes(lanes.h, padded, copy=True),
            "action": self._lanes(lanes.action, padded, copy=True),
            "weights": np.ascontiguousarray(weights, self.dtype),
            "cost_weights": np.array(objective.cost_weights, np.float64),
            "settings": _settings(conditions, objective, duration_s, rule),
            "fault_table": faults,
            **({} if draw.looks is None else {"looks": np.ascontiguousarray(draw.looks, np.int32)}),
            **({} if lanes.sight is None else {"sight": self._lanes(lanes.sight, padded, copy=True)}),
            **({} if events is None else {"imu_events": self._lanes(events, padded, np.float64)}),
            "totals": np.zeros((groups, 2)),
            "gradient": np.zeros((groups if gradients else 0, self.network.weights)),
            "ledger": self._lanes(shown, padded, np.float64, copy=True),
            "trouble": np.zeros((groups, 2), np.int64),
            "branches": np.zeros(padded if self.watch_branches else 0, np.uint32),
        }
        numbers = {
            "steps": steps,
            "all_substeps": int(substeps.sum()),
            "lanes": padded,
            "gradients": int(gradients),
            "faults": len(faults),
            "scoring": int(ledger is not None),
            "every_event": int(self.network.every_event),
            "grids": 0 if draw.looks is None else int((draw.looks & ARRIVES != 0).sum()),
            "seed": draw.seed % 2**64,
        }
        self._call(self._compiled(conditions.sensors), numbers, arrays)
        if ledger is not None:
            ledger[...] = arrays["ledger"][:, :batch]
        totals = arrays["totals"].sum(axis=0)
        cost, weight = float(totals[0]), float(totals[1])
        arrays["clocks"][CLOCKS["imu"], :batch] = flatten(imu)
        kept = replace(world, values=arrays["values"][:, :batch], clocks=arrays["clocks"][:, :batch])
        gradient = arrays["gradient"].sum(axis=0) / max(weight, 1e-3) if gradients else None
        sight = arrays["sight"][:, :batch] if "sight" in arrays else None
        flown = Lanes(kept, arrays["h"][:, :batch], arrays["action"][:, :batch], sight)
        return RolloutResult(cost, weight, gradient, flown, arrays["branches"][:batch] if self.watch_branches else None)

    def _call(self, library: ctypes.CDLL, numbers: Mapping[str, int], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        groups = numbers["lanes"] // self.group
        threads = min(self.threads, groups)
        self._scratch += [np.empty(0, np.uint8)] * (threads - len(self._scratch))
        sizes = (numbers["steps"], numbers["all_substeps"], bool(numbers["gradients"]), numbers["grids"])
        size = self.workspace_bytes(*sizes)
        pointers = {name: array.ctypes.data for name, array in arrays.items()}

        def part(index: int) -> None:
            first, last = (groups * i // threads for i in (index, index + 1))
            if self._scratch[index].size < size + 64:
                self._scratch[index] = np.empty(size + 64, np.uint8)
            address = -(-self._scratch[index].ctypes.data // 64) * 64
            job = Job(**numbers, **pointers, first_group=first, last_group=last, workspace=address)
            library.lp_rollout(ctypes.byref(job))

        if threads == 1:
            part(0)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(part, range(threads)))
        for step, lane in arrays["trouble"]:
            if lane >= 0:
                raise SimulationError(
                    f"the command of drone {lane} is not finite at step {step} of {numbers['steps']}; "
                    "the policy or its state has diverged"
                )

    def workspace_bytes(self, steps: int, substeps: int, gradients: bool = True, grids: int = 0) -> int:
        """Scratch memory of one thread for control steps of so many substeps in all; drone groups use it in turn.

        grids: that are heard on the way.
        """
        return (
            int(self._library.lp_workspace(steps, substeps, int(gradients), grids)) * self.group * self.dtype.itemsize
        )

    def noise(self, seed: int, steps: int, batch: int) -> tuple[Reals, Reals]:
        """What a rollout draws from a seed, as `Draw.noise` has it: for a second engine on the same numbers."""
        padded = -(-batch // self.group) * self.group
        normal, uniform = (np.empty((steps, rows, padded), self.dtype) for rows in self.noise_rows)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (normal, uniform))
        self._library.lp_noise(ctypes.c_uint64(seed % 2**64), ctypes.c_int64(steps), ctypes.c_int64(padded), *pointers)
        return normal[..., :batch], uniform[..., :batch]

    def _lanes(self, array: npt.NDArray[Any], padded: int, dtype: Any = None, copy: bool = False) -> npt.NDArray[Any]:
        """The array in rows of `padded` lanes; further lanes repeat the last one and count for nothing."""
        dtype, missing = dtype or self.dtype, padded - array.shape[-1]
        if missing:
            return np.concatenate([array, np.repeat(array[..., -1:], missing, axis=-1)], axis=-1, dtype=dtype)
        return np.array(array, dtype=dtype, order="C") if copy else np.ascontiguousarray(array, dtype)

    def _check(
        self,
        lanes: Lanes,
        weights: Reals,
        draw: Draw,
        conditions: Conditions,
        objective: Objective,
        counted: npt.NDArray[np.bool_],
    ) -> None:
        batch, steps = len(lanes.world), len(draw.dt_s)
        shapes = {
            "weights": (weights.shape, (self.network.weights,)),
            "h": (lanes.h.shape, (self.network.state_width, batch)),
            "action": (lanes.action.shape, (self.network.outputs, batch)),
            "course": (lanes.world.course.shape, (self.model.aim.rows, batch)),
            "dt_s": (draw.dt_s.shape, (steps, batch)),
            "counted": (counted.shape, (batch,)),
            "sight": (None if lanes.sight is None else lanes.sight.shape, self._sight_shape(batch)),
            "looks": (None if draw.looks is None else draw.looks.shape, (steps,) if self.model.aim.sees else None),
            "cost_weights": ((len(objective.cost_weights),), (self.model.cost.weights,)),
        }
        for name, part, rows in zip(("normal", "uniform"), draw.noise or (), self.noise_rows, strict=False):
            shapes[name] = (part.shape, (steps, rows, batch))
        for name, (found, wanted) in shapes.items():
            if found != wanted:
                raise ConfigError(f"{name} has shape {found}; {wanted} is needed for these lanes, steps and network")
        if batch == 0 or not bool((draw.dt_s > 0).all() and np.isfinite(draw.dt_s).all()):
            raise SimulationError("a rollout needs at least one drone and intervals that are positive and finite")
        check_batched(conditions)
        check_locates(self.model.aim.locates, conditions)
        check_sees(self.model.aim.sees is not None, conditions)


def check_threads(threads: object) -> int:
    """The number of threads. Raises `ConfigError` unless it is a whole number from 1 on."""
    if isinstance(threads, bool) or not isinstance(threads, Integral) or threads < 1:
        raise ConfigError(f"threads is {threads!r}; give a whole number, at least one")
    return int(threads)


def _settings(conditions: Conditions, objective: Objective, duration_s: float, rule: Rule) -> npt.NDArray[np.float64]:
    """The numbers that the first enum of records.c names."""
    tilt = math.cos(math.radians(rule.tilt_limit_deg))
    measure_after_s = min(MEASURE_AFTER_S, duration_s / 2.0)
    times = (conditions.hold_s, conditions.sensor_jitter, conditions.gyro_walk_rad_s2)
    early = (objective.early_s, objective.early_weight)
    crossing = (rule.crosses_m, conditions.grid_dropout[1])
    return np.array([*times, *early, duration_s, rule.tilt_after_s, tilt, measure_after_s, *crossing])
