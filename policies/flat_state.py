"""`BatchedState` (torch, named) to and from `RolloutState` (numpy, flat): the same drones for both engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from envs.batched_state import BatchedState, Channel, SensorState
from envs.compiled.state import (
    ACTUATORS,
    BODY,
    CLOCK_ROWS,
    CLOCKS,
    CONSTANT_ROWS,
    DELAY_ROWS,
    VALUES,
    RolloutState,
)
from envs.compiled.tracer import flatten, unflatten
from envs.conditions import HISTORY
from envs.fault_effects import ImuTimes

_CHANNEL_CLOCKS: Final = ("next_s", "window_start_s", "pending_stamp_s", "deliver_s", "held_stamp_s")


def pack(state: BatchedState) -> RolloutState:
    """The flat arrays of a batched state, in its dtype."""
    s = state.sensors

    def channel(c: Channel) -> list[Tensor]:
        return [*c.pending, *c.held, c.fresh]

    values = [
        *flatten((state.body, state.actuators, state.acceleration_m_s2, state.gusts)),
        *flatten((state.gyro_bias_rad_s, state.accel_bias_m_s2, s.gyro_rad_s, s.accel_m_s2)),
        s.accel_fresh,
        *s.gyro_sum,
        s.gyro_count,
        *s.flow_integral_rad,
        *s.flow_reading,
        *channel(s.flow),
        *channel(s.range),
        *channel(s.place),
        *state.commands.reshape(4 * HISTORY, -1),
    ]
    clocks = [state.t_s, state.dt_s, state.release_s, s.accel_stamp_s]
    clocks += [getattr(c, name) for c in (s.flow, s.range, s.place) for name in _CHANNEL_CLOCKS]
    imu = torch.stack(flatten(state.imu))
    constants = [state.constants[name].reshape(width, -1) for name, width in CONSTANT_ROWS]
    delays = [torch.atleast_2d(state.constants[name]) for name, _ in DELAY_ROWS]
    real = state.body.position_m[2].dtype
    return RolloutState(
        torch.cat(constants).detach().numpy(),
        torch.cat(delays).detach().numpy(),
        state.course.detach().numpy(),
        torch.stack([v.detach().to(real) for v in values]).numpy(),
        torch.cat([torch.stack(clocks), state.command_times_s, imu]).detach().numpy(),
    )


def _named(rows: Any, widths: Sequence[tuple[str, int]]) -> dict[str, Tensor]:
    whole = torch.from_numpy(np.ascontiguousarray(rows))
    parts = whole.split([width for _, width in widths])
    return {name: part if width > 1 else part[0] for (name, width), part in zip(widths, parts, strict=True)}


def unpack(state: RolloutState) -> BatchedState:
    """Inverse of `pack`. The tensors share the memory of the arrays where these are contiguous."""
    constants = _named(state.constants, CONSTANT_ROWS) | _named(state.delays, DELAY_ROWS)
    v = torch.from_numpy(np.ascontiguousarray(state.values))
    k = torch.from_numpy(np.ascontiguousarray(state.clocks))
    rows: dict[str, Any] = {name: v[at].unbind() for name, at in VALUES.items()}
    clock = {name: k[CLOCKS[name]] if width > 1 else k[CLOCKS[name].start] for name, width in CLOCK_ROWS}

    def channel(name: str) -> Channel:
        times = {field: clock[f"{name}.{field}"] for field in _CHANNEL_CLOCKS}
        pending, held = (v[VALUES[f"{name}.{part}"]] for part in ("pending", "held"))
        return Channel(pending=pending, held=held, fresh=rows[f"{name}.fresh"][0] > 0.5, **times)

    sensors = SensorState(
        gyro_rad_s=rows["gyro_rad_s"],
        accel_m_s2=rows["accel_m_s2"],
        accel_stamp_s=clock["accel_stamp_s"],
        accel_fresh=rows["accel_fresh"][0] > 0.5,
        gyro_sum=rows["gyro_sum"],
        gyro_count=rows["gyro_count"][0],
        flow_integral_rad=rows["flow_integral_rad"],
        flow_reading=v[VALUES["flow_reading"]],
        flow=channel("flow"),
        range=channel("range"),
        place=channel("place"),
    )
    for name in ("flow", "range", "position"):
        constants[f"{name}_phase"] = torch.zeros_like(clock["t_s"])  # spent at the launch
    body: Any = unflatten(BODY, rows["body"])
    actuators: Any = unflatten(ACTUATORS, rows["actuators"])
    return BatchedState(
        constants=constants,
        course=torch.from_numpy(np.ascontiguousarray(state.course)),
        t_s=clock["t_s"],
        dt_s=clock["dt_s"],
        release_s=clock["release_s"],
        body=body,
        actuators=actuators,
        acceleration_m_s2=rows["acceleration_m_s2"],
        gusts=rows["gusts"],
        gyro_bias_rad_s=rows["gyro_bias_rad_s"],
        accel_bias_m_s2=rows["accel_bias_m_s2"],
        commands=v[VALUES["commands"]].reshape(4, HISTORY, -1),
        command_times_s=clock["command_times_s"],
        sensors=sensors,
        imu=ImuTimes(*k[CLOCKS["imu"]].unbind()),
    )
