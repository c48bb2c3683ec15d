from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from lowtide.errors import ConfigError
from lowtide.model import BiLM, BiLMConfig, Carry, Softmax, States, SymbolConfig
from lowtide.text.batches import batch_of_documents
from lowtide.text.characters import ByteSpelling
from model import reference

SENTENCES = [
    ["The", "tide", "goes", "out"],
    ["out"],
    [],
    ["潮水", "退了", "就", "知道"],
    ["a", "tide", "a", "tide", "a"],
]
SIZES = tuple(map(len, SENTENCES))


@dataclasses.dataclass(frozen=True)
class Rows:
    """A batch as tensors."""

    type_char_ids: Tensor
    type_index: Tensor
    starts: Tensor
    lengths: Tensor


def rows_of(sentences: Sequence[Sequence[str]], max_characters: int = 10) -> Rows:
    """One row a sentence."""
    batch, _ = batch_of_documents([[list(sentence)] for sentence in sentences], ByteSpelling(max_characters))
    return Rows(
        torch.from_numpy(batch.type_char_ids),
        torch.from_numpy(batch.type_index),
        torch.from_numpy(batch.starts),
        torch.from_numpy(batch.lengths),
    )


def random_rows(seed: int, lengths: Sequence[int], *, start_rate: float = 0.0) -> Rows:
    """Rows of random types; beyond their lengths lies rubbish."""
    generator = np.random.default_rng(seed)
    steps = max(lengths)
    spelled = ByteSpelling(10).char_ids(["<S>", "the", "潮水", "tide-less", "goes", "x"])
    return Rows(
        torch.from_numpy(spelled),
        torch.from_numpy(generator.integers(len(spelled), size=(len(lengths), steps))),
        torch.from_numpy(generator.random((len(lengths), steps)) < start_rate),
        torch.tensor(lengths),
    )


def run(network: BiLM, rows: Rows, carry: Carry | None = None) -> States:
    with torch.no_grad():
        states: States = network(rows.type_char_ids, rows.type_index, rows.starts, rows.lengths, carry)
    return states


def row_of(states: States, row: int, length: int) -> Tensor:
    """(layers, length, width) of one row."""
    return states.layers[:, row, :length]


