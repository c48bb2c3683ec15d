from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from lowtide.embeddings import Elmo
from lowtide.errors import InputError
from lowtide.tasks import Classifier, ClassifierOptions, FitOptions
from stand_ins import LABELS, SENTENCES, Rung, write_labelled

DATA = (SENTENCES, LABELS)
QUICK = FitOptions(epochs=40, patience=40, batch_size=3, learning_rate=0.05)


@pytest.mark.parametrize(("reader", "pool"), [("none", "max"), ("lstm", "both")])
def test_labels_are_learned(reader: Literal["none", "lstm"], pool: Literal["max", "both"]) -> None:
    options = ClassifierOptions(reader=reader, pool=pool, dropout=0.0, state_width=6)
    classifier = Classifier(Rung(), options).fit(*DATA, valid=DATA, options=QUICK)
    assert (classifier.labels, classifier.predict(SENTENCES)) == (["dry", "wet"], LABELS)
    assert classifier.scores["valid"].score == 1
    probabilities = classifier.probabilities(SENTENCES)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert [classifier.labels[number] for number in probabilities.argmax(axis=1)] == LABELS


def test_an_empty_text_has_an_answer() -> None:
    classifier = Classifier(Rung()).fit(*DATA, options=FitOptions(epochs=1))
    assert classifier.predict([[]])[0] in ("dry", "wet")


def test_files_of_texts_are_learned_from_and_judged(elmo: Elmo, tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "t.tsv")
    classifier = Classifier(elmo, ClassifierOptions(reader="none"), device="cpu")
    classifier.fit_file(path, valid=path, options=FitOptions(epochs=1))
    assert classifier.evaluate_file(path).num_examples == 6 and len(classifier.worst) <= 6
    other = tmp_path / "other.tsv"
    other.write_text("dry\tthe bank\nodd\tthe tide\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"other\.tsv:2: the label 'odd' stands in no training example"):
        assert classifier.evaluate_file(other).by_label["odd"].recall == 0


def test_examples_that_cannot_be_learned_from_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 1 texts and 2 labels"):
        Classifier(Rung()).fit([["a"]], ["x", "y"])
    with pytest.raises(InputError, match="all 2 examples have the label 'x'"):
        Classifier(Rung()).fit([["a"], ["b"]], ["x", "x"])
    with pytest.raises(InputError, match=r"texts\[1\]: the sentence holds no token"):
        Classifier(Rung()).fit([["a"], []], ["x", "y"])


def test_truth_values_are_labels_as_json_has_them() -> None:
    labels = [label == "wet" for label in LABELS]
    classifier = Classifier(Rung()).fit(SENTENCES, labels, options=FitOptions(epochs=1))  # type: ignore[arg-type]  # no texts
    assert classifier.labels == ["false", "true"]


def test_a_label_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match=r"texts\[1\]: found NoneType, expected a label"):
        Classifier(Rung()).fit([["a"], ["b"]], ["x", None])  # type: ignore[list-item]  # that is the mistake
    with pytest.raises(InputError, match=r"valid\[0\]: found nan, expected a label"):
        Classifier(Rung()).fit(*DATA, valid=([["a"]], [float("nan")]))  # type: ignore[list-item]  # that is the mistake


def test_one_bare_text_is_a_list_of_one(elmo: Elmo) -> None:
    classifier = Classifier(elmo, device="cpu").fit(SENTENCES, LABELS, options=FitOptions(epochs=1))
    assert len(classifier.predict("the tide")) == len(classifier.probabilities("the tide")) == 1


def test_the_worst_is_what_was_wrong_and_held_for_surest() -> None:
    classifier = Classifier(Rung(), device="cpu").fit(*DATA, options=FitOptions(epochs=1))
    classifier.evaluate(SENTENCES, ["wet" if found == "dry" else "dry" for found in classifier.predict(SENTENCES)])
    sure = classifier.probabilities([example.text for example, _ in classifier.worst]).max(axis=1)
    assert len(sure) == len(SENTENCES) and (np.diff(sure) <= 0).all() and sure[0] > sure[-1]
