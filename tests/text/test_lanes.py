from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lowtide.text.batches import NO_TARGET, Batch, TrainingBatch
from lowtide.text.characters import ByteSpelling
from lowtide.text.corpus import RawSentence
from lowtide.text.lanes import DocumentBatches
from lowtide.text.shards import PreparedCorpus, prepare
from lowtide.text.tokenize import make_tokenizer
from lowtide.text.vocabulary import Vocabulary

SPELLING = ByteSpelling(max_characters=20)
ROW_TOKENS = 7
LANES = 3
LENGTHS = [1, 4, 2, 9, 1, 1, 30, 3, 5, 2, 6, 1, 8]
"""Sentences of every document; a block has 8, so the fourth and the seventh are longer than one."""
DOCUMENTS = [
    [[f"d{d}s{s}t{t}" for t in range(1 + (d + s) % 4)] for s in range(length)] for d, length in enumerate(LENGTHS)
]


class SmallBlocks(DocumentBatches):
    BLOCK = 8
    CHUNK_BLOCKS = 3


def prepared(folder: Path, *, held_out_share: float = 0.0) -> PreparedCorpus:
    sentences = (
        RawSentence(" ".join(sentence), number == 0, "", 0)
        for document in DOCUMENTS
        for number, sentence in enumerate(document)
    )
    counts, occurrences = prepare(
        sentences, make_tokenizer("whitespace", language="en"), folder, held_out_share=held_out_share
    )
    corpus = PreparedCorpus(folder)
    corpus.spell(SPELLING, Vocabulary.from_counts(occurrences, num_sentences=counts.num_sentences))
    return corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    return prepared(tmp_path_factory.mktemp("corpus"))


def batches_of(corpus: PreparedCorpus, *, seed: int = 0) -> SmallBlocks:
    return SmallBlocks(corpus, row_length=SPELLING.row_length, row_tokens=ROW_TOKENS, rows=LANES, seed=seed)


def chunks(batches: DocumentBatches, epoch: int = 0) -> Iterator[list[TrainingBatch]]:
    for chunk in range(batches.num_chunks):
        yield list(batches.chunk(epoch, chunk))


def rows_of(batch: Batch) -> list[list[str]]:
    """The tokens of every row, a bar before each start."""
    names = {257: "<S>", 258: "</S>"}
    types = []
    for row in batch.type_char_ids.tolist():
        ids = row[1 : row.index(260)]
        types.append(names.get(ids[0]) or bytes(i - 1 for i in ids).decode())
    return [
        [f"|{types[i]}" if start else types[i] for i, start in zip(row[:length], starts, strict=False)]
        for row, starts, length in zip(
            batch.type_index.tolist(), batch.starts.tolist(), batch.lengths.tolist(), strict=True
        )
    ]


def backward_of(training: TrainingBatch) -> Batch:
    assert training.backward is not None
    return training.backward


def lanes_read(chunk: list[TrainingBatch]) -> tuple[list[list[str]], list[list[str]]]:
    """The lanes of a chunk, put together from what each direction has read."""
    forward: list[list[str]] = [[] for _ in chunk[0].batch.lengths]
    backward: list[list[str]] = [[] for _ in forward]
    for training in chunk:
        for lane, row in enumerate(rows_of(training.batch)):
            forward[lane] = forward[lane] + row
        for lane, row in enumerate(rows_of(backward_of(training))):
            backward[lane] = row + backward[lane]
    return forward, backward


def documents_in(lane: list[str]) -> list[list[str]]:
    text = " ".join(lane)
    assert text.startswith("|")
    return [document.split() for document in text[1:].split(" |")]


def whole(document: list[list[str]]) -> list[str]:
    return [token for sentence in document for token in ["<S>", *sentence, "</S>"]]


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_both_directions_read_the_same_lanes_each_to_its_end(corpus: PreparedCorpus, epoch: int) -> None:
    for chunk in chunks(batches_of(corpus), epoch):
        forward, backward = lanes_read(chunk)
        assert forward == backward


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_an_epoch_has_every_document_once_and_only_long_ones_are_cut(corpus: PreparedCorpus, epoch: int) -> None:
    read = [
        d for chunk in chunks(batches_of(corpus), epoch) for lane in lanes_read(chunk)[0] for d in documents_in(lane)
    ]
    tokens = Counter(token for document in read for token in document)
    assert tokens == Counter(token for document in DOCUMENTS for token in whole(document))
    for document in DOCUMENTS:
        assert (whole(document) in read) or len(document) > SmallBlocks.BLOCK


def test_cut_documents_are_counted(corpus: PreparedCorpus) -> None:
    read = [d for chunk in chunks(batches_of(corpus)) for lane in lanes_read(chunk)[0] for d in documents_in(lane)]
    num_cut = sum(training.num_cut for chunk in chunks(batches_of(corpus)) for training in chunk)
    assert num_cut == len(read) - len(DOCUMENTS) > 0


