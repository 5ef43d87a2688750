"""TQC of SBX, which is stable-baselines3 on JAX, with an actor that can be exported, and its state as plain arrays.

Truncated quantile critics: Kuznetsov et al., "Controlling overestimation bias with truncated mixture of continuous
distributional quantile critics" (2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.vec_env import VecEnv

from liquid_pilot.errors import MissingExtraError

if TYPE_CHECKING:
    from policies.half_cheetah.teaching import TeachingConfig

F32 = npt.NDArray[np.float32]

# Layers of the actor by the names of our networks.
LAYERS: Final = {"backbone.0": "Dense_0", "backbone.1": "Dense_1", "readout": "Dense_2"}
CALLS: Final = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
LEAST_RATE: Final = 0.02  # of the learning rate, at the end


class QuantileCritics:
    """The learner of a teacher: it acts, explores and learns from its newest `config.buffer` calls.

    model: of SBX. Raises `MissingExtraError` where that is not installed.
    """

    def __init__(self, config: TeachingConfig, env: VecEnv) -> None:
        try:
            import jax.numpy as jnp
            from sbx import TQC
            from sbx.common.policies import SquashedGaussianActor
        except ImportError as error:
            raise MissingExtraError("SBX is not installed; pip install 'liquid-pilot[teacher]'") from error

        def activation(x: Any) -> Any:
            return 1.7159 * jnp.tanh(0.666 * x)  # `lecun_tanh`, that of our backbones

        def actor(action_dim: int, net_arch: list[int], activation_fn: Any) -> SquashedGaussianActor:
            return SquashedGaussianActor(net_arch=net_arch, action_dim=action_dim, activation_fn=activation)

        self.config, self.env = config, env
        self.model: Any = TQC(
            "MlpPolicy",
            env,
            learning_rate=lambda remaining: config.learning_rate * max(remaining, LEAST_RATE),
            buffer_size=config.buffer,
            learning_starts=config.learning_starts,
            batch_size=config.batch,
            tau=config.tau,
            gamma=config.gamma,
            use_sde=True,  # here: the same normal noise for some calls
            sde_sample_freq=config.noise_calls,
            policy_kwargs={"net_arch": [config.units] * 2, "actor_class": actor, "layer_norm": True},
            seed=config.seed,
        )
        _, self._callback = self.model._setup_learn(config.steps, None)

    def begin(self, seed: int) -> None:
        """All episodes anew, and all random numbers from here on from a seed."""
        import jax

        model = self.model
        model.set_random_seed(seed)
        model.policy.key = jax.random.PRNGKey(seed)
        model.policy.reset_noise()
        model._last_obs = self.env.reset()

    def explore_and_learn(self, calls: int, share: float) -> dict[str, float]:
        """At least `calls` more calls at `share` (0 to 1) of the run; what the learning says of itself."""
        config, model = self.config, self.model
        model._current_progress_remaining = 1.0 - share
        often = TrainFreq(max(1, config.train_every // config.cheetahs), TrainFrequencyUnit.STEP)
        wanted = model.num_timesteps + calls
        while model.num_timesteps < wanted:
            model.collect_rollouts(
                self.env, self._callback, often, model.replay_buffer, learning_starts=config.learning_starts
            )
            if model.num_timesteps > config.learning_starts:
                model.train(config.gradient_steps, config.batch)
        found = {name: float(value) for name, value in model.logger.name_to_value.items()}
        model.logger.name_to_value.clear()
        return found

    def actor_weights(self) -> dict[str, F32]:
        """Of the deterministic part of the actor, by the names of our networks, each (out, in) or (out,)."""
        layers, found = self.model.policy.actor_state.params["params"], {}
        for ours, theirs in LAYERS.items():
            found[f"{ours}.weight"] = np.ascontiguousarray(np.asarray(layers[theirs]["kernel"], np.float32).T)
            found[f"{ours}.bias"] = np.array(layers[theirs]["bias"], np.float32)
        return found

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything but random numbers, whose course begins anew at each checkpoint: networks, optimisers, calls."""
        import jax

        buffer = self.model.replay_buffer
        held = buffer.buffer_size if buffer.full else buffer.pos
        found = {f"learner.{n}": np.array(leaf) for n, leaf in enumerate(jax.tree_util.tree_leaves(self._parts()))}
        found |= {f"calls.{name}": getattr(buffer, name)[:held].copy() for name in CALLS}
        counts = (self.model.num_timesteps, self.model._n_updates, buffer.pos, int(buffer.full))
        return found | {"counts": np.array(counts, np.int64)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Back to a state. Raises `KeyError`, `ValueError` where it is not one of this configuration."""
        import jax
        import jax.numpy as jnp

        model, buffer = self.model, self.model.replay_buffer
        leaves, tree = jax.tree_util.tree_flatten(self._parts())
        given = [arrays[f"learner.{n}"] for n in range(len(leaves))]
        if any(np.shape(ours) != theirs.shape for ours, theirs in zip(leaves, given, strict=True)):
            raise ValueError("networks of other sizes")
        parts = jax.tree_util.tree_unflatten(tree, [jnp.asarray(leaf) for leaf in given])
        policy = model.policy
        policy.actor_state, policy.qf1_state, policy.qf2_state, model.ent_coef_state = parts
        for name in CALLS:
            rows = arrays[f"calls.{name}"]
            getattr(buffer, name)[: len(rows)] = rows
        model.num_timesteps, model._n_updates, buffer.pos, full = (int(count) for count in arrays["counts"])
        buffer.full = bool(full)

    def _parts(self) -> tuple[Any, Any, Any, Any]:
        policy = self.model.policy
        return policy.actor_state, policy.qf1_state, policy.qf2_state, self.model.ent_coef_state
