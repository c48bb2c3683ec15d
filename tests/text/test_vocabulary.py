from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.errors import MissingPathError, ModelError
from lowtide.text.vocabulary import (
    END_INDEX,
    SPECIALS,
    START_INDEX,
    UNKNOWN_INDEX,
    Vocabulary,
    escape,
    unescape,
)

claim = settings(derandomize=True, deadline=None)

any_type = st.text(st.characters(exclude_categories=())) | st.text(st.sampled_from("\t\n\r\\ntru0d8\ud800\u2028\x85 "))
vocabularies = st.dictionaries(any_type, st.integers(1, 2**40)).map(
    lambda counts: Vocabulary.from_counts(counts, num_sentences=1)
)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.from_counts({"tide": 1, "the": 5, "out": 2, "goes": 2}, num_sentences=3)


# -- types and indices -----------------------------------------------------------------------------


def test_the_specials_come_first(vocabulary: Vocabulary) -> None:
    assert tuple(vocabulary.types[:3]) == ("<S>", "</S>", "<UNK>") == SPECIALS


@pytest.mark.parametrize(
    ("type_", "index"), [("<S>", START_INDEX), ("</S>", END_INDEX), ("<UNK>", UNKNOWN_INDEX), ("the", 3), ("tide", 6)]
)
def test_the_index_of_a_type_is_its_rank(vocabulary: Vocabulary, type_: str, index: int) -> None:
    assert vocabulary.index(type_) == index


@pytest.mark.parametrize("type_", ["The", "", "\ud800"])
def test_an_unknown_type_has_the_index_of_unknown(vocabulary: Vocabulary, type_: str) -> None:
    assert vocabulary.index(type_) == UNKNOWN_INDEX


def test_indices_gives_the_index_of_every_type(vocabulary: Vocabulary) -> None:
    types = ["the", "moon", "tide", "<S>"]
    assert vocabulary.indices(types).tolist() == [vocabulary.index(type_) for type_ in types]


def test_indices_of_nothing_are_none(vocabulary: Vocabulary) -> None:
    assert vocabulary.indices([]).shape == (0,)


def test_a_vocabulary_is_as_long_as_its_types(vocabulary: Vocabulary) -> None:
    assert len(vocabulary) == len(vocabulary.types) == 7


@pytest.mark.parametrize(("type_", "is_in"), [("tide", True), ("<UNK>", True), ("moon", False)])
def test_a_vocabulary_knows_what_it_holds(vocabulary: Vocabulary, type_: str, is_in: bool) -> None:
    assert (type_ in vocabulary) == is_in


@pytest.mark.parametrize(
    ("types", "counts"),
    [
        ([], []),
        (["the"], [1]),
        (["</S>", "<S>", "<UNK>"], [1, 1, 1]),
        ([*SPECIALS, "a", "a"], [1] * 5),
        ([*SPECIALS, "<S>"], [1] * 4),
        ([*SPECIALS, "a"], [1] * 3),
    ],
)
def test_types_that_make_no_vocabulary_are_refused(types: list[str], counts: list[int]) -> None:
    with pytest.raises(ModelError):
        Vocabulary(types, counts)


# -- counting --------------------------------------------------------------------------------------


@claim
@given(vocabularies)
def test_types_stand_by_falling_count(vocabulary: Vocabulary) -> None:
    counts = vocabulary.counts[3:]
    assert (np.diff(counts) <= 0).all()


@claim
@given(st.permutations([("b", 2), ("a", 2), ("c", 2), ("A", 2), ("z", 3)]))
def test_the_order_of_the_text_does_not_matter(items: list[tuple[str, int]]) -> None:
    assert Vocabulary.from_counts(dict(items), num_sentences=1).types[3:] == ["z", "A", "a", "b", "c"]


def test_rare_types_are_cut() -> None:
    vocabulary = Vocabulary.from_counts({"a": 3, "b": 2, "c": 1}, num_sentences=1, min_count=2)
    assert vocabulary.types[3:] == ["a", "b"]


@pytest.mark.parametrize(("max_types", "expected"), [(0, []), (1, ["a"]), (None, ["a", "b"]), (9, ["a", "b"])])
def test_the_commonest_types_are_kept(max_types: int | None, expected: list[str]) -> None:
    vocabulary = Vocabulary.from_counts({"a": 3, "b": 2}, num_sentences=1, max_types=max_types)
    assert vocabulary.types[3:] == expected


def test_the_count_of_unknown_is_what_was_cut() -> None:
    vocabulary = Vocabulary.from_counts({"a": 3, "b": 2, "c": 1}, num_sentences=1, max_types=1)
    assert vocabulary.counts[UNKNOWN_INDEX] == 3


def test_tokens_that_were_not_counted_are_unknown() -> None:
    vocabulary = Vocabulary.from_counts({"a": 3}, num_sentences=1, num_tokens=10)
    assert vocabulary.counts[UNKNOWN_INDEX] == 7


def test_the_count_of_the_boundaries_is_that_of_the_sentences(vocabulary: Vocabulary) -> None:
    assert vocabulary.counts[[START_INDEX, END_INDEX]].tolist() == [3, 3]


def test_a_special_in_the_text_does_not_stand_twice() -> None:
    vocabulary = Vocabulary.from_counts({"<UNK>": 7, "a": 1}, num_sentences=1)
    assert vocabulary.types == [*SPECIALS, "a"]
    assert vocabulary.counts[UNKNOWN_INDEX] == 7


# -- of a model from elsewhere --------------------------------------------------------------------


marks_and_words = st.lists(st.sampled_from(["<S>", "</S>", "<UNK>", "a", "b", "", "\0", "a\0", "潮"]), max_size=12).map(
    lambda words: [*words[:6], "</S>", "<UNK>", *words[6:], "<S>"]
)


