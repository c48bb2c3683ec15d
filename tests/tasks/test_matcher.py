from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lowtide.errors import InputError
from lowtide.tasks import FitOptions, Matcher, MatcherOptions
from lowtide.tasks.matcher import Answer, Pair
from lowtide.tasks.metrics import best_threshold
from lowtide.tasks.task import Task
from stand_ins import WORDS, Rung

SAME: list[Pair] = [([word], [word]) for word in WORDS]
OTHER: list[Pair] = [([word], [WORDS[number - 2]]) for number, word in enumerate(WORDS)]
PAIRS = SAME + OTHER
LABELS: Sequence[Answer] = ["1"] * 6 + ["0"] * 6
QUICK = FitOptions(epochs=40, patience=40, batch_size=4, learning_rate=0.02)


def matcher_of(**options: object) -> Matcher:
    return Matcher(Rung(), MatcherOptions(reader="none", pool="mean", state_width=12, dropout=0.0, **options))  # type: ignore[arg-type]  # of MatcherOptions


@pytest.mark.parametrize("objective", ["classify", "contrastive"])
def test_labels_of_pairs_are_learned(objective: str) -> None:
    matcher = matcher_of(objective=objective).fit(PAIRS, LABELS, valid=(PAIRS, LABELS), options=QUICK)
    assert matcher.predict(PAIRS) == LABELS
    assert (matcher.scores["valid"].metric, matcher.scores["valid"].score) == ("accuracy", 1)


def test_scores_of_pairs_are_learned() -> None:
    scores: Sequence[Answer] = [5.0] * 6 + [1.0] * 6
    matcher = matcher_of(objective="cosine").fit(PAIRS, scores, valid=(PAIRS, scores), options=QUICK)
    found = [float(score) for score in matcher.predict(PAIRS)]
    assert min(found[:6]) > max(found[6:]) and found[0] == pytest.approx(5, abs=0.5)
    assert (matcher.scores["valid"].metric, matcher.lowest, matcher.highest) == ("Spearman", 1, 5)


