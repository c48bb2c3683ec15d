from __future__ import annotations

import pytest

from lowtide.amounts import format_bytes, format_seconds, parse_bytes
from lowtide.errors import InputError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_seconds_are_written_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(12, "12 bytes"), (12_000, "12.0 kB"), (3.4e6, "3.4 MB"), (2e9, "2.0 GB")]
)
def test_bytes_are_written_for_people(number: float, text: str) -> None:
    assert format_bytes(number) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [("4GB", 4 * 10**9), ("800MB", 8 * 10**8), ("1.5g", 15 * 10**8), ("2 GiB", 2**31), ("1000", 1000), ("1tb", 10**12)],
)
def test_a_size_is_read_with_its_unit(text: str, number: int) -> None:
    assert parse_bytes(text) == number


@pytest.mark.parametrize("text", ["", "GB", "0", "-1GB", "4 GX", "four", "4iB", "4GB more"])
def test_a_size_that_cannot_be_read_says_what_was_expected(text: str) -> None:
    with pytest.raises(InputError, match="expected something like 4GB"):
        parse_bytes(text)
