from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from lowtide.embeddings.outputs import check_output, open_output
from lowtide.errors import InputError

_SENTENCES = [["the", "tide"], [], ["a/b", "c\td", "潮水", "\ud800", "nul\0"], ["the", "tide"]]


def _vectors(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    shape = (3, len(_SENTENCES[number]), 4)
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + number


def _write(path: Path) -> Path:
    with open_output(path) as writer:
        for number, sentence in enumerate(_SENTENCES):
            writer.write(str(number), sentence, _vectors(number))
    return path


def test_hdf5_holds_a_dataset_a_sentence_from_0_empty_ones_too(tmp_path: Path) -> None:
    with h5py.File(_write(tmp_path / "v.h5")) as file:
        for number in range(len(_SENTENCES)):
            np.testing.assert_array_equal(file[str(number)][...], _vectors(number))


def test_hdf5_keeps_the_tokens(tmp_path: Path) -> None:
    with h5py.File(_write(tmp_path / "v.h5")) as file:
        tokens = [list(file[str(number)].attrs["tokens"]) for number in range(len(_SENTENCES))]
    # a lone surrogate and a zero byte have no place in an HDF5 string
    assert tokens == [["the", "tide"], [], ["a/b", "c\td", "潮水", "?", "nul\ufffd"], ["the", "tide"]]


def test_hdf5_has_the_published_index_from_sentence_to_number(tmp_path: Path) -> None:
    with h5py.File(_write(tmp_path / "v.h5")) as file:
        assert file["sentence_to_index"].shape == (1,)
        index = json.loads(file["sentence_to_index"].asstr()[0])
    assert index["the tide"] == "3"  # of equal sentences the last, as the published tool


def test_hdf5_holds_the_tokens_of_a_sentence_of_a_hundred_thousand(tmp_path: Path) -> None:
    sentence = [f"token{number}" for number in range(100_000)]
    with open_output(tmp_path / "v.h5") as writer:
        writer.write("0", sentence, np.zeros((len(sentence), 1), dtype=np.float32))
    with h5py.File(tmp_path / "v.h5") as file:
        assert file["0"].attrs["tokens"][-1] == "token99999"


def test_npz_holds_an_array_a_sentence(tmp_path: Path) -> None:
    with np.load(_write(tmp_path / "v.npz")) as arrays:
        assert arrays.files == ["0", "1", "2", "3"]
        for number in range(len(_SENTENCES)):
            np.testing.assert_array_equal(arrays[str(number)], _vectors(number))


@pytest.mark.parametrize("name", ["v.h5", "v.npz"])
def test_equal_vectors_make_equal_files(name: str, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    assert _write(tmp_path / name).read_bytes() == _write(tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize("name", ["v.h5", "v.npz"])
def test_a_failure_leaves_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"), open_output(tmp_path / name) as writer:
        writer.write("0", ["the"], np.zeros((1, 4), dtype=np.float32))
        raise RuntimeError("stopped")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["v.csv", "v", "v.npzz"])
def test_an_unknown_ending_names_the_known_ones(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.h5.*\.npz"):
        check_output(tmp_path / name)
