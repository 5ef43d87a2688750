"""Grey pictures with the times at which they were taken: of a camera, a video, or a folder (extra `vision`)."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from liquid_pilot.camera_grid import Grey
from liquid_pilot.errors import ConfigError
from liquid_pilot.vision import import_cv2

Stamped: TypeAlias = tuple[float, Grey]  # seconds, picture
Pictures: TypeAlias = Generator[Stamped, None, None]

ENDINGS: Final = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".tif", ".tiff")
TIMES_FILE: Final = "times.csv"  # in a folder of pictures
TIMES_COLUMNS: Final = ("t_s", "picture")


def open_pictures(source: str, hz: float | None = None, to_grey: bool = False) -> Pictures:
    """Pictures in their order, until the source ends. source: index of a camera, else path of a video or a folder.

    Times are, of a camera, those of the monotonic clock when the picture arrived; of a video those in the file; of a
    folder those of its `times.csv`. hz: this rate instead, of a video or a folder. to_grey: pictures of a folder may
    have colours; cameras and videos, which always have, are made grey anyway. Close the generator to free a camera.
    Raises `ConfigError` for what is not there, is empty, or cannot be read, and `MissingExtraError`.
    """
    if hz is not None and not (math.isfinite(hz) and hz > 0.0):
        raise ConfigError(f"hz is {hz}; give pictures a second, above 0")
    cv2 = import_cv2()
    if source.isdecimal():
        if hz is not None:
            raise ConfigError(f"camera {source} says itself when a picture came; leave the rate of {hz:g} Hz out")
        return _camera(cv2, int(source))
    path = Path(source)
    if path.is_dir():
        return _folder(cv2, path, hz, to_grey)
    if not path.is_file():
        raise ConfigError(
            f"{source} does not exist; give the number of a camera, such as 0, a video, or a folder of pictures"
        )
    if path.stat().st_size == 0:
        raise ConfigError(f"{source} is empty, 0 bytes; record the video again")
    return _video(cv2, path, hz)


@contextmanager
def _quiet(cv2: Any) -> Iterator[None]:
    """Without OpenCV's own lines on the screen: what it cannot open is said by the error."""
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def _opened(cv2: Any, what: int | str) -> Any:
    with _quiet(cv2):
        capture = cv2.VideoCapture(what)
    return capture if capture.isOpened() else None


def _grey(cv2: Any, picture: Any) -> Any:
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if picture.ndim == 3 else picture


def _camera(cv2: Any, number: int) -> Pictures:
    capture = _opened(cv2, number)
    if capture is None:
        raise ConfigError(
            f"camera {number} cannot be opened; see `ls /dev/video*`, and whether another program has it or this user "
            "may not (group video)"
        )
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a picture that waited is late by as much
    return _frames(cv2, capture, lambda _: time.monotonic())


def _video(cv2: Any, path: Path, hz: float | None) -> Pictures:
    capture = _opened(cv2, str(path))
    if capture is None:
        raise ConfigError(f"{path} cannot be read as a video by this OpenCV; convert it, for example to MJPEG in .avi")
    if hz is not None:
        return _frames(cv2, capture, lambda number: number / hz)
    return _frames(cv2, capture, lambda _: 1e-3 * float(capture.get(cv2.CAP_PROP_POS_MSEC)))


def _frames(cv2: Any, capture: Any, stamp_s: Callable[[int], float]) -> Pictures:
    """stamp_s: when the picture with this number, which was just read, was taken."""
    number = 0
    try:
        while True:
            there, picture = capture.read()
            if not there:
                return
            yield stamp_s(number), _grey(cv2, picture)
            number += 1
    finally:
        capture.release()


def _folder(cv2: Any, folder: Path, hz: float | None, to_grey: bool) -> Pictures:
    if hz is None:
        listed = _times(folder)
    else:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
        listed = [(number / hz, path) for number, path in enumerate(found)]
    if not listed:
        raise ConfigError(f"{folder} holds no pictures; they end in one of: {', '.join(ENDINGS)}")
    return _read(cv2, listed, to_grey)


def _times(folder: Path) -> list[tuple[float, Path]]:
    """What the folder's list says, in its order."""
    path = folder / TIMES_FILE
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no {TIMES_FILE}, so that nothing says when its pictures were taken; give --hz, or that "
            f"file: a header line {','.join(TIMES_COLUMNS)}, then a line for each picture"
        )
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        if not rows or tuple(rows[0]) != TIMES_COLUMNS:
            raise ConfigError(f"{path} begins with {rows[:1]}; its first line must be {','.join(TIMES_COLUMNS)}")
        return [(float(t_s), folder / name) for t_s, name in rows[1:]]
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} cannot be read ({error}); give {','.join(TIMES_COLUMNS)} in every line") from error


def _read(cv2: Any, listed: list[tuple[float, Path]], to_grey: bool) -> Pictures:
    for t_s, path in listed:
        with _quiet(cv2):
            picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None:
            raise ConfigError(f"{path} is no picture that can be read; it is missing, empty or damaged: leave it out")
        if picture.ndim == 3 and not to_grey:
            raise ConfigError(f"{path} is a picture of colours, {picture.shape}; give grey ones, or --to-grey")
        yield t_s, cv2.cvtColor(picture[:, :, :3], cv2.COLOR_BGR2GRAY) if picture.ndim == 3 else picture
