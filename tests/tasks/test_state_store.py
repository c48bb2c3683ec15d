from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tiny
from lowtide.embeddings import Elmo
from lowtide.errors import ModelError
from lowtide.tasks.state_store import StateStore, chunks
from stand_ins import SENTENCES, Rung


def test_a_store_holds_the_states_of_every_sentence_in_float16(elmo: Elmo, tmp_path: Path) -> None:
    sentences = [["the", "tide"], [], ["bank"]]
    with closing(StateStore.of(elmo, sentences, tmp_path)) as store:
        for number, layers in enumerate(elmo.embed_layers(sentences)):
            found = store.read(number)  # (tokens, layers, width)
            assert found.dtype == np.float16 and found.shape == (len(sentences[number]), 3, elmo.width)
            np.testing.assert_allclose(found.transpose(1, 0, 2), layers, rtol=6e-4, atol=1e-6)


def test_states_that_lie_there_are_not_computed_again(tmp_path: Path) -> None:
    rung = Rung()
    for sentences, num_calls in ((SENTENCES, 1), (SENTENCES, 1), (SENTENCES[:2], 2)):
        StateStore.of(rung, sentences, tmp_path).close()
        assert rung.num_calls == num_calls
    other = Rung(telling=2)
    with closing(StateStore.of(other, SENTENCES, tmp_path)) as store:
        assert other.num_calls == 1 and store.read(0)[0, 2].max() == 2


def test_the_same_letters_in_other_tokens_have_states_of_their_own(tmp_path: Path) -> None:
    for sentences in ([["the tide"]], [["the", "tide"]], [["the"], ["tide"]]):
        StateStore.of(Rung(), sentences, tmp_path).close()
    assert len(list(tmp_path.iterdir())) == 3


def test_another_dtype_has_states_of_its_own(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    for dtype in ("float32", "bfloat16", "float32"):
        StateStore.of(Elmo.open(saved_bytes.folder, device="cpu", dtype=dtype), SENTENCES, tmp_path).close()
    assert len(list(tmp_path.iterdir())) == 2


def test_states_too_large_for_float16_are_refused(tmp_path: Path) -> None:
    class Large(Rung):
        def embed_layers(self, sentences: object) -> list[NDArray[np.float32]]:
            return [np.full((3, 3, 6), 1e5, np.float32)]

    with pytest.raises(ModelError, match=r"gives numbers up to 100000, expected at most 65504"):
        StateStore.of(Large(), SENTENCES[:1], tmp_path)
    assert not list(tmp_path.iterdir())


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 12))
def test_chunks_are_neighbours_of_so_many_tokens_at_most(lengths: list[int], most: int) -> None:
    sentences = [["w"] * length for length in lengths]
    found = [list(chunk) for chunk in chunks(sentences, most)]
    assert [sentence for chunk in found for sentence in chunk] == sentences
    assert all(chunk and (len(chunk) == 1 or sum(map(len, chunk)) <= most) for chunk in found)
