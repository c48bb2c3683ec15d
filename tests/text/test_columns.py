from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.text.batches import Document
from lowtide.text.columns import Columns, Reading, Rows

MARKS = ("<S>", "</S>")
TOKENS = ["the", "tide", "", "潮水", *MARKS]
claim = settings(derandomize=True, deadline=None)
documents = st.lists(st.lists(st.lists(st.sampled_from(TOKENS), max_size=4), min_size=1, max_size=4), max_size=6)
cuts = st.sets(st.integers(1, 30), max_size=8)

Position = tuple[str, bool]
"""A type, and whether it is a token."""


def row_of(document: Document) -> list[Position]:
    """A document without its first and its last mark, written out."""
    row: list[Position] = []
    for sentence in document:
        row += [("<S>", False), *((token, True) for token in sentence), ("</S>", False)]
    return row[1:-1]


def pieces_of(rows: Rows, cut: set[int]) -> list[tuple[int, Columns]]:
    edges = [0, *sorted(edge for edge in cut if edge < rows.num_columns), rows.num_columns]
    return [(first, rows.columns(first, end)) for first, end in itertools.pairwise(edges)]


def read(reading: Reading, columns: Columns, first: int) -> dict[int, list[tuple[int, str]]]:
    """By row, what is read there one after the other: the column of the whole row, and the type."""
    found: dict[int, list[tuple[int, str]]] = {}
    end = 0
    for rows in reading.rows_at:
        start, end = end, end + rows
        assert reading.rows[start:end].tolist() == list(range(rows))  # a step holds the longest rows, each once
        of_step = (numbers[start:end].tolist() for numbers in (reading.rows, reading.columns, reading.types))
        for row, column, type_ in zip(*of_step, strict=True):
            found.setdefault(row, []).append((first + column, columns.types[type_]))
    assert end == len(reading.rows) == len(reading.columns) == len(reading.types)
    return found


@claim
@given(documents=documents, cut=cuts)
def test_both_directions_visit_every_position_once_and_in_their_order(documents: list[Document], cut: set[int]) -> None:
    rows = Rows(documents, MARKS)
    ahead: list[list[tuple[int, str]]] = [[] for _ in documents]
    back: list[list[tuple[int, str]]] = [[] for _ in documents]
    for first, columns in pieces_of(rows, cut):
        for row, visited in read(columns.forward, columns, first).items():
            ahead[rows.order[row]] += visited
        for row, visited in read(columns.backward, columns, first).items():
            back[rows.order[row]] += visited[::-1]
    for number, document in enumerate(documents):
        expected = [(column, type_) for column, (type_, _) in enumerate(row_of(document))]
        assert ahead[number] == expected
        assert back[number] == expected


@claim
@given(documents=documents, cut=cuts)
def test_the_backward_direction_begins_at_the_end_of_every_row_and_ends_at_its_first_column(
    documents: list[Document], cut: set[int]
) -> None:
    for first, columns in pieces_of(Rows(documents, MARKS), cut):
        for row, visited in read(columns.backward, columns, first).items():
            reach = first + int(columns.lengths[row])
            assert [column for column, _ in visited] == list(range(reach - 1, first - 1, -1))


@claim
@given(documents=documents, cut=cuts)
def test_the_number_of_rows_never_rises_from_step_to_step(documents: list[Document], cut: set[int]) -> None:
    rows = Rows(documents, MARKS)
    for _, columns in pieces_of(rows, cut):
        for reading in (columns.forward, columns.backward):
            assert reading.rows_at == sorted(reading.rows_at, reverse=True) and 0 not in reading.rows_at
        assert columns.lengths.tolist() == sorted(columns.lengths, reverse=True) and (columns.lengths > 0).all()


@claim
@given(documents=documents, cut=cuts)
def test_marks_between_sentences_are_no_tokens_and_tokens_spelled_like_marks_are(
    documents: list[Document], cut: set[int]
) -> None:
    rows = Rows(documents, MARKS)
    expected = [[is_token for _, is_token in row_of(documents[number])] for number in rows.order]
    for first, columns in pieces_of(rows, cut):
        reading = columns.forward
        for row, column, is_token in zip(reading.rows, reading.columns, columns.is_token, strict=True):
            assert bool(is_token) == expected[row][first + column]


@claim
@given(documents=documents, cut=cuts)
def test_the_types_of_some_columns_are_those_in_them_each_once(documents: list[Document], cut: set[int]) -> None:
    rows = Rows(documents, MARKS)
    for first, columns in pieces_of(rows, cut):
        width = int(columns.lengths.max(initial=0))
        inside = {type_ for document in documents for type_, _ in row_of(document)[first : first + width]}
        assert len(columns.types) == len(set(columns.types))
        assert set(columns.types) == inside


@claim
@given(documents=documents)
def test_rows_stand_longest_first_and_equal_ones_in_their_order(documents: list[Document]) -> None:
    rows = Rows(documents, MARKS)
    lengths = [len(row_of(document)) for document in documents]
    assert rows.order.tolist() == sorted(range(len(documents)), key=lambda number: -lengths[number])
    assert rows.lengths.tolist() == sorted(lengths, reverse=True)
    assert rows.num_columns == max(lengths, default=0)


@pytest.mark.parametrize("document", [[[], ["tide"]], [[], [], []], [["tide"], [], []], [[]]])
def test_a_sentence_without_tokens_has_its_marks_all_the_same(document: Document) -> None:
    columns = Rows([document], MARKS).columns(0, 99)
    assert [columns.types[n] for n in columns.forward.types] == [type_ for type_, _ in row_of(document)]
    assert columns.is_token.tolist() == [is_token for _, is_token in row_of(document)]


def test_columns_behind_the_last_are_of_no_rows() -> None:
    columns = Rows([[["the", "tide"]], [["out"]]], MARKS).columns(5, 9)
    assert columns.types == [] and len(columns.lengths) == 0 and columns.forward.rows_at == []
    assert isinstance(columns.is_token, np.ndarray) and not len(columns.is_token)
