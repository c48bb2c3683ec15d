from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lowtide
import tiny
from lowtide.embeddings import Elmo
from lowtide.embeddings.one_hot import OneHot
from lowtide.embeddings.type_vectors import type_config
from lowtide.errors import ConfigError, InputError
from lowtide.tasks import (
    Classifier,
    ClassifierOptions,
    FitOptions,
    LayerOptions,
    Matcher,
    MatcherOptions,
    Tagger,
    TaggerOptions,
)
from lowtide.text.tokenize import make_tokenizer
from lowtide.text.vocabulary import SPECIALS, Vocabulary
from stand_ins import LABELS, SENTENCES, TAGS, WORDS, Rung

ONCE = FitOptions(epochs=1)


@pytest.fixture
def one_hot() -> OneHot:
    config = type_config("one_hot", make_tokenizer("words", language="en").config)
    return OneHot(config, Vocabulary([*SPECIALS, *WORDS], [1, 1, 0, *[5] * len(WORDS)]))


@pytest.fixture(scope="module")
def classifier(elmo: Elmo) -> Classifier:
    options = ClassifierOptions(reader="none")
    return Classifier(elmo, options, device="cpu").fit(SENTENCES, LABELS, options=ONCE)


class NoChecksum(Rung):
    checksum = None  # type: ignore[assignment]  # the mistake that is tested


def test_what_is_not_asked_for_all_is_no_embedding(saved_bytes: tiny.Saved) -> None:
    session = lowtide.load(saved_bytes.folder, stateful=True, device="cpu")
    for found in (session, NoChecksum(), Rung, "en"):
        with pytest.raises(InputError, match=r"found \w+, expected an embedding: .* opens one, unless stateful=True"):
            Tagger(found)  # type: ignore[arg-type]  # the mistake that is tested


def test_the_checksum_is_not_computed_to_look_for_it() -> None:
    class Slow(Rung):
        @property
        def checksum(self) -> str:
            raise AssertionError

    assert Tagger(Slow()).embeddings


def test_a_list_of_words_is_warned_of_and_a_list_of_texts_is_not(classifier: Classifier) -> None:
    with pytest.warns(UserWarning, match="3 texts of one token each"):
        assert len(classifier.predict(["the", "tide", "sat"])) == 3
    for texts in (["the", "tide"], ["the tide", "tide", "sat"], [["the"], ["tide"], ["sat"]]):
        assert len(classifier.predict(texts)) == len(texts)


def test_tokens_that_are_no_texts_are_refused(classifier: Classifier) -> None:
    bad: Any = [["the", 3]]
    with pytest.raises(InputError, match="found a list of int, expected a sentence"):
        classifier.predict(bad)
    with pytest.raises(InputError, match="found a list of int, expected a sentence"):
        Tagger(Rung()).fit(bad, [["O", "B-X"]])


def test_tokens_may_come_in_any_kind_of_list(classifier: Classifier) -> None:
    given: Any = [np.array(["the", "tide"]), ("the", "tide")]
    assert len(set(classifier.predict(given))) == 1


def test_without_examples_there_is_nothing_to_judge(classifier: Classifier) -> None:
    tagger = Tagger(Rung()).fit(SENTENCES, TAGS, options=ONCE)
    for evaluate in (tagger.evaluate, classifier.evaluate):
        with pytest.raises(InputError, match="found no example, expected some to judge by"):
            evaluate([], [])


@pytest.mark.parametrize(
    "layers", [LayerOptions("7"), LayerOptions(layer_norm="token"), LayerOptions(at_output=True), LayerOptions("top")]
)
def test_where_nothing_has_layers_whoever_chooses_some_is_warned(layers: LayerOptions, one_hot: OneHot) -> None:
    options = TaggerOptions(reader="none", layers=layers)
    with pytest.warns(UserWarning, match="embeddings of types have no layers"):
        Tagger(one_hot, options, device="cpu").fit(SENTENCES, TAGS, options=ONCE)


def test_options_of_one_objective_are_warned_of_with_another() -> None:
    pairs = [(sentence, sentence) for sentence in SENTENCES]
    for options in (MatcherOptions(same_label="wet"), MatcherOptions(margin=0.5)):
        with pytest.warns(UserWarning, match="are for the objective contrastive: with classify they do nothing"):
            Matcher(Rung(), options, device="cpu").fit(pairs, LABELS, options=ONCE)


def test_labels_and_scores_that_cannot_be_learned_are_named_with_their_file(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("1\tthe\ttide\n1\tsat\tout\n", encoding="utf-8")
    for objective, message in (
        ("classify", "all 2 examples have the label '1'"),
        ("cosine", "found 2 pairs, and not two different scores"),
    ):
        matcher = Matcher(Rung(), MatcherOptions(objective=objective))  # type: ignore[arg-type]  # one of them
        with pytest.raises(InputError, match=rf"t\.tsv: {message}"):
            matcher.fit_file(path)
    path.write_text("yes\tthe\ttide\nno\tsat\tout\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"t\.tsv: found the labels no, yes; expected two"):
        Matcher(Rung(), MatcherOptions(objective="contrastive")).fit_file(path)


@pytest.mark.parametrize("valid", [None, (SENTENCES[:1], [["Z", "Z", "Q"]])])
def test_a_fit_that_is_refused_leaves_the_task_as_it_was(valid: Any) -> None:
    tagger = Tagger(Rung(), TaggerOptions(reader="none"), device="cpu")
    tagger.fit(SENTENCES, TAGS, valid=(SENTENCES, TAGS), options=ONCE)
    before = (tagger.labels, tagger.scheme, tagger.scores, tagger.fit_options, tagger.predict(SENTENCES))
    tags = [["N"] * len(sentence) for sentence in SENTENCES] if valid is None else TAGS
    with pytest.raises(InputError):
        tagger.fit(SENTENCES, tags, valid=valid, options=FitOptions(epochs=2))
    assert (tagger.labels, tagger.scheme, tagger.scores, tagger.fit_options, tagger.predict(SENTENCES)) == before


def test_texts_may_come_one_after_the_other(classifier: Classifier) -> None:
    assert classifier.predict(iter(SENTENCES)) == classifier.predict(SENTENCES)  # type: ignore[arg-type]  # has no length
    learned = Classifier(Rung(), ClassifierOptions(reader="none"), device="cpu")
    learned.fit(iter(SENTENCES), iter(LABELS), options=ONCE)  # type: ignore[arg-type]  # has no length
    assert learned.num_train == len(SENTENCES)


def test_what_is_handed_in_instead_of_examples_is_named(classifier: Classifier) -> None:
    with pytest.raises(InputError, match=r"^texts\[1\]: found NoneType, expected a sentence"):
        classifier.evaluate([["the"], None], ["wet", "dry"])  # type: ignore[list-item]  # the mistake that is tested
    with pytest.raises(InputError, match=r"^found NoneType, expected a text, or a list"):
        classifier.predict(None)  # type: ignore[arg-type]  # the mistake that is tested
    with pytest.raises(ConfigError, match="options are dict, expected FitOptions"):
        Classifier(Rung()).fit(SENTENCES, LABELS, options={"epochs": 1})  # type: ignore[arg-type]  # the mistake that is tested
    with pytest.raises(InputError, match="found no example, expected some to judge by"):
        Classifier(Rung()).fit(SENTENCES, LABELS, valid=([], []))
