import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.errors import ConfigError, ModelError
from lowtide.text.characters import NUM_BYTE_CHARACTERS, ByteSpelling, LetterSpelling, SymbolSpelling
from lowtide.text.vocabulary import SPECIALS, Vocabulary

claim = settings(derandomize=True, deadline=None)

any_type = st.text(st.characters(exclude_categories=()))

# The published table, after 1 was added to every id.
START, END, WORD_START, WORD_END, PAD = 257, 258, 259, 260, 261


def spelled(type_: str, max_characters: int = 50) -> list[int]:
    ids: list[int] = ByteSpelling(max_characters).char_ids([type_])[0].tolist()
    return ids


def padded(*ids: int) -> list[int]:
    return [WORD_START, *ids, WORD_END] + [PAD] * (48 - len(ids))


def kept_bytes(type_: str) -> bytes:
    ids = spelled(type_)
    return bytes(character - 1 for character in ids[1 : ids.index(WORD_END)])


# -- bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "ids"),
    [
        ("the", [117, 105, 102]),
        ("A", [66]),
        ("\0", [1]),
        ("é", [196, 170]),
        ("潮水", [231, 190, 175, 231, 177, 181]),
        ("👍", [241, 160, 146, 142]),
        ("", []),
        ("<S>", [START]),
        ("</S>", [END]),
        ("<UNK>", [61, 86, 79, 76, 63]),
        ("<s>", [61, 116, 63]),
    ],
)
def test_a_type_is_spelled_as_published(type_: str, ids: list[int]) -> None:
    assert spelled(type_) == padded(*ids)


@claim
@given(any_type.filter(lambda type_: type_ not in ("<S>", "</S>")))
def test_a_spelling_holds_the_first_48_bytes(type_: str) -> None:
    assert kept_bytes(type_) == type_.encode("utf-8", errors="ignore")[:48]


@pytest.mark.parametrize(
    ("type_", "kept"),
    [
        ("a" * 49, b"a" * 48),
        ("潮" * 17, "潮".encode() * 16),
        ("a" + "潮" * 16, b"a" + "潮".encode() * 15 + "潮".encode()[:2]),
        ("a" * 10_000, b"a" * 48),
    ],
)
def test_a_long_type_is_cut_after_48_bytes_even_inside_a_character(type_: str, kept: bytes) -> None:
    assert kept_bytes(type_) == kept


def test_a_cut_type_still_has_its_end() -> None:
    assert spelled("a" * 49)[-1] == WORD_END


@pytest.mark.parametrize(("type_", "left"), [("a\ud800b", "ab"), ("\udfff", ""), ("\ud83d\udc4d", "")])
def test_lone_surrogates_vanish(type_: str, left: str) -> None:
    assert spelled(type_) == spelled(left)


@claim
@given(st.lists(any_type))
def test_every_id_lies_in_the_table(types: list[str]) -> None:
    rows = ByteSpelling().char_ids(types)
    assert rows.shape == (len(types), 50)
    assert ((rows > 0) & (rows < NUM_BYTE_CHARACTERS)).all()


@claim
@given(st.lists(any_type))
def test_a_type_is_spelled_alike_in_every_company(types: list[str]) -> None:
    assert ByteSpelling().char_ids(types).tolist() == [spelled(type_) for type_ in types]


def test_the_table_has_262_rows() -> None:
    assert ByteSpelling().num_characters == NUM_BYTE_CHARACTERS == 262


@pytest.mark.parametrize("max_characters", [3, 10, 50, 64])
def test_a_row_is_as_long_as_asked(max_characters: int) -> None:
    assert len(spelled("tides and tides", max_characters)) == max_characters == ByteSpelling(max_characters).row_length


@pytest.mark.parametrize("max_characters", [2, 0, -1])
def test_a_row_without_room_for_a_byte_is_refused(max_characters: int) -> None:
    with pytest.raises(ConfigError, match=f"max_characters is {max_characters}"):
        ByteSpelling(max_characters)


@pytest.mark.parametrize(
    ("type_", "is_truncated"),
    [("a" * 48, False), ("a" * 49, True), ("潮" * 16, False), ("潮" * 17, True), ("\ud800" * 99, False), ("", False)],
)
def test_a_type_is_truncated_if_it_has_more_than_48_bytes(type_: str, is_truncated: bool) -> None:
    assert ByteSpelling().is_truncated(type_) == is_truncated


