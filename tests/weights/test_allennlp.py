"""The published pair: what it says, and that every number of it stands where it belongs."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import published
import tiny
from lowtide.errors import LowtideError, ModelError
from lowtide.model import BiLMConfig, CharCNNConfig, LSTMConfig, SymbolConfig
from lowtide.text.tokenize import make_tokenizer
from lowtide.weights import allennlp, native
from lowtide.weights.stored import StoredModel
from model import reference
from published import SENTENCES, WORD_CONFIG, WORDS, lacking, opened, setting, write_pair

FIRST = "RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell"
ONE_OF_EACH = [
    "char_embed",
    "CNN/W_cnn_1",
    "CNN/b_cnn_2",
    "CNN_high_0/W_carry",
    "CNN_high_0/b_transform",
    "CNN_proj/W_proj",
    f"{FIRST}/W_0",
    "RNN_1/RNN/MultiRNNCell/Cell1/LSTMCell/B",
    "RNN_1/RNN/MultiRNNCell/Cell0/LSTMCell/W_P_0",
]
"""The arrays of a model of bytes."""


def refusal(path: Path, **files: Path) -> str:
    with pytest.raises(ModelError) as error:
        opened(path, **files)
    return str(error.value)


# -- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", published.VARIANTS)
def test_every_layer_agrees_with_the_reference(variant: str, tmp_path: Path) -> None:
    model = published.published(published.VARIANTS[variant])
    elmo = opened(write_pair(tmp_path, model))
    published.assert_agree(elmo.embed_layers(SENTENCES), published.expected_layers(model, SENTENCES))


@pytest.mark.parametrize("size", [261, 262])
def test_both_sizes_of_the_table_of_characters_are_one_model(size: int, tmp_path: Path) -> None:
    trained = opened(write_pair(tmp_path / "a", options=setting("char_cnn.n_characters", size)))
    assert trained.checksum == opened(write_pair(tmp_path / "b")).checksum


def test_the_short_names_of_one_layer_are_read(tmp_path: Path) -> None:
    model = published.published(published.VARIANTS["one layer"])
    old = published.with_old_names(model)
    assert f"{FIRST}/W_0" in model.arrays and "RNN_0/RNN/LSTMCell/W_0" in old.arrays
    short, long = opened(write_pair(tmp_path / "a", old)), opened(write_pair(tmp_path / "b", model))
    assert short.checksum == long.checksum
    published.assert_agree(short.embed_layers(SENTENCES), published.expected_layers(old, SENTENCES))


@pytest.mark.parametrize("value", [None, 0])
@pytest.mark.parametrize("name", ["cell_clip", "proj_clip"])
def test_a_clip_that_is_null_or_zero_is_none(name: str, value: int | None, tmp_path: Path) -> None:
    model = published.published()
    unclipped = dataclasses.replace(model, options={**model.options, "lstm": {**model.options["lstm"], name: None}})
    elmo = opened(write_pair(tmp_path, model, options=setting(f"lstm.{name}", value)))
    published.assert_agree(elmo.embed_layers(SENTENCES), published.expected_layers(unclipped, SENTENCES))


@pytest.mark.parametrize(
    ("variant", "path"),
    [
        ("no clips", "lstm.cell_clip"),
        ("no clips", "lstm.proj_clip"),
        ("one layer", "lstm.n_layers"),
        ("no residual", "lstm.use_skip_connections"),
        ("no highway", "char_cnn.n_highway"),
        ("50 characters", "char_cnn.max_characters_per_token"),
        ("as published", "char_cnn.n_characters"),
    ],
)
def test_what_the_options_leave_out_is_as_in_the_published_readers(variant: str, path: str, tmp_path: Path) -> None:
    model = published.published(published.VARIANTS[variant])
    elmo = opened(write_pair(tmp_path / "a", model, options=lacking(path)))
    assert elmo.checksum == opened(write_pair(tmp_path / "b", model)).checksum


def test_what_only_a_training_needs_is_not_looked_at(tmp_path: Path) -> None:
    trained = {"bidirectional": True, "n_tokens_vocab": 793471, "unroll_steps": 20, "n_epochs": 10, "batch_size": 128}
    elmo = opened(write_pair(tmp_path / "a", options=lambda options: options.update(trained)))
    assert elmo.checksum == opened(write_pair(tmp_path / "b")).checksum


@pytest.mark.parametrize("variant", published.VARIANTS)
def test_every_number_of_the_file_is_in_the_network_bit_by_bit(variant: str, tmp_path: Path) -> None:
    stored = opened(write_pair(tmp_path / "in", published.published(published.VARIANTS[variant]))).stored
    allennlp.write(tmp_path / "out", stored)
    assert published.datasets(tmp_path / "out" / "weights.hdf5") == published.datasets(tmp_path / "in" / "weights.hdf5")


# -- words -----------------------------------------------------------------------------------------

WORD_SENTENCES = [["the", "tide", "goes"], ["退了", "🌊", "moon", ""], ["<S>", "<UNK>", "\ud800", "</S>"], []]


def test_a_model_of_words_agrees_with_the_reference(tmp_path: Path) -> None:
    model = published.published(WORD_CONFIG)
    elmo = opened(write_pair(tmp_path, model, words=WORDS))
    published.assert_agree(elmo.embed_layers(WORD_SENTENCES), published.expected_layers(model, WORD_SENTENCES, WORDS))


@pytest.mark.parametrize(
    "words",
    [
        ("<S>", "</S>", "<UNK>", "the", "tide", "退了", "the", "a", "the"),
        ("<S>", "</S>", "<UNK>", "<S>", "the", "<UNK>", "</S>", "a", "b"),
        ("the", "tide", "", "!", "<UNK>", "\u3000x", "a b", "</S>", "<S>"),
    ],
    ids=["a word twice", "marks twice", "marks last"],
)
def test_of_a_word_that_stands_twice_the_last_line_counts(words: tuple[str, ...], tmp_path: Path) -> None:
    model = published.published(WORD_CONFIG)
    elmo = opened(write_pair(tmp_path, model, words=words))
    published.assert_agree(elmo.embed_layers(WORD_SENTENCES), published.expected_layers(model, WORD_SENTENCES, words))


def test_a_line_that_is_no_word_has_no_vector(tmp_path: Path) -> None:
    model = published.published(WORD_CONFIG)
    lines = [*WORDS[:4], "!!!MAXTERMID", *WORDS[4:]]
    elmo = opened(write_pair(tmp_path, model, words=lines))
    published.assert_agree(elmo.embed_layers(WORD_SENTENCES), published.expected_layers(model, WORD_SENTENCES, WORDS))


@pytest.mark.parametrize(
    "ending",
    [
        "\r",
        " ",
        " \t\r",
    ],
)
def test_white_space_around_a_word_is_no_part_of_it(ending: str, tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "a", published.published(WORD_CONFIG), words=[word + ending for word in WORDS])
    plain = write_pair(tmp_path / "b", published.published(WORD_CONFIG), words=WORDS)
    assert opened(folder).checksum == opened(plain).checksum


def test_a_model_of_words_knows_its_words(tmp_path: Path) -> None:
    elmo = opened(write_pair(tmp_path, published.published(WORD_CONFIG), words=WORDS))
    assert elmo.knows("退了") and not elmo.knows("moon")


def test_a_model_of_words_without_its_vocabulary_is_refused(tmp_path: Path) -> None:
    said = refusal(write_pair(tmp_path, published.published(WORD_CONFIG)))
    assert str(tmp_path) in said and "vocab" in said


def test_a_vocabulary_may_be_named(tmp_path: Path) -> None:
    write_pair(tmp_path / "a", published.published(WORD_CONFIG))
    words = published.write_words(tmp_path / "liste.txt", WORDS)
    named = opened(tmp_path / "a", vocabulary=words)
    beside = opened(write_pair(tmp_path / "b", published.published(WORD_CONFIG), words=WORDS))
    assert named.checksum == beside.checksum


@pytest.mark.parametrize("count", [1, -1])
def test_a_vocabulary_of_another_length_is_refused(count: int, tmp_path: Path) -> None:
    words = [*WORDS, "moon"] if count > 0 else WORDS[:-1]
    said = refusal(write_pair(tmp_path, published.published(WORD_CONFIG), words=words))
    assert "weights.hdf5: embedding is 9 x 5" in said and f"{len(words)} x 5" in said


def test_a_vocabulary_of_another_length_is_told_as_such(tmp_path: Path) -> None:
    assert "vocabulary" in refusal(write_pair(tmp_path, published.published(WORD_CONFIG), words=[*WORDS, "moon"]))


@pytest.mark.parametrize("mark", ["<S>", "</S>", "<UNK>"])
def test_a_vocabulary_without_a_mark_is_refused(mark: str, tmp_path: Path) -> None:
    words = ["x" if word == mark else word for word in WORDS]
    said = refusal(write_pair(tmp_path, published.published(WORD_CONFIG), words=words))
    assert str(tmp_path / "vocab.txt") in said and mark in said


def test_a_vocabulary_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, published.published(WORD_CONFIG), words=WORDS)
    (tmp_path / "vocab.txt").write_bytes("<S>\n</S>\n<UNK>\nmañana\n".encode("latin-1"))
    assert f"{tmp_path / 'vocab.txt'} is not UTF-8" in refusal(tmp_path)


def test_an_empty_vocabulary_is_refused(tmp_path: Path) -> None:
    assert str(tmp_path / "vocab.txt") in refusal(write_pair(tmp_path, published.published(WORD_CONFIG), words=[]))


def test_two_vocabularies_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, words=WORDS)
    published.write_words(tmp_path / "vocabulary.txt", WORDS)
    said = refusal(tmp_path)
    assert "vocab.txt" in said and "vocabulary.txt" in said


# -- a token cache -----------------------------------------------------------------------------------


def write_cached(folder: Path) -> tuple[reference.Model, dict[str, Path]]:
    model = published.published()
    write_pair(folder, model)
    vectors = published.cached_vectors(model, WORDS).astype(np.float32)
    return model, {
        "token_cache": published.write_cache(folder / "elmo_token_embeddings.hdf5", vectors),
        "vocabulary": published.write_words(folder / "vocab.txt", WORDS),
    }


def test_with_a_token_cache_known_words_have_the_vectors_that_the_characters_give(tmp_path: Path) -> None:
    model, files = write_cached(tmp_path)
    known = [[word for word in sentence if word in WORDS] for sentence in WORD_SENTENCES]
    published.assert_agree(opened(tmp_path, **files).embed_layers(known), published.expected_layers(model, known))


def test_with_a_token_cache_another_word_is_the_unknown_one(tmp_path: Path) -> None:
    model, files = write_cached(tmp_path)
    cached = dataclasses.replace(model, arrays={**model.arrays, "embedding": published.cached_vectors(model, WORDS)})
    published.assert_agree(
        opened(tmp_path / "options.json", weights=tmp_path / "weights.hdf5", **files).embed_layers(WORD_SENTENCES),
        published.expected_layers(cached, WORD_SENTENCES, WORDS),
    )


def test_a_token_cache_that_lies_beside_is_not_used(tmp_path: Path) -> None:
    model, _ = write_cached(tmp_path)
    published.assert_agree(opened(tmp_path).embed_layers(SENTENCES), published.expected_layers(model, SENTENCES))


def test_a_token_cache_without_its_words_is_refused(tmp_path: Path) -> None:
    _, files = write_cached(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    assert "vocab" in refusal(tmp_path, token_cache=files["token_cache"])


_NUMBERS = np.ones((9, 5), np.float32)
_ONE_NAN = np.where(np.arange(45).reshape(9, 5) == 17, np.nan, _NUMBERS).astype(np.float32)


@pytest.mark.parametrize(
    ("vectors", "name", "says"),
    [
        (np.ones((10, 5), np.float32), "embedding", "10 x 5"),
        (np.ones((9, 4), np.float32), "embedding", "9 x 4"),
        (np.ones(45, np.float32), "embedding", "45"),
        (np.ones((9, 5)), "embedding", "float64"),
        (_ONE_NAN, "embedding", "1 numbers"),
        (_NUMBERS, "embeddings", "no embedding"),
    ],
)
def test_a_token_cache_that_does_not_fit_is_refused(
    vectors: np.ndarray[Any, Any], name: str, says: str, tmp_path: Path
) -> None:
    _, files = write_cached(tmp_path)
    published.write_cache(files["token_cache"], vectors, name)
    said = refusal(tmp_path, **files)
    assert "embedding" in said and says in said


def test_the_place_of_a_number_that_is_none_is_that_in_the_file(tmp_path: Path) -> None:
    _, files = write_cached(tmp_path)
    published.write_cache(files["token_cache"], _ONE_NAN)
    assert "[3, 2]" in refusal(tmp_path, **files)


def test_a_token_cache_that_does_not_fit_is_named(tmp_path: Path) -> None:
    _, files = write_cached(tmp_path)
    published.write_cache(files["token_cache"], np.ones((10, 5), np.float32))
    assert str(files["token_cache"]) in refusal(tmp_path, **files)


# -- options that cannot be ----------------------------------------------------------------------

_SIZES = [
    "lstm.dim",
    "lstm.projection_dim",
    "lstm.n_layers",
    "char_cnn.embedding.dim",
    "char_cnn.max_characters_per_token",
]
_NO_SIZES = [0, -1, 1.5, "512", True, [5], {}, float("nan"), float("inf")]


@pytest.mark.parametrize("path", [*_SIZES, "char_cnn.n_highway", "char_cnn.n_characters"])
def test_a_size_that_is_none_is_refused(path: str, tmp_path: Path) -> None:
    model = published.published()
    for value in _NO_SIZES:
        if (path, value) != ("char_cnn.n_highway", 0):
            said = refusal(write_pair(tmp_path, model, options=setting(path, value), arrays=dict.clear))
            assert f"{tmp_path / 'options.json'}: {path} is {value!r}, expected" in said


@pytest.mark.parametrize(
    "path",
    [
        "lstm.dim",
        "lstm.projection_dim",
        "char_cnn.embedding.dim",
        "char_cnn.n_characters",
        "lstm.n_layers",
        "char_cnn.n_highway",
        "char_cnn.max_characters_per_token",
    ],
)
def test_a_size_beyond_all_measure_is_refused(path: str, tmp_path: Path) -> None:
    refusal(write_pair(tmp_path, options=setting(path, 10**12)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("lstm.dim", 10**30),
        ("char_cnn.embedding.dim", 10**30),
        ("char_cnn.filters", [[1, 10**12]]),
        ("char_cnn.filters", [[1, 10**30]]),
    ],
)
def test_a_size_that_no_machine_can_count_to_is_refused(path: str, value: Any, tmp_path: Path) -> None:
    refusal(write_pair(tmp_path, options=setting(path, value)))


@pytest.mark.parametrize("name", ["cell_clip", "proj_clip"])
@pytest.mark.parametrize(
    "value",
    [
        -1,
        "3",
        True,
        [3],
        float("nan"),
        10**400,
    ],
)
def test_a_clip_that_is_none_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    assert f"options.json: lstm.{name} is" in refusal(write_pair(tmp_path, options=setting(f"lstm.{name}", value)))


@pytest.mark.parametrize(
    "value",
    [5, "x", {}, [5], [[1, 3, 2]], [[1.0, 3]], [["1", 3]], [], [[0, 3]], [[1, 0]], [[1, -3]], [[11, 3]], [[10**12, 3]]],
)
def test_filters_that_are_none_are_refused(value: Any, tmp_path: Path) -> None:
    said = refusal(write_pair(tmp_path, options=setting("char_cnn.filters", value)))
    assert str(tmp_path / "options.json") in said and "filter" in said


def test_filters_of_truth_values_are_refused(tmp_path: Path) -> None:
    refusal(write_pair(tmp_path, options=setting("char_cnn.filters", [[True, 3], [2, 4], [3, 5]])))


@pytest.mark.parametrize("value", ["Relu", "gelu", 5, [], None, True])
def test_another_activation_is_refused(value: Any, tmp_path: Path) -> None:
    said = refusal(write_pair(tmp_path, options=setting("char_cnn.activation", value)))
    assert f"{tmp_path / 'options.json'}" in said and "char_cnn.activation" in said


def test_another_table_of_characters_is_refused(tmp_path: Path) -> None:
    said = refusal(write_pair(tmp_path, options=setting("char_cnn.n_characters", 300)))
    assert "options.json: char_cnn.n_characters is 300, expected 261 or 262" in said


@pytest.mark.parametrize("value", ["false", "", 3, [1]])
def test_a_residual_that_is_neither_true_nor_false_is_refused(value: Any, tmp_path: Path) -> None:
    refusal(write_pair(tmp_path, options=setting("lstm.use_skip_connections", value)))


def test_a_model_of_one_direction_is_refused(tmp_path: Path) -> None:
    said = refusal(write_pair(tmp_path, options=setting("bidirectional", False)))
    assert str(tmp_path / "options.json") in said and "one direction" in said


@pytest.mark.parametrize(
    "path",
    [
        "lstm",
        "lstm.dim",
        "lstm.projection_dim",
        "char_cnn.activation",
        "char_cnn.embedding",
        "char_cnn.embedding.dim",
        "char_cnn.filters",
    ],
)
def test_a_key_that_is_missing_is_named(path: str, tmp_path: Path) -> None:
    said = refusal(write_pair(tmp_path, options=lacking(path)))
    assert f"{tmp_path / 'options.json'} has no {path}" in said


def test_a_key_that_is_misspelled_is_shown_the_right_way(tmp_path: Path) -> None:
    def misspell(options: dict[str, Any]) -> None:
        options["lstm"]["projektion_dim"] = options["lstm"].pop("projection_dim")

    assert "has no lstm.projection_dim" in (said := refusal(write_pair(tmp_path, options=misspell)))
    assert "projektion_dim" in said


@pytest.mark.parametrize("path", ["lstm", "char_cnn", "char_cnn.embedding"])
@pytest.mark.parametrize("value", ["x", None, [], 0, 5, True, 1.5, [1]])
def test_a_value_in_the_place_of_a_group_is_refused(path: str, value: Any, tmp_path: Path) -> None:
    assert f"{tmp_path / 'options.json'} has no {path}" in refusal(write_pair(tmp_path, options=setting(path, value)))


# -- options of another model --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "found", "expected"),
    [
        ("lstm.n_layers", 1, "RNN_0/RNN/MultiRNNCell/Cell1/LSTMCell", ""),
        ("lstm.n_layers", 3, "RNN_0/RNN/MultiRNNCell/Cell2/LSTMCell", ""),
        ("lstm.dim", 8, f"{FIRST}/W_0 is 10 x 28", "10 x 32"),
        ("lstm.projection_dim", 4, "CNN_proj/W_proj is 12 x 5", "12 x 4"),
        ("lstm.projection_dim", 7, "CNN_proj/W_proj is 12 x 5", "12 x 7"),
        ("char_cnn.n_highway", 0, "CNN_high_0/W_carry", ""),
        ("char_cnn.n_highway", 2, "CNN_high_1/W_carry", ""),
        ("char_cnn.embedding.dim", 16, "char_embed is 261 x 4", "261 x 16"),
        ("char_cnn.filters", [[1, 3], [2, 4]], "CNN", ""),
        ("char_cnn.filters", [[1, 3], [2, 4], [3, 5], [4, 1]], "CNN", ""),
        ("char_cnn.filters", [[1, 3], [2, 4], [2, 5]], "CNN/W_cnn_2 is 1 x 3 x 4 x 5", "1 x 2 x 4 x 5"),
        ("char_cnn.filters", [[2, 4], [1, 3], [3, 5]], "CNN/W_cnn_0 is 1 x 1 x 4 x 3", "1 x 2 x 4 x 4"),
    ],
)
def test_options_of_another_model_are_refused(path: str, value: Any, found: str, expected: str, tmp_path: Path) -> None:
    said = refusal(write_pair(tmp_path, options=setting(path, value)))
    assert str(tmp_path / "weights.hdf5") in said and found in said and expected in said


def test_options_of_a_model_of_words_do_not_fit_one_of_characters(tmp_path: Path) -> None:
    said = refusal(write_pair(tmp_path, words=WORDS, options=lacking("char_cnn")))
    assert str(tmp_path / "weights.hdf5") in said and "embedding" in said


def test_options_of_a_model_of_characters_do_not_fit_one_of_words(tmp_path: Path) -> None:
    characters = published.options_of(published.published())["char_cnn"]
    folder = write_pair(
        tmp_path, published.published(WORD_CONFIG), words=WORDS, options=lambda o: o.update(char_cnn=characters)
    )
    said = refusal(folder)
    assert str(tmp_path / "weights.hdf5") in said and "char_embed" in said


def test_weights_without_the_backward_direction_are_refused(tmp_path: Path) -> None:
    def one_direction(arrays: dict[str, Any]) -> None:
        for name in [name for name in arrays if name.startswith("RNN_1")]:
            del arrays[name]

    said = refusal(write_pair(tmp_path, arrays=one_direction))
    assert str(tmp_path / "weights.hdf5") in said and "has no RNN_1/RNN/MultiRNNCell/Cell0/LSTMCell" in said


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_an_array_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    said = refusal(write_pair(tmp_path, arrays=lambda arrays: arrays.pop(name)))
    assert f"{tmp_path / 'weights.hdf5'} has no {name}" in said


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_an_array_of_another_shape_is_named(name: str, tmp_path: Path) -> None:
    def shorten(arrays: dict[str, Any]) -> None:
        arrays[name] = arrays[name][..., :-1]

    shape = published.published().arrays[name].shape
    expected = " x ".join(map(str, shape))
    found = " x ".join(map(str, [*shape[:-1], shape[-1] - 1]))
    said = refusal(write_pair(tmp_path, arrays=shorten))
    assert str(tmp_path / "weights.hdf5") in said and f"{name} is {found}" in said and expected in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("char_embed", np.nan),
        ("CNN/W_cnn_1", np.inf),
        ("CNN_proj/b_proj", -np.inf),
        (f"{FIRST}/W_0", np.nan),
        (f"{FIRST}/B", np.inf),
    ],
)
def test_numbers_that_are_none_are_named(name: str, value: float, tmp_path: Path) -> None:
    def damage(arrays: dict[str, Any]) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name].reshape(-1)[[3, 4]] = value

    said = refusal(write_pair(tmp_path, arrays=damage))
    place = ", ".join(map(str, np.unravel_index(3, published.published().arrays[name].shape)))
    assert str(tmp_path / "weights.hdf5") in said and f"{name} has 2 numbers" in said and f"[{place}]" in said


def test_numbers_whose_sum_is_too_large_are_numbers(tmp_path: Path) -> None:
    large = np.full(5, 3e38, np.float32)
    opened(write_pair(tmp_path, arrays=lambda arrays: arrays.update({"CNN_proj/b_proj": large})))


def test_the_same_layer_under_both_names_is_refused(tmp_path: Path) -> None:
    def add(arrays: dict[str, Any]) -> None:
        arrays |= {name.replace("MultiRNNCell/Cell0/", ""): 2 * array for name, array in arrays.items()}

    said = refusal(write_pair(tmp_path, published.published(published.VARIANTS["one layer"]), arrays=add))
    assert "RNN_0/RNN/LSTMCell" in said and f"{FIRST}/" in said


# -- there and back ------------------------------------------------------------------------------


def tensors_of(stored: StoredModel) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in stored.bilm.state_dict().items()}


def save(folder: Path, stored: StoredModel) -> Path:
    native.save_model(folder, stored.config, stored.words, stored.bilm, None, stored.letters)
    return folder


@st.composite
def configs(draw: st.DrawFn) -> BiLMConfig:
    cell = draw(st.integers(1, 6))
    width = draw(st.integers(1, cell))
    clips = st.none() | st.floats(0.1, 4)
    lstm = LSTMConfig(
        cell_width=cell,
        width=width,
        num_layers=draw(st.integers(1, 3)),
        cell_clip=draw(clips),
        projection_clip=draw(clips),
        has_residual=draw(st.booleans()),
    )
    if draw(st.booleans()):
        return BiLMConfig(lstm, symbols=SymbolConfig(num_symbols=len(WORDS)))
    filters = tuple(draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3)))
    is_width = sum(count for _, count in filters) == width
    return BiLMConfig(
        lstm,
        char_cnn=CharCNNConfig(
            embedding_width=draw(st.integers(1, 3)),
            filters=filters,
            num_highways=draw(st.integers(0, 2)),
            activation=draw(st.sampled_from(["relu", "tanh"])),
            max_characters=draw(st.integers(4, 12)),
            has_projection=not (is_width and draw(st.booleans())),
        ),
    )


@settings(derandomize=True, deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(config=configs(), seed=st.integers(0, 5))
def test_hdf5_to_our_folder_and_back_changes_no_byte(
    config: BiLMConfig, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("there")
    words = None if config.symbols is None else ("<S>", "</S>", "<UNK>", *(word for word in WORDS if word[0] != "<"))
    model = published.published(config, seed=seed)
    first = opened(write_pair(folder / "published", model, words=words))
    second = opened(save(folder / "ours", first.stored))
    allennlp.write(folder / "again", second.stored)
    third = opened(folder / "again")
    assert published.datasets(folder / "again" / "weights.hdf5") == published.datasets(
        folder / "published" / "weights.hdf5"
    )
    assert tensors_of(first.stored) == tensors_of(second.stored) == tensors_of(third.stored)
    assert first.checksum == second.checksum == third.checksum
    sentences = [["the", "tide", "退了"], []]
    before, after = (elmo.embed_layers(sentences) for elmo in (first, third))
    assert [vectors.tobytes() for vectors in before] == [vectors.tobytes() for vectors in after]


@settings(derandomize=True, deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(config=configs(), seed=st.integers(0, 5))
def test_any_config_agrees_with_the_reference(
    config: BiLMConfig, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    words = None if config.symbols is None else WORDS
    model, sentences = published.published(config, seed=seed), [["the", "退了", "🌊a"], [], ["<S>", "x" * 12]]
    elmo = opened(write_pair(tmp_path_factory.mktemp("any"), model, words=words))
    published.assert_agree(elmo.embed_layers(sentences), published.expected_layers(model, sentences, words))


def test_a_model_of_ours_gives_the_same_vectors_as_a_published_pair(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    ours = opened(saved_bytes.folder)
    allennlp.write(tmp_path, ours.stored)
    before, after = (elmo.embed_layers(SENTENCES) for elmo in (ours, opened(tmp_path)))
    assert [vectors.tobytes() for vectors in before] == [vectors.tobytes() for vectors in after]


def test_an_alphabet_of_ours_gives_the_same_vectors_as_a_published_pair(
    saved_symbols: tiny.Saved, tmp_path: Path
) -> None:
    ours = opened(saved_symbols.folder)
    allennlp.write(tmp_path, ours.stored)
    sentences = [list("HCAB?"), [], ["<S>"]]
    before, after = (elmo.embed_layers(sentences) for elmo in (ours, opened(tmp_path)))
    assert [vectors.tobytes() for vectors in before] == [vectors.tobytes() for vectors in after]


def test_a_model_of_ours_has_the_same_checksum_as_a_published_pair(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    ours = opened(saved_bytes.folder)
    allennlp.write(tmp_path, ours.stored)
    assert opened(tmp_path).checksum == ours.checksum


def test_options_of_the_training_and_of_the_prediction_have_one_checksum(tmp_path: Path) -> None:
    trained = opened(write_pair(tmp_path / "a", options=setting("dropout", 0.3)))
    assert trained.checksum == opened(write_pair(tmp_path / "b")).checksum


@pytest.mark.parametrize("forget_bias", [0.0, 0.5])
def test_another_forget_bias_is_written_as_the_published_readers_expect_it(forget_bias: float, tmp_path: Path) -> None:
    network = tiny.bilm(tiny.lstm(forget_bias=forget_bias))
    stored = dataclasses.replace(opened(write_pair(tmp_path / "in")).stored, bilm=network)
    allennlp.write(tmp_path / "out", stored)
    published.assert_agree(
        opened(tmp_path / "out").embed_layers(SENTENCES), published.expected_layers(tiny.published(network), SENTENCES)
    )


def test_the_pair_that_is_written_is_what_the_published_readers_take(tmp_path: Path) -> None:
    options = json.loads((write_pair(tmp_path / "in") / "options.json").read_text(encoding="utf-8"))
    allennlp.write(tmp_path / "out", opened(tmp_path / "in").stored)
    written = json.loads((tmp_path / "out" / "options.json").read_text(encoding="utf-8"))
    own = written.pop("lowtide")  # which those readers pass over
    assert written == options and written["char_cnn"]["n_characters"] == 262
    assert own["tokenizer"]["name"] == "words" and own["documents"] is False


def test_the_same_model_is_written_in_the_same_bytes(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    stored = opened(saved_bytes.folder).stored
    for name in ("a", "b"):
        allennlp.write(tmp_path / name, stored)
    for name in ("options.json", "weights.hdf5", "vocabulary.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_the_pair_has_no_place_for_is_said_and_the_rest_comes_back(
    saved_bytes: tiny.Saved, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = opened(saved_bytes.folder).stored
    tokenizer = make_tokenizer("characters", language="zh").config
    config = dataclasses.replace(stored.config, documents=True, tokenizer=tokenizer)
    stored = dataclasses.replace(stored, config=config, card="Made by us.\n")
    with caplog.at_level(logging.INFO, logger="lowtide"):
        allennlp.write(tmp_path, stored)
    assert "softmax" in caplog.text
    again = opened(tmp_path).stored
    assert (again.config.documents, again.config.tokenizer, again.card) == (True, tokenizer, "Made by us.\n")


def test_a_vocabulary_with_a_mark_that_stands_twice_comes_back(tmp_path: Path) -> None:
    words = ("<S>", "</S>", "<UNK>", "<S>", "the", "<UNK>", "</S>", "a", "b")
    first = opened(write_pair(tmp_path / "in", published.published(WORD_CONFIG), words=words))
    allennlp.write(tmp_path / "out", first.stored)
    before, after = (elmo.embed_layers(WORD_SENTENCES) for elmo in (first, opened(tmp_path / "out")))
    assert [vectors.tobytes() for vectors in before] == [vectors.tobytes() for vectors in after]


def test_a_vocabulary_with_a_word_that_stands_twice_comes_back(tmp_path: Path) -> None:
    words = ("<S>", "</S>", "<UNK>", "a", "the", "a", "tide", "the", "a")
    first = opened(write_pair(tmp_path / "in", published.published(WORD_CONFIG), words=words))
    allennlp.write(tmp_path / "out", first.stored)
    second = opened(tmp_path / "out")
    assert first.checksum == second.checksum
    assert published.datasets(tmp_path / "out" / "weights.hdf5") == published.datasets(tmp_path / "in" / "weights.hdf5")


def test_words_with_a_projection_cannot_be_written(tmp_path: Path) -> None:
    config = dataclasses.replace(WORD_CONFIG, symbols=SymbolConfig(len(WORDS), embedding_width=3))
    stored = opened(write_pair(tmp_path / "in", published.published(WORD_CONFIG), words=WORDS)).stored
    with pytest.raises(ModelError, match="cannot be written"):
        allennlp.write(tmp_path / "out", dataclasses.replace(stored, bilm=tiny.bilm(config)))
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_that_utf_8_cannot_hold_is_written_or_refused(saved_symbols: tiny.Saved, tmp_path: Path) -> None:
    stored = opened(saved_symbols.folder).stored
    assert stored.words is not None
    stored.words.types[5] = "\ud800"
    try:
        allennlp.write(tmp_path, stored)
    except LowtideError:
        return
    opened(tmp_path)


# -- the card ------------------------------------------------------------------------------------


def test_the_card_of_an_nlpl_model_says_what_it_was_trained_on(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps(published.META), encoding="utf-8")
    card = opened(tmp_path).stored.card
    assert "Wikipedia dump of 2018" in card and re.search(r"lemmatized\W+true", card) and "nno" in card


@pytest.mark.parametrize("meta", [{}, {"corpus": 5}, {"corpus": [5, {"tokens": None}], "algorithm": [1]}])
def test_a_meta_json_that_says_other_things_does_no_harm(meta: dict[str, Any], tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    opened(tmp_path)


def test_a_readme_is_the_card(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "README.md").write_text("Of the sea.", encoding="utf-8")
    assert opened(tmp_path).stored.card == "Of the sea."


# -- what it has not -----------------------------------------------------------------------------


def test_a_published_pair_has_no_softmax(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no softmax"):
        opened(write_pair(tmp_path, words=WORDS)).language_model()


def test_a_published_pair_without_words_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no vocabulary"):
        _ = opened(write_pair(tmp_path)).stored.vocabulary


def test_an_array_of_the_pair_may_not_be_what_the_file_does_not_hold(tmp_path: Path) -> None:
    write_pair(tmp_path)
    with h5py.File(tmp_path / "weights.hdf5", "a") as file:
        file["softmax/W"] = np.ones((3, 5), np.float32)  # something of somebody's own
    opened(tmp_path)


def test_a_network_that_was_read_can_be_trained_further(tmp_path: Path) -> None:
    network = opened(write_pair(tmp_path)).stored.bilm
    assert not network.training
    assert all(p.requires_grad and p.is_leaf and p.device == torch.device("cpu") for p in network.parameters())
