"""Documents to batches: each row of a batch goes on where that row of the batch before ended.

A *lane* is a list of documents, one after another, and a batch is a slice through all lanes. The
forward direction reads the lanes from their beginning, the backward direction reads the same lanes
from their end; so each direction carries its state, from batch to batch, through whole documents::

    batch      0        1        2                lane   <S> w w </S> <S> w </S> | <S> w w </S>
    forward    a b c    d e f    g                       one document            | the next
    backward   e f g    b c d    a

The gradient stops between two batches (truncated backpropagation through time).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowtide.text.batches import NO_TARGET, Batch, Targets, TrainingBatch, TrainingBatches
from lowtide.text.shards import END_ROW, START_ROW


@dataclass(frozen=True)
class _Lane:
    """Documents one after another, position by position."""

    rows: NDArray[np.uint32]
    """In the type table."""
    starts: NDArray[np.bool_]
    """True at the first position of a document."""
    targets: Targets
    """(positions,) each."""

    def __len__(self) -> int:
        return len(self.rows)


class DocumentBatches(TrainingBatches):
    """Documents in lanes, of which a batch has one a row.

    A block begins with a document; only a document that is longer than a block is cut, state zero at the cut. One in
    which something is held out ends before it, and another begins behind it.
    """

    def chunk(self, epoch: int, chunk: int) -> Iterator[TrainingBatch]:
        """See `TrainingBatches`."""
        documents: list[NDArray[np.uint32]] = []
        num_cut = 0
        for block in self._blocks(epoch, chunk):
            first, end = self._border(block), self._border(block + 1)
            num_cut += int(end < self._corpus.counts.num_sentences and end not in self._starts(range(end, end + 1)))
            numbers = np.arange(first, end)
            numbers = numbers[~np.isin(numbers, self._corpus.held_out)]
            documents += [
                np.concatenate([self._corpus.positions(number) for number in stretch])
                for stretch in self._corpus.document_stretches(numbers)
            ]
        shuffle = np.random.default_rng([self._seed, epoch, chunk])
        lanes = [self._lane(lane) for lane in _deal(documents, self._rows, shuffle)]
        lanes.sort(key=len, reverse=True)
        for first in range(0, max(map(len, lanes), default=0), self._row_tokens):
            yield self._batch(lanes, first, num_cut=0 if first else num_cut)

    def _border(self, block: int) -> int:
        """Where a block begins: with its first document, if one begins in it."""
        sentences = self._order.sentences(block)
        starts = self._starts(sentences)
        if len(starts):
            return int(starts[0])
        return sentences.stop if self._order.ends_part(block) else sentences.start

    def _starts(self, sentences: range) -> NDArray[np.uint64]:
        """Those of some sentences with which documents begin."""
        starts = self._corpus.document_starts
        # keys of another type would have NumPy convert, and so load, all of the starts
        first, end = np.searchsorted(starts, np.array([sentences.start, sentences.stop], dtype=starts.dtype))
        return starts[first:end]

    def _lane(self, documents: Sequence[NDArray[np.uint32]]) -> _Lane:
        rows = np.concatenate(documents)
        starts = np.zeros(len(rows), dtype=np.bool_)
        starts[np.cumsum([0, *map(len, documents[:-1])])] = True
        types, index = np.unique(rows, return_inverse=True)
        tokens = self._targets[types].astype(np.int64)[index]
        forward = np.append(np.where(rows[1:] == START_ROW, NO_TARGET, tokens[1:]), NO_TARGET)
        backward = np.append(NO_TARGET, np.where(rows[:-1] == END_ROW, NO_TARGET, tokens[:-1]))
        return _Lane(rows, starts, Targets(forward, backward))

    def _batch(self, lanes: Sequence[_Lane], first: int, *, num_cut: int) -> TrainingBatch:
        lanes = [lane for lane in lanes if len(lane) > first]  # the longest come first
        end = first + self._row_tokens
        lengths = np.array([min(end, len(lane)) - first for lane in lanes], dtype=np.int64)
        ahead = [slice(first, end) for _ in lanes]
        back = [slice(max(0, len(lane) - end), len(lane) - first) for lane in lanes]
        rows = [_slices([lane.rows for lane in lanes], places, START_ROW) for places in (ahead, back)]
        starts = [_slices([lane.starts for lane in lanes], places, False) for places in (ahead, back)]
        types, index = np.unique(np.stack(rows), return_inverse=True)
        index = index.reshape(2, *rows[0].shape)
        char_ids = np.asarray(self._characters[types])
        return TrainingBatch(
            Batch(char_ids, index[0], starts[0], lengths),
            Targets(
                _slices([lane.targets.forward for lane in lanes], ahead, NO_TARGET),
                _slices([lane.targets.backward for lane in lanes], back, NO_TARGET),
            ),
            num_tokens=int((rows[0] > END_ROW).sum()),
            num_cut=num_cut,
            backward=Batch(char_ids, index[1], starts[1], lengths),
            goes_on=first > 0,
        )


def _slices(lanes: Sequence[NDArray[Any]], places: Sequence[slice], fill: Any) -> NDArray[Any]:
    """(lanes, steps): a stretch of every lane, filled up behind its end."""
    stretches = [lane[place] for lane, place in zip(lanes, places, strict=True)]
    filled = np.full((len(lanes), max(map(len, stretches))), fill, dtype=lanes[0].dtype)
    for row, stretch in zip(filled, stretches, strict=True):
        row[: len(stretch)] = stretch
    return filled


def _deal(
    documents: Sequence[NDArray[np.uint32]], num_lanes: int, shuffle: np.random.Generator
) -> list[list[NDArray[np.uint32]]]:
    """Documents to lanes of like length, in random order within each; no lane is empty."""
    lanes: list[list[int]] = [[] for _ in range(min(num_lanes, len(documents)))]
    lengths = [(0, lane) for lane in range(len(lanes))]
    for number in sorted(shuffle.permutation(len(documents)).tolist(), key=lambda n: -len(documents[n])):
        length, lane = heapq.heappop(lengths)
        lanes[lane].append(number)
        heapq.heappush(lengths, (length + len(documents[number]), lane))
    return [[documents[number] for number in shuffle.permutation(lane)] for lane in lanes]
