"""Answers to a file of any size, in bounded memory: read, cut, answered and written some thousand tokens at a time."""

from __future__ import annotations

import csv
import functools
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from lowtide.errors import InputError
from lowtide.files import refuse_to_write_over, written_alone
from lowtide.progress import progress
from lowtide.tasks.classifier import Classifier
from lowtide.tasks.columns import ColumnOptions
from lowtide.tasks.matcher import Matcher
from lowtide.tasks.reading import read_unlabelled, read_unlabelled_pairs
from lowtide.tasks.rows import RowOptions
from lowtide.tasks.tagger import Tagger
from lowtide.tasks.task import Probabilities
from lowtide.text.file_kinds import FileKind, file_kind, refuse_compressed
from lowtide.text.tokenize import Sentence

_BREAKS = re.compile(r"[\t\r\n]")
_DIGITS = 6
"""Of a probability."""
AnyTask = Tagger | Classifier | Matcher
_Find = Callable[[Iterator[Any]], Iterator[tuple[Any, dict[str, Any]]]]


def predict_file(
    task: AnyTask,
    source: str | Path,
    out: str | Path,
    *,
    rows: RowOptions | None = None,
    columns: ColumnOptions | None = None,
    kind: FileKind | None = None,
    with_probabilities: bool = False,
    n_best: int | None = None,
    is_tokenized: bool = False,
) -> int:
    """Write the answers to all sentences, texts or pairs of a file; they appear when they are whole.

    Args:
        task: that has learned something.
        source: for a tagger and a classifier a text, one sentence a line, or any file of examples, whose answers are
            not looked at; for a matcher such a file, or two texts a line, parted by a tab. ``-``: standard input.
        out: ``.conll`` for tags, ``.tsv`` or ``.csv`` for labels and scores, ``.jsonl`` for all of them.
        rows: how the file is read, if it has an example a row: its encoding, and what its columns are.
        columns: how it is read, if it has a token a row.
        kind: what kind of file it is; None: as its name says.
        with_probabilities: whether every answer has with it how probable each label is; of a tagger at every token, of
            the labels of the network, where spans stand in BIOES; of a matcher that compares by a cosine, that cosine
            as ``similarity``. ``.jsonl`` only.
        n_best: how many of the most probable taggings are written beside the best one, with their probabilities: of a
            tagger, ``.jsonl`` only.
        is_tokenized: whether the tokens of texts stand between spaces already.

    Returns:
        How many were answered.

    Raises:
        InputError: if the file cannot be read, with its line, or is ``out`` itself; the ending of ``out`` names no
            format, or one without room for what is wanted; the task has none of it; or another process writes the file.
        WriteError: if it cannot be written.
    """
    source, out = Path(source), Path(out)
    refuse_to_write_over(source, out)
    find = _finder(task, with_probabilities=with_probabilities, n_best=n_best)
    write = _writer(task, out, has_more=with_probabilities or n_best is not None)
    questions = _questions(task, source, rows, columns, kind, is_tokenized=is_tokenized)
    count = 0
    with (
        written_alone(out) as beside,
        beside.open("w", encoding="utf-8", newline="") as file,
        progress("predicting", total=None, unit="sentences") as bar,
    ):
        asked, given = itertools.tee(questions)  # what is read ahead is one chunk
        for question, (answer, beside_it) in zip(asked, find(given), strict=True):
            write(file, question, answer, beside_it)
            bar.advance(1)
            count += 1
    return count


def _questions(
    task: AnyTask,
    source: Path,
    rows: RowOptions | None,
    columns: ColumnOptions | None,
    kind: FileKind | None,
    *,
    is_tokenized: bool,
) -> Iterator[Any]:
    """Texts, tokens, or pairs."""
    if isinstance(task, Matcher):
        pairs = read_unlabelled_pairs(source, rows, kind=kind)
        return ((_parted(first), _parted(second)) for first, second in pairs) if is_tokenized else pairs
    if isinstance(task, Classifier):
        texts = read_unlabelled(source, rows, columns=columns, kind=kind)
        return map(_parted, texts) if is_tokenized else texts
    texts = read_unlabelled(source, rows, columns=columns, kind=kind, wants="tokens")
    return map(task.cut, map(_parted, texts) if is_tokenized else texts)


