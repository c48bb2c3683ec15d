"""HDF5 files as they are written, and as nobody means well with them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from torch import nn

import published
from lowtide.errors import LowtideError, MissingPathError, ModelError
from lowtide.weights.hdf5 import open_hdf5
from lowtide.weights.sources import Files
from published import opened, setting, write_pair

NAME = "RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell/W_0"
SHAPE = (10, 28)
SECONDS = 8
"""No file may cost more; those here cost a tenth of one. A guard against what never ends, no measure of speed."""

Edit = Callable[[h5py.File], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of bytes that a test may damage."""
    return write_pair(tmp_path / "model")


@pytest.fixture(scope="module")
def checksum(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the same model."""
    return opened(write_pair(tmp_path_factory.mktemp("model"))).checksum


def edit(folder: Path, change: Edit) -> Path:
    with h5py.File(folder / "weights.hdf5", "a") as file:
        change(file)
    return folder


def refusal(folder: Path) -> str:
    begun = time.monotonic()
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert time.monotonic() - begun < SECONDS
    assert str(folder / "weights.hdf5") in str(error.value)
    return str(error.value)


def replaced(**how: Any) -> Edit:
    """An edit that writes one dataset in another way."""

    def change(file: h5py.File) -> None:
        numbers = file[NAME][...]
        del file[NAME]
        file.create_dataset(NAME, **({"data": numbers} | how))

    return change


# -- ways to store numbers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {"chunks": (3, 5)},
        {"chunks": (10, 28)},
        {"chunks": (3, 5), "compression": "gzip"},
        {"compression": "lzf", "shuffle": True},
        {"fletcher32": True},
        {"chunks": (4, 28), "maxshape": (None, 28)},
        {"track_times": True},
    ],
    ids=str,
)
def test_the_same_numbers_stored_in_another_way_are_the_same_model(
    how: dict[str, Any], folder: Path, checksum: str
) -> None:
    assert opened(edit(folder, replaced(**how))).checksum == checksum


@pytest.mark.parametrize(
    "how", [{"userblock_size": 1024}, {"libver": "latest"}, {"libver": "v110"}, {"track_order": True}], ids=str
)
def test_the_same_arrays_in_another_kind_of_file_are_the_same_model(
    how: dict[str, Any], folder: Path, checksum: str
) -> None:
    with h5py.File(folder / "weights.hdf5") as old, h5py.File(folder / "new", "w", **how) as new:
        for key in old:
            old.copy(key, new)
    (folder / "new").replace(folder / "weights.hdf5")
    assert opened(folder).checksum == checksum


def test_arrays_of_somebodys_own_do_no_harm(folder: Path, checksum: str) -> None:
    def add(file: h5py.File) -> None:
        file["notes/words"] = np.array([b"tide"])
        file["notes/same"] = file["char_embed"]  # a second hard link
        file.attrs["written"] = "today"

    assert opened(edit(folder, add)).checksum == checksum


# -- damage --------------------------------------------------------------------------------------


def test_a_file_that_was_cut_off_anywhere_is_refused(folder: Path) -> None:
    path = folder / "weights.hdf5"
    whole = path.read_bytes()
    for kept in [*range(0, 100, 7), *range(100, len(whole), len(whole) // 60), len(whole) - 1]:
        path.write_bytes(whole[:kept])
        refusal(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\3\4", b"\x89HDF\r\n\x1a\n", bytes(4096)])
def test_a_file_that_is_no_hdf5_is_refused(content: bytes, folder: Path) -> None:
    (folder / "weights.hdf5").write_bytes(content)
    refusal(folder)


def test_bytes_that_have_changed_are_refused_or_do_no_harm(folder: Path) -> None:
    path = folder / "weights.hdf5"
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    begun, told = time.monotonic(), 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in generator.integers(len(whole) if generator.random() < 0.3 else 3000, size=3):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            opened(folder)
        except LowtideError as error:
            told += 1
            assert str(folder) in str(error)
    assert told > 10 and time.monotonic() - begun < 10 * SECONDS


def test_numbers_whose_checksum_is_wrong_are_refused(folder: Path) -> None:
    edit(folder, replaced(data=np.full(SHAPE, 0.125, np.float32), fletcher32=True, chunks=SHAPE))
    content = bytearray((folder / "weights.hdf5").read_bytes())
    content[content.index(np.full(100, 0.125, np.float32).tobytes()) + 9] ^= 1
    (folder / "weights.hdf5").write_bytes(content)
    assert NAME in refusal(folder)


def test_a_file_without_a_recurrence_is_named(folder: Path) -> None:
    assert "RNN_0" in refusal(edit(folder, lambda file: file.__delitem__("RNN_0")))


# -- what is no float32 array --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"dtype": "<f2"}, "float16"),
        ({"dtype": "<f8"}, "float64"),
        ({"dtype": ">f4"}, ">f4"),
        ({"dtype": "<i4"}, "int32"),
        ({"dtype": "i1"}, "int8"),
        ({"data": np.ones(SHAPE, np.bool_)}, "bool"),
        ({"data": np.ones(SHAPE, np.complex64)}, "complex64"),
        ({"data": np.full(SHAPE, b"0.5")}, "S3"),
        ({"data": None, "shape": SHAPE, "dtype": h5py.string_dtype()}, "object"),
        ({"data": None, "shape": SHAPE, "dtype": h5py.vlen_dtype(np.float32)}, "object"),
        ({"data": None, "shape": SHAPE, "dtype": h5py.ref_dtype}, "object"),
        ({"data": None, "shape": SHAPE, "dtype": np.dtype([("a", "<f4")])}, "a"),
        ({"data": None, "shape": (10,), "dtype": np.dtype(("<f4", (28,)))}, "10"),
        ({"data": np.float32(0.5)}, "a single number"),
        ({"data": h5py.Empty("f4")}, ""),
        ({"data": np.ones((10, 0), np.float32)}, "10 x 0"),
        ({"data": np.ones((28, 10), np.float32)}, "28 x 10"),
        ({"data": np.ones(280, np.float32)}, "280"),
        ({"data": np.ones((1, 10, 28), np.float32)}, "1 x 10 x 28"),
    ],
    ids=str,
)
def test_what_is_no_array_of_the_right_kind_is_named(how: dict[str, Any], says: str, folder: Path) -> None:
    said = refusal(edit(folder, replaced(**how)))
    assert NAME in said and says in said


def test_a_group_in_the_place_of_an_array_is_named(folder: Path) -> None:
    def change(file: h5py.File) -> None:
        del file[NAME]
        file.create_group(NAME)

    assert NAME in refusal(edit(folder, change))


def test_an_array_in_the_place_of_a_group_is_named(folder: Path) -> None:
    def change(file: h5py.File) -> None:
        del file["RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell"]
        file["RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell"] = np.ones(3, np.float32)

    assert "RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell" in refusal(edit(folder, change))


# -- numbers that are not there --------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {"shape": SHAPE, "dtype": "<f4"},
        {"shape": SHAPE, "dtype": "<f4", "chunks": (1, 28)},
        {"shape": SHAPE, "dtype": "<f4", "chunks": (1, 28), "compression": "gzip"},
        {"shape": SHAPE, "dtype": "<f4", "fillvalue": 0.5},
    ],
    ids=str,
)
def test_numbers_that_were_never_written_are_missed(how: dict[str, Any], folder: Path) -> None:
    said = refusal(edit(folder, replaced(data=None, **how)))
    assert NAME in said and "1,120 bytes and has 0" in said


def test_numbers_of_which_some_were_never_written_are_missed(folder: Path) -> None:
    def change(file: h5py.File) -> None:
        replaced(data=None, shape=SHAPE, dtype="<f4", chunks=(3, 28))(file)
        file[NAME][:9] = 0.5

    assert NAME in refusal(edit(folder, change))


@pytest.mark.parametrize("size", [10**6, 10**9, 10**15])
@pytest.mark.parametrize("chunks", [None, (10, 4096)])
def test_sizes_beyond_all_measure_ask_for_no_memory(
    size: int, chunks: tuple[int, int] | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.Module, "to_empty", lambda *_, **__: pytest.fail("memory was asked for"))
    write_pair(folder, options=setting("lstm.dim", size))
    declared = {"W_0": (10, 4 * size), "B": (4 * size,), "W_P_0": (size, 5)}

    def change(file: h5py.File) -> None:
        for direction, layer, (key, shape) in [
            (d, n, item) for d in (0, 1) for n in (0, 1) for item in declared.items()
        ]:
            name = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/{key}"
            del file[name]
            file.create_dataset(name, shape, "<f4", chunks=chunks if key == "W_0" else None)

    edit(folder, change)
    assert (folder / "weights.hdf5").stat().st_size < 100_000
    begun = time.monotonic()
    with pytest.raises(ModelError, match=r"lstm|LSTM"):
        opened(folder)
    assert time.monotonic() - begun < SECONDS


def test_numbers_that_swell_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 1_000_000
    write_pair(folder, options=setting("lstm.dim", size))

    def change(file: h5py.File) -> None:
        for direction, layer in ((0, 0), (0, 1), (1, 0), (1, 1)):
            name = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            for key in ("W_0", "B", "W_P_0"):
                del file[f"{name}/{key}"]
            file.create_dataset(f"{name}/B", (4 * size,), "<f4", chunks=(4 * size,))
            file.create_dataset(f"{name}/W_P_0", (size, 5), "<f4", chunks=(size, 5))
            big = file.create_dataset(f"{name}/W_0", (10, 4 * size), "<f4", chunks=(10, 4 * size), compression="gzip")
            big.id.write_direct_chunk((0, 0), b"x\x9c\x03\x00\x00\x00\x00\x01")  # a few bytes for 160 MB

    monkeypatch.setattr(nn.Module, "to_empty", lambda *_, **__: pytest.fail("memory was asked for"))
    said = refusal(edit(folder, change))
    assert NAME in said and "160,000,000 bytes" in said


# -- numbers that lie elsewhere --------------------------------------------------------------------


def test_numbers_of_another_file_are_not_read(folder: Path) -> None:
    (folder / "secret.bin").write_bytes(bytes(1120))
    stored = replaced(data=None, shape=SHAPE, dtype="<f4", external=[(str(folder / "secret.bin"), 0, 1120)])
    said = refusal(edit(folder, stored))
    assert NAME in said and "another file" in said


def test_numbers_of_a_virtual_array_are_not_read(folder: Path) -> None:
    write_pair(folder.parent / "other")

    def change(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(SHAPE, "<f4")
        layout[:] = h5py.VirtualSource(str(folder.parent / "other" / "weights.hdf5"), NAME, SHAPE)
        del file[NAME]
        file.create_virtual_dataset(NAME, layout)

    said = refusal(edit(folder, change))
    assert NAME in said and "another file" in said


@pytest.mark.parametrize(
    "link",
    [
        h5py.SoftLink("/RNN_1/RNN/MultiRNNCell/Cell0/LSTMCell/W_0"),
        h5py.SoftLink("/nowhere"),
        h5py.SoftLink(f"/{NAME}"),
        h5py.ExternalLink("other.hdf5", "/x"),
        h5py.ExternalLink("/etc/passwd", "/"),
    ],
    ids=["to an array", "to nothing", "to itself", "to a file", "to no hdf5"],
)
@pytest.mark.parametrize("name", [NAME, "notes"])
def test_a_link_is_not_followed(name: str, link: Any, folder: Path) -> None:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = link

    said = refusal(edit(folder, change))
    assert name in said and "link" in said


# -- groups without an end -------------------------------------------------------------------------


def _itself(file: h5py.File) -> None:
    file["CNN/again"] = file["CNN"]


def _root(file: h5py.File) -> None:
    file["AAA/again"] = 1
    file["AAA/root"] = file["/"]


def _many_times_itself(file: h5py.File) -> None:
    group = file.create_group("AAA")
    for number in range(12):
        group[f"again{number}"] = group


def _ladder(file: h5py.File) -> None:
    """No circle, and five times as many ways down with every step."""
    below = file.create_group("zzz")
    for step in range(9):
        group = file.create_group(f"AAA{step}")
        for number in range(5):
            group[f"below{number}"] = below
        below = group


def _deep(file: h5py.File) -> None:
    file.create_group("/".join("abcdefghij" * 60))


def _many_groups(file: h5py.File) -> None:
    group = file.create_group("AAA")
    for number in range(10_001):
        group.create_group(str(number))


@pytest.mark.parametrize(
    "change", [_itself, _root, _many_times_itself, _ladder, _deep, _many_groups], ids=lambda change: change.__name__
)
def test_groups_without_an_end_are_refused(change: Edit, folder: Path) -> None:
    refusal(edit(folder, change))


# -- the parts -----------------------------------------------------------------------------------


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    source = Files(tmp_path, {"weights.hdf5": tmp_path / "gone.hdf5"})
    with pytest.raises(MissingPathError, match="gone"), open_hdf5(source, "weights.hdf5"):
        pass


def test_the_file_is_closed_behind_us(folder: Path) -> None:
    source = Files.in_folder(folder)
    with open_hdf5(source, "weights.hdf5") as file:
        assert file.shape(NAME) == SHAPE
        numbers = file.array(NAME).copy()
        assert all(file.datasets.values())
    assert not any(file.datasets.values())  # so h5py says that a dataset is closed
    with h5py.File(folder / "weights.hdf5", "a") as again:  # which HDF5 refuses of a file that is open
        np.testing.assert_array_equal(again[NAME][...], numbers)


def test_numbers_may_be_changed_without_changing_the_file(folder: Path) -> None:
    before = (folder / "weights.hdf5").read_bytes()
    with open_hdf5(Files.in_folder(folder), "weights.hdf5") as file:
        file.array(NAME)[...] = 0
    assert (folder / "weights.hdf5").read_bytes() == before


def test_a_packed_file_gives_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    class Packed(Files):
        def open(self, name: str) -> io.BytesIO:
            return io.BytesIO(self.files[name].read_bytes())

        def file(self, name: str) -> Path | None:
            return None

    on_disk, packed = Files.in_folder(folder), Packed.in_folder(folder)
    with open_hdf5(on_disk, "weights.hdf5") as one, open_hdf5(packed, "weights.hdf5") as other:
        assert sorted(one.datasets) == sorted(other.datasets) == sorted(published.published().arrays)
        for name in one.datasets:
            assert one.array(name).tobytes() == other.array(name).tobytes()
