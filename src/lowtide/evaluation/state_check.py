"""How far warm state and clean state differ on a text: what the published tools gave, and what lowtide gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.session import Session
from lowtide.errors import InputError
from lowtide.messages import say
from lowtide.text.tokenize import Sentence


@dataclass(frozen=True)
class LayerDifference:
    """One layer, over all tokens that had a batch before them."""

    largest: float
    """The largest absolute difference of a number."""
    mean: float
    """The mean absolute difference."""
    cosine: float
    """The mean cosine between a token's two vectors."""


@dataclass(frozen=True)
class WarmStateCheck:
    """Every sentence embedded twice: from zero, and with the state that the batch before left in its row."""

    rows: int
    num_sentences: int
    num_warm: int
    """Sentences that were not in the first batch: only these can differ."""
    layers: list[LayerDifference]
    """Layer 0 first: it is before any context, and differs by rounding at most."""

    def lines(self) -> list[str]:
        """For reading, in the language that was chosen."""
        told = [
            say(
                "state       {sentences:,} sentences in batches of {rows}; {warm:,} of them begin with a warm state",
                sentences=self.num_sentences,
                rows=self.rows,
                warm=self.num_warm,
            )
        ]
        told += [
            say(
                "layer {number}     warm and clean differ by {largest:.3g} at most, {mean:.3g} on the mean; "
                "cosine {cosine:.4f}",
                number=number,
                largest=layer.largest,
                mean=layer.mean,
                cosine=layer.cosine,
            )
            for number, layer in enumerate(self.layers)
        ]
        told.append(say("lowtide begins every sentence clean; old numbers come with stateful=True"))
        return told


def check_warm_state(elmo: Elmo, sentences: Iterable[Sentence], *, rows: int = 64) -> WarmStateCheck:
    """Embed a text with clean and with warm state, and compare.

    Args:
        elmo: the model.
        sentences: tokens; a batch of them is held.
        rows: sentences of a batch, as the old pipeline had them.

    Raises:
        InputError: if all sentences fit into one batch, in which nothing is warm.
    """
    texts, again = itertools.tee(sentences)
    largest, total = np.zeros(elmo.num_layers), np.zeros(elmo.num_layers)
    cosines = np.zeros(elmo.num_layers)
    num_sentences = num_tokens = 0
    warm = Session(elmo, rows=rows).embed_iter(texts, layers="all")
    for one, other in zip(elmo.embed_iter(again, layers="all"), warm, strict=True):
        num_sentences += 1
        if num_sentences <= rows or not one.shape[1]:
            continue
        difference = np.abs(one.astype(np.float64) - other)  # (layers, tokens, width)
        largest = np.maximum(largest, difference.max(axis=(1, 2)))
        total += difference.mean(axis=2).sum(axis=1)
        lengths = np.linalg.norm(one, axis=2) * np.linalg.norm(other, axis=2)
        cosines += ((one * other).sum(axis=2) / np.maximum(lengths, 1e-30)).sum(axis=1)
        num_tokens += one.shape[1]
    if not num_tokens:
        raise InputError(
            f"the text has {num_sentences:,} sentences, all in the first batch of {rows}, which begins clean: "
            "a longer text would tell, or a smaller --rows"
        )
    return WarmStateCheck(
        rows,
        num_sentences,
        num_sentences - rows,
        [
            LayerDifference(float(most), float(sum_ / num_tokens), float(cosine / num_tokens))
            for most, sum_, cosine in zip(largest, total, cosines, strict=True)
        ],
    )