def test_files_of_pairs_are_learned_from_and_judged(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    row = '{{"label": "{}", "sentence1": ["{}"], "sentence2": ["{}"]}}\n'
    rows = [row.format(label, a[0], b[0]) for label, (a, b) in zip(LABELS, PAIRS, strict=True)]
    path.write_text("".join(rows), encoding="utf-8")
    matcher = matcher_of().fit_file(path, valid=path, options=FitOptions(epochs=1))
    assert matcher.evaluate_file(path).num_examples == 12


def test_pairs_that_cannot_be_learned_from_are_refused() -> None:
    with pytest.raises(InputError, match="found 12 pairs and 1 answers"):
        matcher_of().fit(PAIRS, ["1"])
    with pytest.raises(InputError, match="not two different scores"):
        matcher_of(objective="cosine").fit(PAIRS, [1.0] * 12)
    with pytest.raises(InputError, match="expected two, of which 'same' is that of texts that belong together"):
        matcher_of(objective="contrastive", same_label="same").fit(PAIRS, LABELS)
    with pytest.raises(InputError, match=r"pairs\[0\]: found list of 1, expected a pair of texts"):
        matcher_of().fit([["a"]], ["1"])  # type: ignore[list-item]  # the mistake that is tested


def test_what_is_no_pair_or_no_score_is_refused() -> None:
    matcher = matcher_of().fit(PAIRS, LABELS, options=FitOptions(epochs=1))
    for pair in ((["the"],), (["the"], ["tide"], ["sat"]), "ab"):
        with pytest.raises(InputError, match="expected a pair of texts"):
            matcher.predict([pair])  # type: ignore[list-item]  # that is the mistake
    for score in ("high", float("nan"), float("inf"), None, 10**400):
        with pytest.raises(InputError, match=r"pairs\[0\]: found .*, expected a score"):
            matcher_of(objective="cosine").fit(PAIRS, [score, *[1.0] * 11])  # type: ignore[list-item]  # of None
    with pytest.raises(InputError, match=r"pairs\[11\]: found NoneType, expected a label"):
        matcher_of().fit(PAIRS, [*LABELS[:-1], None])  # type: ignore[list-item]  # that is the mistake


@pytest.mark.parametrize(("same", "other", "same_label"), [(1, 0, "1"), (1.0, 0.0, "1"), (True, False, "true")])
def test_texts_that_belong_together_may_be_told_by_a_number_or_a_truth_value(
    same: float, other: float, same_label: str
) -> None:
    matcher = matcher_of(objective="contrastive", same_label=same_label)
    matcher.fit(PAIRS, [same] * 6 + [other] * 6, options=FitOptions(epochs=1))
    assert same_label in matcher.labels and len(matcher.labels) == 2
    with pytest.raises(
        InputError, match=f"pairs: found the labels {', '.join(matcher.labels)}; expected two, .* 'yes'"
    ):
        matcher_of(objective="contrastive", same_label="yes").fit(PAIRS, [same] * 6 + [other] * 6)


def test_probabilities_of_labels_go_with_the_answers() -> None:
    matcher = matcher_of().fit(PAIRS, LABELS, valid=(PAIRS, LABELS), options=QUICK)
    found = matcher.probabilities(PAIRS)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert [matcher.labels[number] for number in found.argmax(axis=1)] == matcher.predict(PAIRS)
    assert matcher.probabilities([]).shape == (0, 2)
    with pytest.raises(InputError, match="ask for probabilities"):
        matcher.similarities(PAIRS)


def test_similarities_are_the_cosines_that_answers_are_made_of() -> None:
    scores: Sequence[Answer] = [5.0] * 6 + [1.0] * 6
    matcher = matcher_of(objective="cosine").fit(PAIRS, scores, options=FitOptions(epochs=1))
    found = matcher.similarities(PAIRS)
    assert found.shape == (12,) and np.abs(found).max() <= 1 + 1e-6
    np.testing.assert_allclose(1 + 4 * found, [float(score) for score in matcher.predict(PAIRS)], rtol=1e-5)
    near = matcher_of(objective="contrastive").fit(PAIRS, LABELS, options=FitOptions(epochs=1))
    assert [label == "1" for label in near.predict(PAIRS)] == (near.similarities(PAIRS) > near.threshold).tolist()
    with pytest.raises(InputError, match="ask for similarities"):
        near.probabilities(PAIRS)


@pytest.mark.parametrize("count", [1, 2])
def test_validation_scores_that_order_nothing_are_refused_before_anything_is_learned(count: int) -> None:
    matcher = matcher_of(objective="cosine")
    scores: Sequence[Answer] = [5.0] * 6 + [1.0] * 6
    with pytest.raises(InputError, match=f"valid: found {count} pairs, and not two different scores"):
        matcher.fit(PAIRS, scores, valid=(PAIRS[:count], scores[:count]), options=QUICK)
    assert isinstance(matcher.embeddings[0], Rung) and matcher.embeddings[0].num_calls == 0


def test_the_threshold_is_that_of_the_last_fit() -> None:
    matcher = matcher_of(objective="contrastive")
    first = matcher.threshold
    matcher.fit(PAIRS, LABELS, valid=(PAIRS, LABELS), options=QUICK)
    assert matcher.threshold != first  # settled on the validation pairs
    matcher.fit(PAIRS, LABELS, options=FitOptions(epochs=1))
    assert matcher.threshold == first


def test_the_threshold_is_that_of_the_state_that_is_kept() -> None:
    matcher = matcher_of(objective="contrastive").fit(PAIRS, LABELS, valid=(PAIRS, LABELS), options=QUICK)
    assert matcher.history.best_epoch < matcher.history.num_epochs
    cosines = [float(cosine) for cosine in Task._predict_iter(matcher, (text for pair in PAIRS for text in pair))]
    assert matcher.threshold == best_threshold(cosines, [label == "1" for label in LABELS])[0]


def test_every_pair_is_answered_with_its_own_probabilities() -> None:
    matcher = matcher_of().fit(PAIRS, LABELS, options=QUICK)
    answers = list(matcher.predict_with_probabilities(PAIRS[:3]))
    assert [label for label, _ in answers] == matcher.predict(PAIRS[:3])
    np.testing.assert_array_equal([found for _, found in answers], matcher.probabilities(PAIRS[:3]))


def test_a_number_that_names_the_same_label_is_meant_as_one() -> None:
    matcher = matcher_of(objective="contrastive", same_label=1).fit(PAIRS, LABELS, options=QUICK)
    assert matcher.predict(SAME[:1]) == ["1"]


def test_what_is_no_pair_is_named() -> None:
    for pair, found in ((3.0, "float"), (["a"], "list of 1"), ("ab", "str of 2")):
        with pytest.raises(InputError, match=rf"^pairs\[0\]: found {found}, expected a pair of texts$"):
            matcher_of().fit([pair], ["1"])  # type: ignore[list-item]  # the mistake that is tested
