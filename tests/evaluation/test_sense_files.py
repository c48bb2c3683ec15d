from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lowtide.errors import InputError, MissingPathError
from lowtide.evaluation.sense_files import read_labelled, read_pairs, read_uses
from lowtide.text.tokenize import make_tokenizer

USES = "word\tsense\ttoken_index\tsentence\nbank\tmoney\t1\tthe bank 's vault\n"
PAIRS = (
    "label\tlemma\tpos\tsentence1\tstart1\tend1\tsentence2\tstart2\tend2\n"
    "T\tbank\tNOUN\tThe banks, again.\t4\t9\tA bank.\t2\t6\n"
)
WORDS = make_tokenizer("words", language="en")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labelled.tsv"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_use_is_a_token_of_a_sentence_that_is_cut_at_spaces(path: Path) -> None:
    [use] = read_uses(write(path, USES))
    assert (use.word, use.sense, use.sentence.word) == ("bank", "money", "bank")
    assert use.sentence.tokens == ["the", "bank", "'s", "vault"]


def test_a_pair_is_marked_by_offsets(path: Path) -> None:
    [pair] = read_pairs(write(path, PAIRS), WORDS)
    assert pair.is_same and (pair.first.word, pair.second.word) == ("banks", "bank")


def test_of_a_word_that_is_cut_all_tokens_are_marked(path: Path) -> None:
    text = PAIRS.splitlines()[0] + "\nF\t程序\tN\t审判程序。\t2\t4\t程序\t0\t2\n"
    [pair] = read_pairs(write(path, text), make_tokenizer("characters", language="zh"))
    assert not pair.is_same and (pair.first.first, pair.first.last) == (2, 4)


def test_the_header_tells_what_a_file_holds(path: Path) -> None:
    assert read_labelled(write(path, USES), WORDS) == (read_uses(path), [])
    assert read_labelled(write(path, PAIRS), WORDS) == ([], read_pairs(path, WORDS))
    with pytest.raises(InputError, match=r"labelled\.tsv:1: found no header of labelled uses; expected the columns"):
        read_labelled(write(path, "a text\n"), WORDS)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("bank\tmoney\t1", r":3: found 3 fields, expected 4 as in the first line"),
        ("bank\tmoney\t4\tthe bank 's vault", r":3: token_index is '4', expected 0 to 3"),
        ("bank\tmoney\tone\tthe bank", r":3: token_index is 'one', expected 0 to 1"),
    ],
)
def test_a_broken_use_is_named_with_its_line(path: Path, row: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_uses(write(path, f"{USES}{row}\n"))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("X\tb\tN\ta b\t0\t1\ta\t0\t1", "found label 'X', expected T or F"),
        ("T\tb\tN\ta b\t0\t9\ta\t0\t1", "end is '9', expected 0 to 3"),
        ("T\tb\tN\ta b\t3\t2\ta\t0\t1", "start is '3', expected 0 to 2"),
        ("T\tb\tN\ta b\t1\t2\ta\t0\t1", "no token stands from character 1 to 2"),
    ],
)
def test_a_broken_pair_is_named_with_its_line(path: Path, row: str, told: str) -> None:
    with pytest.raises(InputError, match=f":3: {told}"):
        read_pairs(write(path, f"{PAIRS}{row}\n"), WORDS)


READS: list[Callable[[Path], object]] = [
    lambda path: read_labelled(path, WORDS),
    read_uses,
    lambda path: read_pairs(path, WORDS),
]


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    for read in READS:
        with pytest.raises(MissingPathError, match=r"labelled\.tsv is not there: expected a file of labelled uses"):
            read(path)


def test_a_folder_is_refused_as_one(tmp_path: Path) -> None:
    for read in READS:
        with pytest.raises(InputError, match="is a folder: expected a file of labelled uses"):
            read(tmp_path)


def test_columns_stand_in_any_order_with_others_beside_them(path: Path) -> None:
    text = "sentence\tsource\ttoken_index\tsense\tword\nthe bank 's vault\tnews\t1\tmoney\tbank\n"
    found = read_uses(write(path, text))
    assert found == read_uses(write(path, USES))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("text", [USES, PAIRS])
def test_a_pipe_is_read_as_a_file_is(path: Path, text: str) -> None:
    expected = read_labelled(write(path, text), WORDS)
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(text, encoding="utf-8"), daemon=True)
    writer.start()
    assert read_labelled(pipe, WORDS) == expected
    writer.join()


def test_a_file_without_rows_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match="holds no row below its header"):
        read_uses(write(path, USES.splitlines()[0] + "\n"))