def test_a_row_goes_on_until_its_lane_ends(corpus: PreparedCorpus) -> None:
    for chunk in chunks(batches_of(corpus)):
        assert [training.goes_on for training in chunk] == [False] + [True] * (len(chunk) - 1)
        for before, after in pairwise(chunk):
            assert len(after.batch.lengths) <= len(before.batch.lengths)
            # whoever goes on has filled its row
            assert (before.batch.lengths[: len(after.batch.lengths)] == ROW_TOKENS).all()


def test_directions_share_types_and_lengths(corpus: PreparedCorpus) -> None:
    for chunk in chunks(batches_of(corpus)):
        for training in chunk:
            backward = backward_of(training)
            assert training.batch.type_char_ids is backward.type_char_ids
            assert training.batch.lengths.tolist() == backward.lengths.tolist()
            assert len(training.batch.lengths) <= LANES


def test_every_sentence_gives_one_target_more_than_tokens_each_way(corpus: PreparedCorpus) -> None:
    expected = sum(len(sentence) + 1 for document in DOCUMENTS for sentence in document)
    everything = [training for chunk in chunks(batches_of(corpus)) for training in chunk]
    assert sum(int((training.targets.forward != NO_TARGET).sum()) for training in everything) == expected
    assert sum(int((training.targets.backward != NO_TARGET).sum()) for training in everything) == expected
    tokens = sum(len(sentence) for document in DOCUMENTS for sentence in document)
    assert sum(training.num_tokens for training in everything) == tokens


def test_a_target_is_the_neighbour_also_across_two_batches(corpus: PreparedCorpus) -> None:
    targets = corpus.targets()
    index = {type_: int(targets[row]) for row, type_ in enumerate(corpus.types())}
    for chunk in chunks(batches_of(corpus)):
        forward: list[list[int]] = [[] for _ in chunk[0].batch.lengths]
        backward: list[list[int]] = [[] for _ in forward]
        for training in chunk:
            for lane, length in enumerate(training.batch.lengths):
                forward[lane] = forward[lane] + training.targets.forward[lane, :length].tolist()
                backward[lane] = training.targets.backward[lane, :length].tolist() + backward[lane]
        for lane, tokens in enumerate(lanes_read(chunk)[0]):
            plain = [token.removeprefix("|") for token in tokens]
            after = [NO_TARGET if token == "<S>" else index[token] for token in plain[1:]]
            before = [NO_TARGET if token == "</S>" else index[token] for token in plain[:-1]]
            assert forward[lane] == [*after, NO_TARGET]
            assert backward[lane] == [NO_TARGET, *before]


def test_what_is_held_out_is_never_read_and_parts_documents(tmp_path: Path) -> None:
    corpus = prepared(tmp_path, held_out_share=0.3)
    held_out = set(corpus.held_out.tolist())
    assert held_out
    sentences = [sentence for document in DOCUMENTS for sentence in document]
    tokens = Counter(token for n, s in enumerate(sentences) if n not in held_out for token in ["<S>", *s, "</S>"])
    read = [d for chunk in chunks(batches_of(corpus)) for lane in lanes_read(chunk)[0] for d in documents_in(lane)]
    assert Counter(token for document in read for token in document) == tokens


def test_a_chunk_is_a_function_of_seed_epoch_and_number(corpus: PreparedCorpus) -> None:
    def rows(batches: DocumentBatches, epoch: int) -> list[list[list[str]]]:
        return [rows_of(training.batch) for chunk in chunks(batches, epoch) for training in chunk]

    batches = batches_of(corpus)
    first = rows(batches, 0)
    assert rows(batches, 1) != first
    assert rows(batches_of(corpus, seed=1), 0) != first
    assert [rows_of(t.batch) for t in batches.chunk(0, 1)] == [rows_of(t.batch) for t in list(chunks(batches))[1]]
    assert rows(batches, 0) == first


def test_lanes_of_a_chunk_are_of_like_length(corpus: PreparedCorpus) -> None:
    for chunk in chunks(batches_of(corpus)):
        lengths = [len(lane) for lane in lanes_read(chunk)[0]]
        longest_document = max(len(d) for lane in lanes_read(chunk)[0] for d in documents_in(lane))
        assert max(lengths) - min(lengths) <= longest_document
        assert lengths == sorted(lengths, reverse=True)


def test_stretches_end_where_a_document_begins_and_where_a_sentence_is_missing(corpus: PreparedCorpus) -> None:
    # documents begin at sentences 0, 1, 5, 7, 16
    numbers = np.array([0, 1, 2, 4, 5, 6, 7, 15, 16])
    assert [stretch.tolist() for stretch in corpus.document_stretches(numbers)] == [
        [0], [1, 2], [4], [5, 6], [7], [15], [16]
    ]  # fmt: skip  # a document a column
    assert corpus.document_stretches(np.array([], dtype=np.int64)) == []
