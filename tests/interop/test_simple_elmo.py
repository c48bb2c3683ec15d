from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lowtide
import published
from lowtide.errors import InputError, MissingPathError, ModelError
from lowtide.interop.simple_elmo import ElmoModel
from model import reference
from model.reference import Array

FIVE = [["The", "tide", "goes"], ["Yes"], [], ["He", "sat", "on", "the", "bank", "."], ["退了", "🌊"]]
LAYERS: dict[str, Callable[[Array], Array]] = {
    "average": lambda layers: layers.mean(axis=1),
    "top": lambda layers: layers[:, -1],
    "all": lambda layers: layers,
}

Open = Callable[..., ElmoModel]


@pytest.fixture(scope="module")
def model() -> reference.Model:
    return published.published()


@pytest.fixture(scope="module")
def folder(model: reference.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.write_pair(tmp_path_factory.mktemp("pair") / "model", model)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> published.Checkpoint:
    return published.write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model")


@pytest.fixture
def opened(folder: Path) -> Open:
    def open_(path: Path = folder, *, stateful: bool = True, **arguments: Any) -> ElmoModel:
        elmo_model = ElmoModel(stateful=stateful, device="cpu")
        elmo_model.load(path, **arguments)
        return elmo_model

    return open_


def old(model: reference.Model, texts: Sequence[Sequence[str]], batch_size: int, *, warmup: bool) -> Array:
    """(texts, layers, tokens of the longest, width): what the original gives."""
    batches = [texts[first : first + batch_size] for first in range(0, len(texts), batch_size)]
    padding = reference.token_vector(model, [0] * model.options["char_cnn"]["max_characters_per_token"])
    memory: dict[int, Any] = {}
    if warmup:
        reference.run_batch(model, [reference.sentence_vectors(model, text) for text in batches[0]], memory)
    found = np.zeros(
        (len(texts), model.options["lstm"]["n_layers"] + 1, max(map(len, texts)), 2 * len(padding)), np.float64
    )
    rows = iter(found)
    for batch in batches:
        longest = max(map(len, batch))
        run = reference.run_batch(model, [reference.sentence_vectors(model, text) for text in batch], memory)
        for layers, text in zip(run, batch, strict=True):
            row = next(rows)
            row[:, : len(text)] = layers[:, 1:-1]
            row[0, len(text) : longest] = np.concatenate([padding, padding])
    return found


def scaled(vectors: Array) -> Array:
    lengths: Array = np.sqrt((vectors**2).sum(axis=tuple(range(1, vectors.ndim)), keepdims=True))
    return vectors / lengths


def assert_same(found: Array, expected: Array) -> None:
    assert found.dtype == np.float64 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * max(1.0, np.abs(expected).max(initial=0.0)))


# -- the snippets of the original's README -------------------------------------------------------


def test_the_readme_of_the_original_runs(folder: Path) -> None:
    model = ElmoModel()
    loaded = model.load(str(folder))
    sentences = [["The", "tide", "goes", "out", "."], ["Yes"]]
    elmo_vectors = model.get_elmo_vectors(sentences)
    averaged_vectors = model.get_elmo_vector_average(sentences)

    assert loaded == "The model is now loaded."
    assert (elmo_vectors.shape, averaged_vectors.shape) == ((2, 5, 10), (2, 10))
    assert elmo_vectors.dtype == averaged_vectors.dtype == np.float64


def test_the_readme_of_the_original_runs_with_a_whole_model(checkpoint: published.Checkpoint) -> None:
    model = ElmoModel()
    model.load(checkpoint.folder, max_batch_size=1, full=True)
    raw_sentences = ["the tide goes", "a tide"]
    lex_substitutes = model.get_elmo_substitutes(raw_sentences, topn=2)

    assert [[word["word"] for word in text] for text in lex_substitutes] == [["the", "tide", "goes"], ["a", "tide"]]
    assert len(lex_substitutes[0][0]["forward"]["candidate_words"]) == 2


