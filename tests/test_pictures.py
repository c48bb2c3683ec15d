"""Pictures are well-formed, say everything that they were told, and load nothing."""

from __future__ import annotations

import doctest
import html
import itertools
import math
import re
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide import pictures
from lowtide.errors import InputError, ShapeError
from lowtide.pictures import charts, drawing

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert('1')</script> & \"2\"",
    "潮水 退了 就 知道 谁 没穿 裤子",
    "שלום \u202e עולם العربية",
    "bell\x07 null\x00 escape\x1b c1\x9f",
    "lone \ud800 surrogate, \uffff",
    "]]> <!-- --> <?x ?> &amp; &#0;",
    "a\u0301 👩‍👩‍👧 𠀀",
    "",
]
claim = settings(derandomize=True, deadline=None)
texts = st.one_of(st.text(max_size=60), st.sampled_from(HOSTILE))
numbers = st.floats(allow_nan=True, allow_infinity=True)


def drawn(svg: str) -> ElementTree.Element:
    """The parsed picture, without its style."""
    root = ElementTree.fromstring(svg)
    style = root.find(f"{SVG}style")
    assert style is not None
    root.remove(style)
    return root


def said(svg: str) -> str:
    """Every text of the picture, tooltips included, with single spaces."""
    return single_spaced(" ".join(text for part in drawn(svg).iter() for text in [part.text or ""]))


def single_spaced(text: str) -> str:
    return " ".join(text.split())


def fit_for_xml(text: str) -> str:
    """What a reader sees of a text: no control characters, no surrogates, single spaces."""
    kept = (
        c for c in text if c in "\t\n\r" or (unicodedata.category(c) not in ("Cc", "Cs") and c not in "\ufffe\uffff")
    )
    return single_spaced("".join(kept))


def coordinates(svg: str) -> list[float]:
    """Every number in the places, sizes and traces of a picture."""
    shapes = [
        value
        for part in drawn(svg).iter()
        for name, value in part.attrib.items()
        if name in ("x", "y", "width", "height", "d", "transform", "viewBox")
    ]
    assert not any("nan" in shape or "inf" in shape for shape in shapes), shapes
    return [float(number) for shape in shapes for number in re.findall(r"-?\d+(?:\.\d+)?", shape)]


def every_picture(text: str) -> dict[str, str]:
    """Each kind of picture with the text in every place that takes one."""
    return {
        "lines": pictures.line_chart(
            {text: [(0, 1), (1, 2)]}, title=text, x_label=text, y_label=text, levels={text + " level": 1.5}
        ),
        "heat": pictures.heat_map([[0.5]], row_labels=[text], column_labels=[text], title=text, low=0, high=1),
        "map": pictures.token_map([[0, 1]], labels=[text], groups=[text], title=text),
        "bars": pictures.bar_chart({text: 1.5}, title=text, unit=text),
    }


def whole_page(text: str) -> str:
    """A page with every block, and the text in every place that takes one."""
    return pictures.page(
        text,
        [
            pictures.heading(text),
            pictures.heading(text, level=3),
            pictures.paragraph(text),
            pictures.code_block(text),
            *(pictures.figure(svg, caption=text) for svg in every_picture(text).values()),
            pictures.heading("second"),
            pictures.columns(
                pictures.table([text, "n"], [[text, 1], [pictures.Marked(text, text), 2]], caption=text),
                pictures.paragraph(text),
            ),
        ],
        lead=text,
    )


