from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score

from lowtide.errors import InputError, ShapeError
from lowtide.tasks.metrics import (
    accuracy,
    best_threshold,
    confusions,
    label_rates,
    macro_f1,
    span_f1,
    span_rates,
    spearman,
)

GOLD = [["B-X", "I-X", "O", "B-Y"], ["O", "B-X"]]
FOUND = [["B-X", "I-X", "I-Y", "B-Y"], ["B-X", "I-X"]]


def test_span_f1_is_that_of_seqeval() -> None:
    assert span_f1(GOLD, FOUND) == pytest.approx(0.5714285714285715)  # f1_score of seqeval 1.2.2
    rates = span_rates(GOLD, FOUND)
    assert {type_: (r.correct, r.found, r.wanted) for type_, r in rates.items()} == {"X": (1, 2, 2), "Y": (1, 2, 1)}
    assert (rates["Y"].precision, rates["Y"].recall) == (0.5, 1)


def test_span_f1_is_that_of_seqeval_on_random_and_malformed_tags() -> None:
    draw = random.Random(0)
    tags = ["O", *"BIES", *(f"{letter}-{type_}" for letter in "BIES" for type_ in ("X", "Y", "X-Z"))]
    for _ in range(500):
        pool = draw.sample(tags, draw.randint(2, len(tags)))
        gold = [[draw.choice(pool) for _ in range(draw.randint(1, 9))] for _ in range(draw.randint(1, 4))]
        found = [[draw.choice(pool) if draw.random() < 0.5 else tag for tag in sentence] for sentence in gold]
        assert span_f1(gold, found) == pytest.approx(f1_score(gold, found, zero_division=0))


def test_span_f1_is_0_where_nothing_is_found_or_nothing_is_wanted() -> None:
    assert span_f1([["O"]], [["O"]]) == span_f1([["B-X"]], [["O"]]) == span_f1([["O"]], [["B-X"]]) == 0


def test_accuracy_and_macro_f1_count_labels() -> None:
    gold, found = list("aabbc"), list("aabcd")
    assert accuracy(gold, found) == 0.6
    assert macro_f1(gold, found) == pytest.approx((1 + 2 / 3 + 0 + 0) / 4)
    assert label_rates(gold, found)["b"].recall == 0.5
    assert confusions(gold, found) == [("b", "c", 1), ("c", "d", 1)]


def test_spearman_gives_equal_numbers_the_mean_of_their_ranks() -> None:
    assert spearman([1, 2, 2, 3], [10, 30, 30, 20]) == pytest.approx(1 / 3)  # by hand
    assert spearman([1, 2, 3], [5, 5, 5]) == 0


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_spearman_is_the_correlation_of_ranks(rows: list[tuple[int, int]]) -> None:
    def ranks(numbers: list[int]) -> list[float]:
        return [sum(other < n for other in numbers) + (sum(other == n for other in numbers) + 1) / 2 for n in numbers]

    first, second = [a for a, _ in rows], [b for _, b in rows]
    with np.errstate(invalid="ignore"):
        expected = float(np.nan_to_num(np.corrcoef(ranks(first), ranks(second))[0, 1]))
    assert spearman(first, second) == pytest.approx(expected, abs=1e-12)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=30))
def test_no_other_threshold_is_better(rows: list[tuple[int, bool]]) -> None:
    cosines, labels = np.array([c / 4 for c, _ in rows]), np.array([label for _, label in rows])
    threshold, accuracy = best_threshold(cosines, labels)
    assert accuracy == np.mean((cosines > threshold) == labels)
    assert accuracy == max(np.mean((cosines > other) == labels) for other in [-2, *(np.arange(-9, 10) / 8)])


def test_answers_have_to_be_as_many_as_questions() -> None:
    with pytest.raises(ShapeError, match="found 1 answers to 2 questions"):
        accuracy(["a", "b"], ["a"])
    with pytest.raises(ShapeError, match="found 3 answers to 2 questions"):
        span_f1([["O", "O"]], [["O", "O", "O"]])
    with pytest.raises(InputError, match="nothing to measure"):
        accuracy([], [])
