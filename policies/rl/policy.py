"""The actor that flies, and the critic that knows more, as a policy of stable-baselines3.

The actor is a `PolicyNetwork` as every trainer here has it, so that its weights are a policy file and its
deterministic action is what the onboard controller does. Exploration is a Gaussian around the readout before the tanh:
actions need no clipping, the mean that is explored around is the exported one, and in a ratio of probabilities the
slope of the tanh cancels, so that they are computed before it.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from liquid_pilot.cells import CellSpec
from liquid_pilot.errors import ConfigError
from liquid_pilot.observation import DT_SCALE_S
from policies.network import PolicyNetwork
from policies.rl.sequences import readout_sequence

LOG_TWO_PI: Final = math.log(2.0 * math.pi)
Observation: TypeAlias = "npt.NDArray[np.float32] | dict[str, npt.NDArray[np.float32]]"
Seen: TypeAlias = "Tensor | dict[str, Tensor]"


def check_spaces(observation: gymnasium.Space[Any], action: gymnasium.Space[Any], spec: CellSpec) -> int:
    """Width of the privileged state, 0 without one. Raises `ConfigError` for spaces that the network cannot fly."""
    parts = observation.spaces if isinstance(observation, spaces.Dict) else {"sensors": observation}
    shapes = {name: part.shape for name, part in parts.items()}
    state = shapes.pop("state", (0,))
    if shapes != {"sensors": (spec.inputs,)} or state is None or len(state) != 1:
        raise ConfigError(
            f"the environment shows {observation}; the network takes the sensors, a box of ({spec.inputs},), or a "
            'dictionary of such "sensors" and a "state" for the critic: make it with obs="both"'
        )
    unit = isinstance(action, spaces.Box) and bool(np.all(action.low == -1.0) and np.all(action.high == 1.0))
    if not unit or action.shape != (spec.outputs,):
        raise ConfigError(
            f"the network gives {spec.outputs} outputs, the environment takes {action}; give a network of its size and "
            "actions in -1 to 1"
        )
    return int(state[0])


class LiquidPolicy(BasePolicy):
    """Actor, critic and exploration. Observations: `check_spaces`; the elapsed time is read from the sensors' dt_s.

    spec: the network; log_std: of the exploration at first; critic_units: of each of its two hidden layers; seed: of
    the weights. critic_rate: learning rate of the critic over that of the actor.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        lr_schedule: Schedule,
        *,
        spec: CellSpec,
        log_std: float = -1.0,
        critic_units: int = 64,
        critic_rate: float = 1.0,
        seed: int = 0,
        use_sde: bool = False,
    ) -> None:
        super().__init__(observation_space, action_space, squash_output=True)
        if use_sde:
            raise ConfigError("use_sde is set; this policy explores by a Gaussian at every event, leave it out")
        width = check_spaces(observation_space, action_space, spec)
        self._told = {
            "spec": spec, "log_std": log_std, "critic_units": critic_units, "critic_rate": critic_rate, "seed": seed,
        }  # fmt: skip
        self.spec = spec
        self.actor = PolicyNetwork(spec, seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            layers = [
                nn.Linear(spec.inputs + width + spec.state_width, critic_units),
                nn.Tanh(),
                nn.Linear(critic_units, critic_units),
            ]
            self.critic = nn.Sequential(*layers, nn.Tanh(), nn.Linear(critic_units, 1))
        self.log_std = nn.Parameter(torch.full((spec.outputs,), float(log_std)))
        self.actor_parameters = [*self.actor.parameters(), self.log_std]
        self.critic_parameters = list(self.critic.parameters())
        rate = lr_schedule(1.0)
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.actor_parameters, "lr": rate, "share": 1.0},
                {"params": self.critic_parameters, "lr": rate * critic_rate, "share": critic_rate},
            ],
            eps=1e-5,
        )

    def initial_state(self, batch: int) -> Tensor:
        """State of the actor at the start of a flight, (batch, state)."""
        return self.actor.initial_state(batch)

    def means(self, sensors: Tensor, h: Tensor, starts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Means before the tanh, (B, T, outputs), and the last state. sensors: (B, T, inputs), starts: (B, T) bool."""
        return readout_sequence(self.actor, sensors, elapsed_s(sensors), h, starts)

    def step(self, sensors: Tensor, h: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """One event of each of N flights: means before the tanh (N, outputs), and the following state."""
        h = torch.where(starts[:, None], 0.0, h)
        mean, following = self.means(sensors[:, None], h)
        return mean[:, 0], following

    def values(self, sensors: Tensor, state: Tensor, memory: Tensor) -> Tensor:
        """What the critic expects, (...), of sensors (..., inputs), privileged state (..., width) and memory.

        memory: state of the actor after it has seen the sensors, (..., state_width), from which no gradient comes.
        Without the memory, wind and lean could not be told apart: a drone that leans into a strong wind earns less, and
        the critic would hold the lean against it.
        """
        value: Tensor = self.critic(torch.cat([sensors, state, memory], dim=-1))
        return value[..., 0]

    def log_prob(self, drawn: Tensor, means: Tensor) -> Tensor:
        """Log density (...) of draws before the tanh, (..., outputs), around the means."""
        error = (drawn - means) * torch.exp(-self.log_std)
        return -(0.5 * error.square() + self.log_std + 0.5 * LOG_TWO_PI).sum(dim=-1)

    def entropy(self) -> Tensor:
        """Of a draw before the tanh."""
        return (self.log_std + 0.5 + 0.5 * LOG_TWO_PI).sum()

    def predict(
        self,
        observation: Observation,
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """As stable-baselines3 has it: actions of one event, and the state to give with the next one.

        Without a state, flights begin. deterministic: the exported action; else with exploration, drawn from torch's
        own generator.
        """
        seen, many = self.obs_to_tensor(observation)
        sensors, _ = split(seen)
        h = self.initial_state(len(sensors)) if state is None else torch.as_tensor(state[0])
        starts = torch.zeros(len(sensors), dtype=torch.bool)
        if episode_start is not None:
            starts = torch.as_tensor(np.atleast_1d(episode_start), dtype=torch.bool)
        with torch.no_grad():
            mean, h = self.step(sensors, h, starts)
            if not deterministic:
                mean = mean + torch.exp(self.log_std) * torch.randn(mean.shape)
            actions = torch.tanh(mean).numpy()
        return actions if many else actions[0], (h.numpy(),)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        raise ConfigError("this policy remembers; call predict(observation, state, episode_start)")

    def _get_constructor_parameters(self) -> dict[str, Any]:
        told = super()._get_constructor_parameters() | self._told
        told.pop("normalize_images")
        return told | {"lr_schedule": self._dummy_schedule}


def elapsed_s(sensors: Tensor) -> Tensor:
    """Seconds since the event before, (...), which the sensors (..., inputs) of every task tell last."""
    return sensors[..., -1] * DT_SCALE_S


def split(seen: Seen) -> tuple[Tensor, Tensor]:
    """Sensors (N, inputs) and privileged state (N, width or 0)."""
    if isinstance(seen, dict):
        sensors = seen["sensors"]
        return sensors, seen.get("state", sensors[:, :0])
    return seen, seen[:, :0]
