"""Many documents through an encoder: grouped by length, answered in the order they came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.encoder import Encoder, measuring, sentence_places
from lowtide.embeddings.layers import Reduction
from lowtide.text.batches import Document, group_by_length, num_positions

MAX_POSITIONS = 4096
"""Positions of one batch."""
WINDOW_POSITIONS = 64 * 1024
"""Positions looked at together: enough to find documents of like length, little enough to hold."""


def embed_stream(encoder: Encoder, documents: Iterable[Document], reduction: Reduction) -> Iterator[Vectors]:
    """One array a sentence, in order, with a window of them in memory.

    Args:
        encoder: on its device.
        documents: lists of sentences; the state is carried from one to the next. A sentence that
            stands alone is a document of one.
        reduction: what to make of the layers.

    Yields:
        (tokens, width), or (layers, tokens, width) if the reduction keeps the layers.
    """
    for window in _windows(documents):
        answers: dict[int, list[Vectors]] = {}
        for group in group_by_length([num_positions(document) for document in window], MAX_POSITIONS):
            with measuring(encoder):
                states = encoder.read([window[number] for number in group])
                reduced = reduction(states).float().cpu().numpy()  # (..., batch, positions, width)
            for row, number in enumerate(group):
                # copies, so that one short sentence does not keep its whole batch alive
                answers[number] = [reduced[..., row, place, :].copy() for place in sentence_places(window[number])]
        for number in range(len(window)):
            yield from answers.pop(number)


def _windows(documents: Iterable[Document]) -> Iterator[list[Document]]:
    window: list[Document] = []
    size = 0
    for document in documents:
        if not document:
            continue
        window.append(document)
        size += num_positions(document)
        if size >= WINDOW_POSITIONS:
            yield window
            window, size = [], 0
    if window:
        yield window
