"""Warm state: what the published tools remembered from batch to batch, and nobody else does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import published
import tiny
from lowtide.embeddings import Elmo, load
from lowtide.embeddings.base import Vectors
from lowtide.embeddings.session import Session
from lowtide.embeddings.warm_state import WarmState
from lowtide.errors import InputError, LowtideError
from lowtide.text.batches import batch_of_documents
from lowtide.weights.native import save_model
from model import reference
from published import WORDS, write_pair

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "allennlp"

Batch = list[list[str]]

BATCHES: list[Batch] = [
    [["the", "tide"], ["goes"], ["out", "of", "the", "bay"]],
    [["the", "tide"], []],
    [["退了"], ["the", "tide", "🌊"], ["a"], ["the", "tide", "goes", "out", "again"]],
    [["the", "tide"]],
    [["the", "tide"], ["goes"], ["out"], ["the"], ["moon"]],
    [["the", "tide"], ["the", "tide"], ["the", "tide"], ["the", "tide"]],
]
"""Of changing sizes: rows come, stay away and come again, longer and shorter than the others."""


class Remembered:
    """The reference, which remembers."""

    def __init__(self, model: reference.Model, words: Sequence[str] | None = None) -> None:
        self._model, self._words = model, words
        self.memory: dict[int, tuple[list[reference.State], list[reference.State]]] = {}

    def layers(self, batch: Batch) -> list[reference.Array]:
        """Every layer of every sentence of a batch, boundaries removed."""
        vectors = [reference.sentence_vectors(self._model, sentence, self._words) for sentence in batch]
        return [layers[:, 1:-1] for layers in reference.run_batch(self._model, vectors, self.memory)]


def session_of(folder: Path, rows: int | None = None) -> Session:
    session = load(folder, stateful=True, device="cpu")
    return session if rows is None else Session(session.elmo, rows=rows)


def assert_agree(session: Session, model: reference.Model, words: Sequence[str] | None = None) -> None:
    expected = Remembered(model, words)
    for batch in BATCHES:
        published.assert_agree(session.embed_layers(batch), expected.layers(batch))


@pytest.fixture(scope="module")
def model() -> reference.Model:
    return published.published()


@pytest.fixture(scope="module")
def folder(model: reference.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair(tmp_path_factory.mktemp("session"), model)


@pytest.fixture
def session(folder: Path) -> Session:
    return session_of(folder)


# -- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variant", ["as published", "no residual", "one layer", "three layers", "no clips", "no projection of the state"]
)
def test_rows_go_on_where_they_ended(variant: str, tmp_path: Path) -> None:
    model = published.published(published.VARIANTS[variant])
    assert_agree(session_of(write_pair(tmp_path, model)), model)


def test_rows_of_words_go_on_where_they_ended(tmp_path: Path) -> None:
    model = published.published(published.WORD_CONFIG)
    assert_agree(session_of(write_pair(tmp_path, model, words=WORDS)), model, WORDS)


def test_rows_of_a_model_of_ours_go_on_where_they_ended(saved_bytes: tiny.Saved) -> None:
    assert_agree(session_of(saved_bytes.folder), tiny.published(saved_bytes.bilm))


@settings(derandomize=True, deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(st.lists(st.sampled_from(["the", "tide", "退了"]), max_size=3), max_size=4), min_size=1, max_size=4
    )
)
def test_any_batches_agree_with_the_reference(folder: Path, model: reference.Model, batches: list[Batch]) -> None:
    session, expected = session_of(folder), Remembered(model)
    for batch in batches:
        published.assert_agree(session.embed_layers(batch), expected.layers(batch))


def test_what_is_remembered_changes_what_comes(session: Session) -> None:
    first = session.embed_layers([["the", "tide"]])[0]
    second = session.embed_layers([["the", "tide"]])[0]
    np.testing.assert_array_equal(first[0], second[0])
    half = first.shape[2] // 2
    assert np.abs(first - second)[1:, :, :half].max() > 1e-3 and np.abs(first - second)[1:, :, half:].max() > 1e-3


@pytest.mark.shared
@pytest.mark.skipif(not FIXTURE.is_dir(), reason="the public fixture is not here")
def test_the_published_numbers_come_out() -> None:
    session = load(FIXTURE / "options.json", weights=FIXTURE / "lm_weights.hdf5", stateful=True, device="cpu")
    lists = json.loads((FIXTURE / "sentences.json").read_text(encoding="utf-8"))
    worst = cold = 0.0
    for number in range(10):
        batch = [lists[row][number].split() for row in range(3)]
        tops = [layers[-1] for layers in session.embed_layers(batch)]
        alone = [layers[-1] for layers in session.elmo.embed_layers(batch)]
        for row in range(3):
            with h5py.File(FIXTURE / f"lm_embeddings_{row}.hdf5") as file:
                expected = np.concatenate(list(file[str(number)][...]), axis=1)  # forward, then backward
            worst = max(worst, float(np.abs(tops[row] - expected).max()))
            cold = max(cold, float(np.abs(alone[row] - expected).max()))
    assert worst <= 2e-6
    assert cold > 1  # without the state it is another text


# -- rows, and forgetting --------------------------------------------------------------------------


def test_the_first_batch_is_as_without_memory(session: Session) -> None:
    published.assert_agree(session.embed_layers(BATCHES[0]), session.elmo.embed_layers(BATCHES[0]))


def test_after_a_reset_everything_begins_again(session: Session) -> None:
    first = [session.embed_layers(batch) for batch in BATCHES]
    session.reset()
    second = [session.embed_layers(batch) for batch in BATCHES]
    for one, other in zip(first, second, strict=True):
        assert [vectors.tobytes() for vectors in one] == [vectors.tobytes() for vectors in other]


def test_two_sessions_of_a_model_know_nothing_of_each_other(session: Session) -> None:
    other = Session(session.elmo)
    session.embed(BATCHES[0])
    published.assert_agree(other.embed_layers(BATCHES[0]), session.elmo.embed_layers(BATCHES[0]))


def test_the_model_of_a_session_remembers_nothing(session: Session) -> None:
    before = session.elmo.embed_layers(BATCHES[0])
    session.embed(BATCHES[2])
    after = session.elmo.embed_layers(BATCHES[0])
    assert [vectors.tobytes() for vectors in before] == [vectors.tobytes() for vectors in after]


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_a_call_is_cut_into_batches_of_so_many_rows(rows: int, folder: Path, model: reference.Model) -> None:
    sentences = [sentence for batch in BATCHES for sentence in batch]
    expected, memory = [], Remembered(model)
    for first in range(0, len(sentences), rows):
        expected += memory.layers(sentences[first : first + rows])
    published.assert_agree(session_of(folder, rows).embed_layers(sentences), expected)


def test_with_rows_it_does_not_matter_how_the_calls_are_cut(folder: Path) -> None:
    sentences = [["the", "tide"], ["goes"], ["out"], ["the", "bay"]]
    whole = session_of(folder, 2).embed(sentences)
    cut = session_of(folder, 2)
    halves = [*cut.embed(sentences[:2]), *cut.embed(sentences[2:])]
    assert [vectors.tobytes() for vectors in whole] == [vectors.tobytes() for vectors in halves]


@pytest.mark.parametrize("rows", [0, -1])
def test_a_batch_without_rows_is_refused(rows: int, session: Session) -> None:
    with pytest.raises(InputError, match="expected at least 1"):
        Session(session.elmo, rows=rows)


def test_true_is_no_number_of_rows(folder: Path, tmp_path: Path) -> None:
    texts = write_lines(tmp_path / "text.txt", [["the"], ["tide"]])
    with pytest.raises(InputError):
        load(folder, device="cpu").embed_to(texts, tmp_path / "out.h5", stateful=True)


def test_all_layers_are_asked_for_as_of_the_model(session: Session) -> None:
    with pytest.raises(InputError, match="embed_layers"):
        session.embed(BATCHES[0], layers="all")


def test_no_sentences_change_nothing(session: Session) -> None:
    session.embed(BATCHES[0])
    twin = Session(session.elmo)
    twin.embed(BATCHES[0])
    assert session.embed([]) == []
    one, other = session.embed(BATCHES[2]), twin.embed(BATCHES[2])
    assert [vectors.tobytes() for vectors in one] == [vectors.tobytes() for vectors in other]


def test_an_empty_sentence_is_read_as_its_two_marks(folder: Path, model: reference.Model) -> None:
    session, expected = session_of(folder), Remembered(model)
    batches: list[Batch] = [[["the"]], [[]], [["the"]]]
    for batch in batches:
        published.assert_agree(session.embed_layers(batch), expected.layers(batch))


def test_named_rows_go_on_and_all_others_stay(folder: Path, model: reference.Model) -> None:
    """The rows of a pass may be any of those that are remembered."""
    session = session_of(folder)
    encoder, warm, memory = session.elmo.encoder(), WarmState(), Remembered(model)

    def run(batch: Batch, rows: list[int] | None) -> list[Vectors]:
        with torch.inference_mode():
            prepared, _ = batch_of_documents([[sentence] for sentence in batch], encoder.spelling)
            layers = warm.run(encoder.bilm, prepared, rows).layers.numpy()
        return [layers[:, row, 1 : 1 + len(sentence)] for row, sentence in enumerate(batch)]

    steps: list[tuple[Batch, list[int]]] = [
        ([["the"], ["tide", "goes"]], [0, 1]),
        ([["out"], ["a", "b"]], [3, 1]),
        ([["x"], ["y"], ["z", "z"]], [2, 0, 3]),
        ([["the"], ["the"], ["the"], ["the"]], [0, 1, 2, 3]),
    ]
    states: dict[int, tuple[list[reference.State], list[reference.State]]] = {}
    for batch, rows in steps:
        here = {place: states[row] for place, row in enumerate(rows) if row in states}
        memory.memory = here
        expected = memory.layers(batch)
        states |= {row: here[place] for place, row in enumerate(rows)}
        published.assert_agree(run(batch, rows), expected)


# -- as Elmo -------------------------------------------------------------------------------------


def test_load_gives_a_session_only_if_asked(folder: Path) -> None:
    assert isinstance(load(folder, stateful=True, device="cpu"), Session)
    assert isinstance(load(folder, device="cpu"), Elmo) and isinstance(load(folder, stateful=False, device="cpu"), Elmo)


def test_one_text_is_a_batch_of_one_row(folder: Path) -> None:
    one, other = session_of(folder), session_of(folder)
    for text in ("The tide goes out.", "The tide."):
        found = one.embed(text)
        assert found.tobytes() == other.embed([text])[0].tobytes() and found.dtype == np.float32
    assert one.embed_layers("The tide.").tobytes() == other.embed_layers(["The tide."])[0].tobytes()


@pytest.mark.parametrize("layers", ["mix", "top", "average", "sum", 0, 1, 2])
def test_layers_are_chosen_as_of_the_model(layers: str | int, session: Session) -> None:
    found, expected = session.embed(BATCHES[0], layers=layers), session.elmo.embed(BATCHES[0], layers=layers)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6)


def test_vectors_belong_to_the_caller(session: Session) -> None:
    for vectors in session.embed(BATCHES[0]):
        assert vectors.flags.owndata and vectors.flags.writeable
        vectors[...] = 7
    published.assert_agree(Session(session.elmo).embed_layers(BATCHES[0]), session.elmo.embed_layers(BATCHES[0]))


@pytest.mark.parametrize("texts", [7, [7], [["a", 7]], None])
def test_what_is_no_sentence_is_refused_and_not_remembered(texts: object, session: Session) -> None:
    with pytest.raises(LowtideError):
        session.embed(texts)  # type: ignore[call-overload]  # that is the point
    published.assert_agree(session.embed_layers(BATCHES[0]), session.elmo.embed_layers(BATCHES[0]))


def test_a_layer_that_is_not_there_is_refused(session: Session) -> None:
    with pytest.raises(InputError):
        session.embed(BATCHES[0], layers=3)


def test_a_session_says_what_it_is(session: Session) -> None:
    assert repr(session.elmo) in repr(session) and "rows=None" in repr(session)


# -- files ---------------------------------------------------------------------------------------


def write_lines(path: Path, sentences: Sequence[Sequence[str]]) -> Path:
    path.write_text("".join(f"{' '.join(sentence)}\n" for sentence in sentences), encoding="utf-8")
    return path


def vectors_of(path: Path) -> list[Vectors]:
    with h5py.File(path) as file:
        return [file[str(number)][...] for number in range(sum(name.isdigit() for name in file))]


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_a_file_is_embedded_in_batches_of_so_many_rows(
    rows: int, folder: Path, model: reference.Model, tmp_path: Path
) -> None:
    sentences = [sentence for batch in BATCHES for sentence in batch]
    memory, expected = Remembered(model), []
    for first in range(0, len(sentences), rows):
        expected += memory.layers(sentences[first : first + rows])
    elmo = load(folder, device="cpu")
    texts = write_lines(tmp_path / "text.txt", sentences)
    count = elmo.embed_to(texts, tmp_path / "out.h5", layers="all", is_tokenized=True, stateful=rows)
    assert count == len(sentences)
    published.assert_agree(vectors_of(tmp_path / "out.h5"), expected)


def test_a_file_is_embedded_without_memory_unless_asked(folder: Path, tmp_path: Path) -> None:
    elmo = load(folder, device="cpu")
    sentences = [["the", "tide"], ["goes"], ["the", "tide"]]
    texts = write_lines(tmp_path / "text.txt", sentences)
    elmo.embed_to(texts, tmp_path / "out.h5", layers="all", is_tokenized=True)
    published.assert_agree(vectors_of(tmp_path / "out.h5"), elmo.embed_layers(sentences))


@pytest.mark.parametrize("rows", [0, -3])
def test_a_file_in_batches_without_rows_is_refused_and_nothing_is_written(
    rows: int, folder: Path, tmp_path: Path
) -> None:
    texts = write_lines(tmp_path / "text.txt", [["the"]])
    with pytest.raises(InputError, match="expected at least 1"):
        load(folder, device="cpu").embed_to(texts, tmp_path / "out.h5", stateful=rows)
    assert not (tmp_path / "out.h5").exists()


def test_documents_are_rows_like_any_other_sentence(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    """A model that was trained on documents remembers by rows, too, if it is asked to: blank lines or not."""
    config = dataclasses.replace(saved_bytes.config, documents=True)
    save_model(tmp_path / "model", config, saved_bytes.vocabulary, saved_bytes.bilm, None)
    sentences = [["the", "tide"], ["goes"], [], ["the", "tide"]]
    texts = write_lines(tmp_path / "text.txt", sentences)
    elmo, plain = (load(path, device="cpu") for path in (tmp_path / "model", saved_bytes.folder))
    for name, one in (("a.h5", elmo), ("b.h5", plain)):
        one.embed_to(texts, tmp_path / name, layers="all", is_tokenized=True, stateful=2)
    first, second = vectors_of(tmp_path / "a.h5"), vectors_of(tmp_path / "b.h5")
    assert [vectors.tobytes() for vectors in first] == [vectors.tobytes() for vectors in second]
