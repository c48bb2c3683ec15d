"""The three networks on top of token vectors, each with its loss: tags, labels, pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lowtide.tasks.crf import CRF, Legal
from lowtide.tasks.inputs import Batch
from lowtide.tasks.options import ClassifierOptions, MatcherOptions, Objective, Pooling
from lowtide.tasks.token_network import TokenNetwork, pool_tokens


class Head(nn.Module):
    """A network that answers; ``tokens`` is the part below that gives every token its vector."""

    tokens: TokenNetwork


class TaggerHead(Head):
    """One score a token and tag, and a CRF over them."""

    def __init__(self, tokens: TokenNetwork, legal: Legal) -> None:
        super().__init__()
        self.tokens = tokens
        self.emit = nn.Linear(tokens.width, len(legal.start))
        self.crf = CRF(legal)

    def emissions(self, batch: Batch) -> Tensor:
        """One score a token and tag: (sentences, tokens, tags)."""
        scores: Tensor = self.emit(self.tokens(batch))
        return scores

    def loss(self, batch: Batch, tags: Tensor) -> Tensor:
        """The mean nats of a sentence's tags; ``tags`` is (sentences, tokens), anything beyond the end."""
        emissions = self.emissions(batch)
        nats: Tensor = self.crf(emissions, tags, batch.lengths.to(emissions.device))
        return nats.mean()


def _pooled_width(width: int, pool: Pooling) -> int:
    return 2 * width if pool == "both" else width


class ClassifierHead(Head):
    """One score a label, from one vector a text."""

    def __init__(self, tokens: TokenNetwork, num_labels: int, options: ClassifierOptions) -> None:
        super().__init__()
        self.tokens = tokens
        self._pool: Pooling = options.pool
        self.score = nn.Linear(_pooled_width(tokens.width, options.pool), num_labels)

    def forward(self, batch: Batch) -> Tensor:
        """One score a text and label: (sentences, labels)."""
        scores: Tensor = self.score(pool_tokens(self.tokens(batch), batch.lengths, self._pool))
        return scores

    def loss(self, batch: Batch, labels: Tensor) -> Tensor:
        """The mean nats of a text's label; ``labels`` is (sentences,)."""
        return functional.cross_entropy(self(batch), labels)


class MatcherHead(Head):
    """Two texts through one network, and what their vectors u and v say of each other.

    ``classify``: a hidden layer over [u, v, |u - v|, u * v]: Conneau et al. (2017), https://arxiv.org/abs/1705.02364.
    ``cosine``: the squared error of their cosine, as Reimers & Gurevych (2019), https://arxiv.org/abs/1908.10084.
    ``contrastive``: y d^2 + (1 - y) max(0, m - d)^2 with d the distance of u and v on the unit sphere: Hadsell et al.
    (2006), equation 4, without its factor 1/2.
    """

    def __init__(self, tokens: TokenNetwork, num_labels: int, options: MatcherOptions) -> None:
        super().__init__()
        self.tokens = tokens
        self._pool: Pooling = options.pool
        self._objective: Objective = options.objective
        self._margin = options.margin
        width = _pooled_width(tokens.width, options.pool)
        if options.objective == "classify":
            self.score: nn.Module = nn.Sequential(
                nn.Dropout(options.dropout),
                nn.Linear(4 * width, options.state_width),
                nn.ReLU(),
                nn.Dropout(options.dropout),
                nn.Linear(options.state_width, num_labels),
            )
        else:
            self.project = nn.Linear(width, options.state_width)

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """U and v, (pairs, width) each: the first half of the batch, and the second."""
        pooled = pool_tokens(self.tokens(batch), batch.lengths, self._pool)
        if self._objective != "classify":
            pooled = functional.normalize(self.project(pooled), dim=-1)
        first, second = pooled.chunk(2)
        return first, second

    def forward(self, batch: Batch) -> Tensor:
        """(pairs, labels) scores; of the other two objectives (pairs,) cosines."""
        first, second = self.vectors(batch)
        if self._objective != "classify":
            return (first * second).sum(dim=-1)
        scores: Tensor = self.score(torch.cat([first, second, (first - second).abs(), first * second], dim=-1))
        return scores

    def loss(self, batch: Batch, answers: Tensor) -> Tensor:
        """The mean loss of a pair.

        Args:
            batch: all first texts, and then all second ones.
            answers: (pairs,): the number of the label; for ``cosine`` the wanted cosine; for ``contrastive`` 1 for
                what belongs together, and 0.
        """
        if self._objective == "classify":
            return functional.cross_entropy(self(batch), answers)
        cosines = self(batch)
        if self._objective == "cosine":
            return functional.mse_loss(cosines, answers)
        squares = (2 - 2 * cosines).clamp(min=1e-12)  # of the distances; a root has no gradient at 0
        apart = (self._margin - squares.sqrt()).clamp(min=0).square()
        return torch.where(answers > 0.5, squares, apart).mean()


class Network(nn.Module):
    """A head, and the encoders that learn with it."""

    def __init__(self, head: Head, encoders: Sequence[nn.Module | None]) -> None:
        super().__init__()
        self.head = head
        self.encoders = nn.ModuleDict({str(n): encoder for n, encoder in enumerate(encoders) if encoder is not None})

    def encoder(self, number: int) -> nn.Module | None:
        """That of an embedding, if it learns."""
        return dict(self.encoders.items()).get(str(number))
