"""A flight as a video: the drawn scene from its recorded trace, beside its figures. Flying and drawing stay apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.faults import Fault
from envs.trace import Array, FlightTrace
from liquid_pilot.errors import ConfigError, MissingExtraError
from scripts.files import check_file
from scripts.pictures.video_panel import HEIGHT, WIDTH, Panel

VIEW_WIDTH: Final = 640
LINGER_S: Final = 1.0  # on the last picture
_EXTRA: Final = "pip install 'liquid-pilot[report]'"
Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Format:
    """How a file is encoded. fps: of the file; codec, pixels and options: ffmpeg's."""

    fps: float
    codec: str
    pixels: str
    options: tuple[str, ...]


FORMATS: Final = {
    ".mp4": Format(25.0, "libx264", "yuv420p", ("-crf", "21", "-movflags", "+faststart")),
    ".gif": Format(  # delays in a gif are whole hundredths of a second; one palette for the whole file
        10.0,
        "gif",
        "pal8",
        ("-filter_complex", "scale=iw*2/3:-1,split[a][b];[a]palettegen=max_colors=64[p];[b][p]paletteuse=dither=none"),
    ),
}


def check_video(option: str, path: Path) -> None:
    """Raise `ConfigError` unless a video can be written at the path, `MissingExtraError` without an encoder.

    option: as the command line calls it, for the message.
    """
    check_file(option, path, *FORMATS)
    _encoder()


def draw_video(
    trace: FlightTrace,
    path: Path,
    title: str,
    airframe: Airframe,
    faults: Sequence[Fault] = (),
    ending: str = "",
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write the flight as .mp4 (25 pictures a second) or .gif (10, smaller). Returns the path.

    airframe: what is drawn. faults: named while they act. ending: why the flight failed, said at its end. on_frame:
    told how many pictures are drawn, and of how many. The file is whole or not there. Raises `ConfigError` for
    another suffix, `MissingExtraError` without an encoder, `OSError` where the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ConfigError(f"{path} ends in {suffix or 'nothing'}; a video ends in {' or '.join(FORMATS)}")
    times = frame_times(trace, FORMATS[suffix].fps)
    drawn = frames(trace, times, title, airframe, faults, ending)
    return write_video(path, drawn, (VIEW_WIDTH + WIDTH, HEIGHT), lambda done: on_frame(done, len(times)))


def write_video(
    path: Path, drawn: Iterable[Frame], size: tuple[int, int], on_frame: Callable[[int], None] = lambda done: None
) -> Path:
    """Write pictures of a size (width, height) in the format of the path's suffix, whole or not at all.

    Raises as `draw_video`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix.lower()
    unfinished = path.with_name(f"{path.stem}.part{suffix}")
    try:
        with _encoding(unfinished, FORMATS[suffix], size) as write:
            for done, frame in enumerate(drawn, 1):
                write(frame)
                on_frame(done)
        if not unfinished.is_file() or unfinished.stat().st_size == 0:
            raise OSError(f"the encoder wrote no {path}; what it said stands above")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def frame_times(trace: FlightTrace, fps: float) -> Array:
    """Times of the pictures on the clock of the trace, from its first event to its last, which lingers."""
    first, last = float(trace.t_s[0]), float(trace.t_s[-1])
    times = first + np.arange(round((last - first + LINGER_S) * fps) + 1) / fps
    return np.minimum(times, last)


def frames(
    trace: FlightTrace, times_s: Array, title: str, airframe: Airframe, faults: Sequence[Fault] = (), ending: str = ""
) -> Iterator[Frame]:
    """Pictures (HEIGHT, VIEW_WIDTH + WIDTH, 3) of the flight at the times."""
    from envs.scene import Scene  # PyBullet only where pictures are drawn

    panel = Panel(trace, title, faults, ending)
    position, attitude = poses(trace, times_s)
    newest = np.searchsorted(trace.t_s, times_s, side="right") - 1
    with closing(Scene(airframe, trace.obstacles)) as scene:
        for t_s, place, turn, k in zip(times_s.tolist(), position, attitude, newest, strict=True):
            x, y, z = place.tolist()
            qw, qx, qy, qz = turn.tolist()
            target_m = (x, y, float(trace.setpoint_height_m[k]))
            view = scene.picture((x, y, z), (qw, qx, qy, qz), target_m, t_s, VIEW_WIDTH, HEIGHT)
            yield np.concatenate([view, np.asarray(panel.at(t_s))], axis=1)


def poses(trace: FlightTrace, times_s: Array) -> tuple[Array, Array]:
    """Positions (n, 3) and unit quaternions wxyz (n, 4) at the times, interpolated between IMU events."""
    q = trace.attitude_wxyz
    flips = np.sign(np.sum(q[1:] * q[:-1], axis=1))  # q and -q are one attitude
    q = q * np.cumprod(np.concatenate([[1.0], np.where(flips == 0.0, 1.0, flips)]))[:, None]
    position, turn = (
        np.stack([np.interp(times_s, trace.t_s, column) for column in table.T], axis=1)
        for table in (trace.position_m, q)
    )
    return position, turn / np.linalg.norm(turn, axis=1, keepdims=True)


@contextmanager
def _encoding(path: Path, form: Format, size: tuple[int, int]) -> Iterator[Callable[[Frame], None]]:
    """A function that takes one picture after the other; the file is done when the block ends."""
    encoder = _encoder().write_frames(
        str(path),
        size,
        fps=form.fps,
        codec=form.codec,
        pix_fmt_out=form.pixels,
        quality=None,
        ffmpeg_log_level="error",
        output_params=list(form.options),
    )
    encoder.send(None)
    try:
        yield lambda frame: encoder.send(np.ascontiguousarray(frame))
    finally:
        encoder.close()


def _encoder() -> Any:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(f"no encoder for videos was found ({error}); run {_EXTRA}") from error
    return imageio_ffmpeg
