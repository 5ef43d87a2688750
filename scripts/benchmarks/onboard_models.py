"""The networks of the onboard tables: the policy, larger rivals of random weights, and what a step of each counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from liquid_pilot.bundle import Bundle, make_bundle, make_selftest
from liquid_pilot.cells import CellSpec, weight_shapes
from liquid_pilot.export.plan import make_plan
from liquid_pilot.observation import OBS_DIM

SENSORS: Final = ("imu", "flow", "range")
OF_SENSORS: Final = ("trained_rates_hz", "sensor_limits_s")


@dataclass(frozen=True, slots=True)
class Count:
    """parameters; products: multiplications with a weight in one step; state: numbers kept between steps."""

    parameters: int
    products: int
    state: int


def random_bundle(form: str, units: int, like: Bundle) -> Bundle:
    """A policy without a backbone and with random weights, which costs what a trained one of its size does.

    It has the sensors of `hover`, whatever those of `like` are.
    """
    spec = CellSpec(form, OBS_DIM, units, 4, 0, 1, like.spec.time_unit_s)
    rng = np.random.default_rng([0])
    size = 1.0 / np.sqrt(units)
    weights = {name: (size * rng.normal(size=shape)).astype(np.float32) for name, shape in weight_shapes(spec).items()}
    metadata = like.metadata
    rates_hz, limits_s = ({s: metadata[key].get(s, metadata[key]["imu"]) for s in SENSORS} for key in OF_SENSORS)
    return make_bundle(
        f"{form}{units}",
        like.task,
        spec,
        weights,
        like.limits,
        make_selftest(spec, weights, rng),
        trained_rates_hz=rates_hz,
        sensor_limits_s=limits_s,
        setpoint_limits=metadata["setpoint_limits"],
        airframe=metadata["airframe"],
        training={"config": {}, "seed": 0, "commit": "none: random weights", "minutes": 0.0},
    )


def count(bundle: Bundle) -> Count:
    """Of a policy."""
    products = sum(product.rows * product.columns for product in make_plan(bundle.spec, bundle.weights).products)
    return Count(bundle.parameters, products, bundle.spec.state_width)


def raptor() -> Count:
    """The published RAPTOR policy: 22 inputs, dense 16, GRU of 16 with a learned first state, 4 outputs."""
    inputs, units, outputs = 22, 16, 4
    dense, gru, readout = inputs * units, 6 * units * units, units * outputs
    biases = units + 6 * units + outputs
    return Count(dense + gru + readout + biases + units, dense + gru + readout, units)


def transformer(parameters: int) -> tuple[str, Count]:
    """The small causal transformer of about as many parameters: a name, and what it counts.

    An event's key and value depend on its age, so that those of all events it remembers are computed anew.
    """
    from policies.cells.matching import matched
    from policies.cells.matching import parameters as live
    from policies.cells.transformer import FREQUENCIES, Transformer

    network = matched("transformer", OBS_DIM, 4, parameters)
    cell = network.cell
    assert isinstance(cell, Transformer) and len(cell.blocks) == 1
    width, events = cell.width, cell.context
    remembered = events * (2 * len(FREQUENCIES) * width + 2 * width * width)  # ages; keys and values
    newest = 6 * width * width + 2 * events * width  # query, join, two maps of twice the width; looking
    products = OBS_DIM * width + remembered + newest + width * 4
    return f"transformer ({width}, {events} events)", Count(live(network), products, cell.state_width)
