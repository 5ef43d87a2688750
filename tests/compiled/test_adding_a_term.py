"""The page about adding a term tells the truth: its code runs on floats, in torch and compiled, and gives the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from envs import physics, sensors
from liquid_pilot.ops import FLOAT_OPS, Ops, S, Vec3
from policies import cost
from tests.compiled.running import compiled, compiled_vjp, error, in_torch, needs_compiler, on_floats

PAGE = (Path(__file__).parents[2] / "docs" / "adding_a_term.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LANES = 64


@needs_compiler
def test_the_example_gives_the_same_three_times() -> None:
    names: dict[str, Any] = {"Final": Final, "Ops": Ops, "S": S, "Vec3": Vec3, "Any": Any, "Sequence": Sequence}
    names |= {"EQUATIONS": {}, "LANES": LANES}
    exec(f"from __future__ import annotations\n{BLOCKS[0]}\n{BLOCKS[-1]}", names)
    ((function, draw),) = names["EQUATIONS"].values()
    rng = np.random.default_rng(0)
    x = draw(rng)
    run, seed = compiled(function, len(x)), rng.normal(size=(3, LANES))
    value, gradient = in_torch(function, x, seed)
    assert error(run(x), on_floats(function, x)) <= 1e-10
    assert error(run(x), value) <= 1e-10
    assert error(compiled_vjp(function, len(x))(np.concatenate([x, seed])), gradient) <= 1e-10
    forward = function(FLOAT_OPS, (2.0, 0.0, 0.0))
    assert forward[0] < 0.0 and abs(function(FLOAT_OPS, (4.0, 0.0, 0.0))[0] / forward[0] - 4.0) < 1e-3


def test_the_lines_to_change_are_there() -> None:
    assert len(BLOCKS) == 5
    source = Path(physics.__file__).read_text("utf-8")
    assert "drag_n=(air[0] * xy, air[1] * xy, air[2] * z)," in source and "    air = to_body(matrix, " in source
    assert "measured: S = distance_m + noise * model.noise_m" in Path(sensors.__file__).read_text("utf-8")
    assert "matrix = rotation_matrix(body.attitude_wxyz)" in Path(cost.__file__).read_text("utf-8")
    for path in re.findall(r"`((?:envs|policies|liquid_pilot|tests)/[\w/]+\.\w+)`", PAGE):
        assert (Path(__file__).parents[2] / path).is_file(), path
