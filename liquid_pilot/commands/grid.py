"""`liquid-pilot grid`: flow grids of a camera or a recording, and what they cost on this computer."""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from liquid_pilot.commands.logs import check_output
from liquid_pilot.commands.text import plain, write

if TYPE_CHECKING:
    from liquid_pilot.camera_grid import GridCamera
    from liquid_pilot.flow_grid import GridLayout
    from liquid_pilot.messages import FlowGrid

CSV_COLUMNS: Final = (
    "t_s",
    "dt_s",
    "row",
    "ray",
    "azimuth_rad",
    "elevation_rad",
    "flow_azimuth_rad_s",
    "flow_elevation_rad_s",
)
_HELP: Final = """\
Makes the forward flow grids that a policy with eyes needs (task avoid) from pictures, and says what that costs here:
milliseconds a picture, and the rate that this computer could keep up. Needs OpenCV (extra vision).

SOURCE is the number of a camera (0), a video, or a folder of grey pictures in the order of their names. The camera
looks ahead along the body's x axis, upright. Its intrinsics, of its calibration, are in pixels of the pictures as they
come; distortion must have been taken out.
"""
_EXAMPLES: Final = """\
reading the output:
  a picture      cutting, shrinking and comparing it with the one before; not what the source takes to give it
  sustains       pictures a second that the p99 leaves time for
  silent         rays that saw nothing: no texture, flow there and back that disagrees, or beyond the picture

examples:
  liquid-pilot grid 0 --fx 270 --pictures 500                      a camera; Ctrl-C ends it too
  liquid-pilot grid flight.avi --fx 268.5 --fy 268.9 --cx 322.1 --cy 238.4 --csv grids.csv
  liquid-pilot grid pictures/ --fx 67.1 --hz 25                    or with pictures/times.csv: t_s,picture
"""


