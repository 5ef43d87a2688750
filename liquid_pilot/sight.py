"""The flow grids of a policy that sees: refused or accepted, and what its network is shown of the newest one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from liquid_pilot.encoder import Encoder, EncoderSpec
from liquid_pilot.errors import LiquidPilotError, MessageError
from liquid_pilot.flow_grid import GridReader
from liquid_pilot.forms import F32
from liquid_pilot.fusion import FusionLimits, SensorMemory
from liquid_pilot.messages import FlowGrid
from liquid_pilot.observation import INITIAL_AGE_S, assemble_sight
from liquid_pilot.supervisor_limits import SupervisorLimits

ANGLE_TOLERANCE_RAD: Final = 1e-3  # by which a ray may point elsewhere than the policy's
AHEAD_S: Final = FusionLimits().ahead_s
LONGEST_WINDOW_S: Final = 0.5
FASTEST_RAD_S: Final = 50.0  # no flow is faster
SATURATED_RAD_S: Final = 8.0  # from here on a flow says no more than "fast"


class Sight:
    """Newest flow grid, as features. Not shared between threads."""

    def __init__(self, spec: EncoderSpec, weights: Mapping[str, F32]) -> None:
        self._spec = spec
        self._encoder = Encoder(spec, weights)
        self._reader = GridReader(spec.grid)
        self.reset()

    def reset(self) -> None:
        """As before the first grid."""
        self._features = (0.0,) * self._spec.features
        self._shown: F32 | None = None
        self._newest: npt.NDArray[np.float64] | None = None  # accepted or not
        self._forget_times()

    def start_clock(self, now_s: float, *, jumped: bool) -> None:
        """The IMU's clock starts, or has changed: stamps of another clock mean nothing, and nothing was seen."""
        if jumped or (self._t_s is not None and self._t_s > now_s + AHEAD_S):
            self._forget_times()

    def _forget_times(self) -> None:
        self._pending: FlowGrid | None = None  # accepted, not yet looked at
        self._t_s: float | None = None
        self._fresh = False

    @property
    def t_s(self) -> float | None:
        """Stamp of the newest accepted grid, None before the first on this clock."""
        return self._t_s

    @property
    def shown(self) -> F32 | None:
        """The grid whose features the network is shown, as the encoder saw it: (numbers,), see `GridReader.read`.

        The same array, which nobody can write to, until another one is shown; None while the network is shown none.
        """
        return self._shown

    def accept(self, grid: FlowGrid, memory: SensorMemory) -> LiquidPilotError | None:
        """Take one grid over; otherwise the record that says why it was dropped."""
        fault = self._fault_of_form(grid, memory)
        if fault is None:
            flow, before = grid.flow_rad_s, self._newest
            self._newest = flow
            fault = _fault_of_flow(flow, before)
        if fault is not None:
            return MessageError(f"FlowGrid dropped: {fault}")
        self._pending, self._t_s, self._fresh = grid, grid.t_s, True
        return None

    def _fault_of_form(self, grid: FlowGrid, memory: SensorMemory) -> str | None:
        own = self._spec.grid
        rows, columns = len(own.elevation_rad), len(own.azimuth_rad)
        found = (len(grid.elevation_rad), len(grid.azimuth_rad))
        if found != (rows, columns):
            return f"it has {found[0]} x {found[1]} rays; this policy sees {rows} x {columns}"
        told, wanted = (g.azimuth_rad + g.elevation_rad for g in (grid, own))
        astray = [abs(a - b) for a, b in zip(told, wanted, strict=True) if not abs(a - b) <= ANGLE_TOLERANCE_RAD]
        if astray:
            return (
                f"a ray points {astray[0]:.4f} rad away from the policy's; at most {ANGLE_TOLERANCE_RAD:g} is allowed: "
                "resample the flow along the policy's rays"
            )
        fault = memory.stamp_fault(grid.t_s, -math.inf if self._t_s is None else self._t_s)
        if fault is None and not 0.0 < grid.dt_s <= LONGEST_WINDOW_S:
            fault = f"its window is {grid.dt_s} s; it must be above 0 and at most {LONGEST_WINDOW_S:g}"
        return fault

    def look(self, memory: SensorMemory, now_s: float, speed_m_s: float, limit_s: float) -> tuple[float, ...]:
        """What follows the observation at the IMU that was just accepted; freshness is spent by it.

        speed_m_s: that is commanded now. A grid that came since the last call is encoded here, once. Where the newest
        is older than limit_s, the network is shown what it was before the first one, which it knows from training.
        """
        grid, self._pending = self._pending, None
        if grid is not None:
            rates = memory.mean_gyro(grid.t_s - grid.dt_s, grid.t_s)
            self._shown = shown = self._reader.read(grid.flow_rad_s, rates)
            shown.flags.writeable = False
            with np.errstate(all="ignore"):  # the controller judges what comes of it
                self._features = tuple(self._encoder.features(shown, speed_m_s).tolist())
        fresh, self._fresh = self._fresh, False
        if self._t_s is None or now_s - self._t_s > limit_s:
            self._shown = None
            return assemble_sight(0.0, INITIAL_AGE_S) + (0.0,) * len(self._features)
        return assemble_sight(float(fresh), self.age_s(now_s)) + self._features

    def age_s(self, now_s: float) -> float:
        """Of the newest accepted grid, `INITIAL_AGE_S` at most and before the first."""
        return INITIAL_AGE_S if self._t_s is None else min(max(now_s - self._t_s, 0.0), INITIAL_AGE_S)

    def why_held(self, memory: SensorMemory, now_s: float, limits: SupervisorLimits) -> str:
        """Why a course is held, that is flown at speed zero: what is too old to fly fast by. "" = it is not."""
        heard = (("flow grid", self._t_s, limits.grid_s), ("attitude", memory.attitude_t_s, limits.attitude_s))
        for name, t_s, limit_s in heard:
            if t_s is None:
                return f"no {name} yet"
            if now_s - t_s > limit_s:
                return f"no {name} for {now_s - t_s:.1f} s"
        return ""


def _fault_of_flow(flow: npt.NDArray[np.float64], before: npt.NDArray[np.float64] | None) -> str | None:
    """Why a sensor that says this cannot be believed. before: what it said last."""
    size = np.fmax(np.abs(flow[..., 0]), np.abs(flow[..., 1]))  # NaN where a ray saw nothing
    seeing = size == size
    rays = int(np.count_nonzero(seeing))
    if not rays:
        return "no ray saw anything: every number is NaN"
    if float(size.max(initial=0.0, where=seeing)) > FASTEST_RAD_S:
        return f"a flow is beyond +-{FASTEST_RAD_S:g} rad/s; give rad/s, and NaN for a ray that saw nothing"
    if not size.any(where=seeing):
        return "every flow is exactly 0, as of a sensor that is off"
    if 2 * int(np.count_nonzero(size >= SATURATED_RAD_S)) > rays:
        return f"more than half of the rays are saturated, at {SATURATED_RAD_S:g} rad/s or more"
    if before is not None and np.array_equal(flow, before, equal_nan=True):
        return "it is the one before once more, to the last bit: the sensor is frozen"
    return None
