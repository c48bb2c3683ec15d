from pathlib import Path

import pytest

from lowtide.text.corpus import Corpus

HEADER = "The Project Gutenberg eBook of A Tide\n\nThis eBook is for the use of anyone.\n\n"
LICENCE = "\nUpdated editions will replace the previous one.\n" * 3
BOOK = "CHAPTER I\n\nThe tide went out. The boats\nlay on the sand.\n"
START = "*** START OF THE PROJECT GUTENBERG EBOOK A TIDE ***\n"
END = "*** END OF THE PROJECT GUTENBERG EBOOK A TIDE ***\n"


def read(tmp_path: Path, text: str) -> tuple[list[str], int]:
    file = tmp_path / "book.txt"
    file.write_text(text, encoding="utf-8")
    corpus = Corpus([file], lines="wrapped")
    return [sentence.text for sentence in corpus.sentences()], corpus.num_left_out


SENTENCES = ["CHAPTER I", "The tide went out.", "The boats lay on the sand."]


@pytest.mark.parametrize("this", ["THE", "THIS", "the"])
def test_only_the_book_is_read_and_the_rest_is_counted(tmp_path: Path, this: str) -> None:
    start, end = START.replace("THE", this), END.replace("THE", this)
    sentences, num_left_out = read(tmp_path, HEADER + start + BOOK + end + LICENCE)
    assert sentences == SENTENCES
    assert num_left_out == len((HEADER + start + end + LICENCE).splitlines())


def test_a_book_without_an_end_is_read_to_its_end(tmp_path: Path) -> None:
    assert read(tmp_path, HEADER + START + BOOK) == (SENTENCES, 5)


def test_a_text_without_a_start_is_read_whole(tmp_path: Path) -> None:
    sentences, num_left_out = read(tmp_path, BOOK + END)
    assert sentences[:3] == SENTENCES
    assert len(sentences) > 3
    assert num_left_out == 0


def test_embedding_keeps_every_line(tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_text(HEADER + START + BOOK, encoding="utf-8")
    assert len(list(Corpus([file]).numbered())) == len((HEADER + START + BOOK).splitlines())
