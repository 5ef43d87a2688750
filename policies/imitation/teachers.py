"""Teachers: experts with privileged state, policy files and stable-baselines3 models, for many drones at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import torch

from envs.airframe import Airframe
from envs.physics import Body
from envs.references import ReferencePoint
from envs.state_observation import STATE_FIELDS, STATE_SLICES
from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits, from_action, to_action
from liquid_pilot.errors import ConfigError, TrainingError
from liquid_pilot.geometry import Matrix3
from liquid_pilot.ops import Vec3, Vec4
from policies.experts.following import Tracker
from policies.experts.geometric import NUMPY_ANGLES, GeometricGains, Wanted, geometric_command
from policies.experts.pid import PidController, pid_gains
from policies.network import PolicyNetwork

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]

_SCALES: Final = {field.name: field.scale for field in STATE_FIELDS}


@dataclass(frozen=True, slots=True)
class Sight:
    """What N drones show at their newest IMU events.

    sensors: (N, OBS_DIM) and state: (N, STATE_DIM) as of `envs`. dt_s: (N,) since each one's event before. released:
    (N,), let go.
    """

    sensors: F32
    state: F32
    dt_s: Array
    released: Mask

    def __len__(self) -> int:
        return len(self.dt_s)

    def truth(self, name: str) -> Array:
        """A field of the state in its unit, (width, N)."""
        found: Array = self.state[:, STATE_SLICES[name]].T.astype(np.float64) * _SCALES[name]
        return found


class Teacher(Protocol):
    """Says what to do. name: for records; sha256: of the policy file that it is, else empty."""

    name: str
    sha256: str

    def reset(self, drones: int) -> None:
        """So many new flights."""
        ...

    def act(self, sight: Sight) -> Array:
        """Actions (N, 4) in [-1, 1] under `DEFAULT_LIMITS`, asked at every IMU event from the hand on."""
        ...


def asked(teacher: Teacher, sight: Sight) -> F32:
    """The teacher's actions, cut to [-1, 1]. Raises `TrainingError` for a wrong shape and what is not finite."""
    return checked_actions(teacher.name, np.asarray(teacher.act(sight)), len(sight))


def checked_actions(name: str, found: npt.NDArray[Any], drones: int) -> F32:
    """Actions of an expert of that name for so many drones, cut to [-1, 1]. Raises as `asked`."""
    if found.shape != (drones, 4) or found.dtype.kind != "f":
        raise TrainingError(
            f"expert {name!r} answers {drones} drones with an array of shape {found.shape} and type "
            f"{found.dtype}; it must be ({drones}, 4) real numbers in [-1, 1]"
        )
    if not np.isfinite(found).all():
        drone = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise TrainingError(
            f"expert {name!r} answers drone {drone} with {found[drone].tolist()}; choose an expert whose "
            "actions are finite"
        )
    actions: F32 = np.clip(found, -1.0, 1.0).astype(np.float32)
    return actions


def _actions(limits: CommandLimits, thrust_m_s2: Any, rates_rad_s: Vec3[Any]) -> Array:
    return np.stack(np.broadcast_arrays(*to_action(limits, thrust_m_s2, rates_rad_s)), axis=1)


def _matrix(sight: Sight) -> Matrix3[Array]:
    r = sight.truth("rotation")
    return (r[0], r[1], r[2]), (r[3], r[4], r[5]), (r[6], r[7], r[8])


def _wanted(sight: Sight) -> Wanted:
    """What the set-point asks for; a velocity that turns with the heading accelerates."""
    ahead, (vx, vy, vz) = sight.truth("target_offset_m"), sight.truth("velocity_m_s")
    (ux, uy, uz), turn = sight.truth("target_velocity_m_s"), sight.truth("setpoint_yaw_rate_rad_s")[0]
    return Wanted(
        (ahead[0], ahead[1], ahead[2]), (ux - vx, uy - vy, uz - vz), (-turn * uy, turn * ux, 0.0 * turn), turn
    )


class GeometricTeacher:
    """`policies.experts.geometric` for many drones: the same control law, on arrays."""

    name, sha256 = "geometric", ""

    def __init__(self, gains: GeometricGains | None = None) -> None:
        self.gains = gains or GeometricGains()
        self.reset(0)

    def reset(self, drones: int) -> None:
        """Forget the flights."""
        self._integral = np.zeros((3, drones))
        self._asked = np.zeros(drones, np.bool_)

    def act(self, sight: Sight) -> Array:
        """See `Teacher.act`; in the hand nothing is integrated."""
        dt_s = np.where(self._asked & sight.released, sight.dt_s, 0.0)
        self._asked = sight.released.copy()
        old = (self._integral[0], self._integral[1], self._integral[2])
        (thrust, rates), integral = geometric_command(
            NUMPY_ANGLES, self.gains, DEFAULT_LIMITS, _matrix(sight), _wanted(sight), old, dt_s
        )
        self._integral = np.where(sight.released, np.stack(integral), self._integral)
        return _actions(DEFAULT_LIMITS, thrust, rates)


