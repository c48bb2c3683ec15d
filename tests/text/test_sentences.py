import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.text.sentences import LineFinding, LineMeaning, find_line_meaning, split_sentences

claim = settings(derandomize=True, deadline=None)

any_text = st.text() | st.text(st.sampled_from("aAб .!?…。！？；\"'”’」)(“Mr\n\u30001"))

ENGLISH = """\
The tide went out before dawn, and the harbour lay empty. Nobody had seen it so low in thirty years.
Old Mr. Harris walked along the wall with his dog. He did not say a word. The boats had settled into the mud, and
the smell of weed was everywhere.
Some children ran down the steps to look for crabs. Their mother called them back. They pretended not to hear her!
By noon a small crowd had gathered at the bank of the river. Why had it happened? The newspapers spoke of the moon.
Dr. Smith, who had come from the U.S. to study the coast, measured the level with a pole of 3.5 metres. It was
useless, she said, to ask for reasons. A tide is a tide.
In the evening the water returned. It came slowly at first, and then with a rush that shook the pier.
The dog barked at it. Mr. Harris laughed, for the first time in weeks, and went home to his supper.""".replace(
    "\nthe smell", " the smell"
).replace("\nuseless", " useless")

CHINESE = """\
天还没亮，潮水就退了，海港里空空荡荡。三十年来没有人见过这么低的水位。
老王带着他的狗沿着堤岸走。他一句话也没说。渔船都陷在泥里，到处是海草的气味。
几个孩子跑下台阶去找螃蟹。母亲叫他们回来，他们却假装没有听见！
到了中午，河岸上已经聚了不少人。为什么会这样呢？报纸上说是因为月亮。
李教授从上海赶来研究海岸，她用一根三米五的竹竿量了水深。她说：“追问原因没有用。”
傍晚的时候，水又回来了。起初很慢，后来猛地一涌，连码头都摇晃起来。
狗对着水叫个不停。老王几个星期以来第一次笑了，然后回家吃饭去了。"""


def sentence_lines(text: str) -> list[str]:
    return [sentence for line in text.splitlines() for sentence in split_sentences(line)]


def wrapped_lines(text: str, columns: int) -> list[str]:
    return [line for paragraph in text.splitlines() for line in [*textwrap.wrap(paragraph, columns), ""]]


def cut_lines(text: str, columns: int) -> list[str]:
    """Chinese is wrapped anywhere."""
    joined = text.replace("\n", "")
    return [joined[start : start + columns] for start in range(0, len(joined), columns)]


# -- sentences -------------------------------------------------------------------------------------


@claim
@given(any_text)
def test_nothing_but_white_space_is_lost(text: str) -> None:
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


@claim
@given(any_text)
def test_no_sentence_is_blank_or_padded(text: str) -> None:
    assert all(sentence and sentence == sentence.strip() for sentence in split_sentences(text))


@pytest.mark.parametrize(
    "sentences",
    [
        ["The tide went out.", "We saw it."],
        ["Why?", "Because!", "Really?!", "Yes."],
        ["He left...", "She stayed."],
        ['"Go!"', "He went."],
        ["He said “go.”", "She went."],
        ["(It was late.)", "They slept."],
        ["The answer is no.", "We go."],
        ["It was 1999.", "Then came 2000."],
        ["It cost 3.5 m.", "It was cheap."],
        ["Он ушёл.", "Она осталась."],
        ["Ο ήλιος έδυσε.", "Έφυγε."],
        ["Ende.", "„Ja!“ sagte er."],
    ],
)
def test_a_sentence_ends_where_white_space_and_no_small_letter_follows(sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences)) == sentences


@pytest.mark.parametrize(
    "sentence",
    [
        "Mr. Smith met Dr. Jones.",
        "J. K. Rowling wrote it.",
        "J.K. Rowling wrote it.",
        "She joined the U.S. Army.",
        "They sell fruit, e.g. Apples, etc. In baskets.",
        "See fig. 3 and No. 5 on pp. 7 to 9.",
        "It is 3.5 metres.",
        "Wait... what is it?",
        '"Stop!" he cried.',
        "Visit example.com now.",
        "Mieszka np. łódź.",
        "Он жил в г. москва.",
        "No end at all",
    ],
)
def test_a_full_stop_within_a_sentence_does_not_end_it(sentence: str) -> None:
    assert split_sentences(sentence) == [sentence]


@pytest.mark.parametrize(
    "sentences",
    [
        ["潮水退了。", "谁没穿裤子？", "不知道！"],
        ["他说：“走吧。”", "她走了。"],
        ["他说：「走吧！」", "她走了。"],
        ["真的吗？！", "对。"],
        ["他走了。……", "后来呢？"],
        ["“走吧！”。", "好。"],
        ["（天晴了。）", "走。"],
        ["他等了很久……还是没来。", "走吧。"],
        ["这是 3.5 米。", "OK！", "没问题"],
    ],
)
def test_a_chinese_sentence_ends_with_its_closing_quotes_and_without_a_space(sentences: list[str]) -> None:
    assert split_sentences("".join(sentences)) == sentences


@pytest.mark.parametrize("text", ["", " \n\u3000"])
def test_a_blank_text_has_no_sentences(text: str) -> None:
    assert split_sentences(text) == []


@pytest.mark.parametrize("text", [".", "...", "。", "Dr.", "?!"])
def test_marks_alone_are_a_sentence(text: str) -> None:
    assert split_sentences(text) == [text]


@pytest.mark.parametrize("run", [".", "!", "…", "?!", '."', "。", "； ", ". ", ".\n\n", "'"])
def test_a_run_of_200_000_marks_is_read(run: str) -> None:
    text = run * (200_000 // len(run)) + "x"
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


# -- lines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "meaning"),
    [
        (sentence_lines(ENGLISH), "sentence"),
        (sentence_lines(CHINESE), "sentence"),
        (ENGLISH.splitlines(), "paragraph"),
        (CHINESE.splitlines(), "paragraph"),
        ([ENGLISH.replace("\n", " ")], "paragraph"),
        ([CHINESE.replace("\n", "")], "paragraph"),
        (wrapped_lines(ENGLISH, 40), "wrapped"),
        (wrapped_lines(ENGLISH, 70), "wrapped"),
        (textwrap.wrap(ENGLISH, 70), "wrapped"),
        (cut_lines(CHINESE, 35), "wrapped"),
        (["潮水 退了 就 知道 谁 没穿 裤子", "高烧 退了", "臣 退了"], "sentence"),
        (["MKVLAAGIVGLLLAQAPSRRS", "MTEYKLVVVGAGGVGKSALTIQLIQ", "MSD"], "sentence"),
        (["one line, no end"], "sentence"),
        ([], "sentence"),
        (["", "  ", ""], "sentence"),
    ],
)
def test_the_meaning_of_lines_is_found(lines: list[str], meaning: LineMeaning) -> None:
    assert find_line_meaning(lines).meaning == meaning


@pytest.mark.parametrize("columns", [40, 70, 100])
def test_the_width_of_wrapped_lines_is_found(columns: int) -> None:
    assert columns - 5 <= find_line_meaning(textwrap.wrap(ENGLISH, columns)).columns <= columns


def test_lines_that_are_not_wrapped_have_no_width() -> None:
    assert find_line_meaning(ENGLISH.splitlines()) == LineFinding("paragraph", columns=0)


@claim
@given(st.lists(any_text))
def test_blank_lines_change_no_meaning(lines: list[str]) -> None:
    spread = [line for text in lines for line in (text, "", "  ")]
    assert find_line_meaning(spread) == find_line_meaning(lines)
