"""Sizes of the networks: 19 neurons, and rivals of as many parameters."""

from __future__ import annotations

from typing import Final

from liquid_pilot.cells import CellSpec, parameters
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.half_cheetah import ACTIONS
from policies.wirings.flown import flown_wiring

NEURONS: Final = 19
BACKBONE: Final = 32  # of decay, whose parameters the rivals have as well
LIQUID: Final = ("decay", "default", "no_gate", "pure")
RIVALS: Final = ("gru", "lstm", "mlp")
TIME_UNIT_S: Final = 0.0165
TEACHER_UNITS: Final = 128


def cheetah_spec(
    cell: str, inputs: int, time_unit_s: float = TIME_UNIT_S, wiring: str | None = None, wiring_seed: int = 0
) -> CellSpec:
    """The network of a cell by name. wiring: INTER-COMMAND-MOTOR, such as "8-5-6". Raises `ConfigError`."""
    if wiring is not None:
        drawn = flown_wiring(wiring, inputs, ACTIONS, wiring_seed)
        return CellSpec(cell, inputs, sum(drawn.sizes), ACTIONS, 0, 1, time_unit_s, drawn)
    if cell == "decay":
        return CellSpec(cell, inputs, NEURONS, ACTIONS, 1, BACKBONE, time_unit_s)
    if cell not in (*LIQUID, *RIVALS):
        raise ConfigError(unknown_name("cell", cell, [*LIQUID, *RIVALS]))
    wanted = parameters(cheetah_spec("decay", inputs, time_unit_s))
    sizes = [_sized(cell, inputs, size, time_unit_s) for size in range(4, 129)]
    return min(sizes, key=lambda spec: abs(parameters(spec) - wanted))


def _sized(cell: str, inputs: int, size: int, time_unit_s: float) -> CellSpec:
    if cell in LIQUID:
        return CellSpec(cell, inputs, NEURONS, ACTIONS, 1, size, time_unit_s)
    if cell == "mlp":
        return CellSpec(cell, inputs, 0, ACTIONS, 2, size, time_unit_s)
    return CellSpec(cell, inputs, size, ACTIONS, 0, 1, time_unit_s)


def teacher_spec(inputs: int, units: int = TEACHER_UNITS) -> CellSpec:
    """A teacher has no memory and two wide layers."""
    return CellSpec("mlp", inputs, 0, ACTIONS, 2, units, TIME_UNIT_S)
