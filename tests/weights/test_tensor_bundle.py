from __future__ import annotations

import base64
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lowtide.errors import LowtideError, MissingPathError, ModelError
from lowtide.weights.tensor_bundle import read_index, read_tensor
from weights import tensor_bundle_writer as writer
from weights.tensor_bundle_writer import block, block_entry, entry, header, index_file, number, part, varint

# -- there and back ------------------------------------------------------------------------------

_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda name: name[0] != "\0")
_ARRAYS = st.sampled_from(sorted(writer.TYPE_NUMBERS)).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
)


@settings(max_examples=60, deadline=None)
@given(
    tensors=st.dictionaries(_NAMES, _ARRAYS, max_size=40),
    block_size=st.integers(1, 400),
    num_shards=st.integers(1, 3),
)
def test_a_checkpoint_gives_the_tensors_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, NDArray[Any]], block_size: int, num_shards: int
) -> None:
    prefix = tmp_path_factory.mktemp("bundle") / "model.ckpt-7"
    index = writer.write(prefix, tensors, block_size=block_size, num_shards=num_shards)
    entries = read_index(index)
    assert list(entries) == sorted(tensors, key=str.encode)
    for name, tensor in tensors.items():
        read = read_tensor(index, entries[name])
        assert (entries[name].dtype, entries[name].shape) == (tensor.dtype, tensor.shape)
        assert (read.dtype, read.shape, read.tobytes()) == (tensor.dtype, tensor.shape, tensor.tobytes())


_WRITTEN_BY_TENSORFLOW = {  # 2.21, by tf.compat.v1.train.Saver; in the second a variable was partitioned
    "whole": "AAAGCAEaAggBAAUPYnJhaW4IDhIEEgIIAigENc74bykABRFwbGFpbggBEgQSAggEIAQoEDVEsLFiAAURd29yZHMIBxIEEgIIAiA"
    "UKAk16eQ2hQAAAAABAAAAAAqrF8YAAAAAAQAAAADA8qGwAAECeABaAAAAAAEAAAAAHt+KMl8IbA4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAABX+4CLJHVH2w==",
    "data": "gD8AQF4e/L7Gmcy6L4c/vm+jNj0BAr/f23phYmM=",
    "sliced": "AAAGCAEaAggBABgTAHBhcnRzL3NvZnRtYXgvVwABAQKAh4CECAESCBICCAcSAggEKHA1PkddXBQEFYeHgIQIARIIEgIIBxICCA"
    "QgcChwNczsqkUUBBaOhoCECAESCBICCAYSAggEIOABKGA1UcNXfAAPLnBhcnRzL3NvZnRtYXgvVwgBEggSAggUEgIIBDoICgIQBwoCEAQ6CgoECAcQ"
    "BwoCEAQ6CgoECA4QBgoCEAQBBBJsYWluCAESBBICCAQgwAIoEDVVdTXwAAAAAAEAAAAAks6/qAAAAAABAAAAAMDyobAAAQNxANEBAAAAAAEAAAAAAo"
    "Up9tYBCOMBDwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABX+4CLJHVH2w==",
}


def _from_tensorflow(folder: Path, name: str) -> Path:
    index = folder / "model.index"
    index.write_bytes(base64.b64decode(_WRITTEN_BY_TENSORFLOW[name]))
    index.with_suffix(".data-00000-of-00001").write_bytes(base64.b64decode(_WRITTEN_BY_TENSORFLOW["data"]))
    return index


def test_a_checkpoint_of_tensorflow_is_read(tmp_path: Path) -> None:
    index = _from_tensorflow(tmp_path, "whole")
    entries = read_index(index)
    assert {name: (entry.type_name, entry.shape, entry.size) for name, entry in entries.items()} == {
        "brain": ("bfloat16", (2,), 4),
        "plain": ("float32", (4,), 16),
        "words": ("string", (2,), 9),
    }
    plain = read_tensor(index, entries["plain"])
    np.testing.assert_allclose(plain, [-0.49241918, -0.00156098, -0.18703912, 0.04458946], rtol=1e-6)


def test_a_tensor_of_tensorflow_that_is_cut_into_slices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.index: 'parts/softmax/W': the tensor is cut into slices"):
        read_index(_from_tensorflow(tmp_path, "sliced"))