# -- symbols ---------------------------------------------------------------------------------------


@pytest.fixture
def symbols() -> SymbolSpelling:
    return SymbolSpelling(Vocabulary.from_counts({"M": 3, "K": 2}, num_sentences=1))


def test_a_symbol_is_spelled_by_its_index(symbols: SymbolSpelling) -> None:
    assert symbols.char_ids(["<S>", "</S>", "<UNK>", "M", "K"]).tolist() == [[0], [1], [2], [3], [4]]


def test_an_unknown_symbol_is_spelled_unknown(symbols: SymbolSpelling) -> None:
    assert symbols.char_ids(["Z"]).tolist() == symbols.char_ids(["<UNK>"]).tolist()


def test_no_symbols_are_no_rows_of_one(symbols: SymbolSpelling) -> None:
    assert symbols.char_ids([]).shape == (0, symbols.row_length)


def test_there_are_as_many_symbols_as_types(symbols: SymbolSpelling) -> None:
    assert symbols.num_characters == 5


def test_a_symbol_is_never_truncated(symbols: SymbolSpelling) -> None:
    assert not symbols.is_truncated("M" * 1000)


def test_a_symbol_is_cut_before_it_is_looked_up_if_that_is_asked() -> None:
    vocabulary = Vocabulary.from_counts({"M": 3, "MKT": 2}, num_sentences=1)
    cut, whole = SymbolSpelling(vocabulary, max_letters=3), SymbolSpelling(vocabulary)
    types = ["MKT", "MKTLL", "MKTMKTMKT", "M", "MK"]
    assert cut.char_ids(types).tolist() == [[4], [4], [4], [3], [2]]
    assert whole.char_ids(types).tolist() == [[4], [2], [2], [3], [2]]
    assert list(map(cut.is_truncated, types)) == [False, True, True, False, False]


@pytest.mark.parametrize("max_letters", [1, 2, 3, None])
def test_the_marks_of_a_sentence_are_never_cut(max_letters: int | None) -> None:
    spelling = SymbolSpelling(Vocabulary.from_counts({"M": 3}, num_sentences=1), max_letters)
    assert spelling.char_ids(list(spelling.marks)).tolist() == [[0], [1]]


# -- letters ---------------------------------------------------------------------------------------

LETTERS = ["<eow>", "t", "h", "e", "<oov>", "潮", "<pad>", "👍", "<bos>", "\u3000", "<bow>", "<eos>"]
"""Of a dictionary, with its marks in odd places."""
WORDS = ["the", "潮", "t" * 48, "<eos>", "<oov>", "<bos>"]


def letters_of(max_characters: int = 6, *, has_words: bool = False) -> LetterSpelling:
    words = Vocabulary.from_words(WORDS, ("<bos>", "<eos>", "<oov>"))[0] if has_words else None
    return LetterSpelling(LETTERS, max_characters, words)


@pytest.mark.parametrize(
    ("type_", "letters"),
    [
        ("the", ["t", "h", "e"]),
        ("潮", ["潮"]),
        ("", []),
        ("x", ["<oov>"]),
        ("tx潮", ["t", "<oov>", "潮"]),
        ("👍🏽", ["👍", "<oov>"]),
        ("\u3000", ["\u3000"]),
        ("thet", ["t", "h", "e", "t"]),
        ("thethe", ["t", "h", "e", "t"]),
        ("<bow>", ["<oov>"] * 4),
        ("\ud800", ["<oov>"]),
    ],
)
def test_letters_stand_between_the_end_and_the_beginning_of_a_word(type_: str, letters: list[str]) -> None:
    row = ["<eow>", *letters, "<bow>"]
    expected = [LETTERS.index(letter) for letter in row + ["<pad>"] * (6 - len(row))]
    assert letters_of().char_ids([type_]).tolist() == [expected]


@pytest.mark.parametrize("max_characters", [3, 4, 6, 7, 50])
def test_the_marks_of_a_sentence_have_letters_of_their_own(max_characters: int) -> None:
    spelling = letters_of(max_characters)
    for mark, letter in zip(spelling.marks, ("<bos>", "<eos>"), strict=True):
        expected = [LETTERS.index(letter) for letter in ("<eow>", letter, "<bow>")]
        assert spelling.char_ids([mark]).tolist() == [expected + [LETTERS.index("<pad>")] * (max_characters - 3)]


