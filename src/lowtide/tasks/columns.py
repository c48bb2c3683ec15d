"""Files with one token a line: the columns of the CoNLL tasks, and CoNLL-U.

A blank line ends a sentence; columns are parted by tabs, or by spaces where the first row has no tab. Lines that begin
with ``-DOCSTART-`` (or ``#begin document`` and ``#end document``) part documents and are left out, as are comments,
which begin with ``#``. Where columns are parted by spaces, ``#`` may be a token as well, and ``#word`` is one: there a
comment is what has a blank behind ``#``, and another number of columns or the sign ``=`` that Universal Dependencies
put into theirs; the log says how many there were. In CoNLL-U ranges (``1-2``) and empty nodes (``1.1``) are left out,
too.
"""

from __future__ import annotations

import itertools
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lowtide.errors import InputError, MissingPathError, nearest
from lowtide.tasks.examples import Place, TaggedSentence
from lowtide.text.lines import STANDARD_INPUT, Line, read_lines

DOCUMENT_MARKS = ("-DOCSTART-", "#begin document", "#end document")
"""Those of CoNLL-2003, and of CoNLL-2012."""
_BLANKS = " \t"
"""What parts columns; a no-break space or an ideographic one is a letter of a token."""
_MANY_ROWS = 20
"""If all of so many tokens are numbers, they are no tokens."""
_LONG_ALONE = 250
"""So many tokens of a file are more than one sentence."""
log = logging.getLogger("lowtide")
CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""https://universaldependencies.org/format.html"""


@dataclass(frozen=True)
class ColumnOptions:
    """Which columns of a file are wanted, and how its bytes are read."""

    tag: int | str | None = None
    """The column of the tags, counted from 0, from -1 at the end; of CoNLL-U also by its name, such as ``xpos``.
    None: the last one; of CoNLL-U ``upos``."""
    token: int = 0
    """The column of the tokens; CoNLL-U has its own."""
    encoding: str = "utf-8"


@dataclass(frozen=True)
class _Row:
    fields: list[str]
    line: int


def lines_of(path: Path, encoding: str) -> Iterator[Line]:
    """The lines of a file of examples, or of standard input.

    Raises:
        MissingPathError: if it is not there.
        InputError: if it cannot be read; with its line.
    """
    if str(path) != STANDARD_INPUT and not path.exists():
        raise MissingPathError(f"{path} is not there: expected a file of examples")
    if path.is_dir():
        raise InputError(f"{path} is a folder: expected a file of examples")
    return iter(read_lines(str(path), encoding))


def read_columns(path: Path, options: ColumnOptions | None = None, *, is_conllu: bool = False) -> list[TaggedSentence]:
    """Read tagged sentences.

    Args:
        path: the file; one that ends in ``.xz``, ``.gz``, ``.bz2`` or ``.zst`` is unpacked.
        options: which columns.
        is_conllu: whether it has the ten columns of Universal Dependencies.

    Raises:
        MissingPathError: if it is not there.
        InputError: if a row is broken, with its line; or if there is no sentence.
    """
    wanted = options or ColumnOptions()
    tagged = [
        TaggedSentence(
            [row.fields[token] for row in rows],
            [_tag(row, tag, path, is_conllu=is_conllu) for row in rows],
            Place(str(path), [row.line for row in rows]),
        )
        for rows, token, tag in _sentences(path, wanted, is_conllu=is_conllu)
    ]
    if not tagged:
        raise InputError(f"{path} holds no sentence: expected one token a line, with its tag")
    if len(tagged) == 1 and len(tagged[0].tokens) > _LONG_ALONE:
        warnings.warn(
            f"{path}: all {len(tagged[0].tokens):,} tokens are one sentence: expected a blank line between sentences",
            stacklevel=2,
        )
    return tagged


def read_tokens(path: Path, options: ColumnOptions | None = None, *, is_conllu: bool = False) -> Iterator[list[str]]:
    """The tokens of one sentence after the other; tags may be there or not."""
    for rows, token, _ in _sentences(path, options or ColumnOptions(), is_conllu=is_conllu, needs_tags=False):
        yield [row.fields[token] for row in rows]


def _tag(row: _Row, column: int, path: Path, *, is_conllu: bool) -> str:
    """The tag of a token; ``_`` is one, too (no features, no argument), but for a part of speech of CoNLL-U."""
    tag, name = row.fields[column], CONLLU_COLUMNS[column] if is_conllu else str(column)
    if not tag or (tag == "_" and name == "upos"):
        raise InputError(f"{path}:{row.line}: the token has no tag in column {name}")
    return tag


