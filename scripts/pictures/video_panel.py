"""What stands beside the picture in a video: time, supervisor, rates, faults, errors, and their curves so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from envs.faults import Fault
from envs.trace import FlightTrace
from scripts.pictures.flight import STATE_COLOURS
from scripts.pictures.style import BLUE, GREY, INK, PALE, VERMILION, house_style, plain_log_ticks

WIDTH: Final = 320
HEIGHT: Final = 720
RATE_WINDOW_S: Final = 0.5  # rates are counted over so long
_CHARTS_PX: Final = 390  # at the bottom, for the curves
_DPI: Final = 100
_EDGE: Final = 20
_SENSORS: Final = (("imu", "IMU"), ("flow", "flow"), ("range", "range"))


class Panel:
    """The panel of one flight. faults: those that were asked for; ending: why it ended, empty if it was flown."""

    def __init__(self, trace: FlightTrace, title: str, faults: Sequence[Fault], ending: str) -> None:
        self._trace, self._title, self._faults, self._ending = trace, title, faults, ending
        self._fonts = {
            (size, weight): ImageFont.truetype(font_manager.findfont(f"DejaVu Sans:weight={weight}"), size)
            for size, weight in ((14, "normal"), (14, "bold"), (15, "bold"), (30, "bold"))
        }
        self._changes_s = [when for when, _ in trace.supervisor]
        self._back = Image.new("RGB", (WIDTH, HEIGHT), "white")
        charts, self._cursors = _charts(trace, faults)
        self._back.paste(charts, (0, HEIGHT - _CHARTS_PX))

    def at(self, t_s: float) -> Image.Image:
        """The panel at a time of the trace. Figures are those of the newest IMU event."""
        trace, since_s = self._trace, t_s - self._trace.release_s
        now = max(0, int(np.searchsorted(trace.t_s, t_s, side="right")) - 1)
        image = self._back.copy()
        draw = ImageDraw.Draw(image)
        self._write(draw, 16, self._title, 15, "bold", INK)
        held = since_s < 0.0
        self._write(draw, 44, f"{since_s:+.2f} s", 30, "bold", GREY if held else INK)
        self._write(draw, 84, "held in the hand" if held else "since release", 14, "normal", GREY)
        state = self._state(t_s)
        self._pill(draw, 112, state or "no supervisor", STATE_COLOURS.get(state, PALE), state in STATE_COLOURS)
        height, asked = trace.position_m[now, 2], trace.setpoint_height_m[now]
        self._figures(draw, 152, "height", f"{height:.2f} m", f"error {trace.height_error_m[now]:.2f} m")
        speed = float(np.hypot(*trace.velocity_m_s[now, :2]))
        self._figures(draw, 174, "speed", f"{speed:.2f} m/s", f"error {trace.speed_error_m_s[now]:.2f} m/s")
        self._figures(draw, 196, "asked", f"{asked:.2f} m", f"{np.hypot(*trace.setpoint_velocity_m_s[now]):.2f} m/s")
        for row, (key, name) in enumerate(_SENSORS):
            self._rate(draw, 228 + 20 * row, name, np.asarray(trace.arrivals_s.get(key, np.zeros(0))), t_s)
        self._say(draw, 294, since_s, t_s >= trace.t_s[-1])
        for x, low, high in self._cursors(since_s):
            draw.line((x, low, x, high), fill=INK, width=2)
        return image

    def _state(self, t_s: float) -> str:
        newest = int(np.searchsorted(self._changes_s, t_s, side="right")) - 1
        return self._trace.supervisor[newest][1] if newest >= 0 else ""

    def _rate(self, draw: ImageDraw.ImageDraw, y: int, name: str, arrivals_s: np.ndarray, t_s: float) -> None:
        window_s = min(RATE_WINDOW_S, max(t_s, 1e-3))
        count = int(np.count_nonzero((arrivals_s > t_s - window_s) & (arrivals_s <= t_s)))
        silent = count == 0 and t_s >= RATE_WINDOW_S
        self._write(draw, y, name, 14, "normal", GREY)
        text = "silent" if silent else f"{count / window_s:.0f} Hz"
        self._write(draw, y, text, 14, "bold" if silent else "normal", VERMILION if silent else INK, 90)

    def _say(self, draw: ImageDraw.ImageDraw, y: int, since_s: float, over: bool) -> None:
        """The faults that act now, or how the flight ended."""
        acting = [str(fault) for fault in self._faults if fault.start_s <= since_s < fault.end_s]
        if over and self._ending:
            self._pill(draw, y, f"failed: {self._ending}", VERMILION, True)
        elif acting:
            self._pill(draw, y, ", ".join(acting), VERMILION, True)

    def _figures(self, draw: ImageDraw.ImageDraw, y: int, *texts: str) -> None:
        for x, text, colour in zip((0, 70, 160), texts, (GREY, INK, INK), strict=True):
            self._write(draw, y, text, 14, "normal", colour, x)

    def _write(
        self, draw: ImageDraw.ImageDraw, y: int, text: str, size: int, weight: str, colour: str, x: int = 0
    ) -> None:
        draw.text((_EDGE + x, y), text, font=self._fonts[size, weight], fill=colour)

    def _pill(self, draw: ImageDraw.ImageDraw, y: int, text: str, colour: str, strong: bool) -> None:
        font, room = self._fonts[14, "bold"], WIDTH - 2 * _EDGE - 24
        while draw.textlength(text, font=font) > room:
            text = f"{text[:-4]}..."
        draw.rounded_rectangle((_EDGE, y, _EDGE + draw.textlength(text, font=font) + 24, y + 26), 13, fill=colour)
        draw.text((_EDGE + 12, y + 4), text, font=font, fill="white" if strong else INK)


Cursors = Callable[[float], list[tuple[float, float, float]]]


def _charts(trace: FlightTrace, faults: Sequence[Fault]) -> tuple[Image.Image, Cursors]:
    """The curves as a picture, and the places (x, top, bottom) of their time marks in the panel."""
    t = trace.t_s - trace.release_s
    with house_style():
        figure = Figure(figsize=(WIDTH / _DPI, _CHARTS_PX / _DPI), dpi=_DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        height, error = figure.subplots(2, 1, sharex=True)
        height.plot(t, trace.setpoint_height_m, color=VERMILION, ls="--")
        height.plot(t, trace.position_m[:, 2], color=BLUE)
        height.set_ylim(bottom=0.0)
        height.set_title("Height, asked and true (m)", fontsize=9.5)
        error.semilogy(t, np.maximum(trace.speed_error_m_s, 1e-3), color=BLUE, lw=1.2)
        error.set_ylim(5e-3, max(2.0, 1.3 * float(trace.speed_error_m_s.max())))
        plain_log_ticks(error)
        error.set_title("Speed error (m/s)", fontsize=9.5)
        error.set_xlabel("time since release (s)", fontsize=9)
        for axes in (height, error):
            _spans(axes, float(t[0]), float(t[-1]), faults)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())
        boxes = [axes.get_window_extent() for axes in (height, error)]
        first, last = (float(axes_x) for axes_x in error.transData.transform([(t[0], 1.0), (t[-1], 1.0)])[:, 0])

    def cursors(since_s: float) -> list[tuple[float, float, float]]:
        x = float(np.interp(since_s, [float(t[0]), float(t[-1])], [first, last]))
        return [(x, HEIGHT - float(box.y1), HEIGHT - float(box.y0)) for box in boxes]

    return picture, cursors


def _spans(axes: Axes, start_s: float, end_s: float, faults: Sequence[Fault]) -> None:
    """Grey while held, red while a fault acts."""
    axes.axvspan(start_s, 0.0, color=PALE, alpha=0.6, lw=0)
    for fault in faults:
        axes.axvspan(fault.start_s, min(fault.end_s, end_s), color=VERMILION, alpha=0.14, lw=0)
    axes.set_xlim(start_s, end_s)
    axes.tick_params(labelsize=8)
