"""Instructions, flash and RAM of a step and of a flow grid on a Cortex-M7 in QEMU: the policy, small forms, rivals."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.export.core import FLOAT, Q15_FORMS, Storage
from scripts.benchmarks.onboard import Plan
from scripts.benchmarks.onboard_models import count, random_bundle, raptor, transformer
from scripts.console import OUT
from scripts.cortex_m7.emulate import (
    CLOCKS_MHZ,
    CYCLES_PER_INSTRUCTION,
    GRID_HZ,
    IMU_HZ,
    INSTALL,
    Measured,
    measure,
    missing_tools,
)
from scripts.tables import rich_table


def _row(name: str, found: Measured) -> list[str]:
    rates = ["-".join(f"{rate / 1e3:.0f}" for rate in found.rates_hz(clock)) for clock in CLOCKS_MHZ]
    bytes_ = f"{found.flash_bytes:,}", f"{found.state_bytes}+{found.stack_bytes}"
    return [name, f"{found.instructions:,.0f}", *bytes_, *rates, f"{found.difference:.0e}"]


def _grid_row(name: str, found: Measured) -> list[list[str]]:
    """What a flow grid costs, where the policy sees; its flash and state are those of the row before."""
    grid = found.grid
    if grid is None:
        return []
    rates = [
        "-".join(f"{clock * 1e3 / (grid.instructions * c):.1f}" for c in CYCLES_PER_INSTRUCTION[::-1])
        for clock in CLOCKS_MHZ
    ]
    return [
        [f"{name}, a grid", f"{grid.instructions:,.0f}", "", f"+{grid.stack_bytes}", *rates, f"{grid.difference:.0e}"]
    ]


def small_forms(bundle: Bundle) -> dict[str, Storage]:
    """How the policy's numbers may be kept: an encoder's are not int8 yet."""
    forms = {} if bundle.sees else {"int8": Storage(int8=True)}
    if bundle.spec.form in Q15_FORMS:
        forms |= {"Q15": Storage(q15=True)} if bundle.sees else {"int8 and Q15": Storage(int8=True, q15=True)}
    return forms


def shares(found: Measured) -> dict[str, tuple[float, float]]:
    """Of the processor's time, at each clock: see `Measured.shares`."""
    return {f"at_{clock}_mhz": found.shares(clock, IMU_HZ, GRID_HZ) for clock in CLOCKS_MHZ}


def run(plan: Plan) -> dict[str, Any]:
    """Build, count, print. Figures for onboard.json; none where the tools are missing."""
    if missing_tools():
        OUT.print(f"no Cortex-M7: {', '.join(missing_tools())} is missing; {INSTALL}", highlight=False)
        return {"missing": missing_tools()}
    bundle = load_bundle(plan.policy)
    gru = random_bundle("gru", 64, bundle)
    cases = {bundle.name: (bundle, FLOAT)}
    cases |= {f"{bundle.name}, {name}": (bundle, storage) for name, storage in small_forms(bundle).items()}
    cases |= {"gru64": (gru, FLOAT), "lstm64": (random_bundle("lstm", 64, bundle), FLOAT)}
    found = {name: measure(*case) for name, case in cases.items()}
    rows = [row for name, one in found.items() for row in (_row(name, one), *_grid_row(name, one))]
    per_product = found["gru64"].instructions / count(gru).products
    estimates = {}
    for name, counted in (("RAPTOR (GRU 16)", raptor()), transformer(bundle.parameters)):
        estimates[name] = counted.products * per_product
        rows.append([name, f"~{estimates[name]:,.0f}", "", "", "", "", ""])
    few, many = CYCLES_PER_INSTRUCTION
    rates = [f"kHz at\n{clock} MHz" for clock in CLOCKS_MHZ]
    header = ("what", "instruc-\ntions", "flash\nbytes", "state+stack\nbytes", *rates, "differs")
    what = "one step and one flow grid" if bundle.sees else "one step"
    title = (
        f"{what} on a Cortex-M7 in QEMU; rates assume {few:g} to {many:g} cycles an instruction, which QEMU does not "
        "count; ~ is an estimate, the products times what a product of gru64 takes"
    )
    OUT.print(rich_table(title, header, rows))
    own = shares(found[bundle.name])
    grids = f" and {GRID_HZ:g} grids" if bundle.sees else ""
    told = (
        f"{least:.1%} to {most:.1%} at {clock} MHz"
        for clock, (least, most) in zip(CLOCKS_MHZ, own.values(), strict=True)
    )
    OUT.print(f"{bundle.name}: {IMU_HZ:g} steps{grids} a second take {', '.join(told)}", highlight=False)
    measured = {name: asdict(one) for name, one in found.items()}
    return {
        "measured": measured,
        "estimated_instructions": estimates,
        "imu_hz": IMU_HZ,
        "grid_hz": GRID_HZ,
        "shares": own,
    }
