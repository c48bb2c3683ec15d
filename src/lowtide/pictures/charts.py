"""The pictures: lines, heat maps, token maps and bars, each a function from numbers to an SVG.

Numbers that are not finite are left out; a label that is too long is cut and stands whole in its tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy.typing as npt

from lowtide.errors import ShapeError
from lowtide.pictures.drawing import (
    CIRCLE,
    LARGE,
    MARKERS,
    SIZE,
    cut,
    decimals_of,
    mark,
    number,
    scale,
    shorten,
    spread,
    svg,
    tick_texts,
    ticks,
    tip,
    width_of,
    write,
    write_title,
)

Matrix: TypeAlias = Sequence[Sequence[float]] | npt.NDArray[Any]

WIDTH = 560  # of charts and maps; a heat map is as wide as its cells
END_ROOM, ROW_ROOM, COLUMN_ROOM, POINT_ROOM, BAR_ROOM = 180, 134, 112, 136, 250  # the longest labels, by their place
DASHES = ("none", "7 4", "2 4", "9 4 2 4")
DARK_FLIP, LIGHT_FLIP = 0.515, 0.745  # the heat above which a number takes the other ink in each mode: always 4.5:1


def line_chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    levels: Mapping[str, float] | None = None,
    log_y: bool = False,
) -> str:
    """Draw a line for every series, named at its end.

    Args:
        series: name to (x, y) points in the order of the line. What is not finite, or not positive where ``log_y``,
            leaves a gap.
        title: stands above the picture.
        x_label: what x is, and its unit.
        y_label: what y is, and its unit.
        levels: name to y of dashed horizontal lines, for instance the perplexity of a unigram model.
        log_y: equal ratios are equally far apart.

    Returns:
        An SVG.
    """
    lines = {name: [(cut(x), cut(y, positive=log_y)) for x, y in points] for name, points in series.items()}
    heights = {name: cut(y, positive=log_y) for name, y in (levels or {}).items()}
    known = [(x, y) for points in lines.values() for x, y in points if not math.isnan(x + y)]
    x_ticks = ticks(x for x, _ in known)
    y_ticks = ticks([y for _, y in known] + [y for y in heights.values() if not math.isnan(y)], log=log_y)

    parts, top = write_title(title, WIDTH, size=17)
    top += 34  # the y label stands above its axis
    left = max(width_of(text, LARGE) for text in tick_texts(y_ticks, log=log_y)) + 8
    right = WIDTH - min(max((width_of(name, LARGE) for name in [*lines, *heights]), default=0), END_ROOM) - 20
    bottom = top + max(230, (LARGE + 3) * (len(lines) + len(heights)))
    x_at, y_at = scale(x_ticks, left, right), scale(y_ticks, bottom, top, log=log_y)
    x_places = [(x_at(x), text) for x, text in zip(x_ticks, tick_texts(x_ticks), strict=True)]
    y_places = [(y_at(y), text) for y, text in zip(y_ticks, tick_texts(y_ticks, log=log_y), strict=True)]
    parts += _axes(x_places, y_places, x_label=x_label, y_label=y_label, right=right)

    ends = []  # of every line: name, x, y, colour
    for name, height in heights.items():
        y = bottom
        if not math.isnan(height):
            y = y_at(height)
            shown = tip(f"{name}: {_said(height)}")
            parts.append(f'<path class="level" d="M{left:.1f} {y:.1f}H{right:.1f}">{shown}</path>')
        ends.append((name, right, y, "var(--muted)"))
    for index, (name, points) in enumerate(lines.items()):
        colour, dash = f"var(--c{index % 6})", DASHES[index // 6 % len(DASHES)]
        places = [None if math.isnan(x + y) else (x_at(x), y_at(y)) for x, y in points]
        parts.append(_line(name, places, f"stroke:{colour};stroke-dasharray:{dash}"))
        for place, (x, y) in zip(places, points, strict=True):
            if place and len(points) <= 40:
                parts.append(mark(CIRCLE, *place, colour, f"{name}: {_said(y)} ({x_label}: {_said(x)})", size=0.7))
        ends.append((name, *next((place for place in reversed(places) if place), (right, bottom)), colour))
    return svg(WIDTH, bottom + 50, title, [*parts, *_end_labels(ends, right, bottom)], grows=True)


def _axes(
    x_places: Sequence[tuple[float, str]],
    y_places: Sequence[tuple[float, str]],
    *,
    x_label: str,
    y_label: str,
    right: float,
) -> Iterator[str]:
    """Draw a level line for every tick of y, and leave out the ticks of x that would touch, more on narrow screens."""
    left, bottom, top = x_places[0][0], y_places[0][0], y_places[-1][0]
    yield write(0, top - 16, y_label, css="muted", room=WIDTH)
    for y, text in y_places:
        yield f'<path class="rule" d="M{left:.1f} {y:.1f}H{right:.1f}"/>'
        yield write(left - 8, y + 4, text, css="muted", anchor="end")
    distance = x_places[1][0] - left
    longest = max(width_of(text, 1) for _, text in x_places)
    every, narrow = (math.ceil((longest * size + 10) / distance) for size in (SIZE, LARGE + 2))
    for index, (x, text) in enumerate(x_places[::every]):
        css = "muted" if index * every % (every * math.ceil(narrow / every)) == 0 else "muted wide"
        yield write(x, bottom + 20, text, css=css, anchor="middle")
    yield write((left + right) / 2, bottom + 42, x_label, css="muted", anchor="middle", room=right - left)


def _line(name: str, places: Sequence[tuple[float, float] | None], style: str) -> str:
    """Draw a line with a gap wherever there is no place."""
    trace = ""
    for before, place in zip([None, *places], places, strict=False):
        if place:
            trace += f"L{place[0]:.1f} {place[1]:.1f}" if before else f"M{place[0]:.1f} {place[1]:.1f}h0"  # h0: a dot
    return f'<path class="line" style="{style}" d="{trace}">{tip(name)}</path>' if trace else ""


def _end_labels(ends: Sequence[tuple[str, float, float, str]], right: float, bottom: float) -> Iterator[str]:
    """Name the lines right of the plot, moved apart where they meet, with a thin lead from the end of each."""
    heights = spread([y for _, _, y, _ in ends], gap=LARGE + 2, limit=bottom)
    for (name, x, y, colour), height in zip(ends, heights, strict=True):
        trace = f"M{x:.1f} {y:.1f}H{right:.1f}L{right + 12:.1f} {height:.1f}h3"
        yield f'<path class="lead" d="{trace}" style="stroke:{colour}"/>'
        yield write(right + 18, height + 4, name, style=f"fill:{colour}", room=END_ROOM * SIZE / LARGE)


def heat_map(
    values: Matrix,
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str,
    low: float,
    high: float,
    show_values: bool = True,
) -> str:
    """Draw a matrix as cells of one hue, stronger where the number is higher.

    Args:
        values: (rows, columns). NaN is an empty cell.
        row_labels: (rows,). What is too long is cut, around its ``[marked]`` token if it has one, and stands whole in
            the tooltip.
        column_labels: (columns,).
        title: stands above the picture.
        low: the value of the faintest cell; what is lower looks the same.
        high: the value of the strongest cell; what is higher looks the same.
        show_values: write the numbers into the cells.

    Returns:
        An SVG.

    Raises:
        ShapeError: if there is not one label for every row and every column.
    """
    rows = [[float(value) for value in row] for row in values]
    _check("row labels", len(row_labels), "rows", len(rows))
    for row in rows:
        _check("column labels", len(column_labels), "columns", len(row))
    decimals = 2 if high - low <= 5 else 1 if high - low <= 50 else 0
    longest = max((width_of(number(value, decimals), 11) for row in rows for value in row), default=0)
    across, down = (max(32, longest + 10), 28) if show_values else (22, 22)
    left = max(width_of(shorten(text, ROW_ROOM), SIZE) for text in [*row_labels, number(low, decimals)]) + 12
    turn, above, beside = _column_room(column_labels, across)
    width = max(left + across * len(column_labels) + beside, 260)
    parts, top = write_title(title, width, size=14)
    top += above

    for index, label in enumerate(column_labels):
        x, anchor = left + across * (index + 0.5), "start" if turn else "middle"
        parts.append(write(x + (3 if turn else 0), top - 7, label, anchor=anchor, room=COLUMN_ROOM, turn=turn))
    for index, (label, row) in enumerate(zip(row_labels, rows, strict=True)):
        y = top + down * index
        parts.append(write(left - 8, y + down / 2 + 4, label, anchor="end", room=ROW_ROOM))
        for at, (column, value) in enumerate(zip(column_labels, row, strict=True)):
            heat, text = _heat(value, low, high), number(value, decimals)
            box = (left + across * at, y, across, down)
            parts.append(_cell(box, heat, what=f"{label} × {column}: {text}", text=text if show_values else ""))
    bottom = top + down * len(rows) + 14
    parts += _ramp(left, bottom, number(low, decimals), number(high, decimals))
    return svg(width, bottom + 12, title, parts)


def _ramp(x: float, y: float, low: str, high: str) -> Iterator[str]:
    """Draw what the strengths of the cells mean, from low to high."""
    yield write(x - 8, y + 8, low, css="muted", anchor="end")
    for step in range(20):
        place = f'x="{x + 1 + 5 * step:.1f}" y="{y:.1f}" width="5" height="8"'
        yield f'<rect class="ramp" {place} fill-opacity="{_heat(step, 0, 19):.2f}"/>'
    yield write(x + 108, y + 8, high, css="muted")


def _cell(box: tuple[float, float, float, float], heat: float | None, *, what: str, text: str) -> str:
    """Draw a cell of a heat map in its box (x, y, width, height), and its number in the ink that can be read on it."""
    x, y, across, down = box
    place = f'x="{x + 1:.1f}" y="{y + 1:.1f}" width="{across - 2:.1f}" height="{down - 2:.1f}" rx="2"'
    if heat is None:
        return f'<rect class="empty cell" {place}>{tip(what)}</rect>'
    ink = "low" if heat < DARK_FLIP else "between" if heat < LIGHT_FLIP else "high"
    number_in = write(x + across / 2, y + down / 2 + 4, text, css=f"number {ink}", anchor="middle") if text else ""
    return f'<rect class="cell" fill-opacity="{heat:.2f}" {place}>{tip(what)}</rect>{number_in}'


def _column_room(labels: Sequence[str], across: float) -> tuple[int, float, float]:
    """How far column labels are turned (degrees), and the room that they take above and beside the cells."""
    widths = [width_of(shorten(label, COLUMN_ROOM), SIZE) for label in labels]
    if max(widths, default=0) <= across - 2:
        return 0, 24, 0
    slope = math.radians(60)
    beside = max(wide * math.cos(slope) - across * (index + 0.5) for index, wide in enumerate(reversed(widths)))
    return -60, 24 + max(widths) * math.sin(slope), max(beside, 0) + 6


def _heat(value: float, low: float, high: float) -> float | None:
    """How strong a cell is drawn, in hundredths from 0.04 to 1; None where it is empty."""
    if math.isnan(value):
        return None
    low, high = cut(low), cut(high)
    if not low < high:
        return 0.5
    return round(0.04 + 0.96 * (min(max(value, low), high) - low) / (high - low), 2)


def token_map(points: Matrix, *, labels: Sequence[str], groups: Sequence[str], title: str) -> str:
    """Draw tokens as points of a plane, with one scale for both axes.

    Args:
        points: (tokens, 2). What is not finite is not drawn.
        labels: (tokens,). The word or the sentence: in the tooltip, and beside the point where there is room.
        groups: (tokens,). The group of each token, for instance its sense; every group has a colour and a shape.
        title: stands above the picture.

    Returns:
        An SVG.

    Raises:
        ShapeError: if there is not one label and one group for every point, or a point is not two numbers.
    """
    rows = [[cut(value) for value in point] for point in points]
    _check("labels", len(labels), "points", len(rows))
    _check("groups", len(groups), "points", len(rows))
    if any(len(row) != 2 for row in rows):
        raise ShapeError(f"a point of {max(map(len, rows))} numbers: a map has 2, project the vectors first")
    looks = {
        group: (MARKERS[(index + index // 6) % 6], f"var(--c{index % 6})")
        for index, group in enumerate(dict.fromkeys(groups))
    }
    tokens = [
        (x, y, label, group) for (x, y), label, group in zip(rows, labels, groups, strict=True) if not math.isnan(x + y)
    ]
    parts, top = write_title(title, WIDTH, size=17)
    top += _legend(looks, top, parts)

    room = WIDTH - 80
    low_x, high_x = min((x for x, *_ in tokens), default=0), max((x for x, *_ in tokens), default=0)
    low_y, high_y = min((y for _, y, *_ in tokens), default=0), max((y for _, y, *_ in tokens), default=0)
    unit = max((high_x - low_x) / room, (high_y - low_y) / (0.8 * room)) or 1  # of the plane, per unit of the picture
    height = max((high_y - low_y) / unit, 0.4 * room)
    middle, centre = (low_x + high_x) / 2, (low_y + high_y) / 2
    places = [(WIDTH / 2 + (x - middle) / unit, top + 36 + height / 2 - (y - centre) / unit) for x, y, *_ in tokens]
    bottom = top + height + 72
    size = round(max(min(math.sqrt(200 / max(len(tokens), 1)), 1), 0.4), 2)  # of the marks: smaller where they are many

    parts.append(f'<rect class="rule" x=".5" y="{top:.1f}" width="{WIDTH - 1}" height="{bottom - top:.1f}" rx="8"/>')
    for place, (_, _, label, group) in zip(places, tokens, strict=True):
        shape, colour = looks[group]
        parts.append(mark(shape, *place, colour, f"{label} ({group})", size=size))
    parts += _point_labels(places, [label for _, _, label, _ in tokens], top, bottom)
    return svg(WIDTH, bottom + 2, title, parts, grows=True)


def _legend(looks: Mapping[str, tuple[str, str]], top: float, parts: list[str]) -> float:
    """Add the groups to the parts, in as many rows as they need; return their height."""
    x, y = 6.0, top + 16
    for group, (shape, colour) in looks.items():
        wide = min(width_of(group, LARGE), WIDTH - 20) + 36
        if x > 6 and x + wide - 24 > WIDTH:
            x, y = 6.0, y + LARGE + 8
        parts.append(mark(shape, x, y - 4, colour, group))
        parts.append(write(x + 11, y, group, room=(WIDTH - 20) * SIZE / LARGE))
        x += wide
    return y + 14 - top


def _point_labels(
    places: Sequence[tuple[float, float]], labels: Sequence[str], top: float, bottom: float
) -> Iterator[str]:
    """Write the labels that touch nothing: those with room for large letters first, then more for wide screens only."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    waiting = list(range(len(places)))
    for size, css in ((LARGE, ""), (SIZE, "wide")):
        for index in list(waiting):
            x, y = places[index]
            wide = width_of(shorten(labels[index], POINT_ROOM), size)
            for dx, dy, anchor, share in (
                (9, 4, "start", 0),
                (-9, 4, "end", 1),
                (0, -9, "middle", 0.5),
                (0, 18, "middle", 0.5),
            ):
                box = (x + dx - share * wide, y + dy - size + 2, x + dx + (1 - share) * wide, y + dy + 3)
                inside = box[0] > 4 and box[2] < WIDTH - 4 and box[1] > top and box[3] < bottom
                if inside and not any(_touch(box, other) for other in taken):
                    taken.append(box)
                    waiting.remove(index)
                    yield write(x + dx, y + dy, labels[index], css=css, anchor=anchor, room=POINT_ROOM)
                    break


