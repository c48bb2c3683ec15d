"""Files appear whole or not at all.

Everything is written beside its place and renamed into it, so a reader never sees half a file,
and a stop at any moment leaves the old one.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lowtide.errors import InputError, MissingPathError, ModelError, WriteError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path to write to; on success it takes the place of ``path``, on failure it vanishes.

    Works for a file and for a folder (create the folder yourself). A folder that stands at
    ``path`` is replaced by a folder. Where ``path`` is a symbolic link, what it leads to is
    replaced; a device or a pipe (``/dev/stdout``) is written straight, as it has no old content.

    Raises:
        WriteError: if the place cannot be written (a full disk, a parent that is a file, no rights).
    """
    with explained(path):
        place = _place(path)
        if place is None:
            yield path
            return
        make_folder(place.parent)
        beside = place.with_name(f".{place.name}.{os.getpid()}.part")
        remove(beside)  # a killed run may have left one: in containers, process numbers come again
        try:
            yield beside
            if beside.is_dir():
                for file in beside.rglob("*"):
                    if file.is_file():
                        _flush(file)
                _replace_folder(place, beside)
            else:
                _flush(beside)
                beside.replace(place)
        finally:
            remove(beside)


def _place(path: Path) -> Path | None:
    """What is replaced when ``path`` is written; None if it is written straight."""
    if path.exists() and not path.is_file() and not path.is_dir():
        return None
    return path.resolve() if path.is_symlink() else path


@contextmanager
def written_alone(path: Path) -> Iterator[Path]:
    """As `written_whole`, but no other process writes there meanwhile, and what killed ones have left is removed.

    Raises:
        InputError: if another process does.
        WriteError: as `written_whole`.
    """
    place = _place(path)
    if place is None:
        yield path
        return
    with explained(path):
        if not place.name:  # "." and "/"
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        lock = FileLock(place.with_name(f".{place.name}.lock"))
        make_folder(place.parent)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise InputError(f"another process writes {path}: wait for it") from None
    try:
        for left in place.parent.glob(f".{glob.escape(place.name)}.*.part"):
            if re.fullmatch(r"\d+", left.name[len(place.name) + 2 : -len(".part")]):  # else it is of another file
                remove(left)
        with written_whole(path) as beside:
            yield beside
    finally:
        if os.name == "nt":  # where a file that is open cannot be removed
            lock.release()
        remove(Path(lock.lock_file))
        lock.release()


def refuse_to_write_over(source: Path, out: Path) -> None:
    """Refuse to write what is being read.

    Raises:
        InputError: if both are one file.
    """
    if source.exists() and out.exists() and source.samefile(out):
        raise InputError(f"{out} is what is read, and would be lost: name another file to write")


def _replace_folder(place: Path, new: Path) -> None:
    old = new.with_suffix(".old")
    if place.is_dir():
        remove(old)
        place.replace(old)
    try:
        new.replace(place)
    except OSError:
        if old.exists():
            old.replace(place)
        raise
    remove(old)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path`` into a `WriteError`."""
    try:
        yield
    except (WriteError, MissingPathError):
        raise
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}") from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        NotADirectoryError: if one of them is a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        try:
            os.fsync(handle.fileno())
        except OSError as error:  # some file systems refuse fsync; but what is lost, is lost
            if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
                raise


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, as UTF-8 with line feeds at line ends on every system."""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole, readable by people: indented, its letters as they are."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        MissingPathError: if it is not there.
        ModelError: if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise MissingPathError(f"{path} is not there") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON ({error}): is it damaged?") from None


def sha256(path: Path) -> str:
    """The SHA-256 checksum of a file, as 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def crc32(path: Path, checksum: int = 0) -> int:
    """The CRC-32 checksum of a file, which notices a damage; going on from that of another one."""
    with path.open("rb") as handle:
        while piece := handle.read(1 << 20):
            checksum = zlib.crc32(piece, checksum)
    return checksum


def folder_size(path: Path) -> int:
    """The bytes of all files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
