from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from lowtide.model.dropouts import Dropouts
from lowtide.model.lstm import LSTMConfig, LSTMStack, ProjectedLSTM
from lowtide.model.recurrence import LayerState, PackedSteps
from model import reference

STEPS = 7
ONE_ROW = PackedSteps([1] * STEPS, [None] * STEPS)
EVERYTHING = Dropouts(types=0.5, inputs=0.5, hidden=0.5, outputs=0.5, recurrent=0.5, is_locked=True)


def stack_of(config: LSTMConfig = tiny.LSTM, *, dropouts: Dropouts = Dropouts()) -> LSTMStack:  # noqa: B008  # frozen
    """One direction with random weights, in float64."""
    stack = LSTMStack(config, dropouts=dropouts).double()
    tiny.random_(stack)
    return stack


def inputs_for(stack: LSTMStack, positions: int = STEPS) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(positions, stack.config.width, generator=generator, dtype=torch.float64)


def run(stack: LSTMStack, inputs: Tensor, states: list[LayerState] | None = None) -> list[Tensor]:
    with torch.no_grad():
        outputs: list[Tensor] = stack(inputs, ONE_ROW, states or stack.zero_states(1, inputs))[0]
    return outputs


# -- the formulas --------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", tiny.VARIANTS)
def test_one_direction_agrees_with_the_reference_from_any_state_on(variant: str) -> None:
    network = tiny.bilm(tiny.VARIANTS[variant], dtype=torch.float64)
    stack, model = network.forward_lstm, tiny.published(network)
    inputs = inputs_for(stack)
    generator = torch.Generator().manual_seed(4)
    states = [
        LayerState(
            *(torch.randn(tensor.shape, generator=generator, dtype=torch.float64) for tensor in (s.hidden, s.cell))
        )
        for s in stack.zero_states(1, inputs)
    ]
    with torch.no_grad():
        outputs, last = stack(inputs, ONE_ROW, states)
    theirs = [reference.State(state.cell[0].numpy(), state.hidden[0].numpy()) for state in states]
    expected, after = reference.read(model, 0, inputs.numpy(), theirs, [False] * STEPS)
    for layer in range(stack.config.num_layers):
        np.testing.assert_allclose(outputs[layer], expected[layer], atol=1e-12)
        np.testing.assert_allclose(last[layer].hidden[0], after[layer].p, atol=1e-12)
        np.testing.assert_allclose(last[layer].cell[0], after[layer].c, atol=1e-12)


def test_the_forget_bias_is_added_to_the_forget_gate_and_to_no_other() -> None:
    added = stack_of(dataclasses.replace(tiny.LSTM, forget_bias=1.5))
    stored = stack_of(dataclasses.replace(tiny.LSTM, forget_bias=0.0))
    width = tiny.LSTM.cell_width
    with torch.no_grad():
        for layer in stored.layers:
            assert isinstance(layer.bias, Tensor)
            layer.bias[width : 2 * width] += 1.5
    for ours, theirs in zip(run(added, inputs_for(added)), run(stored, inputs_for(stored)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)


def test_the_forget_bias_is_not_in_the_stored_bias() -> None:
    assert not any(layer.bias.any() for layer in LSTMStack(tiny.LSTM, dropouts=Dropouts()).layers)  # type: ignore[operator]  # a tensor


def test_the_residual_adds_the_first_layer_to_the_second() -> None:
    with_, without = (stack_of(dataclasses.replace(tiny.LSTM, has_residual=has)) for has in (True, False))
    inputs = inputs_for(with_)
    first, second = run(without, inputs)
    torch.testing.assert_close(run(with_, inputs)[1], first + second, rtol=0, atol=1e-14)


def test_the_residual_adds_nothing_to_the_first_layer() -> None:
    with_, without = (stack_of(dataclasses.replace(tiny.LSTM, has_residual=has)) for has in (True, False))
    inputs = inputs_for(with_)
    assert torch.equal(run(with_, inputs)[0], run(without, inputs)[0])


def test_the_carried_state_never_holds_the_residual() -> None:
    with_, without = (stack_of(dataclasses.replace(tiny.LSTM, has_residual=has)) for has in (True, False))
    inputs = inputs_for(with_)
    ours, theirs = (stack(inputs, ONE_ROW, stack.zero_states(1, inputs))[1] for stack in (with_, without))
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine.hidden, other.hidden)


