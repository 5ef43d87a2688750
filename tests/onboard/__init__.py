"""Tests of what flies."""
