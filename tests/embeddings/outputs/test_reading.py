"""Reading vector files: our own, what the published tools wrote, and what is none."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from lowtide.embeddings.outputs import EmbeddedSentence, open_embeddings, open_output
from lowtide.errors import InputError, LowtideError, MissingPathError

_FILES = ["v.h5", "v.npz", "v.parquet", "v.safetensors"]
_SENTENCES = [["the", "tide"], [], ["a/b", "c\td", "潮水"], ["the", "tide"]]


def _vectors(number: int, *, num_tokens: int | None = None) -> NDArray[np.float32]:
    shape = (3, len(_SENTENCES[number]) if num_tokens is None else num_tokens, 4)
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + number


def _write(path: Path) -> Path:
    with open_output(path) as writer:
        for number, sentence in enumerate(_SENTENCES):
            writer.write(EmbeddedSentence(str(number), sentence, _vectors(number)))
    return path


def _hdf5(path: Path, datasets: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for key, data in datasets.items():
            file[key] = data
    return path


def _index(path: Path, text: str) -> None:
    """As AllenNLP's command writes it."""
    with h5py.File(path, "a") as file:
        file.create_dataset("sentence_to_index", (1,), dtype=h5py.string_dtype())[0] = text


# -- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*_FILES, "v.hdf5", "v.mmap"])
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    with open_embeddings(_write(tmp_path / name)) as vectors:
        assert len(vectors) == len(_SENTENCES) and vectors.is_numbered
        for number, found in enumerate(vectors):
            np.testing.assert_array_equal(found, _vectors(number))
            assert found.dtype == np.float32
        np.testing.assert_array_equal(vectors[-1], _vectors(3))
        with pytest.raises(IndexError):
            vectors[4]


@pytest.mark.parametrize("name", ["v.h5", "v.parquet", "v.safetensors", "v.mmap"])
def test_tokens_are_read_back(name: str, tmp_path: Path) -> None:
    with open_embeddings(_write(tmp_path / name)) as vectors:
        assert [vectors.tokens(number) for number in range(4)] == _SENTENCES
        assert vectors.sentence(0) == "the tide" and vectors.sentence(1) == ""


def test_an_archive_has_no_tokens(tmp_path: Path) -> None:
    with open_embeddings(_write(tmp_path / "v.npz")) as vectors:
        assert vectors.tokens(0) is None and vectors.sentence(0) is None


def test_pooled_vectors_are_read(tmp_path: Path) -> None:
    with open_embeddings(_hdf5(tmp_path / "v.h5", {"0": np.ones(4, np.float32)})) as vectors:
        assert vectors[0].shape == (4,)


def test_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "v.h5", {str(number): np.full((1, 2), number, np.float32) for number in range(12)})
    with open_embeddings(path) as vectors:
        assert [float(found[0, 0]) for found in vectors] == list(range(12))


@pytest.mark.parametrize(
    ("stored", "given"), [("<f2", "f4"), (">f2", "f4"), ("<f4", "f4"), (">f4", "f4"), ("<f8", "f8"), (">f8", "f8")]
)
@pytest.mark.parametrize("name", ["v.h5", "v.npz"])
def test_every_kind_of_float_is_read(name: str, stored: str, given: str, tmp_path: Path) -> None:
    numbers = np.array([[0.5, -1.25]]).astype(stored)
    if name == "v.npz":
        np.savez(tmp_path / name, allow_pickle=False, **{"0": numbers})
    else:
        _hdf5(tmp_path / name, {"0": numbers})
    with open_embeddings(tmp_path / name) as vectors:
        assert vectors[0].dtype == np.dtype(given) and vectors[0].dtype.isnative
        assert vectors[0].tolist() == [[0.5, -1.25]]


def test_an_archive_may_be_compressed_and_in_the_order_of_fortran(tmp_path: Path) -> None:
    numbers = np.asfortranarray(_vectors(2))
    np.savez_compressed(tmp_path / "v.npz", allow_pickle=False, **{"0": numbers})
    with open_embeddings(tmp_path / "v.npz") as vectors:
        np.testing.assert_array_equal(vectors[0], numbers)


def test_allennlps_index_gives_the_sentences(tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "v.hdf5", {"0": _vectors(0), "1": _vectors(0), "2": _vectors(0, num_tokens=3)})
    _index(path, json.dumps({"the tide": "1", "it goes out": "2"}))
    with open_embeddings(path) as vectors:
        assert len(vectors) == 3
        assert [vectors.tokens(number) for number in range(3)] == [None, ["the", "tide"], ["it", "goes", "out"]]


