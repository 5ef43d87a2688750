"""Tests of links, clock and autopilot."""
