"""Laws of the liquid actor under stable-baselines3: what it does is what is exported, its probabilities are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy

from liquid_pilot.cells import Network
from liquid_pilot.errors import ConfigError
from liquid_pilot.observation import OBS_DIM
from policies.network import hover_spec
from policies.rl.policy import LiquidPolicy
from policies.rl.ppo import LiquidPPO
from policies.rl.sequences import readout_sequence
from tests.policies.rl_cases import DT, DT_SCALE_S, recall_model

SENSORS = spaces.Box(-1000.0, 1000.0, (OBS_DIM,), np.float32)
ACTION = spaces.Box(-1.0, 1.0, (4,), np.float32)


def policy(cell: str = "decay", observation: spaces.Space[Any] = SENSORS, **options: Any) -> LiquidPolicy:
    return LiquidPolicy(observation, ACTION, lambda _: 1e-3, spec=hover_spec(cell), **options)


@pytest.mark.parametrize("cell", ["decay", "default", "gru", "mlp"])
def test_the_deterministic_action_is_what_flies_on_board(cell: str) -> None:
    ours, rng = policy(cell, seed=4), np.random.default_rng(1)
    onboard = Network(ours.spec, ours.actor.weights())
    state, h = None, onboard.initial_state()
    for event in range(40):
        seen = rng.normal(size=OBS_DIM).astype(np.float32)
        seen[DT] = abs(seen[DT])
        begins = event % 15 == 0
        if begins:
            h = onboard.initial_state()
        action, state = ours.predict(seen, state, np.array([begins]), deterministic=True)
        wanted, h = onboard.step(seen, h, float(seen[DT]) * DT_SCALE_S)
        np.testing.assert_allclose(action, wanted, atol=1e-5)


def test_probabilities_are_those_of_a_gaussian_before_the_tanh() -> None:
    """Against torch's squashed Gaussian: the slope of the tanh is the same for two policies and leaves no ratio."""
    ours, generator = policy(log_std=-0.7), torch.Generator().manual_seed(0)
    drawn, first, second = torch.randn(3, 6, 5, 4, generator=generator).unbind()
    squashed = [
        torch.distributions.TransformedDistribution(
            torch.distributions.Independent(torch.distributions.Normal(mean, torch.exp(ours.log_std.detach())), 1),
            [torch.distributions.TanhTransform(cache_size=1)],
        )
        for mean in (first, second)
    ]
    action = torch.tanh(drawn.double()).to(torch.float64)
    told = [s.log_prob(action) for s in squashed]
    with torch.no_grad():
        found = ours.log_prob(drawn, first) - ours.log_prob(drawn, second)
    torch.testing.assert_close(found.double(), told[0] - told[1], rtol=1e-3, atol=1e-2)
    normal = torch.distributions.Normal(torch.zeros(4), torch.exp(ours.log_std.detach()))
    torch.testing.assert_close(ours.entropy().detach(), normal.entropy().sum())


def test_the_first_ratio_is_one_and_rollouts_remember_across_their_ends() -> None:
    model = recall_model("decay", drones=6, n_steps=11)
    callback = model.open(1000)
    for _ in range(3):
        model.collect_rollouts(model.get_env(), callback, model.rollout_buffer, 11)  # type: ignore[arg-type]
        found = model.sequences
        assert found is not None and found.starts.any()
        with torch.no_grad():
            means, _ = model.policy.means(found.sensors, found.h, found.starts)
            torch.testing.assert_close(model.policy.log_prob(found.drawn, means), found.log_prob, rtol=0, atol=2e-4)
            elapsed = found.sensors[..., DT] * DT_SCALE_S
            reference, _ = readout_sequence(model.policy.actor, found.sensors, elapsed, found.h, found.starts, "loop")
        torch.testing.assert_close(means, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("cell", "low", "high"), [("decay", 0.9, 1.0), ("mlp", -0.3, 0.3)])
def test_a_cue_is_recalled_after_irregular_times_by_what_remembers(cell: str, low: float, high: float) -> None:
    model = recall_model(cell)
    model.learn(11_000)
    env = model.get_env()
    assert env is not None
    found, _ = evaluate_policy(model, env, 200, deterministic=True)
    assert low <= float(np.mean(found)) <= high


