"""A model card as Markdown: a pure function of a proved policy, its scores and two commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from liquid_pilot.bundle import Bundle
from liquid_pilot.commands.text import plain
from liquid_pilot.half_cheetah import TASK as CHEETAH
from scripts.cards.scores import Scores, task_card

NOT_RECORDED: Final = "not recorded in the file; the settings below are what made it"
_ALWAYS: Final = "Not tested on a real {body}: every score is of a simulation."
_OF_TRAINING: Final = ("config", "command", "commit", "seed")  # what the card says in words


def page(bundle: Bundle, file_bytes: int, scores: Scores, trained_by: str, made_by: str) -> str:
    """The card. trained_by: the command that made the policy; made_by: the one that made the card."""
    paragraphs = (
        f"# {bundle.name}",
        task_card(bundle.task).does,
        _table(["what", ""], _facts(bundle, file_bytes)),
        "## How it was trained",
        "\n".join(_trained(bundle, trained_by)),
        "## Scores",
        scores.told,
        _table(scores.header, scores.body),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(bundle)),
        f"Written by `{made_by}`; `liquid-pilot inspect` proves the file and shows all that it says of itself.",
    )
    return "\n\n".join(paragraphs) + "\n"


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)] if len(header) > 2 else ["---"] * len(header)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *body))


def _facts(bundle: Bundle, file_bytes: int) -> list[list[str]]:
    spec, meta = bundle.spec, bundle.metadata
    layers = f"backbone {spec.backbone_layers} x {spec.backbone_units}" if spec.backbone_layers else "no backbone"
    wiring = "" if spec.wiring is None else f", wired with {spec.wiring.live_synapses} live synapses"
    encoder = spec.encoder
    sight = "" if encoder is None else f"{encoder.grid.numbers + 1} - {encoder.hidden} - {encoder.features}"
    return [
        ["task", plain(bundle.task)],
        ["cell", f"{spec.form}, {layers}, time unit {spec.time_unit_s:g} s{wiring}"],
        ["neurons", str(spec.units)],
        *([["encoder", f"{sight}, {encoder.parameters:,} of the parameters"]] if encoder else []),
        ["parameters", f"{bundle.parameters:,}"],
        ["bytes", f"{file_bytes:,}, of them weights {sum(int(w.nbytes) for w in bundle.weights.values()):,}"],
        ["sha256", f"`{plain(meta['sha256'])}`"],
    ]


def _trained(bundle: Bundle, trained_by: str) -> Iterator[str]:
    training = bundle.metadata["training"]
    yield f"- command: `{trained_by}`" if trained_by else f"- command: {NOT_RECORDED}"
    yield f"- version {plain(bundle.metadata['version'])}, commit {plain(training['commit'])}, seed {training['seed']}"
    yield from (f"- {plain(key)}: {plain(value)}" for key, value in training.items() if key not in _OF_TRAINING)
    yield f"- settings: {_settings(training['config'])}"


def _settings(config: Mapping[str, Any]) -> str:
    """Nested settings on one line, groups in brackets."""
    return ", ".join(
        f"{plain(key)} ({_settings(value)})" if isinstance(value, Mapping) else f"{plain(key)} {plain(value)}"
        for key, value in config.items()
        if value not in (None, "", [], ())
    )


def _limits(bundle: Bundle) -> Iterator[str]:
    meta = bundle.metadata
    if bundle.task == CHEETAH:
        rhythm = meta["trained_rhythm"]
        yield f"It runs in {plain(meta['simulator'])} alone and observes {plain(meta['observe'])}; it flies no drone."
        yield (
            f"Trained at calls every {plain(rhythm['frames'])} frames, {rhythm['dropped']:.0%} of the observations "
            f"lost, {plain(rhythm['delay_frames'])} frames late, noise {rhythm['noise']:g}; beyond them untested."
        )
        yield _ALWAYS.format(body="body")
        return
    limits, setpoints, roll = bundle.limits, meta["setpoint_limits"], bundle.limits.rates_rad_s
    yield f"Sensor rates in training: {plain(meta['trained_rates_hz'])} (Hz); beyond them untested."
    yield f"It needs all of its sensors; trusted up to these ages: {plain(meta['sensor_limits_s'])} (s)."
    yield (
        f"Airframe {plain(meta['airframe'])}, and drones a fifth lighter, heavier, weaker or stronger; what others do "
        "with it is not told here."
    )
    yield (
        f"Set-points: speed to {setpoints['speed_m_s']:g} m/s, height {plain(setpoints['height_m'])} m, yaw rate to "
        f"{setpoints['yaw_rate_rad_s']:g} rad/s; beyond them the onboard controller cuts."
    )
    yield (
        f"It commands thrust of {plain(limits.thrust_m_s2)} m/s^2 and body rates to {roll[0]:g}, {roll[1]:g} and "
        f"{roll[2]:g} rad/s (roll, pitch, yaw), through the autopilot's own rate loop."
    )
    obstacles = "what is thin, smooth or moves was not tried" if bundle.sees else "it sees no obstacle"
    yield f"Not tested over water, glass, slopes or in the dark, near walls or people; {obstacles}."
    yield _ALWAYS.format(body="drone")