# -- the whole model -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("variant", tiny.VARIANTS)
def test_every_layer_agrees_with_the_reference(variant: str, dtype: torch.dtype) -> None:
    network = tiny.bilm(tiny.VARIANTS[variant], dtype=dtype)
    model = tiny.published(network)
    states = run(network, rows_of(SENTENCES))
    for row, sentence in enumerate(SENTENCES):
        expected = reference.run_sentence(model, sentence)
        found = row_of(states, row, len(sentence) + 2)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_model_of_symbols_agrees_with_the_reference(dtype: torch.dtype) -> None:
    network = tiny.bilm(tiny.SYMBOL_CONFIG, dtype=dtype)
    model = tiny.published(network)
    symbols = torch.tensor([[0], [1], [5], [7], [10]], dtype=torch.int32)
    rows = Rows(
        symbols,
        torch.tensor([[0, 2, 3, 4, 1], [0, 3, 1, 0, 0]]),
        torch.tensor([[True, False, False, False, False]] * 2),
        torch.tensor([5, 3]),
    )
    states = run(network, rows)
    for row, length in enumerate((5, 3)):
        used = symbols[rows.type_index[row, :length], 0].numpy()
        expected = reference.run_row(model, model.arrays["embedding"][used])
        np.testing.assert_allclose(row_of(states, row, length), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_the_probabilities_of_both_directions_agree_with_the_reference(dtype: torch.dtype) -> None:
    network = tiny.bilm(dtype=dtype)
    softmax = Softmax(9, network.width // 2).to(dtype)
    tiny.random_(softmax, seed=1)
    states = run(network, rows_of(SENTENCES[:1]))
    expected = reference.run_sentence(tiny.published(network), SENTENCES[0])[-1]
    weight, bias = (parameter.detach().double().numpy() for parameter in (softmax.weight, softmax.bias))
    for half, found in enumerate((states.forward_layers, states.backward_layers)):
        probabilities = torch.softmax(softmax.logits(found[-1, 0]), dim=-1).detach()
        of_direction = np.split(expected, 2, axis=-1)[half]
        np.testing.assert_allclose(probabilities, reference.probabilities(of_direction, weight, bias), atol=1e-5)


def test_the_clips_of_these_tests_hold_values_back() -> None:
    open_ = tiny.bilm(tiny.VARIANTS["no clips"])
    rows = rows_of(SENTENCES)
    assert (run(tiny.bilm(), rows).layers - run(open_, rows).layers).abs().max() > 0.01


def test_rows_of_several_sentences_agree_with_the_reference() -> None:
    network = tiny.bilm(tiny.lstm(num_layers=3), dtype=torch.float64)
    model = tiny.published(network)
    lengths = [7, 11, 4]
    rows = random_rows(0, lengths, start_rate=0.3)
    states = run(network, rows)
    spelled = rows.type_char_ids.numpy()
    for row, length in enumerate(lengths):
        vectors = np.array([reference.token_vector(model, spelled[n]) for n in rows.type_index[row, :length]])
        expected = reference.run_row(model, vectors, rows.starts[row, :length].tolist())
        np.testing.assert_allclose(row_of(states, row, length), expected, rtol=0, atol=1e-12)


# -- what a state may know -----------------------------------------------------------------------


@pytest.mark.parametrize("position", range(6))
def test_a_forward_state_is_unchanged_by_what_stands_after_it(position: int) -> None:
    network, rows = tiny.bilm(), random_rows(1, [6])
    other = rows.type_index.clone()
    other[:, position + 1 :] = (other[:, position + 1 :] + 1) % 6
    before = run(network, rows).forward_layers[:, :, : position + 1]
    after = run(network, dataclasses.replace(rows, type_index=other)).forward_layers[:, :, : position + 1]
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("position", range(6))
def test_a_backward_state_is_unchanged_by_what_stands_before_it(position: int) -> None:
    network, rows = tiny.bilm(), random_rows(1, [6])
    other = rows.type_index.clone()
    other[:, :position] = (other[:, :position] + 1) % 6
    before = run(network, rows).backward_layers[:, :, position:]
    after = run(network, dataclasses.replace(rows, type_index=other)).backward_layers[:, :, position:]
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


def test_a_forward_state_knows_what_stands_before_it() -> None:
    network, rows = tiny.bilm(), random_rows(1, [6])
    other = rows.type_index.clone()
    other[:, 0] = (other[:, 0] + 1) % 6
    difference = (
        run(network, rows).forward_layers - run(network, dataclasses.replace(rows, type_index=other)).forward_layers
    )
    assert (difference[1:, 0].abs().amax(dim=-1) > 1e-6).all()


def test_a_backward_state_knows_what_stands_after_it() -> None:
    network, rows = tiny.bilm(), random_rows(1, [6])
    other = rows.type_index.clone()
    other[:, -1] = (other[:, -1] + 1) % 6
    difference = (
        run(network, rows).backward_layers - run(network, dataclasses.replace(rows, type_index=other)).backward_layers
    )
    assert (difference[1:, 0].abs().amax(dim=-1) > 1e-6).all()


# -- company -------------------------------------------------------------------------------------


def test_layer_0_is_the_token_vector_twice() -> None:
    states = run(tiny.bilm(), rows_of(SENTENCES))
    assert torch.equal(states.forward_layers[0], states.backward_layers[0])


def test_every_layer_is_zero_beyond_the_end_of_a_row() -> None:
    states = run(tiny.bilm(), random_rows(2, [3, 8]))
    assert not states.layers[:, ~states.mask].any()


def test_the_mask_is_true_up_to_the_length_of_a_row() -> None:
    states = run(tiny.bilm(), random_rows(2, [3, 8]))
    assert states.mask.sum(dim=1).tolist() == [3, 8]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), data=st.data())
