"""Flies a policy over a link in real time, on one thread."""
