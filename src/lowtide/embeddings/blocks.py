"""A block: the vectors of some sentences in a folder that is there when it is whole, and that knows what is in it."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from lowtide.embeddings.numbered import NumberedSentence
from lowtide.embeddings.outputs import memory_map
from lowtide.embeddings.outputs.base import EmbeddedSentence, VectorWriter
from lowtide.errors import InputError, LowtideError
from lowtide.files import crc32, folder_size, read_json, write_json, written_whole

_ABOUT, _VECTORS = "block.json", "vectors"


@dataclass(frozen=True)
class Block:
    """What stands in ``block.json``."""

    num_sentences: int
    num_tokens: int
    text: str
    """Of its sentences; see `digest`."""
    content: int
    """CRC-32 of all files, to notice a damage."""
    num_bytes: int
    """Of its vectors on disk."""


def digest(sentences: Iterable[NumberedSentence]) -> str:
    """What two blocks of the same sentences have in common, and no others."""
    found = hashlib.blake2b(digest_size=16)
    for sentence in sentences:
        found.update(json.dumps([sentence.key, sentence.tokens, sentence.spans]).encode())
    return found.hexdigest()


def write_block(folder: Path, text: str, sentences: Iterable[EmbeddedSentence]) -> Block:
    """Write a block; a folder that stands there is replaced.

    Args:
        folder: of the block.
        text: the digest of the sentences.
        sentences: with their vectors.
    """
    num_sentences = num_tokens = 0
    with written_whole(folder) as beside:
        beside.mkdir()
        with memory_map.open_writer(beside / _VECTORS) as writer:
            for sentence in sentences:
                writer.write(sentence)
                num_sentences += 1
                num_tokens += len(sentence.tokens)
        size, content = folder_size(beside / _VECTORS), _checksum(beside / _VECTORS)
        block = Block(num_sentences, num_tokens, text, content, size)
        write_json(beside / _ABOUT, asdict(block))
    return block


def read_block(folder: Path) -> Block:
    """What a block says of itself.

    Raises:
        InputError: if it is damaged.
    """
    try:
        block = Block(**read_json(folder / _ABOUT))
        is_whole = folder_size(folder / _VECTORS) == block.num_bytes
    except (LowtideError, TypeError, OSError):
        is_whole = False
    if not is_whole:
        raise _damaged(folder)
    return block


def copy_block(folder: Path, block: Block, writer: VectorWriter) -> None:
    """Write the sentences of a block to where all of them come together.

    Raises:
        InputError: if it is damaged; nothing of it is written then.
    """
    if _checksum(folder / _VECTORS) != block.content:
        raise _damaged(folder)
    if isinstance(writer, memory_map.FolderWriter):  # as fast as files are copied
        with closing(memory_map.open_reader(folder / _VECTORS)) as reader:
            writer.extend(reader)
        return
    for sentence in memory_map.read_sentences(folder / _VECTORS):
        writer.write(sentence)


def _checksum(folder: Path) -> int:
    checksum = 0
    for file in sorted(folder.iterdir()):
        checksum = crc32(file, zlib.crc32(file.name.encode(), checksum))
    return checksum


def _damaged(folder: Path) -> InputError:
    return InputError(f"{folder} is damaged: remove this folder, and go on with --resume; it is computed once more")
