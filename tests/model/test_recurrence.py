from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.autograd.function import FunctionCtx

from lowtide.model.recurrence import LayerState, PackedSteps, RecurrentWeights, recur

CELL, STATE = 4, 3


@dataclass
class Problem:
    """Everything that `recur` takes, in float64; the tensors ask for gradients."""

    input_gates: Tensor
    hidden: Tensor
    cell: Tensor
    recurrent: Tensor
    projection: Tensor | None
    steps: PackedSteps
    cell_clip: float | None
    projection_clip: float | None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        given_ = (self.input_gates, self.hidden, self.cell, self.recurrent, self.projection)
        return tuple(tensor for tensor in given_ if tensor is not None)

    def run(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gates, hidden, cell, recurrent, *projection = tensors
        weights = RecurrentWeights(
            recurrent, projection[0] if projection else None, self.cell_clip, self.projection_clip
        )
        outputs, last = recur(gates.clone(), self.steps, LayerState(hidden, cell), weights)
        return outputs, last.hidden, last.cell

    def run_plainly(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same by a plain loop, row by row, with the gradients of autograd."""
        gates, hidden, cell, recurrent, *projection = tensors
        rows_at = list(self.steps.rows_at)
        firsts = [sum(rows_at[:t]) for t in range(len(rows_at))]
        outputs: list[Tensor | None] = [None] * len(gates)
        last_h, last_c = [], []
        for row in range(len(hidden)):
            h, c = hidden[row], cell[row]
            for t, rows in enumerate(rows_at):
                if row >= rows:
                    break
                keep = self.steps.keeps[t]
                if keep is not None:
                    h, c = h * keep[row], c * keep[row]
                i, f, g, o = (gates[firsts[t] + row] + recurrent @ h).split(CELL)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                c = c if self.cell_clip is None else c.clamp(-self.cell_clip, self.cell_clip)
                h = torch.sigmoid(o) * torch.tanh(c)
                if projection:
                    h = projection[0] @ h
                    h = h if self.projection_clip is None else h.clamp(-self.projection_clip, self.projection_clip)
                outputs[firsts[t] + row] = h
            last_h.append(h)
            last_c.append(c)
        return torch.stack([o for o in outputs if o is not None]), torch.stack(last_h), torch.stack(last_c)


def problem(
    *,
    seed: int = 0,
    rows_at: Sequence[int] = (3, 3, 2, 1, 1),
    is_projected: bool = True,
    clips: tuple[float | None, float | None] = (None, None),
    keeps: dict[int, list[bool]] | None = None,
) -> Problem:
    """A random problem; ``keeps`` says for some steps which rows keep their state."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    state = STATE if is_projected else CELL
    steps = PackedSteps(
        list(rows_at),
        [torch.tensor(keeps[t])[:, None] if keeps and t in keeps else None for t in range(len(rows_at))],
    )
    rows = rows_at[0]
    return Problem(
        draw(sum(rows_at), 4 * CELL),
        draw(rows, state),
        draw(rows, CELL),
        draw(4 * CELL, state),
        draw(state, CELL) if is_projected else None,
        steps,
        *clips,
    )


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "clips": {"clips": (0.4, 0.3)},
    "the clip of the cell alone": {"clips": (0.4, None)},
    "the clip of the projection alone": {"clips": (None, 0.3)},
    "resets": {"keeps": {0: [True, False, True], 2: [False, True]}},
    "a reset of all rows at the first step": {"keeps": {0: [False, False, False]}},
    "resets and clips": {"clips": (0.4, 0.3), "keeps": {1: [True, False, True], 3: [False]}},
    "rows that end together": {"rows_at": (2, 2, 2)},
    "one step": {"rows_at": (3,)},
    "no projection": {"is_projected": False, "clips": (0.4, None)},
    "no projection, resets": {"is_projected": False, "keeps": {1: [False, True, True]}},
}
CASE = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@CASE
def test_gradients_agree_with_numerical_ones(case: dict[str, Any]) -> None:
    given_ = problem(**case)
    assert gradcheck(given_.run, given_.tensors, eps=1e-7, atol=1e-5)


@CASE
def test_outputs_and_last_states_equal_those_of_a_plain_loop(case: dict[str, Any]) -> None:
    given_ = problem(**case)
    for found, expected in zip(given_.run(*given_.tensors), given_.run_plainly(*given_.tensors), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def gradients(given_: Problem, results: tuple[Tensor, ...], of: tuple[float, ...]) -> tuple[Tensor, ...]:
    """Of a weighted sum of squares of the results; a weight of 0 leaves a result out."""
    loss = sum(
        ((weight * result**2).sum() for weight, result in zip(of, results, strict=True) if weight),
        torch.zeros((), dtype=torch.float64),
    )
    return torch.autograd.grad(loss, given_.tensors, allow_unused=True)


@CASE
@pytest.mark.parametrize("of", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 2.0, 3.0)])
def test_gradients_equal_those_of_a_plain_loop(case: dict[str, Any], of: tuple[float, float, float]) -> None:
    given_ = problem(**case)
    found = gradients(given_, given_.run(*given_.tensors), of)
    expected = gradients(given_, given_.run_plainly(*given_.tensors), of)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs, rtol=0, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    data=st.data(),
)
def test_any_problem_equals_a_plain_loop(seed: int, lengths: list[int], data: st.DataObject) -> None:
    rows_at = [sum(length > t for length in lengths) for t in range(max(lengths))]
    keeps = {
        t: data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
        for t, rows in enumerate(rows_at)
        if data.draw(st.booleans())
    }
    clip = st.sampled_from([None, 0.2, 1.0])
    given_ = problem(
        seed=seed,
        rows_at=rows_at,
        is_projected=data.draw(st.booleans()),
        clips=(data.draw(clip), data.draw(clip)),
        keeps=keeps,
    )
    ours, theirs = given_.run(*given_.tensors), given_.run_plainly(*given_.tensors)
    of = (1.0, 0.5, 0.25)
    our_gradients, their_gradients = gradients(given_, ours, of), gradients(given_, theirs, of)
    for found, expected in zip((*ours, *our_gradients), (*theirs, *their_gradients), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_the_clips_of_these_tests_hold_values_back() -> None:
    outputs, _, cells = (result.abs() for result in problem(clips=(0.4, 0.3)).run(*problem().tensors))
    assert 0 < (outputs == 0.3).sum() < outputs.numel() and 0 < (cells == 0.4).sum() < cells.numel()


def test_the_clip_of_the_projection_means_nothing_without_a_projection() -> None:
    given_ = problem(is_projected=False, clips=(None, 0.01))
    free = problem(is_projected=False)
    assert torch.equal(given_.run(*given_.tensors)[0], free.run(*free.tensors)[0])


def test_outputs_are_the_same_with_and_without_gradients() -> None:
    given_ = problem(clips=(0.4, 0.3), keeps={2: [False, True]})
    with torch.no_grad():
        without = given_.run(*given_.tensors)
    for found, expected in zip(without, given_.run(*given_.tensors), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_steps_are_kept_for_a_backward_pass_only_where_one_may_come(
    is_wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Tensor | None] = []
    monkeypatch.setattr(FunctionCtx, "save_for_backward", lambda ctx, *tensors: kept.extend(tensors))
    given_ = problem()
    with torch.set_grad_enabled(is_wanted):
        given_.run(*given_.tensors)
    assert bool(kept) == is_wanted


@pytest.mark.parametrize("keeps", [None, {0: [False, True, True]}])
def test_the_state_given_is_not_changed(keeps: dict[int, list[bool]] | None) -> None:
    given_ = problem(clips=(0.4, 0.3), keeps=keeps)
    before = [tensor.detach().clone() for tensor in given_.tensors]
    sum(result.sum() for result in given_.run(*given_.tensors)).backward()  # type: ignore[union-attr]  # never empty
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(given_.tensors, before, strict=True))