def _parted(text: str | Sentence) -> Sentence:
    """The tokens of a text that stand between spaces; tokens stay as they are."""
    return text.split() if isinstance(text, str) else text


def _finder(task: AnyTask, *, with_probabilities: bool, n_best: int | None) -> _Find:
    """What finds the answers to questions, each with what stands beside it in JSON."""
    if with_probabilities and n_best is not None:
        raise InputError("probabilities of labels and the n best taggings do not go together: leave one of them out")
    if n_best is not None:
        if not isinstance(task, Tagger):
            raise InputError(f"the n best are those of a tagger, and this is a {task.kind}: ask for probabilities")
        return functools.partial(_n_best, task, n_best)
    if not with_probabilities:
        return lambda questions: ((answer, {}) for answer in task.predict_iter(questions))
    if isinstance(task, Matcher) and task.options.objective != "classify":
        return functools.partial(_similar, task)
    return functools.partial(_probable, task)


def _n_best(task: Tagger, count: int, questions: Iterator[Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    for found in task.n_best_iter(questions, count):
        several = [{"tags": one.tags, "probability": round(one.probability, _DIGITS)} for one in found]
        yield found[0].tags, {"n_best": several}


def _similar(task: Matcher, questions: Iterator[Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    for answer, cosine in task.predict_with_similarities(questions):
        yield answer, {"similarity": round(cosine, _DIGITS)}


def _probable(task: AnyTask, questions: Iterator[Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    for answer, probabilities in task.predict_with_probabilities(questions):
        yield answer, {"probabilities": _named(probabilities, task.labels)}


def _writer(task: AnyTask, out: Path, *, has_more: bool) -> Callable[[IO[str], Any, Any, dict[str, Any]], None]:
    kind = file_kind(out)
    refuse_compressed(out)
    if has_more and kind != "jsonl":
        raise InputError(f"{out}: probabilities, similarities and the n best are written as .jsonl")
    if kind == "jsonl":
        return _write_json
    if isinstance(task, Tagger):
        if kind != "conll":
            raise InputError(f"{out}: tags are written as .conll or .jsonl")
        return _write_columns
    if kind not in ("tsv", "csv"):
        raise InputError(f"{out}: labels are written as .tsv, .csv or .jsonl")
    return _write_quoted if kind == "csv" else _write_tabbed


def _named(probabilities: Probabilities, labels: list[str]) -> Any:
    """By label; of (tokens, labels) a list of these."""
    if probabilities.ndim > 1:
        return [_named(row, labels) for row in probabilities]
    return {label: round(float(value), _DIGITS) for label, value in zip(labels, probabilities, strict=True)}


def _write_columns(file: IO[str], sentence: list[str], tags: list[str], beside: dict[str, Any]) -> None:
    if any(_BREAKS.search(token) for token in sentence):
        raise InputError("a token holds white space, which parts columns and lines: write .jsonl")
    rows = "".join(f"{token}\t{tag}\n" for token, tag in zip(sentence, tags, strict=True))
    file.write(rows + "\n")


def _fields(asked: Any, answer: Any) -> list[str]:
    """A label or a score, and the texts."""
    texts = asked if isinstance(asked, tuple) else (asked,)
    told = f"{answer:.6g}" if isinstance(answer, float) else str(answer)
    return [told, *(text if isinstance(text, str) else " ".join(text) for text in texts)]


def _write_tabbed(file: IO[str], asked: Any, answer: Any, beside: dict[str, Any]) -> None:
    # a tab or a line end within a text would be one of the table
    file.write("\t".join(" ".join(field.split()) for field in _fields(asked, answer)) + "\n")


def _write_quoted(file: IO[str], asked: Any, answer: Any, beside: dict[str, Any]) -> None:
    csv.writer(file, lineterminator="\n").writerow(_fields(asked, answer))


def _write_json(file: IO[str], asked: Any, answer: Any, beside: dict[str, Any]) -> None:
    found: dict[str, Any]
    if isinstance(asked, tuple):
        found = {"first": asked[0], "second": asked[1]}
    else:
        found = {"text" if isinstance(asked, str) else "tokens": asked}
    found["tags" if isinstance(answer, list) else "score" if isinstance(answer, float) else "label"] = answer
    file.write(json.dumps(found | beside, ensure_ascii=False) + "\n")
