"""The wiring of a cell as a policy file states it: which inputs and neurons each of its neurons hears."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import ConfigError

Mask: TypeAlias = npt.NDArray[np.bool_]

LAYERS: Final = ("inter", "command", "motor")  # in the order of flow, from the inputs to the outputs
_LIVE: Final = "1"


@dataclass(frozen=True, slots=True)
class CellWiring:
    """Synapses of a neural circuit policy: inputs -> inter -> command -> motor, within a layer too.

    inter, command, motor: a row for each neuron, in it a character for each source: "1" where a synapse lives, "0"
    where none is. Sources are the layer before (the inputs for inter), then the neurons of the layer itself.
    seed: that the synapses were drawn with. Raises `ConfigError`.
    """

    inter: tuple[str, ...]
    command: tuple[str, ...]
    motor: tuple[str, ...]
    seed: int

    def __post_init__(self) -> None:
        for name in LAYERS:
            rows: Any = getattr(self, name)
            if not isinstance(rows, tuple) or not rows or not all(isinstance(row, str) for row in rows):
                raise ConfigError(f"wiring.{name} is {rows!r:.60}; give a row of '0' and '1' for each of its neurons")
            if any(set(row) - {"0", _LIVE} or _LIVE not in row for row in rows):
                raise ConfigError(f"wiring.{name} is {rows!r:.60}; a row is made of '0' and '1', with one '1' at least")
        if type(self.seed) is not int or self.seed < 0:
            raise ConfigError(f"wiring.seed is {self.seed!r}; give a whole number of at least 0")
        for name, heard in zip(LAYERS, (max(1, self.inputs), *self.sizes), strict=False):
            rows, wanted = getattr(self, name), heard + len(getattr(self, name))
            if any(len(row) != wanted for row in rows):
                found = sorted({len(row) for row in rows})
                raise ConfigError(
                    f"rows of wiring.{name} have {found} characters; give {wanted}: {heard} for what the layer hears, "
                    f"{len(rows)} for itself"
                )

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.sizes))} of seed {self.seed}"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each layer."""
        return tuple(len(getattr(self, name)) for name in LAYERS)

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return len(self.inter[0]) - len(self.inter)

    @property
    def masks(self) -> dict[str, Mask]:
        """For each layer, True where a synapse lives: (neurons, width of the layer before + neurons)."""
        return {name: np.array([[c == _LIVE for c in row] for row in getattr(self, name)]) for name in LAYERS}

    @property
    def live_synapses(self) -> int:
        """Pairs of source and neuron that a synapse joins; each has one weight in every matrix of the form."""
        return sum(row.count(_LIVE) for name in LAYERS for row in getattr(self, name))

    @property
    def possible_synapses(self) -> int:
        """All pairs in the layers: live synapses if nothing were left out."""
        return sum(len(row) for name in LAYERS for row in getattr(self, name))
