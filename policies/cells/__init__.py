"""Cells: one step of a recurrent network, each with the time that has passed."""