@pytest.mark.parametrize("name", ["model.ckpt-7", "model.ckpt-7.index"])
def test_a_tensor_is_mapped_and_what_is_written_to_it_does_not_reach_the_file(tmp_path: Path, name: str) -> None:
    index = writer.write(tmp_path / "model.ckpt-7", writer.arrays(3))
    entry = read_index(index)["lm/cell_002/kernel"]
    tensor = read_tensor(tmp_path / name, entry)
    assert isinstance(tensor, np.memmap) and tensor.tolist() == [2, 3, 4]
    tensor[:] = 0
    assert read_tensor(tmp_path / name, entry).tolist() == [2, 3, 4]


def test_a_tensor_without_numbers_is_not_writable(tmp_path: Path) -> None:
    index = writer.write(tmp_path / "model", {"w": np.zeros((2, 0), dtype=np.float32)})
    tensor = read_tensor(index, read_index(index)["w"])
    assert tensor.shape == (2, 0) and not tensor.flags.writeable


def test_fields_that_are_not_known_are_passed_over(tmp_path: Path) -> None:
    unknown = number(9, 300) + part(10, b"abc") + varint(11 << 3 | 1) + bytes(8) + varint(12 << 3 | 5) + bytes(4)
    index = tmp_path / "model.index"
    index.write_bytes(_index({b"": unknown + header(), b"w": unknown + entry("float32", [2], 0, 4, 8)}))
    assert read_index(index)["w"].shape == (2,)


# -- indices that are refused --------------------------------------------------------------------


def _index(table: dict[bytes, bytes], **changes: Any) -> bytes:
    return index_file(writer.blocks(table), **changes)


_ENTRY = entry("float32", [2, 3], 0, 0, 24)
_TABLE = {b"": header(), b"a": _ENTRY, b"b": _ENTRY}
_ENTRIES = list(_TABLE.items())
_GOOD = _index(_TABLE)
_TWO_BLOCKS = [(b"a", block(_ENTRIES[:2])), (b"b", block(_ENTRIES[2:]))]


def _one_block(content: bytes, separator: bytes = b"b") -> bytes:
    return index_file([(separator, content)])


def _with_value(value: bytes) -> bytes:
    return _index({b"": header(), b"lm/w": value})


_INNER = block(_ENTRIES[2:])
_OUTER = block([_ENTRIES[0], (b"a", _ENTRY + part(10, writer.framed(_INNER)))])
_FIRST = block_entry(0, *_ENTRIES[0]) + block_entry(0, *_ENTRIES[1])
_WRITTEN = sum(len(block_entry(0, key, value)) for key, value in _ENTRIES)

