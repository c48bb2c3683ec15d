from __future__ import annotations

import ast
import json
import string
from importlib import resources
from pathlib import Path

import pytest

import lowtide
from lowtide.messages import say

_CHINESE: dict[str, str] = json.loads(
    resources.files("lowtide").joinpath("messages_zh.json").read_text(encoding="utf-8")
)


def _messages_in_the_code() -> set[str]:
    found = set()
    for module in Path(lowtide.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                found |= {c.value for c in ast.walk(node.args[0]) if isinstance(c, ast.Constant)}
    return {message for message in found if isinstance(message, str) and " " in message}


def test_every_message_has_a_chinese_form() -> None:
    assert _messages_in_the_code() - set(_CHINESE) == set()


@pytest.mark.parametrize("message", sorted(_CHINESE))
def test_a_translation_has_the_blanks_of_its_message(message: str) -> None:
    def blanks(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    assert blanks(_CHINESE[message]) == blanks(message)


def test_a_message_is_said_in_the_chosen_language_with_its_blanks_filled() -> None:
    assert (say("layer {number}", "en", number=2), say("layer {number}", "zh", number=2)) == ("layer 2", "第 2 层")


def test_a_message_without_a_translation_stays_english() -> None:
    assert say("no such message {x}", "zh", x=1) == "no such message 1"