def _sentences(
    path: Path, options: ColumnOptions, *, is_conllu: bool, needs_tags: bool = True
) -> Iterator[tuple[list[_Row], int, int]]:
    """The rows of every sentence, with the columns of its tokens and of its tags."""
    rows: list[_Row] = []
    num_columns, first_line, token, tag = 0, 0, 0, 0
    num_rows, num_comments, are_numbers = 0, 0, not is_conllu
    lines, num_expected, is_tabbed = _look_ahead(lines_of(path, options.encoding))
    is_tabbed = is_tabbed or is_conllu
    for line in lines:
        text = line.text.rstrip(_BLANKS)
        if not text or text.startswith(DOCUMENT_MARKS):
            if rows:
                yield rows, token, tag
            rows = []
            continue
        if _is_comment(text, num_columns, num_expected, is_tabbed=is_tabbed):
            num_comments += " = " not in text
            continue
        fields = line.text.split("\t") if is_tabbed else _split(text)
        where = f"{path}:{line.number}"
        if not num_columns:
            num_columns, first_line = len(fields), line.number
            token, tag = _find_columns(options, num_columns, where, is_conllu=is_conllu, needs_tags=needs_tags)
        if len(fields) != num_columns:
            raise InputError(f"{where}: found {len(fields)} columns, expected {num_columns} as in line {first_line}")
        if is_conllu and not fields[0].isdecimal():
            if not fields[0].replace("-", "").replace(".", "").isdecimal():
                raise InputError(f"{where}: the first column is no number of a word, as CoNLL-U has it")
            continue
        if not fields[token].strip(_BLANKS):
            raise InputError(f"{where}: there is no token in column {token}")
        rows.append(_Row(fields, line.number))
        num_rows += 1
        are_numbers = are_numbers and fields[token].strip(_BLANKS).isdecimal()
        if are_numbers and num_rows == _MANY_ROWS:
            _warn_of_numbers(path, token)
    if rows:
        yield rows, token, tag
    if are_numbers and 1 < num_rows < _MANY_ROWS:
        _warn_of_numbers(path, token)
    if num_comments and not is_tabbed:
        log.info("%s: %s lines that begin with # are taken for comments", path, f"{num_comments:,}")


def _split(text: str) -> list[str]:
    return re.findall(f"[^{_BLANKS}]+", text)


def _warn_of_numbers(path: Path, column: int) -> None:
    warnings.warn(
        f"{path}: all tokens are numbers: does column {column} hold them? Name another one with --token-column",
        stacklevel=3,
    )


def _look_ahead(lines: Iterator[Line]) -> tuple[Iterator[Line], int, bool]:
    """The lines, with the number of columns of the first row that is no comment, and whether tabs part them."""
    read, text = list[Line](), ""
    for line in lines:
        read.append(line)
        text = line.text.rstrip(_BLANKS)
        if text and not text.startswith(DOCUMENT_MARKS) and ("\t" in text or not text.startswith("#")):
            break
    is_tabbed = "\t" in text
    return itertools.chain(read, lines), len(text.split("\t") if is_tabbed else _split(text)), is_tabbed


def _is_comment(text: str, num_columns: int, num_expected: int, *, is_tabbed: bool) -> bool:
    """Whether a line says something about a sentence; ``#`` is a token, too, though not the first one of a file.

    Args:
        text: of the line.
        num_columns: of the rows before; 0 where there is none.
        num_expected: of the first row that is no comment, which may come later.
        is_tabbed: whether columns are parted by tabs.
    """
    if not text.startswith("#") or "\t" in text:
        return False
    if is_tabbed:
        return True
    if text != "#" and text[1] not in _BLANKS:
        return not num_columns and len(_split(text)) != num_expected
    return " = " in text or len(_split(text)) != num_columns


def _find_columns(
    options: ColumnOptions, num_columns: int, where: str, *, is_conllu: bool, needs_tags: bool
) -> tuple[int, int]:
    """The columns of tokens and of tags, counted from 0."""
    if is_conllu:
        if num_columns != len(CONLLU_COLUMNS):
            raise InputError(f"{where}: found {num_columns} columns, expected the {len(CONLLU_COLUMNS)} of CoNLL-U")
        if options.token:
            raise InputError(f"{where}: the tokens of CoNLL-U stand in column form: leave --token-column out")
        return CONLLU_COLUMNS.index("form"), _from_start(_conllu_column(options.tag), num_columns, where)
    tag = -1 if options.tag is None else options.tag
    if isinstance(tag, str):
        raise InputError(f"found the column {tag!r}: expected its number, as only CoNLL-U has names")
    if num_columns < 2 and needs_tags:
        raise InputError(f"{where}: found one column, expected a token and its tag, parted by a tab or a space")
    return _from_start(options.token, num_columns, where), _from_start(tag, num_columns, where)


def _from_start(column: int, num_columns: int, where: str) -> int:
    if not -num_columns <= column < num_columns:
        raise InputError(f"{where}: there is no column {column}: the file has {num_columns}, counted from 0")
    return column % num_columns


def _conllu_column(tag: int | str | None) -> int:
    wanted = "upos" if tag is None else tag
    if isinstance(wanted, int):
        return wanted
    if wanted.lower() not in CONLLU_COLUMNS:
        raise InputError(
            f"CoNLL-U has no column {wanted!r}.{nearest(wanted, CONLLU_COLUMNS)} Known: {', '.join(CONLLU_COLUMNS)}"
        )
    return CONLLU_COLUMNS.index(wanted.lower())
