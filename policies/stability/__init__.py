"""Stability of cells: certified bounds by interval arithmetic, measured ones, and constraints on weights."""
