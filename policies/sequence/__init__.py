"""Whole sequences of events through one layer, by engines of the same numbers and different speed."""

from policies.sequence.choose import ENGINES, cfc_sequence

__all__ = ["ENGINES", "cfc_sequence"]
