"""Faults by name and time: one table of what there is, and how a fault is written.

`FAULT_KINDS` is the only place that knows names, values and defaults; parsing, help, messages and the table in
docs/faults.md come from it. What a fault does is said by `envs.fault_effects` (numbers) and `envs.fault_messages`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real
from typing import Final

from liquid_pilot.errors import ConfigError, unknown_name

MOTORS: Final = ("motor1", "motor2", "motor3", "motor4")
SAG_S: Final = 10.0  # within which a battery sags
SPIKE_CHANCE: Final = 0.3  # of a wrong sample in a burst


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One way in which parts fail.

    value: the default, None where there is nothing to choose; span: what it may be; bare: written PART:VALUE, without
    the mode. rise_s: the effect grows linearly for so long.
    """

    parts: tuple[str, ...]
    mode: str
    effect: str
    value: float | None = None
    span: tuple[float, float] = (0.0, 0.0)
    unit: str = ""
    bare: bool = False
    rise_s: float = 0.0

    def name(self, part: str, value: float | None = None) -> str:
        """How it is written, without times."""
        if value is None:
            return f"{part}:{self.mode}"
        sign = "+" if self.unit == "%" and value >= 0.0 else ""
        return f"{part}:{'' if self.bare else self.mode + '='}{sign}{_digits(value)}{self.unit}"


FAULT_KINDS: Final = (
    FaultKind(("imu",), "off", "no IMU message"),
    FaultKind(("gyro",), "off", "IMU messages whose gyro is no number, which the pilot refuses"),
    FaultKind(("accel",), "off", "IMU messages without an accelerometer"),
    FaultKind(("flow", "range", "position"), "off", "no message"),
    FaultKind(("gyro", "accel"), "freeze", "repeats what it sent last; the rate loop has a gyro of its own"),
    FaultKind(("flow", "range", "position"), "freeze", "repeats the newest reading that was sent, with new stamps"),
    FaultKind(
        ("flow", "range", "position"),
        "nan",
        "readings that are no numbers; the pilot refuses them, so that it is as off",
    ),
    FaultKind(
        ("flow",),
        "spike",
        f"each sample is wrong with a chance of {SPIKE_CHANCE:.0%}, by the value, either way, on both axes",
        3.0,
        (0.0, 20.0),
        "rad/s",
    ),
    FaultKind(
        ("range",),
        "spike",
        f"each sample is wrong with a chance of {SPIKE_CHANCE:.0%}, too far by the value, as of a reflection",
        1.0,
        (0.0, 10.0),
        "m",
    ),
    FaultKind(
        ("position",),
        "spike",
        f"each sample is wrong with a chance of {SPIKE_CHANCE:.0%}, by the value along x, either way",
        1.0,
        (0.0, 100.0),
        "m",
    ),
    FaultKind(
        MOTORS,
        "share",
        "thrust and torque of one rotor (front-right, back-right, back-left, front-left) are this share",
        0.7,
        (0.0, 1.0),
        bare=True,
    ),
    FaultKind(
        ("battery",),
        "sag",
        f"thrust of all rotors sinks linearly to this share within {SAG_S:g} s and stays there",
        0.75,
        (0.0, 1.0),
        rise_s=SAG_S,
    ),
    FaultKind(("battery",), "share", "thrust of all rotors is this share at once", 0.85, (0.0, 1.0), bare=True),
    FaultKind(
        ("payload",),
        "add",
        "mass and all moments of inertia grow by this share, as of a load spread like the drone's own mass",
        20.0,
        (-50.0, 100.0),
        "%",
        bare=True,
    ),
    FaultKind(
        ("wind",),
        "step",
        "wind along world x on top of the drawn one; headings are drawn, so that it meets the body from any side",
        4.0,
        (-15.0, 15.0),
        "m/s",
    ),
    FaultKind(
        ("clock",),
        "jump",
        "the clock of the stamps and of the pilot is ahead by this",
        30.0,
        (-1000.0, 1000.0),
        "s",
    ),
)
_BY_NAME: Final = {(part, kind.mode): kind for kind in FAULT_KINDS for part in kind.parts}
_PARTS: Final = sorted({part for part, _ in _BY_NAME})


