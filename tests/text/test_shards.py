import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.errors import InputError, MissingPathError, ModelError, WriteError
from lowtide.text import shards
from lowtide.text.characters import ByteSpelling
from lowtide.text.corpus import RawSentence
from lowtide.text.shards import CorpusCounts, PreparedCorpus, prepare
from lowtide.text.tokenize import make_tokenizer
from lowtide.text.vocabulary import Vocabulary

claim = settings(derandomize=True, deadline=None, max_examples=20)

tokenizer = make_tokenizer("whitespace", language="en")
tokens = st.text(st.sampled_from("abc\\tn潮\ud800\u2028"), min_size=1, max_size=3).filter(
    lambda token: token.split() == [token]
)
documents = st.lists(st.lists(st.lists(tokens, max_size=5), min_size=1, max_size=5), max_size=5)


def raw(documents: Iterable[Iterable[Iterable[str]]]) -> list[RawSentence]:
    return [
        RawSentence(" ".join(sentence), number == 0, "a.txt", 1)
        for document in documents
        for number, sentence in enumerate(document)
    ]


def numbered(num_documents: int, num_sentences: int, name: str = "d") -> list[list[list[str]]]:
    """Documents of which every sentence has a token of its own, and one that all have."""
    return [
        [["the", f"{name}{document}s{sentence}"] for sentence in range(num_sentences)]
        for document in range(num_documents)
    ]


def held_out_sentences(folder: Path) -> list[list[str]]:
    corpus = PreparedCorpus(folder)
    return corpus.read_sentences(corpus.held_out.tolist())


# -- what comes back -------------------------------------------------------------------------------


@claim
@given(documents)
def test_the_sentences_come_back(tmp_path_factory: pytest.TempPathFactory, documents: list[list[list[str]]]) -> None:
    sentences = [sentence for document in documents for sentence in document if sentence]
    if not sentences:
        return
    folder = tmp_path_factory.getbasetemp() / "come-back"
    counts, _ = prepare(raw(documents), tokenizer, folder)
    assert PreparedCorpus(folder).read_sentences(range(counts.num_sentences)) == sentences


@claim
@given(documents)
def test_everything_is_counted(tmp_path_factory: pytest.TempPathFactory, documents: list[list[list[str]]]) -> None:
    full = [[sentence for sentence in document if sentence] for document in documents]
    full = [document for document in full if document]
    if not full:
        return
    counts, occurrences = prepare(raw(documents), tokenizer, tmp_path_factory.getbasetemp() / "counted")
    everything = [token for document in full for sentence in document for token in sentence]
    assert occurrences == Counter(everything)
    assert counts == CorpusCounts(
        tokenizer=tokenizer.config,
        num_documents=len(full),
        num_sentences=sum(map(len, full)),
        num_tokens=len(everything),
        num_rows=len(set(everything)) + 2,
        longest_sentence=max(len(sentence) for document in full for sentence in document),
        num_held_out=0,
        num_held_out_tokens=0,
        files=counts.files,
    )


@claim
@given(documents)
def test_documents_start_where_they_started(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[list[str]]]
) -> None:
    sizes = [size for document in documents if (size := sum(map(bool, document)))]
    if not sizes:
        return
    folder = tmp_path_factory.getbasetemp() / "documents"
    prepare(raw(documents), tokenizer, folder)
    assert PreparedCorpus(folder).document_starts.tolist() == [sum(sizes[:number]) for number in range(len(sizes))]


def test_some_sentences_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    prepare(raw(numbered(1, 5)), tokenizer, tmp_path)
    assert PreparedCorpus(tmp_path).read_sentences([3, 0, 3]) == [["the", "d0s3"], ["the", "d0s0"], ["the", "d0s3"]]


def test_no_sentences_come_back_as_none(tmp_path: Path) -> None:
    prepare(raw(numbered(1, 5)), tokenizer, tmp_path)
    assert PreparedCorpus(tmp_path).read_sentences([]) == []


def test_a_type_has_one_row_in_order_of_appearance(tmp_path: Path) -> None:
    prepare(raw([[["b", "a", "b"], ["c", "a"]]]), tokenizer, tmp_path)
    assert list(PreparedCorpus(tmp_path).types()) == ["<S>", "</S>", "b", "a", "c"]


def test_boundaries_are_not_counted_as_types(tmp_path: Path) -> None:
    _, occurrences = prepare(raw([[["<S>", "a", "</S>"]]]), tokenizer, tmp_path)
    assert occurrences == {"a": 1}


def test_the_manifest_holds_what_was_counted(tmp_path: Path) -> None:
    counts, _ = prepare(raw(numbered(40, 2)), tokenizer, tmp_path, held_out_share=0.2)
    assert PreparedCorpus(tmp_path).counts == counts


