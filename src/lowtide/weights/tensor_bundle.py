"""TensorFlow's checkpoints of format V2, read without TensorFlow; knows nothing of any model.

================================  ===============================================================
``NAME.index``                    a sorted table: what tensors there are, and where their bytes lie
``NAME.data-00000-of-00001``      the bytes, little-endian, rows first; there may be several
================================  ===============================================================

The table is LevelDB's, see `lowtide.weights.sorted_table`. The value at the empty key is a ``BundleHeaderProto``, all
others are ``BundleEntryProto``, both messages of protobuf: see ``tensorflow/core/protobuf/tensor_bundle.proto``.

The checksums of the index are verified. Those of the data are not: that would read every byte before it is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowtide.errors import MissingPathError, ModelError
from lowtide.weights.sorted_table import LARGEST_TABLE, read_table, read_varint

INDEX_SUFFIX = ".index"

_MOST_NUMBERS = 1 << 44
"""In a tensor; an axis without length counts as one of length 1."""
_MOST_DIMENSIONS = 64
"""NumPy has no more."""
_VERSION = 1
"""Of TensorFlow's readers (``kTensorBundleVersion``)."""

_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Bytes by kind of field."""

_NUMPY_TYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    8: "<c8",
    9: "<i8",
    10: "?",
    17: "<u2",
    18: "<c16",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}
"""By their numbers in ``tensorflow/core/framework/types.proto``."""
_OTHER_TYPES = {
    7: "string",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    14: "bfloat16",
    15: "qint16",
    16: "quint16",
    20: "resource",
    21: "variant",
}


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies, and what it is."""

    name: str
    type_name: str
    """As NumPy calls it, or TensorFlow, or a number."""
    dtype: np.dtype[Any] | None
    """None: one that NumPy does not have, such as texts or bfloat16. It cannot be read."""
    shape: tuple[int, ...]
    shard: int
    """Which of the data files, from 0."""
    num_shards: int
    offset: int
    """The first byte in the data file; any byte, not only a multiple of the item size."""
    size: int
    """In bytes."""


