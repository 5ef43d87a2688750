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
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import ConfigError, LiquidPilotError
from liquid_pilot.export.core import FLOAT, Storage
from liquid_pilot.export.policy import export_c, write_c
from liquid_pilot.export.quantise import quantised_network
from liquid_pilot.selftest import replay

F32: TypeAlias = npt.NDArray[np.float32]

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
STEPS: Final = 1000  # as in main.c
WATCHED_BYTES: Final = 4 * 4096  # of the stack, as in main.c
INSTRUCTIONS_PER_TICK: Final = 40
CYCLES_PER_INSTRUCTION: Final = (1.0, 1.5)  # assumed: code and weights in tightly coupled memory or cache
CLOCKS_MHZ: Final = (216, 480)
MOST_SECONDS: Final = 120.0
HERE: Final = Path(__file__).parent
_NAME: Final = "policy"


class EmulationError(LiquidPilotError, RuntimeError):
    """The cross compiler or the emulator failed; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one policy needs on a Cortex-M7.

    instructions: of a step, the mean over 1,000; instructions_spread: between the least and the most of them, to 40.
    flash_bytes: code and constants of the policy's object file, self-test included. ram_bytes: state_bytes, and
    stack_bytes, the deepest use by a step in physical units. difference: largest of any action from numpy;
    selftest_difference: what the target found itself.
    """

    policy: str
    instructions: float
    instructions_spread: int
    flash_bytes: int
    state_bytes: int
    stack_bytes: int
    difference: float
    selftest_difference: float

    @property
    def ram_bytes(self) -> int:
        """State and stack."""
        return self.state_bytes + self.stack_bytes

    def rates_hz(self, clock_mhz: float) -> tuple[float, float]:
        """Steps in a second at the lower and upper end of what an instruction is assumed to take."""
        fast, slow = CYCLES_PER_INSTRUCTION
        return clock_mhz * 1e6 / (self.instructions * slow), clock_mhz * 1e6 / (self.instructions * fast)


def missing_tools() -> list[str]:
    """Programs that are not there."""
    return [name for name in (COMPILER, SIZE, EMULATOR) if shutil.which(name) is None]


def check_tools() -> None:
    """Raise `ConfigError` with the line that installs what is missing."""
    missing = missing_tools()
    if missing:
        raise ConfigError(f"{', '.join(missing)} is not on the PATH; install it: {INSTALL}")


def drawn_events(inputs: int) -> tuple[F32, F32]:
    """Inputs (1000, inputs) within -2 and 2, and times (1000,) from 0 to 0.05 s: those of main.c, bit for bit."""
    x, dt_s, number = np.empty((STEPS, inputs), np.float32), np.empty(STEPS, np.float32), 1

    def drawn() -> np.float32:
        nonlocal number
        number = (number * 1664525 + 1013904223) % 2**32
        value: np.float32 = np.float32(number >> 8)
        return value

    for k in range(STEPS):
        for i in range(inputs):
            x[k, i] = drawn() * np.float32(1.0 / 4194304.0) - np.float32(2.0)
        dt_s[k] = drawn() * (np.float32(0.05) / np.float32(16777216.0))
    dt_s[::16] = 0.0
    return x, dt_s


def measure(bundle: Bundle, storage: Storage = FLOAT, flags: Sequence[str] = FLAGS) -> Measured:
    """Build, fly, compare. Raises `ConfigError` where a tool is missing, `EmulationError` where one fails."""
    check_tools()
    with tempfile.TemporaryDirectory(prefix="cortex-m7-") as scratch:
        folder = Path(scratch)
        write_c(export_c(bundle, _NAME, storage), folder)
        _build(folder, flags)
        sections = _run([SIZE, "-A", "policy.o"], folder).splitlines()
        said = _said(_fly(folder))
    if said["stack"][0][0] >= WATCHED_BYTES:
        raise EmulationError(f"the step uses all {WATCHED_BYTES} bytes of stack that are watched; watch more in main.c")
    network = quantised_network(bundle, storage)
    wanted, _ = replay(network, *drawn_events(bundle.spec.inputs))
    found = np.array(said["step"], np.uint32).view(np.float32)
    ((sum_, idle, least, most),) = said["ticks"]
    return Measured(
        policy=bundle.name,
        instructions=(sum_ - idle) * INSTRUCTIONS_PER_TICK / STEPS,
        instructions_spread=(most - least) * INSTRUCTIONS_PER_TICK,
        flash_bytes=sum(_section(line) for line in sections),
        state_bytes=said["state"][0][0],
        stack_bytes=said["stack"][0][0],
        difference=float(np.abs(found - wanted).max()),
        selftest_difference=float(np.array(said["selftest"][0], np.uint32).view(np.float32)[0]),
    )


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
    if "ticks" not in done:
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
