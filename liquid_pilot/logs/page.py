"""A flight log as one self-contained HTML page: nothing is linked, nothing runs, and foreign text stays text."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from liquid_pilot.logs.summary import Stream, Summary

MOST_EVENTS: Final = 2000
_LONGEST_TEXT: Final = 600
_CSS: Final = """
:root{color-scheme:light dark;--ink:#1b2733;--soft:#5c6873;--page:#fafbfc;--card:#fff;--line:#dde3e8;--accent:#0072B2}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebef;--soft:#9aa7b2;--page:#12181e;--card:#1a222a;--line:#2d3842;
--accent:#56B4E9}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1100px;padding:1.5rem 1rem 4rem;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.7rem;line-height:1.2;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.2rem 0 .6rem;border-bottom:2px solid var(--accent);padding-bottom:.25rem}
p,li{max-width:48rem;overflow-wrap:anywhere}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .8rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
td{overflow-wrap:anywhere}
th{color:var(--soft);font-weight:600;white-space:nowrap}
figure{margin:1rem 0}
figure img{width:100%;height:auto;background:#fff;border:1px solid var(--line);border-radius:8px;display:block}
figcaption{color:var(--soft);font-size:.9rem;margin-top:.3rem}
"""


def page(
    title: str,
    summary: Summary,
    notes: Sequence[str],
    pictures: Mapping[str, bytes],
    replayed: Sequence[str] = (),
) -> str:
    """The page. pictures: PNG bytes by what they show, in words; replayed: sentences about a replay."""
    parts = [
        f"<h1>{_text(title)}</h1>",
        *_section("Summary", [*_facts(summary, notes), _states(summary)]),
        *_section("Sensors and commands", [_streams(summary.streams)]),
        *(_section("Replay", [f"<p>{_text(line)}</p>" for line in replayed]) if replayed else ()),
        *_section("Plots", [_picture(words, data) for words, data in pictures.items()]),
        *_section("Events", [_events(summary)]),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n"
        "</html>\n"
    )


def _text(value: str) -> str:
    """Foreign text for the page: escaped, without control characters, of bounded length."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value[:_LONGEST_TEXT])
    return html.escape(shown + ("..." if len(value) > _LONGEST_TEXT else ""), quote=True)


def _section(heading: str, blocks: Iterable[str]) -> Iterator[str]:
    yield f"<section>\n<h2>{heading}</h2>"
    yield from blocks
    yield "</section>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in header)
    body = "\n".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _number(value: float, digits: int = 3) -> str:
    return (
        f"{value:.{digits}f}"
        if math.isfinite(value) and abs(value) < 1e12
        else "-"
        if math.isnan(value)
        else f"{value:g}"
    )


def _facts(summary: Summary, notes: Sequence[str]) -> Iterator[str]:
    duration, start = _number(summary.duration_s, 1), _number(summary.start_s, 1)
    yield f"<p>{duration} s of IMU samples, from {start} s on its clock.</p>"
    latencies = [event.text for event in summary.events if event.kind == "latency"]
    lines = [*notes, *(f"Latency: {text}" for text in latencies)]
    if summary.reports:
        told = ", ".join(f"{what} {count}" for what, count in summary.reports.items())
        lines.append(f"Told by the runtime: {told}")
    if summary.setup:
        lines.append(f"Set up with {summary.setup}")
    if lines:
        yield "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>"


def _states(summary: Summary) -> str:
    rows = [
        (span.state, _number(span.start_s), _number(span.end_s - span.start_s), span.cause) for span in summary.spans
    ]
    return _table(("state", "from, s", "for, s", "because"), rows[:MOST_EVENTS])


def _streams(streams: Sequence[Stream]) -> str:
    rows = [
        (
            one.kind,
            str(one.count),
            _number(one.rate_hz, 1),
            _number(one.longest_gap_s),
            _number(one.gap_at_s),
            str(one.backwards),
        )
        for one in streams
    ]
    return _table(("kind", "messages", "rate, Hz", "longest gap, s", "began at, s", "stamps that did not rise"), rows)


def _events(summary: Summary) -> str:
    shown = summary.events[:MOST_EVENTS]
    rows = [(_number(event.t_s), event.kind, event.text) for event in shown]
    left = len(summary.events) - len(shown)
    return _table(("time, s", "kind", "text"), rows) + (f"<p>{left} more are in the log.</p>" if left else "")


def _picture(words: str, data: bytes) -> str:
    alt, text = _text(words), base64.b64encode(data).decode("ascii")
    return f'<figure><img src="data:image/png;base64,{text}" alt="{alt}"><figcaption>{alt}</figcaption></figure>'
