"""Build a policy for a Cortex-M7 and fly it in QEMU: parity with numpy, instructions a step, flash, RAM, and rates.

Of a policy that sees also: instructions a flow grid, from NAME_see to its features, and what a grid's command takes.

Needs arm-none-eabi-gcc with newlib and qemu-system-arm; where they are missing it says how to install them.

Examples:
  python -m scripts.cortex_m7                    # the shipped policy
  python -m scripts.cortex_m7 hover --int8 --q15
  python -m scripts.cortex_m7 avoid              # one that sees
  python -m scripts.cortex_m7 runs/hover/policy.safetensors --json m7.json
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import tyro

from liquid_pilot.bundle import SELFTEST_TOLERANCE, load_bundle
from liquid_pilot.export.core import Storage
from liquid_pilot.export.policy import Q15_TOLERANCE
from scripts.console import OUT, exit_code
from scripts.cortex_m7.drawn import GRIDS, STEPS
from scripts.cortex_m7.emulate import (
    CLOCKS_MHZ,
    CYCLES_PER_INSTRUCTION,
    GRID_HZ,
    IMU_HZ,
    EmulationError,
    Measured,
    measure,
)
from scripts.files import check_file, write_json


@dataclass(frozen=True, slots=True)
class Most:
    """What a policy may need: instructions of a step and of a grid, bytes of flash and of RAM."""

    instructions: int
    grid_instructions: int
    flash_bytes: int
    ram_bytes: int


BLIND: Final = Most(20_000, 0, 40_000, 1024)
SEEING: Final = Most(30_000, 80_000, 160_000, 2560)  # an encoder of 22,000 weights, and a cell with more inputs


@dataclass(frozen=True)
class Options:
    """What is built."""

    policy: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")] = "hover"
    """Shipped name, or path of a .safetensors file."""
    int8: bool = False
    """Weights as int8."""
    q15: bool = False
    """The state as int16 between steps."""
    json: Path | None = None
    """Write the figures as one JSON object to this file."""


def most(found: Measured) -> Most:
    """What it is held to."""
    return BLIND if found.grid is None else SEEING


def lines(found: Measured) -> list[str]:
    """The figures as text, with what they must not exceed."""
    few, many = CYCLES_PER_INSTRUCTION
    limit, grid, stack = most(found), found.grid, f"stack of a step {found.stack_bytes}"
    seen = []
    if grid is not None:
        stack += f", of a grid {grid.stack_bytes}"
        seen = [
            f"  instructions a grid          {grid.instructions:,.0f} (spread {grid.instructions_spread}; "
            f"at most {limit.grid_instructions:,})",
            f"  {GRIDS} grids against numpy      {grid.difference:.1e} at most, any feature, and any action of the "
            "step after it",
        ]
    told = [
        f"{found.policy} on a Cortex-M7 (QEMU, mps2-an500)",
        f"  self-test on the target      {found.selftest_difference:.1e} from what was recorded",
        f"  {STEPS:,} steps against numpy    {found.difference:.1e} at most, any action, dt 0 to 50 ms",
        f"  instructions a step          {found.instructions:,.0f} (spread {found.instructions_spread}; "
        f"at most {limit.instructions:,})",
        *seen,
        f"  flash                        {found.flash_bytes:,} bytes of code and constants, self-test included "
        f"(at most {limit.flash_bytes:,})",
        f"  RAM                          {found.ram_bytes:,} bytes: state {found.state_bytes}, {stack} "
        f"(at most {limit.ram_bytes:,})",
    ]
    for clock in CLOCKS_MHZ:
        told += at_clock(found, clock)
    return [*told, f"  where an instruction takes {few:g} to {many:g} cycles (assumed; QEMU counts none)"]


def at_clock(found: Measured, clock_mhz: float) -> list[str]:
    """Rates, times and shares of a processor at this clock, as text."""
    low, high = found.rates_hz(clock_mhz)
    least, largest = found.shares(clock_mhz, IMU_HZ, GRID_HZ)
    grids = "" if found.grid is None else f" and {GRID_HZ:g} grids"
    told = [
        f"  at {clock_mhz:g} MHz                   {low / 1e3:.1f} to {high / 1e3:.1f} kHz; "
        f"{least:.1%} to {largest:.1%} of its time for {IMU_HZ:g} steps{grids} a second"
    ]
    if found.grid is not None:
        quick, slow = found.answer_s(clock_mhz)
        told.append(f"{'':31}{1e3 * quick:.2f} to {1e3 * slow:.2f} ms for a grid and the step that answers it")
    return told


def exceeded(found: Measured, tolerance: float) -> list[str]:
    """What is too far from numpy or more than it may be, a phrase each."""
    limit = most(found)
    judged = [
        ("the self-test's difference", found.selftest_difference, tolerance),
        ("the difference from numpy", found.difference, tolerance),
        ("the number of instructions", found.instructions, limit.instructions),
        ("flash in bytes", found.flash_bytes, limit.flash_bytes),
        ("RAM in bytes", found.ram_bytes, limit.ram_bytes),
    ]
    if found.grid is not None:
        judged += [
            ("the difference of grids from numpy", found.grid.difference, tolerance),
            ("the number of instructions of a grid", found.grid.instructions, limit.grid_instructions),
        ]
    return [f"{what} is {value:g}, allowed is {allowed:g}" for what, value, allowed in judged if not value <= allowed]


def run(options: Options) -> None:
    """Measure, print, judge. Raises `EmulationError` where the target computes something else or needs too much."""
    if options.json is not None:
        check_file("--json", options.json, ".json")
    storage = Storage(options.int8, options.q15)
    found = measure(load_bundle(options.policy), storage)
    OUT.print("\n".join(lines(found)), highlight=False, soft_wrap=True)
    if options.json is not None:
        write_json(options.json, asdict(found) | asdict(storage))
        OUT.print(f"wrote {options.json}")
    wrong = exceeded(found, Q15_TOLERANCE if options.q15 else SELFTEST_TOLERANCE)
    if wrong:
        raise EmulationError("; ".join(wrong))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.cortex_m7`. Returns the exit code."""
    options = tyro.cli(Options, prog="python -m scripts.cortex_m7", args=argv, description=__doc__)
    return exit_code(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
