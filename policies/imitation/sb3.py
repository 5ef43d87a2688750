"""stable-baselines3 models as teachers, read from their .zip without running code from it.

Such a file holds weights, which torch reads as data alone, and a JSON object in which some entries are pickles: a
pickle runs whatever code its maker chose. Every pickled entry is here replaced by one of our own, so that none is
opened. What a model's constructor was given as a class (policy_kwargs with an activation function, say) is lost that
way; such a file is refused unless trust_pickle says that its maker is trusted.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np
import numpy.typing as npt
import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm

from envs.quad_env import OBS_DIMS, observation_space
from liquid_pilot.errors import ConfigError
from policies.imitation.teachers import Sight

ALGORITHMS: Final = ("PPO", "A2C", "SAC", "TD3", "DDPG")
_ACTION: Final = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
_NEVER_NEEDED: Final = frozenset({  # to predict
    "lr_schedule", "clip_range", "clip_range_vf", "_last_obs", "_last_episode_starts", "_last_original_obs",
    "ep_info_buffer", "ep_success_buffer", "rollout_buffer_class", "rollout_buffer_kwargs", "replay_buffer_class",
    "replay_buffer_kwargs", "train_freq", "_episode_num", "action_noise", "_vec_normalize_env", "__doc__",
    "target_entropy", "_stats_window_size",
})  # fmt: skip
_SEQUENCE_STATE: Final = "a recurrent or otherwise unknown policy"


def load_model(path: Path, trust_pickle: bool = False) -> BaseAlgorithm:
    """A model of one of `ALGORITHMS` with an MLP policy on the observation "sensors" or "state" of this project.

    trust_pickle: open the pickles in the file, which can run any code; for files of your own alone. Raises
    `ConfigError` for anything else.
    """
    data, weights = _read(path)
    algorithm, mode = _algorithm(weights), _mode(path, weights)
    model: Any = getattr(stable_baselines3, algorithm)
    pickled = {name for name, value in data.items() if isinstance(value, dict) and ":serialized:" in value}
    if trust_pickle:
        return _loaded(path, model, {})
    if "policy_kwargs" in pickled:
        raise ConfigError(
            f"{path} keeps its policy_kwargs as a pickle, which can run any code; give --trust-pickle if you made the "
            "file yourself, or train the model with policy_kwargs of plain numbers"
        )
    spaces = {"observation_space": observation_space(mode), "action_space": _ACTION}
    own = {**spaces, "policy_class": model.policy_aliases["MlpPolicy"], "lr_schedule": float, "clip_range": float}
    unknown = sorted(pickled - own.keys() - _NEVER_NEEDED)
    if unknown:
        raise ConfigError(f"{path} keeps {unknown} as pickles; give --trust-pickle if you made the file yourself")
    return _loaded(path, model, {**dict.fromkeys(pickled), **own, "learning_rate": 0.0, "tensorboard_log": None})


def _read(path: Path) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """The JSON object and the shapes of the policy's weights."""
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
            with archive.open("policy.pth") as file:
                weights = torch.load(file, map_location="cpu", weights_only=True)
        return data, {name: tuple(value.shape) for name, value in weights.items()}
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, AttributeError) as error:
        raise ConfigError(
            f"{path} is no stable-baselines3 model ({error}); give a .zip that model.save wrote"
        ) from error
    except Exception as error:  # what torch raises where a file asks for more than weights
        raise ConfigError(f"{path} holds more than weights ({type(error).__name__}); give another file") from error


def _algorithm(weights: dict[str, tuple[int, ...]]) -> str:
    """Whose weights these are; the file says so in a pickle alone."""
    if "action_net.weight" in weights:
        return "PPO"  # A2C has the same policy
    if "actor.mu.weight" in weights:
        return "SAC"
    return "TD3"


def _mode(path: Path, weights: dict[str, tuple[int, ...]]) -> str:
    """The observation that the first layer takes."""
    first = next((weights[n] for n in ("mlp_extractor.policy_net.0.weight", "actor.latent_pi.0.weight",
                                       "actor.mu.0.weight") if n in weights), None)  # fmt: skip
    mode = next((mode for mode, dim in OBS_DIMS.items() if first is not None and first[-1] == dim), None)
    last = weights.get("action_net.weight") or weights.get("actor.mu.weight")
    if mode is None or (last is not None and last[0] != _ACTION.shape[0]):
        raise ConfigError(
            f"{path} takes {first and first[-1]} numbers and gives {last and last[0]}; a teacher takes "
            f"{' or '.join(f'{dim} ({name})' for name, dim in OBS_DIMS.items())} through an MlpPolicy and gives 4"
        )
    return mode


def _loaded(path: Path, model: Any, objects: dict[str, Any]) -> BaseAlgorithm:
    try:
        found: BaseAlgorithm = model.load(path, device="cpu", custom_objects=objects)
    except Exception as error:  # anything can be wrong with a file of another library
        raise ConfigError(f"{path} cannot be loaded as a {model.__name__} model ({error})") from error
    return found


class ModelTeacher:
    """A loaded model; what it sees follows from its observation space. Its actions are under `DEFAULT_LIMITS`."""

    sha256 = ""

    def __init__(self, name: str, model: BaseAlgorithm) -> None:
        self.name, self._model = name, model
        shape = model.observation_space.shape
        mode = next((mode for mode, dim in OBS_DIMS.items() if shape == (dim,)), None)
        if mode is None or model.action_space.shape != _ACTION.shape:
            raise ConfigError(
                f"model {name!r} takes observations of shape {shape} and gives actions of "
                f"{model.action_space.shape}; a teacher takes one of {list(OBS_DIMS.items())} and gives (4,)"
            )
        self._mode = mode

    def reset(self, drones: int) -> None:
        """A model without memory has none to forget."""

    def act(self, sight: Sight) -> npt.NDArray[np.float64]:
        """See `Teacher.act`; the model's mean action."""
        seen = sight.state if self._mode == "state" else sight.sensors
        action, _ = self._model.predict(seen, deterministic=True)
        return np.asarray(action, np.float64)
