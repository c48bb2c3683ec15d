from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowtide.embeddings.outputs import keys as module
from lowtide.embeddings.outputs.keys import KeySequence, NumberedKeys, number_of
from lowtide.errors import InputError


def test_numbers_that_count_up_are_known_by_their_first_and_their_count() -> None:
    keys = KeySequence()
    for number in range(7, 1007):
        keys.add(str(number))
    assert keys.is_counted and (keys.first, keys.count) == (7, 1000)
    assert list(keys.counted) == [str(number) for number in range(7, 1007)]


@pytest.mark.parametrize("written", [["0", "1", "0"], ["a", "a"], ["0", "a", "0"], ["0", "2", "1", "2"], ["", ""]])
def test_a_key_that_comes_again_is_refused(written: list[str]) -> None:
    keys = KeySequence()
    for key in written[:-1]:
        keys.add(key)
    with pytest.raises(InputError, match="stands twice"):
        keys.add(written[-1])


@given(st.lists(st.one_of(st.integers(0, 20).map(str), st.text(max_size=2), st.just("\ud800"))))
def test_keys_are_refused_exactly_when_they_come_again(written: list[str]) -> None:
    keys, seen = KeySequence(), set[str]()
    for key in written:
        if key in seen:
            with pytest.raises(InputError):
                keys.add(key)
        else:
            keys.add(key)
            seen.add(key)
    assert keys.count == len(seen)


def test_a_name_is_remembered_when_there_are_too_many_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW", 50)
    keys = KeySequence()
    for number in range(2000):
        keys.add(f"P{number}")
    for number in range(2000):
        with pytest.raises(InputError, match="stands twice"):
            keys.add(f"P{number}")


@pytest.mark.parametrize("name", ["", "00", "01", "-1", "1.0", " 1", "٣", "²", "9" * 19, "P1"])
def test_what_only_looks_like_a_number_is_a_name(name: str) -> None:
    assert number_of(name) is None


@pytest.mark.parametrize("name", ["0", "1", "10", "9" * 18])
def test_a_number_is_what_str_would_write(name: str) -> None:
    assert number_of(name) == int(name)


def test_numbered_keys_are_a_sequence() -> None:
    keys = NumberedKeys(3, 4)
    assert [*keys] == ["3", "4", "5", "6"] and keys[-1] == "6" and keys[1:3] == ["4", "5"] and len(keys) == 4
    with pytest.raises(IndexError):
        keys[4]
