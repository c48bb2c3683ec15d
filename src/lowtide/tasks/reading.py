"""From the name of a file to its examples: what it ends in says how it is read."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from lowtide.errors import InputError
from lowtide.tasks.columns import ColumnOptions, lines_of, read_columns, read_tokens
from lowtide.tasks.examples import LabelledPair, LabelledText, TaggedSentence
from lowtide.tasks.rows import Row, RowOptions, read_rows
from lowtide.text.file_kinds import FileKind, file_kind
from lowtide.text.lines import Line

Example = TypeVar("Example")

_LOOKED_AT, _FEWEST_ROWS = 50, 3
"""Lines of a text that may be a table, and what makes one."""


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
    options = options or ColumnOptions()
    if options.tag is not None or options.token:
        raise InputError(f"{path} is read as {kind}, which has no columns: leave --column and --token-column out")
    encoding = options.encoding
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
    rows = read_rows(path, _row_kind(path, file_kind(path)), options)
    return _some(path, [LabelledText(row.sentence(_which(row, name)), row.label(), row.place) for row in rows])


def _which(row: Row, name: str) -> str:
    """The text or the tokens of a row: what is wanted, unless it has only the other."""
    other = "text" if name == "tokens" else "tokens"
    return other if name not in row.fields and other in row.fields else name


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
    rows = read_rows(path, _row_kind(path, file_kind(path)), options)
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


def _row_kind(path: Path, kind: FileKind) -> str:
    if kind in ("conll", "conllu"):
        raise InputError(f"{path}: expected an example a line (.tsv, .csv, .jsonl), found a token a line")
    return "tsv" if kind == "text" else kind


def _some(path: Path, examples: list[Example]) -> list[Example]:
    if not examples:
        raise InputError(f"{path} holds no example")
    return examples


def read_unlabelled(
    path: Path,
    options: RowOptions | None = None,
    *,
    columns: ColumnOptions | None = None,
    kind: FileKind | None = None,
    wants: Literal["text", "tokens", "all"] = "text",
) -> Iterator[str | list[str]]:
    """What is to be labelled, one sentence at a time: rows of a table, tokens of columns, or the lines of a text.

    Blank lines of a text are sentences of no token, so that line i is sentence i.

    Args:
        path: the file.
        options: how it is read, if it has a sentence a line.
        columns: how it is read, if it has a token a line.
        kind: what it is; None: as its name says. If that says a text, and it looks like a table, there is a warning.
        wants: ``text`` or ``tokens``: which of them is taken of a row that has both. ``all``: the text, and of a row
            that has none both texts of its pair, one behind the other.

    Raises:
        MissingPathError: if the file is not there.
        InputError: if a row is broken, with its line; or it is asked for in a way that is none of this kind of file.
    """
    found, options = kind or file_kind(path), options or RowOptions()
    if found in ("conll", "conllu"):
        if options.columns is not None or options.quoted is not None:
            raise InputError(
                f"{path} is read as {found}, a token a row: leave --columns and --quoted out, or say --format tsv"
            )
        columns = columns or ColumnOptions(encoding=options.encoding)
        return read_tokens(path, columns, is_conllu=found == "conllu")
    if columns is not None and columns.token:
        raise InputError(
            f"{path} is read as {found}, where no column holds tokens: leave --token-column out, or say --format conll"
        )
    if found == "text" and (kind is not None or options.columns is None):
        lines = lines_of(path, options.encoding)
        return (line.text for line in (lines if kind else _doubted(path, lines)))
    rows = read_rows(path, _row_kind(path, found), options)
    if wants == "all":
        return (row.sentence(name) for row in rows for name in _texts_of(row))
    return (row.sentence(_which(row, wants)) for row in rows)


def _texts_of(row: Row) -> Sequence[str]:
    name = _which(row, "text")
    return ("first", "second") if name not in row.fields and {"first", "second"} & row.fields.keys() else (name,)


def _doubted(path: Path, lines: Iterator[Line]) -> Iterator[Line]:
    """The lines of a text; warns if the first ones look like rows of columns."""
    first = list(itertools.islice(lines, _LOOKED_AT))
    rows = [line.text for line in first if line.text.strip()]
    by_tabs, by_spaces = {len(row.split("\t")) for row in rows}, {len(row.split()) for row in rows}
    has_breaks = len(rows) < len(first)  # between sentences: else it may be a list of names, two words each
    for counts, is_likely, kinds in ((by_tabs, True, "tsv or conll"), (by_spaces, has_breaks, "conll")):
        if is_likely and len(rows) >= _FEWEST_ROWS and len(counts) == 1 and counts != {1}:
            warnings.warn(
                f"{path}: its lines have {counts.pop()} columns each, and are read as sentences, as its name says: if "
                f"it is a table, say --format {kinds}, else --format text",
                stacklevel=2,
            )
            break
    yield from first
    yield from lines


def read_unlabelled_pairs(
    path: Path, options: RowOptions | None = None, *, kind: FileKind | None = None
) -> Iterator[tuple[str | list[str], str | list[str]]]:
    """Pairs that are to be labelled: two texts parted by a tab, or any file of labelled ones.

    Blank lines of a text are left out.

    Args:
        path: the file.
        options: how it is read.
        kind: what it is; None: as its name says.

    Raises:
        MissingPathError: if the file is not there.
        InputError: if a row is broken, with its line.
    """
    found, options = kind or file_kind(path), options or RowOptions()
    if found == "text" and (kind is not None or options.columns is None):
        return _tabbed_pairs(path, options.encoding)
    rows = read_rows(path, _row_kind(path, found), options)
    return ((row.sentence("first"), row.sentence("second")) for row in rows)


def _tabbed_pairs(path: Path, encoding: str) -> Iterator[tuple[str, str]]:
    for line in lines_of(path, encoding):
        if not line.text.strip():
            continue
        fields = line.text.split("\t")
        if len(fields) != 2:
            raise InputError(
                f"{path}:{line.number}: found {len(fields)} columns, expected two texts parted by a tab: if it is a "
                "table, say --format tsv"
            )
        yield fields[0], fields[1]
