from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lowtide.training.averaging import TailAverage


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20))
def test_the_mean_is_that_of_all_states(values: list[float]) -> None:
    parameter = nn.Parameter(torch.zeros(3))
    average = TailAverage({"x": parameter})
    for value in values:
        with torch.no_grad():
            parameter.fill_(value)
        average.add()
    with average.in_place():
        assert parameter.tolist() == pytest.approx([sum(values) / len(values)] * 3, rel=1e-4, abs=1e-3)
    assert parameter.tolist() == [values[-1]] * 3


def test_the_weights_come_back_when_a_look_at_the_mean_fails() -> None:
    parameter = nn.Parameter(torch.ones(2))
    average = TailAverage({"x": parameter})
    average.add()
    with torch.no_grad():
        parameter.fill_(5)
    with pytest.raises(KeyError), average.in_place():
        assert parameter.tolist() == [1, 1]
        raise KeyError
    assert parameter.tolist() == [5, 5]


def test_a_restored_mean_goes_on_as_the_first_one() -> None:
    parameter = nn.Parameter(torch.ones(2))
    first, second = TailAverage({"x": parameter}), TailAverage({"x": parameter})
    first.add()
    second.restore({name: tensor.clone() for name, tensor in first.tensors().items()}, first.count)
    with torch.no_grad():
        parameter.fill_(4)
    for average in (first, second):
        average.add()
    assert torch.equal(first.tensors()["x"], second.tensors()["x"])
    assert second.tensors()["x"].tolist() == [2.5, 2.5]
