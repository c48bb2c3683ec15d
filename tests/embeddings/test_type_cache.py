from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from lowtide.embeddings.type_cache import GateCache, Slots, TypeCache
from lowtide.model import BiLM, CharCNNConfig
from lowtide.model.char_cnn import CharCNN, _num_used
from lowtide.model.packed_lstm import PackedStack
from lowtide.model.products import kernel_for
from lowtide.text.characters import ByteSpelling
from lowtide.training.presets import PRESETS, bilm_config

claim = settings(derandomize=True, deadline=None)
TYPES = [
    *("the", "tide", "", "a", "<S>", "</S>", "潮水", "潮" * 16, "x" * 48, "x" * 47, "y" * 60, "0123456789abcdef"),
    *(f"w{number}" * (number % 9 + 1) for number in range(60)),
]
SHARED_START = ["x" * 48, "x" * 48 + "y"]


# -- places ----------------------------------------------------------------------------------------


@claim
@given(capacity=st.integers(1, 7), data=st.data())
def test_places_are_those_of_a_table_that_forgets_what_was_not_asked_for_longest(
    capacity: int, data: st.DataObject
) -> None:
    slots = Slots(capacity)
    recent: list[str] = []  # the last asked for last
    held: dict[str, int] = {}
    calls = st.lists(st.sampled_from("abcdefghijkl"), unique=True, max_size=capacity)
    for keys in data.draw(st.lists(calls, max_size=12)):
        places, new = slots.place(keys)
        assert [keys[number] for number in new] == [key for key in keys if key not in held]
        assert all(places[keys.index(key)] == held[key] for key in keys if key in held)
        recent = ([key for key in recent if key not in keys] + keys)[-capacity:]
        held = {key: place for key, place in held.items() if key in recent}
        held |= dict(zip(keys, places, strict=True))
        assert set(held) == set(recent)
        assert len(set(held.values())) == len(held) == len(slots)
        assert all(0 <= place < capacity for place in held.values())


# -- vectors ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> BiLM:
    """Of the preset tiny, with the weights that a training begins with."""
    torch.manual_seed(0)
    return BiLM(bilm_config(PRESETS["tiny"], num_symbols=None, dropout=0.1)).eval()


def cache_of(network: BiLM, capacity: int = 40) -> TypeCache:
    config = network.config.char_cnn
    assert config is not None
    return TypeCache(network, ByteSpelling(config.max_characters), capacity)


def vectors_of(cache: TypeCache, types: list[str]) -> dict[str, Tensor]:
    with torch.inference_mode():
        vectors = cache.of(types)
    assert len(vectors) == len(types)
    return dict(zip(types, vectors, strict=True))


@pytest.fixture(scope="module")
def alone(network: BiLM) -> dict[str, Tensor]:
    return {type_: vectors_of(cache_of(network), [type_])[type_].clone() for type_ in TYPES}


@pytest.mark.parametrize("type_", TYPES[:16], ids=ascii)
def test_a_vector_is_what_the_token_network_says(type_: str, network: BiLM, alone: dict[str, Tensor]) -> None:
    spelling = cache_of(network)._spelling
    with torch.inference_mode():
        expected = network.token_network(torch.from_numpy(spelling.char_ids([type_])))[0]
    torch.testing.assert_close(alone[type_], expected, rtol=0, atol=1e-6)


@settings(claim, max_examples=25)
@given(calls=st.lists(st.lists(st.sampled_from(TYPES), unique=True, max_size=50), min_size=1, max_size=3))
def test_a_type_has_the_same_bits_in_any_company_and_whatever_was_asked_before(
    network: BiLM, alone: dict[str, Tensor], calls: list[list[str]]
) -> None:
    cache = cache_of(network)
    for types in calls:
        for type_, vector in vectors_of(cache, types).items():
            assert torch.equal(vector, alone[type_]), type_


def test_more_types_than_there_is_room_for_are_answered_all_the_same(network: BiLM, alone: dict[str, Tensor]) -> None:
    cache = cache_of(network, capacity=5)
    for types in (TYPES[:5], TYPES, TYPES[3:7], TYPES[:6]):
        assert all(torch.equal(vector, alone[type_]) for type_, vector in vectors_of(cache, types).items())


def test_types_that_differ_behind_the_end_of_a_row_are_spelled_alike(network: BiLM) -> None:
    first, second = vectors_of(cache_of(network), SHARED_START).values()
    assert torch.equal(first, second)


def test_no_types_have_no_vectors(network: BiLM) -> None:
    assert vectors_of(cache_of(network), []) == {}


