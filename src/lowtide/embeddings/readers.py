"""From documents to the states of every layer, piece by piece: what the engine asks for each of its batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowtide.embeddings.encoder import Encoder, measuring
from lowtide.embeddings.side_by_side import on_one_thread, side_by_side
from lowtide.embeddings.type_cache import GateCache, TypeCache
from lowtide.model import BiLM, States
from lowtide.model.packed_lstm import PackedReading, PackedStack, Read, read_together
from lowtide.model.products import Kernel
from lowtide.model.recurrence import LayerState
from lowtide.text.batches import Document
from lowtide.text.columns import Columns, Rows

_ROWS_SIDE_BY_SIDE = 8
"""With fewer, a product is over as soon as its weights have come from memory. Then both directions go step by step with
all cores for each product, as the weights of one may stay in the processor's cache."""


@dataclass(frozen=True)
class Piece:
    """Some columns of a batch of documents."""

    first: int
    """The position in the rows at which this begins. Its first and its last position are there for their neighbours'
    sake: they belong to the pieces beside it, or are the boundaries of the whole."""
    states: States
    """(layers, documents, positions, width); the mask is true at the tokens of this piece."""


class Reader(Protocol):
    """A network as the engine sees it."""

    settings: dict[str, Any]
    """All that decides the last bits of a number."""
    cuts_rows: bool
    """Whether rows that are too long are read in pieces."""

    def read(self, documents: Sequence[Document], max_positions: int) -> Iterator[Piece]:
        """Encode documents, their columns in order.

        Args:
            documents: each of one sentence or more.
            max_positions: that a piece may have; rows that are longer are read in pieces.
        """


class PlainReader:
    """Any network, by its own means: a batch is one piece.

    Args:
        encoder: of the network.
    """

    cuts_rows = False

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.settings: dict[str, Any] = {"kernel": "none"}

    def read(self, documents: Sequence[Document], max_positions: int) -> Iterator[Piece]:
        """See `Reader`."""
        with measuring(self._encoder):
            states = self._encoder.read(documents)
        yield Piece(0, states)


