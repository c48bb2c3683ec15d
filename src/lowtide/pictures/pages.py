"""Tables, paragraphs and the one HTML document around them; it loads nothing and runs nothing.

A block is a string of HTML as these functions and the charts make it. All texts are escaped here; a block of your own
making is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, SupportsIndex, TypeAlias, TypeGuard

import numpy as np

from lowtide.errors import InputError, ShapeError
from lowtide.messages import say
from lowtide.pictures.drawing import STYLE, decimals_of, escape, number


@dataclass(frozen=True)
class Marked:
    """A table cell drawn dimmed, with a small mark: for instance a token that was never seen in training.

    Args:
        text: what the cell says.
        note: what the mark means: the tooltip, and a line below the table.
    """

    text: str
    note: str


Cell: TypeAlias = str | float | np.number[Any] | Marked | None

NOTE_MARKS = "°†‡§¶"
NUMERIC = re.compile(r"[-−+]?[\d.,]*\d ?[%‰]?( ?± ?[\d.,]+ ?%?)?")

PAGE_STYLE = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:1.0625rem/1.65 var(--font);overflow-wrap:break-word}
header,main,footer{max-width:72rem;width:calc(100% - 2*clamp(1rem,4vw,3rem));margin:0 auto}
header{padding-top:clamp(2.5rem,7vw,5rem)}
h1,h2,h3,h4,h5,h6{line-height:1.25;margin:0;text-wrap:balance}
h1{font-size:clamp(2rem,5vw,3rem);letter-spacing:-.02em}
h2{font-size:1.6rem;margin-top:3.5rem;scroll-margin-top:1.5rem}
h3,h4,h5,h6{font-size:1.2rem;margin-top:2.5rem}
h1,h2,h3,p,th,td,caption,figcaption{unicode-bidi:plaintext}
main>p,.lead,caption,figcaption,.notes{max-width:44rem}
p{margin:1rem 0}
.lead{font-size:1.25rem;line-height:1.55;color:var(--muted)}
.waves{display:block;width:100%;height:1.5rem;margin:1.75rem 0;fill:none;stroke:var(--accent);stroke-width:2}
.waves path+path{opacity:.35}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1.75rem}
a{color:var(--accent);text-decoration-thickness:1px;text-underline-offset:.25em}
figure,.columns,.table,pre{margin:2rem 0}
figure,.table,.columns>div{overflow-x:auto;min-width:0}
.table{container-type:inline-size}
figcaption,caption,.notes{color:var(--muted);font-size:.9375rem;line-height:1.5}
figcaption,.notes{margin-top:.75rem}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:2rem 2.5rem}
.columns figure,.columns .table{margin:0}
table{border-collapse:collapse;line-height:1.4;font-variant-numeric:tabular-nums}
caption{text-align:start;padding-bottom:.75rem;width:min(44rem,100cqw)}
th,td{padding:.5rem clamp(1rem,3vw,2rem) .5rem 0;text-align:start;vertical-align:baseline;white-space:pre-wrap}
th:last-child,td:last-child{padding-right:0}
th{font-weight:600;border-bottom:2px solid var(--accent)}
td{border-bottom:1px solid var(--rule)}
.numeric{text-align:end;white-space:nowrap}
.marked{color:var(--muted);cursor:help}
sup{line-height:0;color:var(--accent)}
pre{padding:1rem 1.25rem;overflow-x:auto;border-left:3px solid var(--accent);font-size:.9375rem;line-height:1.55;
background:var(--sand)}
code{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono","Noto Sans Mono CJK SC",monospace,var(--font)}
footer{margin-top:5rem;padding-bottom:3rem;color:var(--muted);font-size:.9375rem}
@media print{body{font-size:10.5pt}nav{display:none}h2,h3{break-after:avoid}figure,tr,pre{break-inside:avoid}}
"""
WAVES = (
    '<svg class="waves" viewBox="0 0 1200 24" preserveAspectRatio="none" aria-hidden="true">'
    f'<path d="M0 10q37.5-12 75 0{"t75 0" * 15}"/><path d="M0 16q50 10 100 0{"t100 0" * 11}"/></svg>'
)


