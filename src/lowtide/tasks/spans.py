"""From tags to spans, by the rules of conlleval and seqeval, which know what to do with malformed sequences, too.

Ramshaw & Marcus (1995), https://arxiv.org/abs/cmp-lg/9505040, brought the tags; the script ``conlleval`` of the CoNLL
tasks decided where a span begins and ends, and seqeval 1.2 (its default mode) does as that script did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

NO_TYPE = "_"
"""What seqeval calls the type of what has none: ``O``, and tags of a single letter."""


class Span(NamedTuple):
    """Some neighbouring tokens of one type."""

    type: str
    """Empty if it has none."""
    start: int
    stop: int
    """Exclusive."""


def split_tag(tag: str) -> tuple[str, str]:
    """``B-PER`` to ``("B", "PER")``: the letter, and what stands behind the first hyphen; empty if there is none."""
    return tag[:1], tag[1:].split("-", maxsplit=1)[-1]


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence, in their order; ``IOB1``, ``IOB2``, ``BIOES`` and mixtures of them."""
    spans: list[Span] = []
    letter, type_, start = "O", "", 0
    for place, tag in enumerate([*tags, "O"]):
        letter_before, type_before = letter, type_
        letter, type_ = split_tag(tag)
        is_new_type = (type_before or NO_TYPE) != (type_ or NO_TYPE)
        if (
            letter_before in ("E", "S")
            or (letter_before in ("B", "I") and letter in ("B", "S", "O"))
            or (letter_before not in ("O", ".") and is_new_type)
        ):
            spans.append(Span(type_before, start, place))
        if (
            letter in ("B", "S")
            or (letter in ("E", "I") and letter_before in ("E", "S", "O"))
            or (letter not in ("O", ".") and is_new_type)
        ):
            start = place
    return spans
