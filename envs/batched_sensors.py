"""Scheduling of the slow sensors for many drones at once; the readings come from `envs.sensors`.

Windows close and samples are taken on substeps, samples arrive after their latency, losses and
outages silence them: the same rules as `envs.sensor_events` for one drone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from envs.batched_ops import TORCH_OPS
from envs.batched_state import Channel, SensorState, choose, vec3
from envs.conditions import Conditions
from envs.fault_effects import ImuEvent, flow_spike, range_spike, total_change
from envs.sensors import (
    FlowModel,
    PositionModel,
    SensorModels,
    flow_quality,
    range_returns,
    read_flow,
    read_place,
    read_range,
    slant_distance,
    true_flow,
)
from liquid_pilot.geometry import Matrix3
from liquid_pilot.observation import INITIAL_AGE_S, INITIAL_RANGE_M
from liquid_pilot.ops import Vec2, Vec3

EPS_S = 1e-9
Fits = Callable[[Channel], Tensor] | None  # whether the onboard memory takes a sample by its stamp; None: always


@dataclass(frozen=True, slots=True)
class PlaceNoise:
    """Of a position sensor in one control step."""

    position: Vec3[Tensor]  # standard normal, each (B,)
    velocity: Vec3[Tensor]
    loss: Tensor  # uniform in 0..1, each (B,)
    jitter: Tensor


@dataclass(frozen=True, slots=True)
class StepNoise:
    """All random numbers of one control step, so that engines can be compared on the same draw.

    Where two windows of a sensor close in one step (IMU slower than the sensor), they share their draw.
    """

    gust: Vec3[Tensor]  # standard normal, each (B,)
    gyro_walk: Vec3[Tensor]
    accel_walk: Vec3[Tensor]
    gyro: Vec3[Tensor]
    accel: Vec3[Tensor]
    flow: Vec2[Tensor]
    range: Tensor
    flow_loss: Tensor  # uniform in 0..1, each (B,)
    flow_jitter: Tensor
    range_loss: Tensor
    range_jitter: Tensor
    place: PlaceNoise | None = None  # where there is a position sensor


def step_noise(normal: Tensor, uniform: Tensor) -> StepNoise:
    """Name the rows of normal and uniform numbers, so many as `envs.compiled.model.noise_rows` says."""
    n, u = normal.unbind(), uniform.unbind()
    located = len(u) > 4
    return StepNoise(
        (n[0], n[1], n[2]),
        (n[3], n[4], n[5]),
        (n[6], n[7], n[8]),
        (n[9], n[10], n[11]),
        (n[12], n[13], n[14]),
        (n[15], n[16]),
        n[17],
        u[0],
        u[1],
        u[2],
        u[3],
        PlaceNoise((n[18], n[19], n[20]), (n[21], n[22], n[23]), u[4], u[5]) if located else None,
    )


@dataclass(frozen=True, slots=True)
class Motion:
    """True motion at the end of one substep, as the downward sensors need it."""

    t_s: Tensor  # (B,) float64
    since_release_s: Tensor  # (B,) float64, negative infinity while held
    position_m: Vec3[Tensor]
    velocity_m_s: Vec3[Tensor]
    matrix: Matrix3[Tensor]
    body_velocity_m_s: Vec3[Tensor]
    rates_rad_s: Vec3[Tensor]
    fits: Fits = None


def initial_channel(hz: Tensor, phase: Tensor, held: Tensor) -> Channel:
    """A sensor that has not spoken yet."""
    zero = torch.zeros_like(phase)
    return Channel(
        next_s=phase / hz,
        window_start_s=zero,
        pending=held,
        pending_stamp_s=zero,
        deliver_s=zero + torch.inf,
        held=held,
        held_stamp_s=zero - INITIAL_AGE_S,
        fresh=zero > 1.0,
    )


def initial_sensors(constants: dict[str, Tensor], gyro: Vec3[Tensor], accel: Vec3[Tensor]) -> SensorState:
    """At t = 0, with the first IMU sample already read."""
    zero = torch.zeros_like(constants["mass_kg"])
    t, hz = torch.zeros_like(constants["flow_phase"]), constants["position_hz"]
    place = initial_channel(hz.clamp(min=1e-9), constants["position_phase"], torch.stack([zero] * 6))
    return SensorState(
        gyro_rad_s=gyro,
        accel_m_s2=accel,
        accel_stamp_s=t,
        accel_fresh=t < 1.0,
        gyro_sum=(zero, zero, zero),
        gyro_count=zero,
        flow_integral_rad=(zero, zero),
        flow_reading=torch.stack([zero, zero, zero]),
        flow=initial_channel(constants["flow_hz"], constants["flow_phase"], torch.stack([zero, zero, zero])),
        range=initial_channel(constants["range_hz"], constants["range_phase"], torch.stack([zero + INITIAL_RANGE_M])),
        place=replace(place, next_s=torch.where(hz > 0.0, place.next_s, torch.inf)),
    )


def deliver(channel: Channel, t_s: Tensor, fits: Fits = None) -> Channel:
    """Hold the sample under way where it has arrived by t."""
    due = channel.deliver_s <= t_s + EPS_S
    taken = due & fits(channel) if fits else due
    return replace(
        channel,
        held=torch.where(taken, channel.pending, channel.held),
        held_stamp_s=torch.where(taken, channel.pending_stamp_s, channel.held_stamp_s),
        deliver_s=torch.where(due, torch.inf, channel.deliver_s),
        fresh=channel.fresh | taken,
    )


def _close(
    channel: Channel,
    closing: Tensor,
    heard: Tensor,
    sample: Tensor,
    motion: Motion,
    latency_s: Tensor,
    period_s: Tensor,
) -> Channel:
    """End the window of the closing lanes; where `heard`, send its sample on its way."""
    t_s = motion.t_s
    channel = deliver(channel, t_s, motion.fits)
    sent = closing & heard
    following = channel.next_s + period_s
    following = torch.where(following <= t_s, t_s + period_s, following)
    return replace(
        channel,
        next_s=torch.where(closing, following, channel.next_s),
        window_start_s=torch.where(closing, t_s, channel.window_start_s),
        pending=torch.where(sent, sample, channel.pending),
        pending_stamp_s=torch.where(sent, t_s, channel.pending_stamp_s),
        deliver_s=torch.where(sent, t_s + latency_s, channel.deliver_s),
    )


def _struck(conditions: Conditions, part: str, modes: Sequence[str], since: Tensor) -> Tensor:
    """Lanes in which a part fails in one of these modes."""
    struck: Tensor = torch.zeros_like(since) + total_change(TORCH_OPS, conditions.faults, part, modes, since) > 0.5
    return struck


def _frozen(name: str, channel: Channel, conditions: Conditions, since: Tensor) -> Tensor:
    """Lanes whose sensor repeats itself; one that has not spoken yet has nothing to repeat."""
    return _struck(conditions, name, ("freeze",), since) & (channel.pending_stamp_s > 0.0)


def _spike_size(name: str, conditions: Conditions, since: Tensor, like: Tensor) -> Tensor | None:
    """How wrong a sample of a burst is now, or None where none was asked for."""
    size = total_change(TORCH_OPS, conditions.faults, name, ("spike",), since)
    return size.to(like.dtype) if isinstance(size, Tensor) else None


def hold_imu(
    state: SensorState,
    conditions: Conditions,
    reading: tuple[Vec3[Tensor], Vec3[Tensor]],
    t_s: Tensor,
    since: Tensor,
    event: ImuEvent[Tensor] | None = None,
) -> SensorState:
    """Take in an IMU sample (gyro, accelerometer); it counts into the flow window that ends at the same instant.

    event: how the onboard memory takes it, where faults make that a question.
    """
    stuck, off = _struck(conditions, "gyro", ("freeze",), since), _struck(conditions, "accel", ("off",), since)
    kept = off | _struck(conditions, "accel", ("freeze",), since)

    def held(mask: Tensor, old: Vec3[Tensor], new: Vec3[Tensor]) -> Vec3[Tensor]:
        a, b, c = (torch.where(mask, o, n) for o, n in zip(old, new, strict=True))
        return a, b, c

    gyro, total, count = held(stuck, state.gyro_rad_s, reading[0]), state.gyro_sum, state.gyro_count
    accel_stamp_s = state.accel_stamp_s
    if event is not None:
        zero = torch.zeros_like(count)
        total, count = held(event.restarted, (zero, zero, zero), total), torch.where(event.restarted, zero, count)
        accel_stamp_s = torch.where(event.moved, -torch.inf, accel_stamp_s)
    heard = replace(
        state,
        gyro_rad_s=gyro,
        accel_m_s2=held(kept, state.accel_m_s2, reading[1]),
        accel_stamp_s=torch.where(off, accel_stamp_s, t_s),
        accel_fresh=~off,
        gyro_sum=(total[0] + gyro[0], total[1] + gyro[1], total[2] + gyro[2]),
        gyro_count=count + 1.0,
    )
    return heard if event is None else choose(event.refused, state, heard)


def _heard(name: str, conditions: Conditions, constants: dict[str, Tensor], since: Tensor, chance: Tensor) -> Tensor:
    """Lanes whose sample is neither lost nor silenced by an outage or a fault."""
    start, end = constants[f"{name}_outage_s"]
    silent = (since >= start) & (since < end) | _struck(conditions, name, ("off", "nan"), since)
    heard: Tensor = ~silent & (chance >= constants[f"{name}_dropout"])
    return heard


def _jittered_period(hz: Tensor, jitter: float, unit: Tensor) -> Tensor:
    period: Tensor = (1.0 + jitter * (2.0 * unit.double() - 1.0)) / hz.double()
    return period


def sense_substep(
    state: SensorState,
    constants: dict[str, Tensor],
    conditions: Conditions,
    models: SensorModels,
    motion: Motion,
    h_s: Tensor,
    noise: StepNoise,
) -> SensorState:
    """Integrate flow over one substep of h seconds; close windows and sample where it is time."""
    ops, flow_model, range_model = TORCH_OPS, models.flow, models.range
    distance = slant_distance(ops, motion.position_m[2], motion.matrix)
    fx, fy = true_flow(motion.body_velocity_m_s, motion.rates_rad_s, distance)
    integral = (state.flow_integral_rad[0] + fx * h_s, state.flow_integral_rad[1] + fy * h_s)
    state = replace(state, flow_integral_rad=integral)
    closing = motion.t_s >= state.flow.next_s - EPS_S
    if bool(closing.any()):
        state = _close_flow(state, constants, conditions, flow_model, motion, (closing, distance), noise)
    closing = motion.t_s >= state.range.next_s - EPS_S
    if bool(closing.any()):
        since, unit = motion.since_release_s, noise.range_loss
        frozen = _frozen("range", state.range, conditions, since)
        returns = frozen | (range_returns(ops, range_model, distance) > 0.5)
        heard = returns & _heard("range", conditions, constants, since, unit)
        period = _jittered_period(constants["range_hz"], conditions.sensor_jitter, noise.range_jitter)
        sample = read_range(range_model, distance, noise.range * constants["noise_scale"])[None]
        size = _spike_size("range", conditions, since, distance)
        sample = sample if size is None else sample + range_spike(ops, unit, size)
        sample = torch.where(frozen, state.range.pending, sample)
        latency = constants["range_latency_s"]
        state = replace(state, range=_close(state.range, closing, heard, sample, motion, latency, period))
    if noise.place is not None:
        state = _close_place(state, constants, conditions, models.position, motion, noise.place)
    return state


def _close_place(
    state: SensorState,
    constants: dict[str, Tensor],
    conditions: Conditions,
    model: PositionModel,
    motion: Motion,
    noise: PlaceNoise,
) -> SensorState:
    """Measure and send the place of the lanes whose period is over."""
    closing, since = motion.t_s >= state.place.next_s - EPS_S, motion.since_release_s
    if not bool(closing.any()):
        return state
    bias, normal = vec3(constants["position_bias_m"]), (noise.position, noise.velocity)
    place, speed = read_place(model, motion.position_m, motion.velocity_m_s, bias, normal)
    size = _spike_size("position", conditions, since, place[0])
    if size is not None:
        place = (place[0] + flow_spike(TORCH_OPS, noise.loss, size)[0], place[1], place[2])
    frozen = _frozen("position", state.place, conditions, since)
    sample = torch.where(frozen, state.place.pending, torch.stack([*place, *speed]))
    silent = _struck(conditions, "position", ("off", "nan"), since)
    heard = ~silent & (noise.loss >= constants["position_dropout"])
    period = _jittered_period(constants["position_hz"].clamp(min=1e-9), conditions.sensor_jitter, noise.jitter)
    latency = constants["position_latency_s"]
    return replace(state, place=_close(state.place, closing, heard, sample, motion, latency, period))


def _close_flow(
    state: SensorState,
    constants: dict[str, Tensor],
    conditions: Conditions,
    model: FlowModel,
    motion: Motion,
    closing_distance: tuple[Tensor, Tensor],
    noise: StepNoise,
) -> SensorState:
    """Measure, compensate and send the flow of the closing lanes; start their next window."""
    closing, distance = closing_distance
    dtype = distance.dtype
    window = (motion.t_s - state.flow.window_start_s).to(dtype).clamp(min=1e-6)
    mean = (state.flow_integral_rad[0] / window, state.flow_integral_rad[1] / window)
    quality = flow_quality(TORCH_OPS, model, constants["texture"], distance, mean)
    n = (noise.flow[0] * constants["noise_scale"], noise.flow[1] * constants["noise_scale"])
    x, y = read_flow(TORCH_OPS, model, mean, quality, constants["flow_scale"], n)
    some, count = state.gyro_count > 0.5, state.gyro_count.clamp(min=1.0)
    wx = torch.where(some, state.gyro_sum[0] / count, state.gyro_rad_s[0])
    wy = torch.where(some, state.gyro_sum[1] / count, state.gyro_rad_s[1])
    since, frozen = motion.since_release_s, _frozen("flow", state.flow, conditions, motion.since_release_s)
    size = _spike_size("flow", conditions, since, distance)
    if size is not None:
        x, y = (part + wrong for part, wrong in zip((x, y), flow_spike(TORCH_OPS, noise.flow_loss, size), strict=True))
    reading = torch.where(frozen, state.flow_reading, torch.stack([x, y, quality]))
    heard = (reading[2] > 0) & _heard("flow", conditions, constants, since, noise.flow_loss)
    period = _jittered_period(constants["flow_hz"], conditions.sensor_jitter, noise.flow_jitter)
    sample = torch.stack([reading[0] + wy, reading[1] - wx, reading[2]])
    keep: Any = (~closing).to(dtype)
    return replace(
        state,
        flow=_close(state.flow, closing, heard, sample, motion, constants["flow_latency_s"], period),
        flow_reading=torch.where(closing & heard, reading, state.flow_reading),
        flow_integral_rad=(state.flow_integral_rad[0] * keep, state.flow_integral_rad[1] * keep),
        gyro_sum=(state.gyro_sum[0] * keep, state.gyro_sum[1] * keep, state.gyro_sum[2] * keep),
        gyro_count=state.gyro_count * keep,
    )
