"""Sentences to batches: the type/token idea made a data structure.

A batch names every *type* in it once (how it is spelled), and every *token* by the number of its
type. So the character network runs once per type and the recurrence once per token.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowtide.text.characters import CharIds, Spelling
from lowtide.text.shards import END_ROW, START_ROW, PreparedCorpus
from lowtide.text.tokenize import Sentence
from lowtide.text.vocabulary import END_INDEX, START_INDEX

NO_TARGET = -1

Document = Sequence[Sentence]
"""Sentences through which a state is carried. Where none is, every sentence is a document of its own."""


@dataclass(frozen=True)
class Batch:
    """Rows of positions; what lies beyond the length of a row means nothing.

    ::

        types        0: <S>   1: </S>   2: the   3: tide   4: goes   5: out
        type_index   0 2 3 4 5 1 0 3 5 1        <S> the tide goes out </S> <S> tide out </S>
        starts       1 0 0 0 0 0 1 0 0 0        the forward state is zero before these;
                                                the backward one before what stands left of them
    """

    type_char_ids: CharIds
    """(types, chars): how every type in the batch is spelled."""
    type_index: NDArray[np.int64]
    """(rows, steps): the type of every token."""
    starts: NDArray[np.bool_]
    """(rows, steps): true where a state starts from zero."""
    lengths: NDArray[np.int64]
    """(rows,): how many positions of every row count; at least 1."""

    @property
    def num_positions(self) -> int:
        """All positions that count, boundaries among them."""
        return int(self.lengths.sum())


@dataclass(frozen=True)
class Targets:
    """What each direction is to predict at every position: vocabulary indices, -1 for nothing."""

    forward: NDArray[np.int64]
    """(rows, steps): the next token."""
    backward: NDArray[np.int64]
    """(rows, steps): the token before."""


def predict_neighbours(batch: Batch, type_targets: NDArray[np.integer]) -> Targets:
    """The targets of a batch: the neighbour on either side, unless a state starts between.

    Between two sentences of a document no state starts; but that ``<S>`` follows ``</S>`` is nothing
    to learn. So the forward model never predicts ``<S>``, nor the backward one ``</S>``: n + 1
    targets each for a sentence of n tokens.

    Args:
        batch: the batch.
        type_targets: (types,) the vocabulary index of every type in it.
    """
    tokens = type_targets.astype(np.int64)[batch.type_index]
    steps = np.arange(tokens.shape[1])
    joined = (steps[1:] < batch.lengths[:, None]) & ~batch.starts[:, 1:]  # (rows, steps - 1)
    forward = np.full_like(tokens, NO_TARGET)
    backward = np.full_like(tokens, NO_TARGET)
    has_next = joined & (tokens[:, 1:] != START_INDEX)
    has_last = joined & (tokens[:, :-1] != END_INDEX)
    forward[:, :-1][has_next] = tokens[:, 1:][has_next]
    backward[:, 1:][has_last] = tokens[:, :-1][has_last]
    return Targets(forward, backward)


def batch_of_documents(documents: Sequence[Document], spelling: Spelling) -> tuple[Batch, list[str]]:
    """One row a document: its sentences, each between its boundaries; the state starts once.

    Returns:
        The batch, and the types in it in the order of ``type_char_ids``: the marks of a sentence first.
    """
    index = {mark: number for number, mark in enumerate(spelling.marks)}
    lengths = np.array([num_positions(document) for document in documents], dtype=np.int64)
    type_index = np.zeros((len(documents), int(lengths.max(initial=2))), dtype=np.int64)
    for row, document in zip(type_index, documents, strict=True):
        end = 0
        for sentence in document:
            start, end = end, end + len(sentence) + 2
            row[start + 1 : end - 1] = [index.setdefault(token, len(index)) for token in sentence]
            row[end - 1] = 1
    starts = np.zeros(type_index.shape, dtype=np.bool_)
    starts[:, 0] = True
    types = list(index)
    return Batch(spelling.char_ids(types), type_index, starts, lengths), types


def num_positions(document: Document) -> int:
    """Tokens and boundaries."""
    return sum(len(sentence) + 2 for sentence in document)


def group_by_length(lengths: Sequence[int], max_positions: int, *, longest: int | None = None) -> Iterator[list[int]]:
    """Numbers of rows in groups of like length, each group within a budget of positions.

    Args:
        lengths: positions of every row.
        max_positions: rows times the longest row of a group, unless it is one row.
        longest: rows that are longer are read in pieces, and count as much here.
    """
    order = sorted(range(len(lengths)), key=lambda number: lengths[number], reverse=True)
    group: list[int] = []
    for number in order:
        most = lengths[group[0]] if group else 0
        if group and (len(group) + 1) * (most if longest is None else min(most, longest)) > max_positions:
            yield group
            group = []
        group.append(number)
    if group:
        yield group


@dataclass(frozen=True)
class TrainingBatch:
    """Rows of a prepared corpus, with what they are to predict."""

    batch: Batch
    targets: Targets
    num_tokens: int
    """Boundaries not counted."""
    num_cut: int = 0
    """Sentences, or documents, that begin here and were cut because of their length."""
    backward: Batch | None = None
    """What the backward direction reads, where that is not what the forward one reads."""
    goes_on: bool = False
    """Whether the first rows go on where those of the batch before ended."""

    def part(self, number: int, parts: int) -> TrainingBatch:
        """The rows that one of several processes learns from. What is counted stays that of all rows.

        A part for which no row is left has the first one, and nothing to predict in it.
        """
        rows = rows_of_part(len(self.batch.lengths), number, parts)
        steps = int(self.batch.lengths[rows].max())
        sides = [self.batch] if self.backward is None else [self.batch, self.backward]
        stacked = np.stack([side.type_index[rows, :steps] for side in sides])
        types, index = np.unique(stacked, return_inverse=True)
        char_ids, indices = self.batch.type_char_ids[types], index.reshape(stacked.shape)
        taken = [
            Batch(char_ids, own, side.starts[rows, :steps], side.lengths[rows])
            for side, own in zip(sides, indices, strict=True)
        ]
        has_rows = number < len(self.batch.lengths)
        forward, backward = (
            np.where(has_rows, targets[rows, :steps], NO_TARGET)
            for targets in (self.targets.forward, self.targets.backward)
        )
        return dataclasses.replace(
            self, batch=taken[0], targets=Targets(forward, backward), backward=taken[1] if self.backward else None
        )


def rows_of_part(num_rows: int, number: int, parts: int) -> NDArray[np.int64]:
    """Which rows of a batch one of several processes has: dealt out in turn, so long and short ones evenly.

    The first one, where none is left.
    """
    rows = np.arange(number, num_rows, parts)
    return rows if len(rows) else np.zeros(1, dtype=np.int64)


_Row = list[NDArray[np.uint32]]
"""Pieces of sentences, one after another."""


class TrainingBatches(ABC):
    """The batches of a training, in chunks; each a pure function of (seed, epoch, chunk, number).

    A corpus is shuffled in two steps that need no list of all sentences: blocks of neighbouring sentences in random
    order, and then what is in a *chunk* of such blocks. So resuming is a matter of counting.

    Args:
        corpus: prepared, and spelled. What is held out is never used.
        row_length: characters of a spelled type.
        row_tokens: positions of a row.
        rows: rows of a batch.
        seed: decides the order.
        weights: of the parts of the corpus, see `lowtide.text.order`.
    """

    BLOCK = 256
    """Sentences of a block, at most."""
    CHUNK_BLOCKS = 64

    def __init__(
        self,
        corpus: PreparedCorpus,
        *,
        row_length: int,
        row_tokens: int,
        rows: int,
        seed: int,
        weights: Sequence[float] = (),
    ) -> None:
        self._corpus = corpus
        self._characters = corpus.characters(row_length)
        self._targets = corpus.targets()
        self._row_tokens, self._rows, self._seed = row_tokens, rows, seed
        self._order = corpus.order(self.BLOCK, seed=seed, weights=weights)
        self.num_chunks = -(-self._order.num_blocks // self.CHUNK_BLOCKS)
        """Of an epoch."""

    @abstractmethod
    def chunk(self, epoch: int, chunk: int) -> Iterator[TrainingBatch]:
        """The batches of one chunk, always the same and in the same order."""

    def _blocks(self, epoch: int, chunk: int) -> NDArray[np.int64]:
        """The blocks of a chunk, rising."""
        first = chunk * self.CHUNK_BLOCKS
        return np.sort(self._order.of_pass(epoch)[first : first + self.CHUNK_BLOCKS])


class PackedBatches(TrainingBatches):
    """Whole sentences packed into rows; one that is longer than a row is cut, state zero at each cut."""

    def chunk(self, epoch: int, chunk: int) -> Iterator[TrainingBatch]:
        """See `TrainingBatches`."""
        numbers = np.concatenate([self._order.sentences(block) for block in self._blocks(epoch, chunk)])
        numbers = numbers[~np.isin(numbers, self._corpus.held_out)]
        shuffle = np.random.default_rng([self._seed, epoch, chunk])
        sentences = [self._corpus.positions(number) for number in shuffle.permutation(numbers)]
        for rows in self._laid_out(sentences, shuffle):
            yield self._batch(rows)

    def _laid_out(self, sentences: Sequence[NDArray[np.uint32]], shuffle: np.random.Generator) -> Iterator[list[_Row]]:
        """The rows of every batch."""
        rows = pack(sentences, self._row_tokens)
        rows = [rows[i] for i in shuffle.permutation(len(rows))]
        for first in range(0, len(rows), self._rows):
            yield rows[first : first + self._rows]

    def _batch(self, rows: Sequence[_Row]) -> TrainingBatch:
        lengths = np.array([sum(map(len, row)) for row in rows], dtype=np.int64)
        type_rows = np.full((len(rows), int(lengths.max())), START_ROW, dtype=np.uint32)
        starts = np.zeros(type_rows.shape, dtype=np.bool_)
        num_cut = 0
        for number, row in enumerate(rows):
            position = 0
            for piece in row:
                type_rows[number, position : position + len(piece)] = piece
                starts[number, position] = True
                # the first piece of a cut sentence has a start and no end
                num_cut += int(piece[0] == START_ROW and piece[-1] != END_ROW)
                position += len(piece)
        types, index = np.unique(type_rows, return_inverse=True)
        batch = Batch(np.asarray(self._characters[types]), index.reshape(type_rows.shape), starts, lengths)
        num_tokens = int((type_rows > END_ROW).sum())
        return TrainingBatch(batch, predict_neighbours(batch, self._targets[types]), num_tokens, num_cut)


class SentenceBatches(PackedBatches):
    """One sentence a row, rows of like length together: no state starts amid a row, so that any kernel can read it.

    A batch has about as many positions as one of `PackedBatches`, and so as many more rows as they are shorter.
    """

    def _laid_out(self, sentences: Sequence[NDArray[np.uint32]], shuffle: np.random.Generator) -> Iterator[list[_Row]]:
        size = self._row_tokens
        pieces = [sentence[first : first + size] for sentence in sentences for first in range(0, len(sentence), size)]
        groups = list(group_by_length(list(map(len, pieces)), self._rows * size))
        for number in shuffle.permutation(len(groups)):
            yield [[pieces[place]] for place in groups[number]]


def pack(sentences: Sequence[NDArray[np.uint32]], row_tokens: int) -> list[_Row]:
    """Pack sentences into rows, best fit first; a sentence longer than a row is cut into pieces.

    Args:
        sentences: each with its boundaries.
        row_tokens: positions of a row.

    Returns:
        Rows, each a list of pieces whose lengths sum to at most ``row_tokens``.
    """
    rows: list[_Row] = []
    with_room: list[list[int]] = [[] for _ in range(row_tokens + 1)]  # open rows by free positions
    for sentence in sentences:
        for first in range(0, len(sentence), row_tokens):
            piece = sentence[first : first + row_tokens]
            room = next((free for free in range(len(piece), row_tokens + 1) if with_room[free]), None)
            if room is None:
                rows.append([piece])
                room, row = row_tokens, len(rows) - 1
            else:
                row = with_room[room].pop()
                rows[row].append(piece)
            with_room[room - len(piece)].append(row)
    return rows
