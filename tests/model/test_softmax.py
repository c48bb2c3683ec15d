from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from lowtide.model import Candidates, LogUniformSampler, Softmax
from lowtide.model.softmax_gradients import softmax_gradients
from model import reference

VOCABULARY, WIDTH, TARGETS = 30, 4, 6
CPU = torch.device("cpu")


def softmax_of(vocabulary_size: int = VOCABULARY, *, sparse: bool = False) -> Softmax:
    softmax = Softmax(vocabulary_size, WIDTH, sparse=sparse).double()
    tiny.random_(softmax, scale=1.0)
    return softmax


def states_of(targets: int = TARGETS) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(targets, WIDTH, generator=generator, dtype=torch.float64)


def numbers(*values: int) -> Tensor:
    return torch.tensor(values)


TARGET_NUMBERS = numbers(0, 3, 7, 7, 12, 29)


def candidates_of(indices: list[int], log_expected: Tensor) -> Candidates:
    """Candidates as if drawn."""
    return Candidates(numbers(*indices), log_expected[indices], log_expected)


def log_expected_of(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return -torch.rand(VOCABULARY, generator=generator, dtype=torch.float64) * 3


# -- the full softmax ----------------------------------------------------------------------------


def test_the_loss_is_the_nats_of_the_target() -> None:
    softmax, states = softmax_of(), states_of()
    weight, bias = (parameter.detach().numpy() for parameter in (softmax.weight, softmax.bias))
    p = reference.probabilities(states.numpy(), weight, bias)[range(TARGETS), TARGET_NUMBERS]
    np.testing.assert_allclose(softmax.loss(states, TARGET_NUMBERS).detach(), -np.log(p))


def test_an_untrained_bias_is_zero() -> None:
    assert not Softmax(VOCABULARY, WIDTH).bias.any()


def test_gradients_agree_with_numerical_ones() -> None:
    softmax = softmax_of()

    def loss(states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        parameters = {"softmax.weight": weight, "softmax.bias": bias}
        result: Tensor = torch.func.functional_call(_Loss(softmax), parameters, (states,))
        return result

    inputs = (states_of().requires_grad_(), softmax.weight, softmax.bias)
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-7, atol=1e-6)


class _Loss(torch.nn.Module):
    def __init__(self, softmax: Softmax) -> None:
        super().__init__()
        self.softmax = softmax

    def forward(self, states: Tensor) -> Tensor:
        return self.softmax.loss(states, TARGET_NUMBERS)


# -- the sampled softmax -------------------------------------------------------------------------


def sampled_nats(softmax: Softmax, states: Tensor, targets: Tensor, candidates: Candidates) -> Tensor:
    """(targets,): each target by itself."""
    alone = zip(states.split(1), targets.split(1), strict=True)
    return torch.stack([softmax_gradients(softmax, state, target, candidates).nats for state, target in alone])


def test_the_sampled_loss_corrects_every_logit_by_its_expected_count() -> None:
    softmax, states, log_expected = softmax_of(), states_of(), log_expected_of()
    drawn = [1, 2, 5, 20]  # none of them a target
    logits = softmax.logits(states).detach() - log_expected
    true = logits[range(TARGETS), TARGET_NUMBERS]
    among = torch.cat([logits[:, drawn], true[:, None]], dim=1)
    found = sampled_nats(softmax, states, TARGET_NUMBERS, candidates_of(drawn, log_expected))
    torch.testing.assert_close(found, torch.logsumexp(among, dim=1) - true)


def test_all_types_as_candidates_give_the_full_softmax() -> None:
    softmax, states = softmax_of(), states_of()
    everything = candidates_of(list(range(VOCABULARY)), torch.zeros(VOCABULARY, dtype=torch.float64))
    found = sampled_nats(softmax, states, TARGET_NUMBERS, everything)
    torch.testing.assert_close(found, softmax.loss(states, TARGET_NUMBERS).detach())


@pytest.mark.parametrize("hit", [0, 7, 29], ids=["the first type", "one within", "the last type"])
def test_a_candidate_that_is_the_target_does_not_count_against_it(hit: int) -> None:
    softmax, states, log_expected = softmax_of(), states_of(), log_expected_of()
    others = [number for number in (1, 4, 8, 28) if number != hit]
    with_hit = sampled_nats(softmax, states, TARGET_NUMBERS, candidates_of(sorted([*others, hit]), log_expected))
    without = sampled_nats(softmax, states, TARGET_NUMBERS, candidates_of(others, log_expected))
    is_hit = hit == TARGET_NUMBERS
    torch.testing.assert_close(with_hit[is_hit], without[is_hit])


def test_a_candidate_counts_against_every_other_target() -> None:
    softmax, states, log_expected = softmax_of(), states_of(), log_expected_of()
    with_hit = sampled_nats(softmax, states, TARGET_NUMBERS, candidates_of([1, 4, 7, 28], log_expected))
    without = sampled_nats(softmax, states, TARGET_NUMBERS, candidates_of([1, 4, 28], log_expected))
    is_other = TARGET_NUMBERS != 7
    assert (with_hit[is_other] > without[is_other]).all()


def test_a_target_that_is_the_only_candidate_costs_nothing() -> None:
    nats = sampled_nats(softmax_of(), states_of(1), numbers(7), candidates_of([7], log_expected_of()))
    assert nats.item() == 0.0


def test_sparse_and_dense_gradients_agree() -> None:
    candidates = candidates_of([0, 2, 3, 12, 20, 21], log_expected_of())
    sparse, dense = (
        softmax_gradients(softmax, states_of(), TARGET_NUMBERS, candidates).d_parameters
        for softmax in (softmax_of(sparse=True), softmax_of())
    )
    assert sparse["weight"].is_sparse and not dense["weight"].is_sparse
    torch.testing.assert_close(sparse["weight"].to_dense(), dense["weight"])
    torch.testing.assert_close(sparse["bias"], dense["bias"])


def test_a_sparse_gradient_holds_only_the_rows_that_were_touched() -> None:
    candidates = candidates_of([2, 20], log_expected_of())
    found = softmax_gradients(softmax_of(sparse=True), states_of(), TARGET_NUMBERS, candidates)
    touched = {2, 20, *TARGET_NUMBERS.tolist()}
    assert set(found.d_parameters["weight"].coalesce().indices()[0].tolist()) == touched


def test_the_sampled_gradient_comes_nearer_the_full_one_the_more_is_drawn() -> None:
    size, num_targets, num_seeds = 400, 64, 30
    softmax, states = softmax_of(size), states_of(num_targets)
    generator = np.random.default_rng(0)
    targets = torch.from_numpy((np.exp(generator.random(num_targets) * math.log(size + 1)) - 1).astype(np.int64))
    full = softmax_gradients(softmax, states, targets, None).d_parameters["weight"]

    def mean_error(num_samples: int) -> float:
        sampler = LogUniformSampler(size, num_samples)
        errors = []
        for seed in range(num_seeds):
            found = softmax_gradients(softmax, states, targets, sampler.candidates([seed], device=CPU))
            errors.append(float((found.d_parameters["weight"] - full).norm() / full.norm()))
        return float(np.mean(errors))

    errors = [mean_error(num_samples) for num_samples in (16, 64, 256, 399)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05


# -- the sampler ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(size=st.integers(2, 200), seed=st.integers(0, 2**32), data=st.data())
def test_a_draw_gives_as_many_different_types_as_asked_for_rising(size: int, seed: int, data: st.DataObject) -> None:
    num_samples = data.draw(st.integers(1, size - 1))
    types, _ = LogUniformSampler(size, num_samples).draw([seed])
    assert len(types) == num_samples and (np.diff(types) > 0).all() and types[0] >= 0 and types[-1] < size


@settings(max_examples=40, deadline=None)
@given(size=st.integers(2, 200), seed=st.integers(0, 2**32), data=st.data())
def test_expected_counts_are_probabilities_that_fall_with_the_rank(size: int, seed: int, data: st.DataObject) -> None:
    num_samples = data.draw(st.integers(1, size - 1))
    _, log_expected = LogUniformSampler(size, num_samples).draw([seed])
    assert (log_expected <= 0).all() and (np.diff(log_expected) <= 0).all() and np.isfinite(log_expected).all()


def test_the_same_seed_gives_the_same_draw() -> None:
    first, second = (LogUniformSampler(100, 20).draw([1, 2, 3]) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])


def test_another_seed_gives_another_draw() -> None:
    sampler = LogUniformSampler(1000, 20)
    assert not np.array_equal(sampler.draw([1, 2, 3])[0], sampler.draw([1, 2, 4])[0])


def test_the_first_type_drawn_follows_the_log_uniform_law() -> None:
    size, draws = 20, 4000
    sampler = LogUniformSampler(size, 1)
    counts = np.bincount([sampler.draw([seed])[0][0] for seed in range(draws)], minlength=size)
    ranks = np.arange(size)
    law = np.log((ranks + 2) / (ranks + 1)) / math.log(size + 1)
    assert math.isclose(law.sum(), 1.0)
    deviations = (counts - draws * law) / np.sqrt(draws * law * (1 - law))
    assert np.abs(deviations).max() < 4


def test_expected_counts_agree_with_how_often_types_are_drawn() -> None:
    size, num_samples, draws = 40, 12, 2000
    sampler = LogUniformSampler(size, num_samples)
    drawn, expected = np.zeros(size), np.zeros(size)
    for seed in range(draws):
        types, log_expected = sampler.draw([seed])
        drawn[types] += 1 / draws
        expected += np.exp(log_expected) / draws
    np.testing.assert_allclose(drawn, expected, atol=0.04)


def test_candidates_carry_the_expected_counts_of_their_own_types() -> None:
    candidates = LogUniformSampler(50, 10).candidates([4], device=CPU)
    assert torch.equal(candidates.log_expected, candidates.log_expected_of_all[candidates.indices])
