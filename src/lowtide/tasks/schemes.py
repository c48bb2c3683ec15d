"""How tags write spans: IOB1, IOB2 and BIOES, found out, checked and turned into each other.

=========  ===========================================================================================================
``IOB1``   ``I-X`` throughout; ``B-X`` only where a span of the same type stands right before (Ramshaw & Marcus 1995)
``IOB2``   ``B-X`` begins every span
``BIOES``  ``E-X`` ends it as well, and ``S-X`` is a span of one token; ``BMES`` and ``BILOU`` are other letters for it
=========  ===========================================================================================================

`may_follow` is the one definition of what is legal: files are checked by it, and a CRF is held to it.
"""

from __future__ import annotations

import functools
import itertools
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, get_args

from lowtide.errors import InputError
from lowtide.tasks.examples import TaggedSentence
from lowtide.tasks.spans import Span, spans_of

Scheme = Literal["IOB1", "IOB2", "BIOES", "BMES", "BILOU"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
_LETTERS: dict[Scheme, str] = {"IOB1": "BI", "IOB2": "BI", "BIOES": "BIES", "BMES": "BMES", "BILOU": "BILU"}
"""What begins a span, is inside, ends it, and is one alone."""
_ROLES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
"""A letter says the same in all of them."""
_ORDER: tuple[Scheme, ...] = ("IOB2", "IOB1", "BIOES", "BMES", "BILOU")
"""Where several fit, the first is meant."""
log = logging.getLogger("lowtide")
_TAG = re.compile(r"O|([BIESMLU])(?:-(.+))?", re.DOTALL)


def _role(tag: str | None) -> tuple[str, str]:
    """What a tag says: ``O``, ``B``, ``I``, ``E`` or ``S``, and the type; the ends of a sentence are O."""
    if tag is None or tag == "O":
        return "O", ""
    letter, _, type_ = tag.partition("-")
    return _ROLES[letter], type_


def may_follow(before: str | None, after: str | None, scheme: Scheme) -> bool:
    """Whether one tag may stand behind another; None is what stands before and behind a sentence."""
    (role_before, type_before), (role, type_) = _role(before), _role(after)
    is_same = type_before == type_ and role_before != "O"
    if scheme == "IOB1":
        return role != "B" or is_same
    if scheme == "IOB2":
        return role != "I" or is_same
    is_open = role_before in ("B", "I")
    return is_same and role in ("I", "E") if is_open else role in ("O", "B", "S")


def first_break(tags: Sequence[str], scheme: Scheme) -> int | None:
    """The first place where a sentence is not legal; the number of tokens stands for its end."""
    around = [None, *tags, None]
    breaks = (n for n, (here, next_) in enumerate(itertools.pairwise(around)) if not may_follow(here, next_, scheme))
    return next(breaks, None)


def find_scheme(sentences: Iterable[TaggedSentence]) -> Scheme | None:
    """In which scheme tags are written; None if they write no spans.

    Raises:
        InputError: if they look like spans, and one does not, or they break every scheme; with the first such place.
    """
    tagged = list(sentences)
    _refuse_stray(tagged)
    scheme = _nearest_scheme(tagged)
    if scheme is not None:
        check_scheme(tagged, scheme)
    return scheme


def read_leniently(sentences: Sequence[TaggedSentence], scheme: Scheme | None = None) -> list[TaggedSentence]:
    """Sentences that break their scheme, written anew with the spans that conlleval and seqeval find in them.

    So a span that goes on without having begun begins there; see `lowtide.tasks.spans.spans_of`. The letters of BMES
    and BILOU are read as those of BIOES. All else stays, a tag of no span among it.

    Args:
        sentences: with any tags.
        scheme: in which spans are written; None: the one that fewest sentences break.
    """
    scheme = scheme or _nearest_scheme(sentences)
    if scheme is None:
        return list(sentences)
    read = [
        replace(s, tags=write_spans(_spans(s.tags), len(s.tags), scheme))
        if _is_broken(s, scheme) and all(map(_TAG.fullmatch, s.tags))
        else s
        for s in sentences
    ]
    broken = [old.place for old, new in zip(sentences, read, strict=True) if old is not new]
    if broken:
        log.info("%s: %s sentences break %s, and are read as seqeval reads them", broken[0], f"{len(broken):,}", scheme)
    return read


def _nearest_scheme(sentences: Sequence[TaggedSentence]) -> Scheme | None:
    """The scheme that fewest sentences break; None if the tags write no spans."""
    matches = [_TAG.fullmatch(tag) for tag in {tag for sentence in sentences for tag in sentence.tags}]
    letters = {match[1] for match in matches if match is not None and match[1]}
    typed = {match[2] is not None for match in matches if match is not None and match[1]}
    if len(typed) != 1 or not all(matches) or not letters & {"B", "I", "S", "U"}:
        return None
    fitting = [scheme for scheme in _ORDER if letters <= set(_LETTERS[scheme])]
    if typed == {False} and not fitting:
        return None
    others = [scheme for scheme in _ORDER if scheme not in fitting]
    return min(fitting + others, key=lambda scheme: sum(_is_broken(sentence, scheme) for sentence in sentences))


def _is_broken(sentence: TaggedSentence, scheme: Scheme) -> bool:
    return not all(_is_of(tag, scheme) for tag in sentence.tags) or first_break(sentence.tags, scheme) is not None


@functools.lru_cache(maxsize=4096)
def _is_of(tag: str, scheme: Scheme) -> bool:
    """Whether a tag has a letter of a scheme."""
    match = _TAG.fullmatch(tag)
    return match is not None and (match[1] or "B") in _LETTERS[scheme]


def _refuse_stray(sentences: Sequence[TaggedSentence]) -> None:
    """Refuse a tag that is none of a span, among others that mostly are."""
    marked = [(s.place.token(n), tag) for s in sentences for n, tag in enumerate(s.tags) if tag != "O"]
    stray = [(place, tag) for place, tag in marked if not re.fullmatch(r"[BIESMLU]-.+", tag, re.DOTALL)]
    if stray and 2 * len(stray) < len(marked):
        place, tag = stray[0]
        raise InputError(
            f"{place}: {tag!r} is no tag of a span, as most others are: correct it, or say that the tags write no "
            "spans (--scheme none)"
        )


def is_written_in(sentences: Iterable[TaggedSentence], scheme: Scheme) -> bool:
    """Whether all sentences keep to a scheme."""
    return not any(_is_broken(sentence, scheme) for sentence in sentences)


def check_scheme(sentences: Iterable[TaggedSentence], scheme: Scheme) -> None:
    """Refuse what is not written in a scheme.

    Raises:
        InputError: with the place of the first break.
    """
    for sentence in sentences:
        for number, tag in enumerate(sentence.tags):
            if not _is_of(tag, scheme):
                raise InputError(f"{sentence.place.token(number)}: {tag!r} is no tag of {scheme}")
        if first_break(sentence.tags, scheme) is not None:
            raise InputError(_what_breaks(sentence, scheme))


def _what_breaks(sentence: TaggedSentence, scheme: Scheme) -> str:
    number = first_break(sentence.tags, scheme)
    assert number is not None
    last = len(sentence.tags) - 1
    where = sentence.place.token(min(number, last))
    before = "the beginning of a sentence" if number == 0 else repr(sentence.tags[number - 1])
    after = "the end of a sentence" if number > last else repr(sentence.tags[number])
    return (
        f"{where}: {after} cannot stand behind {before} in {scheme}: correct it, or read it as seqeval does "
        "(--lenient); a tagger can also be taught another scheme, or that the tags write no spans (--scheme none)"
    )


def write_spans(spans: Iterable[Span], num_tokens: int, scheme: Scheme) -> list[str]:
    """The tags of spans that do not meet."""
    tags = ["O"] * num_tokens
    begin, inside, *ends = list(_LETTERS[scheme])
    stop_before, type_before = -1, ""
    for type_, start, stop in sorted(spans, key=lambda span: span.start):
        letters = [inside] * (stop - start)
        if scheme != "IOB1" or (start, type_) == (stop_before, type_before):
            letters[0] = begin
        if ends:
            letters[-1] = ends[0]
            if len(letters) == 1:
                letters[0] = ends[1]
        suffix = f"-{type_}" if type_ else ""
        tags[start:stop] = [letter + suffix for letter in letters]
        stop_before, type_before = stop, type_
    return tags


def convert(tags: Sequence[str], source: Scheme, target: Scheme) -> list[str]:
    """The same spans in another scheme.

    Args:
        tags: legal in ``source``.
        source: in which they are written.
        target: in which they are wanted.
    """
    return list(tags) if source == target else write_spans(_spans(tags), len(tags), target)


def _spans(tags: Sequence[str]) -> list[Span]:
    return spans_of([_ROLES[tag[0]] + tag[1:] if tag[0] in _ROLES else tag for tag in tags])
