"""A policy as a teacher of HalfCheetah: it sees the true body at every call, whatever reaches the learner."""

from __future__ import annotations

import numpy as np
import torch

from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.errors import ConfigError, TrainingError
from liquid_pilot.half_cheetah import TASK, CheetahLayout
from policies.half_cheetah.herd import F32, View
from policies.network import PolicyNetwork


class CheetahTeacher:
    """name, sha256: of the policy. Raises `ConfigError` for a policy of another task, simulator or observation."""

    def __init__(self, bundle: Bundle, simulator: str) -> None:
        meta = bundle.metadata
        found = (bundle.task, meta.get("simulator"), meta.get("observe"))
        if found != (TASK, simulator, "full"):
            raise ConfigError(
                f"expert {bundle.name!r} is of {found}; it must be of {(TASK, simulator, 'full')}; train one with "
                "`python -m scripts.train half-cheetah --method teacher`"
            )
        self.name, self.sha256 = bundle.name, str(meta["sha256"])
        self._network, self._layout = PolicyNetwork.from_bundle(bundle), CheetahLayout(simulator)
        self.reset(0)

    def reset(self, cheetahs: int) -> None:
        """So many new episodes."""
        self._h = self._network.initial_state(cheetahs)

    def act(self, view: View) -> F32:
        """Actions (N, 6) in -1..1. Raises `TrainingError` where one is not finite."""
        rows = zip(view.state, view.dt_s.tolist(), strict=True)
        seen = np.stack([self._layout.assemble(state, True, 0.0, dt) for state, dt in rows])
        with torch.no_grad():
            action, self._h = self._network.step(torch.from_numpy(seen), self._h, torch.from_numpy(view.dt_s))
        found: F32 = action.numpy()
        if not np.isfinite(found).all():
            raise TrainingError(f"expert {self.name!r} answers with what is not finite; choose another expert")
        return found


def load_teacher(expert: str, simulator: str) -> CheetahTeacher:
    """By shipped name or path. Raises `ConfigError` or `BundleError`."""
    return CheetahTeacher(load_bundle(expert), simulator)
