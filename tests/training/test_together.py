"""What one process does by itself when several learn together; `test_ranks.py` has them run."""

from __future__ import annotations

import pytest
import torch

from lowtide.model import Carry
from lowtide.model.recurrence import LayerState
from lowtide.training.ranks import Ranks
from lowtide.training.together import carry_of_own


@pytest.mark.parametrize(
    ("num_rows", "rank", "rows"),
    [(5, 0, [0, 3]), (5, 1, [1, 4]), (5, 2, [2]), (1, 2, [0])],
    ids=["the first", "another", "one with fewer rows", "one without a row"],
)
def test_a_process_has_the_states_of_its_rows(num_rows: int, rank: int, rows: list[int]) -> None:
    numbers = torch.arange(num_rows)[:, None]
    carry = Carry([LayerState(numbers, numbers + 10)], [LayerState(numbers + 20, numbers + 30)])
    own = carry_of_own(Ranks(rank, 3), carry)
    assert own is not None
    for state, first in ((own.forward[0], 0), (own.backward[0], 20)):
        assert state.hidden[:, 0].tolist() == [first + row for row in rows]
        assert state.cell[:, 0].tolist() == [first + 10 + row for row in rows]
