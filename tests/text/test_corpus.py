import bz2
import gzip
import io
import logging
import lzma
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.errors import InputError, MissingExtraError, MissingPathError
from lowtide.text.corpus import Corpus, Lines, RawSentence, find_files
from lowtide.text.sentences import LineFinding, LineMeaning

claim = settings(derandomize=True, deadline=None)

TEXT = "The tide goes out.\n\nWe see it: 潮水退了。\n"
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda raw: zstandard.ZstdCompressor().compress(raw),
}
suffixes = pytest.mark.parametrize("suffix", COMPRESSORS)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tests run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, content: str | bytes = TEXT) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def texts(*inputs: str, encoding: str = "utf-8", lines: Lines = "sentence") -> list[str]:
    return [sentence.text for sentence in Corpus(inputs, encoding=encoding, lines=lines).sentences()]


def documents(*inputs: str, lines: Lines = "sentence") -> list[list[str]]:
    found: list[list[str]] = []
    for sentence in Corpus(inputs, lines=lines).sentences():
        if sentence.starts_document:
            found.append([])
        found[-1].append(sentence.text)
    return found


# -- which files -----------------------------------------------------------------------------------


def test_files_come_in_the_order_they_are_named() -> None:
    assert find_files([write("b.txt"), write("a.txt")]) == ["b.txt", "a.txt"]


def test_a_file_may_have_any_name() -> None:
    assert find_files([write("corpus.en"), write("[a].txt")]) == ["corpus.en", "[a].txt"]


def test_a_folder_gives_its_text_files_in_order_of_name(caplog: pytest.LogCaptureFixture) -> None:
    names = ["b.txt", "a.txt", "c/d.text", "c/e.TXT", "f.gz", "g.bz2", "h.xz", "i.zst"]
    for name in [*names, "picture.png", "notes"]:
        write(f"folder/{name}")
    found = [Path(file).relative_to("folder").as_posix() for file in find_files(["folder"])]
    with caplog.at_level(logging.INFO, logger="lowtide"):
        Corpus("folder").log_repairs()
    assert caplog.messages == ["left out    2 files of folder, by their endings no text: .png, notes"]
    assert found == ["a.txt", "b.txt", "c/d.text", "c/e.TXT", "f.gz", "g.bz2", "h.xz", "i.zst"]


@pytest.mark.parametrize(("pattern", "expected"), [("*.txt", 2), ("**/*.txt", 3), ("[a]*", 1), ("sub/?.txt", 1)])
def test_a_glob_gives_the_files_that_match(pattern: str, expected: int) -> None:
    for name in ("a.txt", "b.txt", "sub/c.txt"):
        write(name)
    assert len(find_files([pattern])) == expected


@pytest.mark.parametrize("again", ["a.txt", "./a.txt", "sub/../a.txt", "*.txt", ".", "{here}/a.txt"])
def test_a_file_that_is_named_twice_is_read_once(here: Path, again: str) -> None:
    write("a.txt", "One.")
    (here / "sub").mkdir()
    assert texts("a.txt", again.format(here=here)) == ["One."]


@pytest.mark.skipif(sys.platform == "win32", reason="links want rights there")
def test_a_link_to_a_file_that_is_read_is_not_read() -> None:
    Path("link.txt").symlink_to(write("a.txt", "One."))
    assert texts("a.txt", "link.txt") == ["One."]


@pytest.mark.parametrize("name", ["nothing.txt", "no*.txt", "no/such/folder/", "a\0b", "a.txt/b"])
def test_what_is_not_there_is_a_missing_path(name: str) -> None:
    write("a.txt")
    with pytest.raises(MissingPathError, match=r"is not there\. Expected a text file, a folder, a glob"):
        find_files([name])


@pytest.mark.skipif(sys.platform == "win32", reason="there, such a name is not there")
@pytest.mark.parametrize("text", ["The tide goes out. " * 100, "潮水退了，就知道谁没穿裤子。" * 10, "a/" * 5000])
def test_a_text_in_place_of_a_path_is_a_missing_path_that_does_not_show_it(text: str) -> None:
    with pytest.raises(
        MissingPathError, match=r"a name of [\d,]+ characters is no path .* Expected a text file"
    ) as caught:
        find_files([text])
    assert text[:10] not in str(caught.value)