def test_the_state_given_reaches_every_layer() -> None:
    stack = stack_of(dataclasses.replace(tiny.LSTM, num_layers=3))
    inputs = inputs_for(stack)
    for layer in range(3):
        states = stack.zero_states(1, inputs)
        states[layer] = LayerState(states[layer].hidden + 0.3, states[layer].cell + 0.3)
        changed = [not torch.equal(*pair) for pair in zip(run(stack, inputs, states), run(stack, inputs), strict=True)]
        assert changed == [number >= layer for number in range(3)]


# -- dropout, states, sizes ------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 1])
def test_training_drops_out_of_the_input_of_every_layer(layer: int) -> None:
    stack = stack_of(dropouts=Dropouts.plain(0.5)).train()
    seen: list[Tensor] = []
    stack.layers[layer].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    run(stack, inputs_for(stack))
    assert 0 < (seen[0] == 0).sum() < seen[0].numel()


def test_evaluation_drops_out_nothing() -> None:
    stack = stack_of(dropouts=EVERYTHING).eval()
    assert all(torch.equal(*pair) for pair in zip(*(run(stack, inputs_for(stack)) for _ in range(2)), strict=True))


def seen_by(stack: LSTMStack, layer: int, inputs: Tensor, steps: PackedSteps, *, seed: int = 0) -> Tensor:
    """What a layer reads; all states are zero at first."""
    seen: list[Tensor] = []
    hook = stack.layers[layer].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    stack(inputs, steps, stack.zero_states(steps.rows_at[0], inputs), torch.Generator().manual_seed(seed))
    hook.remove()
    return seen[0]


@pytest.mark.parametrize(("layer", "rates"), [(0, (0.25, 0.0)), (1, (0.0, 0.25))])
def test_the_first_layer_and_the_others_have_a_rate_of_their_own(layer: int, rates: tuple[float, float]) -> None:
    stack = stack_of(dataclasses.replace(tiny.LSTM, num_layers=3)).train()
    stack.dropouts = Dropouts(inputs=rates[0], hidden=rates[1])
    for number in range(3):
        is_dropped = (seen_by(stack, number, inputs_for(stack), ONE_ROW) == 0).any()
        assert is_dropped == (bool(layer) == bool(number))


@pytest.mark.parametrize("layer", [0, 1])
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=2, max_size=6), seed=st.integers(0, 1000))
def test_a_locked_mask_is_one_for_all_steps_of_a_row_and_another_for_another_row(
    layer: int, lengths: list[int], seed: int
) -> None:
    """Rows are told apart by where they lie: longest first, step by step."""
    stack = stack_of(
        dataclasses.replace(tiny.LSTM, cell_width=40, width=40, cell_clip=None, has_residual=False)
    ).train()
    stack.dropouts = Dropouts(inputs=0.5, hidden=0.5, is_locked=True)
    rows_at = [sum(length > t for length in lengths) for t in range(max(lengths))]
    steps = PackedSteps(rows_at, [None] * len(rows_at))
    left_out = seen_by(stack, layer, torch.ones(sum(lengths), 40, dtype=torch.float64), steps, seed=seed) == 0
    firsts = [sum(rows_at[:t]) for t in range(len(rows_at))]
    for row in range(len(lengths)):
        places = [first + row for first, rows in zip(firsts, rows_at, strict=True) if row < rows]
        assert (left_out[places] == left_out[row]).all()
        assert not any(torch.equal(left_out[row], left_out[other]) for other in range(row))


