"""Cells beside torch's own LSTM and the public package: time of a sequence, memory for its gradient, parameters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from liquid_pilot import native
from policies import LTC, AutoNCP, CfC
from policies.cells.baselines import CTRNN, GRU, GRUD, LSTM, MLP, ODERNN, Transformer
from policies.cells.cell import Cell
from policies.cells.ltc_memory import memory_table, saved_bytes
from policies.cells.matching import parameters
from scripts.console import OUT, progress_bar
from scripts.files import write_json
from scripts.pictures.cells import draw_cells
from scripts.tables import rich_table

INPUTS: Final = 17
UNITS: Final = 19
MOTOR: Final = 4
REFERENCE: Final = "torch nn.LSTM"

Work = Callable[[Tensor, Tensor], Tensor]  # x (B, T, inputs), dt_s (B, T) -> outputs (B, T, any)


@dataclass(frozen=True, slots=True)
class Contender:
    """A network that is timed. family: "torch", "public package", "liquid" or "baseline"; picks its colour."""

    name: str
    family: str
    module: nn.Module
    work: Work


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians in milliseconds, and beside nn.LSTM at the same batch in the run. memory_bytes: kept for backward."""

    name: str
    family: str
    batch: int
    steps: int
    parameters: int
    memory_bytes: int
    forward_ms: float
    both_ms: float
    forward_ratio: float
    both_ratio: float