# -- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_vectors_are_the_old_ones(batch_size: int, warmup: bool, model: reference.Model, opened: Open) -> None:
    found = opened(max_batch_size=batch_size).get_elmo_vectors(FIVE, warmup=warmup, layers="all")
    assert_same(found, old(model, FIVE, batch_size, warmup=warmup))


@pytest.mark.parametrize("layers", LAYERS)
def test_layers_are_chosen_by_their_old_names(layers: str, model: reference.Model, opened: Open) -> None:
    found = opened(max_batch_size=3).get_elmo_vectors(FIVE, layers=layers)
    assert_same(found, LAYERS[layers](old(model, FIVE, 3, warmup=True)))


@pytest.mark.parametrize("variant", published.VARIANTS)
def test_vectors_of_every_kind_of_model_are_the_old_ones(variant: str, opened: Open, tmp_path: Path) -> None:
    model = published.published(published.VARIANTS[variant])
    elmo_model = opened(published.write_pair(tmp_path / "model", model), max_batch_size=2)
    assert_same(elmo_model.get_elmo_vectors(FIVE, layers="all"), old(model, FIVE, 2, warmup=True))


def test_a_default_call_warms_up_and_averages(model: reference.Model, opened: Open) -> None:
    assert_same(opened().get_elmo_vectors(FIVE), LAYERS["average"](old(model, FIVE, 32, warmup=True)))


def test_every_call_begins_at_zero(opened: Open) -> None:
    elmo_model = opened(max_batch_size=2)
    first = elmo_model.get_elmo_vectors(FIVE)
    elmo_model.get_elmo_vectors(FIVE[::-1])
    assert np.array_equal(elmo_model.get_elmo_vectors(FIVE), first)


def test_warming_up_makes_a_difference(opened: Open) -> None:
    elmo_model = opened()
    cold, warm = (elmo_model.get_elmo_vectors(FIVE, warmup=warmup, layers="top") for warmup in (False, True))
    assert np.abs(cold - warm).max() > 1e-3


def test_the_batch_size_may_change_between_calls(model: reference.Model, opened: Open) -> None:
    elmo_model = opened()
    elmo_model.batch_size = 2
    assert_same(elmo_model.get_elmo_vectors(FIVE, layers="all"), old(model, FIVE, 2, warmup=True))


def test_several_models_may_be_open(model: reference.Model, opened: Open, tmp_path: Path) -> None:
    other = published.published(published.VARIANTS["three layers"])
    first, second = opened(), opened(published.write_pair(tmp_path / "other", other))
    assert_same(first.get_elmo_vectors(FIVE, layers="all"), old(model, FIVE, 32, warmup=True))
    assert_same(second.get_elmo_vectors(FIVE, layers="all"), old(other, FIVE, 32, warmup=True))
    assert_same(first.get_elmo_vectors(FIVE, layers="all"), old(model, FIVE, 32, warmup=True))


