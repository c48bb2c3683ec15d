"""The output layer of a language model, one for both directions, and what is drawn where it learns from a sample.

All losses are nats, one a target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

BEGINNING = 0.1
"""What is left of drawn weights where a softmax begins as the unigram model."""


@dataclass(frozen=True)
class Candidates:
    """Types drawn as negatives, with the logarithm of how often a draw was to be expected."""

    indices: Tensor
    """(samples,), rising, no type twice."""
    log_expected: Tensor
    """(samples,): log of the expected count of every one of them."""
    log_expected_of_all: Tensor
    """(vocabulary,): the same for every type, of which the targets take theirs."""


class LogUniformSampler:
    """Draws types without repetition, common ones more often: p(k) = log(1 + 1/(k+1)) / log(V+1).

    The vocabulary must be sorted by falling count: then this is nearly Zipf's law. Jean et al. (2015),
    https://arxiv.org/abs/1412.2007; the sampler of TensorFlow, which trained the published models.

    Args:
        vocabulary_size: V.
        num_samples: how many different types a draw gives; below V.
    """

    def __init__(self, vocabulary_size: int, num_samples: int) -> None:
        assert 0 < num_samples < vocabulary_size
        self._size, self._num_samples = vocabulary_size, num_samples
        ranks = np.arange(1, vocabulary_size + 1, dtype=np.float64)
        self._log1m = np.log1p(-np.log1p(1 / ranks) / math.log(vocabulary_size + 1))

    def draw(self, seed: list[int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Draw until there are enough different types.

        Returns:
            The types, (samples,), rising, and log(1 - (1 - p)^n), (vocabulary,): the expected count of
            every type after the n draws that it took.
        """
        generator = np.random.default_rng(seed)
        drawn = np.empty(0, dtype=np.int64)
        while True:
            uniform = generator.random(2 * self._num_samples)
            more = np.exp(uniform * math.log(self._size + 1)).astype(np.int64) - 1
            drawn = np.concatenate([drawn, np.minimum(more, self._size - 1)])
            types, first_seen = np.unique(drawn, return_index=True)
            if len(types) >= self._num_samples:
                break
        kept = np.argsort(first_seen)[: self._num_samples]
        num_draws = int(first_seen[kept[-1]]) + 1
        log_expected = np.log(-np.expm1(num_draws * self._log1m))
        return np.sort(types[kept]), log_expected.astype(np.float32)

    def candidates(self, seed: list[int], *, device: torch.device) -> Candidates:
        """A draw as tensors. The same seed gives the same draw."""
        types, log_expected = self.draw(seed)
        of_all = torch.from_numpy(log_expected).to(device)
        indices = torch.from_numpy(types).to(device)
        return Candidates(indices, of_all[indices], of_all)


class Softmax(nn.Module):
    """log p(type | state) = state . W_type + b_type - log Z.

    Args:
        vocabulary_size: how many types can be predicted.
        width: of the states of one direction.
        sparse: whether the gradient of the weights holds only the rows that were touched.
    """

    def __init__(self, vocabulary_size: int, width: int, *, sparse: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary_size, width))
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.sparse = sparse
        nn.init.normal_(self.weight, std=1 / math.sqrt(width))

    def tie(self, vectors: Tensor) -> None:
        """Predict with a table of token vectors from now on: there is one of them then.

        Args:
            vectors: (types, width), those of the vocabulary first; those behind them are not predicted.
        """
        assert isinstance(vectors, nn.Parameter) and vectors.shape[1] == self.weight.shape[1]
        assert len(vectors) >= len(self.bias)
        self.weight = vectors

    @property
    def rows(self) -> Tensor:
        """(vocabulary, width): those of the weights that predict."""
        return self.weight[: len(self.bias)]

    @torch.no_grad()
    def begin_at(self, log_frequencies: Tensor) -> None:
        """Begin as the unigram model: small weights, and the log of every frequency as bias.

        Args:
            log_frequencies: (vocabulary,) of the types, however large their sum.
        """
        self.weight.mul_(BEGINNING)
        self.bias.copy_(log_frequencies - log_frequencies.mean())

    def logits(self, states: Tensor) -> Tensor:
        """(targets, width) to (targets, vocabulary), not normalised."""
        return functional.linear(states, self.rows, self.bias)

    def loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """The nats of every target under the full softmax.

        Args:
            states: (targets, width), of one direction.
            targets: (targets,) vocabulary indices.

        Returns:
            (targets,).
        """
        return functional.cross_entropy(self.logits(states), targets, reduction="none")