def test_sentences_as_keys_stand_in_the_order_of_their_names(tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "v.hdf5", {"the tide": _vectors(0), "a bank": _vectors(0)})
    with open_embeddings(path) as vectors:
        assert vectors.keys == ["a bank", "the tide"] and not vectors.is_numbered
        assert vectors.tokens(1) == ["the", "tide"] and vectors.sentence(0) == "a bank"


def test_the_signs_of_elmoformanylangs_are_read(tmp_path: Path) -> None:
    key = "the\ttide\tand$backslash$or\tNew York\t$period$"
    path = _hdf5(tmp_path / "v.ly-1.hdf5", {key: _vectors(0, num_tokens=5)[0]})
    with open_embeddings(path) as vectors:
        assert vectors.tokens(0) == ["the", "tide", "and/or", "New York", "."]


def test_the_names_of_proteins_are_keys_and_no_tokens(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", allow_pickle=False, **{"P12345": _vectors(0), "A0A024": _vectors(2)})
    with open_embeddings(tmp_path / "v.npz") as vectors:
        assert vectors.keys == ["P12345", "A0A024"] and vectors.tokens(0) is None
        np.testing.assert_array_equal(vectors[1], _vectors(2))


@pytest.mark.parametrize("name", [*_FILES, "v.mmap"])
def test_a_file_without_a_sentence_is_read(name: str, tmp_path: Path) -> None:
    with open_output(tmp_path / name):
        pass
    with open_embeddings(tmp_path / name) as vectors:
        assert len(vectors) == 0


# -- what is refused -----------------------------------------------------------------------------


def _refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught, open_embeddings(path) as vectors:
        for number in range(len(vectors)):
            vectors[number]
            vectors.tokens(number)
            vectors.spans(number)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def _link(file: h5py.File) -> None:
    file["0"] = _vectors(0)
    file["1"] = h5py.SoftLink("/0")


def _link_out(file: h5py.File) -> None:
    file["0"] = h5py.ExternalLink("other.h5", "/0")


def _numbers_elsewhere(file: h5py.File) -> None:
    file.create_dataset("0", (3, 2, 4), "f4", external=[("/etc/hostname", 0, 96)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 4), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "0", (2, 4))
    file.create_virtual_dataset("0", layout)


def _bomb(file: h5py.File) -> None:
    file.create_dataset("0", (1, 1 << 20, 1024), "f4", chunks=(1, 1 << 10, 1024), compression="gzip")


def _other_attribute(file: h5py.File) -> None:
    file["0"] = _vectors(0)
    file["0"].attrs["tokens"] = 7


def _offsets(offsets: Any) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        file["0"] = _vectors(0)
        file["0"].attrs.update({"tokens": ["the", "tide"], "offsets": offsets})

    return write


_BAD_HDF5: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "a group": (lambda file: file.create_group("0/x"), "'0' is a group, expected the vectors of a sentence"),
    "a soft link": (_link, "'1' is a link to something else"),
    "an external link": (_link_out, "'0' is a link to something else"),
    "numbers in another file": (_numbers_elsewhere, "the numbers of '0' lie in another file"),
    "a virtual dataset": (_virtual, "the numbers of '0' lie in another file"),
    "text": (lambda file: file.update({"0": "the tide"}), "'0' holds object, expected float16, float32 or float64"),
    "whole numbers": (lambda file: file.update({"0": np.ones((2, 4), np.int64)}), "'0' holds int64"),
    "a single number": (lambda file: file.update({"0": 1.0}), "has the shape ()"),
    "four dimensions": (lambda file: file.update({"0": np.ones((1, 3, 2, 4))}), "has the shape (1, 3, 2, 4)"),
    "nothing at all": (lambda file: file.update({"0": h5py.Empty("f4")}), "'0' is without a shape"),
    "a bomb": (_bomb, "is said to have 4,294,967,296 bytes"),
    "a gap": (
        lambda file: file.update({key: np.ones((2, 4)) for key in ("0", "1", "3", "10")}),
        "holds no sentence 2, but sentence 10",
    ),
    "offsets of one token": (_offsets([[0, 3]]), "the offsets of '0' are not those of its tokens"),
    "offsets that end before they begin": (_offsets([[0, 3], [8, 4]]), "the offsets of '0' are not those"),
    "offsets that are no pairs": (_offsets([0, 3]), "the offsets of '0' are not those of its tokens"),
    "another attribute": (_other_attribute, "the tokens of '0' are no list of texts"),
}


@pytest.mark.parametrize("kind", _BAD_HDF5)
def test_an_hdf5_file_with_something_else_in_it_is_refused(kind: str, tmp_path: Path) -> None:
    write, expected = _BAD_HDF5[kind]
    with h5py.File(tmp_path / "v.h5", "w") as file:
        write(file)
    assert expected in _refusal(tmp_path / "v.h5")


