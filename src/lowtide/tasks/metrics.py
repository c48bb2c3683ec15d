"""The measures that the field reports: span F1, accuracy, macro F1, Spearman's rank correlation.

Span F1 is that of seqeval 1.2 in its default mode, micro-averaged over all spans: a span counts if its type and both of
its ends are right. `spans_of` says what a span is in sequences that are malformed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lowtide.errors import InputError, ShapeError
from lowtide.tasks.spans import NO_TYPE, Span, spans_of


@dataclass(frozen=True)
class Rates:
    """Of what was found, and what was to be found."""

    correct: int
    found: int
    wanted: int

    @property
    def precision(self) -> float:
        """0 where nothing was found."""
        return self.correct / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """0 where nothing was to be found."""
        return self.correct / self.wanted if self.wanted else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of the two; 0 where both are."""
        total = self.found + self.wanted
        return 2 * self.correct / total if self.correct else 0.0

    def as_json(self) -> dict[str, Any]:
        """For a program to read."""
        return {**asdict(self), "precision": self.precision, "recall": self.recall, "f1": self.f1}


def span_rates(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, Rates]:
    """How many spans were found, by their type.

    Args:
        gold: the tags of every sentence.
        predicted: as many tags.

    Raises:
        ShapeError: if the two differ in their sentences or tokens.
    """
    correct: Counter[str] = Counter()
    found: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    for here, there in zip(*_same_shape(gold, predicted), strict=True):
        of_gold, of_predicted = _named(here), _named(there)
        wanted.update(span.type for span in of_gold)
        found.update(span.type for span in of_predicted)
        correct.update(span.type for span in set(of_gold) & set(of_predicted))
    return {type_: Rates(correct[type_], found[type_], wanted[type_]) for type_ in sorted(found | wanted)}


def _named(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence; what has no type is called as seqeval calls it."""
    return [span._replace(type=span.type or NO_TYPE) for span in spans_of(tags)]


def micro(rates: dict[str, Rates]) -> Rates:
    """All types together: every span counts once."""
    return Rates(*(sum(getattr(rate, name) for rate in rates.values()) for name in ("correct", "found", "wanted")))


def span_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """The F1 of all spans together, 0 to 1: seqeval's ``f1_score``."""
    return micro(span_rates(gold, predicted)).f1


def label_rates(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, Rates]:
    """How often every label was given, and how often that was right.

    Raises:
        ShapeError: if there are not as many of both.
    """
    _same_length(gold, predicted)
    correct = Counter(a for a, b in zip(gold, predicted, strict=True) if a == b)
    found, wanted = Counter(predicted), Counter(gold)
    return {label: Rates(correct[label], found[label], wanted[label]) for label in sorted(found | wanted)}


def accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """The share of right labels, 0 to 1.

    Raises:
        InputError: if there is none.
    """
    _same_length(gold, predicted)
    if not gold:
        raise InputError("there is nothing to measure: expected at least one label")
    return sum(a == b for a, b in zip(gold, predicted, strict=True)) / len(gold)


def macro_f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """The mean of the F1 of every label that was given or to be given: a rare one counts as much as a common one."""
    rates = label_rates(gold, predicted)
    return float(np.mean([rate.f1 for rate in rates.values()])) if rates else 0.0


def spearman(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Pearson's correlation of the ranks, -1 to 1; equal numbers share the mean of their ranks.

    0 where one side is constant: it orders nothing.

    Raises:
        InputError: if there are fewer than two numbers.
    """
    _same_length(gold, predicted)
    if len(gold) < 2:
        raise InputError(f"found {len(gold)} numbers, expected two at least to compare their order")
    first, second = (ranks - ranks.mean() for ranks in (_ranks(gold), _ranks(predicted)))
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / scale if scale else 0.0


def _ranks(numbers: Sequence[float]) -> NDArray[np.float64]:
    _, places, counts = np.unique(np.asarray(numbers, np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[places]
    return ranks


def confusions(gold: Sequence[str], predicted: Sequence[str]) -> list[tuple[str, str, int]]:
    """What was taken for what, and how often; the most frequent first."""
    _same_length(gold, predicted)
    counts = Counter((a, b) for a, b in zip(gold, predicted, strict=True) if a != b)
    return [(a, b, count) for (a, b), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def best_threshold(cosines: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """The threshold above which two texts, or two uses of a word, are best called the same.

    Args:
        cosines: (pairs,)
        labels: (pairs,): whether they are the same.

    Returns:
        The threshold, and the accuracy that it has.
    """
    found, is_same = np.asarray(cosines, np.float64), np.asarray(labels, np.bool_)
    order = np.argsort(found, kind="stable")
    ordered, is_same = found[order], is_same[order]
    # right with a threshold before place k: what differs below it, and what is the same from there on
    right = np.concatenate([[0], np.cumsum(~is_same)]) + np.concatenate([np.cumsum(is_same[::-1])[::-1], [0]])
    bounds = np.concatenate([[-np.inf], ordered, [np.inf]])
    can_part = bounds[1:] > bounds[:-1]  # pairs with one cosine stand on one side
    place = int(np.argmax(np.where(can_part, right, -1)))
    low, high = bounds[place], bounds[place + 1]
    threshold = np.clip((max(low, -2.0) + min(high, 2.0)) / 2, -2.0, 2.0)
    return float(threshold), float(right[place] / max(1, len(is_same)))


def _same_length(gold: Sequence[Any], predicted: Sequence[Any]) -> None:
    if len(gold) != len(predicted):
        raise ShapeError(f"found {len(predicted)} answers to {len(gold)} questions")


def _same_shape(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> tuple[Sequence[Sequence[str]], Sequence[Sequence[str]]]:
    _same_length(gold, predicted)
    for here, there in zip(gold, predicted, strict=True):
        _same_length(here, there)
    return gold, predicted
