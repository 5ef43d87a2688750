"""What one rollout has shown: whole sequences of every environment, with the states that they began with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import TypeAlias

import torch
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from policies.rl.gae import advantages

Critic: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]  # of sensors, privileged state and memory


@dataclass(frozen=True, slots=True)
class Sequences:
    """N environments with T steps each, to learn from.

    sensors (N, T, inputs), state (N, T, width): what was seen; memory (N, T, state): of the actor after it; starts
    (N, T) bool: a flight begins with the step; drawn (N, T, outputs): actions before the tanh, log_prob (N, T): of
    them; h (N, state): of the network before the first step; advantages, returns, values, reward and dt_s, the time
    that a step took, (N, T).
    """

    sensors: Tensor
    state: Tensor
    memory: Tensor
    starts: Tensor
    drawn: Tensor
    log_prob: Tensor
    h: Tensor
    advantages: Tensor
    returns: Tensor
    values: Tensor
    reward: Tensor
    dt_s: Tensor

    def rows(self, index: Tensor) -> Sequences:
        """Those of some environments."""
        return Sequences(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of N environments: what was seen, what was done, what came of it. See `Sequences`.

    dt_s: the time that it took. lost, timed_out (N,) bool: the flight ended with it; last: sensors, privileged state
    and memory of the flights that were out of time, in their order.
    """

    sensors: Tensor
    state: Tensor
    memory: Tensor
    starts: Tensor
    drawn: Tensor
    log_prob: Tensor
    reward: Tensor
    dt_s: Tensor
    lost: Tensor
    timed_out: Tensor
    last: tuple[Tensor, Tensor, Tensor]


class SequenceBuffer(RolloutBuffer):
    """The rollout buffer of `LiquidPPO`. gamma and gae_lambda are per `policies.rl.gae.EVENT_S`."""

    def reset(self) -> None:
        """Forget the rollout."""
        self._steps = list[Step]()

    def begin(self, h: Tensor) -> None:
        """A rollout from these states of the network, (N, units)."""
        self.reset()
        self._h = h.clone()

    def push(self, step: Step) -> None:
        """One step more."""
        self._steps.append(step)

    def finish(self, critic: Critic, after: tuple[Tensor, Tensor, Tensor]) -> Sequences:
        """The rollout with its advantages. after: what the critic wants of the environments after the last step."""
        steps = self._steps

        def whole(name: str) -> Tensor:
            return torch.stack([getattr(step, name) for step in steps], dim=1)

        with torch.no_grad():
            seen = whole("sensors"), whole("state"), whole("memory")
            values, last = critic(*seen), critic(*after)
            ends = [critic(*step.last) for step in steps]
        timed_out, reward, dt_s = whole("timed_out"), whole("reward"), whole("dt_s")
        end_value = torch.zeros_like(values)
        for t, value in enumerate(ends):
            end_value[timed_out[:, t], t] = value
        ended = (whole("lost") | timed_out).to(values.dtype)
        found, returns = advantages(reward, values, last, ended, end_value, dt_s, self.gamma, self.gae_lambda)
        self.reset()
        drawn = whole("drawn"), whole("log_prob")
        return Sequences(*seen, whole("starts"), *drawn, self._h, found, returns, values, reward, dt_s)


def minibatches(sequences: Sequences, rows: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Sequences]]:
    """Every environment once, `rows` of them at a time, in a drawn order; which they are, and their sequences."""
    order = torch.randperm(len(sequences.h), generator=generator)
    for index in order.split(rows):
        yield index, sequences.rows(index)