@dataclass(frozen=True, slots=True)
class Fault:
    """`part` fails in the way `mode` from `start_s` to `end_s`, counted from the release.

    value: in the unit of its kind; None takes the default. Raises `ConfigError` for what is not in `FAULT_KINDS`.
    """

    part: str
    start_s: float
    end_s: float
    mode: str = "off"
    value: float | None = None

    def __post_init__(self) -> None:
        if self.part not in _PARTS:
            raise ConfigError(unknown_name("part in a fault", self.part, _PARTS))
        if (self.part, self.mode) not in _BY_NAME:
            raise ConfigError(unknown_name(f"fault of {self.part}", self.mode, _written(self.part)))
        times = (self.start_s, self.end_s)
        if not all(_is_number(t) for t in times) or not 0.0 <= self.start_s < self.end_s:
            raise ConfigError(
                f"a fault of {self.part} goes from {self.start_s} to {self.end_s} s after the release; give a finite "
                "start, 0 or later, and an end after it"
            )
        kind = self.kind
        if self.value is None:
            object.__setattr__(self, "value", kind.value)
        elif kind.value is None:
            raise ConfigError(f"{kind.name(self.part)} takes no value, but was given {self.value}; leave it out")
        elif not _is_number(self.value) or not kind.span[0] <= self.value <= kind.span[1]:
            low, high = kind.span
            raise ConfigError(
                f"{kind.name(self.part)} has the value {self.value}; give {low:g} to {high:g}"
                + (f" {kind.unit}" if kind.unit else "")
            )

    @property
    def kind(self) -> FaultKind:
        """The row of the table."""
        return _BY_NAME[self.part, self.mode]

    def __str__(self) -> str:
        length = "" if math.isinf(self.end_s) else f"+{_digits(self.end_s - self.start_s)}s"
        return f"{self.kind.name(self.part, self.value)}@{_digits(self.start_s)}s{length}"


_NUMBER: Final = r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?"
_FAULT: Final = re.compile(rf"(\w+):([^@]+)@({_NUMBER})s?(?:\+({_NUMBER})s?)?", re.ASCII)
_VALUE: Final = re.compile(rf"([+-]?{_NUMBER})([a-z/%]*)")


def parse_fault(text: str) -> Fault:
    """A fault as `NAME@START[+DURATION]`: `flow:off@6s+1s` = no flow from 6 to 7 s after release.

    Without a duration it lasts to the end. Raises `ConfigError`.
    """
    match = _FAULT.fullmatch(text.strip())
    if match is None:
        raise ConfigError(
            f"fault {text!r} is not understood; write NAME@START[+DURATION], for example flow:off@6s+1s, "
            f"with a name like {', '.join(fault_names())}"
        )
    part, what, start, length = match.groups()
    if part not in _PARTS:
        raise ConfigError(unknown_name("part in a fault", part, _PARTS))
    mode, value = _mode_and_value(part, what)
    start_s = float(start)
    return Fault(part, start_s, start_s + float(length) if length else math.inf, mode, value)


def _mode_and_value(part: str, what: str) -> tuple[str, float | None]:
    mode, equals, number = what.partition("=")
    if not equals:
        if (part, what) in _BY_NAME:
            return what, None
        mode, number = next((m for (p, m), kind in _BY_NAME.items() if p == part and kind.bare), what), what
    match, kind = _VALUE.fullmatch(number), _BY_NAME.get((part, mode))
    if kind is None:
        raise ConfigError(unknown_name(f"fault of {part}", mode, _written(part)))
    if match is None or match[2] not in ("", kind.unit):
        raise ConfigError(f"fault {part}:{what} is not understood; write it like {' or '.join(_written(part))}")
    return mode, float(match[1])


def _digits(value: float) -> str:
    return repr(float(value) + 0.0).removesuffix(".0")  # + 0.0: no minus before a zero


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not math.isnan(value)


def _written(part: str) -> list[str]:
    return [kind.name(part, kind.value) for (p, _), kind in _BY_NAME.items() if p == part]


def fault_names() -> list[str]:
    """Every fault with its default value, as it is written before the @."""
    return [name for part in _PARTS for name in _written(part)]


def fault_table() -> str:
    """What there is, as a table in Markdown."""
    rows = ["| fault | what happens | value |", "|---|---|---|"]
    for kind in FAULT_KINDS:
        names = ", ".join(f"`{kind.name(part, kind.value)}`" for part in kind.parts)
        span = "" if kind.value is None else f"{kind.span[0]:g} to {kind.span[1]:g} {kind.unit}".strip()
        rows.append(f"| {names} | {kind.effect} | {span} |")
    return "\n".join(rows) + "\n"
