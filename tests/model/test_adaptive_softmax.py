from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from lowtide.model import AdaptiveSoftmax
from lowtide.model.adaptive_softmax import cheapest_cutoffs
from model import reference

WIDTH, CUTOFFS, TYPES = 4, (5, 11, 20), 30


def softmax_of(num_types: int = TYPES, cutoffs: tuple[int, ...] = CUTOFFS) -> AdaptiveSoftmax:
    softmax = AdaptiveSoftmax(num_types, WIDTH, cutoffs).double()
    tiny.random_(softmax, scale=1.0)
    return softmax


def states_of(targets: int) -> Tensor:
    return torch.randn(targets, WIDTH, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def probabilities(softmax: AdaptiveSoftmax, states: Tensor) -> np.ndarray:
    """(targets, types), by the definition: that of the cluster times that within it."""
    weight, bias, of_clusters, their_bias = (parameter.detach().numpy() for parameter in softmax.parameters())
    common = softmax.cutoffs[0]
    head = reference.probabilities(
        states.numpy(), np.vstack([weight[:common], of_clusters]), np.hstack([bias[:common], their_bias])
    )
    parts = [head[:, :common]]
    for number, (first, behind) in enumerate(itertools.pairwise([*softmax.cutoffs, len(bias)])):
        within = reference.probabilities(states.numpy(), weight[first:behind], bias[first:behind])
        parts.append(head[:, common + number, None] * within)
    return np.hstack(parts)


@pytest.mark.parametrize("cutoffs", [CUTOFFS, (1,), (29,), tuple(range(1, TYPES))])
def test_a_rare_type_is_its_cluster_and_then_itself(cutoffs: tuple[int, ...]) -> None:
    softmax, states = softmax_of(cutoffs=cutoffs), states_of(TYPES)
    expected = probabilities(softmax, states)
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    np.testing.assert_allclose(softmax.logits(states).exp().detach(), expected)
    targets = torch.arange(TYPES)
    nats = softmax.loss(states, targets).detach()
    np.testing.assert_allclose(nats, -np.log(expected[targets, targets]))


def test_no_target_costs_nothing() -> None:
    assert softmax_of().loss(states_of(0), torch.empty(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("cutoffs", [(), (0, 5), (5, 5), (5, TYPES), (7, 3)])
def test_cutoffs_rise_within_the_vocabulary(cutoffs: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError):
        AdaptiveSoftmax(TYPES, WIDTH, cutoffs)


# -- where clusters begin ------------------------------------------------------------------------


def cost(counts: np.ndarray, cutoffs: tuple[int, ...]) -> float:
    shares = counts / max(counts.sum(), 1)
    within = sum(
        shares[first:behind].sum() * (behind - first) for first, behind in itertools.pairwise([*cutoffs, len(counts)])
    )
    return float(cutoffs[0] + within)


@given(st.lists(st.integers(0, 10_000), min_size=4, max_size=30), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_no_other_cutoffs_are_cheaper(counts: list[int], num_clusters: int) -> None:
    falling = np.array(sorted(counts, reverse=True))
    found = cheapest_cutoffs(falling, num_clusters)
    AdaptiveSoftmax(len(falling), WIDTH, found)  # they rise within the vocabulary
    every = itertools.combinations(range(1, len(falling)), num_clusters)
    assert cost(falling, found) == pytest.approx(min(cost(falling, cutoffs) for cutoffs in every))


def test_clusters_are_no_more_than_types() -> None:
    assert cheapest_cutoffs(np.array([9, 1]), 3) == (1,)


def test_of_zipfs_law_a_target_costs_an_eighth_of_the_types() -> None:
    counts = (1e9 / np.arange(1, 30_001)).astype(np.int64)
    assert cost(counts, cheapest_cutoffs(counts, 3)) < 30_000 / 8
