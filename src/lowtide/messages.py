"""What is said to people, in the language they chose; English unless they choose.

The library speaks English: errors, warnings and logs are plain English sentences where they are made. `translated`
stands at the door where a person reads them (`cli.py`). What is made to be read, a table or a page, is made by `say`.

``messages_zh.json`` has a table for each of the two, keyed by the English text. Blanks have names in what is said
(``{count:,}``), numbers in what is translated (``{0}``): ``{0:,}`` stands for a number, ``{0!r}`` for something quoted.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import string
from importlib import resources
from typing import Literal

UI = Literal["en", "zh"]

_spoken: UI = "en"
_DEEPEST = 6
"""Messages within messages; deeper stand values that only look like some."""


def speak(ui: UI) -> None:
    """Choose the language of all that this process says from now on."""
    global _spoken
    _spoken = ui


def say(text: str, ui: UI | None = None, **values: object) -> str:
    """A message in a language, its blanks filled in.

    Args:
        text: in English, with blanks like ``{count:,}``; without a translation it stays English.
        ui: the language; None: the one that was chosen by `speak`.
        values: for the blanks.
    """
    return _table(ui or _spoken, "say").get(text, text).format(**values)


def translated(message: str) -> str:
    """A finished English message in the language that was chosen; as it is if the table does not have it.

    Of several texts that fit, the one with most letters outside its blanks is taken. What stands in a blank is
    translated too, if it is a message itself: an advice, a reason.
    """
    return _translation(message, _spoken) or message


@functools.cache
def _table(ui: UI, part: Literal["say", "translated"]) -> dict[str, str]:
    if ui == "en":
        return {}
    tables: dict[str, dict[str, str]] = json.loads(
        resources.files("lowtide").joinpath(f"messages_{ui}.json").read_text(encoding="utf-8")
    )
    return tables[part]


@functools.cache
def _patterns(ui: UI) -> list[tuple[re.Pattern[str], str]]:
    """What finished messages look like, and their translations; the most telling first."""
    table = _table(ui, "translated")
    return [(_pattern(text), table[text]) for text in sorted(table, key=_num_letters, reverse=True)]


def _num_letters(text: str) -> int:
    return sum(len(literal) for literal, *_ in string.Formatter().parse(text))


_NUMBER = r" *[+-]?(?:[\d,.]+(?:e[+-]\d+)?|inf|nan)%?"
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^'"].*?"""


def _pattern(text: str) -> re.Pattern[str]:
    """A blank ends where the letters after it first stand: no second try, so that a long message costs no time."""
    pattern, blank = "", ""
    for literal, name, number_format, conversion in string.Formatter().parse(text):
        piece = blank + re.escape(literal)
        pattern += piece if name is None else f"(?>{piece})"
        blank = "" if name is None else f"({_NUMBER if number_format else _QUOTED if conversion else '.*?'})"
    return re.compile(pattern + blank, re.DOTALL)


def _translation(message: str, ui: UI, depth: int = 0) -> str | None:
    whole = _translation_of_one(message, ui, depth)
    if whole is not None:
        return whole
    # a list of messages, the first of which may have a comma itself
    for comma in itertools.islice(re.finditer(", ", message), 2):
        first = _translation_of_one(message[: comma.start()], ui, depth)
        rest = None if first is None else _translation(message[comma.end() :], ui, depth + 1)
        if rest is not None:
            return f"{first}，{rest}"
    return None


def _translation_of_one(message: str, ui: UI, depth: int) -> str | None:
    if depth > _DEEPEST:
        return None
    for pattern, text in _patterns(ui):
        if match := pattern.fullmatch(message):
            return text.format(*(_translation(value, ui, depth + 1) or value for value in match.groups()))
    return None
