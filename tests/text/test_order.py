from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    order = BlockOrder(600, block=10, seed=0, starts=(0, 200, 400), weights=(1, 2.5, 0.3))
    counts = Counter(order.of_pass(0).tolist())
    parts = [[counts[block] for block in range(first, first + 20)] for first in (0, 20, 40)]
    assert parts[0] == [1] * 20
    assert sorted(parts[1]) == [2] * 10 + [3] * 10
    assert sorted(parts[2]) == [0] * 14 + [1] * 6
    assert order.num_blocks == 20 + 50 + 6 == sum(counts.values())


def test_of_a_part_that_is_read_in_part_each_pass_reads_another_one() -> None:
    order = BlockOrder(1000, block=10, seed=0, weights=(0.2,))
    seen = [set(order.of_pass(epoch).tolist()) for epoch in range(40)]
    assert seen[0] != seen[1] and set.union(*seen) == set(range(100))


def test_a_block_lies_in_one_part() -> None:
    order = BlockOrder(30, block=10, seed=0, starts=(0, 15), weights=(1, 3))
    assert [order.sentences(block) for block in range(5)] == [
        *(range(0, 10), range(10, 15), range(15, 25), range(25, 30), range(30, 30))
    ]
    assert [order.ends_part(block) for block in range(4)] == [False, True, False, True]
    assert Counter(order.of_pass(0).tolist()) == {0: 1, 1: 1, 2: 3, 3: 3}


@given(
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=4).filter(any),
    weights=st.lists(st.sampled_from([0.1, 0.2, 0.5, 1.0, 2.0, 2.5, 7.0]), min_size=4, max_size=4),
)
def test_small_parts_too_are_read_as_often_as_they_weigh(sizes: list[int], weights: list[float]) -> None:
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    order = BlockOrder(sum(sizes), block=256, seed=3, starts=starts, weights=weights[: len(sizes)])
    read = np.concatenate([order.sentences(block) for block in order.of_pass(0)])
    for start, size, weight in zip(starts, sizes, weights, strict=False):
        found = int(((read >= start) & (read < start + size)).sum())
        if weight.is_integer():
            assert found == size * weight
        else:  # to the nearest block, of which at least one is read
            assert abs(found - size * weight) <= max(1, size / 20)


@pytest.mark.parametrize("starts", [(0, 0, 30), (0, 30, 30)])
def test_an_empty_part_changes_nothing(starts: tuple[int, ...]) -> None:
    order = BlockOrder(30, block=10, seed=0, starts=starts, weights=(1, 1, 1))
    assert np.sort(order.of_pass(0)).tolist() == [0, 1, 2]
