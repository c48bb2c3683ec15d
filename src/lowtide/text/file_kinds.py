"""What the name of a file says of what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lowtide.errors import InputError
from lowtide.text.lines import OPENERS

FileKind = Literal["conll", "conllu", "tsv", "csv", "jsonl", "text"]
ENDINGS: dict[str, FileKind] = {
    ".conll": "conll",
    ".iob": "conll",
    ".bio": "conll",
    ".conllu": "conllu",
    ".tsv": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
"""How a file is read, by what its name ends in; any other is plain text."""


def file_kind(path: Path) -> FileKind:
    """How a file is read; what it is compressed with does not count."""
    name = path.with_suffix("") if path.suffix.lower() in OPENERS else path
    return ENDINGS.get(name.suffix.lower(), "text")


def refuse_compressed(out: Path) -> None:
    """Refuse to write under the name of a compressed file.

    Raises:
        InputError: if it is one.
    """
    if out.suffix.lower() in OPENERS:
        raise InputError(f"{out}: what is written is not compressed: leave {out.suffix} out")
