import unicodedata
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.errors import InputError
from lowtide.text.tokenize import (
    Token,
    Tokenizer,
    TokenizerConfig,
    TokenizerName,
    detect_language,
    is_cut_by_spaces,
    make_tokenizer,
    open_tokenizer,
)

claim = settings(derandomize=True, deadline=None)

TOKENIZERS: dict[str, tuple[TokenizerName, str]] = {
    "words": ("words", "en"),
    "chinese words": ("words", "zh"),
    "characters": ("characters", "en"),
    "whitespace": ("whitespace", "en"),
}
any_text = st.text(st.characters(exclude_categories=())) | st.text(
    # what the patterns know about, and what NFC puts together, reorders or takes apart
    st.sampled_from(
        "anNtTsS1. ,:/-‐—…'’·\n\u3000潮水退了龍葛\uf900々"
        "\u0301\u0323\u0338\u3099か=é각ᄀ\u1161\u11a8\u0387\u212b\u2000\u0344क़"
        "\u200b\u200c\u200d\ufe0f\U000e0100👩🏽❤🇩🇪\ud800\ufeff"
    ),
    max_size=20,
)


@pytest.fixture(params=TOKENIZERS, scope="module")
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    name, language = TOKENIZERS[request.param]
    return make_tokenizer(name, language=language)


def words(text: str, language: str = "en") -> list[str]:
    return make_tokenizer("words", language=language).split(text)


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


# -- what holds for every text ---------------------------------------------------------------------


@claim
@given(text=any_text)
def test_offsets_point_at_the_token(tokenizer: Tokenizer, text: str) -> None:
    assert [nfc(text[token.start : token.end]) for token in tokenizer.tokenize(text)] == tokenizer.split(text)


@claim
@given(text=any_text)
def test_split_gives_the_texts_of_tokenize(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.split(text) == [token.text for token in tokenizer.tokenize(text)]


@claim
@given(text=any_text)
def test_only_white_space_lies_between_tokens(tokenizer: Tokenizer, text: str) -> None:
    end, between = 0, ""
    for token in tokenizer.tokenize(text):
        between += text[end : token.start]
        end = token.end
    assert not (between + text[end:]).strip()


@claim
@given(text=any_text)
def test_nothing_but_white_space_is_lost(tokenizer: Tokenizer, text: str) -> None:
    assert "".join(tokenizer.split(text)) == "".join(nfc(text).split())


@claim
@given(text=any_text)
def test_no_token_holds_white_space(tokenizer: Tokenizer, text: str) -> None:
    assert not any(character.isspace() for token in tokenizer.split(text) for character in token)


@claim
@given(text=any_text)
def test_tokens_are_whole_and_in_order(tokenizer: Tokenizer, text: str) -> None:
    bounds = [bound for token in tokenizer.tokenize(text) for bound in (token.start, token.end)]
    assert bounds == sorted(bounds)
    assert all(token.start < token.end for token in tokenizer.tokenize(text))


@claim
@given(text=any_text)
def test_it_does_not_matter_how_accents_are_written(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.split(unicodedata.normalize("NFD", text)) == tokenizer.split(text)


@pytest.mark.parametrize("text", ["", " ", "\n\t\u3000\u00a0"])
def test_a_text_without_letters_has_no_tokens(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.tokenize(text) == []


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "1" * 1_000_000, "a-" * 500_000, "1." * 500_000, "\u0301" * 1_000_000]
)
def test_a_token_of_a_million_characters_is_read(text: str) -> None:
    assert "".join(words(text)) == text


def test_a_sentence_of_100_000_tokens_is_read(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.split("潮水 " * 100_000)) in (100_000, 200_000)


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("didn't", "did n't"),
        ("didn’t", "did n’t"),
        ("DIDN'T", "DID N'T"),
        ("can't", "ca n't"),
        ("won't've", "wo n't 've"),
        ("bank's", "bank 's"),
        ("bank’s", "bank ’s"),
        ("BANK'S", "BANK 'S"),
        ("I'm we're they've she'll he'd", "I 'm we 're they 've she 'll he 'd"),
        ("the dogs' tails", "the dogs ' tails"),
        ("'so he said'", "' so he said '"),
        ("n't", "n't"),
    ],
)
def test_contractions_are_cut_in_two(text: str, expected: str) -> None:
    assert words(text) == expected.split()


