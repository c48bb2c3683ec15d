from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from lowtide.model import CharCNN, CharCNNConfig, SymbolConfig, SymbolEmbedding
from lowtide.model.char_cnn import SymbolsAndCharacters
from lowtide.text.characters import NUM_BYTE_CHARACTERS, WORD_PAD, ByteSpelling
from model import reference

TYPES = ["<S>", "</S>", "", "a", "tide", "潮水", "longer-than-a-row", "潮水退了就知道"]
OF_CHARACTERS = ["as published", "tanh", "no highway", "two highways", "no projection of the characters"]


def network_of(variant: str = "as published", dtype: torch.dtype = torch.float64) -> CharCNN:
    network = tiny.bilm(tiny.VARIANTS[variant], dtype=dtype).token_network
    assert isinstance(network, CharCNN)
    return network


def vectors_of(network: CharCNN, types: list[str]) -> Tensor:
    with torch.no_grad():
        vectors: Tensor = network(torch.from_numpy(ByteSpelling(10).char_ids(types)))
    return vectors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("variant", OF_CHARACTERS)
def test_the_vector_of_a_type_agrees_with_the_reference(variant: str, dtype: torch.dtype) -> None:
    model = tiny.published(tiny.bilm(tiny.VARIANTS[variant], dtype=dtype))
    expected = [reference.token_vector(model, reference.spell(type_, 10)) for type_ in TYPES]
    np.testing.assert_allclose(vectors_of(network_of(variant, dtype), TYPES), expected, rtol=0, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(type_=st.text(max_size=12), company=st.lists(st.text(max_size=12), max_size=4))
def test_the_company_of_a_type_does_not_change_its_vector(type_: str, company: list[str]) -> None:
    network = network_of()
    torch.testing.assert_close(
        vectors_of(network, [*company, type_])[-1], vectors_of(network, [type_])[0], rtol=0, atol=1e-12
    )


def test_rows_of_nothing_but_padding_have_the_vector_that_the_reference_gives_them() -> None:
    model = tiny.published(tiny.bilm(dtype=torch.float64))
    with torch.no_grad():
        found = network_of()(torch.full((2, 10), WORD_PAD))
    np.testing.assert_allclose(found[0], reference.token_vector(model, [WORD_PAD] * 10), atol=1e-12)


def test_characters_beyond_the_row_change_nothing() -> None:
    first, second = vectors_of(network_of(), ["longer-than-a-row", "longer-than-another"])
    assert torch.equal(first, second)


def test_in_word_padding_takes_part() -> None:
    network = network_of()
    before = vectors_of(network, ["a"])
    with torch.no_grad():
        network.char_embedding.weight[WORD_PAD] += 1
    assert not torch.equal(vectors_of(network, ["a"]), before)


def test_the_order_of_characters_matters() -> None:
    first, second = vectors_of(network_of(), ["tide", "tied"])
    assert not torch.allclose(first, second)


def test_gradients_agree_with_numerical_ones() -> None:
    network = network_of("tanh")
    names = [name for name, _ in network.named_parameters()]
    used = torch.from_numpy(ByteSpelling(10).char_ids(["a", "tide"]))
    embedding = network.char_embedding.weight.detach()[used.unique()].clone().requires_grad_()
    rest = [parameter for name, parameter in network.named_parameters() if name != "char_embedding.weight"]

    def vectors(few: Tensor, *parameters: Tensor) -> Tensor:
        table = torch.zeros(NUM_BYTE_CHARACTERS, 4, dtype=torch.float64).index_copy(0, used.unique().long(), few)
        named = dict(zip([n for n in names if n != "char_embedding.weight"], parameters, strict=True))
        result: Tensor = torch.func.functional_call(network, {"char_embedding.weight": table, **named}, (used,))
        return result

    assert torch.autograd.gradcheck(vectors, (embedding, *rest), eps=1e-7, atol=1e-5, fast_mode=True)


def test_highways_begin_mostly_open_to_what_comes_in() -> None:
    highway = CharCNN(tiny.CHAR_CNN, 5).highways[0]
    assert (highway.gate.bias == -2).all()  # type: ignore[union-attr]  # a tensor


def test_the_width_before_the_projection_is_the_number_of_filters() -> None:
    assert CharCNNConfig().num_filters == 2048


def test_a_symbol_is_looked_up() -> None:
    symbols = SymbolEmbedding(SymbolConfig(4), 3)
    found = symbols(torch.tensor([[2], [0]], dtype=torch.int32))
    assert torch.equal(found, symbols.embedding.weight[[2, 0]])


def test_a_symbol_that_is_looked_up_is_projected_if_it_has_a_width_of_its_own() -> None:
    symbols = SymbolEmbedding(SymbolConfig(4, embedding_width=2), 3).double()
    tiny.random_(symbols)
    weights = {name: tensor.numpy() for name, tensor in symbols.state_dict().items()}
    with torch.no_grad():
        found = symbols(torch.tensor([[2], [0], [2]], dtype=torch.int32))
    for vector, number in zip(found, (2, 0, 2), strict=True):
        expected = weights["projection.weight"] @ weights["embedding.weight"][number] + weights["projection.bias"]
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-12)


