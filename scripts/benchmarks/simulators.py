"""Other simulators on this machine: measured where they can be imported, else how to get them."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any, Final

import numpy as np

from scripts.benchmarks.timing import per_second

Row = tuple[str, str, str]
_CONTROL_S: Final = 0.010  # as everywhere: one control step of 10 ms


def measure(seconds: float) -> list[Row]:
    """(what, measured, note) of each rival. A rival that fails to run says so; it never stops the benchmark."""
    rows: list[Row] = []
    for name, meter, install in (
        ("crazyflow", _crazyflow, "pip install 'liquid-pilot[rivals]'"),
        ("l2f", _l2f, "pip install l2f"),
    ):
        if importlib.util.find_spec(name) is None:
            rows.append((name, "not installed", install))
            continue
        try:
            rows.append(meter(seconds))
        except Exception as error:  # somebody else's package, of any version
            rows.append((name, "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"))
    return rows


def _crazyflow(seconds: float, worlds: int = 1024, freq: int = 500) -> Row:
    """Attitude control, its default physics at 500 Hz: 5 substeps a control step, no sensors."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sim = importlib.import_module("crazyflow.sim").Sim(n_worlds=worlds, freq=freq, control="attitude", device="cpu")
    sim.reset()
    command = np.zeros((worlds, 1, 4), np.float32)
    command[..., 3] = 0.3
    substeps = round(_CONTROL_S * freq)

    def work() -> Any:
        sim.attitude_control(command)
        sim.step(substeps)
        return sim.data.states.pos.block_until_ready()

    rate = per_second(work, worlds, seconds, unmeasured=2)
    note = f"physics alone, {worlds} drones, {substeps} substeps; {substeps * rate:,.0f} substeps/s; all cores"
    return f"crazyflow {_version('crazyflow')}, control steps", f"{rate:,.0f} /s", note


def _l2f(seconds: float) -> Row:
    """Its vector environment: full state, motor commands, one integration step of 10 ms."""
    l2f: Any = importlib.import_module("l2f")
    sizes = [int(name[6:]) for name in dir(l2f) if name.startswith("vector") and name[6:].isdigit()]
    vector = getattr(l2f, f"vector{max(sizes)}")
    device, rng, env = l2f.Device(), vector.VectorRng(), vector.VectorEnvironment()
    params, state, following = vector.VectorParameters(), vector.VectorState(), vector.VectorState()
    vector.initialize_rng(device, rng, 0)
    vector.initialize_environment(device, env)
    vector.sample_initial_parameters(device, env, params, rng)
    vector.sample_initial_state(device, env, params, state, rng)
    observation = np.zeros((env.N_ENVIRONMENTS, env.OBSERVATION_DIM), np.float32)
    action = np.zeros((env.N_ENVIRONMENTS, env.ACTION_DIM), np.float32)

    def work() -> None:
        vector.observe(device, env, params, state, observation, rng)
        vector.step(device, env, params, state, action, following, rng)
        state.assign(following)

    rate = per_second(work, env.N_ENVIRONMENTS, seconds)
    note = f"full state, motor commands, {env.N_ENVIRONMENTS} drones, one integration of 10 ms"
    return f"l2f {_version('l2f')}, control steps", f"{rate:,.0f} /s", note


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return ""
