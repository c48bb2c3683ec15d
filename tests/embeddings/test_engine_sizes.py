from __future__ import annotations

import contextlib
import itertools

import pytest
import torch

from lowtide.amounts import parse_bytes
from lowtide.embeddings.engine_sizes import Sizes, sizes_of, sizes_within
from lowtide.errors import InputError
from lowtide.model import BiLM
from lowtide.training.presets import PRESETS, bilm_config

LEAST = 64
BUDGETS = [*range(400_000_000, 3_000_000_000, 7_654_321), 9_000_000_000, 10**12]


@pytest.fixture(scope="module", params=list(PRESETS))
def network(request: pytest.FixtureRequest) -> BiLM:
    """One that has shapes and no memory."""
    with torch.device("meta"):
        return BiLM(bilm_config(PRESETS[request.param], num_symbols=None, dropout=0.1))


def quick(network: BiLM) -> Sizes:
    return sizes_of(network, max_positions=4096, window_positions=65536)


def within(network: BiLM, num_bytes: int) -> Sizes:
    return sizes_within(network, num_bytes, least=LEAST, quick=quick(network))


def test_more_memory_never_makes_anything_smaller(network: BiLM) -> None:
    sizes: list[Sizes] = []
    for num_bytes in BUDGETS:
        with contextlib.suppress(InputError):
            sizes.append(within(network, num_bytes))
    assert len(sizes) > 2
    for smaller, larger in itertools.pairwise(sizes):
        assert smaller.max_positions <= larger.max_positions
        assert smaller.window_positions <= larger.window_positions
        assert smaller.cached_types <= larger.cached_types
    assert sizes[-1] == quick(network)


def test_what_is_refused_would_be_refused_with_less(network: BiLM) -> None:
    is_refused = []
    for num_bytes in BUDGETS:
        try:
            within(network, num_bytes)
            is_refused.append(False)
        except InputError:
            is_refused.append(True)
    assert is_refused == sorted(is_refused, reverse=True)


@pytest.mark.parametrize("num_bytes", [1, 1_000_000, 300_000_000])
def test_too_little_memory_says_how_much_is_needed_and_that_is_enough(network: BiLM, num_bytes: int) -> None:
    with pytest.raises(InputError, match=r"are too little memory: this model needs .* or more") as error:
        within(network, num_bytes)
    needed = parse_bytes(str(error.value).removesuffix(" or more").rpartition("needs ")[2])
    assert within(network, needed).max_positions >= LEAST
    with pytest.raises(InputError, match="too little"):
        within(network, int(needed * 0.8))


def test_there_is_room_for_the_types_of_a_batch_and_no_window_is_shorter_than_one(network: BiLM) -> None:
    for num_bytes in BUDGETS:
        with contextlib.suppress(InputError):
            sizes = within(network, num_bytes)
            assert sizes.cached_types >= sizes.max_positions >= LEAST
            assert sizes.window_positions >= sizes.max_positions


def test_a_window_is_shorter_where_a_batch_is(network: BiLM) -> None:
    ratio = quick(network).window_positions / quick(network).max_positions
    for num_bytes in BUDGETS:
        with contextlib.suppress(InputError):
            sizes = within(network, num_bytes)
            assert sizes.window_positions == pytest.approx(ratio * sizes.max_positions, abs=1)


def test_the_same_memory_gives_the_same_sizes(network: BiLM) -> None:
    assert within(network, 10**10) == within(network, 10**10)
