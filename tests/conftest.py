"""What holds for every test: one thread, and property tests that repeat exactly and never race a clock."""

from __future__ import annotations

import os

# Before numpy and torch start: the arrays here are too small to share between threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
