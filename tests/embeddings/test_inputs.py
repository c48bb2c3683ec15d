from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.embeddings.inputs import as_sentence, as_sentences, parse_marked
from lowtide.errors import InputError
from lowtide.text.tokenize import make_tokenizer

WORDS = make_tokenizer("words", language="en")
SPACES = make_tokenizer("whitespace", language="en")
Given = Any
"""What a user hands in, wrong types too."""


# -- sentences -----------------------------------------------------------------------------------


def test_a_text_is_cut_by_the_tokenizer() -> None:
    assert as_sentence("The tide goes out.", WORDS) == ["The", "tide", "goes", "out", "."]


def test_a_text_of_several_sentences_is_never_split() -> None:
    assert len(as_sentences(["It ebbs. It flows."], WORDS)) == 1


@pytest.mark.parametrize("tokens", [["The tide", "goes."], ("The tide", "goes."), [""], []])
def test_a_list_of_tokens_is_taken_as_it_is(tokens: Sequence[str]) -> None:
    assert as_sentence(tokens, WORDS) == list(tokens)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.text(max_size=4), max_size=4), max_size=5))
def test_lists_of_tokens_come_back_unchanged_and_in_order(sentences: list[list[str]]) -> None:
    assert as_sentences(sentences, WORDS) == sentences


def test_texts_and_tokens_may_be_mixed() -> None:
    assert as_sentences(["It ebbs.", ["It ebbs."]], WORDS) == [["It", "ebbs", "."], ["It ebbs."]]


def test_what_can_be_read_only_once_is_read_only_once() -> None:
    texts: Given = (text for text in ["It ebbs.", "It flows.", "It stays."])
    assert len(as_sentences(texts, WORDS)) == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (7, "found int,"),
        (None, "found NoneType,"),
        (b"the tide", "found a bytes of int,"),
        (["the", 7], "found a list of int,"),
        (["the", None], "found a list of NoneType,"),
        (["the", ["tide"]], "found a list of list,"),
        (np.array(["the", "tide"]), "found ndarray,"),
    ],
)
def test_what_is_no_sentence_is_refused_with_the_name_of_its_type(text: Given, found: str) -> None:
    with pytest.raises(InputError, match=f"{found} expected a sentence: a str, or a list of str"):
        as_sentences(["the tide", text], WORDS)


def test_what_is_no_list_is_refused_with_the_name_of_its_type() -> None:
    texts: Given = 7
    with pytest.raises(InputError, match="found int, expected a text, or a list of sentences"):
        as_sentences(texts, WORDS)


# -- the warning ---------------------------------------------------------------------------------


def test_texts_of_one_token_each_warn_and_tell_how_tokens_go_in() -> None:
    with pytest.warns(UserWarning, match=r'3 texts of one token each: .*\[\["The", "cat"\]\]'):
        assert as_sentences(["The", "cat", "sat"], WORDS) == [["The"], ["cat"], ["sat"]]


def test_words_for_a_model_of_characters_warn() -> None:
    characters = make_tokenizer("characters", language="zh")
    with pytest.warns(UserWarning, match="^sentence 0 is a list of words, and this model reads characters"):
        as_sentences([["潮水", "退", "了"]], characters)
    assert as_sentences([["潮", "e\u0301"], "潮水"], characters) == [["潮", "e\u0301"], ["潮", "水"]]


@pytest.mark.parametrize(
    "texts",
    [
        ["The", "cat"],
        ["The", "cat", "sat there"],
        ["The", "cat", ""],
        ["The", "cat", ["sat"]],
        [["The"], ["cat"], ["sat"]],
        [],
    ],
    ids=["two", "one of two tokens", "one of none", "one of tokens", "all of tokens", "none"],
)
def test_other_texts_do_not_warn(texts: Given) -> None:
    as_sentences(texts, WORDS)  # a warning is an error here


# -- marks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens", "word"),
    [
        ("He sat on the [bank].", ["He", "sat", "on", "the", "bank", "."], "bank"),
        ("[He] sat.", ["He", "sat", "."], "He"),
        ("He sat[.]", ["He", "sat", "."], "."),
        ("He sat on [the bank].", ["He", "sat", "on", "the", "bank", "."], "the bank"),
        ("It was [ebb]ing.", ["It", "was", "ebbing", "."], "ebbing"),
        ("[don't]", ["do", "n't"], "do n't"),
        ("[ He ] sat.", ["He", "sat", "."], "He"),
        (["潮水", "[退了]"], ["潮水", "退了"], "退了"),
        (["[", "He", "]", "[sat]"], ["[", "He", "]", "sat"], "sat"),
        (["[He sat]", "down"], ["He sat", "down"], "He sat"),
    ],
)
def test_brackets_mark_the_tokens_they_stand_around(text: str | list[str], tokens: list[str], word: str) -> None:
    marked = parse_marked(text, WORDS)
    assert (marked.tokens, marked.word) == (tokens, word)


@pytest.mark.parametrize(
    "text",
    [
        "He sat on the bank.",
        "He sat on the [bank.",
        "He sat on the bank].",
        "He sat on the ]bank[.",
        "[He] sat on the [bank].",
        "He sat on the [[bank]].",
        "He sat [] there.",
        "He sat [  ] there.",
        "",
        ["He", "sat"],
        ["[He]", "[sat]"],
        ["He", "[]"],
        [],
    ],
)
def test_anything_but_one_marked_stretch_is_refused(text: str | list[str]) -> None:
    with pytest.raises(InputError, match=r"\[bank\]"):
        parse_marked(text, WORDS)


@settings(max_examples=25, deadline=None)
@given(words=st.lists(st.sampled_from(["tide", "bank", "潮水", "U.S.", "x"]), min_size=1, max_size=6), data=st.data())
def test_marks_never_change_which_tokens_there_are(words: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first + 1, len(words)))
    text = " ".join([*words[:first], "[" + " ".join(words[first:last]) + "]", *words[last:]])
    marked = parse_marked(text, SPACES)
    assert marked.tokens == words and (marked.first, marked.last) == (first, last)
    assert Counter(marked.word.split()) == Counter(words[first:last])
