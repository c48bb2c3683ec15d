from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.errors import InputError
from lowtide.tasks.examples import Place, TaggedSentence
from lowtide.tasks.schemes import (
    SCHEMES,
    Scheme,
    check_scheme,
    convert,
    find_scheme,
    first_break,
    read_leniently,
    write_spans,
)
from lowtide.tasks.spans import Span, spans_of

SPANS = [("X", 0, 1), ("X", 1, 4), ("Y", 4, 6), ("X", 7, 9)]
WRITTEN = {
    "IOB1": "I-X B-X I-X I-X I-Y I-Y O I-X I-X",
    "IOB2": "B-X B-X I-X I-X B-Y I-Y O B-X I-X",
    "BIOES": "S-X B-X I-X E-X B-Y E-Y O B-X E-X",
    "BMES": "S-X B-X M-X E-X B-Y E-Y O B-X E-X",
    "BILOU": "U-X B-X I-X L-X B-Y L-Y O B-X L-X",
}


def tagged(*texts: str) -> list[TaggedSentence]:
    """Sentences of a file, one after the other."""
    sentences, line = [], 1
    for text in texts:
        tags = text.split()
        sentences.append(TaggedSentence(["w"] * len(tags), tags, Place("f.conll", range(line, line + len(tags)))))
        line += len(tags) + 1
    return sentences


@pytest.mark.parametrize("scheme", SCHEMES)
def test_spans_are_written_in_every_scheme(scheme: Scheme) -> None:
    assert write_spans([Span(*span) for span in SPANS], 9, scheme) == WRITTEN[scheme].split()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_is_found_out(scheme: Scheme) -> None:
    assert find_scheme(tagged(WRITTEN[scheme])) == scheme


@st.composite
def spans(draw: st.DrawFn) -> tuple[list[Span], int]:
    """Spans that do not meet, and the length of their sentence."""
    pieces = draw(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["", "X", "Y-Z", "_"])), max_size=6))
    found, place = [], 0
    for length, type_ in pieces:
        if type_:
            found.append(Span(type_, place, place + length))
        place += length
    return found, place


@settings(derandomize=True, deadline=None)
@given(spans(), st.sampled_from(SCHEMES), st.sampled_from(SCHEMES))
def test_spans_come_back_from_any_scheme(drawn: tuple[list[Span], int], source: Scheme, target: Scheme) -> None:
    found, length = drawn
    tags = write_spans(found, length, source)
    assert first_break(tags, source) is None
    assert convert(tags, source, target) == write_spans(found, length, target)
    assert convert(convert(tags, source, target), target, source) == tags


def test_types_may_be_missing_and_may_hold_hyphens() -> None:
    assert find_scheme(tagged("B M E S")) == "BMES"
    assert convert("B M E S".split(), "BMES", "IOB2") == "B I I B".split()
    assert convert(["B-A-B", "I-A-B"], "IOB2", "BIOES") == ["B-A-B", "E-A-B"]


