from __future__ import annotations

from pathlib import Path

import pytest

from lowtide.errors import InputError
from lowtide.tasks import Classifier, ClassifierOptions, FitOptions, Matcher
from lowtide.tasks.examples import Place
from lowtide.tasks.labels import refuse_texts_as_labels, require_labels
from stand_ins import Rung

PLACE = Place("t.tsv", [1])
TEXTS: list[str | list[str]] = [f"High tide number {number}." for number in range(24)]


def check(labels: list[str], texts: list[str | list[str]], *, warn: bool = False) -> None:
    refuse_texts_as_labels(labels, texts, PLACE, columns="text label", warn=warn)


def test_one_label_is_refused_with_the_file() -> None:
    with pytest.raises(InputError, match=r"^t\.tsv: all 7 examples have the label 'x': expected two"):
        require_labels(["x"], 7, PLACE)


def test_texts_in_the_place_of_labels_are_refused_without_showing_one() -> None:
    with pytest.raises(InputError, match=r"24 labels in 24 examples.* are the columns `text label`\?") as caught:
        check([str(text) for text in TEXTS], ["good", ["bad"]] * 12)
    assert "number" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        (["good", "bad"] * 12, TEXTS),
        ([f"a longer label {number // 2}" for number in range(24)], ["x"] * 24),  # each twice: a set of few examples
        ([f"topic {number}" for number in range(24)], TEXTS),  # one example each: too few, and yet labels
        ([str(text) for text in TEXTS[:19]], ["x"] * 19),  # too few to say
    ],
)
def test_what_may_be_labels_is_not_refused(labels: list[str], texts: list[str | list[str]]) -> None:
    check(labels, texts)


def test_labels_that_hardly_come_again_are_warned_of_where_they_are_learned() -> None:
    labels = [f"id{number}" for number in range(24)]
    with pytest.warns(UserWarning, match=r"t\.tsv: found 24 labels in 24 examples: what stands there once"):
        check(labels, TEXTS, warn=True)


def test_swapped_columns_of_texts_are_refused_wherever_they_come_from(tmp_path: Path) -> None:
    swapped, right = tmp_path / "swapped.tsv", tmp_path / "right.tsv"
    swapped.write_text("".join(f"{text}\tlabel{n % 2}\n" for n, text in enumerate(TEXTS)), encoding="utf-8")
    right.write_text("".join(f"label{n % 2}\t{text}\n" for n, text in enumerate(TEXTS)), encoding="utf-8")
    for train, valid in ((swapped, right), (right, swapped)):
        classifier = Classifier(Rung(), ClassifierOptions(reader="none"), device="cpu")
        examples = [classifier.read_examples(path) for path in (train, valid)]
        with pytest.raises(InputError, match=r"swapped\.tsv: found 24 labels"):
            classifier.check(*examples)


def test_swapped_columns_of_pairs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "swapped.tsv"
    path.write_text("".join(f"{text}\tThe tide.\t{n % 2}\n" for n, text in enumerate(TEXTS)), encoding="utf-8")
    with pytest.raises(InputError, match="are the columns `first second label`"):
        Matcher(Rung(), device="cpu").fit_file(path, options=FitOptions(epochs=1))