def test_what_is_known_is_not_computed_again(network: BiLM, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    forward = network.token_network.forward

    def counted(spelled: Tensor) -> Tensor:
        asked.append(len(spelled))
        return forward(spelled)

    monkeypatch.setattr(network.token_network, "forward", counted)
    cache = cache_of(network)
    vectors_of(cache, ["the", "tide"])
    num_before = len(asked)
    vectors_of(cache, ["tide", "the"])
    assert len(asked) == num_before > 0


def test_what_the_token_network_reads_at_once_has_one_of_few_shapes(
    network: BiLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel may round otherwise at another shape; whether it does depends on the processor."""
    read: list[Tensor] = []
    forward = network.token_network.forward
    monkeypatch.setattr(network.token_network, "forward", lambda spelled: read.append(spelled) or forward(spelled))  # type: ignore[func-returns-value]  # that is its use
    for types in (TYPES, TYPES[:1], TYPES[5:9]):
        vectors_of(cache_of(network), types)
    token_network = network.token_network
    assert isinstance(token_network, CharCNN)
    for spelled in read:
        assert len(spelled) % 16 == 0
        assert spelled.shape[1] in (16 + 4, 32 + 4, 48 + 4, 50)
        # nothing is left out again
        assert int(_num_used(spelled).amax()) + token_network.config.widest_filter >= spelled.shape[1]


@pytest.mark.parametrize("variant", tiny.VARIANTS)
def test_every_token_network_is_answered_for(variant: str) -> None:
    network = tiny.bilm(tiny.VARIANTS[variant])
    spelling = ByteSpelling(10)
    types = ["a", "", "the", "tidetidetide", "</S>", *(f"n{number}" for number in range(40))]
    found = vectors_of(TypeCache(network, spelling, 99), types)
    with torch.inference_mode():
        expected = network.token_network(torch.from_numpy(spelling.char_ids(types)))
    torch.testing.assert_close(torch.stack(list(found.values())), expected, rtol=0, atol=2e-6)


def test_rows_that_are_hardly_longer_than_the_widest_filter_are_read_to_their_end() -> None:
    config = tiny.char_cnn(filters=((1, 3), (18, 5)), max_characters=19)
    network = tiny.bilm(config)
    assert isinstance(config.char_cnn, CharCNNConfig)
    types = ["", "a", "b" * 16, "c" * 17, "d" * 30]
    found = vectors_of(TypeCache(network, ByteSpelling(19), 9), types)
    with torch.inference_mode():
        expected = network.token_network(torch.from_numpy(ByteSpelling(19).char_ids(types)))
    torch.testing.assert_close(torch.stack(list(found.values())), expected, rtol=0, atol=2e-6)


# -- what was interrupted --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError("not enough memory")], ids=repr)
def test_a_type_that_was_not_computed_is_not_known(
    network: BiLM, alone: dict[str, Tensor], error: type[BaseException] | BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_of(network)
    vectors_of(cache, TYPES[:20])

    def interrupted(spelled: Tensor) -> Tensor:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(network.token_network, "forward", interrupted)
        with pytest.raises(BaseException, match=None if isinstance(error, type) else "not enough"):
            vectors_of(cache, TYPES[10:30])
    for types in (TYPES[10:30], TYPES[:20], TYPES[20:50]):
        assert all(torch.equal(vector, alone[type_]) for type_, vector in vectors_of(cache, types).items())


@pytest.mark.parametrize("failing", [0, 1])
def test_gates_that_were_not_computed_are_not_known(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny.bilm()
    kernel = kernel_for("float32", torch.device("cpu"))
    stacks = [PackedStack(stack, kernel) for stack in (network.forward_lstm, network.backward_lstm)]
    vectors = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))

    def interrupted(vectors: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with torch.inference_mode():
        cache = GateCache(stacks, 6, vectors)
        cache.places_of(list("abc"), vectors[:3])
        with monkeypatch.context() as patch:
            patch.setattr(stacks[failing], "input_gates", interrupted)
            with pytest.raises(KeyboardInterrupt):
                cache.places_of(list("bcde"), vectors[1:5])
        for first, end in ((1, 5), (0, 6)):
            places = cache.places_of(list("abcdef")[first:end], vectors[first:end])
            for stack, table in zip(stacks, cache.tables, strict=True):
                expected = stack.input_gates(vectors[first:end])
                torch.testing.assert_close(table.rows[places], expected, rtol=0, atol=1e-6)