@pytest.mark.parametrize("name", ["tokens.bin", "sentences.bin", "documents.bin", "held_out.bin", "types.txt"])
def test_a_file_that_has_changed_since_is_noticed(name: str, tmp_path: Path) -> None:
    prepare(raw(numbered(40, 2)), tokenizer, tmp_path, held_out_share=0.2)
    corpus = PreparedCorpus(tmp_path)
    corpus.verify()
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(name)):
        corpus.verify()


def test_a_long_text_is_written_in_parts_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_BUFFERED", 3)
    documents = numbered(5, 7)
    prepare(raw(documents), tokenizer, tmp_path)
    assert PreparedCorpus(tmp_path).read_sentences(range(35)) == [s for document in documents for s in document]


def test_a_sentence_of_100_000_tokens_comes_back(tmp_path: Path) -> None:
    sentence = [f"w{number % 1000}" for number in range(100_000)]
    prepare(raw([[sentence]]), tokenizer, tmp_path)
    assert PreparedCorpus(tmp_path).read_sentences([0]) == [sentence]


# -- more types than there is room for ------------------------------------------------------------


@pytest.fixture
def crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[list[str]], dict[str, int]]:
    """A corpus with far more types than are held at once."""
    monkeypatch.setattr(shards, "MAX_LIVE_TYPES", 20)
    sentences = [["often", f"w{number % 50}"] for number in range(200)]
    _, occurrences = prepare(raw([sentences]), tokenizer, tmp_path)
    return tmp_path, sentences, occurrences


def test_forgotten_types_come_back_in_the_text(crowded: tuple[Path, list[list[str]], dict[str, int]]) -> None:
    folder, sentences, _ = crowded
    assert PreparedCorpus(folder).read_sentences(range(200)) == sentences


def test_common_types_are_not_forgotten(crowded: tuple[Path, list[list[str]], dict[str, int]]) -> None:
    assert crowded[2]["often"] == 200


def test_the_types_that_are_held_are_bounded(crowded: tuple[Path, list[list[str]], dict[str, int]]) -> None:
    assert len(crowded[2]) <= 20


def test_boundaries_are_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_LIVE_TYPES", 20)
    prepare(raw([*numbered(1, 100), [["<S>", "</S>"]]]), tokenizer, tmp_path)
    types = Counter(PreparedCorpus(tmp_path).types())
    assert (types["<S>"], types["</S>"]) == (1, 1)


# -- spelling --------------------------------------------------------------------------------------


def spelled(folder: Path) -> tuple[PreparedCorpus, Vocabulary, int]:
    sentences = [["the", "tide", "the", "\ud800"], ["x" * 60], ["held", "out"]]
    _, occurrences = prepare(raw([sentences]), tokenizer, folder, held_out_share=0.01)
    corpus = PreparedCorpus(folder)
    vocabulary = Vocabulary.from_counts(occurrences, num_sentences=2, min_count=2)
    return corpus, vocabulary, corpus.spell(ByteSpelling(), vocabulary)


def test_every_row_is_spelled(tmp_path: Path) -> None:
    corpus, _, _ = spelled(tmp_path)
    assert corpus.characters(50).tolist() == ByteSpelling().char_ids(list(corpus.types())).tolist()


def test_every_row_has_its_target(tmp_path: Path) -> None:
    corpus, vocabulary, _ = spelled(tmp_path)
    assert corpus.targets().tolist() == vocabulary.indices(corpus.types()).tolist() == [0, 1, 3, 2, 2, 2, 2, 2]


def test_truncated_types_are_counted(tmp_path: Path) -> None:
    assert spelled(tmp_path)[2] == 1


def test_spelling_goes_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_BLOCK", 2)
    corpus, _, _ = spelled(tmp_path)
    assert corpus.characters(50).tolist() == ByteSpelling().char_ids(list(corpus.types())).tolist()


# -- held out --------------------------------------------------------------------------------------


def test_about_the_share_asked_for_is_held_out(tmp_path: Path) -> None:
    counts, _ = prepare(raw(numbered(1000, 1)), tokenizer, tmp_path, held_out_share=0.1)
    assert 70 <= counts.num_held_out <= 130


def test_nothing_is_held_out_unless_asked_for(tmp_path: Path) -> None:
    counts, _ = prepare(raw(numbered(100, 1)), tokenizer, tmp_path)
    assert (counts.num_held_out, counts.num_held_out_tokens) == (0, 0)


def test_short_documents_are_held_out_whole(tmp_path: Path) -> None:
    prepare(raw(numbered(100, 3)), tokenizer, tmp_path, held_out_share=0.2)
    parts = Counter(tokens[1].partition("s")[0] for tokens in held_out_sentences(tmp_path))
    assert set(parts.values()) == {3}


