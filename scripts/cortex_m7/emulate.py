"""Build an exported policy for a Cortex-M7, fly it in QEMU, and read what the emulated processor says.

QEMU counts instructions exactly (`-icount shift=0`: each takes one nanosecond of virtual time, and the timer of the
mps2-an500 ticks at 25 MHz, every 40 of them), but no cycles: how many of these an instruction takes is assumed.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from liquid_pilot.bundle import Bundle
from liquid_pilot.encoder import EncoderSpec
from liquid_pilot.errors import ConfigError, LiquidPilotError
from liquid_pilot.export.core import FLOAT, Storage
from liquid_pilot.export.policy import export_c, write_c
from liquid_pilot.export.quantise import quantised_network
from liquid_pilot.selftest import replay
from liquid_pilot.stepper import Stepper
from scripts.cortex_m7.drawn import F32, GRIDS, STEPS, answers, drawn_events, drawn_grids

COMPILER: Final = "arm-none-eabi-gcc"
SIZE: Final = "arm-none-eabi-size"
EMULATOR: Final = "qemu-system-arm"
INSTALL: Final = (
    "apt-get install --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm "
    "(Debian, Ubuntu; about 1 GB)"
)
PROCESSOR: Final = ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard")
FLAGS: Final = (
    "-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-funroll-loops", "-ffp-contract=fast",
    "-ffunction-sections", "-fdata-sections",
)  # fmt: skip
WATCHED_BYTES: Final = 4 * 4096  # of the stack, as in main.c
INSTRUCTIONS_PER_TICK: Final = 40
CYCLES_PER_INSTRUCTION: Final = (1.0, 1.5)  # assumed: code and weights in tightly coupled memory or cache
CLOCKS_MHZ: Final = (216, 480)
IMU_HZ: Final = 400.0  # of the shares of a processor's time that are told
GRID_HZ: Final = 30.0
MOST_SECONDS: Final = 120.0
HERE: Final = Path(__file__).parent
_NAME: Final = "policy"


class EmulationError(LiquidPilotError, RuntimeError):
    """The cross compiler or the emulator failed; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class MeasuredGrid:
    """What a flow grid needs on a Cortex-M7: one call of `NAME_see`, rotation taken out and the encoder run.

    instructions: the mean over 100 grids; instructions_spread: between the least and the most of them, to 40.
    stack_bytes: its deepest use. difference: largest from numpy of any feature, and of any action of the steps in
    physical units that answer them.
    """

    instructions: float
    instructions_spread: int
    stack_bytes: int
    difference: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What one policy needs on a Cortex-M7.

    instructions: of a step, the mean over 1,000; instructions_spread: between the least and the most of them, to 40.
    flash_bytes: code and constants of the policy's object file, self-test included. ram_bytes: state_bytes, and the
    deepest stack; stack_bytes: that of a step in physical units. difference: largest of any action from numpy;
    selftest_difference: what the target found itself. grid: of a policy that sees, None of others.
    """

    policy: str
    instructions: float
    instructions_spread: int
    flash_bytes: int
    state_bytes: int
    stack_bytes: int
    difference: float
    selftest_difference: float
    grid: MeasuredGrid | None = None

    @property
    def ram_bytes(self) -> int:
        """State, and the deeper of the stacks of a step and of a grid, which are not used at once."""
        return self.state_bytes + max(self.stack_bytes, 0 if self.grid is None else self.grid.stack_bytes)

    def rates_hz(self, clock_mhz: float) -> tuple[float, float]:
        """Steps in a second at the lower and upper end of what an instruction is assumed to take."""
        fast, slow = CYCLES_PER_INSTRUCTION
        return clock_mhz * 1e6 / (self.instructions * slow), clock_mhz * 1e6 / (self.instructions * fast)

    def shares(self, clock_mhz: float, imu_hz: float, grid_hz: float) -> tuple[float, float]:
        """Least and largest share of the processor's time, as `rates_hz` assumes, for so many steps and grids a second.

        grid_hz is of no account where the policy does not see.
        """
        grid = 0.0 if self.grid is None else self.grid.instructions
        return _seconds(self.instructions * imu_hz + grid * grid_hz, clock_mhz)

    def answer_s(self, clock_mhz: float) -> tuple[float, float]:
        """Least and most seconds, as `rates_hz` assumes, of a grid and the step that answers it; else of a step."""
        return _seconds(self.instructions + (0.0 if self.grid is None else self.grid.instructions), clock_mhz)


def _seconds(instructions: float, clock_mhz: float) -> tuple[float, float]:
    """At the lower and upper end of what an instruction is assumed to take."""
    fast, slow = CYCLES_PER_INSTRUCTION
    return instructions * fast / (clock_mhz * 1e6), instructions * slow / (clock_mhz * 1e6)


def missing_tools() -> list[str]:
    """Programs that are not there."""
    return [name for name in (COMPILER, SIZE, EMULATOR) if shutil.which(name) is None]


def check_tools() -> None:
    """Raise `ConfigError` with the line that installs what is missing."""
    missing = missing_tools()
    if missing:
        raise ConfigError(f"{', '.join(missing)} is not on the PATH; install it: {INSTALL}")


def measure(bundle: Bundle, storage: Storage = FLOAT, flags: Sequence[str] = FLAGS) -> Measured:
    """Build, fly, compare. Raises `ConfigError` where a tool is missing, `EmulationError` where one fails."""
    check_tools()
    with tempfile.TemporaryDirectory(prefix="cortex-m7-") as scratch:
        folder = Path(scratch)
        write_c(export_c(bundle, _NAME, storage), folder)
        _build(folder, flags)
        sections = _run([SIZE, "-A", "policy.o"], folder).splitlines()
        said = _said(_fly(folder))
    network = quantised_network(bundle, storage)
    wanted, _ = replay(network, *drawn_events(bundle.spec.inputs))
    instructions, spread = _instructions(said["ticks"], STEPS)
    return Measured(
        policy=bundle.name,
        instructions=instructions,
        instructions_spread=spread,
        flash_bytes=sum(_section(line) for line in sections),
        state_bytes=said["state"][0][0],
        stack_bytes=_stack(said["stack"]),
        difference=_apart(said["step"], wanted),
        selftest_difference=float(np.array(said["selftest"][0], np.uint32).view(np.float32)[0]),
        grid=None if bundle.spec.encoder is None else _measured_grid(bundle, bundle.spec.encoder, network, said),
    )


def _measured_grid(
    bundle: Bundle, spec: EncoderSpec, network: Stepper, said: Mapping[str, list[list[int]]]
) -> MeasuredGrid:
    instructions, spread = _instructions(said["grid_ticks"], GRIDS)
    features, actions = answers(bundle, spec, network, drawn_grids(spec))
    difference = max(_apart(said["features"], features), _apart(said["answer"], actions))
    return MeasuredGrid(instructions, spread, _stack(said["grid_stack"]), difference)


def _instructions(ticks: list[list[int]], calls: int) -> tuple[float, int]:
    """Mean of a call, and what lies between the least and the most."""
    ((sum_, idle, least, most),) = ticks
    return (sum_ - idle) * INSTRUCTIONS_PER_TICK / calls, (most - least) * INSTRUCTIONS_PER_TICK


def _stack(said: list[list[int]]) -> int:
    ((bytes_,),) = said
    if bytes_ >= WATCHED_BYTES:
        raise EmulationError(f"all {WATCHED_BYTES} bytes of stack that are watched are used; watch more in main.c")
    return bytes_


def _apart(bits: list[list[int]], wanted: F32) -> float:
    """Largest difference of any number; NaN where one is."""
    return float(np.abs(np.array(bits, np.uint32).view(np.float32) - wanted).max())


def _section(line: str) -> int:
    """Bytes of a line of `size -A`, if it is a section that lies in flash."""
    words = line.split()
    kept = len(words) == 3 and words[0].startswith((".text", ".rodata", ".data", ".ARM.exidx"))
    return int(words[1]) if kept else 0


def _build(folder: Path, flags: Sequence[str]) -> None:
    _run([COMPILER, *PROCESSOR, *flags, "-pedantic", "-c", "policy.c", "-o", "policy.o"], folder)
    own = [str(HERE / "main.c"), str(HERE / "startup.c"), "policy.o"]
    linked = ["-nostartfiles", "--specs=nosys.specs", "-T", str(HERE / "memory.ld"), "-Wl,--gc-sections"]
    _run([COMPILER, *PROCESSOR, *flags, "-I.", f"-I{HERE}", *own, *linked, "-o", "flown.elf"], folder)


def _fly(folder: Path) -> str:
    machine = ["-M", "mps2-an500", "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0"]
    hosted = ["-semihosting-config", "enable=on,target=native"]
    done = _run([EMULATOR, *machine, *hosted, "-kernel", "flown.elf"], folder, both=True)
    if "\nticks" not in done:
        raise EmulationError(f"the emulated processor stopped early and said: {done[-300:]!r}")
    return done


def _said(text: str) -> Mapping[str, list[list[int]]]:
    """Numbers of each kind of line."""
    found: dict[str, list[list[int]]] = {}
    for line in text.splitlines():
        word, *values = line.split()
        found.setdefault(word, []).append([int(value, 16) for value in values])
    return found


def _run(command: Sequence[str], folder: Path, both: bool = False) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=MOST_SECONDS,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise EmulationError(f"{command[0]} was still running after {MOST_SECONDS:g} s") from error
    if done.returncode != 0:
        said = (done.stderr + done.stdout)[:1500]
        raise EmulationError(f"{command[0]} ended with {done.returncode} and said: {said}")
    return done.stdout + (done.stderr if both else "")