_REFUSED: dict[str, tuple[bytes, str]] = {
    "an empty file": (b"", "it has 0 bytes, expected at least 48: was it copied whole"),
    "a short file": (_GOOD[-47:], "it has 47 bytes, expected at least 48"),
    "another kind of file": (b"PK" * 40, "its end is 504b504b504b504b, expected 57fb808b247547db: it is no"),
    "a cut file": (_GOOD[:-1], "it is no index of a TensorFlow checkpoint, or not copied whole"),
    "a large file": (bytes((4 << 20) + 1), "it has more than 4,194,304 bytes"),
    "a changed byte": (_GOOD.replace(b"a", b"A", 1), "the block at byte 0 has the checksum 0x.*, expected 0x.*: is it"),
    "a compressed block": (
        _index(_TABLE, compression=1),
        "compressed, as by TensorFlow 1.1 or older: load and save it",
    ),
    "a lost beginning": (_GOOD[10:], "the block of .* bytes at byte .* does not fit into the .* bytes of the file"),
    "a block beyond the file": (
        _index(_TABLE, handle=lambda offset, size: varint(1 << 62) + varint(size)),
        "at byte 4,611,686,018,427,387,904 does not fit",
    ),
    "a large block": (
        _index(_TABLE, handle=lambda offset, size: varint(offset) + varint((1 << 64) - 1)),
        "the block of 18,446,744,073,709,551,615 bytes at byte 0 does not fit",
    ),
    "half a handle": (_index(_TABLE, handle=lambda offset, size: b"\x80"), "a number has no end, or more than 64 bits"),
    "a handle of 70 bits": (
        _index(_TABLE, handle=lambda offset, size: b"\xff" * 9 + b"\x7f" + b"\0"),
        "a number has no end, or more than 64 bits",
    ),
    "a block read twice": (
        index_file(_TWO_BLOCKS, handle=lambda offset, size: varint(0) + varint(len(_TWO_BLOCKS[0][1]))),
        "the block at byte 0 is out of order",
    ),
    "a block within a block": (
        index_file(
            [(b"a", _OUTER), (b"b", _INNER)],
            handle=lambda offset, size: varint(_OUTER.index(_INNER) if offset else 0) + varint(size),
        ),
        "is out of order",
    ),
    "blocks out of order": (
        index_file([(b"b", block([_ENTRIES[0], _ENTRIES[2]])), (b"c", block(_ENTRIES[1:2]))]),
        "is out of order",
    ),
    "a key after its separator": (index_file([(b"a", block(_ENTRIES))]), "the block at byte 0 is out of order"),
    "keys out of order": (
        _one_block(block([_ENTRIES[0], _ENTRIES[2], _ENTRIES[1]])),
        "the block at byte 0: the key b'a' stands after b'b', expected the keys sorted",
    ),
    "a repeated key": (_one_block(block([*_ENTRIES, _ENTRIES[2]])), "the key b'b' stands after b'b'"),
    "an empty block": (_one_block(block([], restarts=[0])), "restart points are not those of its entries"),
    "no block": (index_file([]), "restart points are not those of its entries"),
    "no byte in a block": (_one_block(b""), "it has 0 restart points in 0 bytes"),
    "no restart point": (_one_block(block(_ENTRIES, restarts=[])), "restart points are not those of its entries"),
    "too many restart points": (_one_block(bytes(4) + b"\xff" * 4), "it has 4,294,967,295 restart points in 8 bytes"),
    "a late first restart point": (
        _one_block(block(_ENTRIES, restarts=[len(block_entry(0, *_ENTRIES[0]))])),
        "restart points are not those of its entries",
    ),
    "a restart point amid an entry": (_one_block(block(_ENTRIES, restarts=[0, 2])), "are not those of its entries"),
    "a restart point at the end": (_one_block(block(_ENTRIES, restarts=[0, _WRITTEN])), "are not those of its entries"),
    "a restart point twice": (_one_block(block(_ENTRIES, restarts=[0, 0])), "are not those of its entries"),
    "restart points out of order": (
        _one_block(block(_ENTRIES, interval=1, restarts=[0, _WRITTEN - len(block_entry(0, *_ENTRIES[2])), 9])),
        "are not those of its entries",
    ),
    "a key that is not whole at a restart point": (
        _one_block(_FIRST + block_entry(1, b"b", _ENTRY) + writer.restart_points([0, len(_FIRST)])),
        "a key at a restart point is not whole",
    ),
    "a key with more of the last than it has": (
        _one_block(_FIRST + block_entry(2, b"b", _ENTRY) + writer.restart_points([0])),
        "an entry has more letters than there are",
    ),
    "an entry beyond the block": (
        _one_block(_FIRST + varint(0) + varint(1) + varint(99) + b"b" + writer.restart_points([0])),
        "an entry has more letters than there are",
    ),
    "keys that a few bytes make long": (
        _one_block(
            _FIRST
            + block_entry(1, b"a" * 2000, _ENTRY)
            + b"".join(block_entry(2000, bytes([letter]), b"") for letter in range(ord("b"), 256))
            + writer.restart_points([0])
        ),
        "its keys have more than 16 times its bytes",
    ),
    "no header": (_index({b"a": _ENTRY}), "the table has no header: it is the index of something else"),
    "format V1": (_index({b"": part(1, b"\x08\1"), b"a": b""}), "it is a checkpoint of format V1: load and save it"),
    "big-endian numbers": (_index({b"": header(endianness=1)}), "its numbers are big-endian"),
    "a newer version": (_index({b"": header(min_consumer=2)}), "wants readers of version 2, this one is of version 1"),
    "no data file": (_index({b"": header(0)}), "it has 0 data files, expected at least 1"),
    "a name that is not UTF-8": (_index({b"": header(), b"\xff": _ENTRY}), r"the name b'\\xff' is not UTF-8"),
    "slices": (
        _with_value(entry("float32", [2], 0, 0, 8, num_slices=2)),
        "'lm/w': the tensor is cut into slices, expected it whole",
    ),
    "a slice alone": (_index({b"": header(), b"\0lm/w\0\1\2\x80": _ENTRY}), "'lm/w': the tensor is cut into slices"),
    "a negative shard": (_with_value(entry("float32", [2], -1, 0, 8)), "'lm/w': its data file is -1, expected 0 to 0"),
    "a shard too many": (_with_value(entry("float32", [2], 1, 0, 8)), "'lm/w': its data file is 1, expected 0 to 0"),
    "a negative offset": (_with_value(entry("float32", [2], 0, -8, 8)), "'lm/w': it has 8 bytes from byte -8"),
    "a negative size": (_with_value(entry(7, [2], 0, 0, -1)), "'lm/w': it has -1 bytes from byte 0, expected no neg"),
    "a negative length": (_with_value(entry("float32", [-2, -1], 0, 0, 8)), r"'lm/w': its shape is \(-2, -1\)"),
    "an absurd shape": (_with_value(entry("float32", [1 << 40] * 9, 0, 0, 8)), "expected one that memory can hold"),
    "an absurd shape of nothing": (_with_value(entry("float32", [0, 1 << 62, 9], 0, 0, 0)), "that memory can hold"),
    "too many dimensions": (
        _with_value(entry("float32", [1] * 65, 0, 0, 4)),
        "it has 65 dimensions, expected at most 64",
    ),
    "another size": (
        _with_value(entry("float32", [2, 3], 0, 0, 12)),
        r"'lm/w': it has 12 bytes, expected 24 for float32 of the shape \(2, 3\): is it damaged",
    ),
    "a group, which is no longer written": (
        _with_value(varint(1 << 3 | 3)),
        "'lm/w': a field is of kind 3, expected 0, 1, 2 or 5",
    ),
    "a field beyond its entry": (
        _with_value(varint(2 << 3 | 2) + varint(9)),
        "a field has 9 bytes, expected at most 0",
    ),
    "a number cut in its entry": (_with_value(varint(1 << 3 | 5) + b"12"), "a field has 4 bytes, expected at most 2"),
    "half a number": (_with_value(varint(1 << 3) + b"\x80"), "a number has no end, or more than 64 bits"),
    "half a dimension": (_with_value(part(2, part(2, b"\x08"))), "a number has no end, or more than 64 bits"),
}


