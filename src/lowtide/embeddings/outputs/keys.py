"""What sentences are called: numbers that count up, or names, each once.

A corpus may have more sentences than memory has room for their names. Numbers that count up take none, and of names no
more is kept than tells them apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from lowtide.errors import InputError

_FEW = 1 << 18
"""Names that are not worth sorting."""


class NumberedKeys(Sequence[str]):
    """The keys of sentences that are counted up; nothing is held in memory."""

    def __init__(self, first: int, count: int) -> None:
        self.numbers = range(first, first + count)

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return list(map(str, self.numbers[index])) if isinstance(index, slice) else str(self.numbers[index])

    def __iter__(self) -> Iterator[str]:
        return map(str, self.numbers)


class KeySequence:
    """The keys that were written so far: as a count as long as they are one, and each refused that comes again."""

    def __init__(self) -> None:
        self.first = 0
        """The number of the first sentence."""
        self.num_counted = 0
        """So many sentences, from the first one on, are counted up from there."""
        self.count = 0
        self._recent: set[bytes] = set()
        self._sorted: NDArray[np.bytes_] = np.zeros(0, "S16")

    @property
    def is_counted(self) -> bool:
        """Whether the keys are numbers that count up, without a gap."""
        return self.num_counted == self.count

    @property
    def counted(self) -> NumberedKeys:
        """The keys at the beginning that count up."""
        return NumberedKeys(self.first, self.num_counted)

    def add(self, key: str) -> None:
        """Note the next key.

        Raises:
            InputError: if it stands already.
        """
        number = number_of(key)
        if self.count == 0 and number is not None:
            self.first = number
        if self.is_counted and number == self.first + self.count:
            self.num_counted += 1
        elif number in self.counted.numbers or not self._is_new(key):
            raise twice(key)
        self.count += 1

    def goes_on(self, keys: NumberedKeys) -> bool:
        """Note many keys at once, if they go on where those before end."""
        if not self.is_counted or (self.count and keys.numbers.start != self.first + self.count):
            return False
        self.first = self.first if self.count else keys.numbers.start
        self.count = self.num_counted = self.count + len(keys)
        return True

    def _is_new(self, key: str) -> bool:
        """As far as 128 bits can tell."""
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._recent:
            return False
        place = int(np.searchsorted(self._sorted, np.bytes_(digest)))
        # NumPy leaves zero bytes at the end out
        if place < len(self._sorted) and self._sorted[place] == digest.rstrip(b"\0"):
            return False
        self._recent.add(digest)
        if len(self._recent) > max(_FEW, len(self._sorted) // 16):
            recent: NDArray[Any] = np.array(sorted(self._recent), "S16")
            self._sorted = np.sort(np.concatenate([self._sorted, recent]), kind="stable")
            self._recent = set()
        return True


def twice(key: str) -> InputError:
    """The error for a key that stands already."""
    return InputError(f"{key} stands twice: keys by line never do")


def number_of(key: str) -> int | None:
    """The number that a key is, written as `str` would write it; None if it is a name."""
    is_number = len(key) <= 18 and key.isascii() and key.isdigit() and (key == "0" or key[0] != "0")
    return int(key) if is_number else None


def storable(text: str) -> str:
    """Text for where strings are UTF-8 and end at a zero byte: what has no place there is replaced."""
    return text.replace("\0", "\ufffd").encode("utf-8", errors="replace").decode("utf-8")
