"""The time loop of a projected LSTM: all that must be done step by step, and nothing else.

The gradient is written out for the sequence as a whole: only the two recurrent products stay in
the loop, and every weight gradient is one large product after it. Plain autograd would add each
weight's gradient up step by step, and spend most of its time there.

**Packed steps.** A batch of rows of different lengths is laid out step by step, longest row first:
step t holds the rows that are longer than t, and nothing else. No position is padding, so none is
computed, masked or summed by accident.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class LayerState:
    """What one layer remembers between two steps."""

    hidden: Tensor
    """(rows, state width)"""
    cell: Tensor
    """(rows, cell width)"""


@dataclass(frozen=True)
class PackedSteps:
    """How packed positions lie: which belong to one step, and where a state starts from zero."""

    rows_at: Sequence[int]
    """How many rows are longer than t, for every step t; never rising."""
    keeps: Sequence[Tensor | None]
    """(rows at t, 1): 0 where the state is zero before step t, else 1; None if it is 1 everywhere."""


@dataclass(frozen=True)
class RecurrentWeights:
    """What the loop itself needs of a layer."""

    recurrent: Tensor
    """(4 * cell width, state width)"""
    projection: Tensor | None
    """(state width, cell width); None if the state is the cell's own output."""
    cell_clip: float | None
    projection_clip: float | None


def recur(
    input_gates: Tensor, steps: PackedSteps, state: LayerState, weights: RecurrentWeights
) -> tuple[Tensor, LayerState]:
    """Run the recurrence over packed positions.

    This is the wall behind which a faster engine may stand: products of the inputs come in
    ready-made, and what comes out is the state at every position. Gradients reach all four
    arguments that are tensors.

    Args:
        input_gates: (positions, 4 * cell width), W x + b with the forget bias in it; the gates in
            PyTorch's order: input, forget, candidate, output.
        steps: how the positions lie.
        state: before the first step, longest row first.
        weights: of the layer.

    Returns:
        (positions, state width), packed, and the state of every row after its own last step.
    """
    outputs, hidden, cell = _Recurrence.apply(  # type: ignore[no-untyped-call]  # torch does not type it
        input_gates,
        state.hidden,
        state.cell,
        weights.recurrent,
        weights.projection,
        steps,
        weights.cell_clip,
        weights.projection_clip,
        torch.is_grad_enabled(),
    )
    return outputs, LayerState(hidden, cell)


