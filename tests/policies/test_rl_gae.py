"""Laws of advantages in continuous time: known answers, the published form, the same flight at any rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from policies.rl.gae import EVENT_S, advantages

GAMMA, LAMBDA = 0.9, 0.5


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_known_answer_with_an_end_in_the_middle_and_unequal_intervals() -> None:
    """By hand. Interval 2 at the first step: gamma^2 = 0.81 and (gamma lambda)^2 = 0.2025; then 1 and 1.

    The flight ends with step 1, out of time at a state worth 4; another one begins with step 2.
    delta2 = 3 + 0.9 * 10 - 2 = 10;   A2 = 10
    delta1 = 2 + 0.9 * 4 - 1 = 4.6;   A1 = 4.6, nothing is carried over the end
    delta0 = 1 + 0.81 * 1 - 0.5 = 1.31;   A0 = 1.31 + 0.2025 * 4.6 = 2.2415
    """
    found, returns = advantages(
        row(1.0, 2.0, 3.0), row(0.5, 1.0, 2.0), torch.tensor([10.0], dtype=torch.float64), row(0.0, 1.0, 0.0),
        row(0.0, 4.0, 0.0), row(2.0, 1.0, 1.0) * EVENT_S, GAMMA, LAMBDA,
    )  # fmt: skip
    np.testing.assert_allclose(found, [[2.2415, 4.6, 10.0]], rtol=1e-12)
    np.testing.assert_allclose(returns, [[2.7415, 5.6, 12.0]], rtol=1e-12)


def test_at_a_constant_interval_it_is_the_buffer_of_stable_baselines3() -> None:
    rng, n, steps = np.random.default_rng(0), 3, 12
    reward, value = rng.normal(size=(2, steps, n))
    starts, last = (rng.random((steps, n)) < 0.2).astype(np.float32), rng.normal(size=n)
    dones = rng.random(n) < 0.5
    box = spaces.Box(-1.0, 1.0, (1,))
    reference = RolloutBuffer(steps, box, box, "cpu", LAMBDA, GAMMA, n)
    for t in range(steps):
        none = torch.zeros(n)
        reference.add(np.zeros((n, 1)), np.zeros((n, 1)), reward[t], starts[t], torch.from_numpy(value[t]), none)
    reference.compute_returns_and_advantage(torch.from_numpy(last), dones)
    ended = torch.from_numpy(np.concatenate([starts[1:], dones[None]]).T.astype(np.float64))
    found, returns = advantages(
        torch.from_numpy(reward.T.copy()), torch.from_numpy(value.T.copy()), torch.from_numpy(last), ended,
        torch.zeros(n, steps, dtype=torch.float64), torch.full((n, steps), EVENT_S, dtype=torch.float64), GAMMA, LAMBDA,
    )  # fmt: skip
    np.testing.assert_allclose(found, reference.advantages.T, atol=1e-5)
    np.testing.assert_allclose(returns, reference.returns.T, atol=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.77])
def test_an_event_more_changes_no_advantage(share: float) -> None:
    """An interval cut in two, without a reward at the cut and with the value that the discount asks for there."""
    dt_s, after = 0.03, 2.0
    whole, _ = advantages(row(0.4), row(1.0), torch.tensor([after]), row(0.0), row(0.0), row(dt_s), GAMMA, LAMBDA)
    cut = GAMMA ** ((1.0 - share) * dt_s / EVENT_S) * after + 0.4 / GAMMA ** (share * dt_s / EVENT_S)
    earned = 0.4 / GAMMA ** (share * dt_s / EVENT_S)
    parts, _ = advantages(
        row(0.0, earned), row(1.0, cut), torch.tensor([after]), row(0.0, 0.0), row(0.0, 0.0),
        row(share * dt_s, (1.0 - share) * dt_s), GAMMA, LAMBDA,
    )  # fmt: skip
    np.testing.assert_allclose(parts[0, 0], whole[0, 0], rtol=1e-6)
    np.testing.assert_allclose(parts[0, 1], 0.0, atol=1e-6)
