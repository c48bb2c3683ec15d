from __future__ import annotations

from typing import Any

import pytest

from lowtide.embeddings import Elmo
from lowtide.tasks import (
    Classifier,
    ClassifierOptions,
    FineTuning,
    FitOptions,
    LayerOptions,
    Matcher,
    MatcherOptions,
    Tagger,
    TaggerOptions,
)
from lowtide.tasks.card import write_card
from lowtide.tasks.task import Task
from stand_ins import LABELS, SENTENCES, TAGS, Rung

PAIRS = [(sentence, SENTENCES[0]) for sentence in SENTENCES]


def learned(kind: str) -> Task[Any, Any]:
    once = FitOptions(epochs=1)
    if kind == "tagger":
        options = TaggerOptions(reader="none", layers=LayerOptions(at_output=True))
        return Tagger(Rung(), options, device="cpu").fit(SENTENCES, TAGS, options=once)
    if kind == "classifier":
        return Classifier(Rung(), ClassifierOptions(pool="max"), device="cpu").fit(SENTENCES, LABELS, options=once)
    if kind == "cosine":
        matcher = Matcher(Rung(), MatcherOptions(objective="cosine"), device="cpu")
        return matcher.fit(PAIRS, [1.0, 2.0, 3.0, 4.0, 5.0, 1.0], options=once)
    options_ = MatcherOptions(objective="contrastive", same_label="wet", margin=0.5)
    return Matcher(Rung(), options_, device="cpu").fit(PAIRS, LABELS, options=once)


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("tagger", ["| tags | spans in IOB2 |", "lambda 0.001, at the input and at the output |"]),
        ("classifier", ["| pool | max |", "lambda 0.001, at the input |"]),
        ("cosine", ["| pool | both |", "| objective | cosine, scores 1 to 5 |"]),
        ("contrastive", ["| objective | contrastive, margin 0.5, `wet` above a cosine of 0.969 |"]),
    ],
)
def test_a_card_tells_what_its_kind_of_task_decided(kind: str, lines: list[str]) -> None:
    card = write_card(learned(kind), "it", has_picture=False)
    assert [line for line in lines if line not in card] == []


def test_a_card_tells_the_rates_of_fine_tuning(elmo: Elmo) -> None:
    options = FitOptions(epochs=1, fine_tuning=FineTuning(learning_rate=0.001, decay=3))
    tagger = Tagger(elmo, TaggerOptions(reader="none"), device="cpu").fit(SENTENCES, TAGS, options=options)
    told = "| fine-tuning | the top layer at 0.001, every lower one 3 times slower, one layer more in each epoch |"
    assert told in write_card(tagger, "it", has_picture=False)
    assert "fine-tuning" not in write_card(learned("classifier"), "it", has_picture=False)
