"""LevelDB's sorted table, as the index of a TensorFlow checkpoint is one: keys and values in blocks.

Blocks of entries, a block that points to the blocks, and a footer that points to it; never compressed. A key gives only
the letters in which it differs from the key before. See ``doc/table_format.md`` of LevelDB
(https://github.com/google/leveldb). All checksums are verified.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from lowtide.errors import ModelError

LARGEST_TABLE = 4 << 20
"""Bytes, enough for tens of thousands of tensors; an ELMo has about a hundred."""
_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER_SIZE = 48
_TRAILER_SIZE = 5
"""After each block: one byte for its compression, four for its checksum."""
_RESTART_INTERVAL = 16
"""TensorFlow writes every sixteenth key whole, so the keys of a block have at most sixteen times its bytes."""
_LONGEST_VARINT = 10


def read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of all blocks, in order."""
    if len(data) > LARGEST_TABLE:
        raise ModelError(f"it has more than {LARGEST_TABLE:,} bytes: it is no index of a TensorFlow checkpoint")
    if len(data) < _FOOTER_SIZE:
        raise ModelError(f"it has {len(data)} bytes, expected at least {_FOOTER_SIZE}: was it copied whole?")
    footer = data[-_FOOTER_SIZE:]
    if not footer.endswith(_MAGIC):
        raise ModelError(
            f"its end is {footer[-8:].hex()}, expected {_MAGIC.hex()}: it is no index of a TensorFlow checkpoint, "
            "or not copied whole"
        )
    _, _, position = _handle(footer)  # of blocks about the blocks, which TensorFlow does not write
    offset, size, _ = _handle(footer, position)
    bound, free = None, 0
    for separator, value in _block(data, offset, size):
        offset, size, _ = _handle(value)
        entries = _block(data, offset, size)
        # a separator stands between the keys of two blocks; and blocks within blocks would make a small file long
        if offset < free or entries[-1][0] > separator or (bound is not None and entries[0][0] <= bound):
            raise ModelError(f"the block at byte {offset:,} is out of order: is it damaged?")
        bound, free = separator, offset + size
        yield from entries


def _handle(data: bytes, position: int = 0) -> tuple[int, int, int]:
    """Offset and size of a block, and where to read on."""
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return offset, size, position


def _block(data: bytes, offset: int, size: int) -> list[tuple[bytes, bytes]]:
    """The keys and values of a block, in order; one at least."""
    end = offset + size
    if end + _TRAILER_SIZE > len(data) - _FOOTER_SIZE:
        raise ModelError(
            f"the block of {size:,} bytes at byte {offset:,} does not fit into the {len(data):,} bytes of the file: "
            "was it copied whole?"
        )
    compression, expected = struct.unpack_from("<BI", data, end)
    found = _masked(_crc32c(data[offset : end + 1]))
    if found != expected:
        raise ModelError(
            f"the block at byte {offset:,} has the checksum {hex(found)}, expected {hex(expected)}: is it damaged?"
        )
    if compression:
        raise ModelError(
            f"the block at byte {offset:,} is compressed, as by TensorFlow 1.1 or older: load and save it once with a "
            "newer TensorFlow"
        )
    try:
        return _block_entries(data[offset:end])
    except ModelError as error:
        raise ModelError(f"the block at byte {offset:,}: {error}") from None


def _block_entries(block: bytes) -> list[tuple[bytes, bytes]]:
    num_restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (num_restarts + 1)
    if end < 0:
        raise ModelError(f"it has {num_restarts:,} restart points in {len(block):,} bytes: is it damaged?")
    restarts = struct.unpack_from(f"<{num_restarts}I", block, end)
    whole = set(restarts)
    data = block[:end]
    entries: list[tuple[bytes, bytes]] = []
    starts = []
    key, position, room = b"", 0, _RESTART_INTERVAL * len(block)
    while position < end:
        start = position
        num_shared, position = read_varint(data, position)
        num_added, position = read_varint(data, position)
        num_value_bytes, position = read_varint(data, position)
        if start in whole:
            starts.append(start)
            if num_shared:
                raise ModelError("a key at a restart point is not whole: is it damaged?")
        if num_shared > len(key) or num_added + num_value_bytes > end - position:
            raise ModelError("an entry has more letters than there are: is it damaged?")
        room -= num_shared + num_added
        if room < 0:
            raise ModelError(f"its keys have more than {_RESTART_INTERVAL} times its bytes: is it damaged?")
        previous, key = key, key[:num_shared] + data[position : position + num_added]
        if entries and key <= previous:
            raise ModelError(f"the key {key!r} stands after {previous!r}, expected the keys sorted: is it damaged?")
        position += num_added + num_value_bytes
        entries.append((key, data[position - num_value_bytes : position]))
    if restarts[:1] != (0,) or list(restarts) != starts:
        raise ModelError("its restart points are not those of its entries: is it damaged?")
    return entries


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where to read on."""
    value = 0
    for index, byte in enumerate(data[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value >> 64:
                break
            return value, position + index + 1
    raise ModelError("a number has no end, or more than 64 bits: is it damaged?")


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    """As checksums are stored, so that a checksum of checksums tells something."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (byte & 1) * 0x82F63B78
    return byte


_CRC_TABLE = [_crc_of_byte(byte) for byte in range(256)]
