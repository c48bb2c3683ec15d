from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

import lowtide
import tiny
from command import Command
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.expanding import expand
from lowtide.embeddings.loading import read
from lowtide.embeddings.type_vectors import type_config
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.errors import InputError
from lowtide.model import BiLM, BiLMConfig, LSTMConfig, Softmax, SymbolConfig
from lowtide.text.tokenize import TokenizerConfig
from lowtide.text.vocabulary import SPECIALS, UNKNOWN_INDEX, Vocabulary
from lowtide.weights.conversion import convert
from lowtide.weights.native import NAME, load_model, save_model
from lowtide.weights.stored import FORMAT_VERSION, ModelConfig, StoredModel

WORDS = TokenizerConfig("words", "en", "1")
KNOWN = [f"known{number}" for number in range(1200)]
NEW = ["Rio", "KNOWN7", "Tarango", "Arbil"]
"""The second is another writing of a known one."""
WIDTH = 6


def word2vec(types: list[str]) -> Word2Vec:
    """Vectors that a type's number decides."""
    vocabulary = Vocabulary([*SPECIALS, *types], [0, 0, 0, *range(len(types), 0, -1)])
    vectors = np.random.default_rng(0).standard_normal((len(vocabulary), 5)).astype(np.float32)
    vectors[:3] = 0
    return Word2Vec(type_config("word2vec", WORDS), vocabulary, vectors)


def mapped(vectors: np.ndarray) -> np.ndarray:
    """The affine map that an expansion is to find."""
    rng = np.random.default_rng(1)
    weights, constant = rng.standard_normal((5, WIDTH)), rng.standard_normal(WIDTH)
    return vectors @ weights + constant


def model(folder: Path, words: Word2Vec) -> StoredModel:
    """A model whose vectors are a map of those of word2vec; its softmax predicts with them."""
    vocabulary = Vocabulary([*SPECIALS, *KNOWN], [9, 9, 9, *[1] * len(KNOWN)])
    lstm = LSTMConfig(cell_width=8, width=WIDTH)
    config = BiLMConfig(lstm, symbols=SymbolConfig(len(vocabulary)), dropout=0.0)
    bilm, softmax = BiLM(config).eval(), Softmax(len(vocabulary), WIDTH)
    tiny.random_(bilm)
    table = bilm.type_vectors
    assert table is not None
    with torch.no_grad():
        table[3:] = torch.from_numpy(mapped(words.rows(words.indices(KNOWN))))
    softmax.tie(table)
    folder.mkdir()
    save_model(folder, ModelConfig(FORMAT_VERSION, "elmo", WORDS, "elmo", config), vocabulary, bilm, softmax)
    return load_model(folder)


@pytest.fixture(scope="module")
def words() -> Word2Vec:
    return word2vec([*KNOWN, *NEW])


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory, words: Word2Vec) -> StoredModel:
    return model(tmp_path_factory.mktemp("models") / "known", words)


def test_new_words_lie_where_the_map_of_the_known_ones_puts_them(known: StoredModel, words: Word2Vec) -> None:
    expanded = expand(known, words)
    assert expanded.model.more_words == ["Rio", "Tarango", "Arbil"]
    assert expanded.num_common == len(KNOWN)
    assert expanded.explained > 0.95
    table, before = expanded.model.bilm.type_vectors, known.bilm.type_vectors
    assert table is not None and before is not None
    assert torch.equal(table[: len(before)], before)
    found = table[len(before) :].detach().numpy()
    expected = mapped(words.rows(words.indices(expanded.model.more_words)))
    np.testing.assert_allclose(found, expected, atol=0.05)  # the ridge draws the map a little towards zero


def test_a_map_between_models_that_have_nothing_in_common_is_warned_of(
    known: StoredModel, words: Word2Vec, caplog: pytest.LogCaptureFixture
) -> None:
    other = np.random.default_rng(5).permutation(words.vectors)
    with caplog.at_level(logging.WARNING, logger="lowtide"):
        expand(known, words)
        assert not caplog.messages
        expand(known, Word2Vec(words.config, words.vocabulary, other))
    assert "where half and more is usual, so the new words will mean little" in caplog.messages[0]


def test_known_sentences_keep_their_vectors_and_new_words_get_some(known: StoredModel, words: Word2Vec) -> None:
    before, after = Elmo(known, device="cpu"), Elmo(expand(known, words).model, device="cpu")
    sentence = ["known3", "known5"]
    np.testing.assert_array_equal(before.embed_layers([sentence])[0], after.embed_layers([sentence])[0])
    of_new = [embedding.embed_layers([["Rio", "Arbil"]])[0][0] for embedding in (before, after)]
    np.testing.assert_array_equal(of_new[0][0], of_new[0][1])  # both unknown
    assert np.abs(of_new[1][0] - of_new[1][1]).max() > 0.1
    of_writings = after.embed_layers([["KNOWN7", "known7"]])[0][0]
    np.testing.assert_array_equal(of_writings[0], of_writings[1])
    assert after.knows("Rio") and after.knows("KNOWN7") and not after.knows("Nobody")
    assert not before.knows("KNOWN7")
    assert before.checksum != after.checksum


