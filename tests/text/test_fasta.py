from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.errors import InputError
from lowtide.text.corpus import Corpus, RawSentence
from lowtide.text.fasta import ALPHABET, read_records
from lowtide.text.lines import Line

PROTEINS = """\
>sp|P1|SECRET_HUMAN a name
MVLSPADKTN
vkaaw GK
>P2

; an old comment
MK*-
>P3 without residues
>P4
M1K?é
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str = PROTEINS) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def lines(text: str) -> list[Line]:
    return [Line(line, number) for number, line in enumerate(text.splitlines(), start=1)]


def test_a_record_is_a_sentence_and_a_document_and_its_header_is_left_out() -> None:
    assert list(Corpus([write("a.fasta")]).sentences()) == [
        RawSentence("MVLSPADKTNVKAAWGK", True, "a.fasta", 1),
        RawSentence("MK*-", True, "a.fasta", 4),
        RawSentence("M1K?É", True, "a.fasta", 9),
    ]


def test_embedding_numbers_records_and_keeps_those_without_residues() -> None:
    assert [record.text for record in Corpus([write("a.fa")]).numbered()] == ["MVLSPADKTNVKAAWGK", "MK*-", "", "M1K?É"]


@pytest.mark.parametrize("name", ["a.fasta", "a.fa", "a.FASTA", "a.txt", "a"])
def test_fasta_is_known_by_its_name_or_its_first_byte(name: str) -> None:
    corpus = Corpus([write(name)])
    assert len(list(corpus.sentences())) == 3
    assert corpus.is_fasta
    assert corpus.describe() == "1 file, FASTA, one record a sentence"


def test_text_with_a_bracket_at_its_beginning_is_text_if_lines_are_named() -> None:
    corpus = Corpus([write("a.txt", "> quoted\nText.\n")], lines="sentence")
    assert [sentence.text for sentence in corpus.sentences()] == ["> quoted", "Text."]


def test_a_folder_gives_its_fasta_files() -> None:
    Path("proteins").mkdir()
    write("proteins/b.fa", ">x\nMK\n")
    write("proteins/a.fasta", ">y\nVL\n")
    write("proteins/notes.md", "none")
    assert [sentence.text for sentence in Corpus(["proteins"]).sentences()] == ["VL", "MK"]


def test_letters_outside_the_alphabet_stay_in_place_and_are_counted() -> None:
    corpus = Corpus([write("a.fasta")])
    assert corpus.num_outside == 0
    list(corpus.sentences())
    assert corpus.num_outside == 3  # 1 ? É


def test_residues_before_any_header_are_an_error_with_file_and_line() -> None:
    with pytest.raises(InputError, match=r"a\.fasta:2: expected a FASTA header, a line that begins with >"):
        list(Corpus([write("a.fasta", "\nMKV\n>x\nMK\n")]).sentences())


@pytest.mark.parametrize("names", [("a.fasta", "b.txt"), ("b.txt", "a.fasta")])
def test_text_and_fasta_do_not_mix(names: tuple[str, str]) -> None:
    write("a.fasta")
    write("b.txt", "Plain text.\n")
    with pytest.raises(InputError, match="give one kind at a time"):
        list(Corpus(names).sentences())


residues = st.text(alphabet=sorted(ALPHABET), max_size=30)


@settings(derandomize=True, deadline=None)
@given(st.lists(residues, min_size=1, max_size=5), st.integers(1, 10))
def test_no_residue_is_lost_at_any_width_of_lines(sequences: list[str], columns: int) -> None:
    text = "".join(
        f">{number}\n" + "".join(f"{sequence[i : i + columns]}\n" for i in range(0, len(sequence), columns))
        for number, sequence in enumerate(sequences)
    )
    records = list(read_records(lines(text), "x"))
    assert [record.sequence for record in records] == sequences
    assert sum(record.num_outside for record in records) == 0
