from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny
from lowtide.model.lstm import LSTMConfig, LSTMStack, ProjectedLSTM
from lowtide.model.recurrence import LayerState, PackedSteps
from model import reference

STEPS = 7
ONE_ROW = PackedSteps([1] * STEPS, [None] * STEPS)


def stack_of(config: LSTMConfig = tiny.LSTM, *, dropout: float = 0.0) -> LSTMStack:
    """One direction with random weights, in float64."""
    stack = LSTMStack(config, dropout=dropout).double()
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
    assert not any(layer.bias.any() for layer in LSTMStack(tiny.LSTM, dropout=0.0).layers)  # type: ignore[operator]  # a tensor


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
    stack = stack_of(dropout=0.5).train()
    seen: list[Tensor] = []
    stack.layers[layer].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    run(stack, inputs_for(stack))
    assert 0 < (seen[0] == 0).sum() < seen[0].numel()


def test_evaluation_drops_out_nothing() -> None:
    stack = stack_of(dropout=0.5).eval()
    assert all(torch.equal(*pair) for pair in zip(*(run(stack, inputs_for(stack)) for _ in range(2)), strict=True))


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
    found = []
    for read in (layer.forward, layer.read_plainly):
        outputs, last = read(inputs, steps, state)
        total = (outputs * weights).sum() + last.hidden.sum() + (last.cell * last.cell).sum()
        found.append([outputs, last.hidden, last.cell, *torch.autograd.grad(total, leaves)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