def test_a_symbol_without_a_width_of_its_own_has_no_projection() -> None:
    assert [name for name, _ in SymbolEmbedding(SymbolConfig(4), 3).named_parameters()] == ["embedding.weight"]


# -- symbols and characters ----------------------------------------------------------------------

LETTERS = CharCNNConfig(7, 4, ((1, 3), (2, 4)), num_highways=2, max_characters=6)


def both_of(characters: CharCNNConfig = LETTERS) -> SymbolsAndCharacters:
    network = SymbolsAndCharacters(SymbolConfig(9, embedding_width=2), characters, 5).double()
    tiny.random_(network)
    return network.eval()


def rows_of(count: int, seed: int = 0) -> Tensor:
    """Random rows: a symbol, and six characters."""
    generator = np.random.default_rng(seed)
    rows = [generator.integers(9, size=(count, 1)), generator.integers(7, size=(count, 6))]
    return torch.from_numpy(np.concatenate(rows, axis=1).astype(np.int32))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("num_highways", [0, 1, 2])
def test_symbol_and_characters_are_joined_in_this_order_and_projected(activation: str, num_highways: int) -> None:
    characters = CharCNNConfig(7, 4, ((1, 3), (2, 4)), num_highways, activation, 6)  # type: ignore[arg-type]  # one of two
    network = both_of(characters)
    alone = CharCNN(dataclasses.replace(characters, has_projection=False), 7).double()
    alone.load_state_dict(network.characters.state_dict())
    rows = rows_of(8)
    with torch.no_grad():
        joined = torch.cat([network.embedding.weight[rows[:, 0]], alone(rows[:, 1:])], dim=1)
        expected = joined @ network.projection.weight.T + network.projection.bias
        torch.testing.assert_close(network(rows), expected, rtol=0, atol=1e-12)


def test_the_characters_beside_a_symbol_have_no_projection_of_their_own() -> None:
    names = {name for name, _ in both_of().named_parameters() if "projection" in name}
    assert names == {"projection.weight", "projection.bias"}


@settings(max_examples=20, deadline=None, derandomize=True)
@given(count=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_company_of_a_symbol_and_its_characters_does_not_change_their_vector(count: int, seed: int) -> None:
    network, rows = both_of(), rows_of(count, seed)
    with torch.no_grad():
        torch.testing.assert_close(network(rows)[-1], network(rows[-1:])[0], rtol=0, atol=1e-12)


def test_either_of_symbol_and_characters_changes_the_vector() -> None:
    network, rows = both_of(), torch.tensor([[1, 2, 3, 4, 4, 4, 4], [2, 2, 3, 4, 4, 4, 4], [1, 3, 3, 4, 4, 4, 4]])
    with torch.no_grad():
        first, second, third = network(rows)
    assert not torch.allclose(first, second) and not torch.allclose(first, third)


def test_gradients_of_symbols_and_characters_agree_with_numerical_ones() -> None:
    network, rows = both_of(dataclasses.replace(LETTERS, activation="tanh")), rows_of(3)
    names = [name for name, _ in network.named_parameters()]

    def vectors(*parameters: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), (rows,))
        return result

    parameters = tuple(parameter.detach().requires_grad_() for parameter in network.parameters())
    assert torch.autograd.gradcheck(vectors, parameters, eps=1e-7, atol=1e-5, fast_mode=True)
