"""Books of Project Gutenberg: what stands before and behind the book is a licence, the same in every file.

::

    The Project Gutenberg eBook of ...                      header
    *** START OF THE PROJECT GUTENBERG EBOOK ... ***
    the book
    *** END OF THE PROJECT GUTENBERG EBOOK ... ***
    ... the licence, some 350 lines

A corpus of such books would teach the licence better than any book. The marks have been much the
same since the nineties (``THIS`` for ``THE`` in older files).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from lowtide.text.lines import Line

_MARK = re.compile(r"\*\*\* ?(START|END) OF (?:THE|THIS) PROJECT GUTENBERG", re.IGNORECASE)
_LONGEST_HEADER = 1000
"""Lines."""


class Book:
    """The lines of a file between the marks; all of them, if the first mark is not there.

    Args:
        lines: of the file.
    """

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self.num_left_out = 0
        """Lines of header and licence so far, the marks among them."""

    def __iter__(self) -> Iterator[Line]:
        head = list(itertools.islice(self._lines, _LONGEST_HEADER))
        start = next((place for place, line in enumerate(head) if _mark_of(line) == "START"), None)
        if start is None:
            yield from itertools.chain(head, self._lines)
            return
        self.num_left_out = start + 1
        for line in itertools.chain(head[start + 1 :], self._lines):
            if self.num_left_out > start + 1 or _mark_of(line) == "END":
                self.num_left_out += 1
            else:
                yield line


def _mark_of(line: Line) -> str | None:
    mark = _MARK.match(line.text)
    return mark[1].upper() if mark else None
