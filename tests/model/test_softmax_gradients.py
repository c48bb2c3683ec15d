from __future__ import annotations

import pytest
import torch

from lowtide.model import AdaptiveSoftmax, Candidates, LogUniformSampler, Softmax
from lowtide.model import softmax_gradients as module
from lowtide.model.softmax_gradients import SoftmaxGradients, softmax_gradients
from model.sampled import sampled_loss

TYPES, WIDTH, TARGETS = 40, 6, 37
CPU = torch.device("cpu")


def softmax_of(*, sparse: bool = False) -> Softmax:
    return drawn(Softmax(TYPES, WIDTH, sparse=sparse))


def drawn(softmax: Softmax) -> Softmax:
    softmax = softmax.double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in softmax.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return softmax


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("at_once", [1, 400, 1 << 20])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("num_samples", [None, 1, 12, TYPES - 1])
def test_they_are_those_of_autograd(
    num_samples: int | None, sparse: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CPU_BLOCK", at_once)
    softmax = softmax_of(sparse=sparse and num_samples is not None)
    states, targets = draw(TARGETS, WIDTH).requires_grad_(), torch.arange(TARGETS) * 7 % TYPES
    candidates: Candidates | None = None
    if num_samples is not None:
        candidates = LogUniformSampler(TYPES, num_samples).candidates([3], device=CPU)
    loss = softmax.loss(states, targets) if candidates is None else sampled_loss(softmax, states, targets, candidates)
    loss.mean().backward()
    found = softmax_gradients(softmax, states.detach(), targets, candidates)
    torch.testing.assert_close(found.nats, loss.mean().detach(), check_dtype=False)
    assert_same(found, states, softmax)


@pytest.mark.parametrize("kind", ["full", "sampled", "adaptive"])
def test_of_a_longer_table_the_rows_that_predict_have_a_gradient(kind: str) -> None:
    softmax = drawn(AdaptiveSoftmax(TYPES, WIDTH, (10,)) if kind == "adaptive" else Softmax(TYPES, WIDTH))
    table = torch.nn.Parameter(torch.cat([softmax.weight.detach(), draw(9, WIDTH)]))
    candidates = LogUniformSampler(TYPES, 12).candidates([3], device=CPU) if kind == "sampled" else None
    states, targets = draw(TARGETS, WIDTH), torch.arange(TARGETS) * 7 % TYPES
    expected = softmax_gradients(softmax, states, targets, candidates)
    softmax.tie(table)
    found = softmax_gradients(softmax, states, targets, candidates)
    assert softmax.weight is table and found.d_parameters["weight"].shape == (TYPES, WIDTH)
    for name, gradient in expected.d_parameters.items():
        assert torch.equal(found.d_parameters[name], gradient)


@pytest.mark.parametrize("at_once", [1, 400, 1 << 20])
@pytest.mark.parametrize("cutoffs", [(10,), (3, 4, 20), (38, 39)])
def test_those_of_an_adaptive_softmax_are_those_of_autograd(
    cutoffs: tuple[int, ...], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CPU_BLOCK", at_once)
    softmax = drawn(AdaptiveSoftmax(TYPES, WIDTH, cutoffs))
    states = draw(TARGETS, WIDTH).requires_grad_()
    for targets in (torch.arange(TARGETS) * 7 % TYPES, torch.zeros(TARGETS, dtype=torch.int64)):  # all, and common ones
        states.grad = None
        softmax.zero_grad()
        loss = softmax.loss(states, targets)
        loss.mean().backward()
        found = softmax_gradients(softmax, states.detach(), targets, None)
        torch.testing.assert_close(found.nats, loss.mean().detach(), check_dtype=False)
        assert_same(found, states, softmax)


def assert_same(found: SoftmaxGradients, states: torch.Tensor, softmax: Softmax) -> None:
    named = dict(softmax.named_parameters())
    assert found.d_parameters.keys() == named.keys()
    pairs = [(found.d_states, states.grad), *((found.d_parameters[name], named[name].grad) for name in named)]
    for mine, theirs in pairs:
        assert theirs is not None and mine.is_sparse == theirs.is_sparse
        torch.testing.assert_close(mine.to_dense(), theirs.to_dense(), check_dtype=False, rtol=1e-6, atol=1e-8)


def test_without_targets_there_is_nothing_to_learn() -> None:
    softmax = softmax_of()
    found = softmax_gradients(softmax, draw(0, WIDTH), torch.empty(0, dtype=torch.int64), None)
    assert float(found.nats) == 0 and not found.d_parameters["weight"].any() and found.d_states.shape == (0, WIDTH)


def test_a_state_that_is_no_number_is_not_hidden() -> None:
    states = draw(3, WIDTH)
    states[1, 2] = torch.nan
    assert softmax_gradients(softmax_of(), states, torch.tensor([1, 2, 3]), None).nats.isnan()
