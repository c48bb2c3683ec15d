from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import many_langs
import tiny
from lowtide.embeddings import Elmo, Embedder, Encodes, engine
from lowtide.embeddings.base import Vectors
from lowtide.embeddings.device import pick_device
from lowtide.embeddings.loading import read
from lowtide.errors import InputError, ShapeError
from lowtide.model import LayerMix
from lowtide.weights.native import CONFIG
from model import reference

TEXT = "The tide goes out."
TOKENS = ["The", "tide", "goes", "out", "."]
SENTENCES = [TOKENS, ["潮水", "退了"], [], ["the", "bank", "the", "bank"], ["tide"]]


def trained_mix() -> LayerMix:
    mix = LayerMix(3)
    with torch.no_grad():
        mix.layer_scalars.copy_(torch.tensor([0.0, 1.0, -2.0]))
        mix.gamma.fill_(1.5)
    return mix


def assert_near(found: list[Vectors], expected: list[Vectors]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


# -- what goes in, what comes out ----------------------------------------------------------------


def test_one_text_gives_one_array(elmo: Elmo) -> None:
    assert elmo.embed(TEXT).shape == (5, 10)


def test_one_text_gives_what_a_list_of_it_gives(elmo: Elmo) -> None:
    assert elmo.embed(TEXT).tobytes() == elmo.embed([TEXT])[0].tobytes()


def test_a_list_gives_an_array_a_sentence_in_order(elmo: Elmo) -> None:
    assert_near(elmo.embed(SENTENCES), [elmo.embed([sentence])[0] for sentence in SENTENCES])


def test_texts_and_tokens_may_be_mixed(elmo: Elmo) -> None:
    text, tokens = elmo.embed([TEXT, TOKENS])
    np.testing.assert_allclose(text, tokens, rtol=0, atol=1e-6)


def test_tokens_are_taken_as_they_are(elmo: Elmo) -> None:
    assert [len(vectors) for vectors in elmo.embed([["The tide", "goes out."], ["don't"]])] == [2, 1]


def test_no_sentences_give_no_arrays(elmo: Elmo) -> None:
    assert elmo.embed([]) == [] and elmo.embed_layers([]) == [] and elmo.tokenize([]) == []


@pytest.mark.parametrize("sentence", [[], "", "  \n"])
def test_an_empty_sentence_gives_no_rows(elmo: Elmo, sentence: str | list[str]) -> None:
    assert elmo.embed([sentence])[0].shape == (0, 10) and elmo.embed_layers([sentence])[0].shape == (3, 0, 10)


def test_a_sentence_that_comes_twice_gets_the_same_vectors_twice(elmo: Elmo) -> None:
    first, _, second = elmo.embed([TOKENS, ["tide"], TOKENS])
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-6)


def test_vectors_are_float32_and_belong_to_the_caller(elmo: Elmo) -> None:
    vectors = elmo.embed(TEXT)
    assert vectors.dtype == np.float32 and vectors.flags.owndata and vectors.flags.writeable


def test_a_token_has_another_vector_in_another_sentence(elmo: Elmo) -> None:
    first, second = elmo.embed([["the", "bank"], ["river", "bank"]])
    assert np.abs(first[1] - second[1]).max() > 1e-3


def test_layer_0_knows_no_context(elmo: Elmo) -> None:
    first, second = elmo.embed([["the", "bank"], ["river", "bank"]], layers=0)
    np.testing.assert_allclose(first[1], second[1], rtol=0, atol=1e-6)


def test_vectors_agree_with_the_reference(elmo: Elmo, saved_bytes: tiny.Saved) -> None:
    model = tiny.published(saved_bytes.bilm)
    expected = [reference.run_sentence(model, sentence)[:, 1:-1] for sentence in SENTENCES]
    assert_near(elmo.embed_layers(SENTENCES), [layers.astype(np.float32) for layers in expected])


def test_symbols_agree_with_the_reference(elmo_of_symbols: Elmo, saved_symbols: tiny.Saved) -> None:
    model, sentence = tiny.published(saved_symbols.bilm), ["C", "A", "?", "H"]
    indices = saved_symbols.vocabulary.indices(["<S>", *sentence, "</S>"])
    expected = reference.run_row(model, model.arrays["embedding"][indices])[:, 1:-1]
    np.testing.assert_allclose(elmo_of_symbols.embed_layers([sentence])[0], expected, rtol=0, atol=1e-5)


