"""A PX4 log, written here byte by byte, comes in as messages in our frames."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from liquid_pilot.controller import Controller
from liquid_pilot.errors import LiquidPilotError, MessageError, MissingExtraError
from liquid_pilot.logs import read_log
from liquid_pilot.logs.replay import replay
from liquid_pilot.messages import Flow, Imu, Position, Range, Setpoint
from tests.onboard.flying import small_bundle

pytest.importorskip("pyulog", reason="reading PX4 logs needs the package pyulog")

FORMATS = {
    "sensor_combined": ("uint64_t timestamp;float[3] gyro_rad;float[3] accelerometer_m_s2;", "<Q6f"),
    "vehicle_optical_flow": (
        "uint64_t timestamp;uint64_t timestamp_sample;float[2] pixel_flow;uint32_t integration_timespan_us;"
        "uint8_t quality;",
        "<QQ2fIB",
    ),
    "distance_sensor": (
        "uint64_t timestamp;float min_distance;float max_distance;float current_distance;uint8_t orientation;",
        "<QfffB",
    ),
    "vehicle_local_position": ("uint64_t timestamp;float x;float y;float z;float vx;float vy;float vz;", "<Q6f"),
}


def ulog(rows: list[tuple[str, tuple[float, ...]]]) -> bytes:
    def message(kind: bytes, body: bytes) -> bytes:
        return struct.pack("<H", len(body)) + kind + body

    names = list(FORMATS)
    out = b"ULog\x01\x12\x35\x01" + struct.pack("<Q", 0) + message(b"B", bytes(40))
    out += b"".join(message(b"F", f"{name}:{fields}".encode()) for name, (fields, _) in FORMATS.items())
    out += b"".join(message(b"A", struct.pack("<BH", 0, k) + name.encode()) for k, name in enumerate(names))
    for name, values in rows:
        out += message(b"D", struct.pack("<H", names.index(name)) + struct.pack(FORMATS[name][1], *values))
    return out


ROWS: list[tuple[str, tuple[float, ...]]] = [
    ("distance_sensor", (900_000, 0.25, 4.0, 1.5, 25)),
    ("sensor_combined", (1_000_000, 0.5, 0.25, -0.125, 1.0, 2.0, -9.5)),
    ("distance_sensor", (1_001_000, 0.25, 4.0, 7.0, 25)),
    ("distance_sensor", (1_001_500, 0.25, 4.0, 2.0, 0)),
    ("vehicle_optical_flow", (1_009_000, 1_005_000, 0.5, -0.25, 20_000, 51)),
    ("vehicle_local_position", (1_006_000, 1.0, 2.0, -3.0, 4.0, 5.0, -6.0)),
    *[("sensor_combined", (1_010_000 + 10_000 * k, 0.0, 0.0, 0.0, 0.0, 0.0, -9.8125)) for k in range(50)],
]


def test_messages_in_our_frames_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "flight.ulg").write_bytes(ulog(ROWS))
    contents = read_log(tmp_path / "flight.ulg")
    first = contents.records[:7]
    assert isinstance(first[3], Range) and math.isnan(first[3].distance_m)
    assert [*first[:3], *first[4:6]] == [
        Setpoint(0.9, (0.0, 0.0), 1.5, 0.0),
        Range(0.9, 1.5),
        Imu(1.0, (0.5, -0.25, 0.125), (1.0, -2.0, 9.5)),
        Flow(1.005, 0.02, (-0.25, 0.5), 0.2),
        Position(1.006, (2.0, 1.0, 3.0), (5.0, 4.0, 6.0)),
    ]
    assert "hovers at 1.50 m" in contents.notes[0] and len(contents.records) == 56
    assert len(replay(Controller(small_bundle()), contents.records).commands) == 51


@pytest.mark.parametrize("data", [ulog([]), ulog(ROWS)[:60], ulog(ROWS)[:-200] + bytes(150), b"ULog\x01\x12\x35"])
def test_what_holds_no_flight_is_refused_or_read_to_where_it_is_whole(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.ulg").write_bytes(data)
    try:
        assert len(read_log(tmp_path / "bad.ulg").records) > 20
    except LiquidPilotError as error:
        assert isinstance(error, MessageError) and "bad.ulg" in str(error)


def test_without_pyulog_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    (tmp_path / "flight.ulg").write_bytes(ulog(ROWS))
    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'liquid-pilot\[log\]'"):
        read_log(tmp_path / "flight.ulg")
