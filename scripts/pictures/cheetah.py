"""An episode of HalfCheetah, drawn: speed, torques and neurons over time, and a video of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from PIL import Image, ImageDraw, ImageFont

from envs.half_cheetah.rollout import Episode, calls
from scripts.cheetah import CheetahJob, episode, open_env, stepper
from scripts.console import progress_bar
from scripts.pictures.style import BLUE, GREY, INK, PALETTE, VERMILION, Array, headline, house_style, new_figure, save
from scripts.pictures.video import FORMATS, Frame, write_video

JOINTS: Final = ("back thigh", "back shin", "back foot", "front thigh", "front shin", "front foot")
SHOWN_S: Final = 2.0  # of torques and neurons; longer, and a gait is a blur
SIZE: Final = (640, 480)
LINE: Final = 32  # with it, sizes stay multiples of 16, as encoders want


def draw_cheetah(job: CheetahJob, index: int, picture: Path | None, video: Path | None, title: str) -> list[Path]:
    """The picture and the video that were asked for, of one episode, run once more. Returns what was written."""
    written = []
    if picture is not None:
        written.append(draw_episode(episode(job, index), picture, title))
    if video is not None:
        written.append(draw_run(job, index, video, title))
    return written


def draw_episode(found: Episode, path_png: Path, title: str) -> Path:
    """Speed and reward of the whole episode, then torques and neurons of its middle."""
    middle = found.t_s[-1] / 2.0
    late = (found.t_s >= middle) & (found.t_s <= middle + SHOWN_S)
    t = found.t_s[late]
    with house_style():
        figure = new_figure(13.0, 10.0)
        speed, torque, neurons = figure.subplots(3, 1, height_ratios=(1.0, 1.3, 1.6))
        _speed(speed, found)
        for k, (name, colour) in enumerate(zip(JOINTS, PALETTE, strict=False)):
            torque.step(t, found.actions[late, k], where="post", color=colour, lw=1.2, label=name)
        torque.set_title("Torques (shares of the largest)")
        torque.set_ylim(-1.05, 1.05)
        torque.legend(loc="lower right", ncols=6, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1)
        _neurons(neurons, t, found.hidden[late])
        torque.set_xlim(t[0], t[-1])
        neurons.set_xlim(t[0], t[-1])
        neurons.set_xlabel("time (s)")
        facts = f"return {found.total:,.0f}, {found.speed_m_s:.2f} m/s, {found.calls:,} calls in {found.t_s[-1]:.1f} s"
        headline(figure, title, facts)
        return save(figure, path_png)


def _speed(axes: Axes, found: Episode) -> None:
    dt_s = np.maximum(np.diff(found.t_s), 1e-9)
    axes.plot(found.t_s[1:], np.diff(found.place_m) / dt_s, color=BLUE, lw=0.8)
    axes.axhline(found.speed_m_s, color=VERMILION, ls="--", lw=1.2)
    axes.set_title("Speed (m/s; dashed: mean)")
    axes.set_xlim(0.0, found.t_s[-1])


def _neurons(axes: Axes, t: Array, hidden: np.ndarray) -> None:
    if not hidden.shape[1]:
        axes.set_title("This network has no memory")
        return
    edges = np.append(t, 2.0 * t[-1] - t[-2])
    limit = max(0.3, float(np.abs(hidden).max()))
    mesh = axes.pcolormesh(
        edges, np.arange(hidden.shape[1] + 1), hidden.T, cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True
    )
    axes.set_ylabel("neuron")
    axes.grid(False)
    axes.set_title("State of each neuron")
    axes.figure.colorbar(mesh, ax=axes, pad=0.01, aspect=18).set_label("state")


def draw_run(job: CheetahJob, index: int, path: Path, title: str) -> Path:
    """The simulator's own pictures of one episode, in real time, with what it has earned so far."""
    form = FORMATS[path.suffix.lower()]
    total = round(_seconds(job) * form.fps)
    with progress_bar() as bar:
        task = bar.add_task(str(path), total=total)
        frames = _frames(job, index, title, form.fps)
        return write_video(path, frames, (SIZE[0], SIZE[1] + 2 * LINE), lambda done: bar.update(task, completed=done))


def _seconds(job: CheetahJob) -> float:
    with closing(open_env(job)) as env:
        return env.episode_frames * env.simulator.frame_s


def _frames(job: CheetahJob, index: int, title: str, fps: float) -> Iterator[Frame]:
    font = ImageFont.load_default(15)
    shown, earned = 0, 0.0
    with closing(open_env(job, render=True)) as env:
        for call in calls(env, stepper(job), job.seed_of(index)):
            earned += call.reward
            while shown <= call.t_s * fps:
                shown += 1
                canvas = Image.new("RGB", (SIZE[0], SIZE[1] + 2 * LINE), "white")
                canvas.paste(Image.fromarray(env.render()).resize(SIZE), (0, 2 * LINE))
                draw = ImageDraw.Draw(canvas)
                draw.text((10, 6), title, font=font, fill=INK)
                told = f"{call.t_s:5.1f} s    {call.place_m:6.1f} m    return {earned:6.0f}"
                draw.text((10, 6 + LINE), told, font=font, fill=GREY)
                yield np.asarray(canvas)
