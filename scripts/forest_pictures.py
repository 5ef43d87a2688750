"""Pictures of a straight flight through a drawn forest, as a forward camera takes them: a source without a camera.

They are PyBullet's renderer's, with the times in times.csv; trunks do not stop the flight. What is printed is the
command that makes flow grids of them.

Examples:
  python -m scripts.forest_pictures pictures                     # 640 x 480 over 100 degrees, 4 s at 25 Hz
  python -m scripts.forest_pictures pictures --columns 160 --rows 64
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from envs.forest import CROSSING_PLOT, check_density
from envs.physics import Body
from envs.surroundings import Surroundings
from liquid_pilot.errors import ConfigError
from liquid_pilot.picture_source import TIMES_COLUMNS, TIMES_FILE
from liquid_pilot.vision import import_cv2
from scripts.console import OUT, exit_code
from scripts.flying import import_pybullet

HEIGHT_M = 1.1


@dataclass(frozen=True)
class Options:
    """A camera, and the flight that carries it."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """A new or empty folder."""
    columns: int = 640
    rows: int = 480
    width_deg: float = 100.0
    """From the left edge of the view to the right one."""
    pictures: int = 100
    hz: float = 25.0
    speed: float = 3.0
    """In m/s, along the course."""
    density: float = 0.1
    """Trees per square metre."""
    seed: int = 0


def run(options: Options) -> None:
    """Draw and write them. Raises `ConfigError`."""
    sizes = options.columns, options.rows, options.pictures
    if not all(1 <= size <= 4096 for size in sizes) or not 1.0 <= options.width_deg <= 150.0:
        raise ConfigError(f"columns, rows, pictures are {sizes}; give 1 to 4096 of each, and 1 to 150 degrees of view")
    if not (0.0 < options.hz < math.inf and 0.0 <= options.speed < math.inf):
        raise ConfigError(f"{options.hz} Hz at {options.speed} m/s makes no flight; give a rate above 0, and a speed")
    check_density(options.density)
    if options.folder.exists() and (not options.folder.is_dir() or any(options.folder.iterdir())):
        raise ConfigError(f"{options.folder} is there and not empty; give a new folder")
    cv2 = import_cv2()
    import_pybullet()
    from envs.eye import Eye, Lens
    from envs.launch import FOREST_X_M, FOREST_Y_M

    rows = CROSSING_PLOT.draw(options.density, 1, np.random.default_rng(options.seed))[:, 0]
    eye = Eye(Lens(options.columns, options.rows, math.tan(math.radians(0.5 * options.width_deg))))
    lines = [",".join(TIMES_COLUMNS)]
    try:
        eye.plant(Surroundings(CROSSING_PLOT, rows).within(FOREST_X_M, FOREST_Y_M))
        options.folder.mkdir(parents=True, exist_ok=True)
        for number in range(options.pictures):
            t_s, name = number / options.hz, f"{number:04d}.png"
            place = (options.speed * t_s, 0.0, HEIGHT_M)
            body = Body(place, (options.speed, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
            cv2.imwrite(str(options.folder / name), eye.picture(body))
            lines.append(f"{t_s!r},{name}")
    finally:
        eye.close()
    (options.folder / TIMES_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    OUT.print(
        f"wrote {options.pictures} pictures; now: liquid-pilot grid {options.folder} --fx {eye.lens.focal_px:.2f}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.forest_pictures`. Returns the exit code."""
    options = tyro.cli(Options, prog="python -m scripts.forest_pictures", args=argv, description=__doc__)
    return exit_code(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
