from __future__ import annotations

import ast
import errno
import json
import os
import re
import string
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from lowtide import answer_commands, cli, console, model_commands, task_commands
from lowtide.messages import say, speak, translated
from spoken import spoken

_CHINESE: dict[str, dict[str, str]] = json.loads(
    resources.files("lowtide").joinpath("messages_zh.json").read_text(encoding="utf-8")
)
_SPOKEN = spoken()
_SYSTEM = {os.strerror(code) for code in errno.errorcode}
_HAS_CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.fixture
def in_chinese() -> Iterator[None]:
    speak("zh")
    yield
    speak("en")


def _without_translation(found: dict[str, str], table: str) -> list[str]:
    return [f"{where}: {text!r}" for text, where in found.items() if text not in _CHINESE[table]]


def test_all_that_is_said_has_a_chinese_form() -> None:
    assert _without_translation(_SPOKEN.said, "say") == []


def test_every_error_warning_and_line_of_the_log_has_a_chinese_form() -> None:
    assert _without_translation(_SPOKEN.translated, "translated") == []


def test_the_tables_have_nothing_that_is_never_said() -> None:
    known = _SPOKEN.said.keys() | _SPOKEN.translated.keys() | _SPOKEN.constants | _SYSTEM
    assert [text for table in _CHINESE.values() for text in table if text not in known] == []


def test_the_commands_print_nothing_that_is_not_said() -> None:
    modules = [
        ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        for module in (cli, console, model_commands, task_commands, answer_commands)
    ]
    nodes = [node for module in modules for node in ast.walk(module)]
    printed = [node for node in nodes if isinstance(node, ast.Call) and _name(node) in ("print", "tell")]
    words = [text for call in printed for argument in call.args for text in _unsaid(argument)]
    assert [word for word in words if word != "lowtide"] == []


def _unsaid(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Call) and _name(node) in ("say", "translated"):
        return []
    if isinstance(node, ast.Constant):
        return re.findall("[A-Za-z]{2,}", node.value) if isinstance(node.value, str) else []
    return [word for child in ast.iter_child_nodes(node) for word in _unsaid(child)]


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _blanks(text: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]


@pytest.mark.parametrize("message", _CHINESE["say"])
def test_a_translation_has_the_blanks_of_its_message(message: str) -> None:
    assert sorted(_blanks(_CHINESE["say"][message])) == sorted(_blanks(message))


@pytest.mark.parametrize("message", _CHINESE["translated"])
def test_a_finished_message_is_translated_with_all_its_values(message: str, in_chinese: None) -> None:
    values = [
        f"{number + 11}.0" if number_format else f"'a.value {number}'" if conversion else f"a/value-{number}"
        for number, (_, name, number_format, conversion) in enumerate(string.Formatter().parse(message))
        if name is not None
    ]
    finished = re.sub(r"\{(\d+)[^}]*\}", lambda blank: values[int(blank[1])], message)
    chinese = translated(finished)
    assert chinese == _CHINESE["translated"][message].format(*values)
    assert all(value in chinese for value in values)
    assert _HAS_CHINESE.search(chinese) or not re.search("[a-z]{2}", re.sub(r"\{.*?\}", "", message))


def test_a_message_is_said_in_the_chosen_language_with_its_blanks_filled() -> None:
    assert (say("layer {number}", "en", number=2), say("layer {number}", "zh", number=2)) == ("layer 2", "第 2 层")


def test_a_message_without_a_translation_stays_english(in_chinese: None) -> None:
    assert say("no such message {x}", x=1) == "no such message 1"
    assert translated("no such message, at all") == "no such message, at all"


def test_english_is_spoken_unless_another_language_is_chosen() -> None:
    assert (say("stopped"), translated("x is not there")) == ("stopped", "x is not there")


_WITHIN = {
    "an advice": ("unknown preset 'tin'. Did you mean 'tiny'? Known: auto, tiny", "是不是想写 'tiny'？"),
    "a reason": ("cannot write m/x: No space left on device", "设备上没有空间了"),
    "an error after its place": ("m/vocabulary.txt: a vocabulary begins with <S>, found []", "词表应以 <S> 开头"),
    "a list": (
        "read        2 files, paragraphs, split into sentences: 5 sentences, 9 tokens (a, b)",
        "2 个文件，每行一段",
    ),
}


@pytest.mark.parametrize("kind", _WITHIN)
def test_what_stands_in_a_blank_is_translated_too(kind: str, in_chinese: None) -> None:
    message, expected = _WITHIN[kind]
    assert expected in translated(message)


@pytest.mark.parametrize("path", ["noun", "layer", "text", "sentences", "a, b", "12 monkeys", "C: d", "my files"])
def test_a_name_in_a_blank_stays_as_it_is(path: str, in_chinese: None) -> None:
    assert translated(f"{path} is not empty: choose another --out").startswith(f"{path} 不是空的")


@pytest.mark.parametrize("value", [{str(n): n for n in range(2000)}, "a b for c, is: " * 2000, ["a.b"] * 2000])
def test_a_long_value_stays_as_it_is(value: object, in_chinese: None) -> None:
    assert translated(f"config.json: found {value!r}, expected a list") == f"config.json：得到 {value!r}，应为列表"