def heading(text: str, *, level: int = 2) -> str:
    """A heading; those of level 2 make the table of contents of a `page`.

    Raises:
        InputError: if the level is not 2-6 (1 is the title of the page).
    """
    if level not in range(2, 7):
        raise InputError(f"a heading of level {level}: levels are 2-6, and 1 is the title of the page")
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def code_block(text: str) -> str:
    """Text whose spaces and line ends stay: a command, a listing, an aligned example."""
    return f"<pre><code>{escape(text)}</code></pre>"


def figure(svg: str, *, caption: str) -> str:
    """A picture with a caption below it."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def columns(*blocks: str) -> str:
    """Blocks side by side, below each other where the screen is narrow."""
    return f'<div class="columns">{"".join(f"<div>{block}</div>" for block in blocks)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, caption: str | None = None) -> str:
    """A table; columns of nothing but numbers are aligned at their right, with as many decimals in every row.

    Args:
        header: (columns,).
        rows: each (columns,). Floats are rounded for reading: hand over a string where every digit counts. None is
            an empty cell.
        caption: stands above the table.

    Returns:
        HTML.

    Raises:
        ShapeError: if a row is longer or shorter than the header.
    """
    cells = [list(row) for row in rows]
    for index, row in enumerate(cells):
        if len(row) != len(header):
            raise ShapeError(f"row {index} of the table has {len(row)} cells, the header has {len(header)}")
    marks: dict[str, str] = {}  # note -> mark
    by_column = [[row[index] for row in cells] for index in range(len(header))]
    look = [' class="numeric"' if column and all(map(_is_numeric, column)) else "" for column in by_column]
    decimals = [decimals_of(float(cell) for cell in column if _is_number(cell)) for column in by_column]
    head = "".join(f'<th scope="col"{css}>{escape(name)}</th>' for name, css in zip(header, look, strict=True))
    body = ""
    for row in cells:
        texts = [_cell(cell, few, marks) for cell, few in zip(row, decimals, strict=True)]
        body += "<tr>" + "".join(f"<td{css}>{text}</td>" for text, css in zip(texts, look, strict=True)) + "</tr>"
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    notes = "".join(f'<p class="notes"><sup>{mark}</sup> {escape(note)}</p>' for note, mark in marks.items())
    return f'<div class="table"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}</div>'


def _is_number(cell: object) -> TypeGuard[float]:
    return isinstance(cell, Real) and not isinstance(cell, bool)  # NumPy's numbers, too


def _is_numeric(cell: Cell) -> bool:
    text = cell.text if isinstance(cell, Marked) else cell
    return text is None or _is_number(text) or bool(NUMERIC.fullmatch(str(text)))


def _cell(cell: Cell, decimals: int | None, marks: dict[str, str]) -> str:
    if isinstance(cell, Marked):
        mark = marks.setdefault(cell.note, NOTE_MARKS[len(marks) % len(NOTE_MARKS)])
        return f'<span class="marked" title="{escape(cell.note)}">{escape(cell.text)}<sup>{mark}</sup></span>'
    if _is_number(cell):
        return number(float(cell), 0 if isinstance(cell, SupportsIndex) else decimals)
    return "" if cell is None else escape(cell)


def page(title: str, blocks: Iterable[str], *, language: str = "en", lead: str = "") -> str:
    """Put blocks into one HTML document that loads nothing; its own security policy forbids it to.

    Args:
        title: of the document, also its first heading.
        blocks: HTML from this package, in order. Two or more headings of level 2 make a table of contents.
        language: of the texts, for instance ``"zh"``: screen readers and line breaks go by it.
        lead: a sentence or two below the title.

    Returns:
        HTML, to be written as UTF-8.
    """
    body = "\n".join(blocks).replace(STYLE, "")  # once for all pictures
    names = re.findall("<h2>(.*?)</h2>", body, flags=re.DOTALL)
    for index in range(1, len(names) + 1):
        body = body.replace("<h2>", f'<h2 id="section-{index}">', 1)
    links = "".join(f'<a href="#section-{index}">{name}</a>' for index, name in enumerate(names, start=1))
    return f"""<!doctype html>
<html class="lowtide" lang="{escape(language)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
{STYLE.replace("</style>", PAGE_STYLE + "</style>")}
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{f'<p class="lead">{escape(lead)}</p>' if lead else ""}
{WAVES}
{f"<nav>{links}</nav>" if len(names) > 1 else ""}
</header>
<main>
{body}
</main>
<footer>{say("made by lowtide", "zh" if language == "zh" else "en")}</footer>
</body>
</html>
"""
