"""Two vector files side by side: which sentence of one is which of the other, and how far apart their numbers are."""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.outputs import Embeddings, Floats


@dataclass(frozen=True)
class Pairing:
    """Sentences by their numbers in the two files, in the order of the old one."""

    pairs: list[tuple[int, int]]
    only_in_old: list[int] = field(default_factory=list)
    only_in_new: list[int] = field(default_factory=list)
    is_by_number: bool = False


def paired(olds: Embeddings, news: Embeddings) -> Pairing:
    """By number, by key where these are names, by text where one file has numbers and the other names."""
    by_number = Pairing([(i, i) for i in range(min(len(olds), len(news)))], is_by_number=True)
    if olds.is_numbered and news.is_numbered:
        return by_number
    by_key = None if olds.is_numbered or news.is_numbered else matched(olds.keys, news.keys)
    if by_key is None or not by_key.pairs:
        old_texts, new_texts = texts_of(olds), texts_of(news)
        if old_texts is not None and new_texts is not None:
            return matched(old_texts, new_texts)
    return by_key or by_number


def matched(olds: Sequence[str], news: Sequence[str]) -> Pairing:
    """Equal names belong together; of names that come again, the first to the first."""
    places: dict[str, deque[int]] = defaultdict(deque)
    for j, name in enumerate(news):
        places[name].append(j)
    pairs, only_in_old = [], []
    for i, name in enumerate(olds):
        if places.get(name):
            pairs.append((i, places[name].popleft()))
        else:
            only_in_old.append(i)
    return Pairing(pairs, only_in_old, sorted(itertools.chain.from_iterable(places.values())))


def texts_of(vectors: Embeddings) -> list[str] | None:
    """The text of every sentence, if the file has them all."""
    texts = []
    for index in range(len(vectors)):
        text = vectors.sentence(index)
        if text is None:
            return None
        texts.append(text)
    return texts


def distances(old: Floats, new: Floats) -> NDArray[np.float64]:
    """Absolute differences; 0 where both are the same infinity or both NaN, infinite where one alone is either."""
    with np.errstate(invalid="ignore", over="ignore"):
        apart: NDArray[np.float64] = np.subtract(old, new, dtype=np.float64)
    np.abs(apart, out=apart)
    if not np.isfinite(apart).all():
        is_alike = (old == new) | (np.isnan(old) & np.isnan(new))
        apart[~np.isfinite(apart)] = np.inf
        apart[is_alike] = 0.0
    return apart