@pytest.mark.parametrize(("store", "tolerance"), [("float32", 0.0), ("float16", 2e-3), ("int8", 2e-2)])
def test_an_expanded_model_is_saved_and_read(
    known: StoredModel, words: Word2Vec, tmp_path: Path, store: str, tolerance: float
) -> None:
    expanded = expand(known, words, max_words=2).model
    assert expanded.more_words == ["Rio", "Tarango"]
    convert(expanded, tmp_path / "model", store=store)  # type: ignore[arg-type]  # one of Store
    again = read(tmp_path / "model")
    assert again.more_words == expanded.more_words
    assert again.config == expanded.config
    table, given = again.bilm.type_vectors, expanded.bilm.type_vectors
    assert table is not None and given is not None
    torch.testing.assert_close(table, given, rtol=0, atol=tolerance * float(given.detach().abs().max()))
    softmax = again.load_softmax()
    assert len(softmax.bias) == len(known.vocabulary)
    assert softmax.weight is table and torch.equal(softmax.rows, table[: len(known.vocabulary)])
    assert "weight" not in (tmp_path / "model" / "softmax.safetensors").read_bytes()[:200].decode("latin-1")
    guesses = lowtide.load(tmp_path / "model").language_model().guesses("Rio known5", top=3)
    assert [place.is_known for place in guesses[0]] == [True, False, True, True]


def test_an_expanded_model_is_written_as_published(known: StoredModel, words: Word2Vec, tmp_path: Path) -> None:
    expanded = expand(known, words).model
    convert(expanded, tmp_path / "pair", to="hdf5")
    sentence = ["Rio", "known5", expanded.more_words[-1]]
    after = Elmo(read(tmp_path / "pair")).embed_layers([sentence])[0]
    np.testing.assert_allclose(after, Elmo(expanded).embed_layers([sentence])[0], rtol=0, atol=1e-5)


def test_a_training_goes_on_with_the_vectors_of_new_words(known: StoredModel, words: Word2Vec, tmp_path: Path) -> None:
    from lowtide.training.continuing import begin_at, write_start

    expanded = expand(known, words).model
    vocabulary = Vocabulary([*SPECIALS, "Tarango", "known3", "Known4", "Nobody"], [1] * 7)
    start = write_start(expanded, vocabulary, tmp_path / "start.safetensors")
    assert start.is_tied
    assert start.bilm.symbols is not None and start.bilm.symbols.num_symbols == 7
    bilm, softmax = BiLM(start.bilm), Softmax(7, WIDTH)
    begin_at(tmp_path / "start.safetensors", bilm, softmax)
    table, given = bilm.type_vectors, expanded.bilm.type_vectors
    assert table is not None and given is not None
    numbers = expanded.spelling.char_ids(["Tarango", "known3", "known4"])[:, 0]
    assert torch.equal(table[3:6], given[torch.from_numpy(numbers).long()])
    assert torch.equal(table[6], given[UNKNOWN_INDEX])


def test_what_cannot_be_expanded_is_refused(known: StoredModel, words: Word2Vec, saved_bytes: tiny.Saved) -> None:
    with pytest.raises(InputError, match="there is no word it cannot read"):
        expand(read(saved_bytes.folder), words)
    with pytest.raises(InputError, match="0 words in common, expected 1,000 at least"):
        expand(known, word2vec(["other", "words"]))
    with pytest.raises(InputError, match="max_words is 0"):
        expand(known, words, max_words=0)


def test_names_are_given_as_a_list_has_them(known: StoredModel) -> None:
    lowered = word2vec([*KNOWN, "rio", "tarango", "arbil"])
    lowered = Word2Vec(type_config("word2vec", WORDS, lowercase=True), lowered.vocabulary, lowered.vectors)
    given = expand(known, lowered, types=["Tarango", "Nobody", "known3", "Rio"]).model
    assert given.more_words == ["Tarango", "Rio"]
    table = given.bilm.type_vectors
    assert table is not None
    expected = mapped(lowered.rows(lowered.indices(["tarango", "rio"])))
    np.testing.assert_allclose(table[-2:].detach().numpy(), expected, atol=0.05)


def test_the_command_makes_a_folder_that_tells_of_its_words(
    known: StoredModel, words: Word2Vec, tmp_path: Path, run: Command
) -> None:
    words.save(tmp_path / "words")
    made = run("expand", known.path, tmp_path / "words", tmp_path / "large", "--store", "int8")
    assert made.code == 0, made.err
    assert "1,206 words" in made.err
    assert read(tmp_path / "large").format == NAME
    assert "3 words more have a vector" in run("inspect", tmp_path / "large").out
    assert run("expand", known.path, known.path, tmp_path / "other").code == 2
    assert not (tmp_path / "other").exists()