def test_neither_batch_mates_nor_their_order_change_a_state(seed: int, lengths: list[int], data: st.DataObject) -> None:
    network, rows = tiny.bilm(), random_rows(seed, lengths, start_rate=0.2)
    together = run(network, rows)
    order = data.draw(st.permutations(range(len(lengths))))
    kept = order[: data.draw(st.integers(1, len(lengths)))]
    some = run(network, Rows(rows.type_char_ids, rows.type_index[kept], rows.starts[kept], rows.lengths[kept]))
    for place, row in enumerate(kept):
        torch.testing.assert_close(
            row_of(some, place, lengths[row]), row_of(together, row, lengths[row]), rtol=0, atol=1e-5
        )


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(len(SENTENCES))), cuts=st.sets(st.integers(1, len(SENTENCES) - 1)))
def test_packing_sentences_into_rows_changes_no_state(order: list[int], cuts: set[int]) -> None:
    network = tiny.bilm()
    alone = rows_of(SENTENCES)
    one_by_one = run(network, alone)
    bounds = [0, *sorted(cuts), len(order)]
    packed = [order[first:last] for first, last in itertools.pairwise(bounds)]
    lengths = [sum(SIZES[n] + 2 for n in row) for row in packed]
    type_index = torch.zeros(len(packed), max(lengths), dtype=torch.long)
    starts = torch.zeros(type_index.shape, dtype=torch.bool)
    places: list[tuple[int, int, int]] = []  # sentence, row, first position
    for row, numbers in enumerate(packed):
        at = 0
        for n in numbers:
            type_index[row, at : at + SIZES[n] + 2] = alone.type_index[n, : SIZES[n] + 2]
            starts[row, at] = True
            places.append((n, row, at))
            at += SIZES[n] + 2
    states = run(network, Rows(alone.type_char_ids, type_index, starts, torch.tensor(lengths)))
    for n, row, at in places:
        length = SIZES[n] + 2
        torch.testing.assert_close(
            states.layers[:, row, at : at + length], row_of(one_by_one, n, length), rtol=0, atol=1e-5
        )


def test_more_padding_changes_no_state() -> None:
    network, rows = tiny.bilm(), random_rows(3, [4, 6])
    wide = Rows(
        rows.type_char_ids,
        torch.nn.functional.pad(rows.type_index, (0, 5), value=1),
        torch.nn.functional.pad(rows.starts, (0, 5)),
        rows.lengths,
    )
    torch.testing.assert_close(run(network, wide).layers[:, :, :6], run(network, rows).layers, rtol=0, atol=1e-5)


def test_what_lies_beyond_the_end_of_a_row_means_nothing() -> None:
    network, rows = tiny.bilm(), random_rows(3, [4, 6, 2])
    carry = run(network, rows).carry
    beyond = torch.arange(6) >= rows.lengths[:, None]
    other = Rows(
        rows.type_char_ids,
        torch.where(beyond, (rows.type_index + 1) % 6, rows.type_index),
        rows.starts | beyond,
        rows.lengths,
    )
    torch.testing.assert_close(run(network, other, carry).layers, run(network, rows, carry).layers, rtol=0, atol=0)


def test_other_types_in_the_batch_change_no_state() -> None:
    network = tiny.bilm()
    rows = rows_of([["tide"]])
    more = ByteSpelling(10).char_ids(["very-long-word", "潮水退了"])
    wide = dataclasses.replace(rows, type_char_ids=torch.cat([rows.type_char_ids, torch.from_numpy(more)]))
    torch.testing.assert_close(run(network, wide).layers, run(network, rows).layers, rtol=0, atol=1e-5)


def test_a_network_in_evaluation_mode_gives_the_same_bytes_twice() -> None:
    network, rows = tiny.bilm(), rows_of(SENTENCES)
    assert torch.equal(run(network, rows).layers, run(network, rows).layers)


def test_a_network_in_training_mode_drops_out() -> None:
    network, rows = tiny.bilm(dataclasses.replace(tiny.BYTES, dropout=0.5)).train(), rows_of(SENTENCES)
    assert not torch.equal(run(network, rows).layers, run(network, rows).layers)


def test_no_rows_give_no_states() -> None:
    network, rows = tiny.bilm(), random_rows(0, [3])
    none = Rows(rows.type_char_ids, rows.type_index[:0], rows.starts[:0], rows.lengths[:0])
    assert run(network, none).layers.shape == (3, 0, 3, 10)


# -- carry ---------------------------------------------------------------------------------------


def halves(rows: Rows, at: int) -> tuple[Rows, Rows]:
    """The rows left of a position and from it on; every row must be longer."""
    left = Rows(rows.type_char_ids, rows.type_index[:, :at], rows.starts[:, :at], rows.lengths.clamp(max=at))
    right = Rows(rows.type_char_ids, rows.type_index[:, at:], rows.starts[:, at:], rows.lengths - at)
    return left, right


