"""Labelled uses of words in one TSV with a header: one use a row, or a pair of uses a row.

==========  ================================================================================================
columns     ``word sense token_index sentence``: the sentence is cut at spaces, ``token_index`` counts from 0
            (the uses of CoarseWSD-20, Loureiro et al. 2021, https://arxiv.org/abs/2008.11608)
columns     ``label sentence1 start1 end1 sentence2 start2 end2``: offsets in characters, end exclusive; label
            T, 1 or true for one meaning, F, 0 or false for two (the pairs of MCL-WiC, Martelli et al. 2021)
==========  ================================================================================================

Columns are parted by tabs and named in the first line, in any order, and others may stand beside them. A data set that
is published otherwise has to be written so first. A file whose name ends in ``.xz``, ``.gz``, ``.bz2`` or ``.zst`` is
unpacked.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowtide.embeddings.inputs import MarkedSentence
from lowtide.errors import InputError, MissingPathError
from lowtide.text.lines import Line, read_lines
from lowtide.text.tokenize import Tokenizer

USE_COLUMNS = ("word", "sense", "token_index", "sentence")
PAIR_COLUMNS = ("label", "sentence1", "start1", "end1", "sentence2", "start2", "end2")
_LABELS = {"T": True, "F": False, "1": True, "0": False, "true": True, "false": False}


@dataclass(frozen=True)
class Use:
    """A word in a sentence, and its sense there."""

    word: str
    sense: str
    sentence: MarkedSentence


@dataclass(frozen=True)
class Pair:
    """Two uses of a word, and whether its meaning is one."""

    is_same: bool
    first: MarkedSentence
    second: MarkedSentence


def read_labelled(path: Path, tokenizer: Tokenizer) -> tuple[list[Use], list[Pair]]:
    """What a file holds, by the names of its columns: uses or pairs, the other list is empty.

    It is opened once, so that it may be a pipe.

    Args:
        path: the file.
        tokenizer: cuts the sentences of pairs.

    Raises:
        InputError: if it is neither, or a row is broken, with its line; or if there is none.
    """
    lines = _lines(path)
    header = next(lines, None)
    names = set() if header is None else set(header.text.split("\t"))
    whole = lines if header is None else itertools.chain([header], lines)
    if names >= set(USE_COLUMNS):
        return _uses(path, whole), []
    if names >= set(PAIR_COLUMNS):
        return [], _pairs(path, whole, tokenizer)
    raise InputError(
        f"{path}:1: found no header of labelled uses; expected the columns {' '.join(USE_COLUMNS)} "
        f"or {' '.join(PAIR_COLUMNS)}, parted by tabs"
    )


def read_uses(path: Path) -> list[Use]:
    """One labelled use a row.

    Raises:
        InputError: if a row is broken, with its line; or if there is none.
    """
    return _uses(path, _lines(path))


def read_pairs(path: Path, tokenizer: Tokenizer) -> list[Pair]:
    """One pair of uses a row.

    Args:
        path: the file.
        tokenizer: cuts the sentences.

    Raises:
        InputError: if a row is broken, with its line; or if there is none.
    """
    return _pairs(path, _lines(path), tokenizer)


def _uses(path: Path, lines: Iterable[Line]) -> list[Use]:
    uses = []
    for where, (word, sense, index, sentence) in _rows(path, lines, USE_COLUMNS):
        tokens = sentence.split(" ")
        place = _number(index, len(tokens) - 1, f"{where}: token_index")
        uses.append(Use(word, sense, MarkedSentence(tokens, place, place + 1)))
    return uses


def _pairs(path: Path, lines: Iterable[Line], tokenizer: Tokenizer) -> list[Pair]:
    pairs = []
    for where, (label, *sides) in _rows(path, lines, PAIR_COLUMNS):
        if label not in _LABELS:
            raise InputError(f"{where}: found label {label!r}, expected T or F")
        first, second = (_marked(tokenizer, where, *sides[n : n + 3]) for n in (0, 3))
        pairs.append(Pair(_LABELS[label], first, second))
    return pairs


def _marked(tokenizer: Tokenizer, where: str, sentence: str, start: str, end: str) -> MarkedSentence:
    last = _number(end, len(sentence), f"{where}: end")
    first = _number(start, last, f"{where}: start")
    tokens = tokenizer.tokenize(sentence)
    inside = [number for number, token in enumerate(tokens) if token.start < last and token.end > first]
    if not inside:
        raise InputError(f"{where}: no token stands from character {first} to {last}")
    return MarkedSentence([token.text for token in tokens], inside[0], inside[-1] + 1)


def _lines(path: Path) -> Iterator[Line]:
    if path.is_dir():
        raise InputError(f"{path} is a folder: expected a file of labelled uses")
    if not path.exists():
        raise MissingPathError(f"{path} is not there: expected a file of labelled uses")
    return iter(read_lines(str(path), "utf-8"))


def _number(text: str, most: int, where: str) -> int:
    if not text.isdecimal() or int(text) > most:
        raise InputError(f"{where} is {text!r}, expected 0 to {most}")
    return int(text)


def _rows(path: Path, lines: Iterable[Line], columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The wanted fields of every row, and where it stands."""
    lines = iter(lines)
    header = next(lines, None)
    names = [] if header is None else header.text.split("\t")
    missing = [column for column in columns if column not in names]
    if missing:
        raise InputError(f"{path}:1: found no column {missing[0]!r}, expected {' '.join(columns)}, parted by tabs")
    places = [names.index(column) for column in columns]
    num_rows = 0
    for line in lines:
        where = f"{path}:{line.number}"
        fields = line.text.split("\t")
        if len(fields) != len(names):
            raise InputError(f"{where}: found {len(fields)} fields, expected {len(names)} as in the first line")
        num_rows += 1
        yield where, [fields[place] for place in places]
    if not num_rows:
        raise InputError(f"{path} holds no row below its header")
