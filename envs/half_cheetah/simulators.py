"""The two simulators behind one protocol, each stepped by any number of physics frames with its own reward.

Rewards are those of the original environments, so that calls of the usual length give the original return: progress is
summed as it is, what is earned or paid by the call is weighed by its frames over the usual ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import BuiltinFunctionType, ModuleType
from typing import Any, Final, Protocol

import gymnasium
import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import ConfigError, MissingExtraError, SimulationError, unknown_name

Array = npt.NDArray[np.float64]


class Simulator(Protocol):
    """A cheetah. usual_frames: of a call of the original environment; frame_s: seconds of one frame."""

    usual_frames: int
    frame_s: float

    def reset(self, seed: int) -> Array:
        """Stand up anew; the original environment's observation."""
        ...

    def advance(self, action: Array, frames: int) -> tuple[Array, float]:
        """Hold an action (6,) in -1..1 for so many frames; observation, and reward as of the top of this file."""
        ...

    def place_m(self) -> float:
        """How far the torso has come, along x."""
        ...

    def render(self) -> npt.NDArray[np.uint8]:
        """A picture (height, width, 3)."""
        ...

    def close(self) -> None:
        """Free the simulator."""
        ...


class _Client:
    """PyBullet's functions, bound to a physics client of our own."""

    def __init__(self, pybullet: ModuleType) -> None:
        self.number, self._pybullet = pybullet.connect(pybullet.DIRECT), pybullet

    def __getattr__(self, name: str) -> Any:
        """Bound once, then found without this."""
        found = getattr(self._pybullet, name)
        if isinstance(found, BuiltinFunctionType):
            found = partial(found, physicsClientId=self.number)
        self.__dict__[name] = found
        return found


class BulletCheetah:
    """`HalfCheetahBulletEnv-v0` of pybullet-envs-gymnasium: 4 frames of 4.125 ms a call."""

    usual_frames, frame_s = 4, 0.0165 / 4

    def __init__(self) -> None:
        try:
            import pybullet
            from pybullet_envs_gymnasium.gym_locomotion_envs import HalfCheetahBulletEnv
        except ImportError as error:
            raise MissingExtraError(
                "pybullet-envs-gymnasium is not installed; run `make setup`, or pip install 'liquid-pilot[sim]'"
            ) from error
        make: Any = HalfCheetahBulletEnv
        self._env: Any = make(render_mode="rgb_array")
        # Left to itself the environment first looks for a physics server of somebody else.
        client: Any = _Client(pybullet)
        client.resetSimulation()
        client.setPhysicsEngineParameter(deterministicOverlappingPairs=1)
        self._env._p, self._env.physicsClientId, self._env.ownsPhysicsClient = client, client.number, True
        self.reset(0)  # the very first episode of an environment measures its place from other parts than later ones

    def reset(self, seed: int) -> Array:
        """See `Simulator`."""
        observation, _ = self._env.reset(seed=seed)
        self._frames = 0  # what a reset leaves in the engine is of the usual length
        return np.asarray(observation, np.float64)

    def advance(self, action: Array, frames: int) -> tuple[Array, float]:
        """See `Simulator`. A call of many frames is the same physics as many calls of one.

        What it shows of contacts is older: the original environment asks for them after it has taken its observation,
        so that they are those at the end of the call before, however long that was.
        """
        if frames != self._frames:
            self._env._p.setPhysicsEngineParameter(
                fixedTimeStep=self.frame_s * frames,
                numSolverIterations=self._env.scene.cpp_world.numSolverIterations,
                numSubSteps=frames,
            )
            self._frames = frames
        observation, *_ = self._env.step(action)
        alive, progress, electricity, limits, feet = self._env.rewards
        weight = frames / self.usual_frames
        if frames == self.usual_frames:
            return np.asarray(observation, np.float64), sum(self._env.rewards)
        return np.asarray(observation, np.float64), progress + weight * (alive + electricity + limits + feet)

    def place_m(self) -> float:
        """See `Simulator`."""
        return float(self._env.robot.body_real_xyz[0])

    def render(self) -> npt.NDArray[np.uint8]:
        """See `Simulator`."""
        picture: npt.NDArray[np.uint8] = self._env.render()
        return picture

    def close(self) -> None:
        """See `Simulator`."""
        self._env.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MuJoCo's warnings off the terminal, and its file MUJOCO_LOG.TXT out of the folder that we are in."""
    import mujoco

    module: Any = mujoco  # whose own list of names leaves these out
    before = module.get_mju_user_warning()
    module.set_mju_user_warning(lambda _: None)
    try:
        yield
    finally:
        module.set_mju_user_warning(before)


class MujocoCheetah:
    """gymnasium's `HalfCheetah-v5`: 5 frames of 10 ms a call."""

    usual_frames, frame_s = 5, 0.01

    def __init__(self) -> None:
        try:
            import mujoco  # noqa: F401  # in vain where it is not installed, whatever gymnasium makes of that
            from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
        except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
            raise MissingExtraError("MuJoCo is not installed; pip install 'liquid-pilot[mujoco]'") from error
        with _quiet():
            self._env: Any = HalfCheetahEnv(render_mode="rgb_array", width=640, height=480)

    def reset(self, seed: int) -> Array:
        """See `Simulator`."""
        observation, _ = self._env.reset(seed=seed)
        return np.asarray(observation, np.float64)

    def advance(self, action: Array, frames: int) -> tuple[Array, float]:
        """See `Simulator`."""
        self._env.frame_skip = frames
        with _quiet():
            observation, reward, *_ = self._env.step(action)
        weight = frames / self.usual_frames
        return np.asarray(observation, np.float64), float(reward) * weight

    def place_m(self) -> float:
        """See `Simulator`."""
        return float(self._env.data.qpos[0])

    def render(self) -> npt.NDArray[np.uint8]:
        """See `Simulator`. Raises `SimulationError` on a computer without the graphics that MuJoCo looks for."""
        try:
            picture: npt.NDArray[np.uint8] = self._env.render()
        except Exception as error:  # each graphics library has its own
            raise SimulationError(
                f"MuJoCo cannot draw here ({error}); set MUJOCO_GL=egl, or MUJOCO_GL=osmesa, and start again"
            ) from error
        return picture

    def close(self) -> None:
        """See `Simulator`."""
        self._env.close()


SIMULATORS: Final[dict[str, type[BulletCheetah] | type[MujocoCheetah]]] = {
    "pybullet": BulletCheetah,
    "mujoco": MujocoCheetah,
}
USUAL_CALLS: Final = 1000  # of an episode


def make_simulator(name: str) -> Simulator:
    """A simulator by name. Raises `ConfigError` for an unknown one, `MissingExtraError` where it is not installed."""
    if name not in SIMULATORS:
        raise ConfigError(unknown_name("simulator", name, list(SIMULATORS)))
    return SIMULATORS[name]()
