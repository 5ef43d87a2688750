"""Build a policy for a Cortex-M7 and fly it in QEMU: parity with numpy, instructions a step, flash, RAM, and rates.

Needs arm-none-eabi-gcc with newlib and qemu-system-arm; where they are missing it says how to install them.

Examples:
  python -m scripts.cortex_m7                    # the shipped policy
  python -m scripts.cortex_m7 hover --int8 --q15
  python -m scripts.cortex_m7 runs/hover/policy.safetensors --json m7.json
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from liquid_pilot.bundle import SELFTEST_TOLERANCE, load_bundle
from liquid_pilot.export.core import Storage
from liquid_pilot.export.policy import Q15_TOLERANCE
from scripts.console import OUT, exit_code
from scripts.cortex_m7.emulate import CLOCKS_MHZ, CYCLES_PER_INSTRUCTION, EmulationError, Measured, measure
from scripts.files import check_file, write_json

MOST_INSTRUCTIONS, MOST_FLASH_BYTES, MOST_RAM_BYTES = 20_000, 40_000, 1024


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


def lines(found: Measured) -> list[str]:
    """The figures as text, with what they must not exceed."""
    few, many = CYCLES_PER_INSTRUCTION
    told = [
        f"{found.policy} on a Cortex-M7 (QEMU, mps2-an500)",
        f"  self-test on the target      {found.selftest_difference:.1e} from what was recorded",
        f"  1,000 steps against numpy    {found.difference:.1e} at most, any action, dt 0 to 50 ms",
        f"  instructions a step          {found.instructions:,.0f} (spread {found.instructions_spread}; "
        f"at most {MOST_INSTRUCTIONS:,})",
        f"  flash                        {found.flash_bytes:,} bytes of code and constants, self-test included "
        f"(at most {MOST_FLASH_BYTES:,})",
        f"  RAM                          {found.ram_bytes:,} bytes: state {found.state_bytes}, stack of a step "
        f"{found.stack_bytes} (at most {MOST_RAM_BYTES:,})",
    ]
    for clock in CLOCKS_MHZ:
        low, high = found.rates_hz(clock)
        told.append(
            f"  at {clock} MHz                   {low / 1e3:.1f} to {high / 1e3:.1f} kHz, if an instruction takes "
            f"{few:g} to {many:g} cycles (assumed; QEMU counts none)"
        )
    return told


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
    tolerance = Q15_TOLERANCE if options.q15 else SELFTEST_TOLERANCE
    wrong = [
        f"{what} is {value:g}, allowed is {most:g}"
        for what, value, most in (
            ("the self-test's difference", found.selftest_difference, tolerance),
            ("the difference from numpy", found.difference, tolerance),
            ("the number of instructions", found.instructions, MOST_INSTRUCTIONS),
            ("flash in bytes", found.flash_bytes, MOST_FLASH_BYTES),
            ("RAM in bytes", found.ram_bytes, MOST_RAM_BYTES),
        )
        if not value <= most
    ]
    if wrong:
        raise EmulationError("; ".join(wrong))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.cortex_m7`. Returns the exit code."""
    options = tyro.cli(Options, prog="python -m scripts.cortex_m7", args=argv, description=__doc__)
    return exit_code(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
