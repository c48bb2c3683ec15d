from __future__ import annotations

from pathlib import Path

import pytest

from lowtide.errors import InputError
from lowtide.tasks.columns import ColumnOptions
from lowtide.tasks.reading import read_pairs, read_tagged, read_texts, read_unlabelled, read_unlabelled_pairs
from lowtide.tasks.rows import RowOptions


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def texts(path: Path, options: RowOptions | None = None) -> list[tuple[object, str, str]]:
    return [(row.text, row.label, str(row.place).rsplit(":")[-1]) for row in read_texts(path, options)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", "good\tHigh tide.\n\nbad\tLow tide.\n"),
        ("t.txt", "good\tHigh tide.\n\nbad\tLow tide.\n"),
        ("t.csv", "good,High tide.\n\nbad,Low tide.\n"),
        ("t.jsonl", '{"text": "High tide.", "label": "good"}\n\n{"label": "bad", "text": "Low tide."}\n'),
    ],
)
def test_labelled_texts_are_read_from_every_format(tmp_path: Path, name: str, text: str) -> None:
    assert texts(write(tmp_path, name, text)) == [("High tide.", "good", "1"), ("Low tide.", "bad", "3")]


def test_the_first_line_may_name_the_columns_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path, "t.tsv", "id\tSentence\tlabel\n7\tHigh tide.\tgood\n")
    assert texts(path) == [("High tide.", "good", "2")]


def test_columns_may_be_named_by_the_user(tmp_path: Path) -> None:
    path = write(tmp_path, "t.tsv", "High tide.\tx\tgood\n")
    assert texts(path, RowOptions(columns=("text", "-", "label"))) == [("High tide.", "good", "1")]
    with pytest.raises(InputError, match="found the column 'body', expected label"):
        texts(path, RowOptions(columns=("body", "-", "label")))


def test_quoted_fields_of_csv_hold_commas_and_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", 'label,text\ngood,"High, ""very""\nhigh"\nbad,low\n')
    assert texts(path) == [('High, "very"\nhigh', "good", "2"), ("low", "bad", "4")]


def test_quotation_marks_are_letters_in_tsv_unless_fields_are_quoted(tmp_path: Path) -> None:
    plain = write(tmp_path, "t.tsv", 'good\t"High tide" he said\nbad\t"low\n')
    assert [text for text, _, _ in texts(plain)] == ['"High tide" he said', '"low']
    written = write(tmp_path, "s.tsv", 'good\t"He said ""high"""\n')
    with pytest.warns(UserWarning, match=r"s\.tsv:1: a field stands in quotation marks"):
        assert texts(written)[0][0] == '"He said ""high"""'
    assert texts(written, RowOptions(quoted=True))[0][0] == 'He said "high"'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.tsv", 'a\tb\nc\t"d\ne"\n', r"t\.tsv:3: found 1 columns, expected 2 as in line 1; a quotation .* --quoted"),
        ("t.tsv", "a\tb\nc\td\te\n", r"t\.tsv:2: found 3 columns, expected 2 as in line 1"),
        ("t.csv", 'a,"""b"\nc,d,e\n', r"t\.csv:2: found 3 columns, expected 2 as in line 1$"),
        ("t.jsonl", '{"text": "x", "label": "\\udfff"}\n', r"t\.jsonl:1: label holds '\\udfff', which is no sign"),
        ("t.tsv", "label\ttext\nc\n", r"t\.tsv:2: found 1 columns, expected 2 as in line 1"),
        ("t.tsv", "a\n", r"t\.tsv:1: found 1 columns, and no names"),
        ("t.tsv", "a\tb\nc\t \n", r"t\.tsv:2: text is empty"),
        ("t.tsv", "a\tb\n\td\n", r"t\.tsv:2: label is empty"),
        ("t.csv", 'a,b\nc,"d\ne,f\n', r"t\.csv:2: the quotation marks of the row do not close"),
        ("t.jsonl", '{"label": "x", "text": "y"}\n{\n', r"t\.jsonl:2: the line is not JSON"),
        ("t.jsonl", "[1]\n", r"t\.jsonl:1: found list, expected a JSON object a line"),
        ("t.jsonl", '{"label": "x"}\n', r"t\.jsonl:1: there is no text; found label"),
        ("t.jsonl", '{"label": "x", "text": 3}\n', r"t\.jsonl:1: text is int, expected a text"),
        ("t.tsv", "\n", r"t\.tsv holds no example"),
    ],
)
def test_a_broken_row_is_named_with_its_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_texts(write(tmp_path, name, text))