def test_a_long_document_is_held_out_in_stretches_of_50(tmp_path: Path) -> None:
    prepare(raw(numbered(1, 1000)), tokenizer, tmp_path, held_out_share=0.2)
    stretches = Counter(int(tokens[1].partition("s")[2]) // 50 for tokens in held_out_sentences(tmp_path))
    assert len(stretches) < 20
    assert set(stretches.values()) == {50}


def test_the_choice_does_not_depend_on_the_other_texts(tmp_path: Path) -> None:
    one, other = numbered(100, 2, "one"), numbered(100, 2, "other")
    chosen = []
    for number, documents in enumerate([one, other + one, one + other]):
        prepare(raw(documents), tokenizer, tmp_path / str(number), held_out_share=0.2)
        held_out = held_out_sentences(tmp_path / str(number))
        chosen.append([sentence for sentence in held_out if sentence[1].startswith("one")])
    assert chosen[0] == chosen[1] == chosen[2] != []


def test_held_out_tokens_are_not_counted_as_seen(tmp_path: Path) -> None:
    documents = numbered(100, 2)
    counts, occurrences = prepare(raw(documents), tokenizer, tmp_path, held_out_share=0.2)
    held_out = Counter(token for sentence in held_out_sentences(tmp_path) for token in sentence)
    everything = Counter(token for document in documents for sentence in document for token in sentence)
    assert occurrences == everything - held_out
    assert counts.num_held_out_tokens == held_out.total() > 0


@pytest.mark.parametrize("share", [0.01, 1.0])
@pytest.mark.parametrize(
    ("num_documents", "num_sentences", "most"),
    [(1, 2, 1), (2, 1, 1), (1, 60, 6), (2, 49, 9), (5, 10, 5), (1, 1000, 100)],
)
def test_of_a_short_text_a_sentence_to_a_tenth_is_held_out(
    tmp_path: Path, share: float, num_documents: int, num_sentences: int, most: int
) -> None:
    counts, _ = prepare(raw(numbered(num_documents, num_sentences)), tokenizer, tmp_path, held_out_share=share)
    assert 1 <= counts.num_held_out <= most


def test_a_text_of_one_sentence_is_not_held_out(tmp_path: Path) -> None:
    counts, _ = prepare(raw(numbered(1, 1)), tokenizer, tmp_path, held_out_share=1.0)
    assert counts.num_held_out == 0


# -- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize("sentences", [[], [[]], [[], [], []]])
def test_a_text_without_a_token_is_an_input_error(tmp_path: Path, sentences: list[list[str]]) -> None:
    with pytest.raises(InputError, match="the text holds no token"):
        prepare(raw([sentences]), tokenizer, tmp_path)


def test_an_unfinished_corpus_cannot_be_opened(tmp_path: Path) -> None:
    prepare(raw(numbered(1, 5)), tokenizer, tmp_path)
    with pytest.raises(InputError):
        prepare([], tokenizer, tmp_path)
    with pytest.raises(MissingPathError):
        PreparedCorpus(tmp_path)


def test_an_unfinished_corpus_is_written_over(tmp_path: Path) -> None:
    prepare(raw(numbered(1, 50)), tokenizer, tmp_path)
    prepare(raw(numbered(1, 5)), tokenizer, tmp_path)
    assert len(PreparedCorpus(tmp_path).sentence_ends) == 5


@pytest.mark.parametrize("name", ["tokens.bin", "sentences.bin", "documents.bin", "held_out.bin"])
def test_a_corpus_with_a_file_missing_is_a_missing_path(tmp_path: Path, name: str) -> None:
    prepare(raw(numbered(1, 5)), tokenizer, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(MissingPathError, match=name):
        PreparedCorpus(tmp_path)


def test_a_place_that_is_a_file_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(WriteError, match="cannot write"):
        prepare(raw(numbered(1, 5)), tokenizer, tmp_path / "file")


@pytest.mark.parametrize(
    "name",
    ["tokens.bin", "sentences.bin", "documents.bin", "held_out.bin", "types.txt", "characters.bin", "targets.bin"],
)
def test_a_full_disk_is_a_write_error_that_says_so(tmp_path: Path, name: str) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no /dev/full")
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(WriteError, match="No space left"):
        spelled(tmp_path)


def test_numbers_on_disk_are_little_endian(tmp_path: Path) -> None:
    prepare(raw([[["a", "b", "a"]]]), tokenizer, tmp_path)
    assert (tmp_path / "tokens.bin").read_bytes() == np.array([2, 3, 2], dtype="<u4").tobytes()
    assert (tmp_path / "sentences.bin").read_bytes() == np.array([3], dtype="<u8").tobytes()
