from __future__ import annotations

from lowtide.evaluation.two_uses import TaggedUses, english_uses, find_two_uses
from lowtide.text.tokenize import make_tokenizer

_TEXT = (
    ["they can work in the town .".split()] * 4
    + ["the work is done by them .".split()] * 5
    + ["he will play in the town .".split()] * 2
    + ["the play is over for us .".split()] * 9
    + ["the town is near the sea .".split()] * 9
)


def test_the_word_whose_rarer_use_is_commonest_comes_first() -> None:
    found = find_two_uses(_TEXT, english_uses, num_words=2, num_examples=2)
    assert [(uses.word, uses.names, uses.counts) for uses in found] == [
        ("work", ("noun", "verb"), (5, 4)),
        ("play", ("noun", "verb"), (9, 2)),
    ]


def test_a_word_with_one_use_is_not_found() -> None:
    found = find_two_uses(_TEXT, english_uses, num_words=9, num_examples=2)
    assert "town" not in [uses.word for uses in found]


def test_examples_mark_the_word_in_its_use() -> None:
    [work] = find_two_uses(_TEXT, english_uses, num_words=1, num_examples=3)
    assert [len(examples) for examples in work.examples] == [3, 3]
    for examples, before in zip(work.examples, ("the", "can"), strict=True):
        for marked in examples:
            assert marked.word == "work" and marked.tokens[marked.first - 1] == before


def test_the_commonest_types_can_be_left_out() -> None:
    found = find_two_uses(_TEXT, english_uses, num_words=9, num_examples=2, skip_commonest=3)
    assert all(uses.word not in ("the", ".", "is") for uses in found)


def test_tags_count_where_the_tokenizer_cuts_the_same_word() -> None:
    paragraphs = [
        [("花", "n"), ("开", "v"), ("了", "u"), ("。", "w")],
        [("他", "r"), ("花", "v"), ("钱", "n"), ("。", "w")],
    ]
    uses = TaggedUses(paragraphs, make_tokenizer("characters", language="zh"), {"n": "noun", "v": "verb"})
    assert [list(uses(sentence)) for sentence in uses.sentences] == [
        [(0, "noun"), (1, "verb")],
        [(1, "verb"), (2, "noun")],
    ]


def test_tags_of_words_that_are_cut_otherwise_do_not_count() -> None:
    uses = TaggedUses([[("退了", "v")]], make_tokenizer("characters", language="zh"), {"v": "verb"})
    assert list(uses(uses.sentences[0])) == []
