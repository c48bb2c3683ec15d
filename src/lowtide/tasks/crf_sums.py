"""Sums over all paths of a linear chain: the log-partition and its gradient, which are the marginals.

Lafferty et al. (2001), https://repository.upenn.edu/cis_papers/159; the recursions are those of Rabiner (1989), section
III. Of a row with emissions e_0 … e_(n-1), start scores b, end scores f and transition scores A (from, to)::

    alpha_0 = b + e_0          alpha_t(j) = e_t(j) + log sum over i of exp(alpha_(t-1)(i) + A(i, j))
    beta_(n-1) = f             beta_t(i)  = log sum over j of exp(A(i, j) + e_(t+1)(j) + beta_(t+1)(j))
    log Z = log sum over j of exp(alpha_(n-1)(j) + f(j))

The gradient of log Z by a score is the probability that a path uses it. It is written out: autograd would keep every
step, and go back through each of them. The largest number of every alpha and beta is taken off, and what is a
probability is normalised where it stands; what was taken off is summed up in float64. So a thousand steps are about as
exact as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class SortedRows:
    """Rows of a batch, the longest first: at step t those that are longer stand in front, and nothing is masked."""

    emissions: Tensor
    """(rows, steps, tags)"""
    lengths: Tensor
    """(rows,), falling; none is 0."""
    order: Tensor
    """(rows,): which row of the batch stands where."""
    num_alive: list[int]
    """(steps,): how many rows are longer than t."""

    @classmethod
    def of(cls, emissions: Tensor, lengths: Tensor) -> SortedRows:
        """Sort the rows that have a token: (batch, tokens, tags) and (batch,)."""
        order = torch.argsort(lengths, descending=True, stable=True)
        order = order[: int((lengths > 0).sum())]
        kept = lengths[order]
        steps = int(kept[0]) if len(kept) else 0
        alive = (kept[:, None] > torch.arange(steps, device=kept.device)).sum(dim=0)
        return cls(emissions[order, :steps], kept, order, alive.tolist())


@dataclass(frozen=True)
class Forward:
    """What was summed up from the beginning of every row."""

    alpha: Tensor
    """(steps, rows, tags), the largest of every step taken off; what lies beyond the end of a row is not set."""
    log_sum: Tensor
    """(rows,): log Z, in float64."""


def sum_forward(rows: SortedRows, start: Tensor, transitions: Tensor, end: Tensor) -> Forward:
    """Go forward through the rows; scores as in `CRF`."""
    emissions = rows.emissions
    alpha = emissions.new_empty(emissions.shape[1], len(emissions), emissions.shape[2])
    taken_off = emissions.new_zeros(len(emissions), 1, dtype=torch.float64)
    for step, alive in enumerate(rows.num_alive):
        before = alpha[step - 1, :alive, :, None] + transitions if step else start[None, None]  # (alive, from, to)
        here = emissions[:alive, step] + torch.logsumexp(before, dim=1)  # (alive, to)
        top = here.amax(dim=1, keepdim=True)
        taken_off[:alive] += top
        torch.sub(here, top, out=alpha[step, :alive])
    last = alpha[rows.lengths - 1, torch.arange(len(emissions), device=alpha.device)]
    return Forward(alpha, torch.logsumexp(last + end, dim=-1) + taken_off[:, 0])


@dataclass(frozen=True)
class Expected:
    """How often a random path uses every score, each row with its weight."""

    tags: Tensor
    """(rows, steps, tags); 0 beyond the end of a row."""
    transitions: Tensor
    """(tags, tags)"""
    ends: Tensor
    """(rows, tags)"""


def expected_uses(rows: SortedRows, alpha: Tensor, transitions: Tensor, end: Tensor, weights: Tensor) -> Expected:
    """Go back through the rows.

    Args:
        rows: the emissions.
        alpha: of `sum_forward`.
        transitions: (tags, tags), from and to.
        end: (tags,)
        weights: (rows,): what every row counts.
    """
    emissions = rows.emissions
    tags = torch.zeros_like(emissions)
    pairs = torch.zeros_like(transitions)
    beta = end.expand(len(emissions), -1).clone()  # (rows, tags), of the step that is looked at
    for step in range(len(rows.num_alive) - 1, -1, -1):
        alive = rows.num_alive[step]
        if step + 1 < len(rows.num_alive):
            goes_on = rows.num_alive[step + 1]
            behind = transitions + (emissions[:goes_on, step + 1] + beta[:goes_on])[:, None]  # (goes_on, from, to)
            joint = torch.softmax((alpha[step, :goes_on, :, None] + behind).flatten(1), dim=1)
            pairs += (weights[:goes_on] @ joint).view_as(pairs)
            before = torch.logsumexp(behind, dim=2)
            torch.sub(before, before.amax(dim=1, keepdim=True), out=beta[:goes_on])
        tags[:alive, step] = torch.softmax(alpha[step, :alive] + beta[:alive], dim=1) * weights[:alive, None]
    ends = tags[torch.arange(len(emissions), device=tags.device), rows.lengths - 1]
    return Expected(tags, pairs, ends)


class LogPartition(torch.autograd.Function):
    """(batch,): log Z of every row, in float64; 0 for a row without a token, whose only path is the empty one."""

    @staticmethod
    def forward(
        ctx: Any, emissions: Tensor, start: Tensor, transitions: Tensor, end: Tensor, lengths: Tensor
    ) -> Tensor:
        """Sum over all paths.

        Args:
            ctx: of autograd.
            emissions: (batch, tokens, tags)
            start: (tags,)
            transitions: (tags, tags), from and to.
            end: (tags,)
            lengths: (batch,)
        """
        found = emissions.new_zeros(len(emissions), dtype=torch.float64)
        rows = SortedRows.of(emissions, lengths)
        ctx.rows, ctx.shape = rows, emissions.shape
        if len(rows.order):
            summed = sum_forward(rows, start, transitions, end)
            ctx.save_for_backward(summed.alpha, transitions, end)
            found[rows.order] = summed.log_sum
        return found

    @staticmethod
    @once_differentiable  # type: ignore[misc,untyped-decorator,unused-ignore]  # torch does not type it
    def backward(ctx: Any, d_found: Tensor) -> tuple[Tensor | None, ...]:
        """The expected uses of every score."""
        rows: SortedRows = ctx.rows
        d_emissions = rows.emissions.new_zeros(ctx.shape)
        if not len(rows.order):
            nothing = d_emissions.new_zeros(ctx.shape[-1])
            return d_emissions, nothing, torch.outer(nothing, nothing), nothing, None
        alpha, transitions, end = ctx.saved_tensors
        uses = expected_uses(rows, alpha, transitions, end, d_found[rows.order].to(alpha.dtype))
        d_emissions[rows.order, : uses.tags.shape[1]] = uses.tags
        return d_emissions, uses.tags[:, 0].sum(dim=0), uses.transitions, uses.ends.sum(dim=0), None