class _Recurrence(torch.autograd.Function):
    """Letters: i f g o are the gates, c the cell, m = o * tanh(c), h the state; n rows at a step."""

    @staticmethod
    def forward(
        ctx: Any,
        input_gates: Tensor,
        h: Tensor,
        c: Tensor,
        recurrent: Tensor,
        projection: Tensor | None,
        steps: PackedSteps,
        cell_clip: float | None,
        projection_clip: float | None,
        is_grad_enabled: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        width = c.shape[1]
        recurrent_t = recurrent.t()
        projection_t = None if projection is None else projection.t()
        outputs = input_gates.new_empty(len(input_gates), h.shape[1])
        last_h, last_c = h.clone(), c.clone()
        # a parameter says that it needs a gradient even where none is computed
        keeps_all = is_grad_enabled and any(ctx.needs_input_grad)
        # all gates, cells and previous states are wanted again by the backward pass, and only there
        gates_at = torch.empty_like(input_gates) if keeps_all else input_gates.new_empty(0)
        tanhs, cells, before_c = (input_gates.new_empty(len(outputs) * keeps_all, width) for _ in range(3))
        before_h = input_gates.new_empty(len(outputs) * keeps_all, h.shape[1])
        first = 0
        for n, keep in zip(steps.rows_at, steps.keeps, strict=True):
            here = slice(first, first + n)
            first += n
            if n < len(h):
                last_h[n : len(h)], last_c[n : len(h)] = h[n:], c[n:]
                h, c = h[:n], c[:n]
            if keep is not None:
                h, c = h * keep, c * keep
            gates = torch.addmm(input_gates[here], h, recurrent_t, out=gates_at[here] if keeps_all else None)
            if keeps_all:
                before_h[here], before_c[here] = h, c
            gates[:, : 2 * width].sigmoid_()
            gates[:, 2 * width : 3 * width].tanh_()
            gates[:, 3 * width :].sigmoid_()
            i, f, g, o = gates.split(width, dim=1)
            c = torch.addcmul(f * c, i, g, out=cells[here] if keeps_all else None)
            if cell_clip is not None:
                c.clamp_(-cell_clip, cell_clip)
            tanh = torch.tanh(c, out=tanhs[here] if keeps_all else None)
            h = outputs[here]
            if projection_t is None:
                torch.mul(o, tanh, out=h)
            else:
                torch.mm(o * tanh, projection_t, out=h)
                if projection_clip is not None:
                    h.clamp_(-projection_clip, projection_clip)
        last_h[: len(h)], last_c[: len(h)] = h, c
        if keeps_all:
            ctx.save_for_backward(outputs, gates_at, tanhs, cells, before_h, before_c, recurrent, projection)
            ctx.steps, ctx.cell_clip, ctx.projection_clip = steps, cell_clip, projection_clip
        return outputs, last_h, last_c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_last_h: Tensor, d_last_c: Tensor) -> Any:
        outputs, gates, tanhs, cells, before_h, before_c, recurrent, projection = ctx.saved_tensors
        width = cells.shape[1]
        i, f, g, o = gates.split(width, dim=1)
        # what is elementwise, and known for all steps at once: dc/dm, and d gates / d (c, c, c, m)
        cell_slope = o * (1 - tanhs * tanhs)
        cell_open = _inside(cells, ctx.cell_clip)
        if cell_open is not None:
            cell_slope *= cell_open
        slopes = torch.cat([g * i * (1 - i), before_c * f * (1 - f), i * (1 - g * g), tanhs * o * (1 - o)], dim=1).view(
            -1, 4, width
        )
        projection_open = None if projection is None else _inside(outputs, ctx.projection_clip)
        d_gates = torch.empty_like(slopes)
        d_states = torch.empty_like(outputs)  # gradient of h before its clip
        dh, dc = d_last_h[:0], d_last_c[:0]
        first = len(outputs)
        for n, keep in zip(reversed(ctx.steps.rows_at), reversed(ctx.steps.keeps), strict=True):
            first -= n
            here = slice(first, first + n)
            if n > len(dh):  # these rows end here: their last state is this one
                dh, dc = torch.cat([dh, d_last_h[len(dh) : n]]), torch.cat([dc, d_last_c[len(dc) : n]])
            dh = torch.add(dh, d_outputs[here], out=d_states[here])
            if projection_open is not None:
                dh *= projection_open[here]
            dm = dh if projection is None else torch.mm(dh, projection)
            if cell_open is not None:
                dc = dc * cell_open[here]
            dc = torch.addcmul(dc, dm, cell_slope[here])
            torch.mul(slopes[here, :3], dc[:, None], out=d_gates[here, :3])
            torch.mul(slopes[here, 3], dm, out=d_gates[here, 3])
            dh = torch.mm(d_gates[here].view(n, -1), recurrent)
            dc = dc * f[here]
            if keep is not None:
                dh, dc = dh * keep, dc * keep
        d_input_gates = d_gates.view(len(outputs), -1)
        d_recurrent = torch.mm(d_input_gates.t(), before_h)
        d_projection = None if projection is None else torch.mm(d_states.t(), o * tanhs)
        return d_input_gates, dh, dc, d_recurrent, d_projection, None, None, None, None


def _inside(values: Tensor, limit: float | None) -> Tensor | None:
    """1 where a clip let a value through, 0 where it held it back."""
    return None if limit is None else (values.abs() < limit).to(values.dtype)
