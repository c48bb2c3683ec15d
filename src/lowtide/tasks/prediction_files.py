"""Answers to a file of any size, in bounded memory: read, cut, answered and written some thousand tokens at a time."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from lowtide.errors import InputError
from lowtide.files import written_alone
from lowtide.progress import progress
from lowtide.tasks.classifier import Classifier
from lowtide.tasks.matcher import Matcher
from lowtide.tasks.reading import file_kind, read_unlabelled, read_unlabelled_pairs
from lowtide.tasks.rows import RowOptions
from lowtide.tasks.tagger import Tagger
from lowtide.text.lines import OPENERS

_BREAKS = re.compile(r"[\t\r\n]")
Written = Iterator[tuple[Any, Any]]
"""What was answered, and the answer."""


def predict_file(
    task: Tagger | Classifier | Matcher, source: str | Path, out: str | Path, *, rows: RowOptions | None = None
) -> int:
    """Write the answers to all sentences, texts or pairs of a file; they appear when they are whole.

    Args:
        task: that has learned something.
        source: for a tagger and a classifier a text, one sentence a line, or any file of examples, whose answers are
            not looked at; for a matcher such a file, or two texts a line, parted by a tab. ``-``: standard input.
        out: ``.conll`` for tags, ``.tsv`` or ``.csv`` for labels and scores, ``.jsonl`` for all of them.
        rows: how the file is read: its encoding, and what its columns are.

    Returns:
        How many were answered.

    Raises:
        InputError: if the file cannot be read, with its line; the ending of ``out`` names no format, or another process
            writes it.
        WriteError: if it cannot be written.
    """
    source, out = Path(source), Path(out)
    write = _writer(task, out)
    count = 0
    with (
        written_alone(out) as beside,
        beside.open("w", encoding="utf-8", newline="") as file,
        progress("predicting", total=None, unit="sentences") as bar,
    ):
        for asked, answer in _answered(task, source, rows):
            write(file, asked, answer)
            bar.advance(1)
            count += 1
    return count


def _answered(task: Tagger | Classifier | Matcher, source: Path, rows: RowOptions | None) -> Written:
    """Questions and answers; what is read ahead is one chunk."""
    if isinstance(task, Matcher):
        pairs, asked_pairs = itertools.tee(read_unlabelled_pairs(source, rows))
        yield from zip(pairs, task.predict_iter(asked_pairs), strict=True)
    elif isinstance(task, Classifier):
        texts, asked = itertools.tee(read_unlabelled(source, rows))
        yield from zip(texts, task.predict_iter(asked), strict=True)
    else:
        sentences, cut = itertools.tee(map(task.cut, read_unlabelled(source, rows, wants="tokens")))
        yield from zip(sentences, task.predict_iter(cut), strict=True)


def _writer(task: Tagger | Classifier | Matcher, out: Path) -> Callable[[IO[str], Any, Any], None]:
    kind = file_kind(out)
    if out.suffix.lower() in OPENERS:
        raise InputError(f"{out}: answers are not compressed: leave {out.suffix} out")
    if kind == "jsonl":
        return _write_json
    if isinstance(task, Tagger):
        if kind != "conll":
            raise InputError(f"{out}: tags are written as .conll or .jsonl")
        return _write_columns
    if kind not in ("tsv", "csv"):
        raise InputError(f"{out}: labels are written as .tsv, .csv or .jsonl")
    return _write_quoted if kind == "csv" else _write_tabbed


def _write_columns(file: IO[str], sentence: list[str], tags: list[str]) -> None:
    if any(_BREAKS.search(token) for token in sentence):
        raise InputError("a token holds white space, which parts columns and lines: write .jsonl")
    rows = "".join(f"{token}\t{tag}\n" for token, tag in zip(sentence, tags, strict=True))
    file.write(rows + "\n")


def _fields(asked: Any, answer: Any) -> list[str]:
    """A label or a score, and the texts."""
    texts = asked if isinstance(asked, tuple) else (asked,)
    told = f"{answer:.6g}" if isinstance(answer, float) else str(answer)
    return [told, *(text if isinstance(text, str) else " ".join(text) for text in texts)]


def _write_tabbed(file: IO[str], asked: Any, answer: Any) -> None:
    # a tab or a line end within a text would be one of the table
    file.write("\t".join(" ".join(field.split()) for field in _fields(asked, answer)) + "\n")


def _write_quoted(file: IO[str], asked: Any, answer: Any) -> None:
    csv.writer(file, lineterminator="\n").writerow(_fields(asked, answer))


def _write_json(file: IO[str], asked: Any, answer: Any) -> None:
    found: dict[str, Any]
    if isinstance(asked, tuple):
        found = {"first": asked[0], "second": asked[1]}
    else:
        found = {"text" if isinstance(asked, str) else "tokens": asked}
    name = "tags" if isinstance(answer, list) else "score" if isinstance(answer, float) else "label"
    file.write(json.dumps({**found, name: answer}, ensure_ascii=False) + "\n")