def test_two_calls_give_the_same_bytes(elmo: Elmo) -> None:
    first, second = (elmo.embed_layers(SENTENCES) for _ in range(2))
    assert [vectors.tobytes() for vectors in first] == [vectors.tobytes() for vectors in second]


def test_a_folder_opened_twice_gives_the_same_bytes(elmo: Elmo) -> None:
    again = Elmo.open(elmo.stored.path, device="cpu").embed_layers(SENTENCES)
    assert [v.tobytes() for v in again] == [v.tobytes() for v in elmo.embed_layers(SENTENCES)]


@settings(max_examples=15, deadline=None)
@given(
    sentences=st.lists(st.lists(st.text(max_size=5), max_size=5), min_size=1, max_size=4),
    company=st.lists(st.lists(st.sampled_from(["tide", "潮水", "x" * 20]), max_size=9), max_size=3),
)
def test_company_changes_no_vector(elmo: Elmo, sentences: list[list[str]], company: list[list[str]]) -> None:
    assert_near(elmo.embed(sentences + company)[: len(sentences)], elmo.embed(sentences))


# -- what is refused -----------------------------------------------------------------------------

CALLS: dict[str, Callable[[Elmo, Any], Any]] = {
    "embed": lambda elmo, texts: elmo.embed(texts),
    "embed_layers": lambda elmo, texts: elmo.embed_layers(texts),
    "encode": lambda elmo, texts: elmo.encode(texts),
    "tokenize": lambda elmo, texts: elmo.tokenize(texts),
    "guesses": lambda elmo, texts: elmo.language_model().guesses(texts),
    "perplexity": lambda elmo, texts: elmo.language_model().perplexity(texts),
}
CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@CALL
def test_texts_of_one_token_each_warn_where_they_were_handed_in(elmo: Elmo, call: Callable[[Elmo, Any], Any]) -> None:
    with pytest.warns(UserWarning, match=r'goes in as \[\["The", "cat"\]\]') as warned:
        call(elmo, ["The", "cat", "sat"])
    assert [Path(warning.filename).name for warning in warned] == [Path(__file__).name]


@CALL
@pytest.mark.parametrize("tokens", [["tide", 7], ["tide", None], ["tide", ["out"]], 7])
def test_what_is_no_sentence_is_refused_with_its_type(
    elmo: Elmo, call: Callable[[Elmo, Any], Any], tokens: Any
) -> None:
    name = type(tokens[1] if isinstance(tokens, list) else tokens).__name__
    with pytest.raises(InputError, match=f"found .*{name}, expected a sentence"):
        call(elmo, [["the"], tokens])


def test_all_layers_are_refused_where_one_vector_a_token_is_promised(elmo: Elmo) -> None:
    with pytest.raises(InputError, match=r"use embed_layers\(sentences\)"):
        elmo.embed(TEXT, layers="all")


def test_a_layer_that_is_not_there_is_refused(elmo: Elmo) -> None:
    with pytest.raises(InputError, match="the model has layers 0 to 2"):
        elmo.embed(TEXT, layers=3)


def test_a_mix_of_another_model_is_refused(elmo: Elmo) -> None:
    with pytest.raises(ShapeError, match="found 3 layers, this mix is of 4"):
        elmo.embed(TEXT, mix=LayerMix(4))


# -- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "of_layers"),
    [
        ("mix", lambda layers: layers.mean(axis=0)),
        ("average", lambda layers: layers.mean(axis=0)),
        ("sum", lambda layers: layers.sum(axis=0)),
        ("top", lambda layers: layers[-1]),
        (0, lambda layers: layers[0]),
        (1, lambda layers: layers[1]),
        ("2", lambda layers: layers[2]),
    ],
)
def test_a_choice_of_layers_agrees_with_all_layers(
    elmo: Elmo, choice: str | int, of_layers: Callable[[Vectors], Vectors]
) -> None:
    expected = [of_layers(layers) for layers in elmo.embed_layers(SENTENCES)]
    assert_near(elmo.embed(SENTENCES, layers=choice), expected)


def test_a_trained_mix_weighs_the_layers(elmo: Elmo) -> None:
    layers = elmo.embed_layers(TEXT)
    expected = reference.mix(layers.astype(np.float64), np.array([0.0, 1.0, -2.0]), 1.5)
    np.testing.assert_allclose(elmo.embed(TEXT, mix=trained_mix()), expected, rtol=0, atol=1e-5)


