"""C99 of an LTC cell with its fused semi-implicit step: the equations of `liquid_pilot.ltc`, live synapses alone.

Each synapse is a sigmoid, which costs some twenty times what a product does; so here, other than in the wired cells of
a policy (`liquid_pilot.export.products`), only those with a conductance are written, in the order of the neurons at
which they end, with the number of their source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from liquid_pilot.cells import DT_LIMIT, VALUE_LIMIT
from liquid_pilot.export import maths
from liquid_pilot.export.core import STATUS_BAD_DT, STATUS_NOT_FINITE, STATUS_OK
from liquid_pilot.export.plain_c import comment, floats, guards, identifier, number, whole_numbers
from liquid_pilot.forms import F32
from liquid_pilot.ltc import LtcSpec, check_ltc

_OF_NEURONS = ("gleak", "vleak", "cm")
_OF_SYNAPSES = ("w", "mu", "sigma", "erev")


def ltc_source(spec: LtcSpec, weights: Mapping[str, F32], name: str) -> str:
    """One C text with `NAME_state`, `NAME_reset` and `NAME_step`. Raises `BundleError`, `ConfigError`.

    int NAME_step(NAME_state *state, const float x[inputs], float dt_s, float shown[outputs]) returns 0; 1 for a dt_s
    that is negative or NaN, which keeps the state; 2 where what is shown is not finite.
    """
    check_ltc(spec, weights)
    return "\n".join(_lines(spec, weights, identifier(name))) + "\n"


def live_synapses(weights: Mapping[str, F32]) -> int:
    """Synapses with a conductance, of the inputs and of the neurons."""
    return int((weights["w"] > 0.0).sum() + (weights["sensory_w"] > 0.0).sum())


def _lines(spec: LtcSpec, weights: Mapping[str, F32], name: str) -> Iterator[str]:
    yield from comment(
        [
            f"{name}: an LTC cell of Liquid Pilot with its semi-implicit step, {spec.unfolds} parts an event.",
            f"{spec.inputs} inputs, {spec.units} neurons of which the last {spec.outputs} are shown, "
            f"{live_synapses(weights)} synapses, time unit {spec.time_unit_s:g} s.",
            "No malloc, no globals that change, no call of the C library; never compile it with -ffast-math.",
        ]
    )
    yield from ("#include <float.h>", "#include <math.h>", "#include <stdint.h>", "")
    yield from guards()
    yield ""
    yield f"typedef struct {{ float v[{spec.units}]; }} {name}_state;"
    yield f"void {name}_reset({name}_state *state);"
    yield f"{_signature(spec, name)};"
    yield ""
    for kind in _OF_NEURONS:
        yield from floats(f"{name}_{kind}", weights[kind])
    for kind in ("input_w", "input_b", "output_w", "output_b"):
        yield from floats(f"{name}_{kind}", weights[kind])
    for kind in ("sensory_", ""):
        yield from _synapses(name, kind, weights)
    yield from maths.tanh_c(name)
    yield from maths.sigmoid_c(name)
    yield ""
    yield from _functions(spec, name)


def _signature(spec: LtcSpec, name: str) -> str:
    return (
        f"int {name}_step({name}_state *state, const float x[{spec.inputs}], float dt_s, float shown[{spec.outputs}])"
    )


def _synapses(name: str, kind: str, weights: Mapping[str, F32]) -> Iterator[str]:
    """Tables of the live synapses of the inputs ("sensory_") or of the neurons ("")."""
    live = weights[f"{kind}w"].T > 0.0  # (neurons, sources)
    first = np.concatenate([[0], np.cumsum(live.sum(axis=1))])
    yield from whole_numbers("uint32_t", f"{name}_{kind}first", first.tolist())
    yield from whole_numbers("uint16_t", f"{name}_{kind}source", np.nonzero(live)[1].tolist() or [0])
    for part in _OF_SYNAPSES:
        values = weights[f"{kind}{part}"].T[live]
        yield from floats(f"{name}_{kind}{part}", values if len(values) else np.zeros(1, np.float32))


def _functions(spec: LtcSpec, name: str) -> Iterator[str]:
    limit = number(float(VALUE_LIMIT))
    yield f"static inline float {name}_cut(float x)"
    yield "{"
    yield f"    const float low = {limit} < x ? {limit} : x;"
    yield f"    return -{limit} > low ? -{limit} : low;"
    yield "}"
    yield ""
    yield "/* Conductance and current that arrive at neuron i, added to what is there. */"
    yield f"static void {name}_arriving(const float *source, const uint32_t *first, const uint16_t *from,"
    yield "    const float *w, const float *mu, const float *sigma, const float *erev, int i, float *conductance,"
    yield "    float *current)"
    yield "{"
    yield "    uint32_t s;"
    yield "    for (s = first[i]; s < first[i + 1]; ++s) {"
    yield f"        const float g = w[s] * {name}_sigmoid(sigma[s] * (source[from[s]] - mu[s]));"
    yield "        *conductance += g;"
    yield "        *current += g * erev[s];"
    yield "    }"
    yield "}"
    yield ""
    yield f"void {name}_reset({name}_state *state)"
    yield "{"
    yield "    int i;"
    yield f"    for (i = 0; i < {spec.units}; ++i)"
    yield "        state->v[i] = 0.0f;"
    yield "}"
    yield ""
    yield _signature(spec, name)
    yield "{"
    yield from (f"    {line}" for line in _step(spec, name))
    yield "}"


def _step(spec: LtcSpec, name: str) -> Iterator[str]:
    def arriving(kind: str, source: str, sums: str) -> str:
        tables = ", ".join(f"{name}_{kind}{table}" for table in ("first", "source", *_OF_SYNAPSES))
        return f"{name}_arriving({source}, {tables}, i, {sums});"

    yield f"float source[{spec.inputs}], conductance[{spec.units}], current[{spec.units}], v[{spec.units}];"
    yield f"float following[{spec.units}];"
    yield f"float part = dt_s * {number(1.0 / spec.time_unit_s)}, finite = 0.0f;"
    yield "int i, k;"
    yield "if (!(dt_s >= 0.0f)) {"
    yield f"    for (i = 0; i < {spec.outputs}; ++i)"
    yield "        shown[i] = NAN;"
    yield f"    return {STATUS_BAD_DT};"
    yield "}"
    yield f"part = (part > {number(DT_LIMIT)} ? {number(DT_LIMIT)} : part) * {number(1.0 / spec.unfolds)};"
    yield f"for (i = 0; i < {spec.inputs}; ++i)"
    yield f"    source[i] = {name}_cut(x[i]) * {name}_input_w[i] + {name}_input_b[i];"
    yield f"for (i = 0; i < {spec.units}; ++i) {{"
    yield f"    v[i] = {name}_cut(state->v[i]);"
    yield f"    conductance[i] = {name}_gleak[i];"
    yield f"    current[i] = {name}_gleak[i] * {name}_vleak[i];"
    yield f"    {arriving('sensory_', 'source', '&conductance[i], &current[i]')}"
    yield "}"
    yield f"for (k = 0; k < {spec.unfolds}; ++k) {{"
    yield f"    for (i = 0; i < {spec.units}; ++i) {{"
    yield "        float all_conductance = conductance[i], all_current = current[i];"
    yield f"        {arriving('', 'v', '&all_conductance, &all_current')}"
    yield "        following[i] = v[i] + part * (all_current - all_conductance * v[i])"
    yield f"            / ({name}_cm[i] + part * all_conductance);"
    yield "    }"
    yield f"    for (i = 0; i < {spec.units}; ++i)"
    yield "        v[i] = following[i];"
    yield "}"
    yield f"for (i = 0; i < {spec.units}; ++i)"
    yield "    state->v[i] = v[i];"
    yield f"for (i = 0; i < {spec.outputs}; ++i) {{"
    yield f"    shown[i] = v[{spec.units - spec.outputs} + i] * {name}_output_w[i] + {name}_output_b[i];"
    yield "    finite += shown[i] - shown[i];"
    yield "}"
    yield f"return finite == 0.0f ? {STATUS_OK} : {STATUS_NOT_FINITE};"
