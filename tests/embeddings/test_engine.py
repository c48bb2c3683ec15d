from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.embeddings import Elmo, engine
from lowtide.embeddings.engine import embed_stream
from lowtide.embeddings.layers import choose_layers

SENTENCES = [[f"w{n % 5}"] * (n * 7 % 11) for n in range(20)]


def embedded(elmo: Elmo, sentences: list[list[str]], layers: str = "all") -> list[np.ndarray]:
    documents = [[sentence] for sentence in sentences]
    return list(embed_stream(elmo.encoder(), documents, choose_layers(layers, elmo.num_layers)))


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

    stream = embed_stream(elmo.encoder(), source(), choose_layers("mix", 3))
    assert read == []
    next(stream)
    assert read == [0, 1, 2]


def test_an_answer_keeps_no_batch_alive(elmo: Elmo) -> None:
    assert all(vectors.base is None for vectors in embedded(elmo, SENTENCES))


def test_answers_are_float32_at_any_dtype_of_the_network(elmo: Elmo) -> None:
    double = torch.nn.Module.double(_own_copy(elmo))
    answers = embed_stream(double, [[s] for s in SENTENCES], choose_layers("mix", 3))  # type: ignore[arg-type]  # double() is typed as any module
    for found, vectors in zip(answers, embedded(elmo, SENTENCES, "mix"), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, vectors, rtol=0, atol=1e-5)


def _own_copy(elmo: Elmo) -> torch.nn.Module:
    return Elmo.open(elmo.stored.path, device="cpu").encoder()


def test_no_sentences_give_no_answers(elmo: Elmo) -> None:
    assert embedded(elmo, []) == []
