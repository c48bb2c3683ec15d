from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lowtide.text.batches import (
    NO_TARGET,
    Batch,
    PackedBatches,
    Targets,
    TrainingBatch,
    batch_of_documents,
    group_by_length,
    pack,
    predict_neighbours,
)
from lowtide.text.characters import ByteSpelling
from lowtide.text.corpus import RawSentence
from lowtide.text.shards import END_ROW, START_ROW, PreparedCorpus, prepare
from lowtide.text.tokenize import Sentence, make_tokenizer
from lowtide.text.vocabulary import END_INDEX, START_INDEX, Vocabulary

claim = settings(derandomize=True, deadline=None)

SPELLING = ByteSpelling(max_characters=20)
NUM_SENTENCES = 150
ROW_TOKENS = 12
sentence_lists = st.lists(
    st.lists(st.text(max_size=3).filter(lambda t: t not in ("<S>", "</S>")), max_size=6), max_size=6
)


def read_types(batch: Batch) -> list[str]:
    """The types of a batch, read back from how they are spelled."""
    names = {257: "<S>", 258: "</S>"}
    types = []
    for row in batch.type_char_ids.tolist():
        ids = row[1 : row.index(260)]
        types.append(names.get(ids[0]) if ids and ids[0] in names else bytes(i - 1 for i in ids).decode())
    return [type_ or "" for type_ in types]


def read_rows(batch: Batch) -> list[list[str]]:
    """The rows of a batch as tokens."""
    types = read_types(batch)
    return [
        [types[i] for i in row[:length]]
        for row, length in zip(batch.type_index.tolist(), batch.lengths.tolist(), strict=True)
    ]


def read_pieces(batch: Batch) -> list[list[str]]:
    """What stands between one start and the next."""
    pieces: list[list[str]] = []
    for row, starts in zip(read_rows(batch), batch.starts.tolist(), strict=True):
        for token, is_start in zip(row, starts, strict=False):
            if is_start:
                pieces.append([])
            pieces[-1].append(token)
    return pieces


# -- one sentence a row ----------------------------------------------------------------------------


@claim
@given(sentence_lists)
def test_a_row_is_a_sentence_between_its_boundaries(sentences: list[Sentence]) -> None:
    batch, types = batch_of_documents([[s] for s in sentences], SPELLING)
    rows = [
        [types[i] for i in row[:length]]
        for row, length in zip(batch.type_index.tolist(), batch.lengths.tolist(), strict=True)
    ]
    assert rows == [["<S>", *sentence, "</S>"] for sentence in sentences]


@claim
@given(sentence_lists)
def test_every_type_is_spelled_once(sentences: list[Sentence]) -> None:
    batch, types = batch_of_documents([[s] for s in sentences], SPELLING)
    assert len(set(types)) == len(types)
    assert batch.type_char_ids.tolist() == SPELLING.char_ids(types).tolist()


@claim
@given(sentence_lists)
def test_a_state_starts_at_the_first_position_of_a_row_only(sentences: list[Sentence]) -> None:
    batch, _ = batch_of_documents([[s] for s in sentences], SPELLING)
    assert batch.starts[:, 0].all()
    assert not batch.starts[:, 1:].any()


@claim
@given(sentence_lists)
def test_positions_are_tokens_and_boundaries(sentences: list[Sentence]) -> None:
    batch, _ = batch_of_documents([[s] for s in sentences], SPELLING)
    assert batch.num_positions == sum(len(sentence) + 2 for sentence in sentences)


def test_no_sentences_are_a_batch_without_rows() -> None:
    batch, types = batch_of_documents([], SPELLING)
    assert (len(batch.lengths), batch.num_positions, types) == (0, 0, ["<S>", "</S>"])


# -- groups ----------------------------------------------------------------------------------------


@claim
@given(st.lists(st.integers(0, 50)), st.integers(1, 200))
def test_groups_hold_every_number_once(lengths: list[int], max_positions: int) -> None:
    numbers = [number for group in group_by_length(lengths, max_positions) for number in group]
    assert sorted(numbers) == list(range(len(lengths)))


@claim
@given(st.lists(st.integers(0, 50)), st.integers(1, 200))
def test_a_group_is_within_its_budget_or_one_row(lengths: list[int], max_positions: int) -> None:
    for group in group_by_length(lengths, max_positions):
        longest = max(lengths[number] for number in group)
        assert len(group) == 1 or len(group) * longest <= max_positions