def test_a_path_that_may_not_be_looked_at_is_a_missing_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(MissingPathError, match=r"a\.txt is no path that can be read: Permission denied"):
        find_files(["a.txt"])


@pytest.mark.parametrize("content", [[], ["picture.png"]])
def test_a_folder_without_text_is_a_missing_path_that_says_what_was_expected(here: Path, content: list[str]) -> None:
    (here / "folder").mkdir()
    for name in content:
        write(f"folder/{name}")
    with pytest.raises(MissingPathError, match=r"the folder folder holds no text file \(expected .*\.txt"):
        find_files(["folder"])


def test_no_input_at_all_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no text was named"):
        find_files([])


# -- what is in them -------------------------------------------------------------------------------


@suffixes
def test_a_compressed_file_reads_as_the_plain_one(suffix: str) -> None:
    write(f"a{suffix}", COMPRESSORS[suffix](TEXT.encode()))
    assert texts(f"a{suffix}") == texts(write("a.txt")) != []


@suffixes
def test_a_suffix_may_be_in_capitals(suffix: str) -> None:
    assert texts(write(f"A{suffix.upper()}", COMPRESSORS[suffix](b"One."))) == ["One."]


@suffixes
def test_compressed_files_that_were_joined_are_read_to_the_end(suffix: str) -> None:
    parts = [b"".join(b"line %d of part %d\n" % (line, part) for line in range(20_000)) for part in range(3)]
    write(f"a{suffix}", b"".join(map(COMPRESSORS[suffix], parts)))
    assert len(texts(f"a{suffix}")) == 60_000


@suffixes
@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_truncated_file_is_an_error_that_names_it(suffix: str, share: float) -> None:
    whole = COMPRESSORS[suffix](b"".join(b"%d\n" % (line * line) for line in range(20_000)))
    write(f"a{suffix}", whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=rf"a{re.escape(suffix)} cannot be read: .*Is it damaged\?"):
        texts(f"a{suffix}")


@suffixes
def test_a_file_that_is_not_what_its_name_says_is_an_error_that_names_it(suffix: str) -> None:
    with pytest.raises(InputError, match=rf"a{re.escape(suffix)} cannot be read: .*Is it damaged\?"):
        texts(write(f"a{suffix}", TEXT))


def test_a_zst_file_without_the_library_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"lowtide\[zstd\]"):
        texts(write("a.zst", COMPRESSORS[".zst"](b"One.")))


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(write("a.txt", "One.\nTwo.")).open(encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert texts("-") == ["One.", "Two."]


def test_standard_input_that_cannot_be_read_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("One."))
    with pytest.raises(InputError, match="standard input cannot be read"):
        texts("-")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_any_way(end: str) -> None:
    assert texts(write("a.txt", end.join(["One.", "", "Two.", ""]))) == ["One.", "Two."]


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "utf8", "utf_8", "u8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_part_of_the_text(encoding: str) -> None:
    assert texts(write("a.txt", b"\xef\xbb\xbfOne."), encoding=encoding) == ["One."]


@pytest.mark.parametrize("encoding", ["gb18030", "gbk", "utf-16", "utf-16-le", "big5"])
def test_a_file_is_read_in_the_encoding_that_is_named(encoding: str) -> None:
    assert texts(write("a.txt", "潮水\n退了".encode(encoding)), encoding=encoding) == ["潮水", "退了"]


@pytest.mark.parametrize("encoding", ["utf-9", "rot13", ""])
def test_an_unknown_encoding_is_an_input_error(encoding: str) -> None:
    with pytest.raises(InputError, match="unknown encoding"):
        texts(write("a.txt"), encoding=encoding)


