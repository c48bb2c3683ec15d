from __future__ import annotations

import logging
import lzma
from pathlib import Path

import pytest

from lowtide.errors import InputError, MissingPathError
from lowtide.tasks.columns import ColumnOptions, read_columns, read_tokens

CONLL = """\
-DOCSTART-\t-X-\tO

# a comment
The\tDT\tO
tide\tNN\tB-X
#\t#\tO

out\tRB\tO
"""
CONLLU = """\
# text = Zum Meer
1-2\tZum\t_\t_\t_\t_\t_\t_\t_\t_
1\tZu\tzu\tADP\tAPPR\t_\t3\tcase\t_\t_
2\tdem\tder\tDET\tART\t_\t3\tdet\t_\t_
2.1\tleer\t_\t_\t_\t_\t_\t_\t_\t_
3\tMeer\tMeer\tNOUN\tNN\t_\t0\troot\t_\t_

"""


def write(tmp_path: Path, text: str, name: str = "t.conll") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_read_with_the_lines_of_their_tokens(tmp_path: Path) -> None:
    first, second = read_columns(write(tmp_path, CONLL))
    assert (first.tokens, first.tags) == (["The", "tide", "#"], ["O", "B-X", "O"])
    assert [first.place.token(n).rsplit(":")[-1] for n in range(3)] == ["4", "5", "6"]
    assert (second.tokens, second.tags, str(second.place)) == (["out"], ["O"], f"{tmp_path / 't.conll'}:8")


def test_another_column_of_tags_may_be_chosen(tmp_path: Path) -> None:
    assert read_columns(write(tmp_path, CONLL), ColumnOptions(tag=1))[0].tags == ["DT", "NN", "#"]


def test_columns_may_be_parted_by_spaces(tmp_path: Path) -> None:
    text = "# sent_id = 4\n# X Y\nThe  DT O\n# # O\n\n\n-DOCSTART- -X- O\n\nout RB O"
    assert [sentence.tokens for sentence in read_columns(write(tmp_path, text))] == [["The", "#"], ["out"]]


def test_what_is_left_out_as_a_comment_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "# written by hand\nThe DT O\n# id = 3\n# is this a token\ntide NN B-X\n")
    with caplog.at_level(logging.INFO, logger="lowtide"):
        assert read_columns(path)[0].tokens == ["The", "tide"]
    assert caplog.messages == [f"{path}: 2 lines that begin with # are taken for comments"]


@pytest.mark.parametrize("first", ["", "the O\n"])
def test_a_word_that_begins_with_a_hash_is_a_token(first: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{first}#tide B-X\nout O\n")
    assert read_columns(path)[0].tokens[-2:] == ["#tide", "out"]
    with pytest.raises(InputError, match=r"t\.conll:3: found 1 columns, expected 2"):
        read_columns(write(tmp_path, "out O\nin O\n#tide\n"))


@pytest.mark.parametrize("text", ["#a note\nThe\tO\n#another one\n", "#note\nThe O\n", "#a longer note\nThe O\n"])
def test_notes_before_the_first_row_are_comments(text: str, tmp_path: Path) -> None:
    assert [sentence.tokens for sentence in read_columns(write(tmp_path, text))] == [["The"]]


def test_documents_of_conll_2012_are_parted_by_their_marks(tmp_path: Path) -> None:
    text = "#begin document (bc/cctv/00); part 000\na 0 The DT\n\n#end document\n"
    assert read_columns(write(tmp_path, text), ColumnOptions(token=2))[0].tokens == ["The"]


@pytest.mark.parametrize("count", [2, 25])
def test_tokens_that_are_all_numbers_are_warned_of(count: int, tmp_path: Path) -> None:
    path = write(tmp_path, "".join(f"{number} w{number} O\n" for number in range(count)))
    with pytest.warns(
        UserWarning, match=r"all tokens are numbers: does column 0 hold them\?.* --token-column"
    ) as caught:
        read_columns(path)
    assert len(caught) == 1
    assert read_columns(path, ColumnOptions(token=1))[0].tokens[:2] == ["w0", "w1"]
    assert read_columns(write(tmp_path, "1997 O\nwas O\n"))[0].tokens == ["1997", "was"]


def test_a_token_may_hold_a_space_where_tabs_part_columns(tmp_path: Path) -> None:
    assert read_columns(write(tmp_path, "10 000\tB-N\nx\tO\n"))[0].tokens == ["10 000", "x"]


@pytest.mark.parametrize("token", ["10\u00a0000", "\u3000", "\u2009"])
@pytest.mark.parametrize("separator", [" ", "\t", " \t "])
def test_only_a_blank_or_a_tab_parts_columns(separator: str, token: str, tmp_path: Path) -> None:
    path = write(tmp_path, "".join(f"{word}{separator}O\n" for word in ("The", token, "tide")) + " \t\n")
    [sentence] = read_columns(path)
    assert [word.strip(" ") for word in sentence.tokens] == ["The", token, "tide"]


@pytest.mark.parametrize("tag", [None, "upos", 3])
def test_words_of_conllu_are_read_without_ranges_and_empty_nodes(tmp_path: Path, tag: str | int | None) -> None:
    [sentence] = read_columns(write(tmp_path, CONLLU), ColumnOptions(tag=tag), is_conllu=True)
    assert (sentence.tokens, sentence.tags) == (["Zu", "dem", "Meer"], ["ADP", "DET", "NOUN"])
    assert list(sentence.place.lines) == [3, 4, 6]


def test_a_compressed_file_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "t.conll.xz"
    path.write_bytes(lzma.compress(CONLL.encode()))
    assert len(read_columns(path)) == 2


def test_tokens_alone_need_no_tags(tmp_path: Path) -> None:
    assert list(read_tokens(write(tmp_path, "a\nb\n\nc\n"))) == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tO\nb\n", r"t\.conll:2: found 1 columns, expected 2 as in line 1"),
        ("a O\nb c O\n", r"t\.conll:2: found 3 columns, expected 2 as in line 1"),
        ("a\tO\n\tO\n", r"t\.conll:2: there is no token in column 0"),
        ("a\tO\nb\t\n", r"t\.conll:2: the token has no tag in column 1"),
        ("a\n", r"t\.conll:1: found one column, expected a token and its tag"),
        ("\n\n# nothing\n", r"t\.conll holds no sentence"),
    ],
)
def test_a_broken_row_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_columns(write(tmp_path, text))