@claim
@given(st.lists(st.integers(0, 50)), st.integers(1, 200))
def test_groups_go_from_long_to_short(lengths: list[int], max_positions: int) -> None:
    ordered = [lengths[number] for group in group_by_length(lengths, max_positions) for number in group]
    assert ordered == sorted(lengths, reverse=True)


@claim
@given(st.lists(st.integers(0, 50)), st.integers(1, 200))
def test_no_group_could_take_the_next_row(lengths: list[int], max_positions: int) -> None:
    for group, following in pairwise(group_by_length(lengths, max_positions)):
        assert following
        assert (len(group) + 1) * lengths[group[0]] > max_positions


# -- targets ---------------------------------------------------------------------------------------


def targets_by_hand(batch: Batch, type_targets: Sequence[int]) -> tuple[list[list[int]], list[list[int]]]:
    rows, steps = batch.type_index.shape
    forward = [[NO_TARGET] * steps for _ in range(rows)]
    backward = [[NO_TARGET] * steps for _ in range(rows)]
    for row in range(rows):
        for step in range(1, int(batch.lengths[row])):
            if not batch.starts[row, step]:
                forward[row][step - 1] = type_targets[batch.type_index[row, step]]
                backward[row][step] = type_targets[batch.type_index[row, step - 1]]
    return forward, backward


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    rows, steps, types = draw(st.integers(1, 4)), draw(st.integers(1, 8)), 5
    size = rows * steps
    type_index = draw(st.lists(st.integers(0, types - 1), min_size=size, max_size=size))
    starts = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    lengths = draw(st.lists(st.integers(1, steps), min_size=rows, max_size=rows))
    return Batch(
        np.zeros((types, 3), dtype=np.int32),
        np.array(type_index).reshape(rows, steps),
        np.array(starts).reshape(rows, steps),
        np.array(lengths),
    )


@claim
@given(batches())
def test_a_target_is_the_neighbour_unless_a_state_starts_between(batch: Batch) -> None:
    type_targets = [10, 11, 12, 13, 14]
    targets = predict_neighbours(batch, np.array(type_targets))
    assert (targets.forward.tolist(), targets.backward.tolist()) == targets_by_hand(batch, type_targets)


@claim
@given(batches())
def test_no_prediction_crosses_a_start(batch: Batch) -> None:
    targets = predict_neighbours(batch, np.arange(5))
    assert (targets.backward[batch.starts] == NO_TARGET).all()
    assert (targets.forward[:, :-1][batch.starts[:, 1:]] == NO_TARGET).all()


@claim
@given(batches())
def test_nothing_is_predicted_beyond_the_end_of_a_row(batch: Batch) -> None:
    targets = predict_neighbours(batch, np.arange(5))
    steps = np.arange(batch.type_index.shape[1])
    assert (targets.forward[steps >= batch.lengths[:, None] - 1] == NO_TARGET).all()
    assert (targets.backward[steps >= batch.lengths[:, None]] == NO_TARGET).all()


@claim
@given(sentence_lists)
def test_a_sentence_gives_each_direction_one_target_more_than_it_has_tokens(sentences: list[Sentence]) -> None:
    batch, types = batch_of_documents([[s] for s in sentences], SPELLING)
    targets = predict_neighbours(batch, np.arange(len(types)))
    expected = [len(sentence) + 1 for sentence in sentences]
    assert (targets.forward != NO_TARGET).sum(axis=1).tolist() == expected
    assert (targets.backward != NO_TARGET).sum(axis=1).tolist() == expected


def test_the_directions_predict_what_stands_beside() -> None:
    batch, types = batch_of_documents([[["a", "b"]]], SPELLING)
    targets = predict_neighbours(batch, np.arange(len(types)))  # <S> 0, </S> 1, a 2, b 3
    assert targets.forward.tolist() == [[2, 3, 1, NO_TARGET]]
    assert targets.backward.tolist() == [[NO_TARGET, 0, 2, 3]]


# -- parts -----------------------------------------------------------------------------------------


def spelled(batch: Batch, row: int) -> list[int]:
    return [int(batch.type_char_ids[type_, 0]) for type_ in batch.type_index[row, : batch.lengths[row]]]