def test_a_table_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes("a\tb\n好\t退潮了\n".encode("gb18030"))
    with pytest.raises(InputError, match=r"t\.tsv:2: the byte"):
        read_texts(path)
    assert texts(path, RowOptions(encoding="gb18030"))[1][0] == "退潮了"


def test_pairs_have_a_label_or_a_score(tmp_path: Path) -> None:
    path = write(tmp_path, "t.tsv", "score\tlabel\tsentence1\tsentence2\n3.6\tNO\tone\ttwo\n")
    assert [(p.first, p.second, p.answer) for p in read_pairs(path)] == [("one", "two", "NO")]
    assert read_pairs(path, answer="score")[0].answer == 3.6
    bad = write(tmp_path, "b.tsv", "score\tsentence1\tsentence2\nhigh\tone\ttwo\n")
    with pytest.raises(InputError, match=r"b\.tsv:2: score is no number"):
        read_pairs(bad, answer="score")
    with pytest.raises(InputError, match=r"b\.tsv:2: there is no label; found score, sentence1, sentence2"):
        read_pairs(bad)


def test_tagged_sentences_are_read_from_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", '{"tokens": ["a", "b"], "tags": ["O", "B-X"]}\n')
    assert read_tagged(path)[0].tags == ["O", "B-X"]
    bad = write(tmp_path, "b.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}\n')
    with pytest.raises(InputError, match=r"b\.jsonl:1: found 2 tokens and 1 tags"):
        read_tagged(bad)
    with pytest.raises(InputError, match="expected one token a line"):
        read_tagged(write(tmp_path, "t.tsv", "a\tO\n"))


def test_what_is_to_be_labelled_is_read_from_every_format(tmp_path: Path) -> None:
    assert list(read_unlabelled(write(tmp_path, "t.txt", "one\n\ntwo\n"))) == ["one", "", "two"]
    assert list(read_unlabelled(write(tmp_path, "t.conll", "a\tO\nb\tO\n"))) == [["a", "b"]]
    assert list(read_unlabelled(write(tmp_path, "t.tsv", "x\tone\n"))) == ["one"]
    assert list(read_unlabelled(write(tmp_path, "t.jsonl", '{"tokens": ["a"]}\n'))) == [["a"]]
    assert list(read_unlabelled_pairs(write(tmp_path, "t.txt", "one\ttwo\n"))) == [("one", "two")]
    assert list(read_unlabelled_pairs(write(tmp_path, "t.tsv", "x\tone\ttwo\n"))) == [("one", "two")]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("the\tO\ntide\tB-X\n\nout\tO\n", "tsv or conll"),
        ("good\tHigh tide.\nbad\tLow.\ngood\tOut again.\n", "tsv or conll"),
        ("-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n", "conll"),
    ],
)
def test_a_text_that_looks_like_a_table_is_warned_of_unless_its_kind_is_named(
    text: str, kinds: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "eng.testb", text)
    with pytest.warns(UserWarning, match=rf"eng\.testb: its lines have \d columns each.* --format {kinds}, else"):
        lines = list(read_unlabelled(path))
    assert lines == text.splitlines() == list(read_unlabelled(path, kind="text"))


@pytest.mark.parametrize("text", ["Ann Lee\nBob Ray\nCid Poe\n", "one\n\ntwo\nsix\n", "a b\n\nc d e\nf g\n", ""])
def test_a_text_is_no_table(text: str, tmp_path: Path) -> None:
    assert list(read_unlabelled(write(tmp_path, "t.txt", text))) == text.splitlines()