def test_a_file_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.conll"
    path.write_bytes("a\tO\n潮\tO\n".encode("gb18030"))
    with pytest.raises(InputError, match=r"t\.conll:2: the byte 0xb3 is not utf-8"):
        read_columns(path)


def test_marks_of_documents_part_sentences_where_no_blank_line_does(tmp_path: Path) -> None:
    path = write(tmp_path, "a O\n-DOCSTART- O\nb B-X\n")
    assert [sentence.tokens for sentence in read_columns(path)] == [["a"], ["b"]]
    text = "#begin document (x)\na 0 The DT\n#end document\n#begin document (y)\na 0 Sea NN\n"
    path = write(tmp_path, text)
    assert [sentence.tokens for sentence in read_columns(path, ColumnOptions(token=2))] == [["The"], ["Sea"]]


def test_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no column 5: the file has 3"):
        read_columns(write(tmp_path, CONLL), ColumnOptions(tag=5))
    for column in (10, 12, -11):
        with pytest.raises(InputError, match=rf"t\.conll:2: there is no column {column}: the file has 10, counted"):
            read_columns(write(tmp_path, CONLLU), ColumnOptions(tag=column), is_conllu=True)
    assert read_columns(write(tmp_path, CONLLU), ColumnOptions(tag=-3), is_conllu=True)[0].tags[1] == "det"
    with pytest.raises(InputError, match=r"CoNLL-U has no column 'upo'\. Did you mean 'upos'"):
        read_columns(write(tmp_path, CONLLU), ColumnOptions(tag="upo"), is_conllu=True)
    with pytest.raises(InputError, match="expected its number"):
        read_columns(write(tmp_path, CONLL), ColumnOptions(tag="ner"))
    with pytest.raises(InputError, match=r"t\.conllu:1: found 2 columns, expected the 10 of CoNLL-U"):
        read_columns(write(tmp_path, "1\ta\n", "t.conllu"), is_conllu=True)
    with pytest.raises(MissingPathError, match="is not there: expected a file of examples"):
        read_columns(tmp_path / "none.conll")


def test_a_token_without_features_has_the_tag_that_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, CONLLU, "t.conllu")
    assert read_columns(path, ColumnOptions("feats"), is_conllu=True)[0].tags == ["_", "_", "_"]
    assert read_columns(write(tmp_path, "a\tB-A0\nb\t_\n"))[0].tags == ["B-A0", "_"]
    path = write(tmp_path, CONLLU.replace("\tADP\t", "\t_\t"), "t.conllu")
    with pytest.raises(InputError, match=r"t\.conllu:3: the token has no tag in column upos"):
        read_columns(path, is_conllu=True)


def test_a_column_of_tokens_that_conllu_has_itself_cannot_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the tokens of CoNLL-U stand in column form: leave --token-column out"):
        read_columns(write(tmp_path, CONLLU, "t.conllu"), ColumnOptions(token=2), is_conllu=True)


def test_a_file_that_is_one_long_sentence_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"all 300 tokens are one sentence: expected a blank line between sentences"):
        read_columns(write(tmp_path, "a\tO\n" * 300))
    assert len(read_columns(write(tmp_path, "a\tO\n" * 300 + "\nb\tO\n"))) == 2
