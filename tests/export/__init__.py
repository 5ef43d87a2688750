"""Tests of liquid_pilot.export: C text, its arithmetic, quantisation."""
