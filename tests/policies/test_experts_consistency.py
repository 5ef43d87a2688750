"""The Kalman filter in flight: its errors are as large as its covariance says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.launch import HandLaunch
from envs.pybullet_quad import PyBulletQuad
from liquid_pilot.geometry import multiply, rotation_matrix
from liquid_pilot.ops import Vec4
from policies.experts.ekf import Array, EkfState, error_of
from policies.experts.pid_ekf import PidEkfPilot


def flown_errors(conditions: Conditions, n: int, seconds: float) -> tuple[Array, Array]:
    """Normalised squared errors (flights, 4 parts of the flight) of all 13 and of attitude, velocity and height."""
    airframe, edges = load_airframe("cf2x"), np.linspace(0.1, seconds, 5)
    flights, all13, seven = draw_flights(airframe, conditions, n, np.random.default_rng(7)), [], []
    with PyBulletQuad(airframe) as quad:
        for i in range(n):
            launch = HandLaunch(quad, flights.rows(slice(i, i + 1)), conditions, np.random.default_rng([7, i]))
            pilot, rows = PidEkfPilot(airframe), list[tuple[float, float, float]]()
            pilot.feed(launch.setpoint)
            messages, heading = launch.first_messages(), None
            while not launch.released or launch.flight_time_s < seconds:
                for message in messages:
                    command = pilot.feed(message)
                    if command is not None:
                        launch.issue((command.thrust_m_s2, command.rates_rad_s), message.t_s)
                state = pilot.estimator.state
                assert state is not None
                heading = heading if heading is not None else heading_between(launch, state)
                if launch.released and launch.flight_time_s > edges[0]:
                    error, p = errors(launch, flights.gyro_bias_rad_s[i], flights.accel_bias_m_s2[i], state, heading)
                    part = slice(0, 7)
                    rows.append(
                        (
                            launch.flight_time_s,
                            float(error @ np.linalg.solve(p, error)),
                            float(error[part] @ np.linalg.solve(p[part, part], error[part])),
                        )
                    )
                messages = launch.advance()
            table = np.array(rows)
            bins = np.digitize(table[:, 0], edges[1:-1])
            all13.append([table[bins == k, 1].mean() for k in range(4)])
            seven.append([table[bins == k, 2].mean() for k in range(4)])
    return np.array(all13), np.array(seven)


def heading_between(launch: HandLaunch, state: EkfState) -> float:
    """Heading of the filter's world in the true one; nothing measures it."""
    turn = np.array(rotation_matrix(launch.body.attitude_wxyz)) @ np.array(rotation_matrix(state.attitude_wxyz)).T
    return math.atan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])


def errors(
    launch: HandLaunch, gyro_bias: Array, accel_bias: Array, state: EkfState, heading: float
) -> tuple[Array, Array]:
    """All 13 errors and their covariance, the truth seen from the filter's world."""
    body = launch.body
    back: Vec4[float] = (math.cos(heading / 2), 0.0, 0.0, -math.sin(heading / 2))
    velocity = np.array(rotation_matrix(back)) @ np.array(body.velocity_m_s)
    seven = error_of(state, multiply(back, body.attitude_wxyz), velocity, body.position_m[2])
    error = np.concatenate([seven, gyro_bias - state.gyro_bias_rad_s, accel_bias - state.accel_bias_m_s2])
    return error, state.covariance


@pytest.mark.parametrize("imu_hz", [40.0, 100.0])
def test_errors_are_as_large_as_the_covariance_says(imu_hz: float) -> None:
    """Over flights the mean normalised squared error is the number of errors, within what n flights let it scatter.

    A flight's mean is one draw of a chi-squared variable at worst (errors that never change), so that the mean of n
    has a standard deviation of sqrt(2 k / n) at most; two of them are allowed.
    """
    n, conditions = 24, Conditions(imu_hz=(imu_hz, imu_hz), noise_scale=(1.0, 1.0), gyro_walk_rad_s2=0.0)
    for found, k in zip(flown_errors(conditions, n, 2.0), (13, 7), strict=True):
        assert (np.abs(found.mean(axis=0) - k) < 2.0 * math.sqrt(2.0 * k / n)).all(), found.mean(axis=0)