@pytest.mark.parametrize(
    "token",
    (
        "U.S. e.g. J.K. 3.5 1,000 1,000,000.50 12:30 1/2 2024-01-31 10-year-old well-known snake_case 3rd x2 "
        "... -- —— …… naïve Straße москва col·lecció"
    ).split(),
)
def test_a_token_stays_whole(token: str) -> None:
    assert words(f"so {token} is") == ["so", token, "is"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The tide, he said.", "The tide , he said ."),
        ('"Go!" (now)', '" Go ! " ( now )'),
        ("$5 5% a@b", "$ 5 5 % a @ b"),
        ("1,000, and", "1,000 , and"),
        ("3.5kg", "3.5 kg"),
        ("foo--bar", "foo -- bar"),
        ("-5", "- 5"),
        ("end.Start", "end . Start"),
        ("Mr. Smith", "Mr . Smith"),
        ("“quoted”…", "“ quoted ” …"),
    ],
)
def test_every_other_mark_is_a_token(text: str, expected: str) -> None:
    assert words(text) == expected.split()


def test_offsets_count_characters_of_the_text() -> None:
    tokens = make_tokenizer("words", language="en").tokenize("  He didn't.")
    assert tokens == [Token("He", 2, 4), Token("did", 5, 8), Token("n't", 8, 11), Token(".", 11, 12)]


@pytest.mark.parametrize(
    ("name", "text", "tokens"),
    [
        ("words", "un cafe\u0301 noir", [Token("un", 0, 2), Token("café", 3, 8), Token("noir", 9, 13)]),
        ("words", "ᄒ\u1161\u11abᄀ\u116e 말", [Token("한구", 0, 5), Token("말", 6, 7)]),
        ("characters", "ᄒ\u1161\u11ab각ᄀ\u116e", [Token("한", 0, 3), Token("각", 3, 4), Token("구", 4, 6)]),
        ("characters", "=\u0338 x\u0301\u0323", [Token("≠", 0, 2), Token("x\u0323\u0301", 3, 6)]),
    ],
)
def test_offsets_count_in_the_text_as_it_was_given(name: TokenizerName, text: str, tokens: list[Token]) -> None:
    assert make_tokenizer(name, language="en").tokenize(text) == tokens


@pytest.mark.parametrize("word", ["हिन्दी", "क्षेत्र", "বাংলা", "தமிழ்", "עִבְרִית", "العَرَبِيَّة"])
def test_vowel_signs_stay_in_their_word(word: str) -> None:
    assert words(f"{word} {word}") == [word, word]


@pytest.mark.parametrize("word", ["می\u200cخواهم", "क्\u200dष"])
def test_joiners_stay_in_their_word(word: str) -> None:
    assert words(f"{word} {word}") == [word, word]


@pytest.mark.parametrize("emoji", ["👍", "👍🏽", "❤️", "👨‍👩‍👧", "🏳️‍🌈", "🇩🇪", "1️⃣"])
@pytest.mark.parametrize("name", ["words", "characters"])
def test_an_emoji_is_one_token(name: TokenizerName, emoji: str) -> None:
    assert make_tokenizer(name, language="en").split(f"{emoji} {emoji}") == [emoji, emoji]


def test_emoji_that_touch_are_two_tokens() -> None:
    assert words("👍🏽👍🇩🇪🇫🇷") == ["👍🏽", "👍", "🇩🇪", "🇫🇷"]


# -- Chinese ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我爱北京天安门", "我 爱 北京 天安门"),
        ("他在U.S.工作，didn't来", "他 在 U.S. 工作 ， did n't 来"),
        ("花了3.5亿元", "花 了 3.5 亿元"),
        ("约翰·史密斯", "约翰 · 史密斯"),
        ("iPhone手机", "iPhone 手机"),
        ("学习 Python 语言。", "学习 Python 语言 。"),
    ],
)
def test_chinese_is_cut_into_words_and_english_as_english(text: str, expected: str) -> None:
    assert words(text, "zh") == expected.split()


def test_offsets_hold_across_scripts() -> None:
    tokens = make_tokenizer("words", language="zh").tokenize("北京 U.S. 北京")
    assert tokens == [Token("北京", 0, 2), Token("U.S.", 3, 7), Token("北京", 8, 10)]