ROWS = pytest.mark.parametrize(
    "rows",
    [
        random_rows(4, [8]),
        random_rows(5, [5, 9, 7, 9, 6]),
        random_rows(6, [9, 5, 8], start_rate=0.25),
    ],
    ids=["one row", "unequal lengths", "with starts"],
)


@ROWS
def test_two_halves_with_the_forward_carry_equal_the_whole(rows: Rows) -> None:
    network = tiny.bilm()
    whole = run(network, rows).forward_layers
    left, right = halves(rows, 4)
    first = run(network, left)
    second = run(network, right, first.carry)
    pieces = torch.cat([first.forward_layers, second.forward_layers], dim=2)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5)


@ROWS
def test_two_halves_with_the_backward_carry_equal_the_whole(rows: Rows) -> None:
    network = tiny.bilm()
    whole = run(network, rows).backward_layers
    left, right = halves(rows, 4)
    # a start at the seam stands in the right half; the state ends left of it
    seam = ~rows.starts[:, 4:5]
    second = run(network, right)
    assert second.carry is not None
    handed_on = [
        dataclasses.replace(state, hidden=state.hidden * seam, cell=state.cell * seam)
        for state in second.carry.backward
    ]
    first = run(network, left, Carry(second.carry.forward, handed_on))
    pieces = torch.cat([first.backward_layers, second.backward_layers], dim=2)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5)


def test_the_carry_of_both_directions_lies_in_the_order_of_the_batch() -> None:
    network, rows = tiny.bilm(), random_rows(5, [5, 9, 7, 9, 6])
    carry = run(network, rows).carry
    assert carry is not None
    for row in range(5):
        alone = run(
            network,
            Rows(rows.type_char_ids, rows.type_index[[row]], rows.starts[[row]], rows.lengths[[row]]),
        ).carry
        assert alone is not None
        for own, given_ in ((alone.forward, carry.forward), (alone.backward, carry.backward)):
            for layer, state in enumerate(own):
                torch.testing.assert_close(given_[layer].hidden[row], state.hidden[0], rtol=0, atol=1e-5)
                torch.testing.assert_close(given_[layer].cell[row], state.cell[0], rtol=0, atol=1e-5)


def test_a_start_forgets_the_carry_of_the_forward_direction() -> None:
    network, rows = tiny.bilm(), random_rows(7, [6, 4])
    carry = run(network, rows).carry
    fresh = dataclasses.replace(rows, starts=rows.starts.index_fill(1, torch.tensor([0]), True))
    torch.testing.assert_close(
        run(network, fresh, carry).forward_layers, run(network, rows).forward_layers, rtol=0, atol=1e-6
    )


def test_a_start_inside_a_row_resets_both_directions_there() -> None:
    network, rows = tiny.bilm(), random_rows(8, [7])
    starts = rows.starts.clone()
    starts[0, 3] = True
    states = run(network, dataclasses.replace(rows, starts=starts))
    left, right = (run(network, half) for half in halves(rows, 3))
    pieces = torch.cat([left.layers, right.layers], dim=2)
    torch.testing.assert_close(states.layers, pieces, rtol=0, atol=1e-5)


def test_the_state_of_a_layer_never_holds_the_residual() -> None:
    rows = random_rows(9, [6])
    config = tiny.lstm(projection_clip=0.05)
    carry = run(tiny.bilm(config), rows).carry
    assert carry is not None
    assert max(state.hidden.abs().max() for state in (*carry.forward, *carry.backward)) <= 0.05 + 1e-7


# -- gradients and configs ------------------------------------------------------------------------


def test_gradients_reach_every_parameter() -> None:
    network = tiny.bilm(tiny.lstm(cell_clip=None, projection_clip=None)).train()
    rows = rows_of(SENTENCES)
    states: States = network(rows.type_char_ids, rows.type_index, rows.starts, rows.lengths)
    (states.layers**2).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("variant", "num_layers", "width"),
    [("as published", 3, 10), ("three layers", 4, 10), ("no projection of the state", 4, 10)],
)
def test_sizes_are_those_of_the_states(variant: str, num_layers: int, width: int) -> None:
    network = tiny.bilm(tiny.VARIANTS[variant])
    layers = run(network, rows_of(SENTENCES)).layers
    assert (network.num_layers, network.width) == (num_layers, width) == (layers.shape[0], layers.shape[-1])


