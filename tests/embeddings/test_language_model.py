from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import tiny
from lowtide.embeddings import Elmo, LanguageModel
from lowtide.embeddings import language_model as module
from lowtide.embeddings.language_model import unigram_perplexity
from lowtide.errors import InputError, ModelError
from lowtide.text.vocabulary import Vocabulary
from lowtide.weights.native import SOFTMAX
from model import reference

SENTENCE = ["the", "tide", "goes", "Timbuktu", "潮水"]
"""Of six positions and a type that is not known."""
SENTENCES = [SENTENCE, ["out", "."], [], ["the"] * 9]


def reference_probabilities(saved: tiny.Saved, sentence: list[str]) -> tuple[reference.Array, reference.Array]:
    """(n + 1, V) each: of w1 ... ``</S>`` by the forward model, of ``<S>`` ... wn by the backward one."""
    top = reference.run_sentence(tiny.published(saved.bilm), sentence)[-1]
    forward, backward = np.split(top, 2, axis=-1)
    weight, bias = (parameter.detach().double().numpy() for parameter in (saved.softmax.weight, saved.softmax.bias))
    return reference.probabilities(forward[:-1], weight, bias), reference.probabilities(backward[1:], weight, bias)


# -- guesses -------------------------------------------------------------------------------------


def test_guesses_stand_at_every_position_with_the_boundaries(language_model: LanguageModel) -> None:
    assert [place.token for place in language_model.guesses([SENTENCE])[0]] == ["<S>", *SENTENCE, "</S>"]


def test_every_sentence_has_its_guesses_in_order(language_model: LanguageModel) -> None:
    assert [len(places) - 2 for places in language_model.guesses(SENTENCES)] == [len(s) for s in SENTENCES]


def test_only_the_backward_model_guesses_the_start(language_model: LanguageModel) -> None:
    places = language_model.guesses([SENTENCE])[0]
    assert not places[0].from_left and all(place.from_left for place in places[1:])


def test_only_the_forward_model_guesses_the_end(language_model: LanguageModel) -> None:
    places = language_model.guesses([SENTENCE])[0]
    assert not places[-1].from_right and all(place.from_right for place in places[:-1])


def test_guesses_agree_with_the_reference(language_model: LanguageModel, saved_bytes: tiny.Saved) -> None:
    places = language_model.guesses([SENTENCE], top=100)[0]
    from_left, from_right = reference_probabilities(saved_bytes, SENTENCE)
    types = saved_bytes.vocabulary
    for expected, guesses in zip(
        [*from_left, *from_right], [p.from_left for p in places[1:]] + [p.from_right for p in places[:-1]], strict=True
    ):
        found = np.zeros(len(types))
        for guess in guesses:
            found[types.index(guess.type)] = guess.probability
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_all_guesses_of_a_place_sum_to_1(language_model: LanguageModel) -> None:
    for place in language_model.guesses([SENTENCE], top=100)[0]:
        for guesses in filter(None, (place.from_left, place.from_right)):
            assert math.isclose(sum(guess.probability for guess in guesses), 1.0, rel_tol=1e-5)


def test_the_likeliest_guess_comes_first(language_model: LanguageModel) -> None:
    for place in language_model.guesses([SENTENCE], top=100)[0]:
        for guesses in (place.from_left, place.from_right):
            probabilities = [guess.probability for guess in guesses]
            assert probabilities == sorted(probabilities, reverse=True)


def test_fewer_guesses_are_the_first_of_more(language_model: LanguageModel) -> None:
    few, many = (language_model.guesses([SENTENCE], top=top)[0] for top in (2, 5))
    assert [place.from_left for place in few] == [place.from_left[:2] for place in many]


@pytest.mark.parametrize(("top", "number"), [(1, 1), (3, 3), (1000, 13)])
def test_as_many_guesses_come_as_asked_for_up_to_the_vocabulary(
    language_model: LanguageModel, top: int, number: int
) -> None:
    assert len(language_model.guesses([SENTENCE], top=top)[0][1].from_left) == number


@pytest.mark.parametrize("top", [0, -1])
def test_no_guesses_are_refused(language_model: LanguageModel, top: int) -> None:
    with pytest.raises(InputError, match=f"top is {top}, expected at least 1"):
        language_model.guesses([SENTENCE], top=top)


def test_a_token_is_marked_if_its_type_is_not_known(language_model: LanguageModel) -> None:
    known = [place.is_known for place in language_model.guesses([SENTENCE])[0]]
    assert known == [True, True, True, True, False, True, True]


def test_one_text_is_a_list_of_one(language_model: LanguageModel) -> None:
    assert language_model.guesses("the tide") == language_model.guesses([["the", "tide"]])


