"""Starts a run from the weights of a policy file, whatever method trained it."""

from __future__ import annotations

from collections.abc import Sequence

from envs.airframe import Airframe
from liquid_pilot.bundle import Bundle
from liquid_pilot.cells import CellSpec
from liquid_pilot.command import CommandLimits
from liquid_pilot.errors import ConfigError
from liquid_pilot.schema import cell_field
from policies.network import PolicyNetwork


def check_start(bundle: Bundle, spec: CellSpec, limits: CommandLimits, airframe: Airframe, task: str) -> None:
    """Raise `ConfigError` unless the policy's weights mean the same in a run of this cell, limits and airframe.

    That its observation layout is the present one was proved when it was loaded.
    """
    there = cell_field(bundle.spec) | {
        "wiring": bundle.spec.wiring,
        "encoder": bundle.spec.encoder,
        "command limits": bundle.limits,
        "airframe": bundle.metadata["airframe"],
        "task": bundle.task,
    }
    here = cell_field(spec) | {
        "wiring": spec.wiring,
        "encoder": spec.encoder,
        "command limits": limits,
        "airframe": airframe.name,
        "task": task,
    }
    differing = [f"{name}: {there[name]} there, {here[name]} here" for name in here if there[name] != here[name]]
    if differing:
        raise ConfigError(
            f"policy {bundle.name!r} cannot start this run ({'; '.join(differing)}); train with its cell, sizes, time "
            "unit and airframe, or start from another policy"
        )


def start_from(networks: Sequence[PolicyNetwork], bundle: Bundle) -> str:
    """Copy the weights of a policy that `check_start` let pass into each network; returns the policy's sha256."""
    state = PolicyNetwork.from_bundle(bundle).state_dict()
    for network in networks:
        network.load_state_dict(state)
    return str(bundle.metadata["sha256"])