class TrackerTeacher:
    """Any controller of one drone, one a drone."""

    sha256 = ""

    def __init__(self, name: str, make: Callable[[], Tracker]) -> None:
        self.name, self._make = name, make
        self.reset(0)

    def reset(self, drones: int) -> None:
        """A new controller for every drone."""
        self._trackers = [self._make() for _ in range(drones)]
        self._t_s = np.zeros(drones)

    def act(self, sight: Sight) -> Array:
        """See `Teacher.act`; a drone in the hand is answered with no rotation and half the thrust."""
        self._t_s = self._t_s + sight.dt_s
        matrix, wanted = np.stack([np.stack(row) for row in _matrix(sight)]), _wanted(sight)
        speed, rates = sight.truth("velocity_m_s"), sight.truth("rates_rad_s")
        found = np.zeros((len(sight), 4))
        for i in np.flatnonzero(sight.released):
            (vx, vy, vz), (p, q, r) = speed[:, i].tolist(), rates[:, i].tolist()
            body = Body((0.0, 0.0, 0.0), (vx, vy, vz), quaternion(matrix[:, :, i]), (p, q, r))
            ahead, acceleration = _three(wanted.ahead_m, i), _three(wanted.acceleration_m_s2, i)
            fx, fy, fz = _three(wanted.faster_m_s, i)
            point = ReferencePoint(ahead, (vx + fx, vy + fy, vz + fz), acceleration)
            command = self._trackers[i].track(float(self._t_s[i]), body, point, float(wanted.yaw_rate_rad_s[i]))
            found[i] = to_action(DEFAULT_LIMITS, command.thrust_m_s2, command.rates_rad_s)
        return found


def _three(values: Vec3[Any], i: Any) -> Vec3[float]:
    x, y, z = values
    return float(x[i]), float(y[i]), float(z[i])


def quaternion(matrix: Array) -> Vec4[float]:
    """The rotation (3, 3), body -> world, as a unit quaternion wxyz: the column of the greatest weight, normed.

    After Shepperd, "Quaternion from rotation matrix" (1978).
    """
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    rows = (
        (1.0 + a + e + i, h - f, c - g, d - b),
        (h - f, 1.0 + a - e - i, b + d, c + g),
        (c - g, b + d, 1.0 - a + e - i, f + h),
        (d - b, c + g, f + h, 1.0 - a - e + i),
    )
    w, x, y, z = max(enumerate(rows), key=lambda row: row[1][row[0]])[1]
    norm = (w * w + x * x + y * y + z * z) ** 0.5
    return w / norm, x / norm, y / norm, z / norm


class PolicyTeacher:
    """A policy file: its network on the sensors alone, its own command limits."""

    def __init__(self, bundle: Bundle) -> None:
        self.name, self.sha256 = bundle.name, str(bundle.metadata["sha256"])
        self._network, self._limits = PolicyNetwork.from_bundle(bundle), bundle.limits
        self.reset(0)

    def reset(self, drones: int) -> None:
        """Every state at rest."""
        self._h = self._network.initial_state(drones)

    def act(self, sight: Sight) -> Array:
        """See `Teacher.act`."""
        with torch.no_grad():
            seen, dt_s = torch.from_numpy(sight.sensors), torch.from_numpy(sight.dt_s)
            action, self._h = self._network.step(seen, self._h, dt_s)
        a, b, c, d = action.numpy().astype(np.float64).T
        return _actions(DEFAULT_LIMITS, *from_action(self._limits, (a, b, c, d)))


EXPERTS: Final = ("geometric", "pid")


def load_teacher(expert: str, airframe: Airframe) -> Teacher:
    """An expert by name (`EXPERTS`), a shipped policy or the path of one, or a stable-baselines3 model (PATH.zip).

    Raises `ConfigError` or `BundleError`.
    """
    if expert == "geometric":
        return GeometricTeacher()
    if expert == "pid":
        return TrackerTeacher("pid", lambda: PidController(pid_gains(airframe)))
    if expert.endswith(".zip"):
        from policies.imitation.sb3 import file_teacher

        return file_teacher(Path(expert))
    try:
        bundle = load_bundle(expert)
    except ConfigError as error:
        raise ConfigError(f"{error}; or one of the experts {', '.join(EXPERTS)}, or a model's .zip") from error
    _ = bundle.limits  # refuses a policy that flies no drone
    if bundle.metadata["airframe"] != airframe.name:
        raise ConfigError(
            f"policy {bundle.name!r} was trained for airframe {bundle.metadata['airframe']!r}, not {airframe.name!r}; "
            "choose another expert, or --airframe"
        )
    return PolicyTeacher(bundle)
