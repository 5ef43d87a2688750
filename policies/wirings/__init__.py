"""Wirings: which neuron feeds which, and with what sign."""

from policies.wirings.ncp import NCP, AutoNCP
from policies.wirings.one_layer import fully_connected, random_wiring
from policies.wirings.wiring import Wiring

__all__ = ["NCP", "AutoNCP", "Wiring", "fully_connected", "random_wiring"]
