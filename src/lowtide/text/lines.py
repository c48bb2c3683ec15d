"""Files to lines of text: compression, encodings, and errors that say where."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from lowtide.errors import InputError, LowtideError, require

STANDARD_INPUT = "-"


class Line(NamedTuple):
    """A line of a file, without its end."""

    text: str
    number: int
    """Counted from 1."""


class _ZstdFile(io.RawIOBase):
    """A .zst file that is not trusted to be whole.

    The reader that zstandard brings ends in silence where a file is cut short.
    """

    def __init__(self, path: Path, zstandard: Any) -> None:
        self._zstandard = zstandard
        self._file = path.open("rb")
        self._frame: Any = None
        self._left = b""

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            raw = self._file.read(io.DEFAULT_BUFFER_SIZE)
            if not raw:
                if self._frame is not None:
                    raise EOFError("Compressed file ended before the end-of-stream marker was reached")
                return 0
            self._left = self._decompressed(raw)
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    def _decompressed(self, raw: bytes) -> bytes:
        text = b""
        while raw:
            if self._frame is None:
                # the window is 2 GiB at most, with --long=31
                self._frame = self._zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj()
            try:
                text += self._frame.decompress(raw)
            except self._zstandard.ZstdError as error:
                raise OSError(str(error)) from error
            raw = b""
            if self._frame.eof:
                raw, self._frame = self._frame.unused_data, None
        return text

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_zstd(path: Path) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_ZstdFile(path, require("zstandard", extra="zstd"))))


OPENERS: dict[str, Callable[[Path], BinaryIO]] = {
    ".gz": lambda path: cast(BinaryIO, gzip.GzipFile(path)),
    ".bz2": lambda path: cast(BinaryIO, bz2.BZ2File(path)),
    ".xz": lambda path: cast(BinaryIO, lzma.LZMAFile(path)),
    ".zst": _open_zstd,
}
"""What opens a file, by the ending of its name; any other is plain."""


def read_lines(file: str, encoding: str) -> Iterator[Line]:
    """The lines of a file, one at a time.

    Args:
        file: a path, or ``-`` for standard input.
        encoding: how its bytes are to be read; a byte order mark of UTF-8 is dropped.

    Raises:
        InputError: if it is binary, damaged, or not in the encoding; with file and line.
    """
    name = "standard input" if file == STANDARD_INPUT else file
    try:
        with _open_bytes(file) as stream:
            yield from _decode(stream, name, encoding)
    except LowtideError:
        raise
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{name} cannot be read: {error}. Is it damaged?") from error


def _open_bytes(file: str) -> BinaryIO:
    if file == STANDARD_INPUT:
        if sys.stdin is None:
            raise InputError("standard input is closed: name a file, or send a text with a pipe")
        return open(sys.stdin.fileno(), "rb", closefd=False)
    path = Path(file)
    opener = OPENERS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


def _decode(stream: BinaryIO, name: str, encoding: str) -> Iterator[Line]:
    try:
        "".encode(encoding)
    except LookupError:
        raise InputError(f"unknown encoding {encoding!r}: try utf-8, gb18030, cp1252, utf-16") from None
    codec = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    number = 0
    try:
        with io.TextIOWrapper(stream, encoding=codec) as wrapper:
            for number, text in enumerate(wrapper, start=1):
                if "\0" in text:
                    raise InputError(_not_text(name, number, encoding))
                yield Line(text.rstrip("\n"), number)
    except UnicodeDecodeError as error:
        # the object is a block of the file, from within the first line that was not given out
        zero = -1 if error.object.startswith(_UTF_16_MARKS) else error.object.find(b"\0")
        before = error.object[: error.start if zero < 0 else min(zero, error.start)]
        number += 1 + _num_line_ends(before.decode(codec, errors="replace"))
        if zero >= 0:
            raise InputError(_not_text(name, number, encoding)) from None
        bad = error.object[error.start : error.start + 1].hex()
        likely = _likely_encoding(error.object)
        advice = f" It reads as {likely}: try --encoding {likely}." if likely else " Name it with --encoding."
        raise InputError(f"{name}:{number}: the byte 0x{bad} is not {encoding}.{advice}") from None
    except UnicodeError as error:
        raise InputError(f"{name} is not {encoding} ({error}). Name it with --encoding.") from None


def _not_text(name: str, number: int, encoding: str) -> str:
    return f"{name}:{number} holds a zero byte: it is no text file in {encoding}"


def _num_line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HALF_A_PAIR = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
"""A surrogate, as bytes."""
_COMMON_CHINESE = frozenset(
    "的一是不了在有人我他这中大来上国说们到个为以子和你地出道也时年得就那要下生会自着去之过家学没对"
)


def _likely_encoding(sample: bytes) -> str | None:
    """What a block of bytes could be; it may begin and end amid a character."""
    if sample.startswith(_UTF_16_MARKS):
        return "utf-16"
    if _HALF_A_PAIR.search(sample):
        return None  # UTF-8 made by a program that knows no better: any other encoding would read letters in it
    # what is Russian, Korean, Big5 reads as rare Chinese characters
    chinese = [c for c in sample.decode("gb18030", errors="replace") if "\u4e00" <= c <= "\u9fff"]
    if sum(c in _COMMON_CHINESE for c in chinese) > 0.05 * len(chinese):
        return "gb18030"
    western = sample.decode("cp1252", errors="replace")
    num_marked = sum(not c.isascii() for c in western)
    return "cp1252" if "\ufffd" not in western and num_marked < 0.3 * len(western) else None