@pytest.mark.parametrize(
    ("text", "encoding", "advice"),
    [
        ("潮水退了，就知道谁没穿裤子。", "gb18030", "It reads as gb18030: try --encoding gb18030"),
        ("他说：“是的。” " + "with a long English text around it " * 5, "gb18030", "try --encoding gb18030"),
        ("Le café était à côté de la forêt.", "cp1252", "It reads as cp1252: try --encoding cp1252"),
        ("Er sagte: “Die Straßen sind größer.”", "cp1252", "try --encoding cp1252"),
        ("潮水退了。", "utf-16", "It reads as utf-16: try --encoding utf-16"),
        ("Когда уходит отлив, видно, кто купался голым.", "cp1251", r"Name it with --encoding\."),
        ("썰물이 되면 누가 벌거벗고 헤엄쳤는지 알 수 있다.", "euc-kr", r"Name it with --encoding\."),
        ("潮水退了，就知道誰沒穿褲子。", "big5", r"Name it with --encoding\."),
    ],
)
def test_a_wrong_encoding_names_file_line_and_the_likely_one(text: str, encoding: str, advice: str) -> None:
    write("a.txt", f"{text}\n{text}\n".encode(encoding))
    with pytest.raises(InputError, match=rf"a\.txt:1: the byte 0x[0-9a-f]{{2}} is not utf-8\. ?.*{advice}"):
        texts("a.txt")


@claim
@given(
    before=st.lists(st.sampled_from(["One.\n", "\n", "A longer line of text.\r\n", "潮水退了。\n", "x" * 3000 + "\n"])),
    amid=st.sampled_from(["", "so ", "潮" * 1000]),
)
def test_the_line_of_a_wrong_byte_is_exact(before: list[str], amid: str) -> None:
    write("a.txt", "".join([*before, amid]).encode() + b"\xe9t\n" + b"more\n" * 5000)
    with pytest.raises(InputError, match=rf"^a\.txt:{len(before) + 1}: the byte 0xe9 "):
        texts("a.txt")


def test_a_text_without_the_mark_of_its_encoding_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"a\.txt is not utf-16 .*Name it with --encoding"):
        texts(write("a.txt"), encoding="utf-16")


@pytest.mark.parametrize(
    "content", [b"One.\n\x7fELF\0\0", b"One.\n" + bytes(range(256)), "One.\nTwo".encode("utf-16-le")]
)
def test_a_binary_file_is_an_error_that_says_so(content: bytes) -> None:
    with pytest.raises(InputError, match=r"a\.txt:\d+ holds a zero byte: it is no text file in utf-8"):
        texts(write("a.txt", content))


@pytest.mark.parametrize("content", ["", "\n\n  \n\t\n", "\u3000\n"])
@pytest.mark.parametrize("lines", ["auto", "sentence", "paragraph", "wrapped"])
def test_a_blank_file_has_no_sentences(content: str, lines: Lines) -> None:
    assert texts(write("a.txt", content), lines=lines) == []


def test_no_error_shows_the_text() -> None:
    write("a.txt", "Patient Harris, caf\xe9".encode("latin-1"))
    with pytest.raises(InputError) as caught:
        texts("a.txt")
    assert "Harris" not in str(caught.value)


# -- lines, sentences, documents -------------------------------------------------------------------


def test_every_line_is_given_as_it_is_and_blank_ones_too() -> None:
    write("a.txt", " One. Two.\r\n\nThree.\n")
    assert [line.text for line in Corpus(["a.txt"]).numbered()] == [" One. Two.", "", "Three."]


@pytest.mark.parametrize("lines", ["sentence", "paragraph", "wrapped"])
def test_a_blank_line_parts_documents(lines: Lines) -> None:
    write("a.txt", "\n\nOne.\nTwo.\n\n \n\nThree.\n")
    assert documents("a.txt", lines=lines) == [["One.", "Two."], ["Three."]]


def test_the_end_of_a_file_parts_documents() -> None:
    assert documents(write("a.txt", "One.\nTwo."), write("b.txt", "Three.")) == [["One.", "Two."], ["Three."]]