def read_index(path: Path) -> dict[str, Entry]:
    """Find all tensors of a checkpoint; its data files are not opened.

    Args:
        path: the ``.index`` file.

    Returns:
        The entries by name, sorted by the bytes of the names.

    Raises:
        MissingPathError: if the file is not there.
        ModelError: if it is no index of a checkpoint, is damaged, or a tensor in it is cut into slices.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_TABLE + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingPathError(f"{path} is not there") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}. Is it damaged?") from None
    try:
        return _entries(data)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def read_tensor(path: Path, entry: Entry) -> NDArray[Any]:
    """Map a tensor into memory: its bytes are read when they are used.

    Args:
        path: the checkpoint, with or without ``.index``.
        entry: from `read_index` of this checkpoint.

    Returns:
        A read-only map of the data file, of the shape of the entry. It may begin at any byte of memory, so a copy is
        better to compute with. Each map holds a file open until it is freed.

    Raises:
        MissingPathError: if the data file is not there.
        ModelError: if it is too short for the tensor, or NumPy has no such type.
    """
    data_file = _data_file(path, entry)
    if entry.dtype is None:
        raise ModelError(f"{data_file}: {entry.name!r} has the type {entry.type_name}, expected numbers that NumPy has")
    try:
        length, end = data_file.stat().st_size, entry.offset + entry.size
        if end > length:
            raise ModelError(
                f"{data_file} has {length:,} bytes, {entry.name!r} ends at byte {end:,}: was it copied whole?"
            )
        if entry.size:
            return np.memmap(data_file, entry.dtype, "c", entry.offset, entry.shape)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingPathError(f"{data_file} is not there: a checkpoint is its .index and all of its .data") from None
    except OSError as error:
        raise ModelError(f"{data_file} cannot be read: {error.strerror or error}. Is it damaged?") from None
    empty = np.empty(entry.shape, entry.dtype)  # nothing cannot be mapped
    empty.flags.writeable = False
    return empty


def _data_file(path: Path, entry: Entry) -> Path:
    name = path.name.removesuffix(INDEX_SUFFIX)
    return path.with_name(f"{name}.data-{entry.shard:05d}-of-{entry.num_shards:05d}")


# -- what the table holds ------------------------------------------------------------------------


def _entries(data: bytes) -> dict[str, Entry]:
    table = read_table(data)
    key, header = next(table, (None, b""))
    if key != b"":
        raise ModelError("the table has no header: it is the index of something else")
    num_shards = _num_shards(_Message(header))
    entries = {}
    for key, value in table:
        is_slice = key.startswith(b"\0")  # its tensor's name stands between two zeros
        name = _name(key.split(b"\0")[1] if is_slice else key)
        try:
            message = _Message(value)
            if is_slice or message.parts(7):
                raise ModelError("the tensor is cut into slices, expected it whole: load and save it unpartitioned")
            entries[name] = _entry(name, message, num_shards)
        except ModelError as error:
            raise ModelError(f"{name!r}: {error}") from None
    return entries


def _name(key: bytes) -> str:
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelError(f"the name {key!r} is not UTF-8: is it damaged?") from None


def _num_shards(header: _Message) -> int:
    if header.parts(1):  # a message in the place of a number
        raise ModelError("it is a checkpoint of format V1: load and save it once with TensorFlow 0.12 or newer")
    num_shards, is_big_endian = header.number(1), header.number(2)
    version = header.message(3).number(2)
    if is_big_endian:
        raise ModelError("its numbers are big-endian: load and save it once on a little-endian computer")
    if version > _VERSION:
        raise ModelError(f"it wants readers of version {version}, this one is of version {_VERSION}")
    if num_shards < 1:
        raise ModelError(f"it has {num_shards} data files, expected at least 1: is it damaged?")
    return num_shards


def _entry(name: str, message: _Message, num_shards: int) -> Entry:
    type_number, shard, offset, size = map(message.number, (1, 3, 4, 5))
    dimensions = message.message(2).parts(2)
    if not 0 <= shard < num_shards:
        raise ModelError(f"its data file is {shard}, expected 0 to {num_shards - 1}: is it damaged?")
    if offset < 0 or size < 0:
        raise ModelError(f"it has {size:,} bytes from byte {offset:,}, expected no negative number: is it damaged?")
    if len(dimensions) > _MOST_DIMENSIONS:
        raise ModelError(f"it has {len(dimensions):,} dimensions, expected at most {_MOST_DIMENSIONS}: is it damaged?")
    shape = tuple(_Message(dimension).number(1) for dimension in dimensions)
    if min(shape, default=0) < 0 or math.prod(max(length, 1) for length in shape) > _MOST_NUMBERS:
        raise ModelError(f"its shape is {shape}, expected one that memory can hold: is it damaged?")
    place = (shape, shard, num_shards, offset, size)
    if type_number not in _NUMPY_TYPES:
        return Entry(name, _OTHER_TYPES.get(type_number, str(type_number)), None, *place)
    dtype = np.dtype(_NUMPY_TYPES[type_number])
    expected = math.prod(shape) * dtype.itemsize
    if size != expected:
        raise ModelError(
            f"it has {size:,} bytes, expected {expected:,} for {dtype.name} of the shape {shape}: is it damaged?"
        )
    return Entry(name, dtype.name, dtype, *place)


class _Message:
    """A message of protobuf; a field that is not there, or of another kind, is zero or empty.

    See https://protobuf.dev/programming-guides/encoding/.
    """

    def __init__(self, data: bytes) -> None:
        self._numbers: dict[int, int] = {}
        self._parts: dict[int, list[bytes]] = {}
        position = 0
        while position < len(data):
            tag, position = read_varint(data, position)
            field, kind = tag >> 3, tag & 7
            if kind not in (_VARINT, _BYTES, *_FIXED):
                raise ModelError(f"a field is of kind {kind}, expected 0, 1, 2 or 5: is it damaged?")
            number, position = (_FIXED[kind], position) if kind in _FIXED else read_varint(data, position)
            if kind == _VARINT:
                self._numbers[field] = number - (1 << 64) if number >> 63 else number
                continue
            if number > len(data) - position:
                raise ModelError(
                    f"a field has {number:,} bytes, expected at most {len(data) - position:,}: is it damaged?"
                )
            if kind == _BYTES:
                self._parts.setdefault(field, []).append(data[position : position + number])
            position += number

    def number(self, field: int) -> int:
        """The number of a field; of several the last."""
        return self._numbers.get(field, 0)

    def parts(self, field: int) -> list[bytes]:
        """What a repeated field has."""
        return self._parts.get(field, [])

    def message(self, field: int) -> _Message:
        """The message within; of several the union."""
        return _Message(b"".join(self.parts(field)))
