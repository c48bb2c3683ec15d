"""Documents side by side, cut into columns, in the order in which each direction reads them.

A row of a batch is a document without its first and its last mark. Steps are packed: see
`lowtide.model.recurrence`. Everything here is counting; the network stands elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowtide.text.batches import Document, num_positions

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """The positions of some columns in the order of one direction: first step, longest row first."""

    rows_at: list[int]
    """How many rows there are at every step; never rising."""
    types: Numbers
    """(positions,) which of the types of these columns."""
    rows: Numbers
    """(positions,)"""
    columns: Numbers
    """(positions,) counted from the first of these columns."""


@dataclass(frozen=True)
class Columns:
    """Some neighbouring columns, of those rows that reach into them."""

    types: list[str]
    """Each once."""
    lengths: Numbers
    """(rows,) how far every row reaches into them: 1 or more, never rising."""
    is_token: NDArray[np.bool_]
    """(positions,) in the order of ``forward``; the others are marks between sentences."""
    forward: Reading
    backward: Reading
    """Every row from its own last position here."""


class Rows:
    """Documents as rows, longest first.

    Args:
        documents: each of one sentence or more.
        marks: what stands before and behind a sentence.
    """

    def __init__(self, documents: Sequence[Document], marks: tuple[str, str]) -> None:
        lengths = np.array([num_positions(document) - 2 for document in documents], dtype=np.int64)
        self.order: Numbers = np.argsort(-lengths, kind="stable")
        """(rows,) which document stands in a row."""
        self.lengths: Numbers = lengths[self.order]
        """(rows,) never rising."""
        numbers: dict[str, int] = {mark: number for number, mark in enumerate(marks)}
        self._types = np.zeros((len(documents), int(lengths.max(initial=0))), dtype=np.int64)
        self._is_token = np.zeros(self._types.shape, dtype=np.bool_)
        for row, number in enumerate(self.order):
            end = -2
            for sentence in documents[number]:
                start, end = end + 2, end + 2 + len(sentence)
                if start:  # </S> <S>
                    self._types[row, start - 2], self._types[row, start - 1] = 1, 0
                self._types[row, start:end] = [numbers.setdefault(token, len(numbers)) for token in sentence]
                self._is_token[row, start:end] = True
        self._names = list(numbers)

    @property
    def num_columns(self) -> int:
        """Of the longest row."""
        return self._types.shape[1]

    def columns(self, first: int, end: int) -> Columns:
        """The columns from a first one to an end."""
        num_rows = int((self.lengths > first).sum())
        lengths = np.minimum(self.lengths[:num_rows], end) - first
        numbers = np.arange(int(lengths.max(initial=0)))
        live = numbers[:, None] < lengths  # (columns, rows)
        steps, rows = np.nonzero(live)
        used, types = np.unique(self._types[rows, first + steps], return_inverse=True)
        here = np.zeros(live.shape, dtype=np.int64)
        here[live] = types
        from_end = lengths[rows] - 1 - steps
        rows_at: list[int] = live.sum(axis=1).tolist()
        return Columns(
            [self._names[number] for number in used],
            lengths,
            self._is_token[rows, first + steps],
            Reading(rows_at, types.reshape(-1), rows, steps),
            Reading(rows_at, here[from_end, rows], rows, from_end),
        )
