"""The baselines that our numbers stand beside."""

from __future__ import annotations

import lzma
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ngrams import END, START, UNKNOWN, KneserNey, unigram_perplexity

words = st.sampled_from("abcd")
corpora = st.lists(st.lists(words, max_size=6), min_size=1, max_size=12)

DATA = Path(__file__).parents[3] / "shared" / "data" / "lm" / "en"


@settings(derandomize=True, deadline=None, max_examples=60)
@given(corpora, st.lists(words, min_size=2, max_size=2), st.integers(1, 3))
def test_probabilities_sum_to_one_after_any_context(
    corpus: list[list[str]], context: Sequence[str], order: int
) -> None:
    model = KneserNey(corpus, order)
    for history in (context, [START, START], [START, context[0]], ["never", "seen"]):
        total = sum(model.probability(token, history[2 - (order - 1) :]) for token in model.vocabulary)
        assert math.isclose(total, 1.0, rel_tol=1e-9)


def test_a_bigram_model_is_reckoned_by_hand() -> None:
    # with so little text every discount is 1/2. Bigrams: <s>a 2, ab 1, b</s> 1, a</s> 1;
    # as continuations a has 1 context, b 1, </s> 2, of 4; the vocabulary is a, b, </s>, <unk>
    model = KneserNey([["a", "b"], ["a"]], order=2)
    unigram = (1 - 0.5) / 4 + 3 * 0.5 / 4 * (1 / 4)
    bigram = (1 - 0.5) / 2 + 2 * 0.5 / 2 * unigram
    assert math.isclose(model.probability("b", ["a"]), bigram)
    assert math.isclose(model.probability("b", ["never"]), unigram)


def test_what_is_unknown_is_scored_as_unknown() -> None:
    model = KneserNey([["a", "b"], ["a"]], order=2)
    assert model.probability("zebra", ["a"]) == model.probability(UNKNOWN, ["a"]) > 0


def test_the_unigram_model_is_reckoned_by_hand() -> None:
    found = unigram_perplexity([["a", "a", UNKNOWN], ["a"]], [["a", "z"]])
    assert math.isclose(found, ((3 / 6) * (1 / 6) * (2 / 6)) ** (-1 / 3))


@pytest.mark.shared
@pytest.mark.skipif(not DATA.is_dir(), reason="WikiText-2 is not here")
def test_wikitext_2_gives_the_known_figures() -> None:
    def sentences(split: str) -> list[list[str]]:
        with lzma.open(DATA / f"wikitext2.{split}.txt.xz", "rt", encoding="utf-8") as lines:
            return [line.split() for line in lines if line.strip()]

    train, test = sentences("train"), sentences("test")
    assert sum(len(sentence) + 1 for sentence in train) == 2_075_677
    assert round(unigram_perplexity(train, test)) == 926
    assert round(KneserNey(train).perplexity(test)) == 231
    assert END == "</s>"
