from __future__ import annotations

import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

from lowtide.errors import InputError
from lowtide.tasks.examples import Place
from lowtide.tasks.reading import read_pairs, read_texts
from lowtide.tasks.rows import RowOptions, label_text, read_rows

TEN = "ham,See you.\nspam,Win now!\n" * 5


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_that_each_have_a_label_of_their_own_are_not_remembered(tmp_path: Path) -> None:
    path = write(tmp_path, "t.tsv", "".join(f"id{number:07d}\tHigh tide.\n" for number in range(20_000)))
    rows = read_rows(path, "tsv")
    next(rows)
    tracemalloc.start()
    for row in rows:
        if row.fields["label"] == "id0019999":  # the last one, and the file not yet at its end
            held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 500_000


@pytest.mark.parametrize(
    ("text", "columns", "names"),
    [
        ("v1,v2\n" + TEN, None, "label, text"),
        ("\nsentiment,text\n" + TEN, ("label", "text"), "label, text"),
        ("id,review,sentiment\n" + "7,Fine.,good\n8,Poor.,bad\n" * 5, ("-", "text", "label"), "-, text, label"),
        ("relation,a,b\n" + "same,x,x\nother,x,y\n" * 5, None, "label, first, second"),
    ],
)
def test_a_first_line_whose_label_stands_nowhere_else_is_warned_of(
    text: str, columns: tuple[str, ...] | None, names: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "t.csv", text)
    read = read_pairs if "first" in names else read_texts
    with pytest.warns(UserWarning, match=rf"t\.csv:[12]: the line looks like names .*, or call its columns {names}$"):
        assert len(read(path, RowOptions(columns))) == 11
    named = write(tmp_path, "named.csv", names.replace(" ", "") + text[text.index("\n", 1) :])
    assert len(read(named, RowOptions(columns))) == 10


@pytest.mark.parametrize(
    "text",
    [
        TEN,
        "eggs,See you.\n" + TEN[:-20],
        "eggs,A text that is longer than the name of a column.\n" + TEN,
        "eggs,See you.\nrare,See us.\n" + TEN,
        "eggs,See you.\n" + TEN + "eggs,See me.\n",
    ],
)
def test_a_first_line_that_may_be_an_example_is_not_warned_of(text: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_texts(write(tmp_path, "t.csv", text))


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (True, "true"),
        (np.False_, "false"),
        (1.0, "1"),
        (np.float32(0), "0"),
        (0.5, "0.5"),
        (np.int64(3), "3"),
        ("1.0", "1.0"),
        ("True", "True"),
    ],
)
def test_a_label_is_a_text_a_number_or_a_truth_value(label: object, text: str) -> None:
    assert label_text(label, Place("texts[0]")) == text


@pytest.mark.parametrize(("label", "kind"), [(None, "NoneType"), (float("nan"), "nan"), (["a", "b"], "list")])
def test_what_is_no_label_is_named_with_its_place(label: object, kind: str) -> None:
    with pytest.raises(InputError, match=rf"^texts\[3\]: found {kind}, expected a label: a text, a number, true or"):
        label_text(label, Place("texts[3]"))


def test_labels_of_json_lines_are_read_as_those_of_lists(tmp_path: Path) -> None:
    rows = "".join(f'{{"text": "tide", "label": {label}}}\n' for label in ("true", "false", "1.0", "0", '"a "'))
    assert [row.label for row in read_texts(write(tmp_path, "t.jsonl", rows))] == ["true", "false", "1", "0", "a"]
    with pytest.raises(InputError, match=r"t\.jsonl:1: found list, expected a label"):
        read_texts(write(tmp_path, "t.jsonl", '{"text": "tide", "label": ["a"]}\n'))


@pytest.mark.parametrize(("field", "row"), [("label", '"text": "a"'), ("text", '"label": "a"')])
def test_what_is_null_is_said_to_be_null(field: str, row: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=rf"^[^:]*t\.jsonl:1: {field} is null: give it a value, or leave the line out$"
    ):
        read_texts(write(tmp_path, "t.jsonl", f'{{{row}, "{field}": null}}\n'))


@pytest.mark.parametrize("score", ["1" * 400, "-" + "1" * 400, "1e999", "NaN", '"inf"'])
def test_a_score_that_no_float_reaches_is_named_with_its_line(score: str, tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", f'{{"score": {score}, "sentence1": "a", "sentence2": "b"}}\n')
    with pytest.raises(InputError, match=r"t\.jsonl:1: score is .*, expected a finite number$"):
        read_pairs(path, answer="score")


@pytest.mark.parametrize(
    "text",
    [
        'label;text\ngood;"out; at last"\nbad;low, tide\n',
        'good;"out; at last"\nbad;low, tide\n',
        'sep=;\nlabel;text\ngood;"out; at last"\nbad;low, tide\n',
        'sep=,\nlabel,text\ngood,out; at last\nbad,"low, tide"\n',
        'good,out; at last\nbad,"low, tide"\n',
    ],
)
def test_the_first_line_says_whether_semicolons_part_columns(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    rows = list(read_rows(path, "csv"))
    assert [(row.label(), row.text("text")) for row in rows] == [("good", "out; at last"), ("bad", "low, tide")]
    [line] = [number for number, line in enumerate(text.splitlines(), start=1) if "last" in line]
    assert str(rows[0].place) == f"{path}:{line}"


def test_a_semicolon_in_a_text_that_comes_first_parts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("out; at last,good\n", encoding="utf-8")
    [row] = read_rows(path, "csv", RowOptions(("text", "label")))
    assert (row.label(), row.text("text")) == ("good", "out; at last")


@pytest.mark.parametrize("options", [RowOptions(("label", "text")), RowOptions(quoted=True)])
def test_what_objects_say_themselves_cannot_be_chosen(options: RowOptions, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"label": "a", "text": "b"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="every object names its fields: leave --columns and --quoted out"):
        next(read_rows(path, "jsonl", options))


def test_what_is_missing_is_named_beside_the_names_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a", "stars": 5}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"there is no label; found text, stars$"):
        next(read_rows(path, "jsonl")).label()