def test_a_model_is_the_same_after_a_round_trip(tmp_path: Path) -> None:
    model = recall_model("decay", drones=4, n_steps=16)
    model.learn(128)
    model.save(tmp_path / "model.zip")
    seen = np.random.default_rng(0).normal(size=(5, OBS_DIM)).astype(np.float32)
    alone = LiquidPPO.load(tmp_path / "model.zip")
    on = LiquidPPO.load(tmp_path / "model.zip", env=model.get_env())
    wanted, _ = model.predict(seen, deterministic=True)
    for again in (alone, on):
        np.testing.assert_array_equal(again.predict(seen, deterministic=True)[0], wanted)
    on.learn(128)  # and goes on
    assert on.num_timesteps == 128
    model.policy.save(str(tmp_path / "policy.pt"))
    np.testing.assert_array_equal(
        LiquidPolicy.load(str(tmp_path / "policy.pt")).predict(seen, deterministic=True)[0], wanted
    )


def test_the_same_seed_learns_the_same_and_leaves_the_process_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    weights = []
    for seed in (3, 3, 4):
        model = recall_model("decay", drones=4, n_steps=16, seed=seed)
        model.learn(128)
        weights.append(torch.cat([p.detach().flatten() for p in model.policy.parameters()]))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


def test_the_critic_learns_alone_first_and_the_anchor_holds() -> None:
    model = recall_model("decay", drones=4, n_steps=16, critic_first=2, anchor_weight=1.0)
    model.hold_on_to(policy(seed=0).actor)
    model.learn(64)  # one rollout

    def parts() -> tuple[torch.Tensor, torch.Tensor]:
        own = (model.policy.actor_parameters, model.policy.critic_parameters)
        actor, critic = (torch.cat([p.detach().flatten().clone() for p in group]) for group in own)
        return actor, critic

    first = parts()
    model.learn(64, reset_num_timesteps=False)
    second = parts()
    assert torch.equal(first[0], second[0]) and not torch.equal(first[1], second[1])
    model.learn(64, reset_num_timesteps=False)
    assert not torch.equal(second[0], parts()[0]) and 0.0 <= model.found["anchor_kl"] < 1.0


def test_a_strong_anchor_keeps_the_policy() -> None:
    moved = []
    for weight in (0.0, 100.0):
        model = recall_model("decay", drones=8, n_steps=32, anchor_weight=weight, target_kl=None, learning_rate=1e-3)
        model.hold_on_to(policy(seed=0).actor)
        model.learn(2_000)
        moved.append(model.found["anchor_kl"])
    assert moved[1] < 0.1 * moved[0]


@pytest.mark.parametrize(
    "observation",
    [
        spaces.Box(-1.0, 1.0, (OBS_DIM + 1,), np.float32),
        spaces.Dict({"state": SENSORS}),
        spaces.Dict({"sensors": SENSORS, "wind": SENSORS}),
        spaces.Dict({"sensors": SENSORS, "state": spaces.Box(-1.0, 1.0, (2, 2), np.float32)}),
        spaces.Discrete(3),
    ],
)
def test_an_environment_of_another_layout_is_refused(observation: spaces.Space[Any]) -> None:
    with pytest.raises(ConfigError, match=rf"a box of \({OBS_DIM},\).*make it with obs"):
        policy(observation=observation)


def test_other_actions_a_wrong_cell_and_options_that_are_not_there_are_refused() -> None:
    for action in (
        spaces.Box(-1.0, 1.0, (3,), np.float32),
        spaces.Box(-2.0, 2.0, (4,), np.float32),
        spaces.Discrete(4),
    ):
        with pytest.raises(ConfigError, match="outputs"):
            LiquidPolicy(SENSORS, action, lambda _: 1e-3, spec=hover_spec("decay"))
    with pytest.raises(ConfigError, match="use_sde"):
        policy(use_sde=True)
    with pytest.raises(ConfigError, match="one of its cell"):
        recall_model("decay", drones=2).hold_on_to(policy("gru").actor)
    with pytest.raises(ConfigError, match="n_steps"):
        recall_model("decay", drones=2, n_steps=0)
    with pytest.raises(ConfigError, match="predict"):
        policy()._predict(torch.zeros(1, OBS_DIM))
