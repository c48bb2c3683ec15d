"""Many sentences through an encoder: grouped by length, answered in the order they came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.encoder import Encoder, measuring
from lowtide.embeddings.layers import Reduction
from lowtide.text.batches import group_by_length
from lowtide.text.tokenize import Sentence

MAX_POSITIONS = 4096
"""Positions of one batch."""
WINDOW_TOKENS = 64 * 1024
"""Tokens looked at together: enough to find sentences of like length, little enough to hold."""


def embed_stream(encoder: Encoder, sentences: Iterable[Sentence], reduction: Reduction) -> Iterator[Vectors]:
    """One array a sentence, in order, with a window of them in memory.

    Args:
        encoder: on its device.
        sentences: lists of tokens.
        reduction: what to make of the layers.

    Yields:
        (tokens, width), or (layers, tokens, width) if the reduction keeps the layers.
    """
    for window in _windows(sentences):
        answers: dict[int, Vectors] = {}
        for group in group_by_length([len(sentence) for sentence in window], MAX_POSITIONS):
            with measuring(encoder):
                states = encoder([window[number] for number in group])
                reduced = reduction(states).float().cpu().numpy()  # (..., batch, tokens, width)
            for row, number in enumerate(group):
                # a copy, so that one short sentence does not keep its whole batch alive
                answers[number] = reduced[..., row, : len(window[number]), :].copy()
        for number in range(len(window)):
            yield answers.pop(number)


def _windows(sentences: Iterable[Sentence]) -> Iterator[list[Sentence]]:
    window: list[Sentence] = []
    tokens = 0
    for sentence in sentences:
        window.append(sentence)
        tokens += len(sentence) + 2
        if tokens >= WINDOW_TOKENS:
            yield window
            window, tokens = [], 0
    if window:
        yield window
