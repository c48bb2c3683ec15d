"""The parts of a vector file that is not whole yet: a folder beside it.

======================  =====================================================================================
``manifest.json``       written first: all that decides a number or a byte; who goes on has to have the same
``00000012/``           a block, there when it is whole
``.shard-2-of-4.lock``  held while a process computes that share of the blocks
``.lock``               held while a process begins, and while one puts the parts together
======================  =====================================================================================

The locks are the system's: they do not outlive a process. Nothing else has to be agreed upon: two processes that
compute the same block write the same block.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lowtide.config import require_same
from lowtide.embeddings.blocks import Block, copy_block, read_block, write_block
from lowtide.embeddings.outputs.base import EmbeddedSentence, VectorWriter
from lowtide.errors import InputError
from lowtide.files import explained, make_folder, read_json, remove, write_json

_MANIFEST = "manifest.json"
_DOOR = ".lock"
_DOOR_SECONDS = 20.0
"""To wait for a process that begins; one that puts a large file together takes longer."""


@dataclass(frozen=True)
class Shard:
    """The share of one process: every `count`-th block."""

    number: int = 1
    """From 1."""
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/4``: the second of four.

        Raises:
            InputError: if it is none.
        """
        match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(f"cannot read the shard {text!r}: expected 1/4, 2/4, 3/4 or 4/4 for one of four processes")
        return cls(int(match[1]), int(match[2]))

    def has(self, block: int) -> bool:
        """Whether a block, counted from 0, is of this share."""
        return self.of_block(block) == self.number

    def of_block(self, block: int) -> int:
        """The number of the share that a block is of."""
        return block % self.count + 1


def parts_folder(out: Path) -> Path:
    """Where the parts of a file lie until it is whole."""
    return out.with_name(f"{out.name}.parts")


def has_begun(out: Path) -> bool:
    """Whether there are parts to go on with."""
    return (parts_folder(out) / _MANIFEST).exists()


