"""A flight made of formulas and a policy made of noise, for tests that need neither simulator nor training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from envs.trace import FlightTrace
from liquid_pilot.bundle import make_bundle, make_selftest, save_bundle
from liquid_pilot.cells import weight_shapes
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.observation import OBS_DIM
from policies.network import hover_spec


def synthetic_trace(units: int = 19, flight_s: float = 10.0, imu_hz: float = 100.0, seed: int = 0) -> FlightTrace:
    """A tilted launch that dies away exponentially, with one second of silent flow at 6 s after release."""
    rng = np.random.default_rng([seed])
    release = 0.5
    t = np.arange(0.0, release + flight_s, 1.0 / imu_hz)
    n, after = len(t), np.maximum(t - release, 0.0)
    flying = t >= release
    velocity = np.stack([np.exp(-1.2 * after) * 1.3, -np.exp(-0.9 * after) * 0.8, 0.5 * np.exp(-after) - 0.2], 1)
    velocity[:, 2] = np.where(flying, -1.4 * np.exp(-1.5 * after) * np.cos(2.5 * after), 0.0)
    velocity += rng.normal(0.0, 0.02, velocity.shape)
    velocity[~flying] = 0.0
    position = np.cumsum(velocity, axis=0) / imu_hz + np.array([0.0, 0.0, 1.6])
    half = 0.5 * np.deg2rad(35.0) * np.exp(-2.0 * after)
    attitude = np.stack([np.cos(half), np.sin(half) * 0.8, np.sin(half) * 0.6, 0.0 * half], 1)
    times = {
        "imu": t,
        "flow": np.arange(0.02, t[-1], 1 / 40.0),
        "range": np.arange(0.01, t[-1], 1 / 30.0),
    }
    times["flow"] = times["flow"][(times["flow"] < 6.5) | (times["flow"] > 7.5)]
    tau = np.geomspace(0.02, 3.0, units)
    drive = np.sin(t[:, None] * np.linspace(0.5, 6.0, units) + np.arange(units))
    hidden = drive * np.exp(-0.4 * after)[:, None] + 0.05 * rng.normal(size=(n, units))
    zeros = np.zeros((n, 3))
    return FlightTrace(
        release_s=release,
        t_s=t,
        position_m=position,
        velocity_m_s=velocity,
        attitude_wxyz=attitude,
        rates_rad_s=zeros,
        setpoint_velocity_m_s=np.zeros((n, 2)),
        setpoint_height_m=np.full(n, 1.2),
        thrust_m_s2=9.81 + 3.0 * np.exp(-after) * np.cos(3 * after) + rng.normal(0.0, 0.2, n),
        command_rates_rad_s=np.exp(-1.5 * after)[:, None] * np.array([2.0, -1.0, 0.3]) + rng.normal(0, 0.1, (n, 3)),
        wind_m_s=zeros + np.array([0.5, 0.2, 0.0]),
        observation=np.zeros((n, OBS_DIM)),
        hidden=np.clip(hidden, -1.0, 1.0) if units else np.zeros((n, 0)),
        time_constant_s=tau * np.exp(0.3 * drive) if units else np.zeros((n, 0)),
        lowest_m=float(position[flying, 2].min()),
        highest_m=float(position[flying, 2].max()),
        arrivals_s=times,
        supervisor=((0.0, "READY"), (0.5, "ACTIVE"), (8.5, "DEGRADED"), (8.9, "ACTIVE")),
    )


def write_random_policy(path: Path, seed: int = 0, scale: float = 0.02) -> Path:
    """A policy file that is valid and cannot fly: small random weights. Other tests compile its size too."""
    rng = np.random.default_rng([seed])
    spec = hover_spec("decay")
    weights = {name: rng.normal(0.0, scale, shape).astype(np.float32) for name, shape in weight_shapes(spec).items()}
    bundle = make_bundle(
        "random",
        "hover",
        spec,
        weights,
        DEFAULT_LIMITS,
        make_selftest(spec, weights, rng),
        trained_rates_hz={name: [20.0, 200.0] for name in ("imu", "flow", "range")},
        sensor_limits_s={"imu": 0.1, "flow": 2.0, "range": 2.0},
        setpoint_limits={"speed_m_s": 0.0, "height_m": [0.8, 1.5], "yaw_rate_rad_s": 0.0},
        airframe="cf2x",
        training={"config": {"updates": 2}, "seed": seed, "commit": "unknown", "minutes": 0.0, "updates": 1},
    )
    return save_bundle(path, bundle)