class PackedReader:
    """A biLM whose weights are packed.

    Every row begins with a mark that is the same for all of them, so the state behind it is computed once. What the
    forward direction would say at the last mark of a row, and the backward one at the first, nobody asks: there the
    states are zero.

    A row that is longer than a piece is read in pieces. The backward direction comes from the end; so it goes through
    all pieces first, and only the states in which it enters each of them are kept.

    Args:
        encoder: of a `BiLM` in float32.
        kernel: what multiplies.
        max_positions: of a piece, at most.
        cached_types: how many token vectors are kept.
    """

    cuts_rows = True

    def __init__(self, encoder: Encoder, kernel: Kernel, *, max_positions: int, cached_types: int) -> None:
        bilm = encoder.bilm
        assert isinstance(bilm, BiLM)
        self.settings: dict[str, Any] = {"kernel": kernel.name, "max_positions": max_positions}
        self._marks = encoder.spelling.marks
        self._lstm = bilm.config.lstm
        self._like = next(bilm.parameters())
        self._is_parallel = kernel.follows_threads and self._like.device.type == "cpu"
        self._leaves_single_rows = kernel.leaves_single_rows
        self._lock = threading.Lock()  # what is kept of types has one user at a time
        with torch.inference_mode():
            self._stacks = [PackedStack(stack, kernel) for stack in (bilm.forward_lstm, bilm.backward_lstm)]
            self._vectors = TypeCache(bilm, encoder.spelling, cached_types)
            self._gates = GateCache(self._stacks, max_positions, self._like)
            zero = bilm.forward_lstm.zero_states(1, self._like)
            self._begun = [
                _read_one(stack, self._vectors.of([mark]), zero)
                for stack, mark in zip(self._stacks, self._marks, strict=True)
            ]

    def read(self, documents: Sequence[Document], max_positions: int) -> Iterator[Piece]:
        """See `Reader`."""
        rows = Rows(documents, self._marks)
        edges = range(0, max(1, rows.num_columns), max(1, max_positions // len(documents)))
        with self._lock:
            entered = self._enter_backward(rows, edges)
        ahead: list[LayerState] = []
        for first in edges:
            with self._lock:
                states, ahead = self._read_piece(rows, first, first + edges.step, ahead, entered.pop(first, []))
            yield Piece(first, states)

    @torch.inference_mode()
    def _enter_backward(self, rows: Rows, edges: range) -> dict[int, list[LayerState]]:
        """In which states the backward direction enters every piece, in those rows that come from the next one."""
        entered: dict[int, list[LayerState]] = {}
        states: list[LayerState] = []
        for first in reversed(edges[1:]):
            columns = rows.columns(first, first + edges.step)
            reading = self._reading(1, columns, self._gates_of(columns)[1], self._begin(1, columns, states))
            [(_, states)] = read_together(self._stacks[1:], [reading], columns.backward.rows_at)
            entered[first - edges.step] = states
        return entered

    @torch.inference_mode()
    def _read_piece(
        self, rows: Rows, first: int, end: int, ahead: list[LayerState], behind: list[LayerState]
    ) -> tuple[States, list[LayerState]]:
        """The states of some columns, and those with which the forward direction goes on."""
        columns = rows.columns(first, end)
        vectors, gates = self._gates_of(columns)
        begun = [self._begin(direction, columns, given) for direction, given in enumerate((ahead, behind))]
        readings = [self._reading(direction, columns, gates, begun[direction]) for direction in (0, 1)]
        answers = self._read(readings, columns.forward.rows_at)
        num_positions = int(columns.lengths.max(initial=0)) + 2
        num_layers, width = self._lstm.num_layers + 1, self._lstm.state_width
        layers = self._like.new_zeros(num_layers, len(rows.order), num_positions, 2 * width)
        mask = torch.zeros(layers.shape[1:3], dtype=torch.bool, device=layers.device)
        starts = rows.order[: len(columns.lengths)] * num_positions  # (rows,) where each begins
        halves = layers.view(num_layers, -1, 2, width).unbind(2)
        outsides = (starts, starts + columns.lengths + 1)
        for direction, order in enumerate((columns.forward, columns.backward)):
            token_layer, *upper = halves[direction]
            places, outside = (self._numbers(n) for n in (starts[order.rows] + order.columns + 1, outsides[direction]))
            token_layer.index_copy_(0, places, vectors.index_select(0, self._numbers(order.types)))
            befores = self._outputs_of(begun[direction])
            for layer, output, before in zip(upper, answers[direction][0], befores, strict=True):
                layer.index_copy_(0, places, output)
                layer.index_copy_(0, outside, before)
            if order is columns.forward:
                mask.view(-1)[places] = torch.from_numpy(columns.is_token).to(mask.device)
        return States(layers, mask), answers[0][1]

    def _gates_of(self, columns: Columns) -> tuple[Tensor, Tensor]:
        """(types, width) the vectors of the types in some columns, and (types,) where their gates are kept."""
        vectors = self._vectors.of(columns.types)
        return vectors, self._gates.places_of(columns.types, vectors)

    def _reading(self, direction: int, columns: Columns, places: Tensor, states: list[LayerState]) -> PackedReading:
        order = (columns.forward, columns.backward)[direction]
        types = places.index_select(0, self._numbers(order.types))
        return PackedReading(self._gates.tables[direction].rows, types, states)

    def _read(self, readings: list[PackedReading], rows_at: list[int]) -> Sequence[Read]:
        """Let both directions read."""
        num_rows = max(rows_at, default=0)
        if num_rows == 1 and self._leaves_single_rows:
            with on_one_thread():  # NumPy's products have threads of their own
                return read_together(self._stacks, readings, rows_at)
        if num_rows < _ROWS_SIDE_BY_SIDE or not self._is_parallel:
            return read_together(self._stacks, readings, rows_at)
        forward, backward = (
            partial(read_together, [stack], [reading], rows_at)
            for stack, reading in zip(self._stacks, readings, strict=True)
        )
        [ahead], [back] = side_by_side(forward, backward)
        return ahead, back

    def _begin(self, direction: int, columns: Columns, given: list[LayerState]) -> list[LayerState]:
        """In which states the rows of some columns begin: those given for the first rows, behind a mark the others."""
        count = len(columns.lengths)
        begun = self._begun[direction]
        if not given:
            return [LayerState(s.hidden.expand(count, -1), s.cell.expand(count, -1)) for s in begun]
        missing = max(0, count - len(given[0].cell))
        return [
            LayerState(
                torch.cat([state.hidden[:count], mark.hidden.expand(missing, -1)]),
                torch.cat([state.cell[:count], mark.cell.expand(missing, -1)]),
            )
            for state, mark in zip(given, begun, strict=True)
        ]

    def _outputs_of(self, states: list[LayerState]) -> list[Tensor]:
        """What every layer says where it has these states: residuals are added, as they are to its outputs."""
        outputs: list[Tensor] = []
        for state in states:
            has_residual = self._lstm.has_residual and outputs
            outputs.append(outputs[-1] + state.hidden if has_residual else state.hidden)
        return outputs

    def _numbers(self, numbers: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(numbers).to(self._like.device)


def _read_one(stack: PackedStack, vector: Tensor, zero: list[LayerState]) -> list[LayerState]:
    """The states behind one type, (1, width), at which all began at zero."""
    gates = stack.input_gates(vector)
    return stack.read(gates, torch.zeros(1, dtype=torch.int64, device=gates.device), [1], zero)[1]
