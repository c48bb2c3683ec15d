from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch

from lowtide.model import AdaptiveSoftmax, BiLM, Softmax
from lowtide.training.learning import Networks
from lowtide.training.optimisation import (
    clip_gradients,
    make_optimizers,
    optimizer_tensors,
    restore_optimizers,
    set_rate,
)
from lowtide.training.presets import bilm_config
from scenario import MINI


def _parameters(*, sparse: bool) -> list[torch.nn.Parameter]:
    torch.manual_seed(1)
    softmax = Softmax(20, 4, sparse=sparse)
    states = torch.randn(9, 4)
    weight = torch.nn.functional.embedding(torch.tensor([3, 3, 5, 7, 3, 1, 0, 5, 9]), softmax.weight, sparse=sparse)
    ((states * weight).sum() * 3 + softmax.bias.sum()).backward()
    return [softmax.weight, softmax.bias]


def _dense_gradients(parameters: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    gradients = [p.grad for p in parameters if p.grad is not None]
    return [gradient.to_dense() if gradient.is_sparse else gradient for gradient in gradients]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clipping_agrees_with_pytorch_on_dense_gradients(sparse: bool, max_norm: float) -> None:
    ours, theirs = _parameters(sparse=sparse), _parameters(sparse=False)
    norm = clip_gradients(ours, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    assert norm == pytest.approx(float(expected))
    for a, b in zip(_dense_gradients(ours), _dense_gradients(theirs), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("sparse", [False, True])
def test_restored_optimisers_go_on_as_the_first_ones(sparse: bool) -> None:
    def step(bilm: BiLM, softmax: Softmax, optimizers: list[torch.optim.Optimizer], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in bilm.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        rows = torch.nn.functional.embedding(torch.tensor([1, 2]), softmax.weight, sparse=sparse)
        (rows.sum() + softmax.bias.sum()).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def make() -> tuple[BiLM, Softmax, list[torch.optim.Optimizer]]:
        torch.manual_seed(0)
        bilm = BiLM(bilm_config(MINI, num_symbols=None, dropout=0.0))
        softmax = Softmax(10, 6, sparse=sparse)
        networks = Networks(bilm, softmax)
        return bilm, softmax, make_optimizers(networks, learning_rate=0.1, weight_decay=0.01)

    first = make()
    step(*first, 1)
    second = make()
    second[0].load_state_dict(first[0].state_dict())
    second[1].load_state_dict(first[1].state_dict())
    restore_optimizers(second[2], {name: tensor.clone() for name, tensor in optimizer_tensors(first[2]).items()})
    step(*first, 2)
    step(*second, 2)
    for a, b in zip(
        [*first[0].parameters(), *first[1].parameters()],
        [*second[0].parameters(), *second[1].parameters()],
        strict=True,
    ):
        assert torch.equal(a, b)


def places(tensors: Iterable[torch.Tensor]) -> list[int]:
    """Where every number lies; what lies in one place twice is there twice."""
    return sorted(place for t in tensors for place in range(t.data_ptr(), t.data_ptr() + 4 * t.numel(), 4))


def test_every_number_has_exactly_one_optimiser() -> None:
    bilm, softmax = BiLM(bilm_config(MINI, num_symbols=None, dropout=0.0)), Softmax(10, 6, sparse=True)
    optimizers = make_optimizers(Networks(bilm, softmax), learning_rate=0.1, weight_decay=0.01)
    owned = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert places(owned) == places([*bilm.parameters(), *softmax.parameters()])


def test_biases_and_embeddings_do_not_decay() -> None:
    bilm, softmax = BiLM(bilm_config(MINI, num_symbols=None, dropout=0.0)), Softmax(10, 6)
    [adam] = make_optimizers(Networks(bilm, softmax), learning_rate=0.1, weight_decay=0.01)
    decaying = {id(p) for group in adam.param_groups if group["weight_decay"] for p in group["params"]}
    kept = [softmax.weight, softmax.bias, bilm.token_network.char_embedding.weight]  # type: ignore[union-attr]  # of bytes
    assert not decaying & {id(parameter) for parameter in kept}
    adaptive = AdaptiveSoftmax(10, 6, (4,))
    [adam] = make_optimizers(Networks(bilm, adaptive), learning_rate=0.1, weight_decay=0.01)
    decaying = {id(p) for group in adam.param_groups if group["weight_decay"] for p in group["params"]}
    assert not decaying & {id(parameter) for parameter in adaptive.parameters()}
    assert id(bilm.forward_lstm.layers[0].input_weight) in decaying


def test_a_rate_reaches_all_parameters() -> None:
    bilm, softmax = BiLM(bilm_config(MINI, num_symbols=None, dropout=0.0)), Softmax(10, 6, sparse=True)
    optimizers = make_optimizers(Networks(bilm, softmax), learning_rate=0.1, weight_decay=0.01)
    set_rate(optimizers, 0.025)
    assert {group["lr"] for optimizer in optimizers for group in optimizer.param_groups} == {0.025}
