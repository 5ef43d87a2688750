"""What a controller was set up with, as the first event of its log: a replay needs it to give the same commands."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Final

from liquid_pilot.errors import MessageError
from liquid_pilot.logs.rows import Event, Record
from liquid_pilot.supervisor_limits import SupervisorLimits

KIND: Final = "setup"


@dataclass(frozen=True, slots=True)
class FlightSetup:
    """Of one controller.

    policy: its name, for people; sha256: of its tensors and metadata, "" where it came from no file; core: what stepped
    its network, see `Controller`.
    """

    policy: str
    sha256: str
    setpoint_timeout_s: float | None
    limits: SupervisorLimits
    core: str = "numpy"

    def event(self) -> Event:
        """As one line of JSON."""
        return Event(0.0, KIND, json.dumps(asdict(self)))


def setup_of(records: Iterable[Record]) -> FlightSetup | None:
    """The set-up that a log tells, None where it tells none. Raises `MessageError` where it makes no sense."""
    text = next((r.text for r in records if isinstance(r, Event) and r.kind == KIND), None)
    if text is None:
        return None
    try:
        told = json.loads(text)
        known = {field.name for field in fields(SupervisorLimits)}  # others are of a newer version
        limits = SupervisorLimits(**{name: value for name, value in told["limits"].items() if name in known})
        timeout_s = told["setpoint_timeout_s"]
        if timeout_s is not None and not float(timeout_s) > 0.0:
            raise ValueError(f"setpoint_timeout_s is {timeout_s!r}")
        return FlightSetup(
            str(told["policy"]),
            str(told["sha256"]),
            None if timeout_s is None else float(timeout_s),
            limits,
            str(told.get("core", "numpy")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MessageError(f"the log's set-up {text[:120]!r} makes no sense ({error}); it was damaged") from error
