from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from lowtide.model import CharCNN, CharCNNConfig, SymbolConfig, SymbolEmbedding
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