def contenders(seed: int = 0) -> list[Contender]:
    """Everything that is timed, 17 inputs and 19 units each. The public package (ncps) only where it is installed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wiring = AutoNCP(INPUTS, UNITS, MOTOR)
        lstm, gru = nn.LSTM(INPUTS, UNITS, batch_first=True), nn.GRU(INPUTS, UNITS, batch_first=True)
        found = [
            Contender(REFERENCE, "torch", lstm, lambda x, dt_s: lstm(x)[0]),
            Contender("torch nn.GRU", "torch", gru, lambda x, dt_s: gru(x)[0]),
            *_public(),
        ]
        engines = ["loop", "torch", *(["compiled"] if native.available() else [])]
        for form in ("decay", "default"):
            found += [_own(f"CfC {form}, {e}", CfC(INPUTS, UNITS, form=form, engine=e)) for e in engines]
        best = engines[-1]
        found += [
            _own(f"CfC decay, wired, {best}", CfC(INPUTS, wiring=wiring, engine=best)),
            *(_own(f"LTC wired, {e}", LTC(INPUTS, wiring=wiring, engine=e)) for e in engines if e != "torch"),
        ]
        baselines: Sequence[tuple[str, Cell]] = (
            ("LSTM", LSTM(INPUTS, UNITS)),
            ("GRU", GRU(INPUTS, UNITS)),
            ("CT-RNN", CTRNN(INPUTS, UNITS)),
            ("GRU-D", GRUD(2 * INPUTS, UNITS)),
            ("ODE-RNN", ODERNN(INPUTS, UNITS)),
            ("Transformer", Transformer(INPUTS)),
            ("MLP", MLP(INPUTS)),
        )
        return [*found, *(_own(name, cell, "baseline") for name, cell in baselines)]


def _own(name: str, cell: Cell, family: str = "liquid") -> Contender:
    def work(x: Tensor, dt_s: Tensor) -> Tensor:
        if cell.inputs == 2 * x.shape[-1]:  # values, and which of them were observed
            x = torch.cat([x, torch.ones_like(x)], dim=-1)
        return cell.sequence(x, dt_s, cell.initial_state(x.shape[0]))[0]

    return Contender(name, family, cell, work)


def _public() -> list[Contender]:
    """The public package at the same sizes. It takes no elapsed times for a batch, so it is given none."""
    try:
        from ncps.torch import LTC as PublicLTC
        from ncps.torch import CfC as PublicCfC
        from ncps.wirings import AutoNCP as PublicAutoNCP
    except ImportError:
        return []
    wiring = PublicAutoNCP(UNITS, MOTOR)
    modules = {
        "CfC": PublicCfC(INPUTS, UNITS, backbone_units=64),
        "CfC, wired": PublicCfC(INPUTS, wiring),
        "LTC, wired": PublicLTC(INPUTS, PublicAutoNCP(UNITS, MOTOR)),
    }

    def contender(name: str, module: nn.Module) -> Contender:
        return Contender(f"ncps {name}", "public package", module, lambda x, dt_s: module(x)[0])

    return [contender(name, module) for name, module in modules.items()]


def kept_bytes(contender: Contender, x: Tensor, dt_s: Tensor) -> int:
    """Bytes that a forward pass keeps for its backward pass, beside its inputs and the weights."""
    return saved_bytes(lambda: contender.work(x, dt_s), [x, dt_s, *contender.module.parameters()])


def _forward(contender: Contender, x: Tensor, dt_s: Tensor) -> float:
    start = time.perf_counter()
    with torch.no_grad():
        contender.work(x, dt_s)
    return time.perf_counter() - start


def _both(contender: Contender, x: Tensor, dt_s: Tensor) -> float:
    contender.module.zero_grad(set_to_none=True)
    start = time.perf_counter()
    contender.work(x, dt_s).sum().backward()
    return time.perf_counter() - start


def measure(batches: Sequence[int], steps: int, repeats: int) -> list[Figure]:
    """Time every contender in turn, `repeats` rounds of all, so that what else the machine does hits all alike."""
    torch.set_num_threads(1)
    everyone, figures = contenders(), []
    generator = torch.Generator().manual_seed(1)
    with progress_bar() as progress:
        task = progress.add_task("cells", total=len(batches) * (repeats + 1))
        for batch in batches:
            x = torch.randn((batch, steps, INPUTS), generator=generator)
            dt_s = 0.1 * torch.rand((batch, steps), generator=generator)
            spent: dict[str, list[tuple[float, float]]] = {c.name: [] for c in everyone}
            for round_number in range(repeats + 1):
                progress.update(task, description=f"batch of {batch}")
                for c in everyone:
                    _both(c, x, dt_s)  # brings its code and weights into the caches, as a training loop has them
                    pair = _forward(c, x, dt_s), _both(c, x, dt_s)
                    if round_number:  # the first round warms up
                        spent[c.name].append(pair)
                progress.advance(task)
            medians = {name: 1e3 * np.median(np.array(pairs), axis=0) for name, pairs in spent.items()}
            for c in everyone:
                ours, theirs = medians[c.name], medians[REFERENCE]
                figures.append(
                    Figure(
                        c.name,
                        c.family,
                        batch,
                        steps,
                        parameters(c.module),
                        kept_bytes(c, x, dt_s),
                        float(ours[0]),
                        float(ours[1]),
                        float(ours[0] / theirs[0]),
                        float(ours[1] / theirs[1]),
                    )
                )
    return figures


def present(figures: Sequence[Figure], folder: Path) -> tuple[Path, Path]:
    """Print one table a batch; write cells.json and cells.png."""
    header = ("what", "weights", "kept\n(KiB)", "forward\n(ms)", "both\n(ms)", "forward\n/ LSTM", "both\n/ LSTM")
    for batch in dict.fromkeys(figure.batch for figure in figures):
        own = [figure for figure in figures if figure.batch == batch]
        rows = [
            (
                f.name,
                f"{f.parameters:,}",
                f"{f.memory_bytes / 1024:,.0f}",
                f"{f.forward_ms:.2f}",
                f"{f.both_ms:.2f}",
                f"{f.forward_ratio:.2f}",
                f"{f.both_ratio:.2f}",
            )
            for f in own
        ]
        OUT.print(rich_table(f"batch of {batch}, {own[0].steps} steps, one thread", header, rows))
    OUT.print(
        f"{INPUTS} inputs, {UNITS} units; medians of interleaved rounds in one run. both: forward and backward. kept: "
        "what a forward pass holds for its backward pass. weights: of live synapses only. ncps is the public package, "
        "counted with all that it stores, masks too."
    )
    written: dict[str, Any] = {"figures": [asdict(figure) for figure in figures], "reference": REFERENCE}
    write_json(folder / "cells.json", written)
    return folder / "cells.json", draw_cells([asdict(figure) for figure in figures], folder / "cells.png")


def present_memory() -> None:
    """Print what long sequences of the LTC keep for their gradients: against the events, and against their length."""
    table = memory_table()
    columns = [(row.events, row.dt_s) for row in table if row.method == table[0].method]
    header = ("what", *(f"{count} x\n{dt_s:g} s" for count, dt_s in columns))
    kept = {(row.method, row.events, row.dt_s): row.kept_bytes / 1024 for row in table}
    methods = dict.fromkeys(row.method for row in table)
    rows = [(method, *(f"{kept[method, events, dt_s]:,.0f}" for events, dt_s in columns)) for method in methods]
    OUT.print(rich_table("LTC, KiB kept for gradients, 8 sequences of events x seconds each", header, rows))
