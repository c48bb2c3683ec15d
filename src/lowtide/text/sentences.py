"""Running text to sentences, and what the lines of a file mean.

The splitter is a set of rules, not a model: it needs nothing but the text, gives the same answer
everywhere, and knows Chinese full stops and closing quotes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LineMeaning = Literal["sentence", "paragraph", "wrapped", "fasta"]

_CLOSING = "\"'”’»›」』）)\\]】》"
_END = re.compile(rf"(?:[.!?…。！？]+[{_CLOSING}]*)+")
_WIDE = re.compile("[。！？]")  # no space need follow these
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr rev hon gen col maj capt lt sgt gov sen rep pres vs etc al ca cf "
    "ed eds inc ltd co corp dept univ approx jan feb mar apr jun jul aug sep sept oct nov dec e.g i.e".split()
)
_BEFORE_NUMBERS = frozenset("no nos vol p pp fig figs".split())  # abbreviations before a number only
_LAST_WORD = re.compile(r"([^\s(“\"'‘]+)$")
_NEXT = re.compile(r"\s+[\"'“‘„«(]*(\w?)")


def split_sentences(text: str) -> list[str]:
    """Cut running text at the ends of sentences; nothing but white space is lost.

    A full stop ends a sentence if white space and then no small letter follows, and the word
    before it is neither a known abbreviation nor ends in a capital letter that stands alone
    (``J. K.``, ``U.S.``). ``。！？`` end one wherever they stand, with the quotes that close after them.
    """
    sentences, start = [], 0
    for match in _END.finditer(text):
        if not _WIDE.search(match[0]) and not _ends_sentence(text, match):
            continue
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    following = _NEXT.match(text, match.end())
    if following is None or following[1].islower():
        return False
    if match[0] != ".":
        return True
    # abbreviations are short: looking back further would make long lines slow
    word = _LAST_WORD.search(text, max(0, match.start() - 24), match.start())
    if word is None:
        return True
    last_letters = word[1].rpartition(".")[2]
    is_initial = len(last_letters) == 1 and last_letters.isupper()
    is_number_near = following[1].isdigit() and word[1].lower() in _BEFORE_NUMBERS
    return not (is_initial or is_number_near or word[1].lower() in _ABBREVIATIONS)


@dataclass(frozen=True)
class LineFinding:
    """What lines seem to mean, and the width at which they are wrapped (0 if they are not)."""

    meaning: LineMeaning
    columns: int = 0


def find_line_meaning(lines: Sequence[str]) -> LineFinding:
    """Look at a sample of lines: one sentence each, whole paragraphs, or wrapped at a width.

    Wrapped text has many lines of nearly the same length, most of which stop amid a sentence.
    Paragraphs hold more than one and a half sentences on average. Everything else is taken as one
    sentence a line, which changes nothing in the text.
    """
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        return LineFinding("sentence")
    lengths = sorted(map(len, texts))
    columns = lengths[int(len(lengths) * 0.98)] if len(lengths) > 1 else lengths[0]
    near_margin = [text for text in texts if columns * 0.75 <= len(text)]
    open_ended = [text for text in near_margin if text[-1] not in ".!?。！？…:;\"'”’」』"]
    is_narrow = 30 <= columns <= 120 and lengths[-1] <= columns * 1.3
    if is_narrow and len(near_margin) > 0.5 * len(texts) and len(open_ended) > 0.6 * len(near_margin):
        return LineFinding("wrapped", columns)
    num_sentences = sum(len(split_sentences(text)) for text in texts)
    return LineFinding("paragraph" if num_sentences > 1.5 * len(texts) else "sentence")
