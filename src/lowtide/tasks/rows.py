"""Files with one example a row: tables parted by tabs or commas, and JSON lines, each row with its place.

========== =====================================================================================================
``.csv``   fields may stand in quotation marks, and then hold commas, line ends and doubled quotation marks (RFC 4180);
           parted by semicolons, if the first line is, as spreadsheets write it where commas stand in numbers
``.tsv``   every sign but the tab is a letter, as published data sets have it; with ``quoted`` as in ``.csv``
``.jsonl`` an object a line; ``.json`` is read so, too
========== =====================================================================================================

The first line of a table names its columns, if it holds two names that are known, or is one; with one among others it
could be either, and has to be said. Without names two columns are a label and a text, and three a label (or a score)
and two texts. Two columns may mean the same, such as ``label`` and ``gold_label``, as long as nobody asks for them.
Names that are not known are read as an example; of a first line whose label stands nowhere else there is a warning.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lowtide.errors import InputError
from lowtide.tasks.columns import lines_of
from lowtide.tasks.examples import Place
from lowtide.text.lines import Line

NAMES = {
    "label": ("label", "class", "gold_label", "entailment_judgment"),
    "score": ("score", "similarity", "relatedness_score"),
    "text": ("text", "sentence"),
    "first": ("sentence1", "text1", "premise", "question1", "sentence_a", "first"),
    "second": ("sentence2", "text2", "hypothesis", "question2", "sentence_b", "second"),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "labels"),
}
"""What a column is called, by what it is."""
_LONGEST_FIELD = 2**31 - 1
_QUOTED = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')
"""A whole field in quotation marks, with doubled ones inside: what a spreadsheet writes, and nobody else."""
_MARK = '"'
_NO_SIGN = re.compile("[\0\ud800-\udfff]")
"""A zero byte; half of a surrogate pair."""
_IN_QUOTES = re.compile(r'"[^"]*"?')
_SEPARATOR = re.compile(r"sep=([,;])", re.IGNORECASE)
_ENOUGH_ROWS, _LONGEST_NAME, _MANY_LABELS = 10, 30, 1000
"""Rows in which labels come again, and letters of what may be the name of a column."""


@dataclass(frozen=True)
class RowOptions:
    """How a file of rows is read."""

    columns: tuple[str, ...] | None = None
    """What the columns are, in their order, such as ``label text`` or ``score first second``, where the file does not
    say; a column that is not wanted is called ``-``."""
    quoted: bool | None = None
    """Whether fields may stand in quotation marks. None: in ``.csv``."""
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Row:
    """The fields of an example, by what they are."""

    fields: dict[str, Any]
    place: Place
    doubled: dict[str, list[str]] = field(default_factory=dict)
    """What several columns mean, and how these are called."""
    called: Sequence[str] = ()
    """The names of all columns, as they are written."""

    def _field(self, name: str) -> Any:
        """A field.

        Raises:
            InputError: if it is not there, or several columns mean it.
        """
        if name in self.doubled:
            raise InputError(
                f"{self.place}: found several columns of the {name}, {', '.join(self.doubled[name])}: give those that "
                "are not wanted another name, or say what the columns of a table are (--columns)"
            )
        found = self.fields.get(name)
        if found is None and name in self.fields:
            raise InputError(f"{self.place}: {name} is null: give it a value, or leave the line out")
        if found is None:
            raise InputError(f"{self.place}: there is no {name}; found {', '.join(self.called) or 'nothing'}")
        return found

    def text(self, name: str) -> str:
        """A field that is a text with something in it.

        Raises:
            InputError: if it is not there, is no text, is blank, or holds what is no sign.
        """
        found = self._field(name)
        if not isinstance(found, str):
            raise InputError(f"{self.place}: {name} is {type(found).__name__}, expected a text")
        if not found.strip():
            raise InputError(f"{self.place}: {name} is empty")
        self._check_signs(name, found)
        return found

    def _check_signs(self, name: str, text: str) -> None:
        """Refuse what no file of text can hold: JSON has escapes for it."""
        if sign := _NO_SIGN.search(text):
            raise InputError(f"{self.place}: {name} holds {sign[0]!a}, which is no sign of a text: leave it out")

    def sentence(self, name: str) -> str | list[str]:
        """A field that is a text, or a list of tokens, with something in it."""
        found = self.fields.get(name)
        if isinstance(found, list):
            return self.words(name)
        return self.text(name)

    def words(self, name: str) -> list[str]:
        """A field that is a list of texts, each with something in it.

        Raises:
            InputError: if it is none, has nothing in it, or holds what is no text, no sign, or is empty.
        """
        found = self._field(name)
        if not isinstance(found, list):
            raise InputError(f"{self.place}: {name} is {type(found).__name__}, expected a list of texts")
        if not found:
            raise InputError(f"{self.place}: {name} is empty")
        for number, word in enumerate(found):
            if not isinstance(word, str):
                found_kind = type(word).__name__
                raise InputError(f"{self.place}: of {name}, item {number} is {found_kind}, expected a text")
            if not word:
                raise InputError(f"{self.place}: of {name}, item {number} is empty")
            self._check_signs(name, word)
        return found

    def label(self) -> str:
        """The label; a number or a truth value is one, too."""
        found = self._field("label")
        return self.text("label").strip() if isinstance(found, str) else label_text(found, self.place)

    def number(self, name: str) -> float:
        """A field that is a number.

        Raises:
            InputError: if it is none.
        """
        found = self._field(name)
        try:
            number = float(found if isinstance(found, (int, float)) else self.text(name))
        except ValueError:
            raise InputError(f"{self.place}: {name} is no number") from None
        except OverflowError:  # of a whole number that no float reaches
            number = float("inf")
        if not abs(number) < float("inf"):
            raise InputError(f"{self.place}: {name} is {found!r}, expected a finite number")
        return number


def label_text(label: object, place: Place) -> str:
    """A label as it is written: a truth value as JSON has it, a whole number without a point.

    Args:
        label: of an example, whatever it is.
        place: of this example.

    Raises:
        InputError: if it is something else, such as what stands for a missing one: None, nan.
    """
    found = label.item() if isinstance(label, np.generic) else label
    if not isinstance(found, (str, int, float)) or found != found:
        kind = "nan" if isinstance(found, float) else type(found).__name__
        raise InputError(f"{place}: found {kind}, expected a label: a text, a number, true or false")
    if isinstance(found, bool):
        return str(found).lower()
    return str(int(found) if isinstance(found, float) and found.is_integer() else found)


def read_rows(path: Path, kind: str, options: RowOptions | None = None) -> Iterator[Row]:
    """The rows of a file, one at a time.

    Args:
        path: the file.
        kind: ``tsv``, ``csv`` or ``jsonl``.
        options: how it is read.

    Raises:
        MissingPathError: if it is not there.
        InputError: if a row is broken, with its line.
    """
    wanted = options or RowOptions()
    lines = lines_of(path, wanted.encoding)
    if kind == "jsonl":
        if wanted.columns is not None or wanted.quoted is not None:
            raise InputError(
                f"{path} is read as {kind}, where every object names its fields: leave --columns and --quoted out"
            )
        return _objects(path, lines)
    is_quoted = kind == "csv" if wanted.quoted is None else wanted.quoted
    separator = "\t"
    if kind == "csv":
        lines, separator = _separated(lines, has_names=wanted.columns is not None)
    records = _quoted(path, lines, separator) if is_quoted else _plain(path, lines, separator)
    return _table(path, records, wanted, is_quoted=is_quoted)


def _separated(lines: Iterator[Line], *, has_names: bool) -> tuple[Iterator[Line], str]:
    """The lines of a ``.csv``, and what parts its columns: a comma, or a semicolon if the first line says so.

    It does if it has no comma; or if a semicolon stands first, unless columns are named, and a text may come first.
    Then again it may be ``sep=;``, which spreadsheets write, and which is left out.
    """
    first = next(lines, None)
    if first is None:
        return lines, ","
    told = _SEPARATOR.fullmatch(first.text.strip())
    if told:
        return itertools.chain([first._replace(text="")], lines), told[1]
    commas, semicolons = (_IN_QUOTES.sub("", first.text).find(sign) for sign in ",;")
    is_semicolon = semicolons >= 0 and (commas < 0 or (semicolons < commas and not has_names))
    return itertools.chain([first], lines), ";" if is_semicolon else ","


def _objects(path: Path, lines: Iterator[Line]) -> Iterator[Row]:
    for line in lines:
        if not line.text.strip():
            continue
        place = Place(str(path), [line.number])
        try:
            found = json.loads(line.text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{place}: the line is not JSON ({error}): expected a JSON object a line") from None
        if not isinstance(found, dict):
            raise InputError(f"{place}: found {type(found).__name__}, expected a JSON object a line")
        yield _row([_meaning(name) or name for name in found], list(found), list(found.values()), place)


def _row(meanings: Sequence[str | None], names: Sequence[str], values: Sequence[Any], place: Place) -> Row:
    """The fields of a row by what they are; those of no meaning are left out."""
    columns: dict[str, list[str]] = {}
    for meaning, name in zip(meanings, names, strict=True):
        if meaning is not None:
            columns.setdefault(meaning, []).append(name.strip())
    found = {str(meaning): value for meaning, value in zip(meanings, values, strict=True) if meaning is not None}
    return Row(found, place, {meaning: called for meaning, called in columns.items() if len(called) > 1}, names)


def _plain(path: Path, lines: Iterator[Line], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Fields without quoting, with their line."""
    has_warned = False
    for line in lines:
        if not line.text.strip():
            continue
        fields = line.text.rstrip("\r").split(separator)
        if not has_warned and _are_quoted(fields):
            has_warned = True
            warnings.warn(
                f"{path}:{line.number}: a field stands in quotation marks, as spreadsheets write it; they are read as "
                "letters, unless fields are said to be quoted (--quoted)",
                stacklevel=2,
            )
        yield line.number, fields


