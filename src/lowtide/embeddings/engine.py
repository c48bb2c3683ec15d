"""Many documents through a network: grouped by length, answered in the order they came."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.encoder import Encoder, sentence_places
from lowtide.embeddings.engine_sizes import Sizes, sizes_of, sizes_within
from lowtide.embeddings.layers import Reduction
from lowtide.embeddings.readers import PackedReader, Piece, PlainReader, Reader
from lowtide.errors import InputError, is_out_of_memory
from lowtide.memory import FreeMemory
from lowtide.model import BiLM
from lowtide.model.products import Dtype, kernel_for
from lowtide.text.batches import Document, group_by_length, num_positions

log = logging.getLogger("lowtide")

MAX_POSITIONS = 4096
"""Positions of one batch."""
WINDOW_POSITIONS = 64 * 1024
"""Positions looked at together: enough to find documents of like length, little enough to hold."""
_LONGEST_ROW = 512
"""Documents that are longer stand in one batch nevertheless, which is then read in pieces."""
_LEAST_POSITIONS = 64
"""Of a batch: where there is no memory for this, there is none for anything."""


class Engine:
    """Embeds documents, window by window.

    What a window holds is a function of the documents alone, and a window is computed without a look at any other:
    so windows can be left out, shared among processes, and computed once more, with the same numbers each time.

    Args:
        encoder: on its device.
        dtype: of the products of the recurrence: see `lowtide.model.products`.
        sizes: how much is held at once; None: what is quick.

    Raises:
        InputError: if there is no such dtype, or it does not work here, or not for this network.
    """

    def __init__(self, encoder: Encoder, *, dtype: Dtype = "float32", sizes: Sizes | None = None) -> None:
        self._encoder = encoder
        self.dtype = dtype
        sizes = sizes or sizes_of(encoder.bilm, max_positions=MAX_POSITIONS, window_positions=WINDOW_POSITIONS)
        self.max_positions = sizes.max_positions
        self.window_positions = sizes.window_positions
        self._cached_types = sizes.cached_types
        kernel_for(dtype, self._device)
        if dtype != "float32" and not isinstance(encoder.bilm, BiLM):
            raise InputError(f"dtype {dtype!r} is for networks of two directions that never meet: use float32")
        held = next(encoder.parameters()).dtype
        if dtype != "float32" and held != torch.float32:
            raise InputError(f"dtype {dtype!r} is for weights in float32, found {held}: leave the dtype open")
        self._reader: Reader | None = None
        self._packed_from: list[tuple[int, int, int]] = []
        self._free = FreeMemory()

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: it packs its own weights."""
        return {**self.__dict__, "_reader": None}

    @property
    def _device(self) -> torch.device:
        return next(self._encoder.parameters()).device

    def limited_to(self, num_bytes: int) -> Engine:
        """An engine for the same network with which this process stays within so many bytes.

        Raises:
            InputError: if that is not possible.
        """
        sizes = sizes_within(
            self._encoder.bilm,
            num_bytes,
            least=_LEAST_POSITIONS,
            quick=sizes_of(self._encoder.bilm, max_positions=MAX_POSITIONS, window_positions=WINDOW_POSITIONS),
        )
        return Engine(self._encoder, dtype=self.dtype, sizes=sizes)

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the last bits of a number, for who goes on with a work begun earlier."""
        return {
            "dtype": self.dtype,
            "threads": torch.get_num_threads(),
            "window_positions": self.window_positions,
            **self._up_to_date().settings,
        }

    def windows(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        """Documents in windows, in order; documents without a sentence are left out."""
        window: list[Document] = []
        size = 0
        for document in documents:
            if not document:
                continue
            window.append(document)
            size += num_positions(document)
            if size >= self.window_positions:
                yield window
                window, size = [], 0
        if window:
            yield window

    def embed(self, documents: Iterable[Document], reduction: Reduction) -> Iterator[Vectors]:
        """As `embed_window`, of any number of documents, with a window of them in memory."""
        for window in self.windows(documents):
            yield from self.embed_window(window, reduction)

    def embed_window(self, window: Sequence[Document], reduction: Reduction) -> Iterator[Vectors]:
        """One array a sentence, in order.

        Args:
            window: lists of sentences; the state is carried from one to the next. A sentence that
                stands alone is a document of one.
            reduction: what to make of the layers.

        Yields:
            (tokens, width), or (layers, tokens, width) if the reduction keeps the layers.
        """
        sentences = itertools.chain.from_iterable(window)
        for sentence, vectors in zip(sentences, self._embed_window(window, reduction), strict=True):
            yield reduction.finish(sentence, vectors)

    def _embed_window(self, window: Sequence[Document], reduction: Reduction) -> Iterator[Vectors]:
        """As `embed_window`, before anything is made of whole sentences."""
        if len(window) == 1:  # of any length: its sentences come out as they are ready
            yield from self._embed_document(window[0], reduction)
            return
        answers: list[list[Vectors]] = [[] for _ in window]
        waiting, size = self._in_groups(window, range(len(window))), self.max_positions
        while waiting:
            if self.max_positions < size:  # memory has run out
                waiting, size = self._in_groups(window, itertools.chain(*waiting)), self.max_positions
            try:
                found = self._embed_group([window[number] for number in waiting[0]], reduction)
            except (MemoryError, RuntimeError) as error:
                self._halve(error)
                continue
            for number, of_document in zip(waiting.popleft(), found, strict=True):
                answers[number] = of_document
        for number in range(len(window)):
            yield from answers[number]
            answers[number] = []

    def _in_groups(self, window: Sequence[Document], numbers: Iterable[int]) -> deque[list[int]]:
        """Some of the documents of a window in groups of like length, each a batch."""
        chosen = list(numbers)
        lengths = [num_positions(window[number]) for number in chosen]
        longest = _LONGEST_ROW if self._up_to_date().cuts_rows else None
        groups = group_by_length(lengths, self.max_positions, longest=longest)
        return deque([chosen[place] for place in group] for group in groups)

    def _embed_group(self, documents: Sequence[Document], reduction: Reduction) -> list[list[Vectors]]:
        """One array a sentence of every document."""
        if len(documents) == 1:
            return [list(self._embed_document(documents[0], reduction))]
        answers = [_Sentences(document) for document in documents]
        for piece in self._up_to_date().read(documents, self.max_positions):
            reduced = _numpy(piece, reduction)
            for row, sentences in enumerate(answers):
                sentences.take(reduced[..., row, :, :], piece.first)
            self._free.give_back()
        return [sentences.ready for sentences in answers]

    def _embed_document(self, document: Document, reduction: Reduction) -> Iterator[Vectors]:
        """One array a sentence; where memory runs out, in shorter pieces."""
        num_given = 0
        while True:
            try:
                sentences, num_ready = _Sentences(document), 0
                for piece in self._up_to_date().read([document], self.max_positions):
                    sentences.take(_numpy(piece, reduction)[..., 0, :, :], piece.first)
                    self._free.give_back()
                    for vectors in sentences.ready:
                        num_ready += 1
                        if num_ready > num_given:
                            yield vectors
                            num_given += 1
                    sentences.ready.clear()
                return
            except (MemoryError, RuntimeError) as error:
                self._halve(error)

    def _halve(self, error: Exception) -> None:
        """Go on with less at a time, if memory is what was missing."""
        if not is_out_of_memory(error) or self.max_positions <= _LEAST_POSITIONS:
            raise error
        self.max_positions //= 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        log.warning("out of memory; going on with batches of %s positions", f"{self.max_positions:,}")

    def _up_to_date(self) -> Reader:
        """What reads: packed anew if the network was trained since."""
        # memory is looked at as well as its version, for whoever gives a parameter other numbers has not changed it
        weights = [
            (id(weight), weight.data_ptr(), 0 if weight.is_inference() else weight._version)
            for weight in self._encoder.parameters()
        ]
        if self._reader is None or weights != self._packed_from:
            self._reader, self._packed_from = self._make_reader(), weights
        return self._reader

    def _make_reader(self) -> Reader:
        first = next(self._encoder.parameters())
        if not isinstance(self._encoder.bilm, BiLM) or first.dtype != torch.float32:
            return PlainReader(self._encoder)
        kernel = kernel_for(self.dtype, first.device)
        cached_types = max(self._cached_types, self.max_positions)
        return PackedReader(self._encoder, kernel, max_positions=self.max_positions, cached_types=cached_types)


class _Sentences:
    """The sentences of one document, put together from pieces of its columns."""

    def __init__(self, document: Document) -> None:
        self._places = deque(sentence_places(document))
        self._begun: list[Vectors] = []
        self.ready: list[Vectors] = []
        """In memory of their own, so that no sentence keeps its whole batch alive."""

    def take(self, vectors: Vectors, first: int) -> None:
        """Take the next piece.

        Args:
            vectors: (..., positions, width); the first and the last belong to its neighbours.
            first: which position of the row the first is.
        """
        start, end = first + 1, first + vectors.shape[-2] - 1
        while self._places:
            place = self._places[0]
            part = vectors[..., max(place.start, start) - first : max(min(place.stop, end), start) - first, :]
            if place.stop > end:
                self._begun.append(part.copy())
                return
            self.ready.append(np.concatenate([*self._begun, part], axis=-2) if self._begun else part.copy())
            self._begun.clear()
            self._places.popleft()


def _numpy(piece: Piece, reduction: Reduction) -> Vectors:
    """What is made of the layers of a piece: (..., documents, positions, width)."""
    with torch.inference_mode():
        reduced: Vectors = reduction(piece.states).float().cpu().numpy()
    return reduced
