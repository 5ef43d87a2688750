"""Instructions, flash and RAM of a step on a Cortex-M7 in QEMU: the policy, its small forms, larger rivals."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from liquid_pilot.bundle import load_bundle
from liquid_pilot.export.core import FLOAT, Q15_FORMS, Storage
from scripts.benchmarks.onboard import Plan
from scripts.benchmarks.onboard_models import count, random_bundle, raptor, transformer
from scripts.console import OUT
from scripts.cortex_m7.emulate import CLOCKS_MHZ, CYCLES_PER_INSTRUCTION, INSTALL, Measured, measure, missing_tools
from scripts.tables import rich_table


def _row(name: str, found: Measured) -> list[str]:
    rates = ["-".join(f"{rate / 1e3:.0f}" for rate in found.rates_hz(clock)) for clock in CLOCKS_MHZ]
    bytes_ = f"{found.flash_bytes:,}", f"{found.state_bytes}+{found.stack_bytes}"
    return [name, f"{found.instructions:,.0f}", *bytes_, *rates, f"{found.difference:.0e}"]


def run(plan: Plan) -> dict[str, Any]:
    """Build, count, print. Figures for onboard.json; none where the tools are missing."""
    if missing_tools():
        OUT.print(f"no Cortex-M7: {', '.join(missing_tools())} is missing; {INSTALL}", highlight=False)
        return {"missing": missing_tools()}
    bundle = load_bundle(plan.policy)
    gru = random_bundle("gru", 64, bundle)
    cases = {bundle.name: (bundle, FLOAT), f"{bundle.name}, int8": (bundle, Storage(int8=True))}
    if bundle.spec.form in Q15_FORMS:
        cases[f"{bundle.name}, int8 and Q15"] = bundle, Storage(int8=True, q15=True)
    cases |= {"gru64": (gru, FLOAT), "lstm64": (random_bundle("lstm", 64, bundle), FLOAT)}
    found = {name: measure(*case) for name, case in cases.items()}
    rows = [_row(name, one) for name, one in found.items()]
    per_product = found["gru64"].instructions / count(gru).products
    estimates = {}
    for name, counted in (("RAPTOR (GRU 16)", raptor()), transformer(bundle.parameters)):
        estimates[name] = counted.products * per_product
        rows.append([name, f"~{estimates[name]:,.0f}", "", "", "", "", ""])
    few, many = CYCLES_PER_INSTRUCTION
    rates = [f"kHz at\n{clock} MHz" for clock in CLOCKS_MHZ]
    header = ("what", "instruc-\ntions", "flash\nbytes", "state+stack\nbytes", *rates, "differs")
    title = (
        f"one step on a Cortex-M7 in QEMU; rates assume {few:g} to {many:g} cycles an instruction, which QEMU does not "
        "count; ~ is an estimate, the products times what a product of gru64 takes"
    )
    OUT.print(rich_table(title, header, rows))
    return {"measured": {name: asdict(one) for name, one in found.items()}, "estimated_instructions": estimates}