@pytest.mark.parametrize(("cell_width", "width"), [(5, 5), (4, 5), (7, 5)])
def test_a_state_is_as_wide_as_its_projection_if_there_is_one(cell_width: int, width: int) -> None:
    network = tiny.bilm(tiny.lstm(cell_width=cell_width, width=width, has_projection=True))
    shapes = {tuple(t.shape) for name, t in network.state_dict().items() if name.endswith("projection_weight")}
    assert shapes == {(width, cell_width)}
    states = run(network, rows_of(SENTENCES))
    assert network.width == states.layers.shape[-1] == 2 * width
    assert states.carry is not None
    assert {(state.hidden.shape[1], state.cell.shape[1]) for state in states.carry.forward} == {(width, cell_width)}


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: BiLMConfig(tiny.LSTM), "has a token network"),
        (
            lambda: BiLMConfig(tiny.LSTM, char_cnn=tiny.CHAR_CNN, symbols=tiny.SYMBOLS),
            "an embedding_width of their own",
        ),
        (lambda: tiny.lstm(num_layers=0), "at least 1"),
        (lambda: tiny.lstm(cell_width=0), "at least 1"),
        (lambda: tiny.lstm(cell_width=4, width=5), "width 5 over cells of 4 without a projection"),
        (
            lambda: tiny.lstm(cell_width=7, width=5, has_projection=False),
            "width 5 over cells of 7 without a projection",
        ),
        (lambda: tiny.lstm(num_layers=10**9), "num_layers=1000000000"),
        (lambda: tiny.lstm(cell_width=10**30), "cell_width=1000000"),
        (lambda: tiny.lstm(cell_width=10**30, width=10**30), "width=1000000"),
        (lambda: tiny.lstm(cell_clip=0.0), "cell_clip is 0.0"),
        (lambda: tiny.lstm(projection_clip=-1.0), "projection_clip is -1.0"),
        (lambda: tiny.lstm(cell_clip=float("nan")), "cell_clip is nan"),
        (lambda: tiny.char_cnn(embedding_width=0), "at least 1"),
        (lambda: tiny.char_cnn(filters=()), "one filter or more"),
        (lambda: tiny.char_cnn(filters=((1, 0),)), "at least 1"),
        (lambda: tiny.char_cnn(filters=((0, 1),)), "at least 1"),
        (lambda: tiny.char_cnn(filters=((11, 3),)), "over 11 characters has no place in a row of 10"),
        (lambda: tiny.char_cnn(filters=((1, 1),) * 100_000), "at most"),
        (lambda: tiny.char_cnn(filters=((1, 10**30),)), "at most"),
        (lambda: tiny.char_cnn(num_highways=-1), "0 highways or more"),
        (lambda: tiny.char_cnn(num_highways=10**9), "at most"),
        (lambda: tiny.char_cnn(max_characters=2), "3 characters or more"),
        (lambda: tiny.char_cnn(max_characters=10**9), "at most"),
        (lambda: BiLMConfig(tiny.LSTM, symbols=SymbolConfig(0)), "at least 1"),
        (lambda: BiLMConfig(tiny.LSTM, symbols=SymbolConfig(4, embedding_width=0)), "at least 1"),
        (lambda: BiLMConfig(tiny.LSTM, symbols=SymbolConfig(10**30)), "at most"),
        (lambda: BiLMConfig(tiny.LSTM, symbols=SymbolConfig(4, embedding_width=10**30)), "at most"),
        (lambda: BiLMConfig(tiny.LSTM, symbols=SymbolConfig(4, max_letters=0)), "max_letters is 0"),
        (lambda: BiLMConfig(tiny.LSTM, symbols=SymbolConfig(4, max_letters=-1)), "max_letters is -1"),
        (lambda: tiny.char_cnn(has_projection=False), "12 filters are the token vector, which has width 5"),
        (lambda: dataclasses.replace(tiny.BYTES, dropout=1.0), "dropout is 1.0"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(make: object, what: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=what):
        make()
