"""What a long work holds, and how it keeps from holding more and more."""

from __future__ import annotations

import ctypes
import functools
import sys
import time
from collections.abc import Callable

_PAUSE = 2.0
"""Seconds between two givings back: often enough to stay small, seldom enough to cost nothing."""


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """``malloc_trim`` of glibc; None where there is no such thing."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


class FreeMemory:
    """Gives freed memory back to the system now and then.

    Batches have a different number of types and positions each, so what one step frees rarely fits
    the next: without this, a work of hours holds several times what any step needs.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()

    def give_back(self) -> None:
        """Call it after every step; most calls do nothing."""
        if time.monotonic() - self._last > _PAUSE and (trim := _trim()) is not None:
            trim(0)
            self._last = time.monotonic()


def peak_memory() -> int | None:
    """The most bytes this process has held so far; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
