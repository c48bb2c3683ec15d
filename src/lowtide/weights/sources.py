"""Where the files of a model lie: in a folder, in a zip, or named one by one."""

from __future__ import annotations

import io
import itertools
import json
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from lowtide.errors import MissingPathError, ModelError

MAX_TEXT = 1 << 28
"""Bytes of a vocabulary or a config: the largest published one has 15 MB."""
_MAX_RATIO = 200
"""How much smaller a zip may make a file: weights hardly shrink, texts to a fifth, bombs to a thousandth."""
_SMALL = 1 << 20


def is_file(path: Path) -> bool:
    """Whether it is a file; a text that is no path is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


class Source(Protocol):
    """The files of one model, by name."""

    @property
    def path(self) -> Path:
        """The folder, the zip or the first file."""

    @property
    def names(self) -> Sequence[str]:
        """Of the files, sorted."""

    def shown(self, name: str) -> str:
        """A file as people see it."""

    def open(self, name: str) -> BinaryIO:
        """A file, to read and seek in.

        Raises:
            MissingPathError: if it cannot be opened.
            ModelError: if it is damaged.
        """

    def file(self, name: str) -> Path | None:
        """Where a file lies on disk; None for one that is packed."""


class Files:
    """Files that lie on disk.

    Args:
        path: what the user named.
        files: by the names that readers look for.
    """

    def __init__(self, path: Path, files: Mapping[str, Path]) -> None:
        self.path = path
        self.files = files
        self.names = sorted(files)

    @classmethod
    def in_folder(cls, folder: Path) -> Files:
        """All files of a folder, those in folders below it not.

        Raises:
            MissingPathError: if it cannot be listed.
        """
        try:
            return cls(folder, {file.name: file for file in folder.iterdir() if file.is_file()})
        except OSError as error:
            raise MissingPathError(f"{folder} cannot be listed ({error.strerror})") from None

    def shown(self, name: str) -> str:
        """See `Source`."""
        return str(self.files[name])

    def open(self, name: str) -> BinaryIO:
        """See `Source`."""
        try:
            return self.files[name].open("rb")
        except OSError as error:
            raise MissingPathError(f"{self.shown(name)} cannot be opened ({error.strerror})") from None

    def file(self, name: str) -> Path | None:
        """See `Source`."""
        return self.files[name]


class Zip:
    """Files in a zip, read in place; a folder that all of them lie in is left out of their names.

    Raises:
        MissingPathError: if the file cannot be opened.
        ModelError: if it is no zip, or one that nobody means well with: names that lead out of it, links,
            files that swell beyond measure.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = [member for member in archive.infolist() if not member.is_dir()]
        except OSError as error:
            raise MissingPathError(f"{path} cannot be opened ({error.strerror})") from None
        except Exception as error:  # what a damaged zip raises is as many things as there are ways to damage it
            raise ModelError(f"{path} is no zip that can be read ({error}): is it damaged, or half copied?") from None
        size = path.stat().st_size
        for member in members:
            self._check(member, size)
        members = [member for member in members if not _is_litter(member.filename)]
        parents = [PurePosixPath(member.filename).parts[:-1] for member in members]
        depth = sum(1 for _ in itertools.takewhile(lambda names: len(set(names)) == 1, zip(*parents, strict=False)))
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            name = "/".join(PurePosixPath(member.filename).parts[depth:])
            if name in self._members:
                raise ModelError(f"{path}: {name} stands in the zip twice: it cannot be trusted")
            self._members[name] = member
        self.names = sorted(self._members)

    def _check(self, member: zipfile.ZipInfo, size: int) -> None:
        name = member.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or ".." in parts or parts[0].endswith((":", "/")) or "\0" in name:
            raise ModelError(f"{self.path}: the zip has a file named {name!r}, which leads out of it: not read")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ModelError(f"{self.path}: {name} is a link, expected a file: not read")
        if member.header_offset + member.compress_size > size:
            raise ModelError(f"{self.path}: {name} is said to reach beyond the end of the zip: is it damaged?")
        if member.file_size > _SMALL and member.file_size > _MAX_RATIO * member.compress_size:
            raise ModelError(
                f"{self.path}: {name} would swell from {member.compress_size:,} to {member.file_size:,} bytes: not read"
            )

    def shown(self, name: str) -> str:
        """See `Source`."""
        return f"{self.path}: {name}"

    def open(self, name: str) -> BinaryIO:
        """See `Source`; the file is unpacked into memory."""
        member = self._members[name]
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(member) as packed:
                content = packed.read(member.file_size + 1)
        except Exception as error:  # as above
            raise ModelError(f"{self.shown(name)} cannot be unpacked ({error}): is the zip damaged?") from None
        if len(content) != member.file_size:
            raise ModelError(f"{self.shown(name)} has {len(content):,} bytes, the zip says {member.file_size:,}")
        return io.BytesIO(content)

    def file(self, name: str) -> Path | None:
        """See `Source`."""
        return None


def _is_litter(name: str) -> bool:
    """What file managers leave in zips."""
    parts = PurePosixPath(name).parts
    return parts[0] == "__MACOSX" or parts[-1].startswith(".")


def read_text(source: Source, name: str) -> str:
    """A text file of a model, whole.

    Raises:
        ModelError: if it is too long, or not UTF-8.
    """
    with source.open(name) as file:
        content = file.read(MAX_TEXT + 1)
    if len(content) > MAX_TEXT:
        raise ModelError(f"{source.shown(name)} has more than {MAX_TEXT:,} bytes: it is no text of a model")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{source.shown(name)} is not UTF-8 ({error.reason}): is it damaged?") from None


def read_object(source: Source, name: str) -> dict[str, Any]:
    """A JSON object of a model.

    Raises:
        ModelError: if it is not JSON, or something else than an object.
    """
    text = read_text(source, name)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{source.shown(name)} is not JSON ({error}): is it damaged?") from None
    if not isinstance(value, dict):
        raise ModelError(f"{source.shown(name)} holds {type(value).__name__}, expected an object")
    return value
