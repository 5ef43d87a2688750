"""Inputs of the emulated processor, which main.c draws too, bit for bit, and what numpy makes of flow grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from liquid_pilot.bundle import Bundle
from liquid_pilot.encoder import Encoder, EncoderSpec
from liquid_pilot.flow_grid import GridReader
from liquid_pilot.observation import OBS_DIM, OBS_FIELDS, SIGHT_DIM
from liquid_pilot.stepper import Stepper

F32: TypeAlias = npt.NDArray[np.float32]

STEPS: Final = 1000  # as in main.c
GRIDS: Final = 100  # as in main.c
_BLIND: Final = np.float32(2097152.0)  # a ray in eight


class _Congruence:
    """Whole numbers below 2^24, as floats."""

    def __init__(self) -> None:
        self._number = 1

    def drawn(self) -> np.float32:
        self._number = (self._number * 1664525 + 1013904223) % 2**32
        value: np.float32 = np.float32(self._number >> 8)
        return value

    def around(self) -> np.float32:
        """Within -2 and 2."""
        value: np.float32 = self.drawn() * np.float32(1.0 / 4194304.0) - np.float32(2.0)
        return value

    def dt_s(self) -> np.float32:
        value: np.float32 = self.drawn() * (np.float32(0.05) / np.float32(16777216.0))
        return value


def drawn_events(inputs: int) -> tuple[F32, F32]:
    """Inputs (1000, inputs) within -2 and 2, and times (1000,) from 0 to 0.05 s: those of main.c, bit for bit."""
    x, dt_s, numbers = np.empty((STEPS, inputs), np.float32), np.empty(STEPS, np.float32), _Congruence()
    for k in range(STEPS):
        for i in range(inputs):
            x[k, i] = numbers.around()
        dt_s[k] = numbers.dt_s()
    dt_s[::16] = 0.0
    return x, dt_s


@dataclass(frozen=True, slots=True)
class DrawnGrids:
    """100 grids and the observation of the step after each, those of main.c, bit for bit.

    flow_rad_s: (100, rays, 2) within -8 and 8, most of them small, NaN of one ray in eight. gyro_rad_s: (100, 3).
    speed_m_s: (100,) from 0 to 4. observation: (100, OBS_DIM + SIGHT_DIM), physical units, the elapsed time among them.
    """

    flow_rad_s: F32
    gyro_rad_s: F32
    speed_m_s: F32
    observation: F32


def drawn_grids(spec: EncoderSpec) -> DrawnGrids:
    """Of a policy with this encoder."""
    rays, numbers = spec.grid.rays, _Congruence()
    found = DrawnGrids(
        np.empty((GRIDS, rays, 2), np.float32),
        np.empty((GRIDS, 3), np.float32),
        np.empty(GRIDS, np.float32),
        np.empty((GRIDS, OBS_DIM + SIGHT_DIM), np.float32),
    )
    for k in range(GRIDS):
        for ray in range(rays):
            blind = numbers.drawn() < _BLIND
            root = np.array([numbers.around(), numbers.around()])
            found.flow_rad_s[k, ray] = np.nan if blind else root * root * root
        found.gyro_rad_s[k] = [numbers.around() for _ in range(3)]
        found.speed_m_s[k] = numbers.around() + np.float32(2.0)
        found.observation[k] = [numbers.around() for _ in range(OBS_DIM + SIGHT_DIM)]
        found.observation[k, OBS_DIM - 1] = numbers.dt_s()
    return found


def answers(bundle: Bundle, spec: EncoderSpec, network: Stepper, grids: DrawnGrids) -> tuple[F32, F32]:
    """Features (100, features) of each grid and actions (100, outputs) of the step after it, in numpy, as one run.

    network: the bundle's, or what its stored numbers make of it.
    """
    reader, encoder = GridReader(spec.grid), Encoder(spec, bundle.weights)
    offset = np.concatenate([field.offset for field in OBS_FIELDS])
    scale = np.concatenate([[field.scale] * field.width for field in OBS_FIELDS])
    features = np.empty((GRIDS, spec.features), np.float32)
    actions = np.empty((GRIDS, bundle.spec.outputs), np.float32)
    h = network.initial_state()
    for k, (flow, observation) in enumerate(zip(grids.flow_rad_s, grids.observation, strict=True)):
        p, q, r = grids.gyro_rad_s[k].tolist()
        features[k] = encoder.features(reader.read(flow.astype(np.float64), (p, q, r)), float(grids.speed_m_s[k]))
        own = (observation[:OBS_DIM] - offset) / scale
        x = np.concatenate([own, observation[OBS_DIM:], features[k]]).astype(np.float32)
        actions[k], h = network.step(x, h, float(observation[OBS_DIM - 1]))
    return features, actions
