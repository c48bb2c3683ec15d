"""A biLM with its softmax: what it expects, and how well it predicts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lowtide.embeddings.encoder import Encoder, measuring, run_batch
from lowtide.embeddings.engine import MAX_POSITIONS
from lowtide.embeddings.engine_sizes import sizes_of
from lowtide.embeddings.inputs import Texts, as_sentences
from lowtide.errors import InputError
from lowtide.model import Softmax
from lowtide.text.batches import (
    NO_TARGET,
    Batch,
    Document,
    batch_of_documents,
    group_by_length,
    num_positions,
    predict_neighbours,
)
from lowtide.text.tokenize import Sentence, Tokenizer
from lowtide.text.vocabulary import END_INDEX, START_INDEX, UNKNOWN_INDEX, Vocabulary

MAX_LOGITS = 1 << 22
"""Logits in memory at once: 16 MiB."""


@dataclass(frozen=True)
class Guess:
    """A type, and how likely it is."""

    type: str
    probability: float


@dataclass(frozen=True)
class PositionGuesses:
    """What each direction expects in one place."""

    token: str
    """What stands there; ``</S>`` behind the last token, ``<S>`` before the first."""
    is_known: bool
    """Whether the model's vocabulary has this type."""
    from_left: list[Guess]
    """The likeliest, knowing all that stands left of it; empty at ``<S>``."""
    from_right: list[Guess]
    """The likeliest, knowing all that stands right of it; empty at ``</S>``."""


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean nats over all targets of a direction, boundary included, full softmax."""

    forward: float
    backward: float
    num_targets: int
    """Of each direction: tokens and one boundary a sentence."""
    num_tokens: int
    unknown_rate: float
    """The share of tokens outside the vocabulary; they are scored as ``<UNK>``."""

    @property
    def mean(self) -> float:
        """The mean of both directions' perplexities, as the literature gives it."""
        return (self.forward + self.backward) / 2


