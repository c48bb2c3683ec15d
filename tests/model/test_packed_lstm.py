from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from lowtide.model import packed_lstm
from lowtide.model.dropouts import Dropouts
from lowtide.model.lstm import LSTMConfig, LSTMStack
from lowtide.model.packed_lstm import PackedReading, PackedStack, read_together
from lowtide.model.products import Dtype, kernel_for
from lowtide.model.recurrence import LayerState, PackedSteps

CPU = torch.device("cpu")
FLOAT32 = kernel_for("float32", CPU)
CONFIGS = {
    **{variant: config.lstm for variant, config in tiny.VARIANTS.items()},
    "one clip of two": dataclasses.replace(tiny.LSTM, projection_clip=None),
    "the other clip": dataclasses.replace(tiny.LSTM, cell_clip=None),
    "a projection that is as wide": dataclasses.replace(tiny.LSTM, cell_width=5, has_projection=True),
    "another forget bias": dataclasses.replace(tiny.LSTM, forget_bias=-0.7),
    "one layer, no residual, no projection": LSTMConfig(5, 5, 1, cell_clip=None, has_residual=False),
}
ROWS_AT = [5, 5, 4, 4, 4, 2, 1, 1, 1]
WIDE = LSTMConfig(cell_width=1024, width=128)
Answer = tuple[list[Tensor], list[LayerState]]
claim = settings(derandomize=True, deadline=None)


def stack_of(config: LSTMConfig, *, seed: int = 0) -> LSTMStack:
    stack = LSTMStack(config, dropouts=Dropouts())
    tiny.random_(stack, seed=seed)
    return stack.eval()


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def states_for(stack: LSTMStack, rows: int, *, seed: int = 7) -> list[LayerState]:
    """Such as a layer might carry: within its clips, as the cell is not clipped before it is used."""
    zero = stack.zero_states(rows, torch.empty(0))
    return [
        LayerState(draw(*state.hidden.shape, seed=seed + n) / 2, draw(*state.cell.shape, seed=seed - n - 1) / 2)
        for n, state in enumerate(zero)
    ]


def read(
    packed: PackedStack, inputs: Tensor, rows_at: Sequence[int], states: Sequence[LayerState], num_types: int
) -> Answer:
    """Positions whose inputs are types, as the reader hands them over."""
    with torch.inference_mode():
        types = torch.arange(len(inputs)) % num_types
        return packed.read(packed.input_gates(inputs[:num_types]), types, rows_at, states)


def judged(
    stack: LSTMStack, inputs: Tensor, rows_at: Sequence[int], states: Sequence[LayerState], dtype: torch.dtype
) -> Answer:
    """By the network that is trained."""
    steps = PackedSteps(rows_at, [None] * len(rows_at))
    given = [LayerState(state.hidden.to(dtype), state.cell.to(dtype)) for state in states]
    with torch.inference_mode():
        answer: Answer = copy.deepcopy(stack).to(dtype)(inputs.to(dtype), steps, given)
    return answer


def tensors(answer: Answer) -> list[Tensor]:
    outputs, last = answer
    return [*outputs, *(state.hidden for state in last), *(state.cell for state in last)]


def compare(found: Answer, expected: Answer, tolerance: float = 2e-6) -> None:
    for one, other in zip(tensors(found), tensors(expected), strict=True):
        atol = tolerance * max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=atol)


# -- the same numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", CONFIGS)
def test_packed_layers_agree_with_those_that_are_trained(variant: str) -> None:
    stack = stack_of(CONFIGS[variant])
    num_types = 6
    inputs = draw(num_types, stack.config.width, seed=3)[torch.arange(sum(ROWS_AT)) % num_types]
    states = states_for(stack, ROWS_AT[0])
    found = read(PackedStack(stack, FLOAT32), inputs, ROWS_AT, states, num_types)
    exact = judged(stack, inputs, ROWS_AT, states, torch.float64)
    trained = judged(stack, inputs, ROWS_AT, states, torch.float32)
    compare(found, trained)
    compare(found, exact)
    compare(trained, exact)  # who judges is judged


@settings(claim, max_examples=50)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    rows_at_once=st.integers(1, 30),
    variant=st.sampled_from(["as published", "three layers", "no residual", "no projection of the state"]),
)
def test_blocks_of_steps_may_be_cut_anywhere(lengths: list[int], rows_at_once: int, variant: str) -> None:
    rows_at = [sum(length > step for length in lengths) for step in range(max(lengths))]
    stack = stack_of(CONFIGS[variant])
    inputs = draw(sum(rows_at), stack.config.width, seed=3)
    states = states_for(stack, len(lengths))
    with mock.patch.object(packed_lstm, "ROWS_AT_ONCE", rows_at_once):
        found = read(PackedStack(stack, FLOAT32), inputs, rows_at, states, len(inputs))
    compare(found, judged(stack, inputs, rows_at, states, torch.float32))