def test_layer_0_is_the_token_vector_twice(elmo: Elmo) -> None:
    vectors = elmo.embed(TEXT, layers=0)
    assert np.array_equal(vectors[:, :5], vectors[:, 5:])


# -- one vector a sentence, one vector a word ----------------------------------------------------


@pytest.mark.parametrize(("pool", "of"), [("mean", np.mean), ("max", np.max)])
def test_a_sentence_is_pooled_over_its_own_tokens(elmo: Elmo, pool: str, of: Callable[..., Vectors]) -> None:
    sentences = [sentence for sentence in SENTENCES if sentence]
    expected = [of(vectors, axis=0) for vectors in elmo.embed(sentences)]
    np.testing.assert_allclose(elmo.encode(sentences, pool=pool), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_an_empty_sentence_is_encoded_as_zeros(elmo: Elmo, pool: str) -> None:
    encoded = elmo.encode([[], TOKENS], pool=pool)
    assert not encoded[0].any() and encoded[1].any()


def test_one_text_is_encoded_as_one_vector(elmo: Elmo) -> None:
    assert elmo.encode(TEXT).shape == (10,) and elmo.encode([TEXT]).shape == (1, 10)


def test_no_sentences_are_encoded_as_no_rows(elmo: Elmo) -> None:
    assert elmo.encode([]).shape == (0, 10)


def test_encoding_takes_the_same_choice_of_layers(elmo: Elmo) -> None:
    np.testing.assert_allclose(elmo.encode(TEXT, layers="top"), elmo.embed(TEXT, layers="top").mean(axis=0), atol=1e-6)


def test_an_unknown_pooling_is_refused(elmo: Elmo) -> None:
    with pytest.raises(InputError, match="expected mean or max"):
        elmo.encode(TEXT, pool="median")


def test_a_marked_word_has_the_vector_of_its_token(elmo: Elmo) -> None:
    expected = elmo.embed("He sat on the bank of the river.")[4]
    np.testing.assert_allclose(elmo.embed_word("He sat on the [bank] of the river."), expected, rtol=0, atol=1e-6)


def test_a_marked_token_of_a_list_has_its_vector(elmo: Elmo) -> None:
    expected = elmo.embed([["潮水", "退了"]])[0][1]
    np.testing.assert_allclose(elmo.embed_word(["潮水", "[退了]"]), expected, rtol=0, atol=1e-6)


def test_several_marked_tokens_have_the_mean_of_their_vectors(elmo: Elmo) -> None:
    expected = elmo.embed("He sat on the bank.")[2:5].mean(axis=0)
    np.testing.assert_allclose(elmo.embed_word("He sat [on the bank]."), expected, rtol=0, atol=1e-6)


def test_a_marked_word_has_a_vector_in_every_layer(elmo: Elmo) -> None:
    expected = elmo.embed_layers("He sat on the bank.")[:, 4]
    np.testing.assert_allclose(elmo.embed_word("He sat on the [bank].", layers="all"), expected, rtol=0, atol=1e-6)


def test_no_marked_word_is_refused(elmo: Elmo) -> None:
    with pytest.raises(InputError, match=r"\[bank\]"):
        elmo.embed_word("He sat on the bank.")


# -- tokens --------------------------------------------------------------------------------------


def test_tokens_stand_behind_the_rows_of_vectors(elmo: Elmo) -> None:
    texts = ["The tide goes out.", ["潮水", "退了"], "", "Don't go!"]
    assert [len(tokens) for tokens in elmo.tokenize(texts)] == [len(vectors) for vectors in elmo.embed(texts)]


def test_one_text_gives_one_list_of_tokens(elmo: Elmo) -> None:
    assert elmo.tokenize(TEXT) == TOKENS


def test_offsets_point_into_the_text(elmo: Elmo) -> None:
    assert [TEXT[token.start : token.end] for token in elmo.tokenize_with_offsets(TEXT)] == TOKENS


def test_the_model_knows_the_types_of_its_vocabulary(elmo: Elmo) -> None:
    assert elmo.knows("潮水") and elmo.knows("tide") and not elmo.knows("Tide")


# -- a stream ------------------------------------------------------------------------------------


def test_a_stream_gives_what_a_list_gives(elmo: Elmo) -> None:
    assert_near(list(elmo.embed_iter(iter(SENTENCES))), elmo.embed(SENTENCES))


def test_a_stream_reads_nothing_before_it_is_asked(elmo: Elmo) -> None:
    read: list[int] = []

    def source() -> Iterator[list[str]]:
        read.append(1)
        yield ["tide"]

    stream = elmo.embed_iter(source())
    assert not read
    assert len(list(stream)) == len(read)


def test_an_endless_stream_can_be_read(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WINDOW_POSITIONS", 20)
    stream = elmo.embed_iter(itertools.repeat(["tide"]))
    assert [next(stream).shape for _ in range(30)] == [(1, 10)] * 30


def test_a_stream_cuts_texts(elmo: Elmo) -> None:
    assert_near(list(elmo.embed_iter([TEXT, TOKENS])), elmo.embed([TEXT, TOKENS]))


def test_one_text_is_a_stream_of_one(elmo: Elmo) -> None:
    assert_near(list(elmo.embed_iter(TEXT)), [elmo.embed(TEXT)])


def test_a_stream_refuses_an_unknown_choice_at_once(elmo: Elmo) -> None:
    with pytest.raises(InputError, match="unknown choice of layers"):
        elmo.embed_iter(SENTENCES, layers="tops")


# -- the door ------------------------------------------------------------------------------------


def test_elmo_is_an_embedding_that_can_be_trained_further(elmo: Elmo) -> None:
    assert isinstance(elmo, Embedder) and isinstance(elmo, Encodes)


def test_sizes_are_those_of_the_vectors(elmo: Elmo) -> None:
    layers = elmo.embed_layers(TEXT)
    assert (elmo.num_layers, elmo.width) == (layers.shape[0], layers.shape[2])


def test_the_encoder_gives_the_vectors_with_gradients(elmo: Elmo) -> None:
    states = elmo.encoder()([TOKENS])
    assert states.layers.requires_grad
    np.testing.assert_allclose(states.layers[:, 0].detach(), elmo.embed_layers([TOKENS])[0], rtol=0, atol=1e-6)


def test_the_same_model_elsewhere_has_the_same_checksum(elmo: Elmo, copied_bytes: Path) -> None:
    assert Elmo.open(copied_bytes, device="cpu").checksum == elmo.checksum


def test_another_tokenizer_makes_another_checksum(elmo: Elmo, copied_bytes: Path) -> None:
    config = json.loads((copied_bytes / CONFIG).read_text(encoding="utf-8"))
    config["tokenizer"]["name"] = "characters"
    (copied_bytes / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    assert Elmo.open(copied_bytes, device="cpu").checksum != elmo.checksum


def test_other_weights_have_another_checksum(elmo: Elmo, tmp_path: Path) -> None:
    other = tiny.save(tmp_path / "other", seed=9)
    assert Elmo.open(other.folder, device="cpu").checksum != elmo.checksum


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"the device '{name}' cannot be used here"):
        pick_device(name)


def test_a_device_is_found_where_none_is_named() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


# -- what stands around a token ------------------------------------------------------------------


def test_a_context_is_the_state_before_a_token_and_the_state_after_it(elmo: Elmo, saved_bytes: tiny.Saved) -> None:
    model, half = tiny.published(saved_bytes.bilm), elmo.width // 2
    for sentence, found in zip(SENTENCES, elmo.embed(SENTENCES, layers="context"), strict=True):
        top = reference.run_sentence(model, sentence)[-1]  # <S> and </S> among its positions
        expected = np.concatenate([top[:-2, :half], top[2:, half:]], axis=1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_context_does_not_know_its_token(elmo: Elmo) -> None:
    one, other = elmo.embed([["the", "tide", "goes"], ["the", "bank", "goes"]], layers="context")
    np.testing.assert_allclose(one[1], other[1], rtol=0, atol=1e-6)
    assert np.abs(one[0] - other[0]).max() > 1e-3 and np.abs(one[2] - other[2]).max() > 1e-3


def test_a_context_in_a_document_reaches_over_the_end_of_a_sentence(elmo: Elmo) -> None:
    [[_, alone]], [[_, other]] = (
        elmo.embed_documents([[[word], ["tide"]]], layers="context") for word in ("the", "bank")
    )
    half = elmo.width // 2
    assert np.abs(alone[:, :half] - other[:, :half]).max() > 1e-4
    np.testing.assert_allclose(alone[:, half:], other[:, half:], rtol=0, atol=1e-6)


def test_two_directions_that_meet_have_no_context(tmp_path: Path) -> None:
    many_langs.write(tmp_path, many_langs.Recipe(name="lstm"))
    elmo = Elmo(read(tmp_path), device="cpu")
    with pytest.raises(InputError, match="never meet"):
        elmo.embed([["a"]], layers="context")
