"""In which order the blocks of a corpus are read, pass by pass, and how often."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_FEWEST_BLOCKS = 20
"""Of a part that is not read a whole number of times: a part of so many blocks can be read by a fortieth too much."""


class BlockOrder:
    """Blocks of neighbouring sentences, shuffled anew in every pass; some parts of a corpus more often than others.

    A part with weight 2 is read twice in a pass; of one with weight 0.2 a fifth is, and in each pass another one, drawn
    anew. A block lies in one part; those of a small part of which a fraction is read are shorter, so that the fraction
    can be had. The order is a function of (seed, pass), and no list of all sentences is held.

    Args:
        num_sentences: of the corpus.
        block: sentences of a block, at most.
        seed: decides the order.
        starts: the first sentence of every part.
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
        weights = weights or [1.0] * len(starts)
        borders = [np.empty(0, dtype=np.int64)]
        self._parts: list[range] = []
        self._counts: list[int] = []
        num_blocks = 0
        for (first, end), weight in zip(itertools.pairwise([*starts, num_sentences]), weights, strict=True):
            length = block if float(weight).is_integer() else min(block, max(1, (end - first) // _FEWEST_BLOCKS))
            borders.append(np.arange(first, end, length))
            self._parts.append(range(num_blocks, num_blocks + len(borders[-1])))
            self._counts.append(max(1, round(len(borders[-1]) * weight)) if len(borders[-1]) else 0)
            num_blocks += len(borders[-1])
        self._borders = np.concatenate([*borders, [num_sentences]]).astype(np.int64)
        self._last = frozenset(part.stop - 1 for part in self._parts if part)
        self.num_blocks = sum(self._counts)
        """Of one pass."""

    def sentences(self, block: int) -> range:
        """The sentences of a block; none behind the last one."""
        first, end = (self._borders[min(number, len(self._borders) - 1)] for number in (block, block + 1))
        return range(int(first), int(end))

    def ends_part(self, block: int) -> bool:
        """Whether it is the last one of its part."""
        return block in self._last

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
