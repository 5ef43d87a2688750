"""Recorded flights with an expert's actions: sequences of IMU events with their true times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import TrainingError

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """F flights of E events in all, one flight after the other.

    observation: (E, inputs), what the sensors say, with the elapsed time among it. action: (E, outputs) in [-1, 1],
    the expert's, whoever flew. dt_s: (E,) seconds since the event before; 0 at the first of a flight. held: (E,) bool,
    in the hand, where actions act on nothing. state: (E, width), the truth, or None. length: (F,) events of each
    flight. Of a drone they are OBS_DIM, 4 and STATE_DIM wide; a run of HalfCheetah counts as a flight too. Raises
    `TrainingError` for arrays that do not fit each other or hold what is not finite.
    """

    observation: F32
    action: F32
    dt_s: F32
    held: npt.NDArray[np.bool_]
    length: npt.NDArray[np.int64]
    state: F32 | None = None

    def __post_init__(self) -> None:
        events = int(self.length.sum())
        shapes: dict[str, tuple[int | None, ...]] = {  # None: any width
            "observation": (events, None), "action": (events, None), "dt_s": (events,), "held": (events,),
        }  # fmt: skip
        if self.state is not None:
            shapes["state"] = (events, None)
        if self.length.ndim != 1 or len(self.length) < 1 or int(self.length.min()) < 1:
            raise TrainingError(f"flights have the lengths {self.length}; there must be flights of at least one event")
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value.ndim != len(shape) or len(value) != events:
                wanted = ", ".join("any width" if size is None else str(size) for size in shape)
                raise TrainingError(f"{name} has shape {value.shape}; ({wanted}) is needed for {events} events")
            if value.dtype != np.bool_ and not np.isfinite(value).all():
                raise TrainingError(f"{name} holds NaN or infinity; collect these flights again")
        if float(np.abs(self.action).max()) > 1.0:
            raise TrainingError(f"an action is {float(np.abs(self.action).max()):g}; actions lie in [-1, 1]")
        if float(self.dt_s.min()) < 0.0:
            raise TrainingError(f"a dt_s is {float(self.dt_s.min()):g}; elapsed times are never negative")

    @property
    def flights(self) -> int:
        """F."""
        return len(self.length)

    @property
    def events(self) -> int:
        """E."""
        return len(self.dt_s)

    @property
    def start(self) -> npt.NDArray[np.int64]:
        """Event with which each flight begins, (F,)."""
        return np.concatenate([[0], np.cumsum(self.length)[:-1]]).astype(np.int64)

    def first(self, flights: int) -> Demonstrations:
        """The first flights, as views."""
        if not 1 <= flights <= self.flights:
            raise TrainingError(f"{flights} flights are asked for; there are {self.flights}, give 1 to {self.flights}")
        length = self.length[:flights]
        rows = slice(0, int(length.sum()))
        state = None if self.state is None else self.state[rows]
        return Demonstrations(
            self.observation[rows], self.action[rows], self.dt_s[rows], self.held[rows], length, state
        )

    def pick(self, index: Sequence[int] | npt.NDArray[np.int64]) -> Demonstrations:
        """The flights of these numbers, in this order."""
        start, length = self.start, self.length
        rows = np.concatenate([np.arange(start[i], start[i] + length[i]) for i in index])
        state = None if self.state is None else self.state[rows]
        return Demonstrations(
            self.observation[rows],
            self.action[rows],
            self.dt_s[rows],
            self.held[rows],
            length[np.asarray(index)],
            state,
        )


def joined(parts: Sequence[Demonstrations]) -> Demonstrations:
    """All flights of the parts, in order. The state is kept where every part has it."""
    if not parts:
        raise TrainingError("there are no flights; collect some first")

    def of(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    state = of("state") if all(part.state is not None for part in parts) else None
    return Demonstrations(of("observation"), of("action"), of("dt_s"), of("held"), of("length"), state)
