from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from lowtide.embeddings.outputs import EmbeddedSentence, check_output, hdf5, open_output
from lowtide.errors import InputError

_SENTENCES = [["the", "tide"], [], ["a/b", "c\td", "潮水", "\ud800", "nul\0"], ["the", "tide"]]


def _vectors(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    shape = (3, len(_SENTENCES[number]), 4)
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + number


def _write(path: Path) -> Path:
    with open_output(path) as writer:
        for number, sentence in enumerate(_SENTENCES):
            writer.write(EmbeddedSentence(str(number), sentence, _vectors(number)))
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


def test_the_index_of_a_large_corpus_is_never_in_memory(tmp_path: Path) -> None:
    sentence = [f"token{number}" for number in range(2000)]
    tracemalloc.start()
    with open_output(tmp_path / "v.h5") as writer:
        for number in range(200):
            writer.write(EmbeddedSentence(str(number), [str(number), *sentence], np.zeros(1, np.float32)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    with h5py.File(tmp_path / "v.h5") as file:
        text = file["sentence_to_index"][0]
    assert peak < 3_500_000 < len(text)
    assert len(json.loads(text)) == 200


def test_an_index_that_hdf5_cannot_hold_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hdf5, "_LONGEST_INDEX", 20)
    with h5py.File(_write(tmp_path / "v.h5")) as file:
        assert list(file) == ["0", "1", "2", "3"]
    assert "sentence_to_index is left out" in caplog.text


def test_hdf5_holds_where_the_tokens_stood(tmp_path: Path) -> None:
    with open_output(tmp_path / "v.h5") as writer:
        writer.write(EmbeddedSentence("0", ["the", "tide"], np.ones((2, 4), np.float32), [(0, 3), (4, 8)]))
        writer.write(EmbeddedSentence("1", [], np.ones((0, 4), np.float32), []))
        writer.write(EmbeddedSentence("2", ["a"], np.ones((1, 4), np.float32)))
    with h5py.File(tmp_path / "v.h5") as file:
        assert file["0"].attrs["offsets"].tolist() == [[0, 3], [4, 8]]
        assert file["1"].attrs["offsets"].shape == (0, 2) and "offsets" not in file["2"].attrs


@pytest.mark.parametrize("key", ["a/b", ".", "sentence_to_index", ""])
def test_what_cannot_be_a_name_in_hdf5_is_no_key(key: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be a key"), open_output(tmp_path / "v.h5") as writer:
        writer.write(EmbeddedSentence(key, ["a"], np.ones((1, 4), np.float32)))


def test_hdf5_holds_the_tokens_of_a_sentence_of_a_hundred_thousand(tmp_path: Path) -> None:
    sentence = [f"token{number}" for number in range(100_000)]
    with open_output(tmp_path / "v.h5") as writer:
        writer.write(EmbeddedSentence("0", sentence, np.zeros((len(sentence), 1), dtype=np.float32)))
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
        writer.write(EmbeddedSentence("0", ["the"], np.zeros((1, 4), dtype=np.float32)))
        raise RuntimeError("stopped")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["v.csv", "v", "v.npzz"])
def test_an_unknown_ending_names_the_known_ones(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.h5.*\.npz"):
        check_output(tmp_path / name)