def test_no_more_rows_are_multiplied_at_once_than_are_worth_having() -> None:
    stack, rows_at, multiplied = stack_of(tiny.LSTM), [300, 300, 212, 200, 100, 7], list[int]()
    packed = PackedStack(stack, FLOAT32)
    product = packed.layers[1].input_product

    def counted(inputs: Tensor, plus: Tensor | None = None) -> Tensor:
        multiplied.append(len(inputs))
        return product(inputs, plus)

    packed.layers[1].input_product = counted
    read(packed, draw(sum(rows_at), 5, seed=3), rows_at, states_for(stack, 300), 9)
    assert multiplied == [300, 512, 307]


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_reading_goes_on_where_another_one_ended(cut: int) -> None:
    stack = stack_of(CONFIGS["three layers"])
    packed, rows = PackedStack(stack, FLOAT32), 3
    inputs, states = draw(9 * rows, stack.config.width, seed=3), states_for(stack, rows)
    whole, last = read(packed, inputs, [rows] * 9, states, len(inputs))
    first, between = read(packed, inputs[: cut * rows], [rows] * cut, states, cut * rows)
    second, after = read(packed, inputs[cut * rows :], [rows] * (9 - cut), between, (9 - cut) * rows)
    joined = [torch.cat(pair) for pair in zip(first, second, strict=True)]
    compare((joined, after), (whole, last))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("rows_at", [[1] * 4, ROWS_AT], ids=["one row", "rows"])
@pytest.mark.parametrize("variant", ["as published", "no residual", "no clips", "no projection of the state"])
def test_two_directions_read_together_as_each_would_alone(variant: str, rows_at: list[int], dtype: Dtype) -> None:
    both = [stack_of(CONFIGS[variant], seed=seed) for seed in (0, 1)]
    packed = [PackedStack(stack, kernel_for(dtype, CPU)) for stack in both]
    inputs = [draw(sum(rows_at), both[0].config.width, seed=seed) for seed in (3, 4)]
    states = [states_for(stack, rows_at[0], seed=seed) for stack, seed in zip(both, (7, 70), strict=True)]
    with torch.inference_mode():
        types = torch.arange(sum(rows_at))
        gates = [stack.input_gates(x) for stack, x in zip(packed, inputs, strict=True)]
        readings = [PackedReading(g, types, state) for g, state in zip(gates, states, strict=True)]
        found = read_together(packed, readings, rows_at)
    for answer, stack, x, state in zip(found, packed, inputs, states, strict=True):
        compare(answer, read(stack, x, rows_at, state, len(x)))


def test_no_positions_leave_the_states_as_they_were() -> None:
    stack = stack_of(tiny.LSTM)
    states = states_for(stack, 0)
    outputs, last = read(PackedStack(stack, FLOAT32), torch.empty(0, 5), [], states, 0)
    assert [output.shape for output in outputs] == [(0, 5), (0, 5)]
    assert [state.cell.shape for state in last] == [(0, 7), (0, 7)]


# -- what is whose ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["as published", "no projection of the state", "forget bias in the file"])
def test_the_weights_that_were_packed_are_left_as_they_are(variant: str) -> None:
    stack = stack_of(CONFIGS[variant])
    before = copy.deepcopy(stack.state_dict())
    inputs = draw(6, stack.config.width, seed=3)
    read(PackedStack(stack, FLOAT32), inputs, [3, 3], states_for(stack, 3), 6)
    assert all(torch.equal(tensor, before[name]) for name, tensor in stack.state_dict().items())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_later_changes_of_the_weights_are_not_seen(dtype: Dtype) -> None:
    stack = stack_of(CONFIGS["as published"])
    packed = PackedStack(stack, kernel_for(dtype, CPU))
    inputs, states = draw(6, stack.config.width, seed=3), states_for(stack, 3)
    before = read(packed, inputs, [3, 3], states, 6)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.mul_(-3)
    after = read(packed, inputs, [3, 3], states, 6)
    assert all(torch.equal(*pair) for pair in zip(tensors(before), tensors(after), strict=True))


def test_what_is_given_is_not_written_to_and_what_comes_out_is_ones_own() -> None:
    stack = stack_of(CONFIGS["three layers"])
    packed, inputs, states = PackedStack(stack, FLOAT32), draw(9, 5, seed=3), states_for(stack, 3)
    with torch.inference_mode():
        gates = packed.input_gates(inputs)
        given = [gates, *(state.hidden for state in states), *(state.cell for state in states)]
        before = [tensor.clone() for tensor in given]
        answer = packed.read(gates, torch.arange(9), [3, 3, 3], states)
        for tensor in tensors(answer):
            tensor.fill_(9)
    assert all(torch.equal(*pair) for pair in zip(given, before, strict=True))
    assert len({tensor.data_ptr() for tensor in tensors(answer)}) == len(tensors(answer))


# -- less exact, and how much ----------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.999999), ("bfloat16", 0.9999), ("int8", 0.998)])
def test_a_network_of_real_size_drifts_no_further_than_stated(dtype: Dtype, least: float) -> None:
    torch.manual_seed(0)
    stack = LSTMStack(WIDE, dropouts=Dropouts()).eval()
    rows_at = [8] * 12
    inputs, states = draw(sum(rows_at), WIDE.width, seed=3), stack.zero_states(8, torch.empty(0))
    found, _ = read(PackedStack(stack, kernel_for(dtype, CPU)), inputs, rows_at, states, len(inputs))
    expected, _ = judged(stack, inputs, rows_at, states, torch.float32)
    for one, other in zip(found, expected, strict=True):
        cosines = torch.nn.functional.cosine_similarity(one, other, dim=1)
        assert float(cosines.min()) >= least
        assert np.isfinite(one.numpy()).all()
