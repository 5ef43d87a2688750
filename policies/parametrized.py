"""Tensors of a module that are computed from stored ones: what computes them, and how to make them plain again."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


def parametrizations(module: nn.Module) -> dict[str, list[nn.Module]]:
    """What computes each parametrized tensor of a module, in the order in which it acts."""
    if not parametrize.is_parametrized(module):
        return {}
    return {name: list(cast(nn.ModuleList, steps)) for name, steps in _lists(module).items()}


def make_plain(module: nn.Module) -> None:
    """Replace the parametrized tensors of a module by their values, held by the same parameters where these fit.

    `parametrize.remove_parametrizations` would take them from the module's class, which copies share.
    """
    values = {name: cast(Tensor, getattr(module, name)).detach().clone() for name in parametrizations(module)}
    stored = {name: getattr(_lists(module)[name], "original", None) for name in values}
    if values:
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
    for name, value in values.items():
        own = stored[name]
        parameter = own if isinstance(own, nn.Parameter) and own.shape == value.shape else nn.Parameter(value)
        with torch.no_grad():
            parameter.copy_(value)
        module.register_parameter(name, parameter)


def _lists(module: nn.Module) -> nn.ModuleDict:
    return cast(nn.ModuleDict, module.parametrizations)
