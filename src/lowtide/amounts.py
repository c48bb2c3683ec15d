"""Amounts as people write and read them: bytes and seconds."""

from __future__ import annotations

import re

from lowtide.errors import InputError


def parse_bytes(text: str) -> int:
    """``4GB``, ``800MB``, ``1.5G``: powers of ten; ``4GiB``: of two.

    Raises:
        InputError: if it is none, or nothing.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?))?b?\s*", text, re.IGNORECASE)
    number = 0
    if match is not None:
        power = " kmgt".index((match[2] or " ").lower())
        number = int(float(match[1]) * (1024 if match[3] else 1000) ** power)
    if number < 1:
        raise InputError(f"cannot read the size {text!r}: expected something like 4GB, 800MB")
    return number


def format_bytes(number: float) -> str:
    """``12 kB``, ``3.4 MB``, ``1.2 GB``, in powers of ten."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f} bytes"


def format_seconds(seconds: float) -> str:
    """``8 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    whole = round(seconds)
    for size, unit, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
