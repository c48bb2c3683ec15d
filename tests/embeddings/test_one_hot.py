from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lowtide
from lowtide.embeddings.loading import load_any
from lowtide.embeddings.one_hot import OneHot
from lowtide.errors import InputError
from lowtide.text.vocabulary import UNKNOWN_INDEX


@pytest.fixture
def one_hot(tmp_path: Path) -> OneHot:
    (tmp_path / "text.txt").write_text("the cat saw the dog\nthe dog saw a Cat\n", encoding="utf-8")
    return OneHot.train([tmp_path / "text.txt"])


def test_every_type_is_a_symbol_of_its_own(one_hot: OneHot) -> None:
    the, dog, saw = one_hot.embed("the dog saw")
    assert the @ dog == the @ saw == 0 and the.sum() == the.max() == 1
    assert one_hot.width == len(one_hot.vocabulary)


def test_types_that_are_too_rare_share_the_symbol_of_the_unknown(one_hot: OneHot) -> None:
    assert one_hot.embed("cat tide").argmax(axis=1).tolist() == [UNKNOWN_INDEX, UNKNOWN_INDEX]


def test_case_can_be_taken_away_before_counting(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("cat Cat\n", encoding="utf-8")
    assert OneHot.train([tmp_path / "text.txt"], lowercase=True).knows("CAT")


def test_sparse_rows_are_the_dense_ones(one_hot: OneHot) -> None:
    sentences = ["the dog", "", "a tide"]
    for sparse, dense in zip(one_hot.embed_sparse(sentences), one_hot.embed(sentences), strict=True):
        assert np.array_equal(sparse.toarray(), dense)
        assert sparse.nnz == len(dense)


def test_a_folder_gives_it_back(one_hot: OneHot, tmp_path: Path) -> None:
    one_hot.save(tmp_path / "one-hot")
    found = load_any(tmp_path / "one-hot")
    assert isinstance(found, OneHot) and found.checksum == one_hot.checksum


def test_a_text_without_tokens_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(InputError, match="holds no token"):
        OneHot.train([tmp_path / "text.txt"])


def test_it_is_public() -> None:
    assert lowtide.OneHot is OneHot and "OneHot" in lowtide.__all__


def test_one_bare_text_is_one_sparse_matrix(one_hot: OneHot) -> None:
    assert np.array_equal(one_hot.embed_sparse("the dog saw").toarray(), one_hot.embed("the dog saw"))


@pytest.mark.parametrize(("name", "found"), [("min_count", 0), ("max_types", 0), ("max_types", 1.5)])
def test_a_number_out_of_range_is_refused_before_a_text_is_read(tmp_path: Path, name: str, found: Any) -> None:
    with pytest.raises(InputError, match=f"{name} is {found}, expected a whole number of at least 1"):
        OneHot.train([tmp_path / "missing.txt"], **{name: found})
