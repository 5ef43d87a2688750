"""Imports point one way, and the onboard package stays small and quick to start."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKSHOP = frozenset({"envs", "policies", "scripts", "tests"})
HEAVY = (
    "torch",
    "pybullet",
    "gymnasium",
    "stable_baselines3",
    "mcap",
    "matplotlib",
    "tensorboard",
    "tyro",
    "scipy",
    "cv2",
)
ONBOARD = frozenset({"liquid_pilot", "numpy", "safetensors"})
EXTRAS = frozenset({"mcap", "matplotlib", "cv2"})  # behind `log`, `report` and `vision`, imported where they are used


def run(code: str, *arguments: str) -> str:
    """Output of `code` in a fresh interpreter that sees this checkout; warnings are errors there too."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=environment,
        cwd=ROOT.anchor,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def imported(source: str) -> Iterator[tuple[str, bool]]:
    """(module, whether it is imported on import of the file) of every import statement."""
    tree = ast.parse(source)
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which package is meant"
            yield node.module or "", id(node) not in late


def roots(path: Path, *, early: bool | None = None) -> set[str]:
    """First names of what a file imports; early=True: only on import, False: only inside functions."""
    found = imported(path.read_text(encoding="utf-8"))
    return {name.partition(".")[0] for name, on_import in found if early in (None, on_import)}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_detector_sees_planted_imports() -> None:
    planted = "import torch.nn\ndef f():\n    from pybullet import connect\n"
    assert set(imported(planted)) == {("torch.nn", True), ("pybullet", False)}
    with pytest.raises(AssertionError, match="relative"):
        list(imported("from . import x"))


def test_every_onboard_module_loads_without_the_workshop() -> None:
    code = (
        "import importlib, pkgutil, sys, liquid_pilot\n"
        "names = [m.name for m in pkgutil.walk_packages(liquid_pilot.__path__, 'liquid_pilot.')]\n"
        "[importlib.import_module(name) for name in names if not name.endswith('__main__')]\n"
        "liquid_pilot.Controller, liquid_pilot.load_bundle\n"
        "print(len(names), sorted(set(sys.argv[1:]) & {name.partition('.')[0] for name in sys.modules}))"
    )
    count, _, found = run(code, *HEAVY, *WORKSHOP).partition(" ")
    assert int(count) >= 10
    assert found == "[]"


@pytest.mark.parametrize("path", files("liquid_pilot"), ids=lambda path: path.stem)
def test_onboard_files_name_nothing_but_numpy_and_safetensors(path: Path) -> None:
    allowed = ONBOARD | sys.stdlib_module_names
    assert roots(path, early=True) <= allowed
    assert roots(path, early=False) <= allowed | EXTRAS


def test_onboard_import_costs_little_beside_numpy() -> None:
    """A ratio of one run, the best of five, so that a busy machine does not count."""
    code = (
        "import time; start = time.perf_counter()\n"
        "import numpy; middle = time.perf_counter()\n"
        "import liquid_pilot; liquid_pilot.Controller\n"
        "print((time.perf_counter() - middle) / (middle - start))"
    )
    assert min(float(run(code)) for _ in range(5)) <= 1.0


def test_public_names_are_all_there() -> None:
    code = (
        "import liquid_pilot\n"
        "missing = [name for name in liquid_pilot.__all__ if not hasattr(liquid_pilot, name)]\n"
        "print(missing, set(liquid_pilot.__all__) <= set(dir(liquid_pilot)), hasattr(liquid_pilot, 'nonsense'))"
    )
    assert run(code) == "[] True False"


def test_import_of_envs_needs_no_torch() -> None:
    code = "import sys, envs\nprint('gymnasium' in sys.modules, 'torch' in sys.modules)"
    assert "True False" in run(code).splitlines()  # beside it, pybullet may greet


@pytest.mark.parametrize("path", files("envs"), ids=lambda path: path.stem)
def test_torch_stays_in_the_batched_world(path: Path) -> None:
    batched = any(part.startswith("batched") for part in path.relative_to(ROOT / "envs").parts)
    assert batched or "torch" not in roots(path)


@pytest.mark.parametrize(
    ("package", "above"),
    [
        ("liquid_pilot", {"envs", "policies", "scripts", "tests"}),
        ("envs", {"policies", "scripts", "tests"}),
        ("policies", {"scripts", "tests"}),
        ("scripts", {"tests"}),
    ],
)
def test_imports_point_one_way(package: str, above: set[str]) -> None:
    wrong = {str(path.relative_to(ROOT)): found for path in files(package) if (found := roots(path) & above)}
    assert files(package)
    assert wrong == {}


def test_scripts_load_neither_simulator_nor_torch_before_they_need_it() -> None:
    code = (
        "import sys, scripts.train, scripts.evaluate, scripts.benchmark, scripts.collect\n"
        "print(sorted({'pybullet', 'torch', 'mujoco'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.split() == ["[]"] and not found.stderr


def test_a_task_is_no_simulator() -> None:
    code = "import sys, envs.hover, envs.track, envs.mission, policies.drills; print('pybullet' in sys.modules)"
    assert run(code) == "False"
