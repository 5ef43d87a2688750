"""stable-baselines3 models as teachers, read from their .zip without opening a pickle.

Such a file holds the policy's weights, which torch reads as data alone, and a JSON object in which some entries are
pickles: a pickle runs whatever code its maker chose. Here the actor is built from its weights; of the JSON object only
text is read, for the activation function, where it is not the usual one. That does for every algorithm with an
"MlpPolicy" (PPO, A2C, SAC, TD3, DDPG). A model in memory, of any kind, is a teacher as it is: `ModelTeacher`.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from envs.state_observation import STATE_DIM
from liquid_pilot.errors import ConfigError
from liquid_pilot.observation import OBS_DIM
from policies.imitation.teachers import F32, Sight

SEEN: Final = {"sensors": OBS_DIM, "state": STATE_DIM}  # observations and their widths
ACTIONS: Final = 4
ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = {
    "Tanh": nn.Tanh, "ReLU": nn.ReLU, "ELU": nn.ELU, "LeakyReLU": nn.LeakyReLU, "SiLU": nn.SiLU, "GELU": nn.GELU,
}  # fmt: skip


class Model(Protocol):
    """What stable-baselines3's models do."""

    def predict(self, observation: Any, *, deterministic: bool) -> tuple[Any, Any]:
        """Actions of observations (N, width)."""
        ...


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where an actor's weights are: hidden layers `prefix.0`, `prefix.2`, ..., then `last`, where that is another."""

    prefix: str
    last: str
    activation: str
    squashed: bool  # a tanh follows the last layer; otherwise actions are cut to [-1, 1]


_LAYOUTS: Final = (
    _Layout("mlp_extractor.policy_net", "action_net", "Tanh", False),  # PPO, A2C
    _Layout("actor.latent_pi", "actor.mu", "ReLU", True),  # SAC
    _Layout("actor.mu", "", "ReLU", True),  # TD3, DDPG
)


@dataclass(frozen=True, slots=True)
class Actor:
    """The deterministic part of a model. inputs: how many numbers it takes."""

    network: nn.Module
    inputs: int

    def predict(self, observation: F32, *, deterministic: bool = True) -> tuple[F32, None]:
        """Mean actions (N, 4) of observations (N, inputs), as the model's own `predict` gives them."""
        with torch.no_grad():
            action: Tensor = self.network(torch.from_numpy(observation))
        return action.clamp(-1.0, 1.0).numpy(), None


def load_actor(path: Path) -> Actor:
    """The actor of a file that `model.save` wrote. Raises `ConfigError` for anything else; see the top of this file."""
    weights, text = _read(path)
    layout = next((layout for layout in _LAYOUTS if f"{layout.prefix}.0.weight" in weights), None)
    foreign = sorted(name for name in weights if name.startswith(("features_extractor.", "pi_features_extractor.")))
    recurrent = sorted(name for name in weights if "lstm" in name)
    if layout is None or foreign or recurrent:
        raise ConfigError(
            f"{path} holds {(foreign or recurrent or sorted(weights))[:3]}, which is no MlpPolicy; give a model with "
            "one, or teach from Python with policies.imitation.sb3.ModelTeacher"
        )
    names = [name.removesuffix(".weight") for name in weights if re.fullmatch(rf"{layout.prefix}\.\d+\.weight", name)]
    names = sorted(names, key=lambda name: int(name.rpartition(".")[2])) + [layout.last] * bool(layout.last)
    layers: list[nn.Module] = []
    for name in names:
        matrix, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        linear = nn.Linear(matrix.shape[1], matrix.shape[0])
        linear.load_state_dict({"weight": matrix, "bias": bias})
        layers += [linear, _activation(path, layout, text)()]
    layers[-1] = nn.Tanh() if layout.squashed else nn.Identity()
    inputs, outputs = int(weights[f"{names[0]}.weight"].shape[1]), int(weights[f"{names[-1]}.weight"].shape[0])
    if inputs not in SEEN.values() or outputs != ACTIONS:
        seen = " or ".join(f"{width} ({name})" for name, width in SEEN.items())
        raise ConfigError(
            f"{path} takes {inputs} numbers and gives {outputs}; a teacher takes {seen} and gives {ACTIONS}; train it "
            'on obs="state" or obs="sensors" of this version'
        )
    return Actor(nn.Sequential(*layers), inputs)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The policy's weights and the JSON object."""
    try:
        with zipfile.ZipFile(path) as archive:
            text = json.loads(archive.read("data"))
            with archive.open("policy.pth") as file:
                weights = torch.load(file, map_location="cpu", weights_only=True)
        return {name: value.to(torch.float32) for name, value in weights.items()}, dict(text)
    except Exception as error:  # anything can be wrong with such a file; torch refuses what is no weights its own way
        raise ConfigError(
            f"{path} is no stable-baselines3 model ({type(error).__name__}: {str(error)[:100]}); give a .zip that "
            "model.save wrote"
        ) from error


def _activation(path: Path, layout: _Layout, text: Mapping[str, Any]) -> type[nn.Module]:
    """By name, beside the pickle that means the same; the usual one where none is told."""
    given = text.get("policy_kwargs")
    told = str(given.get("activation_fn", "")) if isinstance(given, dict) else ""
    name = re.sub(r"\W+$", "", told).rpartition(".")[2] if told else layout.activation
    if name not in ACTIVATIONS:
        raise ConfigError(f"{path} has the activation {told}; a teacher's may be {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


class ModelTeacher:
    """A model that flies on the observation `seen` ("state" or "sensors"), its actions under `DEFAULT_LIMITS`."""

    sha256 = ""

    def __init__(self, name: str, model: Model, seen: str) -> None:
        if seen not in SEEN:
            raise ConfigError(f"seen is {seen!r}; choose one of: {', '.join(SEEN)}")
        self.name, self._model, self._seen = name, model, seen

    def reset(self, drones: int) -> None:
        """A model without memory has none to forget."""

    def act(self, sight: Sight) -> npt.NDArray[np.float64]:
        """See `Teacher.act`; the model's mean action."""
        action, _ = self._model.predict(sight.state if self._seen == "state" else sight.sensors, deterministic=True)
        return np.asarray(action, np.float64)


def file_teacher(path: Path) -> ModelTeacher:
    """The teacher of a model's file. Raises `ConfigError` as `load_actor`."""
    actor = load_actor(path)
    return ModelTeacher(path.stem, actor, next(name for name, width in SEEN.items() if width == actor.inputs))