@pytest.mark.parametrize("text", ["no json", "[1]", '{"the tide": "0"'])
def test_an_index_that_is_no_json_object_is_refused(text: str, tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "v.h5", {"0": _vectors(0)})
    _index(path, text)
    assert _refusal(path)


def _npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=allow_pickle)
    return content.getvalue()


def _claiming(shape: tuple[int, ...]) -> bytes:
    """A header, and far fewer numbers than it says."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return content.getvalue() + bytes(32)


_ARRAY = _npy(np.ones((2, 4), np.float32))
_BAD_ENTRIES: dict[str, tuple[dict[str, bytes], str]] = {
    "pickled objects": ({"0.npy": _npy(np.array([{}, []], object), allow_pickle=True)}, "'0' holds object"),
    "whole numbers": ({"0.npy": _npy(np.ones((2, 4), np.int32))}, "'0' holds int32"),
    "four dimensions": ({"0.npy": _npy(np.ones((1, 3, 2, 4)))}, "has the shape (1, 3, 2, 4)"),
    "a text": ({"0.npy": _ARRAY, "README.txt": b"hello"}, "'README.txt' is no array"),
    "no header": ({"0.npy": b"hello"}, "cannot be read"),
    "a cut array": ({"0.npy": _ARRAY[:-4]}, "is said to have 32 bytes and has another number"),
    "more than an array": ({"0.npy": _ARRAY + b"1234"}, "is said to have 32 bytes and has another number"),
    "a header that is too long": ({"0.npy": _claiming((3, 4))}, "is said to have 48 bytes and has another number"),
    "a huge header": ({"0.npy": _claiming((9**9, 2))}, "is said to have 3,099,363,912 bytes"),
    "less than nothing": ({"0.npy": _claiming((-2, -4))}, "has the shape (-2, -4)"),
    "a gap": ({"0.npy": _ARRAY, "2.npy": _ARRAY}, "holds no sentence 1, but sentence 2"),
}


@pytest.mark.parametrize("kind", _BAD_ENTRIES)
def test_an_archive_with_something_else_in_it_is_refused(kind: str, tmp_path: Path) -> None:
    entries, expected = _BAD_ENTRIES[kind]
    with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    assert expected in _refusal(tmp_path / "v.npz")


@pytest.mark.parametrize("claimed", [None, 1 << 40])
def test_an_archive_that_would_burst_is_refused_before_it_is_unpacked(claimed: int | None, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "v.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.npy", _npy(np.zeros((20_000, 1024), np.float32)))
        [info] = archive.infolist()
        info.compress_size = claimed or info.compress_size
    assert "is said to have 81,920,000 bytes and has " in _refusal(tmp_path / "v.npz")


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.npy", _ARRAY)
        archive.writestr("a.npy", _ARRAY)
    assert "two arrays of one name" in _refusal(tmp_path / "v.npz")


def test_a_file_that_is_refused_is_let_go(tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "v.h5", {"1": _vectors(0)})
    with pytest.raises(InputError, match="holds no sentence 0"):
        open_embeddings(path)
    _hdf5(path, {"0": _vectors(0)})
    with open_embeddings(path) as vectors:
        assert len(vectors) == 1


@pytest.mark.parametrize("name", _FILES)
def test_a_truncated_file_is_refused(name: str, tmp_path: Path) -> None:
    path = _write(tmp_path / name)
    content = path.read_bytes()
    for size in {1, 7, 8, 100, len(content) // 2, len(content) - 100, len(content) - 1}:
        path.write_bytes(content[:size])
        assert re.search("damaged", _refusal(path)), size


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("content", [b"", b"the tide goes out\n" * 100])
def test_a_file_of_another_kind_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert re.search("cannot be read|has no header", _refusal(tmp_path / name))


@pytest.mark.parametrize("name", _FILES)
def test_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    assert "cannot be read" in _refusal(tmp_path / name)


@pytest.mark.parametrize("name", [*_FILES, "v.mmap", "no/v.h5"])
def test_a_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match="is not there"):
        open_embeddings(tmp_path / name)


def test_an_unknown_ending_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.h5.*\.npz"):
        open_embeddings(tmp_path / "v.txt")


@pytest.mark.parametrize("name", _FILES)
def test_damage_anywhere_is_read_or_refused_and_never_more(name: str, tmp_path: Path) -> None:
    content = _write(tmp_path / name).read_bytes()
    chance = random.Random(0)
    for number in range(300):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(damaged)
        try:
            with open_embeddings(path) as vectors:
                for index in range(len(vectors)):
                    vectors[index]
                    vectors.tokens(index)
                    vectors.spans(index)
        except LowtideError as error:
            assert str(path) in str(error)
        path.unlink()
