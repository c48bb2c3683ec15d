from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lowtide.embeddings import load
from lowtide.embeddings.base import Embedder
from lowtide.embeddings.loading import load_any, read
from lowtide.embeddings.surroundings import SMOOTHING
from lowtide.embeddings.type_vectors import type_config
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.errors import InputError, ModelError
from lowtide.text.tokenize import make_tokenizer
from lowtide.text.vocabulary import SPECIALS, Vocabulary

TOKENIZER = make_tokenizer("words", language="en").config


def word2vec(*, lowercase: bool = False) -> Word2Vec:
    vocabulary = Vocabulary([*SPECIALS, "the", "bank", "river"], [9, 9, 0, 60, 30, 10])
    vectors = np.zeros((6, 2), np.float32)
    vectors[3:] = [[1, 0], [0, 1], [3, 4]]
    return Word2Vec(type_config("word2vec", TOKENIZER, lowercase=lowercase), vocabulary, vectors)


def test_it_is_one_of_the_two_doors() -> None:
    assert isinstance(word2vec(), Embedder)


def test_a_token_has_the_vector_of_its_type_wherever_it_stands() -> None:
    first, second = word2vec().embed(["the bank", "bank river the"])
    assert np.array_equal(first[1], second[0]) and first.dtype == np.float32


def test_a_type_that_is_not_known_is_zero() -> None:
    assert not word2vec().embed("the tide")[1].any()
    assert not word2vec().knows("tide") and word2vec().knows("the")


def test_case_counts_unless_it_was_taken_away() -> None:
    assert not word2vec().embed("The").any()
    assert word2vec(lowercase=True).embed("The").any() and word2vec(lowercase=True).knows("BANK")


def test_what_stands_around_a_token_is_the_mean_of_the_others_by_their_rarity() -> None:
    weights = SMOOTHING / (SMOOTHING + np.array([0.6, 0.3, 0.1]))
    context = word2vec().embed("the bank river", layers="context")
    the, bank, river = np.eye(2)[0], np.eye(2)[1], np.array([3.0, 4.0])
    expected = (weights[0] * the + weights[2] * river) / (weights[0] + weights[2])
    np.testing.assert_allclose(context[1], expected, rtol=1e-5)
    np.testing.assert_allclose(context[2], (weights[0] * the + weights[1] * bank) / weights[:2].sum(), rtol=1e-5)


def test_around_a_token_that_stands_alone_is_nothing() -> None:
    assert not word2vec().embed("bank", layers="context").any()
    assert not word2vec().embed("tide bank tide", layers="context")[1].any()


def test_an_empty_sentence_keeps_its_place() -> None:
    for layers in (0, "context"):
        found = word2vec().embed(["the", "", ["bank"]], layers=layers)
        assert [v.shape for v in found] == [(1, 2), (0, 2), (1, 2)]


def test_there_is_one_layer() -> None:
    assert word2vec().embed_layers(["the bank"])[0].shape == (1, 2, 2)
    assert word2vec().embed_layers("the bank").shape == (1, 2, 2)
    with pytest.raises(InputError, match="layers=1, expected 0"):
        word2vec().embed("the", layers=1)


def test_a_marked_word_of_several_tokens_is_their_mean() -> None:
    assert word2vec().embed_word("the [bank river]").tolist() == [1.5, 2.5]


def test_a_folder_gives_the_rung_back(tmp_path: Path) -> None:
    saved = word2vec(lowercase=True)
    saved.save(tmp_path / "vectors")
    for found in (load(tmp_path / "vectors"), load_any(tmp_path / "vectors"), Word2Vec.open(tmp_path / "vectors")):
        assert isinstance(found, Word2Vec) and found.config == saved.config and found.checksum == saved.checksum
        assert found.embed("The bank tide").tobytes() == saved.embed("The bank tide").tobytes()


def test_raw_text_may_be_cut_otherwise(tmp_path: Path) -> None:
    word2vec().save(tmp_path / "vectors")
    found = load(tmp_path / "vectors", tokenizer="characters", language="en")
    assert found.tokenize("bank") == ["b", "a", "n", "k"] and found.checksum != word2vec().checksum


def test_where_a_language_model_is_wanted_another_rung_is_refused(tmp_path: Path) -> None:
    word2vec().save(tmp_path / "vectors")
    with pytest.raises(InputError, match="vectors is a word2vec model: this is for language models"):
        read(tmp_path / "vectors")


def test_what_decides_a_vector_is_in_the_checksum() -> None:
    other = word2vec()
    other.vectors[4, 0] += 1
    assert len({word2vec().checksum, other.checksum, word2vec(lowercase=True).checksum}) == 3


def test_damaged_vectors_are_named(tmp_path: Path) -> None:
    word2vec().save(tmp_path / "vectors")
    (tmp_path / "vectors" / "vectors.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match=r"vectors\.safetensors cannot be used"):
        load(tmp_path / "vectors")