def test_a_file_is_read_as_what_it_is_said_to_be(tmp_path: Path) -> None:
    path = write(tmp_path, "eng.testb", "1 EU B-ORG\n2 rejects O\n")
    columns = ColumnOptions(token=1)
    assert list(read_unlabelled(path, kind="conll", columns=columns)) == [["EU", "rejects"]]
    table = write(tmp_path, "test.txt", "x\tone\ttwo\n")
    assert list(read_unlabelled_pairs(table, kind="tsv")) == [("one", "two")]
    with pytest.raises(InputError, match=r"test\.txt:1: found 3 columns, expected two texts .* --format tsv"):
        list(read_unlabelled_pairs(table))
    with pytest.raises(InputError, match=r"is read as text, where no column holds tokens"):
        read_unlabelled(path, columns=columns)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", "label\tclass\ttext\n1\t2\tone\n"),
        ("t.jsonl", '{"gold_label": "1", "label": "2", "text": "one"}\n'),
    ],
)
def test_columns_that_mean_the_same_are_refused_by_whoever_asks_for_them(name: str, text: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(
        InputError, match=r"t\.\w+:[12]: found several columns of the label, (label, class|gold_label, label):"
    ):
        read_texts(path)
    assert list(read_unlabelled(path)) == ["one"]


def test_whoever_names_the_columns_chooses_among_those_that_mean_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, "t.tsv", "label\tclass\ttext\n1\t2\tone\n")
    assert texts(path, RowOptions(columns=("-", "label", "text"))) == [("one", "2", "2")]


@pytest.mark.parametrize("text", ['"good"\t"High tide"\n', 'good\t"so ""high"""\n'])
def test_quotation_marks_of_a_spreadsheet_are_warned_of(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, "t.tsv", text)
    with pytest.warns(UserWarning, match=r"t\.tsv:1: a field stands in quotation marks"):
        texts(path)
    assert texts(path, RowOptions(quoted=True))[0][1] == "good"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"tokens": ["a", "b"], "tags": [0, 1]}', "of tags, item 0 is int, expected a text"),
        ('{"tokens": ["a", "b"], "ner_tags": [0, 1]}', "there is no tags; found tokens, ner_tags"),
        ('{"tokens": [], "tags": []}', "tokens is empty"),
        ('{"tokens": "a b", "tags": ["O", "O"]}', "tokens is str, expected a list of texts"),
        ('{"tokens": ["a", ""], "tags": ["O", "O"]}', "of tokens, item 1 is empty"),
        ('{"tokens": ["a", "b"], "tags": ["O", ""]}', "of tags, item 1 is empty"),
    ],
)
def test_what_is_wrong_with_tokens_and_tags_is_said(row: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"t\.jsonl:1: {message}$"):
        read_tagged(write(tmp_path, "t.jsonl", row + "\n"))


@pytest.mark.parametrize("name", ["t.conll", "t.conllu"])
def test_a_token_a_line_is_no_text_a_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected an example a line"):
        read_texts(write(tmp_path, name, "a\tO\n"))


def test_a_table_in_which_one_column_is_named_has_to_be_explained(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "id,text\n1,one\n2,two\n")
    with pytest.raises(InputError, match=r"t\.csv:1: one column is named, and the others are not"):
        read_texts(path)
    assert list(read_unlabelled(path, RowOptions(("-", "text")))) == ["text", "one", "two"]


def test_one_named_column_is_enough_where_it_is_the_only_one(tmp_path: Path) -> None:
    assert list(read_unlabelled(write(tmp_path, "t.csv", "text\none\ntwo\n"))) == ["one", "two"]


def test_a_row_with_text_and_tokens_gives_what_is_wanted(tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", '{"tokens": ["a", "b"], "text": "a b!"}\n')
    assert list(read_unlabelled(path, wants="tokens")) == [["a", "b"]]
    assert list(read_unlabelled(path)) == ["a b!"]


def test_a_field_may_be_long(tmp_path: Path) -> None:
    long = "a" * 200_000
    assert read_texts(write(tmp_path, "t.csv", f"x,{long}\n"))[0].text == long


def test_what_an_error_says_of_a_broken_row_is_no_text(tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", '{"tokens": "Patient Smith", "tags": ["O"]}\n')
    with pytest.raises(InputError) as found:
        read_tagged(path)
    assert "Smith" not in str(found.value)


def test_a_folder_is_no_file_of_examples(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_texts(tmp_path)
