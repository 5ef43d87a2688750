"""The prediction benchmark as tables: at the terminal, as markdown, and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from policies.prediction.models import KINDS
from scripts.benchmarks.sequence_claims import claims
from scripts.console import OUT
from scripts.files import write_json
from scripts.pictures.sequence import draw_sequence
from scripts.tables import rich_table

NUMBERED: Final = ("persistence", "linear AR(1)", "CfC decay", "CfC default", "LTC", "LSTM", "GRU")


def _pm(found: Mapping[str, Any] | float | None, digits: int = 3, percent: bool = False) -> str:
    if found is None:
        return "-"
    mean, sd = (found["mean"], found["sd"]) if isinstance(found, Mapping) else (found, None)
    if percent:
        return f"{mean:+.0%}"
    return f"{mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


def main_table(table: Mapping[str, Any], name: str) -> tuple[list[str], list[list[str]]]:
    """Header and body of one size class; above the large one what needs no training."""
    levels = [f"{level:g}" for level in table["noise"] if level > 0.0]
    head = [
        "model",
        "parameters",
        "rate, unit",
        "s/epoch",
        "clean",
        "normalised",
        *(f"noise {level}" for level in levels),
    ]
    body = [
        [
            row["title"],
            "-",
            "-",
            "-",
            _pm(row["clean"]),
            _pm(row["normalised"]),
            *(_pm(row["noise"][n]) for n in levels),
        ]
        for row in (table["trivial"] if name == "large" else ())
    ]
    for row in table[name]:
        noise = [_pm(row["noise"][level]) for level in levels]
        rate, unit = row["setting"]
        told = [row["title"], f"{row['parameters']:,}", f"{rate:g}, {unit:g}", f"{row['seconds']:.2f}"]
        body.append([*told, _pm(row["clean"]), _pm(row["normalised"]), *noise])
    return head, body


def missing_table(table: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Rise over each model's own clean figure where samples are lost."""
    shares = [f"{share:g}" for share in table["missing"] if share > 0.0]
    head = ["model", *(f"{float(share):.0%} lost" for share in shares)]
    head += [f"{float(share):.0%}, gap withheld" for share in shares]
    head += [f"{float(share):.0%}, same steps" for share in shares]
    body = []
    for title, row in rows.items():
        cells = [_pm(row["rise"][share], percent=True) for share in shares]
        cells += [_pm(row["rise_withheld"][share], percent=True) for share in shares]
        cells += [_pm(row["rise_same"][share], percent=True) for share in shares]
        body.append([title, *cells])
    return head, body


def gap_table(table: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Error at the next kept sample, beyond the gap."""
    shares = [f"{share:g}" for share in table["missing"] if share > 0.0]
    head = ["model", *(f"{float(share):.0%}, {told}" for share in shares for told in ("told", "untold"))]
    both = ("across", "across_untold")
    body = [[title, *(_pm(row[name][share]) for share in shares for name in both)] for title, row in rows.items()]
    return head, body


def number_table(table: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Clean error of each number of a step, in raw units; models as columns."""
    columns = {row["title"]: row["per_dimension"] for row in (*table["trivial"], *table["large"])}
    names = [name for name in columns if name in NUMBERED]
    body = [[str(k), *(f"{columns[name][k]:.4f}" for name in names)] for k in range(table["width"])]
    return ["number", *names], body


def amount_table(table: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Clean figure against the share of the training data."""
    shares = list(table["data_amount"])
    whole = {row["model"]: row["clean"] for row in table["large"]}
    head = ["model", *(f"{float(share):.0%}" for share in shares), "100%"]
    models = table["data_amount"][shares[0]] if shares else {}
    body = [
        [KINDS[model].title, *(_pm(table["data_amount"][share][model]["clean"]) for share in shares), _pm(whole[model])]
        for model in models
    ]
    return head, body


def _markdown(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def sections(table: Mapping[str, Any]) -> list[tuple[str, str, list[str], list[list[str]]]]:
    """Title, text, header and body of each table."""
    found = []
    seeds = f"{table['seeds']} seed" + "s" * (table["seeds"] > 1)
    how = (
        f"Mean squared error of the next step in raw units on {table['windows']['test']:,} test windows of 32 steps; "
        f"mean ± sd over {seeds}, {table['epochs']} epochs, best epoch in validation, batch {table['batch']}. "
        "Normalised: each of the numbers over its variance. Noise: on what is seen, in standard deviations."
    )
    for name, title in (("large", "Models"), ("small", "As many parameters as 19 neurons of decay")):
        if table.get(name):
            found.append((title, how, *main_table(table, name)))
    lost = (
        "How much the error of the next step after each kept sample rises over the model's own clean error when "
        "samples are lost. Gap withheld: every sample comes as if one step had passed. Same steps: over its error on "
        "whole windows at the steps that are judged; a window's first step, of which little can be known, is always "
        "kept, and weighs the more the more is lost."
    )
    kinds = {row["title"]: row for row in table["large"]}
    found.append(("Lost samples, trained on whole windows", lost, *missing_table(table, kinds)))
    gap = (
        "Error at the next kept sample, whatever lies between. Told: its time is known beforehand, and the model's own "
        "predictions lead to it step by step. Untold: what was said to follow the newest kept sample stands."
    )
    found.append(("Across the gap, trained on whole windows", gap, *gap_table(table, kinds)))
    found.append(("Each number of a step", "Clean error in raw units.", *number_table(table)))
    if table["augmented"]:
        rows = {KINDS[model].title: row for model, row in table["augmented"].items()}
        noise = [level for level in table["noise"] if level > 0.0]
        head, body = missing_table(table, rows)
        head = ["model", "clean", *(f"noise {level:g}" for level in noise), *head[1:]]
        body = [
            [line[0], _pm(row["clean"]), *(_pm(row["noise"][f"{n:g}"]) for n in noise), *line[1:]]
            for line, row in zip(body, rows.values(), strict=True)
        ]
        text = "The same, where training too had noise (up to 0.5) and lost samples (up to 90 %)."
        found.append(("Trained with noise and lost samples", text, head, body))
    if table["data_amount"]:
        found.append(
            ("Less training data", "Clean error from the beginning of each training trace.", *amount_table(table))
        )
    return found


def markdown(table: Mapping[str, Any]) -> str:
    """All tables."""
    lines = claims(table)
    parts = ["### What it says about the claims\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"] if lines else []
    parts += [f"### {title}\n\n{text}\n\n{_markdown(head, body)}" for title, text, head, body in sections(table)]
    return "\n".join(parts)


def present(table: Mapping[str, Any], folder: Path) -> list[Path]:
    """Print the tables; write sequence.json, .md and .png."""
    for title, _, head, body in sections(table):
        OUT.print(rich_table(f"{title} ({table['data']})", head, body))
    write_json(folder / "sequence.json", dict(table))
    text = folder / "sequence.md"
    text.write_text(markdown(table), encoding="utf-8")
    return [folder / "sequence.json", text, draw_sequence(table, folder / "sequence.png")]
