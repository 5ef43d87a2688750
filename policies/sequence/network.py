"""Whole sequences of events through a policy network: one call of C where its cell has a fragment, else in steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from liquid_pilot.cells import weight_shapes
from liquid_pilot.native import NativeBuildError, NativeUnavailable
from policies.cells.cell import abstract
from policies.cells.wired import Wired
from policies.fragments import CELL_FILES
from policies.sequence.choose import say_once
from policies.sequence.compiled import cfc_kernel
from policies.sequence.kernel import REALS, run

if TYPE_CHECKING:
    from policies.network import PolicyNetwork


def network_sequence(
    network: PolicyNetwork, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """x: (B, T, inputs), dt_s and mask: (B, T), h: (B, state_width) -> actions (B, T, outputs), last state.

    Where the mask is False the state is kept. The numbers of `looped`, sooner where it can.
    """
    if not network.spec.units:
        return network.act(network.features(x, h)), h
    if isinstance(network.cell, Wired):
        motor, last = network.cell.sequence(x, dt_s, h, mask)
        return network.act(motor), last
    fits = network.spec.form in CELL_FILES and x.dtype in REALS and x.dtype == h.dtype and x.device.type == "cpu"
    if fits and not abstract() and not dt_s.requires_grad:
        try:
            states, last = compiled(network, x, dt_s, h, mask)
            return network.act(states), last
        except (NativeUnavailable, NativeBuildError) as error:
            say_once(str(error))
    return looped(network, x, dt_s, h, mask)


def compiled(network: PolicyNetwork, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """States (B, T, state_width) and the last one. Raises `NativeUnavailable` without a C compiler."""
    spec = network.spec
    kernel = cfc_kernel(replace(spec, outputs=1, time_unit_s=1.0), x.dtype)
    own = network.named_weights()
    names = [name for name in weight_shapes(spec) if not name.startswith(("readout.", "encoder."))]
    weights = torch.cat([own[name].reshape(-1) for name in names])
    dt = (dt_s / spec.time_unit_s).to(x.dtype)
    if mask is not None:
        x, dt = torch.where(mask[:, :, None], x, 0.0), torch.where(mask, dt, 0.0)
    return run(kernel, weights, x, dt, h, None if mask is None else mask.to(x.dtype))


def looped(network: PolicyNetwork, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The reference: one step after the other."""
    actions = []
    for t in range(x.shape[1]):
        action, following = network.step(x[:, t], h, dt_s[:, t])
        h = following if mask is None else torch.where(mask[:, t, None], following, h)
        actions.append(action)
    return torch.stack(actions, dim=1), h
