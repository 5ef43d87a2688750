"""What the onboard memory of many drones takes and holds, as tensors; its clock is that of `envs.fault_effects`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from envs.batched_ops import TORCH_OPS
from envs.batched_state import BatchedState, Channel, detach, vec3
from envs.fault_effects import ahead_s, fits_clock, unheard
from envs.faults import Fault
from envs.task import Goal, turn_of, turned
from liquid_pilot.geometry import heading
from liquid_pilot.observation import INITIAL_AGE_S, Held, Located, located


def fits_of(state: BatchedState, faults: Sequence[Fault]) -> Callable[[Channel], Tensor]:
    """Whether it takes the sample under way until the next IMU event, by its stamp."""
    imu_stamp_s = state.t_s - state.imu.silent_s + state.imu.ahead_s

    def fits(channel: Channel) -> Tensor:
        times = (channel.pending_stamp_s, channel.held_stamp_s, imu_stamp_s, state.release_s)
        taken: Tensor = fits_clock(TORCH_OPS, faults, *times)
        return taken

    return fits


def forget(channel: Channel, moved: Tensor) -> Channel:
    """As if the sensor had not spoken, where the onboard memory has moved to another clock; the value stays held."""
    stamp = torch.where(moved, -torch.inf, channel.held_stamp_s)
    return replace(channel, held_stamp_s=stamp, fresh=channel.fresh & ~moved)


def _ages(state: BatchedState, faults: Sequence[Fault]) -> Callable[[Tensor], Tensor]:
    """Age of what was stamped at a time, by the onboard clock."""
    now_s, dtype = state.t_s + state.imu.ahead_s, state.body.position_m[2].dtype

    def age(stamp_s: Tensor) -> Tensor:
        if unheard(faults):
            stamp_s = stamp_s + ahead_s(TORCH_OPS, faults, stamp_s, state.release_s)
        return (now_s - stamp_s).clamp(min=0.0, max=INITIAL_AGE_S).to(dtype)

    return age


def located_of(state: BatchedState, goal: Goal[Tensor], faults: Sequence[Fault]) -> Located[Tensor]:
    """What the position sensor says of the goal. The heading, off by the flight's error, has no gradient."""
    channel, error = state.sensors.place, state.constants["heading_error_rad"]
    place, speed = vec3(channel.held[:3]), vec3(channel.held[3:])
    compass = turned(heading(TORCH_OPS, detach(state.body).attitude_wxyz), turn_of(TORCH_OPS, error))
    known, age_s = (state.imu.silent_s == 0.0).to(error.dtype), _ages(state, faults)(channel.held_stamp_s)
    target, fresh = goal.point, channel.fresh * known
    return located(TORCH_OPS, place, speed, age_s, fresh, target.position_m, target.velocity_m_s, compass)


def held_of(state: BatchedState, goal: Goal[Tensor], faults: Sequence[Fault]) -> Held[Tensor]:
    """Newest sensor values with freshness and age. Where an IMU sample was refused nothing is fresh."""
    s, dtype = state.sensors, state.body.position_m[2].dtype
    known, age = (state.imu.silent_s == 0.0).to(dtype), _ages(state, faults)
    return Held(
        dt_s=state.imu.step_s.to(dtype),
        gyro_rad_s=s.gyro_rad_s,
        accel_m_s2=s.accel_m_s2,
        accel_fresh=s.accel_fresh * known,
        accel_age_s=age(s.accel_stamp_s),
        flow_rate_rad_s=(s.flow.held[0], s.flow.held[1]),
        flow_quality=s.flow.held[2],
        flow_fresh=s.flow.fresh * known,
        flow_age_s=age(s.flow.held_stamp_s),
        range_m=s.range.held[0],
        range_fresh=s.range.fresh * known,
        range_age_s=age(s.range.held_stamp_s),
        setpoint_velocity_m_s=goal.velocity_m_s,
        setpoint_height_m=goal.height_m,
        setpoint_yaw_rate_rad_s=goal.yaw_rate_rad_s,
    )
