from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from lowtide.errors import ConfigError
from lowtide.model import BiLMConfig, JointLSTM, LSTMConfig, States, SymbolConfig
from model import many_langs_reference as reference

SIZES = LSTMConfig(
    cell_width=7, width=5, num_layers=2, cell_clip=None, projection_clip=None, has_residual=False, forget_bias=0.0
)
LENGTHS = (4, 1, 6, 2)
TYPES = 6


def network_of(num_layers: int = 2, dtype: torch.dtype = torch.float64) -> JointLSTM:
    sizes = dataclasses.replace(SIZES, num_layers=num_layers)
    network = JointLSTM(BiLMConfig(sizes, symbols=SymbolConfig(TYPES, 3))).to(dtype)
    tiny.random_(network, seed=num_layers)
    return network.eval()


def published(network: JointLSTM) -> reference.Model:
    """Its weights under their published names: a model of words, each of them a digit."""
    weights = {name: tensor.detach().double().numpy() for name, tensor in network.state_dict().items()}
    sizes = network.config.lstm
    return reference.Model(
        {
            "encoder": {"name": "lstm", "dim": sizes.cell_width, "n_layers": sizes.num_layers, "projection_dim": 5},
            "token_embedder": {"word_dim": 3, "char_dim": 0, "max_characters_per_token": 50},
        },
        {},
        {str(number): number for number in range(TYPES)},
        {
            "word_emb_layer.embedding.weight": weights["token_network.embedding.weight"],
            "projection.weight": weights["token_network.projection.weight"],
            "projection.bias": weights["token_network.projection.bias"],
        },
        {name.replace("lstm.", "encoder."): weights[name] for name in weights if not name.startswith("token_network")},
    )