@pytest.mark.parametrize("tags", ["DT NN VB", "O O O", "NOUN B-X", "B B-X", "I O NN"])
def test_tags_that_write_no_spans_have_no_scheme(tags: str) -> None:
    assert find_scheme(tagged(tags)) is None


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        (("O B-X I-X", "O I-X O B-Y"), r"f\.conll:6: 'I-X' cannot stand behind 'O' in IOB2"),
        (("B-X I-X", "I-Y B-X"), r"f\.conll:4: 'I-Y' cannot stand behind the beginning of a sentence in IOB2"),
        (("S-X O", "B-X"), r"f\.conll:4: the end of a sentence cannot stand behind 'B-X' in BIOES"),
        (("B-X E-Y S-X", "B-X E-X"), r"f\.conll:2: 'E-Y' cannot stand behind 'B-X' in BIOES"),
    ],
)
def test_what_breaks_every_scheme_is_named_with_its_line(sentences: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_scheme(tagged(*sentences))


def test_a_scheme_that_was_named_is_checked() -> None:
    check_scheme(tagged("I-X B-X"), "IOB1")
    with pytest.raises(InputError, match=r"f\.conll:2: 'B-X' cannot stand behind 'O' in IOB1"):
        check_scheme(tagged("O B-X"), "IOB1")
    with pytest.raises(InputError, match=r"f\.conll:2: 'E-X' is no tag of IOB2"):
        check_scheme(tagged("B-X E-X"), "IOB2")


@pytest.mark.parametrize("stray", ["I_PER", "B-", "PER", "X-PER", "B"])
def test_one_malformed_tag_among_spans_is_named(stray: str) -> None:
    place = Place("t.conll", [1, 2, 3, 4])
    sentence = TaggedSentence(["a", "b", "c", "d"], ["B-PER", "I-PER", stray, "B-LOC"], place)
    with pytest.raises(InputError, match=rf"t\.conll:3: '{stray}' is no tag of a span, as most others are"):
        find_scheme([sentence])


def test_tags_of_which_few_look_like_spans_write_none() -> None:
    assert find_scheme([TaggedSentence(["a", "b", "c"], ["B-x", "NN", "VB"], Place("t"))]) is None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_lenient_reading_leaves_what_breaks_nothing(scheme: Scheme) -> None:
    assert [sentence.tags for sentence in read_leniently(tagged(WRITTEN[scheme], "O"))] == [
        WRITTEN[scheme].split(),
        ["O"],
    ]


@pytest.mark.parametrize("tags", ["DT NN VB", "O O O", "NOUN I-X", "B I-X"])
def test_a_lenient_reading_leaves_tags_that_write_no_spans(tags: str) -> None:
    assert read_leniently(tagged(tags))[0].tags == tags.split()


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("O I-X I-X O B-Y B-X", "O B-X I-X O B-Y B-X"),
        ("I-X I-Y B-X B-X O", "B-X B-Y B-X B-X O"),
        ("S-X B-X I-X O B-Y E-Y", "S-X B-X E-X O B-Y E-Y"),
        ("B-X M-X O S-Y M-X E-X", "B-X E-X O S-Y B-X E-X"),
        ("U-Y L-X O B-X L-X", "U-Y U-X O B-X L-X"),
    ],
)
def test_broken_spans_are_read_as_seqeval_reads_them_and_written_in_their_scheme(broken: str, mended: str) -> None:
    whole = " ".join(tag for tag in mended.split() if tag != "O")
    sentences = read_leniently(tagged(whole, broken, whole))
    assert [" ".join(sentence.tags) for sentence in sentences] == [whole, mended, whole]
    assert sentences[1].place.token(0) == tagged(whole, broken)[1].place.token(0)


@pytest.mark.parametrize(
    ("scheme", "broken", "mended"),
    [
        ("IOB2", "I-X I-X O", "B-X I-X O"),
        ("IOB1", "O B-X I-X", "O I-X I-X"),
        ("BIOES", "B-X I-X O", "B-X E-X O"),
        ("IOB2", "B-Z E-X", "B-Z B-X"),
    ],
)
def test_a_scheme_that_was_named_is_the_one_that_spans_are_written_in(scheme: Scheme, broken: str, mended: str) -> None:
    sentences = read_leniently(tagged(broken), scheme)
    assert " ".join(sentences[0].tags) == mended
    check_scheme(sentences, scheme)


def test_a_lenient_reading_leaves_a_tag_of_no_span_to_be_refused() -> None:
    for tags in ("I-X PER O", "I-X I_PER O"):
        assert read_leniently(tagged(tags), "IOB2")[0].tags == tags.split()


def test_one_letter_of_another_scheme_changes_no_other_sentence() -> None:
    legal = "B-X I-X I-X O B-Y"
    for stray in ("B-X E-X", "B-X L-X", "B-X M-X"):
        with pytest.raises(InputError, match=rf"f\.conll:14: '{stray[4:]}' is no tag of IOB2"):
            find_scheme(tagged(legal, legal, stray))
        read = read_leniently(tagged(legal, legal, stray))
        assert [" ".join(sentence.tags) for sentence in read] == [legal, legal, "B-X I-X"]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "E-Y", "S-Y"]), min_size=1))
def test_a_lenient_reading_keeps_every_span_and_breaks_nothing(tags: list[str]) -> None:
    (read,) = read_leniently([TaggedSentence(["w"] * len(tags), tags, Place("t"))])
    assert spans_of(read.tags) == spans_of(tags)
    assert find_scheme([read]) is not None or not spans_of(tags) or {"B", "S", "I"}.isdisjoint("".join(tags))
