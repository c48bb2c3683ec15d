from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.errors import ConfigError
from lowtide.model.dropouts import Dropouts, dropped, dropped_whole

RATES = st.integers(0, 99).map(lambda percent: percent / 100)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, 5), max_size=30), rate=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_places_of_one_row_lose_the_same_numbers(rows: list[int], rate: float, seed: int) -> None:
    values = torch.ones(len(rows), 8)
    out = dropped(values, rate, generator(seed), rows=torch.tensor(rows, dtype=torch.int64))
    for place, row in enumerate(rows):
        assert torch.equal(out[place], out[rows.index(row)])
    assert set(out.unique().tolist()) <= {0.0, float(torch.ones(1).div_(1 - rate))}


def test_different_rows_lose_different_numbers() -> None:
    out = dropped(torch.ones(50, 64), 0.5, generator(), rows=torch.arange(50))
    assert len(out.unique(dim=0)) == 50


@pytest.mark.parametrize("rate", [0.1, 0.65])
@pytest.mark.parametrize("kind", ["every number", "along rows", "whole vectors"])
def test_the_mean_over_many_draws_is_what_came_in(kind: str, rate: float) -> None:
    values = torch.rand(6, 5, generator=generator(1)) + 1
    rows = torch.tensor([0, 1, 2, 0, 1, 0])
    draws, total = generator(2), torch.zeros(6, 5)
    for _ in range(4000):
        if kind == "whole vectors":
            total += dropped_whole(values, rate, draws)
        else:
            total += dropped(values, rate, draws, rows=rows if kind == "along rows" else None)
    deviation = (rate / (1 - rate) / 4000) ** 0.5  # of the mean: half a per cent at 0.1
    torch.testing.assert_close(total / 4000, values, rtol=5 * deviation, atol=0)


def test_whole_vectors_are_left_out_or_kept() -> None:
    out = dropped_whole(torch.ones(200, 3), 0.5, generator())
    assert set(out.sum(dim=1).tolist()) == {0.0, 6.0}


@pytest.mark.parametrize("drop", [dropped, dropped_whole])
def test_nothing_is_drawn_where_nothing_is_left_out(drop: object) -> None:
    assert callable(drop)
    values, draws = torch.ones(3, 2), generator()
    before = draws.get_state()
    assert drop(values, 0.0, draws) is values
    assert torch.equal(draws.get_state(), before)


def test_a_plain_rate_is_that_of_every_layer_and_of_the_softmax() -> None:
    plain = Dropouts.plain(0.25)
    assert plain.rates == {"types": 0.0, "inputs": 0.25, "hidden": 0.25, "outputs": 0.25, "recurrent": 0.0}
    assert (plain.plain_rate, str(plain), str(Dropouts())) == (0.25, "0.25", "0")
    assert Dropouts(inputs=0.25, hidden=0.25, outputs=0.25, is_locked=True).plain_rate is None
    assert Dropouts(inputs=0.25).plain_rate is None


@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=f"the dropout of recurrent is {rate}, expected 0 up to 1, such as 0.1"):
        Dropouts(recurrent=rate)