def add_parser(commands: Any) -> None:
    """The command's arguments. commands: of `argparse.ArgumentParser.add_subparsers`."""
    parser = commands.add_parser(
        "grid",
        help="flow grids of a camera, a video or a folder of pictures, and what they cost",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="number of a camera, or path of a video or a folder")
    parser.add_argument("--fx", type=float, required=True, metavar="PX", help="focal length across, in pixels")
    parser.add_argument("--fy", type=float, metavar="PX", help="focal length down; as across if not given")
    parser.add_argument("--cx", type=float, metavar="PX", help="column of the optical axis; the middle if not given")
    parser.add_argument("--cy", type=float, metavar="PX", help="row of the optical axis; the middle if not given")
    parser.add_argument("--policy", metavar="POLICY", help="whose rays; if not given 32 x 5 over 90 x 40 degrees")
    parser.add_argument("--hz", type=float, help="of a video or a folder: pictures a second, in place of its times")
    parser.add_argument("--to-grey", action="store_true", help="of a folder: pictures have colours, make them grey")
    parser.add_argument("--pictures", type=int, metavar="N", help="stop after so many pictures")
    parser.add_argument(
        "--threads", type=int, default=1, help="of OpenCV; 1 if not given: a controller needs the others"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every grid, a line for each ray")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the grids, write them, say what they cost."""
    from liquid_pilot.errors import ConfigError
    from liquid_pilot.vision import import_cv2

    if arguments.pictures is not None and arguments.pictures < 2:
        raise ConfigError(f"--pictures is {arguments.pictures}; a grid takes two pictures at least")
    if arguments.threads < 1:
        raise ConfigError(f"--threads is {arguments.threads}; give one at least")
    if arguments.csv is not None:
        check_output(arguments.csv)
    import_cv2().setNumThreads(arguments.threads)
    told = _measure(arguments, _layout(arguments.policy))
    write([json.dumps(told, indent=2)] if arguments.json else _lines(told))
    return 0


def _layout(policy: str | None) -> GridLayout:
    """The rays of a policy. Raises `LiquidPilotError` for one that is blind."""
    from liquid_pilot.bundle import load_bundle
    from liquid_pilot.errors import ConfigError
    from liquid_pilot.flow_grid import DEFAULT_GRID

    if policy is None:
        return DEFAULT_GRID
    encoder = load_bundle(policy).spec.encoder
    if encoder is None:
        raise ConfigError(f"{policy} has no flow grid; give a policy that sees, such as avoid")
    return encoder.grid


def _camera(arguments: argparse.Namespace, layout: GridLayout, size: tuple[int, int]) -> GridCamera:
    """For pictures of this size (rows, columns)."""
    from liquid_pilot.camera_grid import GridCamera
    from liquid_pilot.pinhole import Pinhole

    rows, columns = size
    fy = arguments.fx if arguments.fy is None else arguments.fy
    cx = 0.5 * (columns - 1) if arguments.cx is None else arguments.cx
    cy = 0.5 * (rows - 1) if arguments.cy is None else arguments.cy
    return GridCamera(layout, Pinhole(arguments.fx, fy, cx, cy), size)


def _measure(arguments: argparse.Namespace, layout: GridLayout) -> dict[str, Any]:
    """Over all pictures of the source, as plain data. Raises `LiquidPilotError`."""
    from liquid_pilot.camera_grid import checked_grey
    from liquid_pilot.errors import ConfigError
    from liquid_pilot.picture_source import open_pictures
    from liquid_pilot.runtime.histogram import Histogram

    cost, processor = Histogram(), Histogram()
    camera, pictures, grids, silent = None, 0, 0, 0
    with (
        closing(open_pictures(arguments.source, arguments.hz, arguments.to_grey)) as source,
        _table(arguments.csv) as out,
    ):
        try:
            for t_s, picture in source:
                camera = camera or _camera(arguments, layout, checked_grey(picture).shape)
                start_s, begun_s = time.perf_counter(), time.process_time()
                grid = camera.feed(t_s, picture)
                spent_s, worked_s = time.perf_counter() - start_s, time.process_time() - begun_s
                pictures += 1
                if grid is not None:
                    grids += 1
                    silent += int((grid.flow_rad_s[..., 0] != grid.flow_rad_s[..., 0]).sum())
                    cost.add(spent_s)
                    processor.add(worked_s)
                    if out is not None:
                        csv.writer(out, lineterminator="\n").writerows(_rows(grid))
                if pictures == arguments.pictures:
                    break
        except KeyboardInterrupt:
            pass  # what a camera has no other end than
    if camera is None or not grids:
        raise ConfigError(f"{arguments.source} gave {pictures} pictures and no grid; it takes two, at most 0.5 s apart")
    p99_s = cost.quantile_s(0.99)
    return {
        "source": arguments.source,
        "pictures": pictures,
        "rows": camera.size[0],
        "columns": camera.size[1],
        "compared_rows": camera.flow.size[0],
        "compared_columns": camera.flow.size[1],
        "grids": grids,
        "rays": layout.rays,
        "rays_in_picture": camera.flow.rays_seen,
        "threads": arguments.threads,
        "silent_share": silent / (grids * layout.rays),
        "cost_median_ms": 1e3 * cost.quantile_s(0.5),
        "cost_p99_ms": 1e3 * p99_s,
        "processor_median_ms": 1e3 * processor.quantile_s(0.5),
        "sustains_hz": 1.0 / p99_s,
        "csv": "" if arguments.csv is None else str(arguments.csv),
    }


def _table(path: Path | None) -> Any:
    """The open CSV file behind its header, or a context that gives None. Raises `ConfigError`."""
    from liquid_pilot.errors import ConfigError

    if path is None:
        return nullcontext()
    try:
        file: TextIO = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); use another path") from error
    file.write(",".join(CSV_COLUMNS) + "\n")
    return file


def _rows(grid: FlowGrid) -> Iterator[tuple[object, ...]]:
    """A row of the CSV for each ray; flows that were not seen are empty."""
    for row, elevation in enumerate(grid.elevation_rad):
        for ray, azimuth in enumerate(grid.azimuth_rad):
            flow = ["" if f != f else f"{f:.6g}" for f in grid.flow_rad_s[row, ray].tolist()]
            yield (f"{grid.t_s:.6f}", f"{grid.dt_s:.6f}", row, ray, f"{azimuth:.6f}", f"{elevation:.6f}", *flow)


def _lines(told: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{plain(told['source'])}: {told['pictures']} pictures of {told['columns']} x {told['rows']}, compared at "
        f"{told['compared_columns']} x {told['compared_rows']}; {told['grids']} grids"
    )
    if told["rays_in_picture"] < told["rays"]:
        yield f"note: {told['rays'] - told['rays_in_picture']} of {told['rays']} rays lie beyond the picture: silent"
    yield (
        f"a picture costs {told['cost_median_ms']:.2f} ms (median), {told['cost_p99_ms']:.2f} ms (p99): "
        f"sustains {told['sustains_hz']:.0f} Hz"
    )
    yield f"of it processor time {told['processor_median_ms']:.2f} ms (median)"
    yield f"rays that saw nothing: {told['silent_share']:.1%}"
    if told["csv"]:
        yield f"wrote {plain(told['csv'])}"
