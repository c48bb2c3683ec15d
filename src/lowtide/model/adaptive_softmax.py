"""An output layer in two steps: what is common at once, what is rare by the cluster it lies in.

Grave et al. (2017), "Efficient softmax approximation for GPUs", https://arxiv.org/abs/1609.04309. There the vectors of
rare types are narrower; here all have one width, so that they can be those that are looked up, as in the code of Merity
et al. (2018), https://arxiv.org/abs/1803.08240. Nothing is drawn: its loss is a likelihood, in training too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lowtide.model.softmax import BEGINNING, Softmax

_GRID = 40
"""Places between which `cheapest_cutoffs` chooses."""


class AdaptiveSoftmax(Softmax):
    """log p(type | state) = log p(its cluster | state) + log p(type | its cluster, state).

    The commonest types are predicted side by side with the clusters, and are in none of them.

    Args:
        vocabulary_size: how many types can be predicted, by falling count.
        width: of the states of one direction.
        cutoffs: the first type of every cluster, rising; one or more.
    """

    def __init__(self, vocabulary_size: int, width: int, cutoffs: Sequence[int]) -> None:
        edges = [0, *cutoffs, vocabulary_size]
        assert len(edges) > 2 and all(first < behind for first, behind in itertools.pairwise(edges))
        super().__init__(vocabulary_size, width)
        self.cutoffs = tuple(cutoffs)
        self.cluster_weight = nn.Parameter(torch.empty(len(cutoffs), width))
        self.cluster_bias = nn.Parameter(torch.zeros(len(cutoffs)))
        nn.init.normal_(self.cluster_weight, std=1 / math.sqrt(width))

    @property
    def clusters(self) -> list[slice]:
        """The types of every cluster."""
        return [slice(*edges) for edges in itertools.pairwise([*self.cutoffs, len(self.bias)])]

    @property
    def head(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of what is predicted first: (common types + clusters, width), (the same,)."""
        common = self.cutoffs[0]
        weight = torch.cat([self.weight[:common], self.cluster_weight])
        return weight, torch.cat([self.bias[:common], self.cluster_bias])

    def head_targets(self, targets: Tensor) -> Tensor:
        """(targets,): what the head has to predict, a type or its cluster."""
        cluster = part_of(targets, self.cutoffs)
        return torch.where(cluster == 0, targets, self.cutoffs[0] + cluster - 1)

    @torch.no_grad()
    def begin_at(self, log_frequencies: Tensor) -> None:
        """See `Softmax.begin_at`."""
        super().begin_at(log_frequencies)
        self.cluster_weight.mul_(BEGINNING)
        of_clusters = torch.stack([log_frequencies[types].logsumexp(dim=0) for types in self.clusters])
        self.cluster_bias.copy_(of_clusters - log_frequencies.mean())

    def logits(self, states: Tensor) -> Tensor:
        """(targets, width) to (targets, vocabulary): these are log probabilities already."""
        head = functional.log_softmax(functional.linear(states, *self.head), dim=1)
        parts = [head[:, : self.cutoffs[0]]]
        for number, types in enumerate(self.clusters):
            within = functional.log_softmax(functional.linear(states, self.weight[types], self.bias[types]), dim=1)
            parts.append(head[:, self.cutoffs[0] + number, None] + within)
        return torch.cat(parts, dim=1)

    def loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """The nats of every target; see `Softmax.loss`."""
        head = functional.linear(states, *self.head)
        nats: Tensor = functional.cross_entropy(head, self.head_targets(targets), reduction="none")
        for types in self.clusters:
            rows = rows_within(targets, types)
            logits = functional.linear(states[rows], self.weight[types], self.bias[types])
            within = functional.cross_entropy(logits, targets[rows] - types.start, reduction="none")
            nats = nats.index_add(0, rows, within)
        return nats


def part_of(types: Tensor, cutoffs: Sequence[int]) -> Tensor:
    """(types,): 0 for what the head predicts, then the number of the cluster; 0 everywhere without cutoffs."""
    return torch.bucketize(types, torch.tensor(cutoffs, dtype=types.dtype, device=types.device), right=True)


def rows_within(targets: Tensor, types: slice) -> Tensor:
    """The places of targets that are among these types."""
    is_within: Tensor = (targets >= types.start) & (targets < types.stop)
    return is_within.nonzero()[:, 0]


def cheapest_cutoffs(counts: NDArray[np.int64], num_clusters: int) -> tuple[int, ...]:
    """Where clusters have to begin so that a target of a text costs the fewest logits.

    A target costs the head, and where it is rare its cluster: h + k + sum_i p_i n_i logits, where h types are common,
    and cluster i holds n_i types, in which the share p_i of the targets lies. k is the same everywhere, and left out.

    Args:
        counts: (types,) how often each stands in the text; behind the marks, by falling count.
        num_clusters: k; fewer where there are not so many types.

    Returns:
        The first type of every cluster.
    """
    num_types = len(counts)
    share_before = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64) / max(int(counts.sum()), 1)])
    grid = np.unique(np.geomspace(1, num_types - 1, _GRID).astype(np.int64))
    choices = np.array(list(itertools.combinations(grid.tolist(), min(num_clusters, len(grid)))))  # (choices, clusters)
    ends = np.hstack([choices[:, 1:], np.full((len(choices), 1), num_types)])
    rare = (share_before[ends] - share_before[choices]) * (ends - choices)
    return tuple(choices[np.argmin(choices[:, 0] + rare.sum(axis=1))].tolist())
