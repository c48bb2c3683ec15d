from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lowtide.text.order import BlockOrder


def test_a_pass_reads_every_block_once() -> None:
    order = BlockOrder(95, block=10, seed=0)
    assert order.num_blocks == 10
    assert sorted(order.of_pass(0).tolist()) == list(range(10))


def test_every_pass_and_every_seed_has_its_own_order() -> None:
    orders = [BlockOrder(1000, block=10, seed=seed).of_pass(epoch).tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert len({tuple(order) for order in orders}) == 3
    assert BlockOrder(1000, block=10, seed=0).of_pass(1).tolist() == orders[1]


def test_a_part_is_read_as_often_as_its_weight_says() -> None:
    order = BlockOrder(300, block=10, seed=0, starts=(0, 100, 200), weights=(1, 2.5, 0.3))
    counts = Counter(order.of_pass(0).tolist())
    parts = [[counts[block] for block in range(first, first + 10)] for first in (0, 10, 20)]
    assert parts[0] == [1] * 10
    assert sorted(parts[1]) == [2] * 5 + [3] * 5
    assert sorted(parts[2]) == [0] * 7 + [1] * 3
    assert order.num_blocks == 10 + 25 + 3 == sum(counts.values())


def test_of_a_part_that_is_read_in_part_each_pass_reads_another_one() -> None:
    order = BlockOrder(1000, block=10, seed=0, weights=(0.2,))
    seen = [set(order.of_pass(epoch).tolist()) for epoch in range(40)]
    assert seen[0] != seen[1] and set.union(*seen) == set(range(100))


def test_a_block_belongs_to_the_part_in_which_it_begins() -> None:
    order = BlockOrder(30, block=10, seed=0, starts=(0, 15), weights=(1, 3))
    assert Counter(order.of_pass(0).tolist()) == {0: 1, 1: 1, 2: 3}


@pytest.mark.parametrize("starts", [(0, 0, 30), (0, 30, 30)])
def test_an_empty_part_changes_nothing(starts: tuple[int, ...]) -> None:
    order = BlockOrder(30, block=10, seed=0, starts=starts, weights=(1, 1, 1))
    assert np.sort(order.of_pass(0)).tolist() == [0, 1, 2]