def test_a_line_may_be_a_sentence() -> None:
    assert texts(write("a.txt", "  One. Two. \nThree"), lines="sentence") == ["One. Two.", "Three"]


def test_a_line_may_be_a_paragraph() -> None:
    assert texts(write("a.txt", "One. Two.\nThree"), lines="paragraph") == ["One.", "Two.", "Three"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The tide\ngoes out. We\n  see it.\n\nAnd so\non.", ["The tide goes out.", "We see it.", "And so on."]),
        ("潮水\n退了。就知\n道。", ["潮水退了。", "就知道。"]),
        ("用 Python\n写", ["用 Python 写"]),
    ],
)
def test_wrapped_lines_are_joined_with_a_space_but_not_between_chinese(text: str, expected: list[str]) -> None:
    assert texts(write("a.txt", text), lines="wrapped") == expected


def test_a_sentence_knows_its_file_and_line() -> None:
    write("a.txt", "\nOne. Two.\n\nThree.")
    assert list(Corpus(["a.txt"], lines="paragraph").sentences()) == [
        RawSentence("One.", True, "a.txt", 2),
        RawSentence("Two.", False, "a.txt", 2),
        RawSentence("Three.", True, "a.txt", 4),
    ]


LAID = {
    "sentence": "The tide goes out before dawn.\nNobody saw it.\nThe boats lie in the mud, and wait.\n",
    "paragraph": "The tide goes out. Nobody saw it. The boats wait.\nThen it comes back. We laugh. We go home.\n",
    "wrapped": "The tide went out before dawn, and the harbour lay\n"
    "empty. Nobody had seen it so low in thirty years of\n"
    "walking there, and old Harris, who had walked there\n"
    "longer than others, did not say a word about it to\n"
    "us.\n",
}


@pytest.mark.parametrize("meaning", LAID)
def test_auto_finds_what_a_line_is(meaning: LineMeaning) -> None:
    assert texts(write("a.txt", LAID[meaning]), lines="auto") == texts("a.txt", lines=meaning)


def test_auto_looks_at_every_file() -> None:
    corpus = Corpus([write(f"{meaning}.txt", text) for meaning, text in LAID.items()])
    list(corpus.sentences())
    assert [finding.meaning for finding in corpus.findings.values()] == list(LAID)


def test_auto_loses_no_line_of_a_long_file() -> None:
    assert len(texts(write("a.txt", "One line of many.\n" * 5000), lines="auto")) == 5000


def test_a_finding_that_is_given_is_not_looked_for() -> None:
    corpus = Corpus([write("a.txt", LAID["wrapped"])], lines="sentence")
    list(corpus.sentences())
    assert corpus.findings == {"a.txt": LineFinding("sentence")}


@pytest.mark.parametrize(
    ("laid", "lines", "told"),
    [
        (["sentence"], "auto", "1 file, one sentence a line"),
        (["paragraph"], "auto", "1 file, paragraphs, split into sentences"),
        (["wrapped"], "auto", "1 file, wrapped at 51 columns, joined to sentences"),
        (["sentence"], "wrapped", "1 file, wrapped lines, joined to sentences"),
        (["sentence", "sentence"], "auto", "2 files, one sentence a line"),
        (
            ["paragraph", "sentence"],
            "auto",
            "2 files, paragraphs, split into sentences, one sentence a line",
        ),
    ],
)
def test_what_was_found_is_told(laid: list[str], lines: Lines, told: str) -> None:
    corpus = Corpus([write(f"{number}.txt", LAID[meaning]) for number, meaning in enumerate(laid)], lines=lines)
    list(corpus.sentences())
    assert corpus.describe() == told


def test_the_size_is_that_on_disk() -> None:
    packed = gzip.compress(TEXT.encode())
    assert Corpus([write("a.txt"), write("b.gz", packed)]).size_bytes() == len(TEXT.encode()) + len(packed)


def test_the_size_of_standard_input_is_not_known() -> None:
    assert Corpus([write("a.txt"), "-"]).size_bytes() is None
