"""TensorFlow's checkpoints of format V2, written for tests: a whole one, or parts to put together wrongly."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPE_NUMBERS = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "complex64": 8,
    "int64": 9,
    "bool": 10,
    "uint16": 17,
    "complex128": 18,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
}

Blocks = list[tuple[bytes, bytes]]
"""What stands in each block, after the separator that the index of the blocks has for it."""


def write(prefix: Path, tensors: Mapping[str, NDArray[Any]], *, block_size: int = 4096, num_shards: int = 1) -> Path:
    """Write a checkpoint, the tensors over its data files in turn; gives the path of the index."""
    shards = [bytearray() for _ in range(num_shards)]
    table = {b"": header(num_shards)}
    for number, (name, array) in enumerate(sorted(tensors.items(), key=lambda item: item[0].encode())):
        shard = number % num_shards
        numbers = array.astype(array.dtype.newbyteorder("<")).tobytes()
        table[name.encode()] = entry(array.dtype.name, array.shape, shard, len(shards[shard]), len(numbers))
        shards[shard] += numbers
    for shard, data in enumerate(shards):
        prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{num_shards:05d}").write_bytes(data)
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(index_file(blocks(table, block_size)))
    return index


# -- messages ------------------------------------------------------------------------------------


def header(num_shards: int = 1, *, endianness: int = 0, min_consumer: int = 0) -> bytes:
    """A BundleHeaderProto."""
    version = number(1, 1) + number(2, min_consumer)
    return number(1, num_shards) + number(2, endianness) + part(3, version)


def entry(type_: str | int, shape: Iterable[int], shard: int, offset: int, size: int, *, num_slices: int = 0) -> bytes:
    """A BundleEntryProto; the checksum of the data is not right."""
    dimensions = b"".join(part(2, number(1, length)) for length in shape)
    fields = [
        number(1, TYPE_NUMBERS[type_] if isinstance(type_, str) else type_),
        part(2, dimensions),
        number(3, shard),
        number(4, offset),
        number(5, size),
        varint(6 << 3 | 5) + b"\1\2\3\4",
        part(7, b"") * num_slices,
    ]
    return b"".join(fields)


def number(field: int, value: int) -> bytes:
    """A field with a number; zero is not written."""
    return varint(field << 3) + varint(value) if value else b""


def part(field: int, value: bytes) -> bytes:
    """A field with bytes, such as a message."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative numbers as 64 bits."""
    value %= 1 << 64
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


# -- the table -----------------------------------------------------------------------------------


def blocks(table: Mapping[bytes, bytes], block_size: int = 4096) -> Blocks:
    """Cut a table, in its order, into blocks of about so many bytes."""
    cut: list[list[tuple[bytes, bytes]]] = []
    room = 0
    for key, value in table.items():
        if room <= 0:
            cut.append([])
            room = block_size
        cut[-1].append((key, value))
        room -= len(key) + len(value) + 3
    return [(entries[-1][0], block(entries)) for entries in cut]


def block(entries: Iterable[tuple[bytes, bytes]], *, interval: int = 16, restarts: list[int] | None = None) -> bytes:
    """What stands in a block: every sixteenth key is written whole, of the others the end."""
    written, starts, previous = bytearray(), [], b""
    for position, (key, value) in enumerate(entries):
        num_shared = 0
        if position % interval == 0:
            starts.append(len(written))
        else:
            while num_shared < min(len(key), len(previous)) and key[num_shared] == previous[num_shared]:
                num_shared += 1
        written += block_entry(num_shared, key[num_shared:], value)
        previous = key
    return bytes(written) + restart_points(starts if restarts is None else restarts)


def block_entry(num_shared: int, key: bytes, value: bytes) -> bytes:
    """An entry of a block, whatever stands before it."""
    return varint(num_shared) + varint(len(key)) + varint(len(value)) + key + value


def restart_points(starts: list[int]) -> bytes:
    """The end of a block."""
    return struct.pack(f"<{len(starts) + 1}I", *starts, len(starts))


def index_file(
    parts: Blocks,
    *,
    compression: int = 0,
    handle: Callable[[int, int], bytes] = lambda offset, size: varint(offset) + varint(size),
    change: Callable[[bytes], bytes] = lambda index: index,
) -> bytes:
    """An index of these blocks.

    Args:
        parts: the blocks.
        compression: what is said of it; nothing is compressed.
        handle: how the place of a block is written.
        change: for the block that points to the blocks, before it is written.
    """
    written, places = bytearray(), []
    for separator, content in parts:
        places.append((separator, handle(len(written), len(content))))
        written += framed(content, compression)
    about_blocks = varint(len(written)) + varint(8)
    written += framed(block([], restarts=[0]))
    index = change(block(places, interval=1))
    footer = about_blocks + varint(len(written)) + varint(len(index))
    written += framed(index)
    return bytes(written) + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def framed(content: bytes, compression: int = 0) -> bytes:
    """A block as it stands in the file."""
    content += bytes([compression])
    crc = _crc32c(content)
    return content + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % (1 << 32))


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _remainder((crc ^ byte) & 0xFF)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


def arrays(count: int) -> dict[str, NDArray[Any]]:
    """Tensors whose names have much in common."""
    return {f"lm/cell_{n:03d}/kernel": np.arange(n % 5 + 1, dtype=np.float32) + n for n in range(count)}