def test_the_number_of_the_word_stands_in_front() -> None:
    with_words, without = letters_of(50, has_words=True), letters_of(50)
    types = ["the", "tide", "潮", "t" * 48, "t" * 60, "", "<oov>", *with_words.marks]
    words = Vocabulary.from_words(WORDS, ("<bos>", "<eos>", "<oov>"))[0]
    rows = with_words.char_ids(types)
    assert rows[:, 1:].tolist() == without.char_ids(types).tolist()
    assert rows[:, 0].tolist() == [
        words.index("the"), 2, words.index("潮"), words.index("t" * 48), words.index("t" * 48), 2, 2, 0, 1
    ]  # fmt: skip  # as it stands in one row


def test_the_row_is_one_longer_with_words() -> None:
    assert (letters_of().row_length, letters_of(has_words=True).row_length) == (6, 7)
    assert letters_of().char_ids([]).shape == (0, 6)
    assert letters_of(has_words=True).char_ids([]).shape == (0, 7)


@claim
@given(st.lists(any_type), st.booleans())
def test_every_letter_lies_in_its_table(types: list[str], has_words: bool) -> None:
    spelling = letters_of(has_words=has_words)
    rows = spelling.char_ids(types)
    assert rows.shape == (len(types), spelling.row_length)
    assert ((rows >= 0) & (rows < spelling.num_characters)).all()
    assert (rows[:, has_words:] < len(LETTERS)).all()


@claim
@given(st.lists(any_type), st.booleans())
def test_letters_are_spelled_alike_in_every_company(types: list[str], has_words: bool) -> None:
    spelling = letters_of(has_words=has_words)
    assert spelling.char_ids(types).tolist() == [spelling.char_ids([type_])[0].tolist() for type_ in types]


def test_a_type_is_truncated_if_it_has_more_characters_than_a_row_has_places() -> None:
    spelling = letters_of()
    assert [spelling.is_truncated(type_) for type_ in ("", "thet", "潮👍潮👍", "thete")] == [False, False, False, True]


def test_letters_and_words_decide_what_the_ids_mean() -> None:
    assert list(letters_of().symbols) == LETTERS
    assert list(letters_of(has_words=True).symbols)[: len(LETTERS)] == LETTERS
    assert "the" in letters_of(has_words=True).symbols


@pytest.mark.parametrize("mark", ["<bos>", "<eos>", "<oov>", "<pad>", "<bow>", "<eow>"])
def test_letters_without_one_of_their_marks_are_refused(mark: str) -> None:
    with pytest.raises(ModelError, match=f"no {mark}"):
        LetterSpelling([letter for letter in LETTERS if letter != mark], 6, None)


def test_a_letter_that_stands_twice_is_refused() -> None:
    with pytest.raises(ModelError, match="twice"):
        LetterSpelling([*LETTERS, "t"], 6, None)


WRITINGS = Vocabulary([*SPECIALS, "London", "the", "NATO"], [1] * 6)


@pytest.mark.parametrize(
    ("written", "found"),
    [("LONDON", "London"), ("The", "the"), ("nato", "NATO"), ("NATO", "NATO"), ("Paris", "<UNK>"), ("<S>", "<S>")],
)
def test_a_word_takes_the_number_of_another_writing(written: str, found: str) -> None:
    spelling = SymbolSpelling(WRITINGS, folds_case=True)
    assert spelling.char_ids([written]).tolist() == [[WRITINGS.index(found)]]
    assert spelling.knows(written) == (found != "<UNK>")
    is_kept = written in WRITINGS
    assert SymbolSpelling(WRITINGS).char_ids([written]).tolist() == [[WRITINGS.index(written)]]
    assert SymbolSpelling(WRITINGS).knows(written) == is_kept


def test_more_words_stand_behind_the_vocabulary_and_none_twice() -> None:
    spelling = SymbolSpelling(WRITINGS, more=["Paris", "rome"], folds_case=True)
    assert spelling.char_ids(["rome", "Paris", "PARIS", "the"]).tolist() == [[7], [6], [6], [4]]
    assert spelling.num_characters == 8
    for more in (["rome", "rome"], ["the"]):
        with pytest.raises(ModelError, match="stands twice"):
            SymbolSpelling(WRITINGS, more=more)