@claim
@given(batches(), batches(), st.integers(1, 6))
def test_parts_have_the_rows_of_a_batch_in_turn(ahead: Batch, back: Batch, parts: int) -> None:
    rows = min(len(ahead.lengths), len(back.lengths))
    steps = min(ahead.type_index.shape[1], back.type_index.shape[1])
    lengths = np.minimum(ahead.lengths[:rows], steps)
    forward, backward = (
        Batch(
            np.arange(5, dtype=np.int32)[:, None], side.type_index[:rows, :steps], side.starts[:rows, :steps], lengths
        )
        for side in (ahead, back)
    )
    targets = Targets(
        predict_neighbours(forward, np.arange(5)).forward, predict_neighbours(backward, np.arange(5)).backward
    )
    whole = TrainingBatch(forward, targets, num_tokens=0, backward=backward)
    for row, length in enumerate(lengths.tolist()):
        part, place = whole.part(row % parts, parts), row // parts
        assert part.backward is not None
        assert part.backward.type_char_ids is part.batch.type_char_ids
        assert spelled(part.batch, place) == spelled(forward, row)
        assert spelled(part.backward, place) == spelled(backward, row)
        assert part.batch.starts[place, :length].tolist() == forward.starts[row, :length].tolist()
        assert part.targets.forward[place, :length].tolist() == targets.forward[row, :length].tolist()
        assert part.targets.backward[place, :length].tolist() == targets.backward[row, :length].tolist()


@claim
@given(batches(), st.integers(1, 6), st.integers(0, 5))
def test_a_part_is_no_larger_than_its_rows_and_types(batch: Batch, parts: int, number: int) -> None:
    whole = TrainingBatch(batch, predict_neighbours(batch, np.arange(5)), num_tokens=0)
    part = whole.part(number % parts, parts)
    assert part.batch.type_index.shape[1] == part.batch.lengths.max()
    assert np.unique(part.batch.type_index).tolist() == list(range(len(part.batch.type_char_ids)))
    if number % parts >= len(batch.lengths):
        assert (part.targets.forward == NO_TARGET).all() and (part.targets.backward == NO_TARGET).all()


# -- packing ---------------------------------------------------------------------------------------


def with_boundaries(lengths: Sequence[int]) -> list[NDArray[np.uint32]]:
    """Sentences of which every position has a number of its own."""
    ends = np.cumsum(lengths)
    return [np.arange(end - length, end, dtype=np.uint32) for length, end in zip(lengths, ends, strict=True)]


packings = (st.lists(st.integers(1, 40), max_size=30).map(with_boundaries), st.integers(1, 20))


@claim
@given(*packings)
def test_packing_keeps_every_position_once(sentences: list[NDArray[np.uint32]], row_tokens: int) -> None:
    packed = [position for row in pack(sentences, row_tokens) for piece in row for position in piece.tolist()]
    assert sorted(packed) == [position for sentence in sentences for position in sentence.tolist()]


@claim
@given(*packings)
def test_no_row_is_longer_than_asked(sentences: list[NDArray[np.uint32]], row_tokens: int) -> None:
    assert all(1 <= sum(map(len, row)) <= row_tokens for row in pack(sentences, row_tokens))


@claim
@given(*packings)
def test_a_sentence_is_cut_only_where_it_is_longer_than_a_row(
    sentences: list[NDArray[np.uint32]], row_tokens: int
) -> None:
    expected = [
        sentence[first : first + row_tokens].tolist()
        for sentence in sentences
        for first in range(0, len(sentence), row_tokens)
    ]
    assert sorted(piece.tolist() for row in pack(sentences, row_tokens) for piece in row) == expected


@claim
@given(*packings)
def test_no_two_rows_would_fit_into_one(sentences: list[NDArray[np.uint32]], row_tokens: int) -> None:
    filled = sorted(sum(map(len, row)) for row in pack(sentences, row_tokens))
    assert len(filled) < 2 or filled[0] + filled[1] > row_tokens


def test_a_sentence_goes_where_it_leaves_least_room() -> None:
    packed = pack(with_boundaries([5, 7, 3]), 10)
    assert [[len(piece) for piece in row] for row in packed] == [[5], [7, 3]]


