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

from lowtide.model.rounded import addmm, mm, rounded


@dataclass(frozen=True)
class LayerState:
    """What one layer remembers between two steps."""

    hidden: Tensor
    """(rows, state width)"""
    cell: Tensor
    """(rows, cell width)"""


def first_rows(states: Sequence[LayerState], rows: int) -> list[LayerState]:
    """Of every layer's states those of the first rows."""
    return [LayerState(state.hidden[:rows], state.cell[:rows]) for state in states]


@dataclass(frozen=True)
class PackedSteps:
    """How packed positions lie: which belong to one step, and where a state starts from zero."""

    rows_at: Sequence[int]
    """How many rows are longer than t, for every step t; never rising."""
    keeps: Sequence[Tensor | None]
    """(rows at t, 1): 0 where the state is zero before step t, else 1; None if it is 1 everywhere."""

    @property
    def rows(self) -> Tensor:
        """(positions,), on the CPU: in which row each position lies, the longest row first: its place in its step."""
        return torch.cat([torch.arange(rows) for rows in (0, *self.rows_at)])


@dataclass(frozen=True)
class RecurrentWeights:
    """What the loop itself needs of a layer."""

    recurrent: Tensor
    """(4 * cell width, state width)"""
    projection: Tensor | None
    """(state width, cell width); None if the state is the cell's own output."""
    cell_clip: float | None
    projection_clip: float | None
    dtype: torch.dtype | None = None
    """To which operands of products are rounded; None: to none."""
    goes_back_once: bool = False
    """Whether gradients may be written over what they are computed from: less memory and less time, but there is no
    second way back through the same states (``retain_graph``): PyTorch refuses it."""


