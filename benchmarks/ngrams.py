"""Baselines that count: the unigram model, and interpolated modified Kneser-Ney.

Chen and Goodman (1999), "An empirical study of smoothing techniques for language modeling",
https://doi.org/10.1006/csla.1999.0128, section 3.1. Every order is interpolated with the next lower
one, down to the uniform distribution over the closed vocabulary.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

START, END, UNKNOWN = "<s>", "</s>", "<unk>"

Gram = tuple[str, ...]


def unigram_perplexity(train: Iterable[Sequence[str]], test: Iterable[Sequence[str]]) -> float:
    """Relative frequencies of the training text, one ``</s>`` a sentence; unknown types are ``<unk>``."""
    counts = Counter(token for sentence in train for token in [*sentence, END])
    total = counts.total()
    nats = [
        math.log(total / counts[token if token in counts else UNKNOWN])
        for sentence in test
        for token in [*sentence, END]
    ]
    return math.exp(sum(nats) / len(nats))


class KneserNey:
    """A modified Kneser-Ney model of a closed vocabulary.

    Args:
        sentences: to learn from; what the vocabulary lacks later is scored as ``<unk>``.
        order: 3 for trigrams.
    """

    def __init__(self, sentences: Iterable[Sequence[str]], order: int = 3) -> None:
        self.order = order
        full: Counter[Gram] = Counter()
        for sentence in sentences:
            full.update(_grams(sentence, order))
        self.vocabulary = {gram[-1] for gram in full} | {UNKNOWN}
        # lower orders count in how many contexts a gram was seen; one that begins a sentence has
        # no context on its left, and keeps the count of its occurrences
        levels = [full]
        while len(levels) < order:
            lower: Counter[Gram] = Counter()
            for gram, count in levels[-1].items():
                lower[gram[1:]] += count if gram[0] == gram[1] == START else 1
            levels.append(lower)
        self._levels = [_Level(counts) for counts in reversed(levels)]

    def probability(self, token: str, context: Sequence[str]) -> float:
        """Of a token after a context; over the vocabulary it sums to 1."""
        known = token if token in self.vocabulary else UNKNOWN
        history = tuple(word if word in self.vocabulary or word == START else UNKNOWN for word in context)
        probability = 1 / len(self.vocabulary)
        for length, level in enumerate(self._levels):
            probability = level.interpolate((*history[len(history) - length :], known), probability)
        return probability

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> float:
        """Exp of the mean nats, one ``</s>`` a sentence."""
        nats = [
            -math.log(self.probability(gram[-1], gram[:-1]))
            for sentence in sentences
            for gram in _grams(sentence, self.order)
        ]
        return math.exp(sum(nats) / len(nats))


class _Level:
    """The counts of one order, and what each context gives away to the order below."""

    def __init__(self, counts: Counter[Gram]) -> None:
        self._counts = counts
        self._discounts = _discounts(Counter(counts.values()))
        self._totals: Counter[Gram] = Counter()
        given: defaultdict[Gram, float] = defaultdict(float)
        for gram, count in counts.items():
            self._totals[gram[:-1]] += count
            given[gram[:-1]] += self._discounts[min(count, 3)]
        self._given = {context: discount / self._totals[context] for context, discount in given.items()}

    def interpolate(self, gram: Gram, lower: float) -> float:
        context = gram[:-1]
        total = self._totals.get(context)
        if total is None:
            return lower
        count = self._counts.get(gram, 0)
        return (count - self._discounts[min(count, 3)]) / total + self._given[context] * lower


def _discounts(counts_of_counts: Counter[int]) -> tuple[float, float, float, float]:
    """D for counts of 0, 1, 2, and 3 or more (equation 26)."""
    n1, n2, n3, n4 = (counts_of_counts[count] for count in (1, 2, 3, 4))
    if not (n1 and n2 and n3):  # too little text to estimate them
        return 0.0, 0.5, 0.5, 0.5
    y = n1 / (n1 + 2 * n2)
    return 0.0, 1 - 2 * y * n2 / n1, max(0.0, 2 - 3 * y * n3 / n2), max(0.0, 3 - 4 * y * n4 / n3)


def _grams(sentence: Sequence[str], order: int) -> Iterator[Gram]:
    tokens = [*[START] * (order - 1), *sentence, END]
    for end in range(order, len(tokens) + 1):
        yield tuple(tokens[end - order : end])
