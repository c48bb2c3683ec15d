from __future__ import annotations

import numpy as np
import pytest

from lowtide.tasks.reports import Evaluation, judge_labels, judge_scores, judge_spans, judge_tags, surest_first

TAGS = [["O", "B-X"], ["B-X", "I-X"], ["O", "O"]]
FOUND = [["O", "O"], ["O", "O"], ["O", "O"]]


def test_the_worst_of_wrong_sentences_and_scores_come_first() -> None:
    assert judge_spans(TAGS, FOUND).wrong == judge_tags(TAGS, FOUND).wrong == [1, 0]
    assert judge_scores([1.0, 2.0, 3.0, 4.0], [1.5, 2.0, 0.0, 4.0]).wrong == [2, 0]


def test_wrong_labels_are_in_the_order_of_the_examples() -> None:
    assert judge_labels(["a", "b", "a"], ["b", "b", "b"]).wrong == [0, 2]


def test_measures_beside_the_first_one_are_those_of_their_name() -> None:
    spans = judge_spans([["B-X", "O", "B-X"]], [["B-X", "O", "O"]])
    assert spans.others == {"precision": 1.0, "recall": 0.5} and spans.score == pytest.approx(2 / 3)
    assert judge_spans(TAGS, FOUND).others == {"precision": 0.0, "recall": 0.0}
    labels = judge_labels(["a", "a", "a", "b"], ["a", "a", "a", "a"])
    assert labels.others == {"macro F1": pytest.approx((6 / 7 + 0) / 2)} and labels.score == 0.75
    assert judge_scores([1.0, 2.0, 3.0], [1.0, 3.0, 5.0]).others == {"mean squared error": pytest.approx(5 / 3)}


def test_an_evaluation_comes_back_from_json() -> None:
    for found in (judge_spans(TAGS, FOUND), judge_scores([1.0, 2.0], [3.0, 1.0])):
        back = Evaluation.from_json(found.as_json())
        assert back.as_json() == found.as_json() and back.others == found.others and back.others
        assert back.wrong == []


def test_labels_that_were_wrong_for_sure_are_shown_first() -> None:
    probabilities = [np.array(of, np.float32) for of in ([0.6, 0.4], [0.1, 0.9], [0.7, 0.3])]
    assert surest_first([3, 5, 8], iter(probabilities)) == [5, 8, 3]