def _are_quoted(fields: Sequence[str]) -> bool:
    """Whether quotation marks are those of a spreadsheet: doubled within a field, or around each of several fields."""
    if any(_QUOTED.fullmatch(field) for field in fields):
        return True
    return len(fields) > 1 and all(len(f) > 1 and f.startswith(_MARK) and f.endswith(_MARK) for f in fields)


def _stays_open(field: str) -> bool:
    """Whether a field begins with a quotation mark that does not close, as where it holds several lines."""
    return field.startswith(_MARK) and field.count(_MARK) % 2 == 1


def _quoted(path: Path, lines: Iterator[Line], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Fields with quoting; a record may go over several lines, and is called by its first one."""
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader((line.text + "\n" for line in lines), delimiter=separator, strict=True)
    number = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{path}:{number}: the quotation marks of the row do not close ({error}): double those that are letters"
            ) from None
        if any(field.strip() for field in fields):
            yield number, fields
        number = reader.line_num + 1


def _table(
    path: Path, records: Iterator[tuple[int, list[str]]], options: RowOptions, *, is_quoted: bool
) -> Iterator[Row]:
    """Rows of named fields."""
    names: Sequence[str | None] | None = None
    called: Sequence[str] = ()
    expected_as = "as they were named"
    may_be_names, labels = False, Counter[str]()
    before: Sequence[str] = ()
    if options.columns is not None:
        _check_names(options.columns)
        names, called = [None if name == "-" else name for name in options.columns], options.columns
    for count, (number, fields) in enumerate(records):
        where = f"{path}:{number}"
        if count == 0:
            meanings = [_meaning(field) for field in fields]
            num_known = sum(meaning is not None for meaning in meanings)
            is_header = num_known >= 2 or num_known == len(meanings)
            if names is None:
                if num_known and not is_header:
                    raise InputError(
                        f"{where}: one column is named, and the others are not: say what they are (--columns), in "
                        "their order"
                    )
                names, expected_as = meanings if is_header else _names_by_number(fields, where), f"as in line {number}"
                called = fields
            if is_header:
                continue
        assert names is not None
        if len(fields) != len(names):
            error = InputError(f"{where}: found {len(fields)} columns, expected {len(names)} {expected_as}")
            if not is_quoted and any(map(_stays_open, before)):
                raise InputError(
                    f"{error}; a quotation mark of the row before does not close: if its field goes on, say --quoted"
                )
            raise error
        row = _row(names, called, fields, Place(str(path), [number]))
        if count == 0:
            first, may_be_names = where, "label" in names and all(len(field) <= _LONGEST_NAME for field in fields)
        if may_be_names:
            labels[row.fields["label"].strip()] += 1
            may_be_names = len(labels) <= _MANY_LABELS and next(iter(labels.values())) == 1
        yield row
        before = fields
    if may_be_names and _is_first_alone(labels):
        warnings.warn(
            f"{first}: the line looks like names of columns, as its label stands nowhere else; it is read as an "
            f"example: remove it, or call its columns {', '.join(name or '-' for name in names or ())}",
            stacklevel=2,
        )


def _is_first_alone(labels: Counter[str]) -> bool:
    """Whether the label that came first stands there once, and all others again."""
    first, *others = labels.values()
    return first == 1 and 1 not in others and sum(others) >= _ENOUGH_ROWS


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name not in (*NAMES, "-"):
            raise InputError(f"found the column {name!r}, expected {', '.join(NAMES)}, or - for one that is not wanted")


def _meaning(name: str) -> str | None:
    """What a column of this name is."""
    lower = name.strip().lower()
    return next((meaning for meaning, names in NAMES.items() if lower in names), None)


def _names_by_number(fields: Sequence[str], where: str) -> list[str | None]:
    known: dict[int, list[str | None]] = {2: ["label", "text"], 3: ["label", "first", "second"]}
    if len(fields) not in known:
        raise InputError(
            f"{where}: found {len(fields)} columns, and no names: expected a label and a text, a label and two texts, "
            "or a first line that names the columns"
        )
    return known[len(fields)]
