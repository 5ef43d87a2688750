"""Pictures of wirings show every neuron and every synapse."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liquid_pilot.errors import ConfigError, MissingExtraError
from policies.wirings import AutoNCP, Wiring, random_wiring
from tests.policies.wiring_cases import small


@pytest.mark.parametrize("wiring", [small(), AutoNCP(7, 19, 4).multi_rate(6), random_wiring(3, 8, 2, 0.6)])
def test_a_picture_has_every_neuron_and_every_synapse(wiring: Wiring) -> None:
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle, FancyArrowPatch

    axes = Figure().add_subplot()
    assert wiring.draw(axes, [f"in {i}" for i in range(wiring.inputs)]) is axes
    of_legend = 2
    assert sum(isinstance(patch, Circle) for patch in axes.patches) == wiring.units
    synapses = sum(isinstance(patch, FancyArrowPatch) for patch in axes.patches)
    assert synapses == wiring.synapses + wiring.sensory_synapses + of_legend
    shown = {text.get_text() for text in axes.texts}
    assert {"sensory", *wiring.names, f"in {wiring.inputs - 1}"} <= shown
    assert any(text.startswith("slow") for text in shown) == bool(wiring.slow_layers)


def test_a_synapse_leads_from_its_source_to_its_target() -> None:
    from policies.wirings.layout import TOUCH, columns_of, curves_of

    wiring = random_wiring(4, 9, 3, 0.5)
    columns = columns_of(wiring)
    places = np.concatenate([column.points for column in columns])
    matrix = np.concatenate([wiring.sensory, wiring.recurrent])
    drawn = np.zeros_like(matrix)
    for curve in curves_of(wiring, columns):
        ends = [np.linalg.norm(places - end, axis=1) for end in (curve.points[0], curve.points[-1])]
        source, target = (int(distance.argmin()) for distance in ends)
        assert ends[0][source] <= TOUCH + 1e-9 and ends[1][target] <= TOUCH + 1e-9
        drawn[source, target - wiring.inputs] = curve.polarity
    np.testing.assert_array_equal(drawn, matrix)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_picture_is_written(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "new" / f"wiring.{kind}"
    small().draw(path)
    assert path.read_bytes().startswith(b"\x89PNG" if kind == "png" else b"<?xml")


def test_a_picture_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"input_names is \['x'\]; give one for each of the 2 inputs"):
        small().draw(tmp_path / "wiring.png", ["x"])
    with pytest.raises(ConfigError, match="input_names is 'xy'"):
        small().draw(tmp_path / "wiring.png", "xy")
    for name in ("wiring", "wiring.exe"):
        with pytest.raises(ConfigError, match=r"let it end with one of: .*png"):
            small().draw(tmp_path / name)


def test_without_matplotlib_a_picture_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'liquid-pilot\[report\]'"):
        small().draw("wiring.png")