@pytest.mark.parametrize("case", _REFUSED)
def test_an_index_is_refused(tmp_path: Path, case: str) -> None:
    data, message = _REFUSED[case]
    index = tmp_path / "model.index"
    index.write_bytes(data)
    with pytest.raises(ModelError, match=message) as refusal:
        read_index(index)
    assert str(refusal.value).startswith(f"{index}: ")


def test_the_index_that_the_refused_ones_differ_from_is_read(tmp_path: Path) -> None:
    index = tmp_path / "model.index"
    for data in (_GOOD, _one_block(block(_ENTRIES)), index_file(_TWO_BLOCKS), _with_value(_ENTRY)):
        index.write_bytes(data)
        assert {entry.shape for entry in read_index(index).values()} == {(2, 3)}


def test_an_index_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match=r"model\.index is not there"):
        read_index(tmp_path / "model.index")


def test_a_folder_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_index(tmp_path)


# -- tensors that are refused --------------------------------------------------------------------


@pytest.mark.parametrize(("type_number", "type_name"), [(0, "0"), (7, "string"), (14, "bfloat16"), (99, "99")])
def test_a_type_that_numpy_lacks_is_listed_and_not_read(tmp_path: Path, type_number: int, type_name: str) -> None:
    index = tmp_path / "model.index"
    index.write_bytes(_with_value(entry(type_number, [2], 0, 0, 5)))
    found = read_index(index)["lm/w"]
    assert (found.dtype, found.type_name, found.shape, found.size) == (None, type_name, (2,), 5)
    with pytest.raises(ModelError, match=f"'lm/w' has the type {type_name}, expected numbers that NumPy has"):
        read_tensor(index, found)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """The index of a checkpoint of one tensor, 24 bytes."""
    return writer.write(tmp_path / "model", {"lm/w": np.ones((2, 3), dtype=np.float32)})


def _cut(data: Path) -> None:
    data.write_bytes(data.read_bytes()[:-1])


def _empty(data: Path) -> None:
    data.write_bytes(b"")


