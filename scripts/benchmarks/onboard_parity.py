"""The same 1,000 recurrent steps by every runtime: how far each is from numpy, and numpy from double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.cells import Network
from liquid_pilot.native_step import compiled
from liquid_pilot.selftest import replay
from scripts.benchmarks.onboard import Plan
from scripts.console import OUT
from scripts.cortex_m7.drawn import drawn_events
from scripts.cortex_m7.emulate import INSTALL, measure, missing_tools
from scripts.export import Step, make_onnx, onnx_step, torchscript_step
from scripts.tables import rich_table, short_name

F32: TypeAlias = npt.NDArray[np.float32]
GOAL: Final = 1e-5


def batched(step: Step, bundle: Bundle, x: F32, dt_s: F32) -> tuple[F32, F32]:
    """Actions and states of a recurrent run by a step that takes batches."""
    h, actions, states = np.zeros((1, bundle.spec.state_width), np.float32), [], []
    for k in range(len(x)):
        action, h = step(x[k : k + 1], h, dt_s[k : k + 1])
        actions.append(action[0])
        states.append(h[0])
    return np.array(actions), np.array(states)


def runtimes(bundle: Bundle) -> dict[str, Callable[[F32, F32], tuple[F32, F32]]]:
    """Everything on this machine but numpy itself."""
    import torch

    from policies.export_formats import policy_step, torchscript_bytes

    eager = policy_step(bundle)

    def eager_step(x: F32, h: F32, dt_s: F32) -> tuple[F32, F32]:
        action, following = eager(*(torch.from_numpy(value) for value in (x, h, dt_s)))
        return action.numpy(), following.numpy()

    double = policy_step(bundle).double()

    def double_step(x: F32, h: F32, dt_s: F32) -> tuple[F32, F32]:
        action, following = double(*(torch.from_numpy(np.asarray(value, np.float64)) for value in (x, h, dt_s)))
        return action.numpy(), following.numpy()

    steps = {
        "torch in double precision": double_step,
        "torch": eager_step,
        "TorchScript": torchscript_step(torchscript_bytes(bundle)),
        "ONNX runtime": onnx_step(make_onnx(bundle)),
    }

    def of(step: Step) -> Callable[[F32, F32], tuple[F32, F32]]:
        return lambda x, dt_s: batched(step, bundle, x, dt_s)

    core = compiled(bundle)
    return {name: of(step) for name, step in steps.items()} | {"C": lambda x, dt_s: replay(core, x, dt_s)}


def differences(bundle: Bundle) -> dict[str, float | None]:
    """Largest difference from numpy of any action (and state, where it is told); None where a tool is missing."""
    x, dt_s = drawn_events(bundle.spec.inputs)
    wanted = replay(Network(bundle.spec, bundle.weights), x, dt_s)
    found: dict[str, float | None] = {}
    for name, run_all in runtimes(bundle).items():
        got = run_all(x, dt_s)
        found[name] = max(float(np.abs(a - b).max(initial=0.0)) for a, b in zip(got, wanted, strict=True))
    found["C on a Cortex-M7 (actions)"] = None if missing_tools() else measure(bundle).difference
    return found


def run(plan: Plan) -> dict[str, Any]:
    """Compare, print. Figures for onboard.json."""
    found = differences(load_bundle(plan.policy))
    rows = [[name, "not measured" if d is None else f"{d:.1e}", f"{GOAL:.0e}"] for name, d in found.items()]
    title = f"{short_name(plan.policy)}: largest difference from numpy over 1,000 recurrent steps, dt 0 to 50 ms"
    OUT.print(rich_table(title, ("what", "difference", "goal"), rows))
    if missing_tools():
        OUT.print(f"no Cortex-M7: {', '.join(missing_tools())} is missing; {INSTALL}", highlight=False)
    return {"largest_difference": found, "goal": GOAL}
