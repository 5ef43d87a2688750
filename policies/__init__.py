"""Learning: torch cells, wirings, networks, trainers, experts. The rest of what there is comes from its modules.

>>> from policies import AutoNCP, CfC, LiquidRNN
>>> rnn = LiquidRNN(CfC(17, wiring=AutoNCP(17, 19, 4)))
>>> y, state = rnn(x, dt_s)  # x: (B, T, 17), dt_s: (B, T) seconds -> y: (B, T, 4)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from policies.cells.cfc import CfC
    from policies.cells.ltc import LTC
    from policies.rnn import LiquidRNN
    from policies.wirings import NCP, AutoNCP

__all__ = ["LTC", "NCP", "AutoNCP", "CfC", "LiquidRNN"]

# Imported on first use: wirings and fragments of C need no torch, which takes seconds to load.
_LAZY = {
    "LTC": "policies.cells.ltc",
    "NCP": "policies.wirings",
    "AutoNCP": "policies.wirings",
    "CfC": "policies.cells.cfc",
    "LiquidRNN": "policies.rnn",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