def test_an_empty_sentence_has_guesses_for_its_boundaries(language_model: LanguageModel) -> None:
    start, end = language_model.guesses([[]])[0]
    assert start.from_right and end.from_left


def test_what_stands_right_of_a_token_does_not_change_the_guess_from_the_left(language_model: LanguageModel) -> None:
    one, other = language_model.guesses([["the", "tide", "out"], ["the", "tide", "潮水"]])
    assert [guess.type for guess in one[3].from_left] == [guess.type for guess in other[3].from_left]
    np.testing.assert_allclose(
        [guess.probability for guess in one[3].from_left],
        [guess.probability for guess in other[3].from_left],
        atol=1e-6,
    )


# -- perplexity ----------------------------------------------------------------------------------


def test_perplexity_agrees_with_the_reference(language_model: LanguageModel, saved_bytes: tiny.Saved) -> None:
    nats: list[list[float]] = [[], []]
    for sentence in SENTENCES:
        targets = saved_bytes.vocabulary.indices(["<S>", *sentence, "</S>"])
        sides = zip(nats, reference_probabilities(saved_bytes, sentence), (targets[1:], targets[:-1]), strict=True)
        for direction, probabilities, expected in sides:
            direction += list(-np.log(probabilities[range(len(expected)), expected]))
    found = language_model.perplexity(SENTENCES)
    np.testing.assert_allclose([found.forward, found.backward], np.exp(np.mean(nats, axis=1)), rtol=1e-5)


def test_every_token_and_one_boundary_a_sentence_are_targets(language_model: LanguageModel) -> None:
    found = language_model.perplexity(SENTENCES)
    assert (found.num_tokens, found.num_targets) == (16, 20)


def test_unknown_tokens_are_counted(language_model: LanguageModel) -> None:
    assert language_model.perplexity([SENTENCE, ["Ulan", "Bator", "the"]]).unknown_rate == 3 / 8


def test_sentences_without_tokens_have_a_perplexity(language_model: LanguageModel) -> None:
    found = language_model.perplexity([[]])
    assert found.num_targets == 1 and found.unknown_rate == 0 and found.forward > 1


def test_the_mean_is_that_of_both_directions(language_model: LanguageModel) -> None:
    found = language_model.perplexity([SENTENCE])
    assert found.mean == (found.forward + found.backward) / 2


@pytest.mark.parametrize(("max_positions", "max_logits"), [(1, 1), (20, 30), (4096, 1 << 24)])
def test_how_much_is_computed_at_once_changes_no_perplexity(
    language_model: LanguageModel, max_positions: int, max_logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = language_model.perplexity(SENTENCES)
    monkeypatch.setattr(module, "MAX_POSITIONS", max_positions)
    monkeypatch.setattr(module, "MAX_LOGITS", max_logits)
    found = language_model.perplexity(SENTENCES)
    np.testing.assert_allclose([found.forward, found.backward], [expected.forward, expected.backward], rtol=1e-5)


def test_the_order_of_sentences_changes_no_perplexity(language_model: LanguageModel) -> None:
    one, other = language_model.perplexity(SENTENCES), language_model.perplexity(SENTENCES[::-1])
    assert math.isclose(one.forward, other.forward, rel_tol=1e-5)


def test_the_perplexity_of_nothing_is_refused(language_model: LanguageModel) -> None:
    with pytest.raises(InputError, match="at least one sentence"):
        language_model.perplexity([])


def test_a_model_without_a_softmax_says_so(copied_bytes: Path) -> None:
    (copied_bytes / SOFTMAX).unlink()
    with pytest.raises(ModelError, match=r"softmax\.safetensors"):
        Elmo.open(copied_bytes, device="cpu").language_model()


# -- the unigram model ---------------------------------------------------------------------------


def test_the_unigram_model_is_reckoned_by_hand() -> None:
    vocabulary = Vocabulary(["<S>", "</S>", "<UNK>", "the", "tide"], [2, 2, 1, 4, 1])
    # one more of each and no <S>: </S> 3, <UNK> 2, the 5, tide 2 of 12
    expected = (5 / 12 * 2 / 12 * 3 / 12 * 2 / 12 * 3 / 12) ** (-1 / 5)
    assert math.isclose(unigram_perplexity(vocabulary, [[["the", "tide"], ["Timbuktu"]]]), expected)


def test_the_unigram_model_needs_a_sentence() -> None:
    with pytest.raises(InputError, match="at least one sentence"):
        unigram_perplexity(Vocabulary(["<S>", "</S>", "<UNK>"], [1, 1, 1]), [])