def test_the_mark_of_a_variant_stays_with_its_character() -> None:
    assert words("葛\U000e0100 了", "zh") == ["葛\U000e0100", "了"]


@pytest.mark.parametrize("language", ["zh", "zh-CN", "zh_TW", "ZH", "zh-Hant"])
def test_a_region_changes_no_language(language: str) -> None:
    assert words("北京天安门", language) == ["北京", "天安门"]


@pytest.mark.parametrize("language", ["ja", "th", "lo", "km", "my", "bo", "ja-JP"])
def test_words_of_a_language_without_spaces_are_refused_with_advice(language: str) -> None:
    with pytest.raises(InputError, match=r"--tokenizer characters.*--tokenizer whitespace"):
        make_tokenizer("words", language=language)


@pytest.mark.parametrize("name", ["characters", "whitespace"])
def test_only_words_depend_on_the_language(name: TokenizerName) -> None:
    assert make_tokenizer(name, language="ja").split("潮 が") == ["潮", "が"]


# -- characters and white space --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("潮水 OK", ["潮", "水", "O", "K"]),
        ("MKVL", ["M", "K", "V", "L"]),
        ("e\u0301t", ["é", "t"]),
        ("हिन्दी", ["हि", "न्", "दी"]),
        (unicodedata.normalize("NFD", "한국"), ["한", "국"]),
    ],
)
def test_a_character_keeps_its_marks(text: str, expected: list[str]) -> None:
    assert make_tokenizer("characters", language="en").split(text) == expected


@pytest.mark.parametrize("text", ["没穿 裤子", "did n't U.S.", "<S> a\u200bb"])
def test_what_is_cut_already_is_cut_at_white_space_only(text: str) -> None:
    assert make_tokenizer("whitespace", language="zh").split(text) == text.split()


# -- which tokenizer -------------------------------------------------------------------------------


def test_an_unknown_tokenizer_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(InputError, match="Did you mean 'words'"):
        make_tokenizer("word", language="en")


def test_the_version_of_chinese_words_is_that_of_the_library_too() -> None:
    assert "rjieba" in make_tokenizer("words", language="zh").config.version


def test_a_tokenizer_opens_by_its_config(tokenizer: Tokenizer) -> None:
    assert open_tokenizer(tokenizer.config).config == tokenizer.config


def test_the_same_version_opens_without_a_warning(tokenizer: Tokenizer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_tokenizer(tokenizer.config)


def test_another_version_warns_and_names_both() -> None:
    with pytest.warns(UserWarning, match=r"version 0.*here is version 1.*cut differently"):
        open_tokenizer(TokenizerConfig("words", "en", version="0"))


# -- which language --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The tide goes out.", "en"),
        ("Прилив уходит.", "en"),
        ("썰물이 되면 누가 벌거벗고 헤엄쳤는지 알 수 있다.", "en"),
        ("潮水退了，就知道谁没穿裤子。", "zh"),
        ("潮水退了, and we see who", "zh"),
        ("A long English sentence that names 北京 once.", "en"),
        ("Many a line of English text, with 潮, 水 in it, for linguists to read.", "en"),
        ("潮が引いたときに初めて、誰が裸で泳いでいたかがわかる。", "ja"),
        ("น้ำลงตอผุด", "th"),
        ("ນ້ຳຫຼຸດ", "lo"),
        ("ទឹកឡើងត្រីស៊ីស្រមោច", "km"),
        ("ရေကျမှ", "my"),
        ("བོད་སྐད།", "bo"),
        ("12 34 ...", "en"),
        ("", "en"),
    ],
)
def test_the_language_is_told_by_its_letters(text: str, language: str) -> None:
    assert detect_language([text]) == language


def test_only_a_sample_is_looked_at() -> None:
    def texts() -> list[str]:
        return ["english " * 10, "潮水退了" * 1000]

    assert detect_language(texts(), sample=50) == "en"


def test_no_text_at_all_is_taken_for_english() -> None:
    assert detect_language([]) == "en"


@pytest.mark.parametrize(
    ("text", "is_cut"),
    [
        ("潮水 退了 就 知道", True),
        ("潮水 [退了] 就", True),
        ("潮水退了", False),
        ("我用 Python 写", False),
        ("the tide", False),
    ],
)
def test_spaces_between_chinese_words_are_seen(text: str, is_cut: bool) -> None:
    assert is_cut_by_spaces(text) == is_cut