class Reader(HTMLParser):
    """Collects tags with their attributes, and the texts outside the style."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "path", "rect", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "path", "rect", "br"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


# -- texts -------------------------------------------------------------------------------------


@claim
@given(texts)
def test_a_picture_is_well_formed_and_says_every_label_whatever_the_text(text: str) -> None:
    for name, svg in every_picture(text).items():
        svg.encode("utf-8")
        assert fit_for_xml(text) in said(svg), name
        assert "<script" not in svg


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_only_text(text: str) -> None:
    source = whole_page(text)
    source.encode("utf-8")
    reader = Reader(source)
    assert not reader.open
    assert {tag for tag, _ in reader.tags} <= {tag for tag, _ in Reader(whole_page("calm")).tags}
    assert fit_for_xml(text) in single_spaced(" ".join(reader.texts))


@claim
@given(texts, st.floats(0, 400))
def test_a_shortened_text_has_room_or_is_an_ellipsis(text: str, room: float) -> None:
    short = drawing.shorten(text, room)
    assert short == text or drawing.width_of(short, drawing.SIZE) <= max(room, drawing.SIZE)
    assert all(part in text for part in short.split("…")) or "…" in text


def test_a_shortened_sentence_keeps_its_marked_token() -> None:
    short = drawing.shorten("After the long flood he sat on the [bank] of the river and looked at the water", 110)
    assert re.fullmatch(r"….*\[bank\].*…", short)


def test_a_shortened_label_stands_whole_in_the_tooltip() -> None:
    sentence = "a sentence that is much too long to stand beside a row of cells"
    svg = pictures.heat_map([[1.0]], row_labels=[sentence], column_labels=["x"], title="t", low=0, high=1)
    label = next(text for text in drawn(svg).iter(f"{SVG}text") if text.find(f"{SVG}title") is not None)
    assert label.findtext(f"{SVG}title") == sentence
    assert "".join(label.itertext()).endswith("…")


# -- numbers -----------------------------------------------------------------------------------


@claim
@given(st.lists(numbers, max_size=8), st.lists(numbers, max_size=3), st.booleans())
def test_no_number_breaks_a_line_chart(ys: list[float], levels: list[float], log_y: bool) -> None:
    series = {"one": [(float(x), y) for x, y in enumerate(ys)], "turned": [(y, float(x)) for x, y in enumerate(ys)]}
    named = {f"level {index}": level for index, level in enumerate(levels)}
    svg = pictures.line_chart(series, title="t", x_label="x", y_label="y", levels=named, log_y=log_y)
    assert all(-7 <= place < 2000 for place in coordinates(svg))
    assert all(name in said(svg) for name in [*series, *named])


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize(
    "points",
    [[], [(3.0, 4.0)], [(0.0, 7.0), (1.0, 7.0)], [(0.0, math.nan)], [(0.0, 1e-300), (1e300, 1e300)], [(1.0, 0.0)]],
    ids=["empty", "one point", "constant", "NaN", "huge", "zero"],
)
def test_a_poor_series_still_makes_a_chart(points: list[tuple[float, float]], log_y: bool) -> None:
    svg = pictures.line_chart({"loss": points}, title="t", x_label="x", y_label="y", log_y=log_y)
    assert "loss" in said(svg)
    assert all(-7 <= place < 2000 for place in coordinates(svg))


def test_a_chart_of_nothing_is_a_chart() -> None:
    for svg in (
        pictures.line_chart({}, title="t", x_label="x", y_label="y"),
        pictures.heat_map([], row_labels=[], column_labels=[], title="t", low=0, high=1),
        pictures.token_map(np.zeros((0, 2)), labels=[], groups=[], title="t"),
        pictures.bar_chart({}, title="t"),
    ):
        assert "t" in said(svg)


@claim
@given(st.lists(st.floats(-1e150, 1e150), min_size=1))
def test_linear_ticks_cover_the_data_in_equal_round_steps(values: list[float]) -> None:
    found = drawing.ticks(values)
    slack = 1e-9 * (found[-1] - found[0]) + 1e-9 * max(map(abs, values))
    assert found[0] <= min(values) + slack
    assert found[-1] >= max(values) - slack
    assert 2 <= len(found) <= 10
    step = found[1] - found[0]
    assert all(math.isclose(after - before, step, rel_tol=1e-5) for before, after in itertools.pairwise(found))
    assert re.match(r"[125]\.0000|9\.9999|[14]\.9999", f"{step:e}")


@claim
@given(st.lists(st.floats(1e-150, 1e150), min_size=1))
def test_logarithmic_ticks_cover_the_data(values: list[float]) -> None:
    found = drawing.ticks(values, log=True)
    assert found[0] <= min(values) * (1 + 1e-9)
    assert found[-1] >= max(values) * (1 - 1e-9)
    assert 2 <= len(found) <= 12
    assert len(set(drawing.tick_texts(found, log=True))) == len(found)


@claim
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_no_two_ticks_read_the_same(low: float, span: float) -> None:
    found = drawing.ticks([low, low + span])
    assert len(set(drawing.tick_texts(found))) == len(found)


def test_ticks_have_thousands_separators() -> None:
    svg = pictures.line_chart({"a": [(0, 1), (2_000_000, 5_000)]}, title="t", x_label="x", y_label="y")
    assert {"1,000,000", "2,000,000", "5,000"} <= {text.text for text in drawn(svg).iter(f"{SVG}text")}


def test_a_level_is_a_dashed_line_at_its_height() -> None:
    svg = pictures.line_chart(
        {"model": [(0, 0.0), (1, 10.0)]}, title="t", x_label="x", y_label="y", levels={"unigram": 10.0}
    )
    level = next(path for path in drawn(svg).iter(f"{SVG}path") if path.get("class") == "level")
    line = next(path for path in drawn(svg).iter(f"{SVG}path") if path.get("class") == "line")
    top = re.fullmatch(r"M[\d.]+ ([\d.]+)H[\d.]+", level.attrib["d"])
    assert top is not None
    assert line.attrib["d"].endswith(f" {top[1]}")
    assert level.findtext(f"{SVG}title") == "unigram: 10"


def test_a_missing_number_parts_a_line() -> None:
    points = [(0, 1.0), (1, 2.0), (2, math.nan), (3, 2.0)]
    svg = pictures.line_chart({"a": points}, title="t", x_label="x", y_label="y")
    line = next(path for path in drawn(svg).iter(f"{SVG}path") if path.get("class") == "line")
    assert (line.attrib["d"].count("M"), line.attrib["d"].count("L")) == (2, 1)


@claim
@given(st.integers(1, 40), st.data())
def test_end_labels_never_meet_and_keep_their_order(count: int, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.floats(0, 800), min_size=count, max_size=count))
    found = drawing.spread(wanted, gap=17, limit=800)
    assert all(after - before > 16.9 for before, after in itertools.pairwise(sorted(found)))
    assert max(found) <= 800
    assert all(found[i] <= found[j] for i in range(count) for j in range(count) if wanted[i] < wanted[j])


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1234567.0, 0, "1,234,567"),
        (-0.5, 2, "−0.50"),
        (-0.001, 2, "0.00"),
        (math.nan, 1, "–"),
        (-math.inf, 1, "−∞"),
        (1e20, 0, "10²⁰"),
        (-0.00025, None, "−2.5×10⁻⁴"),
        (0.0, None, "0"),
    ],
)
def test_numbers_are_written_for_readers(value: float, decimals: int | None, text: str) -> None:
    assert drawing.number(value, decimals) == text


# -- heat maps ---------------------------------------------------------------------------------


def cells(svg: str) -> list[ElementTree.Element]:
    return [part for part in drawn(svg).iter(f"{SVG}rect") if "cell" in part.get("class", "").split()]


@claim
@given(st.integers(0, 5), st.integers(0, 5), numbers, numbers, st.booleans(), st.data())
def test_a_heat_map_has_as_many_cells_as_values(
    rows: int, columns: int, low: float, high: float, show: bool, data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.lists(numbers, min_size=columns, max_size=columns), min_size=rows, max_size=rows))
    svg = pictures.heat_map(
        values,
        row_labels=[f"row {index}" for index in range(rows)],
        column_labels=[f"a long column {index}" for index in range(columns if rows else 0)],
        title="t",
        low=low,
        high=high,
        show_values=show,
    )
    assert len(cells(svg)) == rows * columns
    empty = [cell for cell in cells(svg) if "empty" in cell.attrib["class"].split()]
    assert len(empty) == sum(math.isnan(value) for row in values for value in row)
    assert all(0 < float(cell.get("fill-opacity", "1")) <= 1 for cell in cells(svg))
    assert coordinates(svg)


def test_a_higher_value_is_a_stronger_cell_and_what_is_outside_is_clipped() -> None:
    svg = pictures.heat_map(
        [[-9.0, 0.0, 0.3, 0.6, 1.0, 9.0]], row_labels=["r"], column_labels=list("abcdef"), title="t", low=0, high=1
    )
    heats = [float(cell.attrib["fill-opacity"]) for cell in cells(svg)]
    assert heats == sorted(heats)
    assert heats[0] == heats[1] < heats[2] < heats[3] < heats[4] == heats[5] == 1


def test_a_heat_map_takes_an_array_and_shows_its_numbers_unless_told_not_to() -> None:
    values = np.array([[0.25, np.nan]], dtype=np.float32)
    shown, hidden = (
        pictures.heat_map(
            values, row_labels=["r"], column_labels=["潮", "水"], title="t", low=0, high=1, show_values=show
        )
        for show in (True, False)
    )
    assert "0.25" in [text.text for text in drawn(shown).iter(f"{SVG}text")]
    assert "0.25" not in [text.text for text in drawn(hidden).iter(f"{SVG}text")]
    assert "r × 潮: 0.25" in said(hidden)


# -- colours -----------------------------------------------------------------------------------


def luminance(colour: tuple[float, ...]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def colours(mode: str) -> dict[str, tuple[float, ...]]:
    """The custom properties of a mode, red, green and blue from 0 to 1 each."""
    light, dark = drawing.STYLE.split("prefers-color-scheme:dark")
    found = {}
    for name, digits in re.findall(r"--([\w-]+):#([0-9a-f]{3,6})\b", light if mode == "light" else dark):
        digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
        found[name] = tuple(int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4))
    return found


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_ink_can_be_read_on_the_paper(mode: str) -> None:
    palette = colours(mode)
    for name in ("ink", "muted", "accent", *(f"c{index}" for index in range(6))):
        assert contrast(palette[name], palette["paper"]) >= 4.5, name


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("step", range(4, 101))
def test_every_number_can_be_read_on_its_cell(mode: str, step: int) -> None:
    palette, heat = colours(mode), step / 100
    svg = charts._cell((0, 0, 30, 30), heat, what="", text="1")
    ink = {"low": palette["on-low"], "between": (0.0, 0.0, 0.0), "high": palette["on-high"]}[
        re.findall(r'class="number (\w+)"', svg)[0]
    ]
    cell = tuple(
        (1 - heat) * paper + heat * full for paper, full in zip(palette["paper"], palette["heat"], strict=True)
    )
    assert contrast(ink, cell) >= 4.5


# -- token maps and bars -----------------------------------------------------------------------


@claim
@given(st.lists(st.tuples(numbers, numbers), max_size=20))
def test_every_finite_token_is_drawn_inside_the_map(points: list[tuple[float, float]]) -> None:
    labels, groups = [f"word {index}" for index in range(len(points))], [f"g{i % 3}" for i in range(len(points))]
    svg = pictures.token_map(points, labels=labels, groups=groups, title="t")
    marks = [part.findtext(f"{SVG}title") or "" for part in drawn(svg).iter(f"{SVG}path")]
    finite = [index for index, point in enumerate(points) if all(map(math.isfinite, point))]
    assert [mark for mark in marks if "(" in mark] == [f"{labels[index]} ({groups[index]})" for index in finite]
    assert set(groups) <= set(marks)
    assert all(-7 <= place <= 700 for place in coordinates(svg))


def test_a_map_has_one_scale_for_both_axes() -> None:
    svg = pictures.token_map([(0, 0), (4, 0), (0, 2)], labels=list("abc"), groups=["g"] * 3, title="t")
    marks = [part.attrib["transform"] for part in drawn(svg).iter(f"{SVG}path")][1:]
    (ax, ay), (bx, by), (cx, cy) = ([float(n) for n in re.findall(r"-?[\d.]+", mark)] for mark in marks)
    assert (ay, ax) == (by, cx)
    assert (bx - ax) / (ay - cy) == pytest.approx(2, abs=0.01)


def test_groups_differ_in_colour_and_in_shape() -> None:
    count = 12
    groups = [f"g{index}" for index in range(count)]
    svg = pictures.token_map([(index, index) for index in range(count)], labels=groups, groups=groups, title="t")
    looks = {(part.attrib["d"], part.attrib["style"]) for part in drawn(svg).iter(f"{SVG}path")}
    assert len(looks) == count
    assert len({shape for shape, _ in looks}) == len({colour for _, colour in looks}) == 6


@claim
@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 60)), min_size=2, max_size=40))
def test_labels_of_a_map_do_not_collide(points: list[tuple[float, float]]) -> None:
    labels = ["潮水 退了" if index % 2 else "ebb tide" for index in range(len(points))]
    svg = pictures.token_map(points, labels=labels, groups=["g"] * len(points), title="title")
    boxes = []
    for text in drawn(svg).iter(f"{SVG}text"):
        shown = text.text or ""
        if shown in labels:
            wide = (
                drawing.width_of(shown, drawing.SIZE)
                * {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor", "start")]
            )
            x, y = float(text.attrib["x"]) - wide, float(text.attrib["y"])
            boxes.append((x, y - 9, x + drawing.width_of(shown, drawing.SIZE), y + 2))
    assert not any(charts._touch(one, other) for one, other in itertools.combinations(boxes, 2))


@claim
@given(st.dictionaries(texts, numbers, max_size=6))
def test_every_bar_has_its_name_and_its_number(values: dict[str, float]) -> None:
    svg = pictures.bar_chart(values, title="t", unit="%")
    assert all(fit_for_xml(name) in said(svg) for name in values)
    assert said(svg).count("%") >= 2 * len(values)
    assert all(-7 <= place <= 700 for place in coordinates(svg))


def test_bars_are_as_long_as_their_numbers_and_begin_at_zero() -> None:
    svg = pictures.bar_chart({"a": 1.0, "b": 3.0, "c": -2.0, "d": math.nan}, title="t")
    bars = [(float(bar.attrib["x"]), float(bar.attrib["width"])) for bar in drawn(svg).iter(f"{SVG}rect")]
    (a, one), (b, three), (c, two), (_, none) = bars
    assert a == b == pytest.approx(c + two, abs=0.2)
    assert (three / one, two / one, none) == pytest.approx((3, 2, 0), abs=0.02)


# -- pages -------------------------------------------------------------------------------------


def test_a_page_references_nothing_outside_itself() -> None:
    source = whole_page("calm")
    reader = Reader(source)
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"script", "link", "img", "image", "iframe", "object", "embed", "use", "audio", "video", "base"}
    ids = {attributes.get("id") for _, attributes in reader.tags}
    for tag, attributes in reader.tags:
        assert not set(attributes) & {"src", "srcset", "xlink:href", "action", "data", "poster", "ping", "background"}
        assert not any(name.startswith("on") for name in attributes)
        if "href" in attributes:
            assert tag == "a"
            assert (attributes["href"] or "")[:1] == "#"
            assert (attributes["href"] or "")[1:] in ids
    assert "url(" not in source
    assert "@import" not in source
    assert set(re.findall(r"https?://[^\"' ]+", source)) == {"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert "default-src 'none'" in source


def test_a_page_has_one_style_its_language_and_its_charset_first() -> None:
    source = pictures.page("潮", [pictures.paragraph("退了")], language='zh"><x')
    assert source.count("<style") == 1
    reader = Reader(source)
    assert dict(reader.tags)["html"]["lang"] == 'zh"><x'
    assert re.search(r"<head>\s*<meta charset=\"utf-8\">", source)
    assert "made by lowtide" in reader.texts
    assert "<style" in pictures.bar_chart({}, title="stands alone")


def test_headings_make_the_table_of_contents() -> None:
    source = pictures.page(
        "p",
        [pictures.heading("<One>"), pictures.heading("inner", level=3), pictures.heading("潮"), pictures.heading("潮")],
    )
    nav = re.search("<nav>(.*)</nav>", source)
    assert nav is not None
    links = re.findall('<a href="#(.*?)">(.*?)</a>', nav[1])
    assert [html.unescape(name) for _, name in links] == ["<One>", "潮", "潮"]
    assert re.findall('<h2 id="(.*?)">', source) == [target for target, _ in links]
    assert "<nav>" not in pictures.page("p", [pictures.heading("only")])


@pytest.mark.parametrize("level", [0, 1, 7])
def test_a_heading_of_no_level_is_refused(level: int) -> None:
    with pytest.raises(InputError, match="levels are 2-6"):
        pictures.heading("x", level=level)


def test_numbers_in_a_table_are_aligned_at_their_right() -> None:
    source = pictures.table(
        ["token", "count", "share", "f1"],
        [["1984", 12345, 0.5, "86.1 ± 0.3"], ["潮", 7, 0.123, "9.0 %"], ["x", None, 1, "–3"]],
    )
    assert '<td>1984</td><td class="numeric">12,345</td><td class="numeric">0.500</td><td>86.1 ± 0.3</td>' in source
    assert '<td class="numeric">0.123</td>' in source
    assert '<td class="numeric">7</td>' in source
    assert '<td class="numeric"></td><td class="numeric">1</td>' in source


def test_numbers_of_numpy_are_numbers() -> None:
    source = pictures.table(["a", "b"], [[np.float64(0.5), np.int32(1000)], [np.float32(2), np.int64(3)]])
    assert re.findall("<td.*?>(.*?)</td>", source) == ["0.5", "1,000", "2.0", "3"]


def test_a_marked_cell_is_dimmed_and_its_note_is_a_tooltip_and_stands_once_below() -> None:
    unseen = [pictures.Marked(word, "never seen") for word in ("没穿", "裤子")]
    source = pictures.table(["token"], [[cell] for cell in [*unseen, pictures.Marked("x", 'other "note"')]])
    assert '<span class="marked" title="never seen">没穿<sup>°</sup></span>' in source
    assert source.count('<p class="notes">') == 2
    assert '<span class="marked" title="other &quot;note&quot;">x<sup>†</sup></span>' in source


def test_a_code_block_keeps_its_lines() -> None:
    assert "a  b\n  &lt;c&gt;" in pictures.code_block("a  b\n  <c>")


def test_columns_and_figures_hold_their_blocks() -> None:
    assert pictures.columns("<p>a</p>", "<p>b</p>").count("<div>") == 2
    assert pictures.figure("<svg/>", caption="a < b").endswith("<svg/><figcaption>a &lt; b</figcaption></figure>")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: pictures.table(["a"], [[1, 2]]), "row 0 .* 2 cells, the header has 1"),
        (
            lambda: pictures.heat_map([[1.0]], row_labels=[], column_labels=["a"], title="t", low=0, high=1),
            "0 row labels for 1 rows",
        ),
        (
            lambda: pictures.heat_map([[1.0]], row_labels=["a"], column_labels=[], title="t", low=0, high=1),
            "0 column labels for 1 columns",
        ),
        (lambda: pictures.token_map([(0, 0)], labels=[], groups=["g"], title="t"), "0 labels for 1 points"),
        (lambda: pictures.token_map([(0, 0, 0)], labels=["a"], groups=["g"], title="t"), "3 numbers: a map has 2"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(draw: Callable[[], str], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        draw()


def test_the_example_prints_what_it_says() -> None:
    assert doctest.testmod(pictures).failed == 0
