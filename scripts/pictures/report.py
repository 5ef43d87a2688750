"""One self-contained HTML page: text, tables and pictures, readable anywhere without a network."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from liquid_pilot.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain text; it is escaped."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Header and rows of plain text. The first column is the name of the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG file, embedded whole. `alt` says in words what it shows."""

    path: Path
    alt: str


Block: TypeAlias = Paragraph | Table | Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    blocks: Sequence[Block]


_CSS: Final = """
:root{color-scheme:light dark;--ink:#1b2733;--soft:#5c6873;--page:#fafbfc;--card:#fff;--line:#dde3e8;--accent:#0072B2}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebef;--soft:#9aa7b2;--page:#12181e;--card:#1a222a;--line:#2d3842;
--accent:#56B4E9}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1100px;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:.5rem 0 1rem}
h2{font-size:1.3rem;margin:2.4rem 0 .6rem;border-bottom:2px solid var(--accent);padding-bottom:.25rem}
p{max-width:46rem}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;margin:1rem 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{caption-side:bottom;text-align:left;color:var(--soft);padding:.5rem .8rem;font-size:.9rem}
th,td{padding:.45rem .8rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
th{color:var(--soft);font-weight:600}
figure{margin:1rem 0}
figure img{width:100%;height:auto;background:#fff;border:1px solid var(--line);border-radius:8px;display:block}
figcaption{color:var(--soft);font-size:.9rem;margin-top:.3rem}
"""


def write_report(path_html: str | Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the page; every picture is embedded, nothing is linked. Returns the path.

    Raises `ConfigError` where a picture is missing.
    """
    path = Path(path_html)
    body = "\n".join(_section(section) for section in sections)
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{html.escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f"<section>\n<h2>{html.escape(section.heading)}</h2>\n{blocks}\n</section>"


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{html.escape(block.text)}</p>"
    if isinstance(block, Table):
        return _table(block)
    if not block.path.is_file():
        raise ConfigError(f"the report's picture {block.path} does not exist; draw it before writing the report")
    data = base64.b64encode(block.path.read_bytes()).decode("ascii")
    alt = html.escape(block.alt)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{alt}"><figcaption>{alt}</figcaption></figure>'


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in table.header)
    rows = "\n".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in table.rows)
    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    )