class LanguageModel:
    """Both directions of a biLM and the softmax they share.

    Get one from `Elmo.language_model`.
    """

    def __init__(self, encoder: Encoder, softmax: Softmax, vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
        self._encoder, self._softmax = encoder, softmax
        self._vocabulary, self._tokenizer = vocabulary, tokenizer

    def guesses(self, sentences: Texts | str, *, top: int = 3) -> list[list[PositionGuesses]]:
        """What each direction expects at each position.

        The first entry of a sentence is its ``<S>``, which only the backward model predicts; the
        last its ``</S>``, which only the forward model does.

        Args:
            sentences: as in `Elmo.embed`; one bare text is a list of one.
            top: how many of the likeliest types.

        Raises:
            InputError: if ``top`` is below 1.
        """
        if top < 1:
            raise InputError(f"top is {top}, expected at least 1")
        texts: Texts = [sentences] if isinstance(sentences, str) else sentences
        return [self._guesses(sentence, top) for sentence in as_sentences(texts, self._tokenizer)]

    def _guesses(self, sentence: Sentence, top: int) -> list[PositionGuesses]:
        top = min(top, len(self._vocabulary))
        batch, _ = batch_of_documents([[sentence]], self._encoder.spelling)
        with measuring(self._encoder):
            forward, backward = self._top_states(batch)
            from_left = self._likeliest(forward[0, :-1], top)  # of w1 ... </S>
            from_right = self._likeliest(backward[0, 1:], top)  # of <S> ... wn
        tokens = [self._vocabulary.types[START_INDEX], *sentence, self._vocabulary.types[END_INDEX]]
        return [
            PositionGuesses(token, token in self._vocabulary, left, right)
            for token, left, right in zip(tokens, [[], *from_left], [*from_right, []], strict=True)
        ]

    def _likeliest(self, states: Tensor, top: int) -> list[list[Guess]]:
        probabilities, indices = torch.softmax(self._softmax.logits(states), dim=-1).topk(top)
        return [
            [Guess(self._vocabulary.shown(index), probability) for index, probability in zip(*row, strict=True)]
            for row in zip(indices.tolist(), probabilities.tolist(), strict=True)
        ]

    def _top_states(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(rows, steps, width) of each direction's last layer."""
        states = run_batch(self._encoder.bilm, batch)
        return states.forward_layers[-1], states.backward_layers[-1]

    def perplexity(self, sentences: Texts | str) -> Perplexity:
        """How well each direction predicts these sentences.

        Args:
            sentences: as in `Elmo.embed`.

        Raises:
            InputError: if there is no sentence.
        """
        texts: Texts = [sentences] if isinstance(sentences, str) else sentences
        return self.perplexity_of([[sentence] for sentence in as_sentences(texts, self._tokenizer)])

    def perplexity_of(self, documents: Sequence[Document]) -> Perplexity:
        """As `perplexity`, of documents of tokens; the state is carried from sentence to sentence in each.

        Raises:
            InputError: if there is no sentence.
        """
        documents = [document for document in documents if document]
        if not documents:
            raise InputError("perplexity wants at least one sentence")
        nats = np.zeros(2)
        num_targets = 0
        for forward, backward, states in self._scored(documents):
            for direction, (targets, top) in enumerate(((forward, states[0]), (backward, states[1]))):
                nats[direction] += self._total_nats(top, targets)
            num_targets += len(forward)
        sentences = [sentence for document in documents for sentence in document]
        num_tokens = sum(map(len, sentences))
        unknown = sum(int((self._vocabulary.indices(s) == UNKNOWN_INDEX).sum()) for s in sentences)
        forward_nats, backward_nats = (nats / num_targets).tolist()
        return Perplexity(
            _exp(forward_nats),
            _exp(backward_nats),
            num_targets,
            num_tokens,
            unknown / max(num_tokens, 1),
        )

    def _scored(self, documents: Sequence[Document]) -> Iterator[tuple[Tensor, Tensor, tuple[Tensor, Tensor]]]:
        """Targets of both directions, and the states that predict them, batch by batch."""
        device = self._softmax.weight.device
        with measuring(self._encoder):
            sizes = sizes_of(self._encoder.bilm, max_positions=MAX_POSITIONS, window_positions=MAX_POSITIONS)
            for group in group_by_length([num_positions(document) for document in documents], sizes.max_positions):
                batch, types = batch_of_documents([documents[n] for n in group], self._encoder.spelling)
                targets = predict_neighbours(batch, self._vocabulary.indices(types))
                forward = torch.from_numpy(targets.forward).to(device)
                backward = torch.from_numpy(targets.backward).to(device)
                left, right = self._top_states(batch)
                has_next, has_last = forward != NO_TARGET, backward != NO_TARGET
                yield forward[has_next], backward[has_last], (left[has_next], right[has_last])

    def _total_nats(self, states: Tensor, targets: Tensor) -> float:
        rows = max(1, MAX_LOGITS // len(self._vocabulary))
        pieces = zip(states.split(rows), targets.split(rows), strict=True)
        return sum(float(self._softmax.loss(s, t).cpu().double().sum()) for s, t in pieces)


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf  # beyond, a float has no room


def unigram_perplexity(vocabulary: Vocabulary, documents: Iterable[Document]) -> float:
    """The perplexity of a model that knows nothing but how often each type comes.

    Counts are the vocabulary's, one added to each so that nothing is impossible; ``<S>`` is not
    predicted. It is the line that every language model must stay under.

    Args:
        vocabulary: with the counts of the training text.
        documents: each sentence is scored with one ``</S>``.

    Raises:
        InputError: if there is no sentence.
    """
    counts = vocabulary.counts.astype(np.float64) + 1.0
    counts[START_INDEX] = 0.0
    with np.errstate(divide="ignore"):
        nats = np.log(counts.sum()) - np.log(counts)
    total, num_targets = 0.0, 0
    for sentence in itertools.chain.from_iterable(documents):
        total += float(nats[vocabulary.indices(sentence)].sum() + nats[END_INDEX])
        num_targets += len(sentence) + 1
    if not num_targets:
        raise InputError("perplexity wants at least one sentence")
    return _exp(total / num_targets)
