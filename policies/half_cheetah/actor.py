"""The deterministic actor of PPO of stable-baselines3, as something that runs and teaches."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

from liquid_pilot.errors import TrainingError
from liquid_pilot.half_cheetah import ACTIONS
from policies.half_cheetah.herd import F32, View

TIME_LEFT: Final = 0.5  # of the episode; what the actor is told once it is trained
FURTHEST: Final = 10.0  # deviations from the mean; as in training
_KINDS: Final = ("weight", "bias")
_LAYERS: Final = {"0": "mlp_extractor.policy_net.0", "2": "mlp_extractor.policy_net.2", "4": "action_net"}


class Actor(nn.Module):
    """sensors (B, inputs and more, full observation), h (B, 0), dt_s (B,) -> torques (B, 6) in -1..1, h.

    What it sees are the true body's `inputs` numbers, less the running mean of training and over its deviation, and the
    time that is left; two layers of rectified units; torques are cut.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.layers = nn.Sequential(
            nn.Linear(inputs + 1, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, ACTIONS)
        )
        self.register_buffer("mean", torch.zeros(inputs + 1))
        self.register_buffer("deviation", torch.ones(inputs + 1))

    def take(self, model: PPO, env: VecNormalize) -> None:
        """The present weights and statistics of a training, whose networks have `units`."""
        state = model.policy.state_dict()
        seen: Any = env.obs_rms  # of one box, not a dictionary of them
        weights = {f"layers.{k}.{what}": state[f"{name}.{what}"] for k, name in _LAYERS.items() for what in _KINDS}
        deviation = np.sqrt(seen.var + env.epsilon)
        told = {"mean": torch.as_tensor(seen.mean), "deviation": torch.as_tensor(deviation)}
        self.load_state_dict(weights | told)

    def initial_state(self, batch: int) -> Tensor:
        """It remembers nothing."""
        return torch.zeros((batch, 0))

    def step(self, x: Tensor, h: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """One call."""
        told = torch.cat([x[:, : self.inputs], torch.full((len(x), 1), TIME_LEFT)], dim=1)
        z = ((told - self.mean) / self.deviation).clamp(-FURTHEST, FURTHEST)
        return self.layers(z).clamp(-1.0, 1.0), h

    def reset(self, cheetahs: int) -> None:
        """As a teacher of so many new episodes."""

    def act(self, view: View) -> F32:
        """As a teacher: actions (N, 6) for the true bodies. Raises `TrainingError` where one is not finite."""
        with torch.no_grad():
            action, _ = self.step(torch.from_numpy(view.state), self.initial_state(len(view)), torch.zeros(len(view)))
        found: F32 = action.numpy()
        if not np.isfinite(found).all():
            raise TrainingError("the actor answers with what is not finite; train again with a smaller learning rate")
        return found
