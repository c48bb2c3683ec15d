from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from lowtide.embeddings import Elmo, engine
from lowtide.embeddings.encoder import Encoder, sentence_places
from lowtide.embeddings.engine import Engine
from lowtide.embeddings.layers import Reduction, choose_layers
from lowtide.embeddings.readers import Piece, Reader
from lowtide.errors import InputError
from lowtide.model import BiLMConfig, JointLSTM
from lowtide.model.products import Dtype
from lowtide.text.batches import Document
from lowtide.text.characters import ByteSpelling

SENTENCES = [[f"w{n % 5}"] * (n * 7 % 11) for n in range(20)]


def embedded(elmo: Elmo, sentences: list[list[str]], layers: str = "all") -> list[np.ndarray]:
    documents = [[sentence] for sentence in sentences]
    return list(Engine(elmo.encoder()).embed(documents, choose_layers(layers, elmo.num_layers)))


@pytest.mark.parametrize("max_positions", [1, 13, 40, 100_000])
def test_the_size_of_a_batch_changes_no_vector(elmo: Elmo, max_positions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = embedded(elmo, SENTENCES)
    monkeypatch.setattr(engine, "MAX_POSITIONS", max_positions)
    for found, vectors in zip(embedded(elmo, SENTENCES), expected, strict=True):
        np.testing.assert_allclose(found, vectors, rtol=0, atol=1e-5)


@pytest.mark.parametrize("window_positions", [1, 30, 100_000])
def test_answers_come_in_the_order_of_the_sentences(
    elmo: Elmo, window_positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "WINDOW_POSITIONS", window_positions)
    monkeypatch.setattr(engine, "MAX_POSITIONS", 40)
    alone = [embedded(elmo, [sentence])[0] for sentence in SENTENCES]
    for found, vectors in zip(embedded(elmo, SENTENCES), alone, strict=True):
        np.testing.assert_allclose(found, vectors, rtol=0, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(6)))
def test_neither_order_nor_company_changes_a_vector(elmo: Elmo, order: list[int]) -> None:
    expected = embedded(elmo, SENTENCES)
    for place, vectors in zip(order, embedded(elmo, [SENTENCES[n] for n in order]), strict=True):
        np.testing.assert_allclose(vectors, expected[place], rtol=0, atol=1e-5)


def test_sentences_are_read_a_window_at_a_time(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WINDOW_POSITIONS", 9)
    read: list[int] = []

    def source() -> Iterator[list[list[str]]]:
        for number in range(100):
            read.append(number)
            yield [["tide"]]

    stream = Engine(elmo.encoder()).embed(source(), choose_layers("mix", 3))
    assert read == []
    next(stream)
    assert read == [0, 1, 2]


def test_an_answer_keeps_no_batch_alive(elmo: Elmo) -> None:
    assert all(vectors.base is None for vectors in embedded(elmo, SENTENCES))


def test_answers_are_float32_at_any_dtype_of_the_network(elmo: Elmo) -> None:
    double = torch.nn.Module.double(_own_copy(elmo))
    answers = Engine(double).embed([[s] for s in SENTENCES], choose_layers("mix", 3))  # type: ignore[arg-type]  # double() is typed as any module
    for found, vectors in zip(answers, embedded(elmo, SENTENCES, "mix"), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, vectors, rtol=0, atol=1e-5)


def _own_copy(elmo: Elmo) -> torch.nn.Module:
    return Elmo.open(elmo.stored.path, device="cpu").encoder()


def test_no_sentences_give_no_answers(elmo: Elmo) -> None:
    assert embedded(elmo, []) == []


# -- memory that runs out --------------------------------------------------------------------------

OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: not enough memory: you tried to allocate"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
]
LONG: list[list[str]] = [[f"w{n % 7}"] * (n * 5 % 13) for n in range(60)]


class Narrow:
    """A reader that refuses to make a piece of more positions than a limit, from some position of the rows on."""

    def __init__(self, reader: Reader, error: Exception, limit: int, first: int = 0) -> None:
        self._reader, self._error, self._limit, self._first = reader, error, limit, first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def read(self, documents: Sequence[Document], max_positions: int) -> Iterator[Piece]:
        for piece in self._reader.read(documents, max_positions):
            if piece.states.mask.numel() > self._limit and piece.first >= self._first:
                raise self._error
            yield piece


