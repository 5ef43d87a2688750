"""When a policy is called and what then reaches it: intervals, lost and late observations, noise."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final

from liquid_pilot.errors import ConfigError
from liquid_pilot.half_cheetah import MOST_FRAMES

_SPAN: Final = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Of the calls of a policy, and of what reaches it.

    frames: fewest and most physics frames from one call to the next, each as likely; None: the simulator's own
    interval. dropped: share of observations that are lost; the policy then is called with the newest one that it has,
    and told its age. delay_frames: fewest and most frames from taking an observation to its arrival. noise: standard
    deviation on the body's scaled numbers. Raises `ConfigError`.
    """

    frames: tuple[int, int] | None = None
    dropped: float = 0.0
    delay_frames: tuple[int, int] = (0, 0)
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.frames is not None:
            _check_span("frames", self.frames, 1)
        _check_span("delay_frames", self.delay_frames, 0)
        if not _is_number(self.dropped) or not 0.0 <= self.dropped < 1.0:
            raise ConfigError(f"dropped is {self.dropped!r}; give a share of at least 0 and below 1")
        if not _is_number(self.noise) or not (math.isfinite(self.noise) and self.noise >= 0.0):
            raise ConfigError(f"noise is {self.noise!r}; give a standard deviation of 0 or more")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_span(name: str, span: tuple[int, int], fewest: int) -> None:
    right = isinstance(span, tuple) and len(span) == 2 and all(type(value) is int for value in span)
    if not right or not fewest <= span[0] <= span[1] <= MOST_FRAMES:
        raise ConfigError(f"{name} is {span!r}; give (fewest, most) frames, from {fewest} to {MOST_FRAMES}")


REGULAR: Final = Rhythm()
IRREGULAR: Final = Rhythm(frames=(1, 6), dropped=0.3)


def parse_frames(name: str, text: str) -> tuple[int, int]:
    """Text to a span: "4" is (4, 4), "1-6" is (1, 6). Raises `ConfigError`."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ConfigError(f"{name} is {text!r}; give frames as 4, or a span as 1-6")
    low, high = found.groups()
    return int(low), int(low if high is None else high)


def changed(
    rhythm: Rhythm, frames: str | None, dropped: float | None, delay: str | None, noise: float | None
) -> Rhythm:
    """A rhythm with what a command line gives in the place of its fields. Raises `ConfigError`."""
    if frames is not None:
        rhythm = replace(rhythm, frames=parse_frames("frames", frames))
    if delay is not None:
        rhythm = replace(rhythm, delay_frames=parse_frames("delay_frames", delay))
    rhythm = rhythm if dropped is None else replace(rhythm, dropped=dropped)
    return rhythm if noise is None else replace(rhythm, noise=noise)
