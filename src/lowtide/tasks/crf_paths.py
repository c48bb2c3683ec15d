"""The best paths of a linear chain: Viterbi (1967), and the n best.

With n paths kept at every tag of every step, the n best of all are found exactly: a path among the n best is, up to any
tag it goes through, among the n best that end there.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowtide.tasks.crf_sums import SortedRows

ScoredPath = tuple[list[int], float]
"""The tag of every token, and the score of the path."""


def best_paths(
    emissions: Tensor, lengths: Tensor, start: Tensor, transitions: Tensor, end: Tensor, *, count: int
) -> list[list[ScoredPath]]:
    """The paths with the highest scores.

    Args:
        emissions: (batch, tokens, tags)
        lengths: (batch,)
        start: (tags,)
        transitions: (tags, tags), from and to.
        end: (tags,)
        count: how many are wanted.

    Returns:
        Up to ``count`` paths a row, the best first; the one empty path, with score 0, of a row without a token. Paths
        that a score of minus infinity forbids are left out.
    """
    found: list[list[ScoredPath]] = [[([], 0.0)] for _ in range(len(emissions))]
    rows = SortedRows.of(emissions, lengths)
    if not len(rows.order):
        return found
    num_rows, num_steps, num_tags = rows.emissions.shape
    best = rows.emissions.new_full((num_rows, count, num_tags), float("-inf"))  # of the paths so far, by their last tag
    best[:, 0] = start + rows.emissions[:, 0]
    back = torch.zeros(num_steps, num_rows, count, num_tags, dtype=torch.int32, device=emissions.device)
    for step, alive in enumerate(rows.num_alive[1:], start=1):
        grown = best[:alive, :, :, None] + transitions  # (alive, count, from, to)
        top, back[step, :alive] = _highest(grown.flatten(1, 2), count)  # (alive, count, to)
        best[:alive] = top + rows.emissions[:alive, None, step]
    scores, lasts = _highest((best + end).flatten(1)[..., None], count)  # (rows, count, 1)
    for row, place in enumerate(rows.order.tolist()):
        length = int(rows.lengths[row])
        kept = scores[row, :, 0] > float("-inf")
        paths = _trace(back[1:length, row].flatten(1).cpu().numpy(), lasts[row, kept, 0].cpu().numpy(), num_tags)
        found[place] = list(zip(paths.tolist(), scores[row, kept, 0].tolist(), strict=True))
    return found


def _highest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` highest of (rows, candidates, tags) along the candidates, and which they are."""
    if count == 1:
        top, which = scores.max(dim=1, keepdim=True)
        return top, which
    most = min(count, scores.shape[1])
    top, which = scores.topk(most, dim=1)
    if most == count:
        return top, which
    missing = (0, 0, 0, count - most)
    return torch.nn.functional.pad(top, missing, value=float("-inf")), torch.nn.functional.pad(which, missing)


def _trace(back: NDArray[np.int32], lasts: NDArray[np.int64], num_tags: int) -> NDArray[np.int64]:
    """Follow paths from their ends: (steps, places) and (paths,) to (paths, tokens).

    A place is (which of the kept paths) * tags + tag, and ``back`` says from which one a path came there.
    """
    places = [lasts]
    for step in reversed(back):
        places.append(step[places[-1]])
    return np.stack(places[::-1], axis=1) % num_tags
