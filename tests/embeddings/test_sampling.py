from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.embeddings.numbered import Cutter, number
from lowtide.embeddings.sampling import STRETCH, Spread, sample_documents
from lowtide.text.batches import Document
from lowtide.text.tokenize import make_tokenizer


def test_a_short_text_is_kept_whole() -> None:
    sample: Spread[int] = Spread(100)
    for item in range(100):
        sample.add(item)
    assert sample.items == list(range(100))


@given(st.integers(101, 5000), st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_of_a_long_text_a_spread_is_kept_that_has_none_of_its_periods(num_items: int, size: int) -> None:
    sample: Spread[int] = Spread(100 * size)
    for item in range(num_items):
        sample.add(item, size)
    kept = np.array(sample.items)
    assert 40 < len(kept) <= 100
    assert np.diff([-1, *kept, num_items]).max() < 8 * num_items / len(kept)  # no part of the text is left out
    for period in (2, 3, 4, 7):
        assert len({item % period for item in sample.items}) == period


def test_an_item_that_is_too_large_is_kept_alone() -> None:
    sample: Spread[str] = Spread(10)
    sample.add("a", 50)
    sample.add("b", 50)
    assert sample.items == ["a"]


def sampled(text: str, max_tokens: int, folder: Path, *, is_carried: bool) -> list[Document]:
    (folder / "text.txt").write_text(text, encoding="utf-8")
    cutter = Cutter(make_tokenizer("whitespace", language="en"), has_spans=False)
    sentences = number(folder / "text.txt", cutter, keys="line", encoding="utf-8").sentences()
    return sample_documents(sentences, max_tokens, is_carried=is_carried)


def test_sentences_stand_alone_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    assert sampled("a b\n\nc\nd\n", 10, tmp_path, is_carried=False) == [[["a", "b"]], [["c"]], [["d"]]]


def test_sentences_of_a_document_stay_together_where_a_state_is_carried(tmp_path: Path) -> None:
    assert sampled("a b\n\nc\nd\n", 10, tmp_path, is_carried=True) == [[["a", "b"]], [["c"], ["d"]]]


def test_a_document_of_any_length_is_held_in_stretches(tmp_path: Path) -> None:
    found = sampled("a\n" * 10_000, 1000, tmp_path, is_carried=True)
    assert {len(document) for document in found} == {STRETCH}
    assert 500 <= sum(map(len, found)) <= 1000