def test_the_recurrent_weights_that_are_left_out_learn_nothing_and_the_others_as_autograd_says() -> None:
    """Against the formulas as a loop over steps, in float64, with the mask that the same generator draws."""
    config = dataclasses.replace(tiny.LSTM, num_layers=1, cell_clip=0.4, projection_clip=0.3)
    stack = stack_of(config, dropouts=Dropouts(recurrent=0.5)).train()
    [layer] = stack.layers
    assert isinstance(layer, ProjectedLSTM) and layer.projection_weight is not None
    inputs = inputs_for(stack)
    [outputs], _ = stack(inputs, ONE_ROW, stack.zero_states(1, inputs), torch.Generator().manual_seed(7))
    mask = torch.empty_like(layer.recurrent_weight).bernoulli_(0.5, generator=torch.Generator().manual_seed(7)) / 0.5
    assert 0 < (mask == 0).sum() < mask.numel()
    h, c, expected = inputs.new_zeros(config.width), inputs.new_zeros(config.cell_width), []
    for x in inputs:
        i, f, g, o = (layer.input_weight @ x + (layer.recurrent_weight * mask) @ h + layer.bias).chunk(4)
        c = torch.sigmoid(f + config.forget_bias) * c + torch.sigmoid(i) * torch.tanh(g)
        c = c.clamp(-0.4, 0.4)
        h = (layer.projection_weight @ (torch.sigmoid(o) * torch.tanh(c))).clamp(-0.3, 0.3)
        expected.append(h)
    torch.testing.assert_close(outputs, torch.stack(expected), rtol=0, atol=1e-12)
    parameters = list(layer.parameters())
    found = torch.autograd.grad(outputs.square().sum(), parameters)
    right = torch.autograd.grad(torch.stack(expected).square().sum(), parameters)
    for ours, theirs in zip(found, right, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    of_recurrent = dict(zip([name for name, _ in layer.named_parameters()], found, strict=True))["recurrent_weight"]
    assert not of_recurrent[mask == 0].any() and of_recurrent[mask != 0].any()


@pytest.mark.parametrize(
    ("cell_width", "width", "state_width"), [(7, 5, 5), (5, 5, 5)], ids=["projected", "not projected"]
)
def test_zero_states_are_as_wide_as_the_states_that_come_out(cell_width: int, width: int, state_width: int) -> None:
    stack = stack_of(dataclasses.replace(tiny.LSTM, cell_width=cell_width, width=width))
    inputs = inputs_for(stack)
    states = stack.zero_states(2, inputs)
    assert [(s.hidden.shape, s.cell.shape) for s in states] == [((2, state_width), (2, cell_width))] * 2
    assert all(output.shape == (STEPS, state_width) for output in run(stack, inputs))


def test_a_layer_without_a_projection_has_no_weight_for_one() -> None:
    stack = stack_of(dataclasses.replace(tiny.LSTM, cell_width=5))
    assert [name for name, _ in stack.named_parameters() if "projection" in name] == []


def test_gradients_of_the_stack_agree_with_numerical_ones() -> None:
    stack = stack_of()
    inputs = inputs_for(stack).requires_grad_()
    names = [name for name, _ in stack.named_parameters()]

    def outputs_of(inputs: Tensor, *parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        arguments = (inputs, ONE_ROW, stack.zero_states(1, inputs))
        outputs, _ = torch.func.functional_call(stack, given, arguments)
        return torch.stack(outputs)

    assert torch.autograd.gradcheck(outputs_of, (inputs, *stack.parameters()), eps=1e-7, atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("once", [False, True])
def test_what_goes_back_once_gives_the_same_gradients_and_then_no_more(once: bool) -> None:
    stack = stack_of()
    for layer in stack.layers:
        assert isinstance(layer, ProjectedLSTM)
        layer.goes_back_once = once
    outputs, _ = stack(inputs_for(stack), ONE_ROW, stack.zero_states(1, inputs_for(stack)))
    parameters = list(stack.parameters())
    first = torch.autograd.grad(outputs[-1].sum(), parameters, retain_graph=True)
    if once:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.autograd.grad(outputs[-1].sum(), parameters)
        return
    second = torch.autograd.grad(outputs[-1].sum(), parameters)
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def test_a_plain_layer_gives_the_same_by_the_kernel_of_pytorch_gradients_too() -> None:
    config = LSTMConfig(5, 5, cell_clip=None, projection_clip=None, has_residual=False, num_layers=1)
    layer = ProjectedLSTM(config, 5).double()
    tiny.random_(layer)
    steps = PackedSteps([3, 3, 2, 1], [None] * 4)
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    inputs, state = draw(9, 5), LayerState(draw(3, 5), draw(3, 5))
    leaves = [inputs, state.hidden, state.cell, *layer.parameters()]
    weights = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    left_in = torch.rand(20, 5, generator=generator, dtype=torch.float64) < 0.5
    found = []
    for read in (layer.forward, layer.read_plainly):
        outputs, last = read(inputs, steps, state, layer.recurrent_weight * left_in)
        total = (outputs * weights).sum() + last.hidden.sum() + (last.cell * last.cell).sum()
        found.append([outputs, last.hidden, last.cell, *torch.autograd.grad(total, leaves)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert (found[0][7][~left_in] == 0).all() and (found[0][7][left_in] != 0).all()  # the recurrent weight's own
