"""Some of a long text, from all over it: it is ordered by its subjects, and its beginning tells little of the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from lowtide.embeddings.numbered import NumberedSentence
from lowtide.text.batches import Document
from lowtide.text.tokenize import Sentence

STRETCH = 50
"""Sentences of a document that are taken together."""
_GOLDEN_RATIO = 0x9E3779B97F4A7C15
"""Its fraction, in 2^-64."""

Item = TypeVar("Item")


class Spread(Generic[Item]):
    """Items from all over a stream of unknown length: all of them, or about every 2nd, 4th, 8th ...

    Which ones depends on their number in the stream alone, and follows no period that the stream may have (question
    and answer, one language and the other): the multiples of the golden ratio fill the interval from 0 to 1 evenly,
    and an item is kept if its multiple lies in the first half, quarter, eighth.

    Args:
        most: the sizes of what is kept have at most this sum, or a single item is.
        copy: what is kept of an item.
    """

    def __init__(self, most: int, copy: Callable[[Item], Item] = lambda item: item) -> None:
        self._most, self._share, self._copy = most, 2**64, copy
        self._num_seen = self._size = 0
        self._kept: list[tuple[int, int, Item]] = []

    def add(self, item: Item, size: int = 1) -> None:
        """The next one of the stream."""
        place = self._num_seen * _GOLDEN_RATIO % 2**64
        self._num_seen += 1
        if place < self._share:
            self._kept.append((place, size, self._copy(item)))
            self._size += size
        while self._size > self._most and len(self._kept) > 1:
            self._share //= 2
            self._kept = [kept for kept in self._kept if kept[0] < self._share]
            self._size = sum(size for _, size, _ in self._kept)

    @property
    def items(self) -> list[Item]:
        """What is kept, in order."""
        return [item for _, _, item in self._kept]


def sample_documents(sentences: Iterable[NumberedSentence], max_tokens: int, *, is_carried: bool) -> list[Document]:
    """Documents from all over a text of any length, which is read once and never held.

    Args:
        sentences: of the text.
        max_tokens: as many at most; at least half as many, if the text has them.
        is_carried: whether a state is to be carried through documents; if so, a long one becomes several.
    """
    sample: Spread[Document] = Spread(max_tokens)
    document: list[Sentence] = []
    for sentence in sentences:
        if document and (not is_carried or sentence.starts_document or len(document) == STRETCH):
            sample.add(document, sum(map(len, document)))
            document = []
        if sentence.tokens:
            document.append(sentence.tokens)
    if document:
        sample.add(document, sum(map(len, document)))
    return sample.items
