"""The pencil: texts, numbers, axes and marks as pieces of SVG.

Knows no picture, only what all of them need. Lengths are SVG user units, one CSS pixel each at natural size; y grows
downwards. The width of a text is a generous guess, because a string has no font.
"""

from __future__ import annotations

import html
import itertools
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

SIZE, LARGE = 12, 15  # of letters: natural, and on narrow screens, where a chart shrinks and its letters must not
HUGE = 1e150  # numbers are cut to this size, so that no range overflows
PIECE = re.compile(
    r"\[[^\[\]]*\]\s*|[^\s\u2e80-\uffef\[]+\s*|.", re.DOTALL
)  # what is not parted: a word, a Chinese letter
FORBIDDEN = re.compile(
    "[^\t\n\r -~\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)  # in XML 1.0, and what it discourages

CIRCLE = "M0-5A5 5 0 1 1 0 5A5 5 0 1 1 0-5Z"
MARKERS = (
    CIRCLE,
    "M0-6L6 0 0 6-6 0Z",  # diamond
    "M0-5.5L5.4 4H-5.4Z",  # triangle
    "M-4.5-4.5h9v9h-9Z",  # square
    "M-1.8-5.4h3.6v3.6h3.6v3.6h-3.6v3.6h-3.6v-3.6h-3.6v-3.6h3.6Z",  # plus
    "M0 5.5L5.4-4H-5.4Z",  # triangle on its tip
)

# Six colours to a mode, chosen by search: 4.5:1 to the paper (they colour text, too), and at least 0.09 apart in Oklab
# for full, red-blind, green-blind and blue-blind sight. Nothing is set outside the class: a picture may be a guest in
# somebody else's page.
STYLE = """<style>
.lowtide{color-scheme:light dark;--paper:#fbfdfd;--ink:#13232b;--muted:#4f626c;--rule:#d6e1e5;--sand:#eef4f6;
--accent:#0a6a82;--c0:#1f6fda;--c1:#976b12;--c2:#ca397c;--c3:#0f562f;--c4:#4f2789;--c5:#580502;
--heat:#00517a;--on-low:#000;--on-high:#fff;
--font:system-ui,"Noto Sans CJK SC","Noto Sans SC","PingFang SC","Microsoft YaHei","WenQuanYi Zen Hei",sans-serif}
@media screen and (prefers-color-scheme:dark){.lowtide{
--paper:#0d1920;--ink:#e3edf1;--muted:#9fb3bd;--rule:#2b3e49;--sand:#13242d;
--accent:#62c6de;--c0:#36b1d6;--c1:#f7a24b;--c2:#ec548a;--c3:#46fce4;--c4:#9668e9;--c5:#fbf637;
--heat:#86dcf2;--on-low:#fff;--on-high:#000}}
.tide{display:block;width:100%;height:auto;background:var(--paper)}
.tide text{font:12px var(--font);fill:var(--ink);unicode-bidi:plaintext;font-variant-numeric:tabular-nums}
.tide .title{font-size:14px;font-weight:600}
.tide .muted{fill:var(--muted)}
.tide .rule{stroke:var(--rule);fill:none}
.tide .cell,.tide .ramp{fill:var(--heat)}
.tide .ramp{shape-rendering:crispEdges}
.tide .empty{fill:none;stroke:var(--rule)}
.tide .number{font-size:11px;pointer-events:none}
.tide .low{fill:var(--on-low)}
.tide .between{fill:#000}
.tide .high{fill:var(--on-high)}
.tide .bar{fill:var(--accent)}
.tide .level{stroke:var(--muted);stroke-dasharray:5 4}
.tide .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.tide .lead{fill:none;opacity:.5}
.tide .marker{stroke:var(--paper)}
@media (max-width:40rem){.tide.grows text{font-size:15px}.tide.grows .title{font-size:17px}
.tide.grows .wide{display:none}}
</style>"""


def escape(text: object) -> str:
    """Make any text fit for XML and HTML; control characters, which XML 1.0 forbids, are dropped."""
    return html.escape(FORBIDDEN.sub("", str(text)))


def svg(width: float, height: float, title: str, parts: Iterable[str], *, grows: bool = False) -> str:
    """Put the pieces of a picture together.

    Args:
        width: of the picture at natural size.
        height: of the picture at natural size.
        title: what a screen reader says.
        parts: what is drawn, from back to front.
        grows: letters grow on narrow screens, and pieces of class ``wide`` are left out there.
    """
    least, most = (0.6, 1.25) if grows else (0.75, 1.2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lowtide tide{" grows" if grows else ""}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'style="min-width:{least * width:.0f}px;max-width:{most * width:.0f}px">{STYLE}{"".join(parts)}</svg>'
    )


def tip(text: str) -> str:
    """A tooltip, to stand within what it explains."""
    return f"<title>{escape(text)}</title>"


def write(
    x: float,
    y: float,
    text: str,
    *,
    css: str = "",
    anchor: str = "start",
    room: float = HUGE,
    style: str = "",
    turn: int = 0,
) -> str:
    """Write a line of text at (x, y), its baseline; what is longer than ``room`` is cut and whole in the tooltip."""
    shown = shorten(text, room)
    attributes = f' class="{css}"' if css else ""
    attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
    attributes += f' style="{style}"' if style else ""
    attributes += f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{tip(text) if shown != text else ""}{escape(shown)}</text>'


def write_title(text: str, width: float, *, size: float) -> tuple[list[str], float]:
    """Write a title of up to three lines; also return where the picture begins below it."""
    lines = [""]
    for piece in PIECE.findall(text):
        if lines[-1] and len(lines) < 3 and width_of(lines[-1] + piece, size) > width:
            lines.append("")
        lines[-1] += piece
    room = width * SIZE / size
    parts = [write(0, 18 + 20 * row, line, css="title", room=room) for row, line in enumerate(lines)]
    return parts, 20.0 * len(lines) + 4


def mark(shape: str, x: float, y: float, colour: str, text: str, *, size: float = 1) -> str:
    """Draw one of `MARKERS` with a tooltip."""
    place = f'transform="translate({x:.1f} {y:.1f}){f" scale({size})" if size != 1 else ""}"'
    return f'<path class="marker" {place} style="fill:{colour}" d="{shape}">{tip(text)}</path>'


def width_of(text: str, size: float) -> float:
    """Guess how wide a text is drawn."""
    return size * sum(map(_em, text))


def _em(letter: str) -> float:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    if letter == "…" or unicodedata.east_asian_width(letter) in "WF":
        return 1
    if letter in " .,:;'!|ijltfI()[]":
        return 0.36
    return 0.85 if letter in "mwMW%@" else 0.7 if letter.isupper() else 0.64 if letter.isdigit() else 0.59


def shorten(text: str, room: float) -> str:
    """Cut a text to a width, with an ellipsis: whole words around its ``[marked]`` token, or from its beginning."""
    if width_of(text, SIZE) <= room:
        return text
    pieces = PIECE.findall(text)
    start = next((index for index, piece in enumerate(pieces) if piece[0] == "[" and "]" in piece), 0)
    stop, left = start + 1, room - width_of(pieces[start], SIZE) - 2 * SIZE  # an ellipsis on either side
    if left < 0:
        reach = itertools.accumulate(map(_em, text))
        return "".join(letter for letter, end in zip(text, reach, strict=True) if (end + 1) * SIZE <= room) + "…"
    grown = True
    while grown:
        grown = False
        for at in (start - 1, stop):
            if 0 <= at < len(pieces) and (cost := width_of(pieces[at], SIZE)) <= left:
                start, stop, left, grown = min(start, at), max(stop, at + 1), left - cost, True
    return ("…" if start else "") + "".join(pieces[start:stop]).strip() + ("…" if stop < len(pieces) else "")


def number(value: float, decimals: int | None) -> str:
    """Write a number with thousands separators; scientifically where ``decimals`` is None or it is very long."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value and (decimals is None or abs(value) >= 1e15):
        mantissa, exponent = f"{value:.1e}".replace(".0e", "e").split("e")
        power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return (power if mantissa == "1" else f"{mantissa}×{power}").replace("-", "−")
    return f"{value:z,.{decimals or 0}f}".replace("-", "−")


def decimals_of(values: Iterable[float]) -> int | None:
    """How many decimals show three digits of every number, at most four decimals; None if all are tiny."""
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    if not sizes:
        return 0
    if max(sizes) < 1e-3:
        return None
    most = min(max(2 - math.floor(math.log10(min(sizes))), 1), 4)
    return next(few for few in range(most + 1) if all(round(size, few) == round(size, most) for size in sizes))


def cut(value: float, *, positive: bool = False) -> float:
    """Bring a number into the range that can be drawn; NaN if it has no place there."""
    value = float(value)
    if not math.isfinite(value) or (positive and value <= 0):
        return math.nan
    return min(max(value, 1 / HUGE if positive else -HUGE), HUGE)


def ticks(values: Iterable[float], *, log: bool = False) -> list[float]:
    """Two to ten round numbers that cover the values: multiples of 1, 2 or 5 times a power of ten.

    Args:
        values: numbers that `cut` has let through; none are like 0 and 1.
        log: powers of ten, or 1, 2 and 5 times them where there are few.
    """
    known = sorted(values) or [1.0 if log else 0.0]
    low, high = known[0], known[-1]
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        if last - first > 3:
            step = -(-(last - first) // 7)
            return [10.0**power for power in range(first, last + step, step)]
        round_ones = [digit * 10.0**power for power in range(first - 1, last + 2) for digit in (1, 2, 5)]
        start = max(index for index, one in enumerate(round_ones) if one <= low)
        stop = next(index for index, one in enumerate(round_ones) if one >= high)
        return round_ones[start : max(stop, start + 1) + 1]
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1 / HUGE):  # a constant: it stands in the middle
        around = abs(low) / 2 if abs(low) > 1e-100 else 1.0
        low, high = low - around, high + around
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step_size = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough)
    return [index * step_size for index in range(math.floor(low / step_size), math.ceil(high / step_size) + 1)]


def tick_texts(values: Sequence[float], *, log: bool = False) -> list[str]:
    """Write ticks, all with the decimals that tell them apart."""
    if log:
        return [
            number(value, max(-math.floor(math.log10(value)), 0) if 1e-4 <= value < 1e9 else None) for value in values
        ]
    largest, step = max(map(abs, values)), values[1] - values[0]
    is_plain = 1e-3 <= largest < 1e12 or step < largest / 50  # scientifically, two digits are shown
    few = max(-math.floor(math.log10(step) + 1e-9), 0) if is_plain else None
    return [number(value, few) for value in values]


def scale(values: Sequence[float], start: float, stop: float, *, log: bool = False) -> Callable[[float], float]:
    """Map the first of the values to ``start``, the last to ``stop``, and what is between to between."""
    bend = math.log10 if log else float
    low, high = bend(values[0]), bend(values[-1])
    return lambda value: start + (stop - start) * ((bend(value) - low) / (high - low))


def spread(wanted: Sequence[float], *, gap: float, limit: float) -> list[float]:
    """Move places apart to at least ``gap``, as little as simply possible, none beyond ``limit``; the order stays."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    places = list(wanted)
    for before, after in itertools.pairwise(order):
        places[after] = max(places[after], places[before] + gap)
    for index in reversed(order):
        places[index] = min(places[index], limit)
        limit = places[index] - gap
    return places
