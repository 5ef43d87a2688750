"""Time of one step on this machine: the policy in every runtime, larger rivals in C, others by counted operations."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from liquid_pilot import native
from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.cells import Network
from liquid_pilot.export.core import FLOAT, Storage
from liquid_pilot.export.policy import core_source
from liquid_pilot.native_step import FLAGS, compiled
from scripts.benchmarks.onboard import Plan
from scripts.benchmarks.onboard_models import Count, count, random_bundle, raptor, transformer
from scripts.console import OUT
from scripts.tables import rich_table, short_name

GOALS_US: Final = {"C": 2.0, "C through ctypes": 3.0, "numpy": 40.0}
REFERENCE: Final = "C"
_DT_S: Final = 0.01
_REPEAT: Final = """
void p_repeat(p_state *state, const float *x, float *action, int count)
{
    int k;
    for (k = 0; k < count; ++k)
        (void)p_step_scaled(state, x, 0.01f, action);
}
"""

Work = Callable[[int], None]  # does so many steps


@dataclass(frozen=True, slots=True)
class Timed:
    """Microseconds of a step, the least and the median of rounds; ratio: of the medians, to the reference's."""

    least_us: float
    median_us: float
    ratio: float


def timed(works: Mapping[str, Work], rounds: int, round_s: float) -> dict[str, Timed]:
    """All works in turn, round by round, so that a busy moment of the machine falls on all of them."""
    counts = {}
    for name, work in works.items():
        work(20)
        start = time.perf_counter()
        work(200)
        counts[name] = max(20, int(round_s * 200 / (time.perf_counter() - start)))
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work(counts[name])
            spent[name].append(1e6 * (time.perf_counter() - start) / counts[name])
    medians = {name: float(np.median(values)) for name, values in spent.items()}
    first = next(iter(medians.values()))
    return {name: Timed(min(spent[name]), medians[name], medians[name] / first) for name in works}


def inside_c(bundle: Bundle, storage: Storage = FLOAT) -> Work:
    """Steps called from C: what the step itself takes."""
    text = core_source(bundle.spec, bundle.weights, "p", storage) + _REPEAT
    function: Any = native.build(text, "repeated_step", FLAGS).p_repeat
    width = max(1, bundle.spec.state_width)
    buffers = [np.zeros(width, np.int16 if storage.q15 else np.float32), _x(bundle), np.zeros(4, np.float32)]
    places = [ctypes.c_void_p(buffer.ctypes.data) for buffer in buffers]

    def work(steps: int, kept: object = buffers) -> None:
        function(*places, ctypes.c_int(steps))

    return work


def through_ctypes(bundle: Bundle) -> Work:
    """The C function called from Python, its pointers made before."""
    call = compiled(bundle).caller()

    def work(steps: int) -> None:
        for _ in range(steps):
            call(_DT_S)

    return work


def steps_of(step: Callable[[Any, Any, float], Any], x: Any, h: Any) -> Work:
    """`Stepper.step`, arrays in and new arrays out, as the controller calls it."""

    def work(steps: int) -> None:
        for _ in range(steps):
            step(x, h, _DT_S)

    return work


def _x(bundle: Bundle) -> Any:
    return np.random.default_rng([1]).normal(size=bundle.spec.inputs).astype(np.float32)


def torch_works(bundle: Bundle) -> dict[str, Work]:
    """Eager torch, TorchScript and ONNX runtime, a batch of one on one thread."""
    import torch

    from policies.export_formats import policy_step, torchscript_bytes
    from scripts.export import make_onnx, onnx_step, torchscript_step

    torch.set_num_threads(1)
    x, h, dt_s = _x(bundle)[None], np.zeros((1, bundle.spec.state_width), np.float32), np.full(1, _DT_S, np.float32)
    eager, given = policy_step(bundle), [torch.from_numpy(value) for value in (x, h, dt_s)]

    def torch_eager(steps: int) -> None:
        with torch.inference_mode():
            for _ in range(steps):
                eager(*given)

    def through(step: Callable[[Any, Any, Any], Any]) -> Work:
        def work(steps: int) -> None:
            with torch.inference_mode():
                for _ in range(steps):
                    step(x, h, dt_s)

        return work

    return {
        "torch eager": torch_eager,
        "TorchScript": through(torchscript_step(torchscript_bytes(bundle))),
        "ONNX runtime": through(onnx_step(make_onnx(bundle))),
    }


def works(bundle: Bundle) -> dict[str, Work]:
    """The policy in every runtime; the reference first."""
    x, h = _x(bundle), np.zeros(bundle.spec.state_width, np.float32)
    own = {
        REFERENCE: inside_c(bundle),
        "C through ctypes": through_ctypes(bundle),
        "C as the controller calls it": steps_of(compiled(bundle).step, x, h),
        "numpy": steps_of(Network(bundle.spec, bundle.weights).step, x, h),
    }
    small = {} if bundle.sees else {"C, int8 weights": inside_c(bundle, Storage(int8=True))}
    return own | torch_works(bundle) | small


def rivals(bundle: Bundle, rounds: int, round_s: float) -> tuple[list[list[str]], dict[str, Any]]:
    """Rows and figures: parameters, products, state and time of networks of several kinds, in C where they have it."""
    models = [bundle, random_bundle("gru", 64, bundle), random_bundle("lstm", 64, bundle)]
    measured = timed({model.name: inside_c(model) for model in models}, rounds, round_s)
    counts = {model.name: count(model) for model in models}
    name, counted = transformer(bundle.parameters)
    estimated: dict[str, Count] = {"RAPTOR (GRU 16)": raptor(), name: counted}
    per_product = measured["gru64"].median_us / counts["gru64"].products
    rows, figures = [], dict[str, Any]()
    for which, one in (counts | estimated).items():
        time_us = measured[which].median_us if which in measured else one.products * per_product
        how = "measured" if which in measured else "estimate"
        rows.append([which, f"{one.parameters:,}", f"{one.products:,}", str(one.state), f"{time_us:.2f}", how])
        figures[which] = {
            "parameters": one.parameters,
            "products": one.products,
            "state_numbers": one.state,
            "time_us": time_us,
            "time_is": how,
        }
    return rows, figures


def run(plan: Plan) -> dict[str, Any]:
    """Measure, print. Figures for onboard.json."""
    bundle = load_bundle(plan.policy)
    rounds, round_s = (5, 0.005) if plan.quick else (60, 0.02)
    times = timed(works(bundle), rounds, round_s)
    table = [
        [
            name,
            *(f"{value:.2f}" for value in (t.median_us, t.least_us)),
            f"{t.ratio:.1f}",
            f"{GOALS_US[name]:g}" if name in GOALS_US else "",
        ]
        for name, t in times.items()
    ]
    title = f"one step of {short_name(plan.policy)}, a batch of one, one thread; in turn, {rounds} rounds"
    OUT.print(rich_table(title, ("what", "median us", "least us", "times C", "goal us"), table))
    rows, others = rivals(bundle, rounds, round_s)
    header = ("what", "parameters", "products", "state", "C, us", "how")
    OUT.print(rich_table("rivals; an estimate is the products times what a product of gru64 takes", header, rows))
    return {
        "runtimes": {
            name: {"least_us": t.least_us, "median_us": t.median_us, "ratio": t.ratio, "goal_us": GOALS_US.get(name)}
            for name, t in times.items()
        },
        "models": others,
    }
