"""What is said to people, in the language they chose. English is the key; other languages are tables beside this."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Literal

UI = Literal["en", "zh"]


@functools.cache
def _table(ui: UI) -> dict[str, str]:
    table: dict[str, str] = json.loads(
        resources.files("lowtide").joinpath(f"messages_{ui}.json").read_text(encoding="utf-8")
    )
    return table


def say(text: str, ui: UI, **values: object) -> str:
    """A message in a language, its blanks filled in.

    Args:
        text: in English, with blanks like ``{count}``.
        ui: the language; a message without a translation stays English.
        values: for the blanks.
    """
    pattern = text if ui == "en" else _table(ui).get(text, text)
    return pattern.format(**values)
