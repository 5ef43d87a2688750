"""The step of a network as C: constants, arithmetic, and one function that takes the scaled observation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from liquid_pilot.cells import DT_LIMIT, FORMS, VALUE_LIMIT, CellSpec
from liquid_pilot.errors import ConfigError
from liquid_pilot.export import maths, products, sight
from liquid_pilot.export.plain_c import floats, guards, number
from liquid_pilot.export.plan import Plan, Stage
from liquid_pilot.export.updates import UPDATES

Q15_FORMS: Final = ("decay", "default", "gru")  # whose state lies within -1 and 1, whatever enters
STATUS_OK: Final = 0
STATUS_BAD_DT: Final = 1
STATUS_NOT_FINITE: Final = 2


@dataclass(frozen=True, slots=True)
class Storage:
    """How numbers are kept. int8: weights as int8 with a scale for each row. q15: state as int16, 2^-15 a step."""

    int8: bool = False
    q15: bool = False


FLOAT: Final = Storage()


def check_storage(spec: CellSpec, storage: Storage) -> None:
    """Raise `ConfigError` where the state of the form does not fit Q15, and for int8 weights behind an encoder."""
    if storage.int8 and spec.encoder is not None:
        raise ConfigError("int8 weights are not there yet for a policy that sees; leave them as float")
    if storage.q15 and spec.form not in Q15_FORMS:
        raise ConfigError(
            f"the state of a cell of form {spec.form!r} is not kept within -1 and 1, which is all that Q15 holds; "
            f"Q15 is for {', '.join(Q15_FORMS)}; leave it out"
        )


def declarations(name: str, plan: Plan, storage: Storage) -> Iterator[str]:
    """Sizes, state and functions of the step, for a header."""
    spec, upper = plan.spec, name.upper()
    yield f"#define {upper}_INPUTS {spec.inputs}"
    yield f"#define {upper}_OUTPUTS {spec.outputs}"
    yield f"#define {upper}_STATE {spec.state_width}"
    yield ""
    yield "/* What a step returns. */"
    yield f"#define {upper}_OK {STATUS_OK}"
    yield f"#define {upper}_BAD_DT {STATUS_BAD_DT} /* dt_s is negative or NaN: the state is kept, the action is NaN */"
    yield f"#define {upper}_NOT_FINITE {STATUS_NOT_FINITE} /* the action holds NaN, as the input did: reset */"
    yield ""
    yield "/* All that is remembered between steps. The caller owns it; there are no globals. */"
    yield "typedef struct {"
    yield f"    {'int16_t' if storage.q15 else 'float'} h[{max(spec.state_width, 1)}];"
    if plan.sight is not None:
        yield f"    float features[{plan.sight.spec.features}]; /* of the newest flow grid */"
    yield f"}} {name}_state;"
    yield ""
    yield "/* Before the first use. */"
    yield f"void {name}_init({name}_state *state);"
    yield "/* A new flight: the state is as after init. */"
    yield f"void {name}_reset({name}_state *state);"
    yield "/* One step. x: the observation as it was scaled in training. action: within -1 and 1. */"
    yield f"int {name}_step_scaled({name}_state *state, const float x[{spec.inputs}], float dt_s,"
    yield f"    float action[{spec.outputs}]);"
    if plan.sight is not None:
        yield ""
        yield from sight.declarations(name, plan.sight.spec)


def definitions(name: str, plan: Plan, storage: Storage) -> Iterator[str]:
    """Constants and functions of the step, for a source file."""
    check_storage(plan.spec, storage)
    yield from guards()
    yield ""
    yield from _constants(name, plan, storage)
    yield from _arithmetic(name, plan, storage)
    yield from _reset(name, plan)
    if plan.sight is not None:
        yield from sight.functions(name, plan.sight)
    yield from _step(name, plan, storage)


def _constants(name: str, plan: Plan, storage: Storage) -> Iterator[str]:
    for stage in plan.stages:
        for part, product in _named_products(stage):
            yield from products.tables(f"{name}_{part}", product, storage.int8)
        for vector, values in stage.vectors.items():
            yield from floats(f"{name}_{stage.name}_{vector}", values)
    if plan.readout is not None:
        yield from products.tables(f"{name}_readout", plan.readout, storage.int8)
    if plan.motor is not None:
        yield from floats(f"{name}_readout_factor", plan.motor[0])
        yield from floats(f"{name}_readout_shift", plan.motor[1])
    if plan.sight is not None:
        yield from sight.tables(name, plan.sight)
    yield ""


def _arithmetic(name: str, plan: Plan, storage: Storage) -> Iterator[str]:
    limit = number(float(VALUE_LIMIT))
    yield "/* Kept within what no sum can overflow; NaN stays NaN. */"
    yield f"static inline float {name}_cut(float x)"
    yield "{"
    yield f"    const float low = {limit} < x ? {limit} : x;"
    yield f"    return -{limit} > low ? -{limit} : low;"
    yield "}"
    yield ""
    written = {"tanh": maths.tanh_c, "sigmoid": maths.sigmoid_c, "exp": maths.exp_c, "softplus": maths.softplus_c}
    for function, text in written.items():
        encodes = function == "exp" and plan.sight is not None
        if function == "tanh" or encodes or function in UPDATES[plan.spec.form].uses:
            yield from text(name)
            yield ""
    encoder = () if plan.sight is None else plan.sight.layers
    yield from products.functions(name, products.block_sizes([*plan.products, *encoder]), storage.int8)
    if storage.q15:
        yield "/* To the nearest step of 2^-15, halves away from 0. */"
        yield f"static inline int16_t {name}_to_q15(float h)"
        yield "{"
        yield "    const float steps = 32768.0f * h + (h < 0.0f ? -0.5f : 0.5f);"
        yield "    return (int16_t)(steps >= 32767.0f ? 32767 : steps > -32768.0f ? (int)steps : -32768);"
        yield "}"
        yield ""


def _reset(name: str, plan: Plan) -> Iterator[str]:
    for function in ("init", "reset"):
        yield f"void {name}_{function}({name}_state *state)"
        yield "{"
        yield "    int i;"
        yield f"    for (i = 0; i < {max(plan.spec.state_width, 1)}; ++i)"
        yield "        state->h[i] = 0;"
        if plan.sight is not None:
            yield f"    {name}_forget(state);"
        yield "}"
        yield ""


def _named_products(stage: Stage) -> Iterator[tuple[str, products.Affine]]:
    for k, product in enumerate(stage.backbone):
        yield f"{stage.name}_backbone{k}", product
    if stage.heads is not None:
        yield f"{stage.name}_heads", stage.heads
    if stage.recurrent is not None:
        yield f"{stage.name}_recurrent", stage.recurrent


def _step(name: str, plan: Plan, storage: Storage) -> Iterator[str]:
    spec, upper = plan.spec, name.upper()
    yield f"int {name}_step_scaled({name}_state *state, const float x[{spec.inputs}], float dt_s,"
    yield f"    float action[{spec.outputs}])"
    yield "{"
    for line in _body(name, plan, storage):
        yield f"    {line}" if line and not line.startswith("#") else line
    yield f"    return finite == 0.0f ? {upper}_OK : {upper}_NOT_FINITE;"
    yield "}"


def _body(name: str, plan: Plan, storage: Storage) -> Iterator[str]:
    spec, upper = plan.spec, name.upper()
    for stage in plan.stages:
        yield from _buffers(stage, FORMS[spec.form].state)
    if plan.readout is not None:
        yield f"float read[{products.padded_rows(plan.readout.rows)}];"
    limit = number(DT_LIMIT)
    yield f"float dt = dt_s * {number(1.0 / spec.time_unit_s)};"
    yield "float finite = 0.0f;"
    yield "int i, k;"
    yield "if (!(dt_s >= 0.0f)) {"
    yield f"    for (i = 0; i < {spec.outputs}; ++i)"
    yield "        action[i] = NAN;"
    yield f"    return {upper}_BAD_DT;"
    yield "}"
    yield f"dt = dt > {limit} ? {limit} : dt;"
    before, first = "x", 0
    for stage in plan.stages:
        yield from _stage(name, plan, storage, stage, before, first)
        before = f"{stage.name}_new"
        first += FORMS[spec.form].state * stage.units
    if plan.readout is not None:
        source = before if spec.units else _features(plan.stages[-1])
        yield from products.call(name, f"{name}_readout", plan.readout, source, "read", storage.int8)
        shown = "read[i]"
    else:
        shown = f"{before}[i] * {name}_readout_factor[i] + {name}_readout_shift[i]"
    yield f"for (i = 0; i < {spec.outputs}; ++i) {{"
    yield f"    action[i] = {name}_tanh({shown});"
    yield "    finite += action[i] - action[i];"
    yield "}"
    if plan.spec.form in ("mlp", "gru", "lstm"):
        yield "(void)dt;"
    if not spec.units:
        yield "(void)state;"
    if not any(products.blocks(product.rows)[0] for product in plan.products):
        yield "(void)k;"


def _buffers(stage: Stage, vectors: int) -> Iterator[str]:
    yield f"float {stage.name}_z[{stage.seen + (0 if stage.apart else stage.units)}];"
    if stage.apart:
        yield f"float {stage.name}_own[{vectors * stage.units}];"
    for part, product in _named_products(stage):
        yield f"float {part}[{products.padded_rows(product.rows)}];"
    if stage.units:
        yield f"float {stage.name}_new[{vectors * stage.units}];"


def _features(stage: Stage) -> str:
    return f"{stage.name}_backbone{len(stage.backbone) - 1}" if stage.backbone else f"{stage.name}_z"


def _stage(name: str, plan: Plan, storage: Storage, stage: Stage, before: str, first: int) -> Iterator[str]:
    """Statements of one stage. before: where what it hears stands; first: where its state begins."""
    own = f"{stage.name}_own" if stage.apart else f"{stage.name}_z + {stage.seen}"
    width = FORMS[plan.spec.form].state * stage.units
    yield f"for (i = 0; i < {stage.seen}; ++i)"
    yield f"    {stage.name}_z[i] = {name}_cut({before}[i]);"
    if width:
        place = f"{first} + i" if first else "i"
        kept = f"3.0517578125e-05f * (float)state->h[{place}]" if storage.q15 else f"{name}_cut(state->h[{place}])"
        yield f"for (i = 0; i < {width}; ++i)"
        yield f"    ({own})[i] = {kept};" if "+" in own else f"    {own}[i] = {kept};"
    source = f"{stage.name}_z"
    for part, product in _named_products(stage):
        entered = own if part.endswith("_recurrent") else source
        yield from products.call(name, f"{name}_{part}", product, entered, part, storage.int8)
        if "_backbone" in part:
            yield f"for (i = 0; i < {product.rows}; ++i)"
            yield f"    {part}[i] = {name}_tanh({part}[i]);"
            source = part
    if width:
        yield from _neurons(name, plan, storage, stage, first)


def _neurons(name: str, plan: Plan, storage: Storage, stage: Stage, first: int) -> Iterator[str]:
    """The update of each neuron, then its state put back."""
    form, units, said = FORMS[plan.spec.form], stage.units, stage.name
    places = {head: f"{said}_heads[{_sum(k * units)}i]" for k, head in enumerate(form.heads)}
    places |= {head: f"{said}_recurrent[{_sum(k * units)}i]" for k, head in enumerate(form.recurrent)}
    own = f"{said}_own" if stage.apart else f"{said}_z"

    def spelled(line: str) -> str:
        line = re.sub(r"HEAD\((\w+)\)", lambda found: places[found[1]], line)
        line = re.sub(r"VECTOR\((\w+)\)", lambda found: f"{name}_{said}_{found[1]}[i]", line)
        line = re.sub(r"\b(TANH|SIGMOID|EXP|SOFTPLUS)\(", lambda found: f"{name}_{found[1].lower()}(", line)
        line = re.sub(r"\bMEMORY\b", f"{own}[{units} + i]", line)
        return re.sub(r"\bOWN\b", f"{own}[{_sum(0 if stage.apart else stage.seen)}i]", line)

    yield f"for (i = 0; i < {units}; ++i) {{"
    yield f"    float updated{', memory' if form.state == 2 else ''};"
    for line in UPDATES[plan.spec.form].lines:
        yield f"    {spelled(line)}"
    yield f"    {said}_new[i] = updated;"
    if form.state == 2:
        yield f"    {said}_new[{units} + i] = memory;"
    yield "}"
    new = f"{said}_new[i]"
    yield f"for (i = 0; i < {form.state * units}; ++i)"
    yield f"    state->h[{_sum(first)}i] = {f'{name}_to_q15({new})' if storage.q15 else new};"


def _sum(first: int) -> str:
    return f"{first} + " if first else ""