def recur(
    input_gates: Tensor, steps: PackedSteps, state: LayerState, weights: RecurrentWeights
) -> tuple[Tensor, LayerState]:
    """Run the recurrence over packed positions.

    This is the wall behind which a faster engine may stand: products of the inputs come in
    ready-made, and what comes out is the state at every position. Gradients reach all four
    arguments that are tensors.

    Args:
        input_gates: (positions, 4 * cell width), W x + b with the forget bias in it; the gates in
            PyTorch's order: input, forget, candidate, output. What comes of them is written over them: to take
            fresh memory for it would cost as much as the arithmetic.
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
        weights.dtype,
        torch.is_grad_enabled(),
        weights.goes_back_once,
    )
    return outputs, LayerState(hidden, cell)


class _Recurrence(torch.autograd.Function):
    """Letters: i f g o are the gates, c the cell, m = o * tanh(c), h the state; n rows at a step.

    What is done between two products is done step by step, while the numbers are near; and tanh(x) as
    2 sigmoid(2 x) - 1, which takes a third of the time.
    """

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
        dtype: torch.dtype | None,
        is_grad_enabled: bool,
        goes_back_once: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        width = c.shape[1]
        recurrent_t = rounded(recurrent, dtype).t()
        projection_t = None if projection is None else rounded(projection, dtype).t()
        outputs = input_gates.new_empty(len(input_gates), h.shape[1])
        last_h, last_c = h.clone(), c.clone()
        first_c = c
        # a parameter says that it needs a gradient even where none is computed
        keeps_all = is_grad_enabled and any(ctx.needs_input_grad)
        # all gates, cells and previous states are wanted again by the backward pass, and only there
        tanhs, cells = (input_gates.new_empty(len(outputs) * keeps_all, width) for _ in range(2))
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
            gates = input_gates[here]
            addmm(gates, h, recurrent_t, out=gates)
            if keeps_all:
                before_h[here] = h
            candidate = gates[:, 2 * width : 3 * width]
            candidate.mul_(2)
            gates.sigmoid_()
            candidate.mul_(2).sub_(1)
            i, f, g, o = gates.split(width, dim=1)
            c = torch.mul(f, c, out=cells[here] if keeps_all else None).addcmul_(i, g)
            if cell_clip is not None:
                c.clamp_(-cell_clip, cell_clip)
            tanh = torch.mul(c, 2, out=tanhs[here] if keeps_all else None).sigmoid_().mul_(2).sub_(1)
            h = outputs[here]
            if projection_t is None:
                torch.mul(o, tanh, out=h)
            else:
                mm(o * tanh, projection_t, out=h)
                if projection_clip is not None:
                    h.clamp_(-projection_clip, projection_clip)
        last_h[: len(h)], last_c[: len(h)] = h, c
        if keeps_all:
            ctx.save_for_backward(outputs, input_gates, tanhs, cells, first_c, before_h, recurrent, projection)
            ctx.steps, ctx.cell_clip, ctx.projection_clip = steps, cell_clip, projection_clip
            ctx.dtype, ctx.goes_back_once = dtype, goes_back_once
        return outputs, last_h, last_c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_last_h: Tensor, d_last_c: Tensor) -> Any:
        # gradients are written over the gates, and what is projected over the tanh of the cells
        outputs, gates, tanhs, cells, first_c, before_h, recurrent, projection = ctx.saved_tensors
        if not ctx.goes_back_once:
            gates, tanhs = gates.clone(), tanhs.clone()
        recurrent = rounded(recurrent, ctx.dtype)
        projection = None if projection is None else rounded(projection, ctx.dtype)
        width = cells.shape[1]
        rows_at, keeps = ctx.steps.rows_at, ctx.steps.keeps
        d_states = torch.empty_like(outputs)  # gradient of h before its clip
        dh, dc = d_last_h[:0], d_last_c[:0]
        first = len(outputs)
        for t in reversed(range(len(rows_at))):
            n, keep = rows_at[t], keeps[t]
            first -= n
            here = slice(first, first + n)
            if n > len(dh):  # these rows end here: their last state is this one
                dh, dc = torch.cat([dh, d_last_h[len(dh) : n]]), torch.cat([dc, d_last_c[len(dc) : n]])
            i, f, g, o = gates[here].split(width, dim=1)
            c, tanh = cells[here], tanhs[here]
            before_c = cells[first - rows_at[t - 1] :][:n] if t else first_c[:n]
            if keep is not None:
                before_c = before_c * keep
            dh = torch.add(dh, d_outputs[here], out=d_states[here])
            dm = dh
            if projection is not None:
                if ctx.projection_clip is not None:
                    _clip_backward(dh, outputs[here], -ctx.projection_clip, ctx.projection_clip, grad_input=dh)
                dm = mm(dh, projection)
            dc = _tanh_backward(dm * o, tanh).add_(dc)
            if ctx.cell_clip is not None:
                _clip_backward(dc, c, -ctx.cell_clip, ctx.cell_clip, grad_input=dc)
            di, df, dg, do = dc * g, dc * before_c, dc * i, dm * tanh
            dc = dc.mul_(f)
            tanh.mul_(o)  # m, which is projected
            torch.mul(di, _sigmoid_slope(i), out=i)
            torch.mul(df, _sigmoid_slope(f), out=f)
            _tanh_backward(dg, g, grad_input=g)
            torch.mul(do, _sigmoid_slope(o), out=o)
            dh = mm(gates[here], recurrent)
            if keep is not None:
                dh, dc = dh * keep, dc * keep
        d_recurrent = mm(gates.t(), rounded(before_h, ctx.dtype))
        d_projection = None if projection is None else mm(d_states.t(), rounded(tanhs, ctx.dtype))
        return gates, dh, dc, d_recurrent, d_projection, None, None, None, None, None, None


def _sigmoid_slope(y: Tensor) -> Tensor:
    """Y (1 - y), where y is the answer; PyTorch's own ``sigmoid_backward`` takes three times as long."""
    return torch.addcmul(y, y, y, value=-1)


_clip_backward: Any = torch.ops.aten.hardtanh_backward
"""Of a gradient and what came out: 0 where a clip held it back."""
_tanh_backward: Any = torch.ops.aten.tanh_backward
"""Of a gradient and the answer y: d * (1 - y * y)."""
