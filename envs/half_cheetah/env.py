"""The environment `liquid_pilot/HalfCheetah-v0`: run as far as an episode lasts, called at any rhythm."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt

from envs.half_cheetah.rhythm import REGULAR, Rhythm
from envs.half_cheetah.simulators import USUAL_CALLS, make_simulator
from liquid_pilot.errors import ConfigError, MessageError, SimulationError, unknown_name
from liquid_pilot.half_cheetah import ACTIONS, CheetahLayout

Observation: TypeAlias = Any  # (width,) float32; a dictionary of two such with obs="both"
Action: TypeAlias = npt.NDArray[np.float32]

OBS_MODES: Final = ("sensors", "state", "both")
BOUND: Final = 1000.0  # wider than any scaled reading


class HalfCheetahEnv(gymnasium.Env[Observation, Action]):
    """A cheetah that is to run.

    simulator: "pybullet" (pybullet-envs-gymnasium) or "mujoco" (gymnasium, extra `mujoco`). observe: "full",
    "positions" or "velocities". obs: "sensors" (width,) as of `CheetahLayout`, held, late and noisy as the rhythm has
    it; "state" the true body alone, without the fields of time; "both", a dictionary of the two. Actions: (6,) torques
    in -1..1.

    An episode lasts as many physics frames as the original one (4,000 in PyBullet, 5,000 in MuJoCo), at any rhythm, and
    is truncated then. Reward: `envs.half_cheetah.simulators`. info: dt_s and frames of the call, t_s, place_m, and
    `episode_return` at the end. Raises `ConfigError` for options that do not exist, `MissingExtraError`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 60}  # noqa: RUF012  # gymnasium's

    def __init__(
        self,
        simulator: str = "pybullet",
        observe: str = "full",
        obs: str = "sensors",
        rhythm: Rhythm = REGULAR,
        render_mode: str | None = None,
    ) -> None:
        if obs not in OBS_MODES:
            raise ConfigError(unknown_name("obs", obs, list(OBS_MODES)))
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(f"render_mode is {render_mode!r}; choose None or 'rgb_array'")
        self.layout, self.truth = CheetahLayout(simulator, observe), CheetahLayout(simulator, "full")
        self.obs, self.render_mode = obs, render_mode
        self.simulator = make_simulator(simulator)
        self.episode_frames = self.simulator.usual_frames * USUAL_CALLS
        self.set_rhythm(rhythm)
        boxes: dict[str, gymnasium.spaces.Space[Any]] = {
            name: gymnasium.spaces.Box(-BOUND, BOUND, (width,), np.float32)
            for name, width in (("sensors", self.layout.width), ("state", len(self.truth.index)))
        }
        self.observation_space = gymnasium.spaces.Dict(boxes) if obs == "both" else boxes[obs]
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)
        self._frame = -1  # of this episode; below 0: none has begun

    def set_rhythm(self, rhythm: Rhythm) -> None:
        """From the next episode on. Raises `ConfigError` for what is none."""
        if not isinstance(rhythm, Rhythm):
            raise ConfigError(f"rhythm is a {type(rhythm).__name__}; give an envs.half_cheetah.rhythm.Rhythm")
        usual = self.simulator.usual_frames
        self.rhythm, self.frames = rhythm, rhythm.frames or (usual, usual)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """See `gymnasium.Env.reset`. The same seed gives the same episode under the same actions."""
        super().reset(seed=seed)
        raw = self.simulator.reset(int(self.np_random.integers(2**31)))
        self._frame, self._return = 0, 0.0
        self._flying: list[tuple[int, int, npt.NDArray[np.float32]]] = []  # arrives, was taken, body
        self._raw, self._held, self._taken = raw, self._seen(raw), 0
        return self._observation(fresh=True, frames=0), self._info(0)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env.step`. Raises `MessageError` for an action of another shape or not finite."""
        if not 0 <= self._frame < self.episode_frames:
            raise SimulationError("the episode is over, or has not begun; call reset first")
        try:
            given = np.asarray(action, np.float64)
        except (TypeError, ValueError):
            given = np.zeros(0)
        if given.shape != (ACTIONS,) or not np.isfinite(given).all():
            raise MessageError(f"the action is {action!r}; give {ACTIONS} finite numbers in -1 to 1")
        low, high = self.frames
        frames = min(int(self.np_random.integers(low, high + 1)), self.episode_frames - self._frame)
        self._raw, reward = self.simulator.advance(np.clip(given, -1.0, 1.0), frames)
        self._frame += frames
        lost = not np.isfinite(self._raw).all()
        fresh = not lost and self._take()
        self._return += 0.0 if lost else reward
        over = self._frame >= self.episode_frames
        info = self._info(frames)
        if lost or over:
            info["episode_return"] = self._return
        if lost:
            self._raw = np.zeros_like(self._raw)
        seen = self._observation(fresh, frames)
        if lost:
            self._frame = self.episode_frames  # refuse further steps
        return seen, 0.0 if lost else reward, lost, over and not lost, info

    @property
    def observed(self) -> npt.NDArray[np.float64]:
        """The original environment's observation as it is now, whatever the policy sees."""
        found: npt.NDArray[np.float64] = self._raw.copy()
        return found

    def render(self) -> Any:
        """A picture (height, width, 3), or None without render_mode="rgb_array"."""
        return self.simulator.render() if self.render_mode else None

    def close(self) -> None:
        """Free the simulator."""
        self.simulator.close()

    def _take(self) -> bool:
        """Take an observation; hold the newest one that has arrived. True if that is another one than before."""
        rhythm, rng = self.rhythm, self.np_random
        if rhythm.dropped == 0.0 or rng.random() >= rhythm.dropped:
            late = int(rng.integers(rhythm.delay_frames[0], rhythm.delay_frames[1] + 1))
            self._flying.append((self._frame + late, self._frame, self._seen(self._raw)))
        arrived = [item for item in self._flying if item[0] <= self._frame]
        self._flying = [item for item in self._flying if item[0] > self._frame]
        newest = max(arrived, key=lambda item: item[1], default=None)
        if newest is None or newest[1] <= self._taken:
            return False
        _, self._taken, self._held = newest
        return True

    def _seen(self, raw: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        body = self.layout.body(raw)
        if self.rhythm.noise:
            body = body + (self.rhythm.noise * self.np_random.standard_normal(len(body))).astype(np.float32)
        return np.clip(body, -BOUND, BOUND)

    def _observation(self, fresh: bool, frames: int) -> Observation:
        frame_s = self.simulator.frame_s
        sensors = self.layout.assemble(self._held, fresh, (self._frame - self._taken) * frame_s, frames * frame_s)
        if self.obs == "sensors":
            return sensors
        state = np.clip(self.truth.body(self._raw), -BOUND, BOUND)
        return state if self.obs == "state" else {"sensors": sensors, "state": state}

    def _info(self, frames: int) -> dict[str, Any]:
        frame_s = self.simulator.frame_s
        place = self.simulator.place_m()
        return {"dt_s": frames * frame_s, "frames": frames, "t_s": self._frame * frame_s, "place_m": place}
