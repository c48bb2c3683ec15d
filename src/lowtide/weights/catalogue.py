"""The published models, which there are, and where their files were put; and those that ship with this package.

The table is ``catalogue.json``; every record names the source of what it says, and what nobody has said is null.
Reading it fetches nothing; `lowtide.weights.fetching` does.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from lowtide.config import from_json
from lowtide.errors import ConfigError, InputError, nearest
from lowtide.text.tokenize import TokenizerName
from lowtide.weights.native import CONFIG

_PLAIN_NAME = re.compile(r"""[^\s./\\:*?"<>|\x00-\x1f\x7f][^/\\:*?"<>|\x00-\x1f\x7f]{0,199}""")
"""Names of files that mean the same on every system and lead nowhere else; hidden ones are ours."""


@dataclass(frozen=True)
class PublishedFile:
    """A file of a published model."""

    name: str
    urls: tuple[str, ...]
    """Mirrors, in the order in which they are tried."""
    size: int | None = None
    """In bytes."""
    sha256: str | None = None
    holds: tuple[str, ...] = ()
    """Of an archive that is unpacked: the files wanted from it, wherever in it they lie."""

    def __post_init__(self) -> None:
        for name in (self.name, *self.holds):
            if not is_plain(name):
                raise ConfigError(f"{name!r} is no plain name of a file")
        for url in self.urls:
            web_address(url)

    def is_in(self, folder: Path) -> bool:
        """Whether it is there, unpacked if it is an archive."""
        return all((folder / name).is_file() for name in self.holds or (self.name,))


@dataclass(frozen=True)
class PublishedTokenizer:
    """How raw text is cut for a model."""

    name: TokenizerName
    """``whitespace`` where lowtide cannot cut as its makers did: the text comes cut already."""
    language: str


@dataclass(frozen=True)
class Published:
    """A published model."""

    name: str
    """What users type."""
    title: str
    about: str
    """One line: what it is, and what it was trained on."""
    language: str
    """An ISO 639 code, or ``protein``."""
    format: Literal["hdf5", "hdf5_zip", "tf_checkpoint", "many_langs", "many_langs_zip"]
    """``hdf5`` is a pair of options and weights. A zip is read as it is."""
    parameters: int | None
    """As published, without the softmax."""
    licence: str
    citation: str
    page: str
    """Where people read about it."""
    source: str
    """Where what is said here comes from."""
    tokenizer: PublishedTokenizer
    notes: str
    """What else to know before use."""
    files: tuple[PublishedFile, ...]

    def __post_init__(self) -> None:
        if not is_plain(self.name):
            raise ConfigError(f"{self.name!r} is no plain name of a file")

    @property
    def size(self) -> int | None:
        """The bytes of all its files, if all are known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(filter(None, sizes))

    def path_in(self, folder: Path) -> Path:
        """What is to be opened when its files are in a folder: the zip if it is one, else the folder."""
        return folder / self.files[0].name if self.format.endswith("_zip") else folder


@functools.cache
def published() -> Mapping[str, Published]:
    """All published models, by name, in the order of the table. Nothing is fetched."""
    text = resources.files("lowtide.weights").joinpath("catalogue.json").read_text(encoding="utf-8")
    records = (from_json(Published, record, where="catalogue.json") for record in json.loads(text))
    return {record.name: record for record in records}


def published_model(name: str) -> Published:
    """The published model of a name; upper and lower case are one.

    Raises:
        InputError: if there is none; the message has the nearest name.
    """
    record = published().get(name.lower())
    if record is None:
        raise InputError(
            f"no model is published as {name!r}.{nearest(name.lower(), published())} lowtide.models() lists them"
        )
    return record


def shipped_model(name: str) -> Path | None:
    """The folder of a model that comes with this package; None if there is none of that name."""
    folder = Path(__file__).parent.parent / "models" / name
    return folder if name.isidentifier() and (folder / CONFIG).is_file() else None


def name_of(path: Path) -> str:
    """What a user calls a model: the name of one that ships, else where it lies."""
    return path.name if shipped_model(path.name) == path else str(path)


def is_plain(name: str) -> bool:
    """Whether a name means one file on every system, and leads nowhere else."""
    return _PLAIN_NAME.fullmatch(name) is not None and not name.endswith((".", " "))


def web_address(url: str) -> SplitResult:
    """The parts of an address.

    Raises:
        InputError: if it does not name a file on the web.
    """
    try:
        address = urlsplit(url)
        name = unquote(address.path.rpartition("/")[2], errors="strict")
        is_host = bool(address.hostname) and "@" not in address.netloc and address.port != 0
        is_file = address.scheme in ("http", "https") and is_host and is_plain(name)
    except ValueError:  # brackets that do not close, a port that is none, bytes that are no text
        is_file = False
    if not is_file:
        raise InputError(f"{url!r} names no file on the web: expected http:// or https://, a host and a path to a file")
    return address