def narrowed(elmo: Elmo, error: Exception, limit: int, first: int = 0) -> Engine:
    """An engine with little memory."""
    narrow = Engine(elmo.encoder())
    make_reader = narrow._make_reader
    narrow._make_reader = lambda: Narrow(make_reader(), error, limit, first)  # type: ignore[method-assign]  # a double
    return narrow


def all_of(engine_: Engine, documents: Sequence[Document]) -> list[np.ndarray]:
    return list(engine_.embed(documents, choose_layers("all", 3)))


def compare(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    assert [vectors.shape for vectors in found] == [vectors.shape for vectors in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("error", "limit"),
    [*((error, 700) for error in OUT_OF_MEMORY), (MemoryError(), 90)],
    ids=lambda value: str(value)[-9:],
)
def test_where_memory_runs_out_smaller_batches_give_the_same_vectors(
    elmo: Elmo, error: Exception, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    documents = [[sentence] for sentence in LONG] + [LONG[:20], [], LONG[20:25]]
    narrow = narrowed(elmo, error, limit)
    compare(all_of(narrow, documents), all_of(Engine(elmo.encoder()), documents))
    quick = Engine(elmo.encoder()).max_positions
    assert 64 <= narrow.max_positions < quick
    assert caplog.messages[0] == f"out of memory; going on with batches of {quick // 2:,} positions"


@pytest.mark.parametrize("first", [0, 200])
@pytest.mark.parametrize("document", [LONG, [[token for sentence in LONG for token in sentence]]], ids=["many", "one"])
def test_a_long_document_whose_beginning_was_given_goes_on_without_a_gap(
    elmo: Elmo, document: list[list[str]], first: int
) -> None:
    narrow = narrowed(elmo, MemoryError(), 80, first)
    narrow.max_positions = 128
    compare(all_of(narrow, [document]), all_of(Engine(elmo.encoder()), [document]))
    assert narrow.max_positions == 64


def test_what_was_given_before_memory_ran_out_is_not_given_again(elmo: Elmo) -> None:
    narrow = narrowed(elmo, MemoryError(), 80, first=200)
    narrow.max_positions = 128
    stream = narrow.embed([LONG], choose_layers("mix", 3))
    given = [next(stream) for _ in range(20)]
    assert narrow.max_positions == 128  # it has not run out yet
    given += stream
    assert narrow.max_positions == 64
    assert [len(vectors) for vectors in given] == [len(sentence) for sentence in LONG]


def test_another_error_is_not_taken_for_a_lack_of_memory(elmo: Elmo) -> None:
    for documents in ([[sentence] for sentence in LONG], [LONG]):
        wrong = narrowed(elmo, RuntimeError("mat1 and mat2 shapes cannot be multiplied"), 70)
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            all_of(wrong, documents)
        assert wrong.max_positions == Engine(elmo.encoder()).max_positions


def test_where_there_is_no_memory_for_the_least_the_error_is_raised(elmo: Elmo) -> None:
    for documents in ([[sentence] for sentence in LONG], [LONG]):
        nothing = narrowed(elmo, MemoryError("none at all"), 1)
        with pytest.raises(MemoryError, match="none at all"):
            all_of(nothing, documents)
        assert nothing.max_positions == 64


def test_what_was_read_before_memory_ran_out_is_not_read_again(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_POSITIONS", 32)  # batches of 128 positions, as the network is small
    narrow = narrowed(elmo, MemoryError(), 100)
    read: list[int] = []
    monkeypatch.setattr(narrow, "_halve", lambda error: setattr(narrow, "max_positions", 64))
    embed_group = narrow._embed_group

    def noted(documents: Sequence[Document], reduction: Reduction) -> list[list[np.ndarray]]:
        found = embed_group(documents, reduction)
        read.extend(id(document) for document in documents)
        return found

    monkeypatch.setattr(narrow, "_embed_group", noted)
    # the first batch is small enough, the second is not
    documents = [[["a"] * 50], [["b"] * 40], *([[f"w{n}"] * 6] for n in range(40))]
    narrow._make_reader = _from_the_second_batch_on(narrow._make_reader)  # type: ignore[method-assign]  # a double
    compare(all_of(narrow, documents), all_of(Engine(elmo.encoder()), documents))
    assert narrow.max_positions == 64 and sorted(read) == sorted(map(id, documents))


def _from_the_second_batch_on(make_reader: Callable[[], Reader]) -> Callable[[], Reader]:
    """A reader that is narrow for documents of less than 40 tokens alone."""

    def make() -> Reader:
        narrow = make_reader()
        assert isinstance(narrow, Narrow)
        whole, read = narrow._reader, narrow.read

        def chosen(documents: Sequence[Document], max_positions: int) -> Iterator[Piece]:
            return (whole.read if len(documents[0][0]) >= 40 else read)(documents, max_positions)

        narrow.read = chosen  # type: ignore[method-assign]  # a double
        return narrow

    return make


@pytest.mark.parametrize("times", [1, 3])
def test_memory_that_ran_out_among_the_types_leaves_none_half_known(
    elmo: Elmo, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [[sentence] for sentence in LONG]
    expected = all_of(Engine(elmo.encoder()), documents)
    network = elmo.encoder().bilm.token_network
    forward, left = network.forward, [times]

    def scarce(spelled: torch.Tensor) -> torch.Tensor:
        if len(spelled) > 16 or not left[0]:
            return forward(spelled)
        left[0] -= 1
        raise MemoryError

    embedding = Engine(elmo.encoder())
    _ = embedding.settings  # packed
    monkeypatch.setattr(network, "forward", scarce)
    compare(all_of(embedding, documents), expected)
    assert not left[0]


# -- what an engine is shared by and goes through --------------------------------------------------


def test_an_engine_that_was_stopped_in_the_middle_of_a_batch_goes_on_as_if_it_had_not_been(
    saved_bytes: tiny.Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    elmo = Elmo.open(saved_bytes.folder, device="cpu")
    expected = embedded(elmo, SENTENCES)
    elmo = Elmo.open(saved_bytes.folder, device="cpu")
    elmo.embed(SENTENCES[:2])
    network = elmo.encoder().bilm.token_network

    def stop(spelled: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(network, "forward", stop)
        with pytest.raises(KeyboardInterrupt):
            elmo.embed(SENTENCES)
    compare(elmo.embed_layers(SENTENCES), expected)


def test_two_threads_may_embed_with_one_model(saved_bytes: tiny.Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    elmo = Elmo.open(saved_bytes.folder, device="cpu")
    sentences = [["the", "tide", "goes", "out"], ["river", "bank"]]
    expected = Elmo.open(saved_bytes.folder, device="cpu").embed(sentences)
    elmo.embed([["."]])
    network = elmo.encoder().bilm.token_network
    forward, has_begun, may_go_on = network.forward, threading.Event(), threading.Event()

    def slow(spelled: torch.Tensor) -> torch.Tensor:
        has_begun.set()
        may_go_on.wait(0.3)
        return forward(spelled)

    monkeypatch.setattr(network, "forward", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(elmo.embed, sentences)
        assert has_begun.wait(30)
        second = pool.submit(elmo.embed, sentences)
        for future in (second, first):
            try:
                compare(future.result(), expected)
            finally:
                may_go_on.set()


def test_a_model_that_has_embedded_can_be_pickled_and_copied(elmo: Elmo) -> None:
    expected = elmo.embed(SENTENCES)
    for other in (pickle.loads(pickle.dumps(elmo)), copy.deepcopy(elmo)):
        compare(other.embed(SENTENCES), expected)


def test_a_model_that_was_opened_without_gradients_embeds(saved_bytes: tiny.Saved) -> None:
    with torch.inference_mode():
        elmo = Elmo.open(saved_bytes.folder, device="cpu")
    compare(elmo.embed(SENTENCES), Elmo.open(saved_bytes.folder, device="cpu").embed(SENTENCES))


# -- weights that change ---------------------------------------------------------------------------


def _add(encoder: Encoder) -> None:
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1)


def _train(encoder: Encoder) -> None:
    optimiser = torch.optim.Adam(encoder.parameters(), lr=0.1)
    encoder(SENTENCES[1:4]).layers.square().sum().backward()
    optimiser.step()
    optimiser.zero_grad()


def _load(encoder: Encoder) -> None:
    encoder.load_state_dict({name: tensor * 2 for name, tensor in encoder.state_dict().items()})


def _replace_data(encoder: Encoder) -> None:
    for parameter in encoder.parameters():
        parameter.data = parameter.data * 2


def _one_bias(encoder: Encoder) -> None:
    with torch.no_grad():
        list(encoder.parameters())[-1].view(-1)[0] += 1


CHANGES: list[Callable[[Encoder], object]] = [_add, _train, _load, _replace_data, _one_bias, Encoder.double]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_weights_that_were_changed_are_read_anew(change: Callable[[Encoder], object], saved_bytes: tiny.Saved) -> None:
    elmo = Elmo.open(saved_bytes.folder, device="cpu")
    before = elmo.embed_layers(SENTENCES)
    change(elmo.encoder())
    found = elmo.embed_layers(SENTENCES)
    with torch.no_grad():
        layers = elmo.encoder()(SENTENCES).layers
    for number, vectors in enumerate(found):
        np.testing.assert_allclose(vectors, layers[:, number, : len(SENTENCES[number])], rtol=0, atol=1e-4)
    assert change is Encoder.double or any(not np.allclose(a, b, atol=1e-3) for a, b in zip(found, before, strict=True))


def test_weights_that_did_not_change_are_packed_once(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    embedding = Engine(elmo.encoder())
    make_reader = embedding._make_reader

    def counted() -> Reader:
        made.append(1)
        return make_reader()

    monkeypatch.setattr(embedding, "_make_reader", counted)
    for _ in range(3):
        all_of(embedding, [[sentence] for sentence in SENTENCES])
    assert len(made) == 1


# -- dtypes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["int4", "float16", "float", "double"])
def test_an_unknown_dtype_is_refused(elmo: Elmo, wrong: Dtype) -> None:
    with pytest.raises(InputError, match=rf"unknown dtype '{wrong}'.* Known: float32, bfloat16, int8"):
        Engine(elmo.encoder(), dtype=wrong)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_a_network_whose_directions_meet_takes_float32_alone(dtype: Dtype) -> None:
    with pytest.raises(InputError, match=f"dtype '{dtype}' is for networks of two directions that never meet"):
        Engine(_joint(), dtype=dtype)


def test_a_network_in_another_type_of_number_is_not_quietly_read_as_it_is() -> None:
    encoder = Encoder(tiny.bilm(dtype=torch.float64), ByteSpelling(50))
    with pytest.raises(InputError, match=r"dtype 'int8' is for weights in float32, found torch\.float64"):
        Engine(encoder, dtype="int8")


def _joint() -> Encoder:
    sizes = dataclasses.replace(tiny.LSTM, cell_clip=None, projection_clip=None, has_residual=False, forget_bias=0.0)
    network = JointLSTM(BiLMConfig(sizes, char_cnn=tiny.CHAR_CNN)).eval()
    tiny.random_(network)
    return Encoder(network, ByteSpelling(10))


def test_a_network_whose_directions_meet_gives_the_vectors_of_each_sentence_alone() -> None:
    encoder = _joint()
    found = list(Engine(encoder).embed([[sentence] for sentence in SENTENCES], choose_layers("all", 2)))
    for sentence, vectors in zip(SENTENCES, found, strict=True):
        with torch.inference_mode():
            expected = encoder([sentence]).layers[:, 0]
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)


def test_rows_that_are_read_whole_are_not_batched_as_if_they_were_read_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "MAX_POSITIONS", 1000)
    encoder, read = _joint(), []
    encoder.bilm.register_forward_pre_hook(lambda _, arguments: read.append(arguments[1].shape))
    long = [["a"] * 3000, ["b"] * 2500, ["c"] * 5, ["d"]]
    list(Engine(encoder).embed([[sentence] for sentence in long], choose_layers("top", 2)))
    most = Engine(encoder).max_positions
    assert all(rows == 1 or rows * positions <= most for rows, positions in read)


@pytest.mark.parametrize(("dtype", "least"), [("bfloat16", 0.999), ("int8", 0.9)])
def test_less_exact_vectors_are_nearly_the_same(elmo: Elmo, dtype: Dtype, least: float) -> None:
    found = list(Engine(elmo.encoder(), dtype=dtype).embed([[s] for s in SENTENCES], choose_layers("mix", 3)))
    for one, other in zip(found, embedded(elmo, SENTENCES, "mix"), strict=True):
        cosines = (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)
        assert (cosines >= least).all()


# -- how much is held ------------------------------------------------------------------------------


def test_an_engine_with_little_memory_gives_the_same_vectors(elmo: Elmo) -> None:
    documents = [[sentence] for sentence in LONG] + [LONG]
    small = Engine(elmo.encoder()).limited_to(500_000_000)
    compare(all_of(small, documents), all_of(Engine(elmo.encoder()), documents))


def test_the_same_memory_gives_the_same_sizes_and_the_same_dtype(elmo: Elmo) -> None:
    one, other = (Engine(elmo.encoder(), dtype="int8").limited_to(700_000_000) for _ in range(2))
    assert one.settings == other.settings and one.dtype == "int8"


def test_too_little_memory_is_refused(elmo: Elmo) -> None:
    with pytest.raises(InputError, match=r"1\.0 MB are too little memory: this model needs .*B or more"):
        Engine(elmo.encoder()).limited_to(1_000_000)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_the_settings_can_be_stored(elmo: Elmo, dtype: Dtype) -> None:
    embedding = Engine(elmo.encoder(), dtype=dtype)
    settings_ = embedding.settings
    assert json.loads(json.dumps(settings_)) == settings_ == embedding.settings
    assert settings_["dtype"] == dtype and settings_["threads"] == torch.get_num_threads()
    assert {"kernel", "max_positions", "window_positions"} <= settings_.keys()
    assert json.dumps(Engine(_joint()).settings)


# -- windows ---------------------------------------------------------------------------------------


def test_windows_hold_all_documents_in_order_but_those_without_a_sentence(
    elmo: Elmo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "WINDOW_POSITIONS", 1)
    monkeypatch.setattr(engine, "MAX_POSITIONS", 8)  # a window is four batches or more
    documents: list[Document] = [[], [["a"] * 40], [["b"]], [[]], [], [["c"] * 9], [["d"], []], []]
    embedding = Engine(elmo.encoder())
    windows = list(embedding.windows(documents))
    assert [document for window in windows for document in window] == [document for document in documents if document]
    assert windows[0] == [[["a"] * 40]] and len(windows) > 1


def test_a_window_is_computed_without_a_look_at_any_other(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WINDOW_POSITIONS", 1)
    monkeypatch.setattr(engine, "MAX_POSITIONS", 16)
    embedding, reduction = Engine(elmo.encoder()), choose_layers("all", 3)
    windows = list(embedding.windows([[sentence] for sentence in LONG]))
    assert len(windows) > 3
    in_order = [list(embedding.embed_window(window, reduction)) for window in windows]
    for number in reversed(range(len(windows))):
        again = list(Engine(elmo.encoder()).embed_window(windows[number], reduction))
        for one, other in zip(again, in_order[number], strict=True):
            np.testing.assert_array_equal(one, other)


def test_documents_of_every_shape_come_out_as_the_network_reads_them(elmo: Elmo) -> None:
    documents: list[Document] = [[[], ["the"]], [[], [], []], [["tide"], []], [["out"] * 30, [], ["goes"]], [[]], []]
    found = iter(all_of(Engine(elmo.encoder()), documents))
    for document in filter(None, documents):
        with torch.inference_mode():
            layers = elmo.encoder().read([document]).layers[:, 0]
        for place in sentence_places(document):
            np.testing.assert_allclose(next(found), layers[:, place], rtol=0, atol=1e-5)
    assert next(found, None) is None
