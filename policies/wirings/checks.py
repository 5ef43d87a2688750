"""What makes a wiring sound: sizes, polarities, the order of flow, and that every neuron takes part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import ConfigError, unknown_name

Polarity: TypeAlias = npt.NDArray[np.int8]
Flags: TypeAlias = npt.NDArray[np.bool_]

LARGEST: Final = 4096  # inputs, and neurons: a wiring is held as dense matrices
_NAMED: Final = 6  # neurons that a message lists one by one


def check_range(name: str, value: Any, low: int, high: int, why: str = "") -> None:
    """Raise `ConfigError` unless value is a whole number from low to high. why: what sets the limit."""
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; give a whole number from {low} to {high}{why and f', {why}'}")


def check_counts(**counts: Any) -> None:
    """Raise `ConfigError` unless each is a whole number from 1 to `LARGEST`."""
    for name, value in counts.items():
        check_range(name, value, 1, LARGEST)


def check_names(names: Any, layers: Any) -> None:
    """Raise `ConfigError` unless both are tuples of one length: sizes, and texts that differ."""
    if not isinstance(layers, tuple) or not layers:
        raise ConfigError(f"layers is {layers!r}; give a tuple of the sizes of the layers, in order of flow")
    for size in layers:
        check_range("size of a layer", size, 1, LARGEST)
    check_range("number of neurons", sum(layers), 1, LARGEST)
    texts = isinstance(names, tuple) and all(isinstance(name, str) and name for name in names)
    if not texts or len(set(names)) != len(names) or len(names) != len(layers):
        raise ConfigError(f"names is {names!r}; give a tuple of {len(layers)} different texts, one for each layer")


def check_inputs(sensory: Polarity, allow_unused: Any) -> None:
    """Raise `ConfigError`, with their numbers, if synapses leave only some inputs and that is not allowed."""
    if not isinstance(allow_unused, bool):
        raise ConfigError(f"allow_unused_inputs is {allow_unused!r}; give True or False")
    unused = np.flatnonzero(~sensory.any(axis=1))
    if unused.size and not allow_unused:
        raise ConfigError(
            f"no synapse leaves {listed([f'input {i}' for i in unused])}; connect each to the first layer, "
            "or say allow_unused_inputs=True"
        )


def check_rates(slow_layers: Any, trigger: Any, names: Sequence[str], inputs: int) -> None:
    """Raise `ConfigError` unless slow layers are layers, named once, and an input triggers them if there are any."""
    if not isinstance(slow_layers, tuple):
        raise ConfigError(f"the slow layers are {slow_layers!r}; give a tuple of names of layers")
    for name in slow_layers:
        if name not in names:
            raise ConfigError(unknown_name("layer", name, list(names)))
    if len(set(slow_layers)) != len(slow_layers):
        raise ConfigError(f"the slow layers are {slow_layers!r}; name each of them once")
    if trigger is not None:
        check_range("trigger", trigger, 0, inputs - 1, "the index of an input")
    if bool(slow_layers) != (trigger is not None):
        raise ConfigError(f"slow layers {slow_layers!r} with trigger {trigger!r}; give both, or neither")


def checked_polarity(name: str, matrix: Any, shape: tuple[int, int] | None = None) -> Polarity:
    """Read-only int8 copy of [source, target]. Raises `ConfigError` unless it holds -1, 0, +1 alone, in this shape."""
    array = isinstance(matrix, np.ndarray)
    if not array or matrix.dtype.kind not in "iu" or matrix.ndim != 2 or shape not in (None, matrix.shape):
        found = f"{matrix.dtype} {matrix.shape}" if array else f"a {type(matrix).__name__}"
        raise ConfigError(f"{name} is {found}; give an array of whole numbers {shape or ''}, [source, target]")
    bad = (matrix > 1) | (matrix < -1)
    if bad.any():
        raise ConfigError(f"{name} holds {matrix[bad][0]}; a polarity is -1, 0 (no synapse) or +1")
    copy: Polarity = matrix.astype(np.int8)
    copy.setflags(write=False)
    return copy


def check_flow(layers: Sequence[int], names: Sequence[str], recurrent: Polarity, sensory: Polarity) -> None:
    """Raise `ConfigError` if a synapse skips a layer or goes backwards. Inputs feed the first layer."""
    layer_of, labels = np.repeat(np.arange(len(layers)), layers), neuron_labels(layers, names)
    steps = layer_of[None, :] - layer_of[:, None]
    astray = [(labels[i], labels[j]) for i, j in _pairs((recurrent != 0) & (steps != 0) & (steps != 1))]
    astray += [(f"input {i}", labels[j]) for i, j in _pairs((sensory != 0) & (layer_of > 0))]
    if astray:
        raise ConfigError(
            f"synapses lead from {listed([f'{source} to {target}' for source, target in astray])}; each stays in its "
            "layer or leads to the next one; give one layer for a wiring without an order"
        )


def check_connected(labels: Sequence[str], recurrent: Polarity, sensory: Polarity, outputs: int) -> None:
    """Raise `ConfigError`, with the names, if no input acts on a neuron or a neuron acts on no motor neuron."""
    deaf, mute = ~driven(recurrent, sensory), ~heard(recurrent, outputs)
    for flags, fault, fix in (
        (deaf, "no input acts on", "give each an incoming synapse from an input or from a neuron that one acts on"),
        (mute, "no motor neuron hears", "give each a synapse to a motor neuron or to a neuron that one hears"),
    ):
        if flags.any():
            raise ConfigError(
                f"{fault} {listed([label for label, flag in zip(labels, flags, strict=True) if flag])}; {fix}"
            )


def driven(recurrent: Polarity, sensory: Polarity) -> Flags:
    """Neurons to which synapses lead from some input, (units,)."""
    return _closure((sensory != 0).any(axis=0), recurrent != 0)


def heard(recurrent: Polarity, outputs: int) -> Flags:
    """Neurons from which synapses lead to a motor neuron, motor neurons included, (units,)."""
    units = len(recurrent)
    return _closure(np.arange(units) >= units - outputs, recurrent.T != 0)


def neuron_labels(layers: Sequence[int], names: Sequence[str]) -> list[str]:
    """A name for each neuron: its layer and its place there, from 0."""
    return [f"{name} {i}" for name, size in zip(names, layers, strict=True) for i in range(size)]


def listed(labels: Sequence[str]) -> str:
    """The labels for a message, the first few of them where there are many."""
    rest = len(labels) - _NAMED
    return ", ".join(labels[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _pairs(flags: Flags) -> list[list[int]]:
    pairs: list[list[int]] = np.argwhere(flags).tolist()
    return pairs


def _closure(start: Flags, follows: Flags) -> Flags:
    """Everything that is reached from start along follows[source, target]."""
    reached: Flags = start.copy()
    fresh = start
    while fresh.any():
        fresh = follows[fresh].any(axis=0) & ~reached
        reached |= fresh
    return reached