def _touch(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def bar_chart(values: Mapping[str, float], *, title: str, unit: str = "") -> str:
    """Draw a horizontal bar for every number, in the order given, with the number at its end.

    Args:
        values: name to number. What is not finite has no bar.
        title: stands above the picture.
        unit: stands behind every number.

    Returns:
        An SVG.
    """
    numbers = {name: cut(value) for name, value in values.items()}
    decimals = decimals_of(numbers.values())
    texts = [" ".join(filter(None, (number(value, decimals), unit))) for value in numbers.values()]
    known = [0.0, *(value for value in numbers.values() if not math.isnan(value))]
    low, high = min(known), max(known)
    names_end = min(max((width_of(name, LARGE) for name in numbers), default=0), BAR_ROOM) + 10
    beside = max((width_of(text, LARGE) for text in texts), default=0) + 8
    x_at = scale([low, high if high > low else 1.0], names_end + (beside if low < 0 else 0), WIDTH - beside)

    parts, top = write_title(title, WIDTH, size=17)
    for index, ((name, value), text) in enumerate(zip(numbers.items(), texts, strict=True)):
        y = top + 10 + 28 * index
        ends = sorted((x_at(0), x_at(0) if math.isnan(value) else x_at(value)))
        parts.append(write(names_end - 8, y + 14, name, anchor="end", room=BAR_ROOM * SIZE / LARGE))
        place = f'x="{ends[0]:.1f}" y="{y}" width="{ends[1] - ends[0]:.1f}" height="20" rx="2"'
        parts.append(f'<rect class="bar" {place}>{tip(f"{name}: {text}")}</rect>')
        x, anchor = (ends[0] - 6, "end") if value < 0 else (ends[1] + 6, "start")
        parts.append(write(x, y + 14, text, anchor=anchor))
    bottom = top + 10 + 28 * len(numbers)
    parts.append(f'<path class="rule" d="M{x_at(0):.1f} {top + 4:.1f}V{bottom - 2:.1f}"/>')
    return svg(WIDTH, bottom + 4, title, parts, grows=True)


def _said(value: float) -> str:
    return number(value, decimals_of([value]))


def _check(what: str, found: int, of: str, expected: int) -> None:
    if found != expected:
        raise ShapeError(f"{found} {what} for {expected} {of}: each needs one")
