"""The real Betaflight firmware, in a process of its own on loopback, flying our airframes."""