def rows_of(lengths: Sequence[int] = LENGTHS, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random types, rubbish beyond the lengths; and the lengths."""
    index = np.random.default_rng(seed).integers(TYPES, size=(len(lengths), max(lengths)))
    return torch.from_numpy(index), torch.tensor(lengths)


def run(network: JointLSTM, index: Tensor, lengths: Tensor, starts: Tensor | None = None) -> States:
    if starts is None:
        starts = torch.zeros(index.shape, dtype=torch.bool)
        starts[:, 0] = True
    with torch.no_grad():
        states: States = network(torch.arange(TYPES, dtype=torch.int32)[:, None], index, starts, lengths)
    return states


def expected_of(model: reference.Model, types: Sequence[int]) -> reference.Array:
    """(layers, tokens, width) of a row as it stands, without marks of a sentence."""
    vectors = np.array([reference.token_vector(model, str(type_)) for type_ in types])
    return np.stack([np.concatenate([vectors, vectors], axis=1), reference.read_plainly(model, vectors)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_both_layers_agree_with_the_reference(num_layers: int, dtype: torch.dtype) -> None:
    network = network_of(num_layers, dtype)
    index, lengths = rows_of()
    states = run(network, index, lengths)
    for row, length in enumerate(LENGTHS):
        expected = expected_of(published(network), index[row, :length].tolist())
        atol = 2e-6 if dtype == torch.float32 else 1e-12
        np.testing.assert_allclose(states.layers[:, row, :length], expected, rtol=0, atol=atol)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_two_layers_come_out_however_deep_it_is(num_layers: int) -> None:
    network = network_of(num_layers)
    assert (network.num_layers, network.width) == (2, 10)
    assert run(network, *rows_of()).layers.shape == (2, len(LENGTHS), max(LENGTHS), 10)


def test_layer_zero_is_the_token_vector_twice() -> None:
    network = network_of()
    index, lengths = rows_of()
    first, second = run(network, index, lengths).layers[0].chunk(2, dim=-1)
    assert torch.equal(first, second)
    with torch.no_grad():
        vectors = network.token_network(torch.arange(TYPES)[:, None])
    assert torch.equal(first[2], vectors[index[2]])


def test_nothing_stands_beyond_the_end_of_a_row() -> None:
    states = run(network_of(), *rows_of())
    assert states.mask.sum(dim=1).tolist() == list(LENGTHS)
    assert (states.layers[:, ~states.mask] == 0).all()


def test_what_lies_beyond_the_end_of_a_row_is_not_read() -> None:
    network = network_of()
    index, lengths = rows_of()
    beyond = torch.arange(index.shape[1]) >= lengths[:, None]
    other = torch.where(beyond, (index + 1) % TYPES, index)
    assert not torch.equal(index, other)
    assert torch.equal(run(network, index, lengths).layers, run(network, other, lengths).layers)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 99))
def test_the_company_of_a_row_does_not_change_it(lengths: list[int], seed: int) -> None:
    network = network_of()
    index, many = rows_of(lengths, seed)
    together = run(network, index, many).layers
    for row, length in enumerate(lengths):
        alone = run(network, index[row : row + 1, :length], many[row : row + 1]).layers[:, 0]
        torch.testing.assert_close(together[:, row, :length], alone, rtol=0, atol=1e-12)


def test_every_state_above_layer_zero_knows_the_whole_row() -> None:
    network = network_of(num_layers=2)
    index, lengths = rows_of([6])
    before = run(network, index, lengths).layers
    for place in range(6):
        changed = index.clone()
        changed[0, place] = (changed[0, place] + 1) % TYPES
        after = run(network, changed, lengths).layers
        is_other = (before[1] != after[1]).reshape(6, 2, 5).any(dim=-1)  # (tokens, directions)
        assert is_other.all()  # two layers: each direction of the upper one has read both of the lower
        assert (before[0] != after[0]).any(dim=-1)[0].nonzero().tolist() == [[place]]


def test_one_layer_alone_knows_one_side_in_each_half() -> None:
    network = network_of(num_layers=1)
    index, lengths = rows_of([6])
    before = run(network, index, lengths).layers[1, 0]
    changed = index.clone()
    changed[0, 3] = (changed[0, 3] + 1) % TYPES
    is_other = (before != run(network, changed, lengths).layers[1, 0]).reshape(6, 2, 5).any(dim=-1)
    assert is_other.t().tolist() == [[False] * 3 + [True] * 3, [True] * 4 + [False] * 2]


def test_nothing_is_carried() -> None:
    network = network_of()
    index, lengths = rows_of()
    states = run(network, index, lengths)
    assert states.carry is None
    assert torch.equal(run(network, index, lengths).layers, states.layers)


def test_starts_within_a_row_are_not_looked_at() -> None:
    network = network_of()
    index, lengths = rows_of()
    plain = run(network, index, lengths).layers
    for starts in (torch.ones(index.shape, dtype=torch.bool), torch.zeros(index.shape, dtype=torch.bool)):
        assert torch.equal(run(network, index, lengths, starts).layers, plain)


def test_gradients_agree_with_numerical_ones() -> None:
    network = network_of(num_layers=1)
    index, lengths = rows_of([3, 2])
    starts = torch.zeros(index.shape, dtype=torch.bool)
    names = [name for name, _ in network.named_parameters()]

    def layers(*parameters: Tensor) -> Tensor:
        arguments = (torch.arange(TYPES)[:, None], index, starts, lengths)
        states = torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), arguments)
        assert isinstance(states, States)
        return states.layers

    parameters = tuple(parameter.detach().requires_grad_() for _, parameter in network.named_parameters())
    assert torch.autograd.gradcheck(layers, parameters, eps=1e-7, atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("sizes", [{"width": 7}, {"width": 9, "has_projection": True}])
def test_its_projection_may_be_as_wide_as_its_cells_or_wider(sizes: dict[str, int]) -> None:
    network = JointLSTM(BiLMConfig(dataclasses.replace(SIZES, **sizes), symbols=SymbolConfig(TYPES, 3)))  # type: ignore[arg-type]  # names of fields
    assert network.width == 2 * sizes["width"]
    assert run(network.eval(), *rows_of()).layers.shape[-1] == network.width


@pytest.mark.parametrize("sizes", [{"num_layers": 0}, {"cell_width": 0}, {"width": 0}, {"num_layers": 10**9}])
def test_sizes_that_cannot_be_built_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        JointLSTM(BiLMConfig(dataclasses.replace(SIZES, **sizes), symbols=SymbolConfig(TYPES, 3)))  # type: ignore[arg-type]  # names of fields
