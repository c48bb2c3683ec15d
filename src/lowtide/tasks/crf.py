"""A conditional random field over the tags of a sentence: what a tag costs depends on the one before it.

Lafferty et al. (2001), as Lample et al. (2016), https://arxiv.org/abs/1603.01360, put it on top of a BiLSTM. The
score of a path y of tags is the sum of an emission a token and a transition a neighbour, and its probability is
exp(score(y)) / Z, with Z the sum over all paths (`lowtide.tasks.crf_sums`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lowtide.errors import ShapeError
from lowtide.tasks.crf_paths import ScoredPath, best_paths
from lowtide.tasks.crf_sums import LogPartition, SortedRows, expected_uses, sum_forward
from lowtide.tasks.schemes import Scheme, may_follow

_PATHS_AT_ONCE = 1 << 14
"""Kept at all tokens of the sentences that are decoded together."""


@dataclass(frozen=True)
class Legal:
    """Which tags may begin a sentence, follow each other, and end it."""

    start: Tensor
    """(tags,) bool"""
    transitions: Tensor
    """(tags, tags) bool, from and to"""
    end: Tensor
    """(tags,) bool"""

    @classmethod
    def of(cls, tags: Sequence[str], scheme: Scheme | None) -> Legal:
        """What a scheme allows; everything, if the tags write no spans."""
        if scheme is None:
            return cls(*(torch.ones(shape, dtype=torch.bool) for shape in (len(tags), (len(tags),) * 2, len(tags))))
        return cls(
            torch.tensor([may_follow(None, tag, scheme) for tag in tags]),
            torch.tensor([[may_follow(before, tag, scheme) for tag in tags] for before in tags]),
            torch.tensor([may_follow(tag, None, scheme) for tag in tags]),
        )


class Scores(NamedTuple):
    """What neighbours cost, with minus infinity where they are not legal."""

    start: Tensor
    transitions: Tensor
    end: Tensor


class CRF(nn.Module):
    """A linear-chain CRF. A path that is not legal has probability 0, in training and in decoding.

    Args:
        legal: which tags may stand where.
    """

    _legal_start: Tensor
    _legal_transitions: Tensor
    _legal_end: Tensor

    def __init__(self, legal: Legal) -> None:
        super().__init__()
        num_tags = len(legal.start)
        self.start = nn.Parameter(torch.empty(num_tags).uniform_(-0.1, 0.1))
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags).uniform_(-0.1, 0.1))
        self.end = nn.Parameter(torch.empty(num_tags).uniform_(-0.1, 0.1))
        for name in ("start", "transitions", "end"):
            self.register_buffer(f"_legal_{name}", getattr(legal, name), persistent=False)

    @property
    def scores(self) -> Scores:
        """The parameters, minus infinity where something is not legal."""
        never = float("-inf")
        return Scores(
            self.start.masked_fill(~self._legal_start, never),
            self.transitions.masked_fill(~self._legal_transitions, never),
            self.end.masked_fill(~self._legal_end, never),
        )

    def forward(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """The negative log-likelihood of tags, in nats a sentence.

        Args:
            emissions: (batch, tokens, tags)
            tags: (batch, tokens) int; anything beyond the end of a sentence.
            lengths: (batch,): tokens of every sentence.

        Returns:
            (batch,); 0 for a sentence without a token, infinity for tags that are not legal.

        Raises:
            ShapeError: if they do not fit each other.
        """
        nats: Tensor = self.log_partition(emissions, lengths) - self.path_scores(emissions, tags, lengths)
        return nats.to(emissions.dtype)

    def log_partition(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Log Z, the sum over all paths: (batch, tokens, tags) and (batch,) to (batch,), in float64."""
        self._check(emissions, lengths)
        found: Tensor = LogPartition.apply(  # type: ignore[no-untyped-call]  # torch does not type it
            emissions, *self.scores, lengths
        )
        return found

    def path_scores(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """The score of one path a sentence: (batch,), in float64."""
        self._check(emissions, lengths)
        if tags.shape != emissions.shape[:2]:
            raise ShapeError(f"tags are {tuple(tags.shape)}, emissions {tuple(emissions.shape)}")
        mask = torch.arange(tags.shape[1], device=tags.device) < lengths[:, None]  # (batch, tokens)
        tags = torch.where(mask, tags, 0)
        start, transitions, end = self.scores
        of_tokens = emissions.gather(2, tags[..., None])[..., 0].masked_fill(~mask, 0.0).double().sum(dim=1)
        of_pairs = transitions[tags[:, :-1], tags[:, 1:]].masked_fill(~mask[:, 1:], 0.0).double().sum(dim=1)
        last = tags.gather(1, (lengths - 1).clamp(min=0)[:, None])[:, 0] if tags.shape[1] else lengths
        ends = start[tags[:, 0]] + end[last] if tags.shape[1] else emissions.new_zeros(len(tags))
        return of_tokens + of_pairs + ends.masked_fill(lengths == 0, 0.0)

    @torch.no_grad()
    def decode(self, emissions: Tensor, lengths: Tensor) -> list[list[int]]:
        """The most probable path of every sentence: Viterbi."""
        return [paths[0][0] for paths in self._best(emissions, lengths, 1)]

    @torch.no_grad()
    def n_best(self, emissions: Tensor, lengths: Tensor, count: int) -> list[list[ScoredPath]]:
        """The most probable paths of every sentence, the first one first, each with its log-probability in nats.

        Computed in float64: scores grow with a sentence, and what is left of two of them is small.
        """
        emissions = emissions.double()
        log_sums = self.log_partition(emissions, lengths).tolist()
        found = self._best(emissions, lengths, count)
        return [
            [(path, score - log_sum) for path, score in paths] for paths, log_sum in zip(found, log_sums, strict=True)
        ]

    def _best(self, emissions: Tensor, lengths: Tensor, count: int) -> list[list[ScoredPath]]:
        self._check(emissions, lengths)
        at_once = max(1, _PATHS_AT_ONCE // (count * max(1, emissions.shape[1])))  # each keeps so many paths a token
        parts = zip(emissions.split(at_once), lengths.split(at_once), strict=True)
        return [paths for part in parts for paths in best_paths(*part, *self.scores, count=count)]

    @torch.no_grad()
    def marginals(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """The probability of every tag at every token: (batch, tokens, tags), 0 beyond the end of a sentence."""
        self._check(emissions, lengths)
        found = torch.zeros_like(emissions)
        rows = SortedRows.of(emissions, lengths)
        if len(rows.order):
            start, transitions, end = self.scores
            summed = sum_forward(rows, start, transitions, end)
            uses = expected_uses(rows, summed.alpha, transitions, end, emissions.new_ones(len(rows.order)))
            found[rows.order, : uses.tags.shape[1]] = uses.tags
        return found

    def _check(self, emissions: Tensor, lengths: Tensor) -> None:
        expected = len(self.start)
        if emissions.ndim != 3 or emissions.shape[2] != expected or lengths.shape != emissions.shape[:1]:
            raise ShapeError(
                f"emissions are {tuple(emissions.shape)} and lengths {tuple(lengths.shape)}, "
                f"expected (batch, tokens, {expected}) and (batch,)"
            )
        if len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= emissions.shape[1]:
            raise ShapeError(f"found a sentence of {int(lengths.max())} tokens in rows of {emissions.shape[1]}")
