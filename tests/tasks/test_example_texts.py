from __future__ import annotations

from pathlib import Path

import pytest

from lowtide.errors import InputError, MissingPathError
from lowtide.tasks import ColumnOptions, RowOptions
from lowtide.tasks.example_texts import write_example_texts
from lowtide.text.file_kinds import FileKind

PAIRS = '{"sentence1": "High tide", "sentence2": ["Low", "tide"], "label": "x"}\n'


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("t.conll", "EU B-ORG\nrejects O\n\nPeter B-PER\n", "EU rejects\nPeter\n"),
        ("t.conll", "高 B-NAME\n勇 E-NAME\n3 O\nM O\n男 O\n", "高 勇 3 M 男\n"),
        ("t.conll", "\u00a0 O\n\nEU B-ORG\n", "EU\n"),
        ("t.conllu", "1\tTides\ttide\t_\t_\t_\t_\t_\t_\t_\n\n", "Tides\n"),
        ("t.tsv", "label\ttext\ngood\t high tide \nbad\tlow\n", "high tide\nlow\n"),
        ("t.tsv", "1\thigh\tlow\n", "high\nlow\n"),
        ("t.csv", 'label,text\ngood,"high \r\n tide"\nbad,low\n', "high tide\nlow\n"),
        ("t.jsonl", '{"text": "high\\u2028 \\u000b\\ttide", "label": "x"}\n', "high tide\n"),
        ("t.jsonl", PAIRS, "High tide\nLow tide\n"),
        ("t.jsonl", '{"tokens": ["high", "tide"], "tags": ["O", "O"]}\n', "high tide\n"),
        ("t.jsonl", '{"tokens": ["It", "\'s"], "text": "It\'s", "label": "x"}\n', "It's\n"),
    ],
)
def test_every_text_has_a_line_of_its_own(tmp_path: Path, name: str, text: str, expected: str) -> None:
    source, out = tmp_path / name, tmp_path / "texts.txt"
    source.write_text(text, encoding="utf-8")
    assert write_example_texts(source, out) == expected.count("\n")
    assert out.read_bytes() == expected.encode()
    assert len(out.read_text(encoding="utf-8").splitlines()) == expected.count("\n")


def test_a_file_is_read_as_it_is_said_to_be(tmp_path: Path) -> None:
    source, out = tmp_path / "t.txt", tmp_path / "texts.txt"
    source.write_text("0 high O\n1 tide O\n", encoding="utf-8")
    assert write_example_texts(source, out, kind="conll", columns=ColumnOptions(token=1)) == 1
    assert out.read_text() == "high tide\n"
    source.write_text("high tide\tgood\n", encoding="utf-8")
    write_example_texts(source, out, kind="tsv", rows=RowOptions(columns=("text", "label")))
    assert out.read_text() == "high tide\n"


@pytest.mark.parametrize(
    ("name", "text", "kind", "message"),
    [
        ("t.txt", "high tide\n", None, r"t\.txt is read as a text, which has no labels: .*--format conll, conllu"),
        ("t.conll", "high tide\n", "text", r"t\.conll is read as a text, which has no labels"),
        ("t.jsonl", '{"text": "\\ud800", "label": "x"}\n', None, r"t\.jsonl:1: text holds '\\ud800', which is no sign"),
        ("t.jsonl", '{"tokens": ["a", "\\u0000"]}\n', None, r"t\.jsonl:1: tokens holds '\\x00', which is no sign"),
        ("t.conll", "\n", None, r"t\.conll holds no example"),
        ("t.jsonl", '{"label": "x"}\n', None, r"t\.jsonl:1: there is no text; found label"),
        ("t.jsonl", '{"sentence1": "x"}\n', None, r"t\.jsonl:1: there is no second; found sentence1"),
        ("t.jsonl", '{"sentence2": "x"}\n', None, r"t\.jsonl:1: there is no first; found sentence2"),
        ("t.tsv", "a\tb\nc\n", None, r"t\.tsv:2: found 1 columns"),
    ],
)
def test_what_holds_no_texts_is_refused_and_nothing_is_lost(
    tmp_path: Path, name: str, text: str, kind: FileKind | None, message: str
) -> None:
    source, out = tmp_path / name, tmp_path / "texts.txt"
    source.write_text(text, encoding="utf-8")
    out.write_text("old\n")
    with pytest.raises(InputError, match=message):
        write_example_texts(source, out, kind=kind)
    assert out.read_text() == "old\n"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("texts.txt.gz", r"texts\.txt\.gz: what is written is not compressed: leave \.gz out"),
        ("valid.conll", r"valid\.conll: what is written is a text: give its name the ending \.txt"),
        ("-", r"-: what is written is a text"),
    ],
)
def test_a_name_that_says_something_else_is_refused(tmp_path: Path, out: str, message: str) -> None:
    source = tmp_path / "t.conll"
    source.write_text("EU B-ORG\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        write_example_texts(source, tmp_path / out)
    assert list(tmp_path.iterdir()) == [source]


def test_what_is_not_there_is_said_to_be_missing_and_no_folder_is_made(tmp_path: Path) -> None:
    for name in ("t.txt", "t.conll"):
        with pytest.raises(MissingPathError, match=name):
            write_example_texts(tmp_path / name, tmp_path / "new" / "texts.txt")
    assert not list(tmp_path.iterdir())


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    source = tmp_path / "t.conll"
    source.write_text("EU B-ORG\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"t\.conll is what is read, and would be lost"):
        write_example_texts(source, source)
    assert source.read_text() == "EU B-ORG\n"
