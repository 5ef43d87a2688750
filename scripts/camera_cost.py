"""What a camera's pictures cost: the milliseconds that a picture takes to draw, and its flow to find."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Final

import numpy as np

from envs.flow_grid import GridModel
from envs.physics import Body
from scripts.flying import Job, import_pybullet
from scripts.forest_flights import obstacles_in

PICTURES: Final = 40
X_M: Final = (-6.0, 42.0)
Y_M: Final = (-24.0, 24.0)
STEP_M: Final = 0.1


def camera_cost_ms(job: Job) -> tuple[float, float]:
    """(picture, flow), means over a straight flight through the job's forest on this processor."""
    import_pybullet()
    from envs.camera_flow import CameraFlow
    from envs.eye import Eye

    eye, rng = Eye(), np.random.default_rng(0)
    try:
        eye.plant(obstacles_in(job, X_M, Y_M))
        source, begin_s = CameraFlow(GridModel(), eye, 1.0, rng), time.perf_counter()
        pictures = [
            eye.picture(Body((STEP_M * k, 0.0, 1.0), (3.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
            for k in range(PICTURES)
        ]
        drawn_s = time.perf_counter()
        for before, now in pairwise(pictures):
            source.pictures.flows(before, now, 0.04)
        found_s = time.perf_counter()
    finally:
        eye.close()
    return 1e3 * (drawn_s - begin_s) / PICTURES, 1e3 * (found_s - drawn_s) / (PICTURES - 1)