@claim
@given(marks_and_words)
def test_every_row_of_a_list_of_words_has_one_type(words: list[str]) -> None:
    vocabulary, rows = Vocabulary.from_words(words)
    assert sorted(rows.tolist()) == list(range(len(words))) and rows.dtype == np.int64
    assert len(vocabulary) == len(words) and vocabulary.types[:3] == [*SPECIALS]
    assert not vocabulary.counts.any()


@claim
@given(marks_and_words, st.sampled_from(["<S>", "</S>", "<UNK>", "a", "b", "", "潮", "moon"]))
def test_a_word_is_found_in_its_last_row(words: list[str], word: str) -> None:
    vocabulary, rows = Vocabulary.from_words(words)
    last = {other: row for row, other in enumerate(words)}
    assert rows[vocabulary.index(word)] == last.get(word, last["<UNK>"])


@pytest.mark.parametrize("missing", SPECIALS)
def test_words_without_a_special_are_refused(missing: str) -> None:
    with pytest.raises(ModelError, match=f"4 words have no {missing}, expected"):
        Vocabulary.from_words(["x" if word == missing else word for word in ("a", "</S>", "<UNK>", "<S>")])


def test_words_may_have_other_specials() -> None:
    words = ["<oov>", "a", "<bos>", "<eos>", "<UNK>", "<S>"]
    vocabulary, rows = Vocabulary.from_words(words, ("<bos>", "<eos>", "<oov>"))
    assert rows.tolist() == [2, 3, 0, 1, 4, 5] and vocabulary.types[3] == "a"
    assert vocabulary.index("moon") == UNKNOWN_INDEX and rows[UNKNOWN_INDEX] == 0


def test_a_vocabulary_of_words_comes_back_from_a_file(tmp_path: Path) -> None:
    vocabulary, _ = Vocabulary.from_words(["a", "<S>", "</S>", "a", "<UNK>", "<S>", "", "a\tb"])
    vocabulary.save(tmp_path / "vocabulary.txt")
    assert Vocabulary.load(tmp_path / "vocabulary.txt").types == vocabulary.types


def test_a_long_list_of_words_takes_no_long_time() -> None:
    words = [*SPECIALS, *map(str, range(200_000)), *map(str, range(1000))]
    vocabulary, rows = Vocabulary.from_words(words)
    assert rows[vocabulary.index("999")] == len(words) - 1 and len(vocabulary) == len(words)


# -- files -----------------------------------------------------------------------------------------


@settings(claim, max_examples=30)
@given(vocabularies)
def test_a_vocabulary_comes_back_as_it_was_saved(
    tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary
) -> None:
    path = tmp_path_factory.getbasetemp() / "vocabulary.txt"
    vocabulary.save(path)
    loaded = Vocabulary.load(path)
    assert loaded.types == vocabulary.types
    assert loaded.counts.tolist() == vocabulary.counts.tolist()


def test_the_file_is_a_type_a_tab_and_a_count_a_line(tmp_path: Path) -> None:
    Vocabulary.from_counts({"退了": 4, "a\tb": 2, "\\": 1}, num_sentences=3).save(tmp_path / "vocabulary.txt")
    assert (tmp_path / "vocabulary.txt").read_bytes() == (
        "<S>\t3\n</S>\t3\n<UNK>\t0\n退了\t4\na\\tb\t2\n\\\\\t1\n".encode()
    )


def test_a_file_without_a_last_line_feed_is_read(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text("<S>\t1\n</S>\t1\n<UNK>\t0\na\t1", encoding="utf-8")
    assert Vocabulary.load(tmp_path / "vocabulary.txt").types[3:] == ["a"]


@pytest.mark.parametrize("line", ["a", "a\t", "a\tb", "a\t-1", "a\t1.5", "a 1", "", "a\t²", "a\t" + "9" * 30, "a\t1\r"])
def test_a_line_that_is_no_type_with_its_count_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_text(f"<S>\t1\n</S>\t1\n<UNK>\t0\n{line}\n", encoding="utf-8", newline="\n")
    with pytest.raises(ModelError, match=r"vocabulary\.txt:4: expected a type, a tab and a count"):
        Vocabulary.load(path)


@pytest.mark.parametrize("name", ["nothing.txt", "file/nothing.txt"])
def test_a_file_that_is_not_there_is_a_missing_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(MissingPathError, match="the model folder is incomplete"):
        Vocabulary.load(tmp_path / name)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_bytes(b"<S>\t1\n\xff\t1\n")
    with pytest.raises(ModelError, match="is not UTF-8"):
        Vocabulary.load(tmp_path / "vocabulary.txt")


@claim
@given(any_type)
def test_unescape_undoes_escape(type_: str) -> None:
    assert unescape(escape(type_)) == type_


@claim
@given(any_type)
def test_an_escaped_type_takes_one_field_of_one_line(type_: str) -> None:
    assert not {"\t", "\n", "\r"} & set(escape(type_))


@claim
@given(any_type)
def test_an_escaped_type_can_be_written(type_: str) -> None:
    escape(type_).encode("utf-8")


@claim
@given(any_type, any_type)
def test_two_types_are_not_written_alike(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (one == other)


@pytest.mark.parametrize(
    ("type_", "written"),
    [("a\tb", r"a\tb"), ("\n", r"\n"), ("\r", r"\r"), ("\\n", r"\\n"), ("\ud800", r"\ud800"), ("潮水", "潮水")],
)
def test_a_type_is_written_as_documented(type_: str, written: str) -> None:
    assert escape(type_) == written


@pytest.mark.parametrize("field", ["\\", "\\x", "C:\\Users", "a\\"])
def test_a_backslash_that_begins_no_escape_stands_for_itself(field: str) -> None:
    assert unescape(field) == field
