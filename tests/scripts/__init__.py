"""Tests of the scripts: pictures, evaluation, benchmark."""
