"""Starts a run from the weights of a policy file."""

from __future__ import annotations

from collections.abc import Sequence

from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import ConfigError
from liquid_pilot.half_cheetah import TASK, CheetahLayout
from policies import warm_start
from policies.network import PolicyNetwork


def start_from(networks: Sequence[PolicyNetwork], bundle: Bundle, layout: CheetahLayout) -> str:
    """Copy the policy's weights into each network; returns its sha256.

    Raises `ConfigError` where they would not mean the same: another task, simulator, observation, cell or size.
    """
    meta = bundle.metadata
    there: dict[str, object] = {"task": bundle.task, "simulator": meta.get("simulator"), "observe": meta.get("observe")}
    here: dict[str, object] = {"task": TASK, "simulator": layout.simulator, "observe": layout.observe}
    there["cell"], here["cell"] = bundle.spec, networks[0].spec
    differing = [f"{name}: {there[name]} there, {here[name]} here" for name in here if there[name] != here[name]]
    if differing:
        raise ConfigError(
            f"policy {bundle.name!r} cannot start this run ({'; '.join(differing)}); train with its simulator, "
            "observation, cell and sizes, or start from another policy"
        )
    return warm_start.start_from(networks, bundle)
