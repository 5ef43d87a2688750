"""The update of each cell form in C, neuron by neuron: the equations of `liquid_pilot.forms` once more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Update:
    """Statements for neuron i. HEAD(name) is a head or recurrent map, VECTOR(name) a parameter, OWN the state before.

    They set `updated`, for forms with a state of two vectors `memory` too. uses: the functions that are called.
    """

    lines: tuple[str, ...]
    uses: frozenset[str]


_GATE: Final = "const float gate = SIGMOID(HEAD(time_a) * dt + HEAD(time_b));"

UPDATES: Final[dict[str, Update]] = {
    "decay": Update(
        (
            "const float keep = EXP(SOFTPLUS(HEAD(rate)) * -dt);",
            "updated = OWN * keep + (1.0f - keep) * TANH(HEAD(target));",
        ),
        frozenset({"tanh", "exp", "softplus"}),
    ),
    "default": Update(
        (_GATE, "updated = TANH(HEAD(ff1)) * (1.0f - gate) + gate * TANH(HEAD(ff2));"),
        frozenset({"tanh", "sigmoid"}),
    ),
    "no_gate": Update((_GATE, "updated = TANH(HEAD(ff1)) + gate * TANH(HEAD(ff2));"), frozenset({"tanh", "sigmoid"})),
    "pure": Update(
        (
            "const float u = HEAD(ff1);",
            "const float w_tau = VECTOR(w_tau);",
            "const float rate = (w_tau < 0.0f ? -w_tau : w_tau) + (u < 0.0f ? -u : u);",
            "updated = VECTOR(a) - VECTOR(a) * EXP(rate * -dt) * u;",
        ),
        frozenset({"tanh", "exp"}),
    ),
    "gru": Update(
        (
            "const float reset = SIGMOID(HEAD(reset_x) + HEAD(reset_h));",
            "const float kept = SIGMOID(HEAD(update_x) + HEAD(update_h));",
            "const float fresh = TANH(HEAD(new_x) + reset * HEAD(new_h));",
            "updated = (1.0f - kept) * fresh + kept * OWN;",
        ),
        frozenset({"tanh", "sigmoid"}),
    ),
    "lstm": Update(
        (
            "const float fresh = SIGMOID(HEAD(write_x) + HEAD(write_h)) * TANH(HEAD(new_x) + HEAD(new_h));",
            "memory = SIGMOID(HEAD(keep_x) + HEAD(keep_h)) * MEMORY + fresh;",
            "updated = SIGMOID(HEAD(show_x) + HEAD(show_h)) * TANH(memory);",
        ),
        frozenset({"tanh", "sigmoid"}),
    ),
    "mlp": Update((), frozenset({"tanh"})),
}
