"""A wiring: the synapses of a network as plain matrices of polarities, checked once and for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import ConfigError, MissingExtraError, unknown_name
from policies.wirings import checks
from policies.wirings.checks import Polarity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Mask: TypeAlias = npt.NDArray[np.float32]

RECURRENCE: Final = ("full", "wired")
ONE_LAYER: Final = "neurons"  # name of the layer of a wiring that has no order
_SCHEMA: Final = 1
_SIGNS: Final = {"-": -1, ".": 0, "+": 1}


@dataclass(frozen=True, eq=False)
class Wiring:
    """Which input and which neuron feeds which neuron: excitatory (+1), inhibitory (-1) or not at all (0).

    layers: sizes in the order of flow; neurons are numbered layer by layer, and the last `outputs` of them are the
    motor neurons. names: of the layers. recurrent: (units, units), sensory: (inputs, units), both [source, target],
    kept as read-only int8. A synapse stays in its layer or leads to the next one; inputs feed the first layer.
    slow_layers advance only when the input feature `trigger` is above 0.5. Raises `ConfigError`, with the names of the
    neurons, where no input acts on a neuron or a neuron acts on no motor neuron, and for an input without a synapse
    unless allow_unused_inputs.
    """

    inputs: int
    layers: tuple[int, ...]
    names: tuple[str, ...]
    recurrent: Polarity
    sensory: Polarity
    outputs: int
    slow_layers: tuple[str, ...] = ()
    trigger: int | None = None
    allow_unused_inputs: bool = False

    def __post_init__(self) -> None:
        checks.check_counts(inputs=self.inputs)
        checks.check_names(self.names, self.layers)
        checks.check_range("outputs", self.outputs, 1, self.layers[-1], "the size of the last layer")
        checks.check_rates(self.slow_layers, self.trigger, self.names, self.inputs)
        recurrent = checks.checked_polarity("recurrent", self.recurrent, (self.units, self.units))
        sensory = checks.checked_polarity("sensory", self.sensory, (self.inputs, self.units))
        checks.check_flow(self.layers, self.names, recurrent, sensory)
        checks.check_connected(checks.neuron_labels(self.layers, self.names), recurrent, sensory, self.outputs)
        checks.check_inputs(sensory, self.allow_unused_inputs)
        object.__setattr__(self, "recurrent", recurrent)
        object.__setattr__(self, "sensory", sensory)

    @classmethod
    def from_arrays(
        cls,
        sensory: npt.NDArray[np.integer[Any]],
        recurrent: npt.NDArray[np.integer[Any]],
        outputs: int,
        layers: Mapping[str, int] | None = None,
    ) -> Wiring:
        """Wiring of two matrices [source, target] of -1, 0, +1. layers: name and size of each, in the order of flow.

        Without layers it is one. Raises `ConfigError`.
        """
        from_inputs = checks.checked_polarity("sensory", sensory)
        between = checks.checked_polarity("recurrent", recurrent)
        sizes = {ONE_LAYER: len(between)} if layers is None else layers
        if not isinstance(sizes, Mapping):
            raise ConfigError(f"layers is {sizes!r}; give name and size of each layer, as {{'inter': 9, 'motor': 4}}")
        return cls(len(from_inputs), tuple(sizes.values()), tuple(sizes), between, from_inputs, outputs)

    @property
    def units(self) -> int:
        """Number of neurons."""
        return sum(self.layers)

    @property
    def synapses(self) -> int:
        """Number of synapses between neurons."""
        return int(np.count_nonzero(self.recurrent))

    @property
    def sensory_synapses(self) -> int:
        """Number of synapses from inputs to neurons."""
        return int(np.count_nonzero(self.sensory))

    @property
    def density(self) -> float:
        """Share of all pairs (input or neuron, neuron) that a synapse joins."""
        return (self.synapses + self.sensory_synapses) / (self.recurrent.size + self.sensory.size)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where each layer stands among the neurons."""
        ends = np.cumsum(self.layers).tolist()
        return tuple(slice(end - size, end) for end, size in zip(ends, self.layers, strict=True))

    def masks(self, recurrence: str = "full") -> tuple[Mask, ...]:
        """For each layer, 1 where a weight lives: (size, width + size), width of the layer before it, or `inputs`.

        Columns: [layer before or input; own layer]. recurrence, within a layer: "full" is all ones, as in the published
        wired CfC; "wired" follows the synapses, and lets each neuron see itself. Raises `ConfigError`.
        """
        if recurrence not in RECURRENCE:
            raise ConfigError(unknown_name("recurrence", recurrence, list(RECURRENCE)))
        masks, sources = [], self.sensory
        for here, size in zip(self.slices, self.layers, strict=True):
            own = (self.recurrent[here, here] != 0) | np.eye(size, dtype=bool) | (recurrence == "full")
            masks.append(np.concatenate([sources[:, here] != 0, own]).T.astype(np.float32, order="C"))
            sources = self.recurrent[here]
        return tuple(masks)

    def live_weights(self, recurrence: str = "full") -> int:
        """Ones in `masks`: the weights that one head of a wired CfC has, biases aside."""
        return int(sum(np.count_nonzero(mask) for mask in self.masks(recurrence)))

    def multi_rate(self, trigger: int, slow: Sequence[str] = ("command",)) -> Wiring:
        """The same synapses, with layers that advance only when the input feature `trigger` is above 0.5."""
        return replace(self, slow_layers=_tuple(slow), trigger=trigger)

    def to_json(self) -> dict[str, Any]:
        """The wiring as plain data; a row of signs (+ - .) for each source of synapses."""
        return {
            "schema": _SCHEMA,
            "inputs": self.inputs,
            "layers": list(self.layers),
            "names": list(self.names),
            "outputs": self.outputs,
            "sensory": _rows(self.sensory),
            "recurrent": _rows(self.recurrent),
            "slow_layers": list(self.slow_layers),
            "trigger": self.trigger,
            "allow_unused_inputs": self.allow_unused_inputs,
        }

    @classmethod
    def from_json(cls, data: Any) -> Wiring:
        """The wiring of `to_json`. Raises `ConfigError` for anything else."""
        if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
            found = f"schema {data.get('schema')!r}" if isinstance(data, dict) else f"a {type(data).__name__}"
            raise ConfigError(f"the wiring is {found}; give the plain data of Wiring.to_json, schema {_SCHEMA}")
        fields = {key: value for key, value in data.items() if key != "schema"}
        wanted = set(cls.__dataclass_fields__)
        if set(fields) != wanted:
            missing, extra = sorted(wanted - set(fields)), sorted(set(fields) - wanted, key=repr)
            raise ConfigError(f"the wiring misses {missing} and has unknown {extra}; it has just {sorted(wanted)}")
        for name in ("sensory", "recurrent"):
            fields[name] = _matrix(name, fields[name])
        for name in ("layers", "names", "slow_layers"):
            fields[name] = _tuple(fields[name])
        return cls(**fields)

    def draw(self, where: str | Path | Axes, input_names: Sequence[str] | None = None) -> Axes:
        """Picture of the wiring, into a file (png, svg, pdf) or into matplotlib axes, which it returns.

        Raises `ConfigError` for a number of names other than `inputs` and for an unknown kind of file,
        `MissingExtraError` when matplotlib is not installed.
        """
        try:
            import matplotlib  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                "pictures need the package matplotlib; install it with: pip install 'liquid-pilot[report]'"
            ) from error
        from policies.wirings.draw import draw_wiring

        return draw_wiring(self, where, input_names)


def _tuple(values: Any) -> Any:
    """A list as a tuple; anything else as it is, for the checks to judge."""
    return tuple(values) if isinstance(values, list) else values


def _rows(polarity: Polarity) -> list[str]:
    return ["".join("-.+"[value + 1] for value in row) for row in polarity.tolist()]


def _matrix(name: str, rows: Any) -> Polarity:
    """Inverse of `_rows`."""
    texts = isinstance(rows, list) and all(isinstance(row, str) and set(row) <= set(_SIGNS) for row in rows)
    if not texts or len({len(row) for row in rows}) != 1:
        raise ConfigError(
            f"{name} is not a list of rows of one length made of '+', '-' and '.'; give what to_json gave"
        )
    return np.array([[_SIGNS[sign] for sign in row] for row in rows], dtype=np.int8)
