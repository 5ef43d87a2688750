"""Draws airframes between those that ship, from 27 g to 0.9 kg: for policies that are to fly them all."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from envs.airframe import Airframe, load_airframe

SPREAD: Final = 0.1  # of the figures below, around what the size gives
_SCATTERED: Final = (
    "mass_kg", "thrust_to_weight", "torque_coefficient_nm_rpm2", "drag_coefficient_xy", "drag_coefficient_z",
    "motor_tau_up_s", "motor_tau_down_s",
)  # fmt: skip


def draw_airframe(name: str, rng: np.random.Generator) -> Airframe:
    """One airframe: a size between cf2x and a mixture of companion and racer, log-uniform, then `SPREAD`.

    Moments of inertia grow with the mass.
    """
    small, carrier, racer = (load_airframe(shipped) for shipped in ("cf2x", "companion", "racer"))
    drawn: Airframe = between(small, between(carrier, racer, rng.random()), rng.random())
    factors = {key: float(rng.uniform(1.0 - SPREAD, 1.0 + SPREAD)) for key in _SCATTERED}
    figures = {key: getattr(drawn, key) * factor for key, factor in factors.items()}
    jx, jy, jz = (moment * factors["mass_kg"] for moment in drawn.inertia_kg_m2)
    return replace(drawn, name=name, inertia_kg_m2=(jx, jy, jz), **figures)


def between(first: Any, second: Any, share: float) -> Any:
    """Number by number between two things of the same kind: the first at share 0, the second at 1.

    Numbers of one sign in proportion (their geometric mean), others along a line; texts and whole numbers are the
    first's.
    """
    if is_dataclass(first) and not isinstance(first, type):
        parts = {f.name: between(getattr(first, f.name), getattr(second, f.name), share) for f in fields(first)}
        return replace(first, **parts)
    if isinstance(first, tuple):
        return tuple(between(a, b, share) for a, b in zip(first, second, strict=True))
    if not isinstance(first, float):
        return first
    if first * second > 0.0:
        return math.copysign(abs(first) ** (1.0 - share) * abs(second) ** share, first)
    return (1.0 - share) * first + share * second


def write_airframe(path: Path, airframe: Airframe) -> Path:
    """The airframe as a TOML file that `load_airframe` reads; returns the path."""
    lines, tables = [], []
    for field in fields(airframe):
        value = getattr(airframe, field.name)
        if is_dataclass(value):
            tables += ["", f"[{field.name}]", *(f"{f.name} = {_toml(getattr(value, f.name))}" for f in fields(value))]
        else:
            lines.append(f"{field.name} = {_toml(value)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, *tables]) + "\n", encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
