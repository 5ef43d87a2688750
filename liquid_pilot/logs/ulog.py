"""Flight logs of PX4 (ULog) as our messages, for replay: https://docs.px4.io/main/en/dev_log/ulog_file_format.html.

Taken are sensor_combined, vehicle_optical_flow, distance_sensor (downwards) and vehicle_local_position. FRD and NED
become FLU and ENU here. Such a log has no set-point of ours and no thrust in m/s^2: a set-point to hover at the first
measured height is put at its start, and it has no commands to compare with.
"""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from liquid_pilot.errors import LiquidPilotError, MessageError, MissingExtraError
from liquid_pilot.logs.rows import LogContents
from liquid_pilot.messages import Flow, Imu, Position, Range, SensorMessage, Setpoint

DOWN: Final = 25  # orientation of a distance sensor that looks down (MAV_SENSOR_ROTATION_PITCH_270)
DEFAULT_HEIGHT_M: Final = 1.0
TOPICS: Final = ("sensor_combined", "vehicle_optical_flow", "distance_sensor", "vehicle_local_position")


def read_ulog(path: str | Path) -> LogContents:
    """Sensor messages of a PX4 log in order of time, after one set-point.

    Raises `MissingExtraError` without the package pyulog, `MessageError` where the file is no flight that can be
    replayed, and `LiquidPilotError` where it cannot be read.
    """
    try:
        core: Any = importlib.import_module("pyulog.core")
    except ImportError as error:
        raise MissingExtraError(
            "flight logs of PX4 need the package pyulog; install it with: pip install 'liquid-pilot[log]'"
        ) from error
    path = Path(path)
    try:
        found = core.ULog(io.BytesIO(path.read_bytes()), list(TOPICS), True).data_list
        messages = [message for topic in found for message in _messages(topic.name, topic.data)]
    except OSError as error:
        raise LiquidPilotError(f"flight log {path} cannot be read ({error.strerror}); check the path") from error
    except Exception as error:  # the package was not written for damaged files
        raise MessageError(f"{path} is not a readable ULog: {error}") from error
    messages.sort(key=lambda message: message.t_s)
    if not any(isinstance(message, Imu) for message in messages):
        raise MessageError(f"{path} has no topic sensor_combined with data; nothing can be replayed without an IMU")
    heights = (m.distance_m for m in messages if isinstance(m, Range) and math.isfinite(m.distance_m))
    height_m = next(heights, DEFAULT_HEIGHT_M)
    start = Setpoint(messages[0].t_s, (0.0, 0.0), height_m, 0.0)
    note = f"{path}: a PX4 log has no set-points; replayed with one that hovers at {height_m:.2f} m"
    return LogContents((start, *messages), (note,))


def _messages(name: str, data: dict[str, Any]) -> Iterator[SensorMessage]:
    """Messages of one topic. data: columns by field."""
    stamp = data.get("timestamp_sample")
    times = data["timestamp"] if stamp is None or not np.all(stamp) else stamp
    t = [int(us) / 1e6 for us in times]
    rows = range(len(t))

    def columns(*names: str) -> Any:
        return zip(*([float(value) for value in data[field]] for field in names), strict=True)

    if name == "sensor_combined":
        gyro = list(columns(*(f"gyro_rad[{axis}]" for axis in range(3))))
        accel = list(columns(*(f"accelerometer_m_s2[{axis}]" for axis in range(3))))
        for k in rows:
            (gx, gy, gz), (ax, ay, az) = gyro[k], accel[k]
            yield Imu(t[k], (gx, -gy, -gz), (ax, -ay, -az))
    elif name == "vehicle_optical_flow":
        for k, (x, y, window_us, quality) in enumerate(
            columns("pixel_flow[0]", "pixel_flow[1]", "integration_timespan_us", "quality")
        ):
            yield Flow(t[k], window_us / 1e6, (y, x), quality / 255.0)
    elif name == "distance_sensor":
        for k, (distance, low, high, way) in enumerate(
            columns("current_distance", "min_distance", "max_distance", "orientation")
        ):
            if way == DOWN:
                yield Range(t[k], distance if low <= distance <= high else math.nan)
    elif name == "vehicle_local_position":
        for k, (north, east, down, v_north, v_east, v_down) in enumerate(columns("x", "y", "z", "vx", "vy", "vz")):
            yield Position(t[k], (east, north, -down), (v_east, v_north, -v_down))