class Parts:
    """The blocks of a file, and this process's share of them.

    Args:
        out: the file that they will be.
        shard: the share.
    """

    def __init__(self, out: Path, shard: Shard) -> None:
        self.out, self.shard = out, shard
        self.folder = parts_folder(out)
        self.blocks: dict[int, Block] = {}
        """Those that are whole, as far as they have been seen."""
        self._lock = FileLock(self.folder / f".shard-{shard.number}-of-{shard.count}.lock")

    @contextmanager
    def reserved(self, manifest: Mapping[str, Any], *, goes_on: bool) -> Iterator[None]:
        """Keep the share for this process; one that ends without having written a block leaves nothing.

        Args:
            manifest: all that decides what will be in the file, as JSON has it.
            goes_on: whether parts that are there already are to be used.

        Raises:
            InputError: if another process has this share; if parts are there and nobody said to go on, or they
                were made from something else, or are damaged; if anything else is there.
            WriteError: if the folder cannot be made.
        """
        with self._door(_DOOR_SECONDS):
            try:
                self._lock.acquire(blocking=False)
            except Timeout:
                raise InputError(f"another process writes the same part of {self.out}: wait for it") from None
            try:
                self._begin(manifest, goes_on=goes_on)
            except BaseException:
                self._lock.release()
                raise
        try:
            yield
        finally:
            self._lock.release()
            if not self.blocks:
                self._forget()

    def _begin(self, manifest: Mapping[str, Any], *, goes_on: bool) -> None:
        path = self.folder / _MANIFEST
        if not path.exists():
            if any(not inside.name.startswith(".") for inside in self.folder.iterdir()):
                raise InputError(f"{self.folder} is not empty: remove it, or choose another --out")
            write_json(path, manifest)
            return
        if not goes_on:
            raise InputError(
                f"{self.out} was begun and is not whole yet: go on with --resume, or remove {self.folder} to begin anew"
            )
        require_same(read_json(path), manifest, where=self.folder)
        if not self._others_work():
            for half in self.folder.glob(".*.part"):  # what a killed process has left
                remove(half)
        self.look()

    def look(self) -> None:
        """Find the blocks that other processes have written.

        Raises:
            InputError: if one is damaged.
        """
        for path in self.folder.iterdir():
            if path.name.isdecimal() and int(path.name) not in self.blocks:
                self.blocks[int(path.name)] = read_block(path)

    def check(self, number: int, text: str) -> None:
        """Refuse a block that was made from other sentences.

        Args:
            number: of the block.
            text: the digest of the sentences that it should be made from.

        Raises:
            InputError: if it was.
        """
        if self.blocks[number].text != text:
            raise InputError(
                f"{self._path(number)} was made from other sentences than stand there now: go on with the text as it "
                f"was, or remove {self.folder} to begin anew"
            )

    def write(self, number: int, text: str, sentences: Iterable[EmbeddedSentence]) -> None:
        """Write a block; see `write_block`."""
        self.blocks[number] = write_block(self._path(number), text, sentences)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}"

    @contextmanager
    def ended(self, texts: Sequence[str]) -> Iterator[list[int] | None]:
        """End the share, and find out whether it was the last one.

        Args:
            texts: the digests of all blocks.

        Yields:
            The numbers of the blocks that are not there yet. None: the file is whole already, or another process
            works on and will put it together. If all are there, put them together inside; then they are removed.

        Raises:
            InputError: if a block is damaged, or was made from something else.
        """
        self._lock.release()
        with self._door(-1):
            if not (self.folder / _MANIFEST).exists():
                yield None
                return
            self.look()
            for number in self.blocks:
                self.check(number, texts[number] if number < len(texts) else "")
            missing = [number for number in range(len(texts)) if number not in self.blocks]
            if not missing and self._others_work():
                yield None
                return
            yield missing
            if not missing:
                self._remove()

    def copy_to(self, writer: VectorWriter) -> Iterator[Block]:
        """Write all blocks, in order, and say of each when that is done.

        Raises:
            InputError: if one is damaged.
        """
        for number, block in sorted(self.blocks.items()):
            copy_block(self._path(number), block, writer)
            yield block

    def _others_work(self) -> bool:
        return any(_is_held(path) for path in self.folder.glob(".shard-*.lock") if path != Path(self._lock.lock_file))

    def _forget(self) -> None:
        """Nothing of worth is lost, if nobody else is here."""
        if not has_begun(self.out):
            return
        with contextlib.suppress(InputError, OSError), self._door(_DOOR_SECONDS):
            if not self._others_work() and not any(path.name.isdecimal() for path in self.folder.iterdir()):
                self._remove()

    def _remove(self) -> None:
        """At once: half of the parts would be taken for all of them."""
        removed = self.folder.with_name(f".{self.folder.name}.removed")
        remove(removed)
        if os.name == "nt":  # where a folder is not renamed while a file in it is open
            self._door_lock.release()
        self.folder.replace(removed)
        remove(removed)

    @contextmanager
    def _door(self, timeout_seconds: float) -> Iterator[None]:
        """Be the only one who begins or puts together; a folder in which nothing was begun does not stay."""
        self._door_lock = FileLock(self.folder / _DOOR)
        with explained(self.out):
            if self.out.is_dir() and self.out.suffix.lower() != ".mmap":
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.out))
            make_folder(self.folder)
            try:
                self._door_lock.acquire(timeout=timeout_seconds)
            except Timeout:
                raise InputError(f"another process puts {self.out} together: wait for it") from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _remove_unbegun(self.folder)
            self._door_lock.release()


def _remove_unbegun(folder: Path) -> None:
    inside = list(folder.iterdir())
    if all(path.suffix == ".lock" for path in inside):
        for path in inside:
            path.unlink()
        folder.rmdir()


def _is_held(lock_file: Path) -> bool:
    lock = FileLock(lock_file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False