def test_nothing_is_packed_into_nothing() -> None:
    assert pack([], 10) == []


def test_a_sentence_of_100_000_positions_is_packed() -> None:
    assert len(pack(with_boundaries([100_000]), 64)) == 1563


# -- packed batches of a corpus --------------------------------------------------------------------


class SmallBlocks(PackedBatches):
    """With blocks so small that a corpus of a test has many, and more than one chunk."""

    BLOCK = 4
    CHUNK_BLOCKS = 8


def sentence_of(number: int) -> Sentence:
    """The tokens of a sentence, all its own; number 5 is longer than a row."""
    length = 30 if number == 5 else number % 7 + 1
    return [f"s{number}t{position}" for position in range(length)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    folder = tmp_path_factory.mktemp("corpus")
    sentences = [RawSentence(" ".join(sentence_of(n)), n % 5 == 0, "a.txt", n + 1) for n in range(NUM_SENTENCES)]
    tokenizer = make_tokenizer("whitespace", language="en")
    _, occurrences = prepare(sentences, tokenizer, folder, held_out_share=0.2)
    corpus = PreparedCorpus(folder)
    corpus.spell(SPELLING, Vocabulary.from_counts(occurrences, num_sentences=NUM_SENTENCES))
    return corpus


def packed_batches(corpus: PreparedCorpus, *, seed: int = 0, row_tokens: int = ROW_TOKENS) -> SmallBlocks:
    return SmallBlocks(corpus, row_length=SPELLING.row_length, row_tokens=row_tokens, rows=4, seed=seed)


def epoch_of(batches: PackedBatches, epoch: int = 0) -> Iterator[TrainingBatch]:
    for chunk in range(batches.num_chunks):
        yield from batches.chunk(epoch, chunk)


def order_of(batches: PackedBatches, epoch: int = 0) -> list[list[list[str]]]:
    return [read_rows(training.batch) for training in epoch_of(batches, epoch)]


def trained_numbers(corpus: PreparedCorpus) -> list[int]:
    return sorted(set(range(NUM_SENTENCES)) - set(corpus.held_out.tolist()))


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_an_epoch_has_every_sentence_once_but_those_held_out(corpus: PreparedCorpus, epoch: int) -> None:
    batches = packed_batches(corpus, row_tokens=40)
    pieces = [piece for training in epoch_of(batches, epoch) for piece in read_pieces(training.batch)]
    assert sorted(pieces) == sorted(["<S>", *sentence_of(number), "</S>"] for number in trained_numbers(corpus))


def test_cut_sentences_lose_no_token(corpus: PreparedCorpus) -> None:
    tokens = Counter(token for rows in order_of(packed_batches(corpus)) for row in rows for token in row)
    expected = Counter(token for number in trained_numbers(corpus) for token in ["<S>", *sentence_of(number), "</S>"])
    assert tokens == expected


def test_what_is_held_out_is_never_seen(corpus: PreparedCorpus) -> None:
    held_out = {token for number in corpus.held_out.tolist() for token in sentence_of(number)}
    seen = {type_ for training in epoch_of(packed_batches(corpus)) for type_ in read_types(training.batch)}
    assert held_out
    assert not held_out & seen


def test_the_same_seed_gives_the_same_batches(corpus: PreparedCorpus) -> None:
    assert order_of(packed_batches(corpus, seed=3)) == order_of(packed_batches(corpus, seed=3))


def test_a_chunk_does_not_depend_on_what_was_read_before(corpus: PreparedCorpus) -> None:
    batches = packed_batches(corpus)
    expected = [read_rows(training.batch) for training in packed_batches(corpus).chunk(2, 1)]
    list(epoch_of(batches))
    assert [read_rows(training.batch) for training in batches.chunk(2, 1)] == expected


def test_another_seed_gives_another_order(corpus: PreparedCorpus) -> None:
    assert order_of(packed_batches(corpus, seed=0)) != order_of(packed_batches(corpus, seed=1))


def test_another_epoch_has_another_order(corpus: PreparedCorpus) -> None:
    batches = packed_batches(corpus)
    assert order_of(batches, epoch=0) != order_of(batches, epoch=1)


def test_another_epoch_puts_other_sentences_together(corpus: PreparedCorpus) -> None:
    first, second = (
        {type_ for training in packed_batches(corpus).chunk(epoch, 0) for type_ in read_types(training.batch)}
        for epoch in (0, 1)
    )
    assert first - second
    assert second - first


def test_sentences_are_shuffled_across_the_corpus(corpus: PreparedCorpus) -> None:
    first = next(epoch_of(packed_batches(corpus)))
    numbers = [int(piece[1].partition("t")[0][1:]) for piece in read_pieces(first.batch) if piece[0] == "<S>"]
    assert max(numbers) - min(numbers) > SmallBlocks.BLOCK * 3


def test_a_batch_has_at_most_the_rows_and_positions_asked_for(corpus: PreparedCorpus) -> None:
    for training in epoch_of(packed_batches(corpus)):
        assert 1 <= len(training.batch.lengths) <= 4
        assert training.batch.lengths.max() == training.batch.type_index.shape[1] <= ROW_TOKENS


def test_a_batch_names_every_type_once(corpus: PreparedCorpus) -> None:
    for training in epoch_of(packed_batches(corpus)):
        types = read_types(training.batch)
        assert len(set(types)) == len(types)


def test_tokens_are_counted_without_boundaries(corpus: PreparedCorpus) -> None:
    for training in epoch_of(packed_batches(corpus)):
        tokens = [token for row in read_rows(training.batch) for token in row]
        assert training.num_tokens == sum(token not in ("<S>", "</S>") for token in tokens)


@pytest.mark.parametrize(("row_tokens", "num_cut"), [(32, 0), (31, 1), (12, 1)])
def test_cut_sentences_are_counted_once(corpus: PreparedCorpus, row_tokens: int, num_cut: int) -> None:
    assert 5 not in corpus.held_out.tolist()
    batches = packed_batches(corpus, row_tokens=row_tokens)
    assert sum(training.num_cut for training in epoch_of(batches)) == num_cut


def test_uncut_sentences_give_one_target_more_than_tokens_each_way(corpus: PreparedCorpus) -> None:
    expected = sum(len(sentence_of(number)) + 1 for number in trained_numbers(corpus))
    targets = [training.targets for training in epoch_of(packed_batches(corpus, row_tokens=40))]
    assert sum(int((target.forward != NO_TARGET).sum()) for target in targets) == expected
    assert sum(int((target.backward != NO_TARGET).sum()) for target in targets) == expected


def test_the_forward_direction_predicts_the_end_and_the_backward_one_the_start(corpus: PreparedCorpus) -> None:
    targets = [training.targets for training in epoch_of(packed_batches(corpus, row_tokens=40))]
    num_sentences = len(trained_numbers(corpus))
    assert sum(int((target.forward == END_INDEX).sum()) for target in targets) == num_sentences
    assert sum(int((target.backward == START_INDEX).sum()) for target in targets) == num_sentences
    assert not any((target.forward == START_INDEX).any() or (target.backward == END_INDEX).any() for target in targets)


def test_targets_are_vocabulary_indices_of_the_neighbours(corpus: PreparedCorpus) -> None:
    training = next(epoch_of(packed_batches(corpus)))
    rows_of_types = {type_: row for row, type_ in enumerate(corpus.types())}
    type_targets = [int(corpus.targets()[rows_of_types[type_]]) for type_ in read_types(training.batch)]
    assert (training.targets.forward.tolist(), training.targets.backward.tolist()) == targets_by_hand(
        training.batch, type_targets
    )


def test_every_epoch_has_all_chunks(corpus: PreparedCorpus) -> None:
    assert packed_batches(corpus).num_chunks == 5  # 150 sentences, 4 a block, 8 blocks a chunk


def test_boundary_rows_are_those_of_the_type_table(corpus: PreparedCorpus) -> None:
    assert [type_ for _, type_ in zip((START_ROW, END_ROW), corpus.types(), strict=False)] == ["<S>", "</S>"]


def test_a_corpus_of_one_sentence_makes_a_batch(tmp_path: Path) -> None:
    prepare([RawSentence("a", True, "a.txt", 1)], make_tokenizer("whitespace", language="en"), tmp_path)
    corpus = PreparedCorpus(tmp_path)
    corpus.spell(SPELLING, Vocabulary.from_counts({"a": 1}, num_sentences=1))
    assert order_of(packed_batches(corpus)) == [[["<S>", "a", "</S>"]]]