# -- means ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("batch_size", [2, 32])
def test_a_mean_counts_the_padding_of_its_batch(
    batch_size: int, warmup: bool, model: reference.Model, opened: Open
) -> None:
    found = opened(max_batch_size=batch_size).get_elmo_vector_average(FIVE, warmup=warmup)
    averages = LAYERS["average"](old(model, FIVE, batch_size, warmup=warmup))
    longest = [max(map(len, FIVE[i // batch_size * batch_size :][:batch_size])) for i in range(5)]
    means = [vectors[:size].mean(axis=0) for vectors, size in zip(averages, longest, strict=True)]
    assert_same(found, scaled(np.array(means)))


def test_a_mean_of_the_top_layer_is_that_of_its_tokens(model: reference.Model, opened: Open) -> None:
    texts = [text for text in FIVE if text]
    found = opened().get_elmo_vector_average(texts, layers="top")
    top = LAYERS["top"](old(model, texts, 32, warmup=True))
    assert_same(found, scaled(np.array([v[: len(text)].mean(axis=0) for v, text in zip(top, texts, strict=True)])))


def test_the_means_of_all_layers_are_theirs(model: reference.Model, opened: Open) -> None:
    found = opened().get_elmo_vector_average(FIVE, layers="all")
    assert_same(found, scaled(old(model, FIVE, 32, warmup=True).mean(axis=2)))
    assert np.allclose((found**2).sum(axis=(1, 2)), 1)


# -- warm or not ---------------------------------------------------------------------------------


def _off_at_once(open_: Open) -> ElmoModel:
    return open_(stateful=False, max_batch_size=2)


def _off_later(open_: Open) -> ElmoModel:
    elmo_model = open_(max_batch_size=2)
    elmo_model.get_elmo_vectors(FIVE)
    elmo_model.stateful = False
    return elmo_model


@pytest.mark.parametrize("turned_off", [_off_at_once, _off_later])
def test_without_warm_state_vectors_are_those_of_lowtide(
    turned_off: Callable[[Open], ElmoModel], opened: Open, folder: Path
) -> None:
    elmo_model = turned_off(opened)
    alone = lowtide.load(folder, device="cpu").embed_layers(FIVE)
    expected = np.zeros((5, 3, 6, 10))
    for row, layers in zip(expected, alone, strict=True):
        row[:, : layers.shape[1]] = layers
    assert_same(elmo_model.get_elmo_vectors(FIVE, layers="all"), expected)
    assert_same(elmo_model.get_elmo_vectors(FIVE, layers="all"), expected)
    means = np.array([layers.mean(axis=0).mean(axis=0) for layers in alone if layers.size])
    texts = [text for text in FIVE if text]
    assert_same(elmo_model.get_elmo_vector_average(texts), scaled(means.astype(np.float64)))


def test_each_object_says_once_that_its_vectors_depend_on_others(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lowtide")
    elmo_model = opened()
    elmo_model.get_elmo_vectors(FIVE)
    elmo_model.get_elmo_vector_average(FIVE)
    told = [record.getMessage() for record in caplog.records if record.name == "lowtide"]
    assert len(told) == 1 and "stateful=False" in told[0]


def test_nothing_is_said_of_a_state_that_is_off(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lowtide")
    opened(stateful=False).get_elmo_vectors(FIVE)
    assert not caplog.records


# -- what goes in --------------------------------------------------------------------------------


def _generated(texts: Sequence[Sequence[str]]) -> Iterator[Iterator[str]]:
    return (iter(text) for text in texts)


@pytest.mark.parametrize("made", [tuple, np.array, _generated, lambda texts: map(tuple, texts)])
def test_texts_may_be_anything_that_gives_tokens(
    made: Callable[[Any], Any], model: reference.Model, opened: Open
) -> None:
    texts = [["the", "tide"], ["goes", "潮水"]]
    assert_same(opened().get_elmo_vectors(made(texts), layers="all"), old(model, texts, 32, warmup=True))


def test_a_text_that_is_no_list_is_its_characters(model: reference.Model, opened: Open) -> None:
    found = opened().get_elmo_vectors(["a b", "潮水"], layers="all")
    assert_same(found, old(model, [["a", " ", "b"], ["潮", "水"]], 32, warmup=True))


def test_odd_tokens_are_spelled_as_they_were(model: reference.Model, opened: Open) -> None:
    found = opened().get_elmo_vectors(published.SENTENCES, layers="all")
    assert_same(found, old(model, published.SENTENCES, 32, warmup=True))


@pytest.mark.parametrize(("layers", "shape"), [("average", ()), ("all", (3,))])
@pytest.mark.filterwarnings("error")
def test_empty_texts_have_no_vectors_and_a_mean_of_zero(layers: str, shape: tuple[int, ...], opened: Open) -> None:
    elmo_model = opened()
    assert elmo_model.get_elmo_vectors([], layers=layers).shape == (0, *shape, 0, 10)
    assert elmo_model.get_elmo_vectors([[], []], layers=layers).shape == (2, *shape, 0, 10)
    assert elmo_model.get_elmo_vector_average([], layers=layers).shape == (0, *shape, 10)
    assert_same(elmo_model.get_elmo_vector_average([[], []], layers=layers), np.zeros((2, *shape, 10)))


@pytest.mark.parametrize("texts", [None, 3, [3], [None], [["the", 3]], [[["the"]]]])
@pytest.mark.parametrize("method", ["get_elmo_vectors", "get_elmo_vector_average"])
def test_what_is_no_text_is_refused(method: str, texts: Any, opened: Open) -> None:
    with pytest.raises(InputError, match="expected a"):
        getattr(opened(), method)(texts)


@pytest.mark.parametrize("layers", ["mean", None, 0])
def test_an_unknown_choice_of_layers_is_refused(layers: Any, opened: Open) -> None:
    with pytest.raises(InputError, match="expected one of average, top, all"):
        opened().get_elmo_vectors(FIVE, layers=layers)


@pytest.mark.parametrize("batch_size", [0, -1, "3", None])
def test_a_batch_without_rows_is_refused(batch_size: Any, opened: Open) -> None:
    with pytest.raises(InputError, match="expected a whole number from 1 on"):
        opened(max_batch_size=batch_size).get_elmo_vectors(FIVE)


def test_a_session_is_refused(opened: Open) -> None:
    with pytest.raises(InputError, match="no TensorFlow"):
        opened().get_elmo_vectors(FIVE, session=object())  # type: ignore[arg-type]  # as old code does


@pytest.mark.parametrize("method", ["get_elmo_vectors", "get_elmo_vector_average", "get_elmo_substitutes"])
def test_a_model_that_was_not_loaded_says_so(method: str) -> None:
    with pytest.raises(InputError, match=r"call load\(directory\) first"):
        getattr(ElmoModel(), method)(["the tide"])


# -- loading -------------------------------------------------------------------------------------


def _packed(folder: Path) -> Path:
    return published.write_zip(folder.parent / "999.zip", published.nlpl_files(folder))


def _named(folder: Path) -> Path:
    return folder / "weights.hdf5"


def _among_others(folder: Path) -> Path:
    (folder / "weights.hdf5").rename(folder / "model.hdf5")
    published.write_cache(folder / "a.hdf5", np.zeros((2, 2), np.float32))
    return folder


def _first_by_name(folder: Path) -> Path:
    published.write_cache(folder / "zzz.hdf5", np.zeros((2, 2), np.float32))
    return folder


def _beside_a_checkpoint(folder: Path) -> Path:
    (folder / "model.ckpt-1.index").write_bytes(b"")
    return folder


def _with_words_alone(folder: Path) -> Path:
    published.write_words(folder / "vocab.txt", ["The", "tide"])
    return folder


@pytest.mark.parametrize(
    "made", [Path, _packed, _named, _among_others, _first_by_name, _beside_a_checkpoint, _with_words_alone]
)
def test_a_model_is_read_from_where_it_lies(
    made: Callable[[Path], Path], model: reference.Model, opened: Open, tmp_path: Path
) -> None:
    path = made(published.write_pair(tmp_path / "model", model))
    assert_same(opened(path).get_elmo_vectors(FIVE, layers="all"), old(model, FIVE, 32, warmup=True))


@pytest.mark.parametrize("limit", [0, 10**6])
def test_the_size_of_the_old_cache_does_not_matter(limit: int, opened: Open) -> None:
    assert np.array_equal(opened(limit=limit).get_elmo_vectors(FIVE), opened().get_elmo_vectors(FIVE))


def test_sizes_are_there_when_the_model_is_loaded(folder: Path) -> None:
    elmo_model = ElmoModel()
    names = ("batch_size", "max_chars", "vector_size", "n_layers", "vocab")
    assert [getattr(elmo_model, name) for name in names] == [None] * 5
    assert repr(elmo_model) == "ElmoModel(stateful=True)"
    elmo_model.load(folder, max_batch_size=7)
    assert [getattr(elmo_model, name) for name in names] == [7, 10, 10, 3, None]
    assert str(folder) in repr(elmo_model)


def test_a_model_of_words_can_be_loaded(opened: Open, tmp_path: Path) -> None:
    model = published.published(published.WORD_CONFIG)
    elmo_model = opened(published.write_pair(tmp_path / "model", model, words=published.WORDS), stateful=True)
    found = elmo_model.get_elmo_vectors([["the", "tide"], ["退了"]], warmup=False, layers="all")
    expected = published.expected_layers(model, [["the", "tide"], ["退了"]], published.WORDS)
    assert elmo_model.max_chars is None
    assert_same(found[0], expected[0])
    assert_same(found[1], np.concatenate([expected[1], np.zeros_like(expected[1])], axis=1))


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match="is not there"):
        ElmoModel().load(tmp_path / "nowhere")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no model"):
        ElmoModel().load(tmp_path)


# -- substitutes ---------------------------------------------------------------------------------


def test_substitutes_are_what_the_language_model_expects(checkpoint: published.Checkpoint, opened: Open) -> None:
    words = list(checkpoint.words)
    elmo_model = opened(checkpoint.folder, full=True)
    assert elmo_model.vocab is not None and set(elmo_model.vocab.types) == set(words)
    [found] = elmo_model.get_elmo_substitutes(["the tide zebra"], topn=len(words), nodelimiters=False)
    top = reference.run_sentence(checkpoint.model, ["the", "tide", "zebra"])[-1]
    left, right = np.split(top, 2, axis=1)
    assert [place["word"] for place in found] == ["the", "tide", "<UNK>"]
    for number, place in enumerate(found):
        for direction, state in (("forward", left[number]), ("backward", right[number + 2])):
            expected = np.log(reference.probabilities(state[None], checkpoint.weight, checkpoint.bias)[0])
            candidates = place[direction]
            assert candidates["candidate_words"] == [words[i] for i in np.argsort(expected)]
            np.testing.assert_allclose(candidates["logp"], np.sort(expected), atol=1e-4)
            types = elmo_model.vocab.types
            assert [types[i] for i in candidates["candidates"]] == candidates["candidate_words"]


def test_substitutes_leave_out_marks_and_what_is_less_likely(checkpoint: published.Checkpoint, opened: Open) -> None:
    elmo_model = opened(checkpoint.folder, full=True)
    [every] = elmo_model.get_elmo_substitutes(["the tide"], topn=100, nodelimiters=False)
    [best] = elmo_model.get_elmo_substitutes(["the tide"])
    for whole, few in zip(every, best, strict=True):
        for direction in ("forward", "backward"):
            kept = [word for word in whole[direction]["candidate_words"] if word not in ("<S>", "</S>")][-3:]
            assert few[direction]["candidate_words"] == kept


def test_substitutes_take_lists_of_tokens_and_empty_texts(checkpoint: published.Checkpoint, opened: Open) -> None:
    elmo_model = opened(checkpoint.folder, full=True)
    texts = ["  the   tide ", "", "a"]
    assert elmo_model.get_elmo_substitutes(texts) == elmo_model.get_elmo_substitutes([["the", "tide"], [], ["a"]])  # type: ignore[list-item]  # more than the original took
    assert elmo_model.get_elmo_substitutes(texts)[1] == []
    assert elmo_model.get_elmo_substitutes([]) == []


def test_vectors_of_a_whole_model_are_there_too(checkpoint: published.Checkpoint, opened: Open) -> None:
    found = opened(checkpoint.folder, full=True).get_elmo_vectors(FIVE, layers="all")
    assert_same(found, old(checkpoint.model, FIVE, 32, warmup=True))


def test_a_checkpoint_is_found_beside_an_hdf5_file(checkpoint: published.Checkpoint, opened: Open) -> None:
    (checkpoint.folder / "model.hdf5").write_bytes(b"")
    assert opened(checkpoint.folder, full=True).get_elmo_substitutes(["the tide"])


@pytest.mark.parametrize("topn", [0, -1, None])
def test_no_substitutes_at_all_are_refused(topn: Any, checkpoint: published.Checkpoint, opened: Open) -> None:
    with pytest.raises(InputError, match="topn is"):
        opened(checkpoint.folder, full=True).get_elmo_substitutes(["the tide"], topn=topn)


def test_a_model_without_a_softmax_has_no_substitutes(folder: Path, opened: Open) -> None:
    with pytest.raises(ModelError, match="has no softmax"):
        opened().get_elmo_substitutes(["the tide"])
    with pytest.raises(ModelError, match="has no softmax"):
        opened(full=True)