def _replace_by_folder(data: Path) -> None:
    data.unlink()
    data.mkdir()


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_cut, ModelError, "00000-of-00001 has 23 bytes, 'lm/w' ends at byte 24: was it copied whole"),
        (_empty, ModelError, "00000-of-00001 has 0 bytes, 'lm/w' ends at byte 24: was it copied whole"),
        (Path.unlink, MissingPathError, "00000-of-00001 is not there: a checkpoint is its .index and all of its .data"),
        (_replace_by_folder, ModelError, "00000-of-00001 "),
    ],
)
def test_data_that_lack_a_tensor_are_refused(
    index: Path, damage: Callable[[Path], None], error: type[LowtideError], message: str
) -> None:
    entries = read_index(index)
    damage(index.with_name("model.data-00000-of-00001"))
    with pytest.raises(error, match=message):
        read_tensor(index, entries["lm/w"])


# -- damage of every kind ------------------------------------------------------------------------


def _small(folder: Path) -> Path:
    return writer.write(folder / "model", writer.arrays(7), block_size=60)


def _read_or_refuse(index: Path) -> None:
    """Nothing but our own errors, and no tensor beyond the data."""
    try:
        entries = read_index(index)
    except LowtideError:
        return
    for found in entries.values():
        try:
            tensor = read_tensor(index, found)
        except LowtideError:
            continue
        data = index.with_name(f"model.data-{found.shard:05d}-of-{found.num_shards:05d}")
        assert tensor.tobytes() == data.read_bytes()[found.offset :][: found.size]
        assert tensor.nbytes == found.size


def test_no_beginning_of_an_index_is_read(tmp_path: Path) -> None:
    index = _small(tmp_path)
    whole = index.read_bytes()
    for length in range(len(whole)):
        index.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            read_index(index)


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    index = _small(tmp_path)
    whole, entries = index.read_bytes(), read_index(index)
    num_read = 0
    for position in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        index.write_bytes(flipped)
        try:
            assert read_index(index) == entries
        except ModelError:
            continue
        num_read += 1
    assert num_read < 8 * 60  # bits that say nothing: the rest of the footer, and a block without entries


def _mutated(data: bytes, chance: random.Random) -> bytes:
    """Some bytes flipped, cut, repeated, or put in the place of others."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        start = chance.randrange(len(changed) + 1)
        end = min(len(changed), start + chance.choice([1, 1, 2, 5, 20]))
        odd = [0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)]
        changed[start:end] = chance.choice(
            [
                b"",
                changed[start:end] * 2,
                bytes(chance.choice(odd) for _ in range(end - start)),
                bytes(byte ^ 1 << chance.randrange(8) for byte in changed[start:end]),
                varint(chance.choice([1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1, 1 << 69])),
            ]
        )
    return bytes(changed)


def test_a_damaged_index_is_read_or_refused(tmp_path: Path) -> None:
    index = _small(tmp_path)
    whole, chance = index.read_bytes(), random.Random(1)
    for _ in range(1500):
        index.write_bytes(_mutated(whole, chance))
        _read_or_refuse(index)


def _table(num_tensors: int) -> dict[bytes, bytes]:
    values = {f"lm/cell_{n}/kernel".encode(): entry("float32", [2, n], 0, 8 * n, 8 * n) for n in range(num_tensors)}
    return {b"": header(), **values}


def test_damaged_blocks_with_good_checksums_are_read_or_refused(tmp_path: Path) -> None:
    index, chance = _small(tmp_path), random.Random(2)
    parts = writer.blocks(_table(4), block_size=60)
    for _ in range(1500):
        chosen = chance.randrange(len(parts) + 1)
        damaged = [
            (key, _mutated(content, chance) if n == chosen else content) for n, (key, content) in enumerate(parts)
        ]
        index.write_bytes(
            index_file(damaged)
            if chosen < len(parts)
            else index_file(parts, change=lambda content: _mutated(content, chance))
        )
        _read_or_refuse(index)


def test_damaged_messages_in_good_blocks_are_read_or_refused(tmp_path: Path) -> None:
    index, chance = _small(tmp_path), random.Random(3)
    table = _table(4)
    for _ in range(1500):
        key = chance.choice(list(table))
        index.write_bytes(_index({**table, key: _mutated(table[key], chance)}))
        _read_or_refuse(index)
