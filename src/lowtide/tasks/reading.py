"""From the name of a file to its examples: what it ends in says how it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from lowtide.errors import InputError
from lowtide.tasks.columns import ColumnOptions, lines_of, read_columns, read_tokens
from lowtide.tasks.examples import LabelledPair, LabelledText, TaggedSentence
from lowtide.tasks.rows import Row, RowOptions, read_rows
from lowtide.text.lines import OPENERS

Example = TypeVar("Example")

ENDINGS = {
    ".conll": "conll",
    ".iob": "conll",
    ".bio": "conll",
    ".conllu": "conllu",
    ".tsv": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
"""How a file is read, by what its name ends in; any other is plain text."""


def file_kind(path: Path) -> str:
    """``conll``, ``conllu``, ``tsv``, ``csv``, ``jsonl`` or ``text``; what it is compressed with does not count."""
    name = path.with_suffix("") if path.suffix.lower() in OPENERS else path
    return ENDINGS.get(name.suffix.lower(), "text")


def read_tagged(path: Path, options: ColumnOptions | None = None) -> list[TaggedSentence]:
    """Tagged sentences: CoNLL columns, CoNLL-U, or JSON lines with ``tokens`` and ``tags``.

    Raises:
        MissingPathError: if the file is not there.
        InputError: if a row is broken, with its line; or if there is none.
    """
    kind = file_kind(path)
    if kind in ("tsv", "csv"):
        raise InputError(f"{path}: expected one token a line (.conll, .conllu) or JSON lines with tokens and tags")
    if kind != "jsonl":
        return read_columns(path, options, is_conllu=kind == "conllu")
    encoding = (options or ColumnOptions()).encoding
    return _some(path, [_tagged(row) for row in read_rows(path, kind, RowOptions(encoding=encoding))])


def _tagged(row: Row) -> TaggedSentence:
    tokens, tags = row.words("tokens"), row.words("tags")
    if len(tokens) != len(tags):
        raise InputError(f"{row.place}: found {len(tokens)} tokens and {len(tags)} tags, expected one each")
    return TaggedSentence(tokens, tags, row.place)


def read_texts(path: Path, options: RowOptions | None = None) -> list[LabelledText]:
    """Texts with a label: TSV, CSV or JSON lines.

    Raises:
        MissingPathError: if the file is not there.
        InputError: if a row is broken, with its line; or if there is none.
    """
    name = "tokens" if options is not None and options.columns and "tokens" in options.columns else "text"
    rows = read_rows(path, _row_kind(path), options)
    return _some(path, [LabelledText(row.sentence(_which(row, name)), row.label(), row.place) for row in rows])


def _which(row: Row, name: str) -> str:
    return "tokens" if name not in row.fields and "tokens" in row.fields else name


def read_pairs(path: Path, options: RowOptions | None = None, *, answer: str = "label") -> list[LabelledPair]:
    """Pairs of texts with a label or a score: TSV, CSV or JSON lines.

    Args:
        path: the file.
        options: how it is read.
        answer: ``label`` or ``score``: which column is learned.

    Raises:
        MissingPathError: if the file is not there.
        InputError: if a row is broken, with its line; or if there is none.
    """
    rows = read_rows(path, _row_kind(path), options)
    return _some(
        path,
        [
            LabelledPair(
                row.sentence("first"),
                row.sentence("second"),
                row.label() if answer == "label" else row.number(_score(row)),
                row.place,
            )
            for row in rows
        ],
    )


def _score(row: Row) -> str:
    return "score" if "score" in row.fields else "label"


def _row_kind(path: Path) -> str:
    kind = file_kind(path)
    if kind in ("conll", "conllu"):
        raise InputError(f"{path}: expected an example a line (.tsv, .csv, .jsonl), found a token a line")
    return "tsv" if kind == "text" else kind


def _some(path: Path, examples: list[Example]) -> list[Example]:
    if not examples:
        raise InputError(f"{path} holds no example")
    return examples


def read_unlabelled(path: Path, options: RowOptions | None = None, *, wants: str = "text") -> Iterator[str | list[str]]:
    """What is to be labelled, one sentence at a time: rows of a table, tokens of columns, or the lines of a text.

    Blank lines of a text are sentences of no token, so that line i is sentence i.

    Args:
        path: the file.
        options: how it is read.
        wants: ``text`` or ``tokens``: which of them is taken of a row that has both.
    """
    kind, options = file_kind(path), options or RowOptions()
    if kind in ("conll", "conllu"):
        return read_tokens(path, ColumnOptions(encoding=options.encoding), is_conllu=kind == "conllu")
    if kind == "text" and options.columns is None:
        return (line.text for line in lines_of(path, options.encoding))
    other = "text" if wants == "tokens" else "tokens"
    rows = read_rows(path, _row_kind(path), options)
    return (row.sentence(other if wants not in row.fields and other in row.fields else wants) for row in rows)


def read_unlabelled_pairs(
    path: Path, options: RowOptions | None = None
) -> Iterator[tuple[str | list[str], str | list[str]]]:
    """Pairs that are to be labelled: two texts parted by a tab, or any file of labelled ones."""
    kind, options = file_kind(path), options or RowOptions()
    if kind == "text" and options.columns is None:
        return _tabbed_pairs(path, options.encoding)
    return ((row.sentence("first"), row.sentence("second")) for row in read_rows(path, _row_kind(path), options))


def _tabbed_pairs(path: Path, encoding: str) -> Iterator[tuple[str, str]]:
    for line in lines_of(path, encoding):
        if not line.text.strip():
            continue
        fields = line.text.split("\t")
        if len(fields) != 2:
            raise InputError(f"{path}:{line.number}: found {len(fields)} columns, expected two texts parted by a tab")
        yield fields[0], fields[1]
