"""In which order the blocks of a corpus are read, pass by pass, and how often."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class BlockOrder:
    """Blocks of neighbouring sentences, shuffled anew in every pass; some parts of a corpus more often than others.

    A part with weight 2 is read twice in a pass; of one with weight 0.2 a fifth is, and in each pass another one, drawn
    anew. The order is a function of (seed, pass), and no list of all sentences is held.

    Args:
        num_sentences: of the corpus.
        block: sentences of a block.
        seed: decides the order.
        starts: the first sentence of every part; a block belongs to the part in which it begins.
        weights: of every part; none: 1 each.
    """

    def __init__(
        self,
        num_sentences: int,
        *,
        block: int,
        seed: int,
        starts: Sequence[int] = (0,),
        weights: Sequence[float] = (),
    ) -> None:
        self._seed = seed
        num_blocks = -(-num_sentences // block)
        # the number of the first block of every part, and of one behind the last
        edges = [min(num_blocks, -(-start // block)) for start in starts] + [num_blocks]
        edges[0] = 0
        self._parts = [range(first, end) for first, end in itertools.pairwise(edges)]
        self._counts = [
            max(1, round(len(part) * weight)) if part else 0
            for part, weight in zip(self._parts, weights or [1.0] * len(starts), strict=True)
        ]
        self.num_blocks = sum(self._counts)
        """Of one pass."""

    def of_pass(self, epoch: int) -> NDArray[np.int64]:
        """(num_blocks,): the blocks of one pass, in order."""
        chosen = []
        for number, (part, count) in enumerate(zip(self._parts, self._counts, strict=True)):
            whole, rest = divmod(count, len(part)) if len(part) else (0, 0)
            blocks = np.arange(part.start, part.stop)
            some = np.random.default_rng([self._seed, epoch, number, 1]).permutation(blocks)[:rest]
            chosen.append(np.concatenate([np.tile(blocks, whole), some]))
        blocks = np.concatenate(chosen)
        return blocks[np.random.default_rng([self._seed, epoch]).permutation(len(blocks))]
