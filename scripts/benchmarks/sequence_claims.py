"""What the table says about the claims that are made for liquid networks: each with its number, held or not."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

PUBLISHED_LTC: Final = 2.308  # Hasani et al. (2021), Half-Cheetah, as its LSTM
PUBLISHED_LSTM: Final = 2.500
WANTED_CLEAN: Final = 2.20
WANTED_NOISE: Final = 0.25
NOISE, LOST = "0.2", "0.3"
HYBRIDS: Final = ("mixed", "attention")

Row = Mapping[str, Any]


def best_liquid(table: Mapping[str, Any], among: Collection[str] | None = None) -> Row | None:
    """The liquid model, hybrids aside, with the least error in validation, so that no test figure chooses it.

    among: names; None for all.
    """
    liquid = [row for row in table["large"] if row["liquid"] and row["model"] not in HYBRIDS]
    rows = [row for row in liquid if among is None or row["model"] in among]
    return min(rows, key=lambda row: float(row["valid"]), default=None)


def claims(table: Mapping[str, Any]) -> list[str]:
    """One line a claim that the table can judge; of tables without a liquid model and an LSTM there is none."""
    rows = {row["model"]: row for row in table["large"]}
    liquid = best_liquid(table)
    if liquid is None or "lstm" not in rows:
        return []
    lines = [f"Claims are judged by {liquid['title']}, the liquid model with the least error in validation."]
    if table["paper"]:
        lines.append(_clean(table, liquid))
    if NOISE in liquid["noise"]:
        lines.append(_noise(table, liquid, rows["lstm"]) + _chosen_by_test(table["large"], "noise", NOISE))
    if LOST in liquid["rise"]:
        lines.append(_lost(table["large"], liquid, rows["lstm"]) + _chosen_by_test(table["large"], "rise", LOST))
    main = best_liquid(table, table["augmented"])
    if table["data_amount"] and main is not None:
        lines.append(_amount(table, main))
    lines += [_hybrid(row, liquid, rows) for name, row in rows.items() if name in HYBRIDS]
    return lines


def _verdict(held: bool) -> str:
    return "**holds**" if held else "**does not hold**"


def _pm(found: Mapping[str, Any], digits: int = 3) -> str:
    return f"{found['mean']:.{digits}f}" + ("" if found["sd"] is None else f" ± {found['sd']:.{digits}f}")


def _clean(table: Mapping[str, Any], liquid: Row) -> str:
    least = min(table["trivial"], key=lambda row: float(row["clean"]))
    first = min(table["large"], key=lambda row: float(row["clean"]["mean"]))
    lstm = next(row for row in table["large"] if row["model"] == "lstm")
    held = liquid["clean"]["mean"] <= WANTED_CLEAN
    return (
        f"At most {WANTED_CLEAN:.2f} on the test traces of the LTC paper: {_verdict(held)}, {_pm(liquid['clean'])} "
        f"(published: LTC {PUBLISHED_LTC}, LSTM {PUBLISHED_LSTM:.3f}; {least['title']}, without training and without "
        f"memory: {least['clean']:.3f}; trained here alike: LSTM {_pm(lstm['clean'])}, first of all {first['title']} "
        f"{_pm(first['clean'])})."
    )


def _noise(table: Mapping[str, Any], liquid: Row, lstm: Row) -> str:
    def less(ours: Row, theirs: Row) -> float:
        return 1.0 - float(ours["noise"][NOISE]["mean"]) / float(theirs["noise"][NOISE]["mean"])

    gain = less(liquid, lstm)
    text = (
        f"25 % less error than the LSTM under noise of 0.2 deviations: {_verdict(gain >= WANTED_NOISE)}, "
        f"{_pm(liquid['noise'][NOISE])} against {_pm(lstm['noise'][NOISE])}, {_change(gain)}"
    )
    both, main = table["augmented"], best_liquid(table, table["augmented"])
    if main is not None and "lstm" in both:
        gain = less(both[main["model"]], both["lstm"])
        text += f"; trained with noise and lost samples {main['title']}, {_change(gain)}"
    return f"{text}."


def _change(gain: float) -> str:
    return f"{abs(gain):.1%} {'less' if gain >= 0.0 else 'more'}"


def _lost(rows: Sequence[Row], liquid: Row, lstm: Row) -> str:
    order = sorted(rows, key=lambda row: _finite(row["rise"][LOST]["mean"]))
    place = [row["model"] for row in order].index(liquid["model"]) + 1
    rises = f"{100.0 * liquid['rise'][LOST]['mean']:.1f} % against {100.0 * lstm['rise'][LOST]['mean']:.1f} %"
    return (
        f"The smallest relative rise of all models where 30 % of the samples are lost: {_verdict(place == 1)}, place "
        f"{place} of {len(order)}, {rises} of the LSTM (first: {order[0]['title']}, "
        f"{100.0 * order[0]['rise'][LOST]['mean']:.1f} %). With the gap withheld it rises by "
        f"{100.0 * liquid['rise_withheld'][LOST]['mean']:.1f} %."
    )


def _chosen_by_test(rows: Sequence[Row], name: str, level: str) -> str:
    """The best of the liquid models by the very figure, so that nobody has to look for it in the table."""
    best = min((row for row in rows if row["liquid"]), key=lambda row: _finite(row[name][level]["mean"]))
    said = _pm(best[name][level]) if name == "noise" else f"{100.0 * best[name][level]['mean']:.1f} %"
    return f" Of the liquid models, chosen by this figure itself: {best['title']}, {said}."


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _amount(table: Mapping[str, Any], liquid: Row) -> str:
    model = liquid["model"]
    shares = [s for s, found in table["data_amount"].items() if "lstm" in found]
    pairs = [(s, table["data_amount"][s][model]["clean"], table["data_amount"][s]["lstm"]["clean"]) for s in shares]
    held = bool(pairs) and all(ours["mean"] < theirs["mean"] for _, ours, theirs in pairs)
    told = ", ".join(f"{float(s):.0%}: {_pm(ours)} against {_pm(theirs)}" for s, ours, theirs in pairs)
    return f"Less error than the LSTM from each share of the data ({liquid['title']}): {_verdict(held)}, {told}."


def _hybrid(row: Row, liquid: Row, rows: Mapping[str, Row]) -> str:
    held = row["clean"]["mean"] < liquid["clean"]["mean"]
    text = (
        f"Better by {row['title']} than by a liquid model alone: {_verdict(held)}, {_pm(row['clean'])} against "
        f"{_pm(liquid['clean'])}"
    )
    if "transformer" in rows:
        text += f" (Transformer alone {_pm(rows['transformer']['clean'])})"
    return f"{text}."
