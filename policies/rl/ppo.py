"""PPO of stable-baselines3 with a liquid actor: rollouts of whole sequences, gradients through them.

Proximal policy optimisation (Schulman et al., 2017). What differs from the base class: a minibatch is some environments
with all their steps, and the actor's state begins anew inside of them where a flight does; discounts count seconds, not
events; the critic may see the true state; a policy can be held on to while another is learnt from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import explained_variance, obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.ppo import PPO
from torch import Tensor

from liquid_pilot.errors import ConfigError
from policies.network import PolicyNetwork
from policies.rl.buffer import SequenceBuffer, Sequences, Step, minibatches
from policies.rl.policy import LiquidPolicy, elapsed_s, split
from policies.rl.sequences import readout_sequence


class LiquidPPO(PPO):
    """PPO for `LiquidPolicy`. Arguments that are not told here are those of `stable_baselines3.PPO`.

    gamma, gae_lambda: per `policies.rl.gae.EVENT_S` of flight. groups: minibatches of an epoch, each of as many
    environments. critic_first: rollouts that the critic learns from alone, before the actor moves. critic_epochs: of an
    update for the critic, where they are more than n_epochs. anchor_weight: of the divergence from the policy given to
    `hold_on_to`. target_kl: the actor rests for the remainder of an update once it has moved so far. All random
    numbers come from generators of its own, seeded with `seed`.
    """

    policy: LiquidPolicy  # type: ignore[assignment]  # the base class wants what it calls of it, which is replaced

    def __init__(
        self,
        policy: type[LiquidPolicy],
        env: GymEnv | None,
        learning_rate: float | Schedule = 1e-3,
        n_steps: int = 64,
        groups: int = 4,
        n_epochs: int = 4,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        ent_coef: float = 0.0,
        max_grad_norm: float = 0.5,
        target_kl: float | None = 0.03,
        critic_first: int = 0,
        critic_epochs: int = 0,
        anchor_weight: float = 0.0,
        stats_window_size: int = 1000,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int = 0,
        device: torch.device | str = "cpu",
        _init_setup_model: bool = True,
    ) -> None:
        if n_steps < 1 or groups < 1 or critic_first < 0 or critic_epochs < 0:
            raise ConfigError(
                f"n_steps is {n_steps}, groups {groups}, critic_first {critic_first}, critic_epochs {critic_epochs}; "
                "give at least 1, 1, 0 and 0"
            )
        self.groups, self.anchor_weight = groups, anchor_weight
        self.critic_first, self.critic_epochs = critic_first, critic_epochs
        super().__init__(
            policy,  # type: ignore[arg-type]
            env,  # type: ignore[arg-type]  # None where a saved model is loaded to predict alone
            learning_rate=learning_rate,
            n_steps=n_steps,
            batch_size=max(2, n_steps),  # of the base class alone
            n_epochs=n_epochs,
            gamma=gamma,
            gae_lambda=gae_lambda,
            clip_range=clip_range,
            ent_coef=ent_coef,
            max_grad_norm=max_grad_norm,
            target_kl=target_kl,
            rollout_buffer_class=SequenceBuffer,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def _setup_model(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed or 0)
        self.rollouts, self.flown_s = 0, 0.0
        self.sequences: Sequences | None = None
        self._anchor: PolicyNetwork | None = None
        super()._setup_model()
        self._h = self._anchor_h = self.policy.initial_state(self.n_envs)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the generators of this model and of its environments; those of the process are left alone."""
        if seed is not None:
            self.generator.manual_seed(seed)
            self.action_space.seed(seed)
            if self.env is not None:
                self.env.seed(seed)

    def hold_on_to(self, network: PolicyNetwork) -> None:
        """Draw the actor towards a policy, by `anchor_weight`. Its weights are not changed."""
        if network.spec != self.policy.spec:
            raise ConfigError(
                f"the policy to hold on to is {network.spec}, the actor {self.policy.spec}; give one of its cell"
            )
        self._anchor, self._anchor_h = network, network.initial_state(self.n_envs)

    def open(self, total_timesteps: int) -> BaseCallback:
        """Launch all flights, as `learn` does. Returns what `collect_rollouts` wants."""
        _, callback = self._setup_learn(total_timesteps)
        return callback

    def carry(self) -> dict[str, Tensor]:
        """What one rollout hands to the next, beside the environments."""
        assert self._last_episode_starts is not None
        return {"h": self._h, "anchor_h": self._anchor_h, "starts": torch.as_tensor(self._last_episode_starts)}

    def take_up(self, observation: Any, carry: Mapping[str, Tensor]) -> None:
        """Go on from what the environments show now, and a `carry`."""
        self._last_obs = observation
        self._h, self._anchor_h, starts = (carry[name].clone() for name in ("h", "anchor_h", "starts"))
        self._last_episode_starts = starts.numpy()

    def begin_anew(self, observation: Any, begun: npt.NDArray[np.bool_]) -> None:
        """Between two rollouts: some environments (N,) have begun anew; observation: what all of them show now."""
        self._last_obs = observation
        self._last_episode_starts = np.asarray(self._last_episode_starts, np.bool_) | begun

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "LiquidPPO",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        fresh = reset_num_timesteps or self._last_obs is None
        found = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        if fresh:
            self._h = self._anchor_h = self.policy.initial_state(self.n_envs)
        return found

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fly every environment for n_rollout_steps events. False if the callback said stop."""
        assert isinstance(rollout_buffer, SequenceBuffer) and self._last_obs is not None
        rollout_buffer.begin(self._h)
        callback.on_rollout_start()
        for _ in range(n_rollout_steps):
            step = self._fly(env)
            rollout_buffer.push(step)
            callback.update_locals(locals())
            if not callback.on_step():
                return False
        self.sequences = rollout_buffer.finish(self.policy.values, self._after())
        self.flown_s = float(self.sequences.dt_s.mean()) * n_rollout_steps  # by an environment
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def fly_and_learn(self, callback: BaseCallback, share: float) -> None:
        """One rollout and what is learnt from it, at `share` (0 to 1) of the run; see `open`."""
        assert self.env is not None
        self._current_progress_remaining = 1.0 - share
        self.collect_rollouts(self.env, callback, self.rollout_buffer, self.n_steps)
        self.train()

    def _seen(self) -> tuple[Tensor, Tensor]:
        assert self._last_obs is not None
        return split(obs_as_tensor(self._last_obs, self.device))

    def _after(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the critic wants of the environments as they are now; the actor's state is left as it is."""
        sensors, state = self._seen()
        with torch.no_grad():
            _, memory = self.policy.step(sensors, self._h, torch.as_tensor(self._last_episode_starts, dtype=torch.bool))
        return sensors, state, memory

    def _fly(self, env: VecEnv) -> Step:
        """One event of all environments."""
        sensors, state = self._seen()
        starts = torch.as_tensor(self._last_episode_starts, dtype=torch.bool)
        policy = self.policy
        with torch.no_grad():
            mean, self._h = policy.step(sensors, self._h, starts)
            drawn = mean + torch.exp(policy.log_std) * torch.randn(mean.shape, generator=self.generator)
            log_prob = policy.log_prob(drawn, mean)
        self._last_obs, reward, done, infos = env.step(torch.tanh(drawn).numpy())  # type: ignore[assignment]
        self.num_timesteps += env.num_envs
        over = np.flatnonzero(done)
        self._update_info_buffer([infos[i] for i in over], done[over])
        self._last_episode_starts = done
        took_s = elapsed_s(self._seen()[0]).clone()
        timed_out = np.zeros(len(done), np.bool_)
        last = sensors[:0], state[:0], self._h[:0]
        if len(over):
            ends = _stacked([infos[i]["terminal_observation"] for i in over])
            last_sensors, last_state = split(obs_as_tensor(ends, self.device))
            took_s[over] = elapsed_s(last_sensors)
            late = np.array([bool(infos[i].get("TimeLimit.truncated", False)) for i in over])
            timed_out[over[late]] = True
            with torch.no_grad():
                _, memory = policy.step(last_sensors, self._h[over], torch.zeros(len(over), dtype=torch.bool))
            last = last_sensors[late], last_state[late], memory[late]
        return Step(
            sensors, state, self._h, starts, drawn, log_prob, torch.as_tensor(reward, dtype=torch.float32), took_s,
            torch.as_tensor(done & ~timed_out), torch.as_tensor(timed_out), last,
        )  # fmt: skip

    def train(self) -> None:
        """Learn from the newest rollout."""
        assert self.sequences is not None
        sequences, policy = self.sequences, self.policy
        rate = self.lr_schedule(self._current_progress_remaining)
        for group in policy.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        anchor = self._anchor_means(sequences)
        moves = self.rollouts >= self.critic_first
        self.rollouts += 1
        losses: list[dict[str, float]] = []
        rows = -(-self.n_envs // self.groups)
        spread = sequences.advantages.std(correction=0) + 1e-8
        centre = sequences.advantages.mean()
        for epoch in range(max(self.n_epochs, self.critic_epochs)):
            moves = moves and epoch < self.n_epochs
            for index, batch in minibatches(sequences, rows, self.generator):
                policy.optimizer.zero_grad()
                found = {"value_loss": self._pull_critic(batch)}
                if moves:
                    wanted = (batch.advantages - centre) / spread
                    found |= self._pull_actor(batch, wanted, None if anchor is None else anchor[index])
                    moves = self.target_kl is None or found["approx_kl"] <= 1.5 * self.target_kl
                    if not moves:
                        for parameter in policy.actor_parameters:
                            parameter.grad = None
                policy.optimizer.step()
                losses.append(found)
            self._n_updates += 1
        self._record(losses, rate, sequences)

    def _anchor_means(self, sequences: Sequences) -> Tensor | None:
        """What the policy that is held on to would have done, before the tanh, (N, T, outputs)."""
        if self._anchor is None:
            return None
        seen = sequences.sensors, elapsed_s(sequences.sensors), self._anchor_h, sequences.starts
        with torch.no_grad():
            means, self._anchor_h = readout_sequence(self._anchor, *seen)
        return means

    def _pull_critic(self, batch: Sequences) -> float:
        """Leaves the gradient in the critic; returns its loss."""
        loss = (self.policy.values(batch.sensors, batch.state, batch.memory) - batch.returns).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.critic_parameters, self.max_grad_norm)
        return loss.item()

    def _pull_actor(self, batch: Sequences, wanted: Tensor, anchor: Tensor | None) -> dict[str, float]:
        """Leaves the gradient in the actor; returns what it came from. wanted: normalised advantages, (B, T)."""
        policy, clip = self.policy, self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        means, _ = policy.means(batch.sensors, batch.h, batch.starts)
        change = policy.log_prob(batch.drawn, means) - batch.log_prob
        ratio = torch.exp(change)
        gain = torch.minimum(wanted * ratio, wanted * ratio.clamp(1.0 - clip, 1.0 + clip)).mean()
        loss = -gain - self.ent_coef * policy.entropy()
        found = {"policy_loss": -gain.item(), "clip_fraction": ((ratio - 1.0).abs() > clip).float().mean().item()}
        if anchor is not None:
            away = (means - anchor) * torch.exp(-policy.log_std.detach())
            divergence = 0.5 * away.square().sum(dim=-1).mean()
            loss = loss + self.anchor_weight * divergence
            found["anchor_kl"] = divergence.item()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.actor_parameters, self.max_grad_norm)
        return found | {"approx_kl": (ratio.detach() - 1.0 - change.detach()).mean().item()}

    def _record(self, losses: list[dict[str, float]], rate: float, sequences: Sequences) -> None:
        names = {name for found in losses for name in found}
        self.found = {name: float(np.mean([f[name] for f in losses if name in f])) for name in sorted(names)}
        values, returns = sequences.values.flatten().numpy(), sequences.returns.flatten().numpy()
        self.found |= {
            "reward_per_s": float(sequences.reward.sum() / sequences.dt_s.sum()),
            "explained_variance": float(explained_variance(values, returns)),
            "std": float(torch.exp(self.policy.log_std.detach()).mean()),
            "learning_rate": rate,
        }
        for name, value in self.found.items():
            self.logger.record(f"train/{name}", value)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "generator", "sequences", "_anchor", "_h", "_anchor_h"]


def _stacked(observations: list[Any]) -> Any:
    """Observations of some environments as one of a batch."""
    if isinstance(observations[0], dict):
        return {name: np.stack([o[name] for o in observations]) for name in observations[0]}
    return np.stack(observations)
