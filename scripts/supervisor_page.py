"""docs/supervisor.md from the code: states, conditions with their limits, the transition table, a diagram.

Example:
  python -m scripts.supervisor_page            # writes docs/supervisor.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from liquid_pilot.supervisor import (
    COMMANDING,
    ENDINGS,
    FAULTS,
    GROUNDED,
    NONE,
    RULES,
    Condition,
    Rule,
    State,
    SupervisorLimits,
)
from liquid_pilot.supervisor_table import CONDITION_MEANING, STATE_MEANING

PAGE: Final = Path(__file__).parents[1] / "docs" / "supervisor.md"
_GROUPS: Final = {"any fault": FAULTS, "any ending": ENDINGS, "any fault or ending": FAULTS | ENDINGS}
_STATES: Final = {"INIT, STANDBY, READY": GROUNDED, "ACTIVE, DEGRADED, LAND": COMMANDING}

_INTRO: Final = """\
# The supervisor

Generated from `liquid_pilot/supervisor_table.py` and `liquid_pilot/supervisor_limits.py` by
`python -m scripts.supervisor_page`; a test fails when this page is out of date.

At every IMU sample, and at every tick without one, the supervisor looks at its readings, finds which conditions are
true, and applies the rules below, from the top, until none applies. It reads no clock, so that a log that is fed again
gives the same decisions.
"""
_THOUGHTS: Final = """\
## Why it is so

* **Bridged or ended.** A fault hands the drone to the leveller, which needs an IMU alone, and hands it back once the
  data are good. An ending lands it and is latched: what was wrong once (an empty battery, a fence) must not make it
  climb and sink by turns. A flight that would have to end at once does not begin.
* **What the leveller knows.** Attitude and climb of its own, which share nothing with the network. An accelerometer
  that is wrong by 0.4 m/s^2 makes it lean by 2.3 degrees, which is 2 m/s through calm air for a small drone; so it
  brakes. While flow and range speak it learns its velocity and that error. Then it carries both on for ten seconds
  from the accelerometer, held by the rotors' drag, which tells the speed through the air and does not drift; after
  fifteen it is level. It sinks at 0.5 m/s, below 0.6 m and without a range at 0.3 m/s.
* **A lost link.** There is nobody to tell the autopilot anything, so this rule is not about it: if it does not hear
  us either, its own failsafe acts (PX4: after 1 s without set-points) whatever we decide. It is about a link that is
  broken in one direction, or sensors that do not come through the autopilot. Then the leveller's slow descent is the
  command that does least harm if it is heard after all. A short loss is forgiven. After `link_s`, which is longer than
  the autopilot's own limit, its failsafe has taken over and a pilot may have too: LAND is latched, so that a link that
  comes back does not bring back a policy that flies on from where it was.
* **Fences from positions.** Height is known from the range finder. Horizontal distance and speed are known only where
  there are `Position` messages (motion capture, GPS); without them those two conditions never hold. A position older
  than a second counts as neither far nor fast: silence of that sensor is no reason to land. A policy that locates flies
  by positions, so that their silence is a fault for it, and it takes its height from them, above the world's origin.
* **A hung policy.** Nothing here can notice that the thread which calls it has stopped. That is why set-points are
  sent by that thread and no other: they stop with it, and the autopilot's failsafe acts.
"""


def page() -> str:
    """The whole page."""
    parts = [_INTRO, _states(), _conditions(), _table(), _diagram(), _THOUGHTS]
    return "\n".join(parts)


def _states() -> str:
    rows = [f"| {state.value} | {STATE_MEANING[state]} |" for state in State]
    return "\n".join(["## States", "", "| state | who flies |", "|---|---|", *rows, ""])


def _conditions() -> str:
    limits = {name: f"{value:g}" for name, value in asdict(SupervisorLimits()).items()}
    lines = [
        "## Conditions",
        "",
        "Figures are the defaults of `SupervisorLimits`; a policy's bundle names its own for",
    ]
    lines += ["silent sensors.", ""]
    for title, group in (("Faults", FAULTS), ("Endings", ENDINGS), ("Others", ~(FAULTS | ENDINGS))):
        lines += [f"| {title.lower()} | true when | limits |", "|---|---|---|"]
        for one in Condition:
            if one & group:
                meaning = CONDITION_MEANING[one]
                names = [name for name in limits if f"{{{name}}}" in meaning]
                lines.append(f"| {one.name} | {meaning.format(**limits)} | {', '.join(f'`{n}`' for n in names)} |")
        lines.append("")
    return "\n".join(lines)


def _names(group: Condition) -> str:
    for name, whole in _GROUPS.items():
        if group == whole:
            return name
    return " or ".join(str(one.name) for one in Condition if one & group)


def _sources(rule: Rule) -> str:
    named = [name for name, states in _STATES.items() if states <= rule.sources]
    rest = rule.sources - frozenset().union(*(_STATES[name] for name in named))
    return ", ".join([*named, *(state.value for state in State if state in rest)])


def _table() -> str:
    lines = ["## Transitions", "", "The first row that fits is taken.", "", "| from | if | unless | to |"]
    lines.append("|---|---|---|---|")
    for rule in RULES:
        when = _names(rule.when) if rule.when != NONE else "always"
        unless = _names(rule.unless) if rule.unless != NONE else ""
        lines.append(f"| {_sources(rule)} | {when} | {unless} | {rule.target.value} |")
    return "\n".join([*lines, ""])


def _edges() -> Iterator[str]:
    """Arrows of the diagram: one for each pair of states, with the conditions of all rules between them."""
    for source in State:
        for target in State:
            rules = [rule for rule in RULES if source in rule.sources and rule.target is target]
            labels = [
                " / ".join(
                    part
                    for part in (
                        _names(rule.when) if rule.when != NONE else "",
                        f"no {_names(rule.unless).removeprefix('any ')}" if rule.unless != NONE else "",
                    )
                    if part
                )
                for rule in rules
            ]
            if rules:
                yield f"    {source.value} --> {target.value}: {'; '.join(labels).replace(';', ',')}"


def _diagram() -> str:
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> INIT", *_edges(), "```", ""])


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")


if __name__ == "__main__":
    main()
