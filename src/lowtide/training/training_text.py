"""A text that is ready to be trained on, as `lowtide.training.reading` has laid it down."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowtide.config import from_json
from lowtide.embeddings.base import Vectors
from lowtide.embeddings.sampling import STRETCH
from lowtide.errors import ModelError
from lowtide.files import read_json
from lowtide.model import CharCNNConfig
from lowtide.text.batches import Document, PackedBatches, SentenceBatches, TrainingBatches
from lowtide.text.lanes import DocumentBatches
from lowtide.text.shards import CorpusCounts, PreparedCorpus
from lowtide.text.vocabulary import Vocabulary
from lowtide.training.continuing import Start, StartConfig
from lowtide.training.settings import Settings
from lowtide.weights.native import MORE_WORDS, VOCABULARY, read_more_words
from lowtide.weights.stored import spelling_for

NOTES, HELD_OUT, VECTORS, START = "notes.json", "held_out.json", "vectors.npy", "start.safetensors"
"""Files beside those of the prepared corpus; all but the first may be missing."""
MAX_VALID_TOKENS = 10_000
"""Of the held-out text, what is looked at during training; at the end all that is held in memory is."""
_MAX_HELD_OUT_TOKENS = 100_000
"""Held in memory, whatever the size of the corpus."""
_GOLDEN_RATIO = 0.6180339887498949
"""The fractions of its multiples fill the interval from 0 to 1 evenly, and have no period."""


@dataclass(frozen=True)
class Notes:
    """What is known of a text and stands in none of its other files."""

    description: str
    min_count: int
    is_looked_up: bool
    """Whether vectors are looked up: of the types of a small alphabet, or of words."""
    documents: bool
    has_words: bool = False
    weights: tuple[float, ...] = ()
    start: StartConfig | None = None
    folds_case: bool = False
    said: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingText:
    """A text that is ready to be trained on."""

    prepared: PreparedCorpus
    vocabulary: Vocabulary
    more_words: Sequence[str]
    """Words that have a vector and are not predicted: those of the model that the training begins with."""
    min_count: int
    description: str
    """``3 files, one sentence a line``: no names, no text."""
    held_out: list[Document]
    """Of one sentence each, unless the state is carried through documents."""
    documents: bool
    """Whether the state is carried through documents."""
    num_truncated: int
    """Types that are longer than their row of characters."""
    weights: tuple[float, ...]
    """How often each part of the text is read in a pass; none: once each."""
    vectors: Vectors | None
    """(types, width): as which token vectors begin; zeros for types that have none."""
    num_symbols: int | None
    """Rows of the table of token vectors, those of more words among them; None: vectors are made of characters."""
    has_words: bool
    """Whether vectors are looked up because words were asked for, and not because the alphabet is small."""
    folds_case: bool
    """Whether a word without a vector takes that of another writing of it."""
    said: dict[str, str]
    """What the user has said about it, by the names of the arguments of `lowtide.pretrain`; no paths."""
    start: Start | None
    """What is taken over from the model that the training begins with."""

    @property
    def counts(self) -> CorpusCounts:
        """Of the whole text."""
        return self.prepared.counts

    @cached_property
    def num_train_tokens(self) -> int:
        """Of one pass, in which a part may be read several times, or only some of it."""
        tokens = self.prepared.tokens_of_parts()
        weights = self.weights[: len(tokens)] or [1.0] * len(tokens)
        return max(1, round(float(tokens @ np.array(weights))))

    @property
    def valid(self) -> list[Document]:
        """The part of the held-out text that is looked at during training."""
        return _spread(self.held_out, MAX_VALID_TOKENS)

    def sample(self, num_tokens: int) -> list[Document]:
        """Documents from all over the text that is trained on, of about so many tokens; the same ones each time.

        A corpus is ordered by its subjects, so its beginning tells little of the rest. From each of equal parts one
        sentence is taken, or one stretch of a document, each time at another place of its part: no period that the
        text may have is met.
        """
        length = STRETCH if self.documents else 1
        num_stretches = -(-self.counts.num_sentences // length)
        num_parts = math.ceil(num_stretches * min(1.0, num_tokens / max(1, self.counts.num_tokens)))
        parts = np.arange(num_parts)
        places = (parts + parts * _GOLDEN_RATIO % 1) * num_stretches / num_parts
        starts = np.unique(places.astype(np.int64)) * length
        numbers = (starts[:, None] + np.arange(length)).reshape(-1)
        numbers = numbers[(numbers < self.counts.num_sentences) & ~np.isin(numbers, self.prepared.held_out)]
        documents = _read_documents(self.prepared, numbers, is_carried=self.documents)
        return [document[at : at + STRETCH] for document in documents for at in range(0, len(document), STRETCH)]


def open_text(folder: Path, *, is_spelled: bool = False) -> TrainingText:
    """Open a text that `read_text` has laid down, and spell its types, unless another process has just done that."""
    prepared = PreparedCorpus(folder)
    notes = from_json(Notes, read_json(folder / NOTES), where=str(folder / NOTES))
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    more_words = read_more_words(folder)
    num_symbols = len(vocabulary) + len(more_words) if notes.is_looked_up else None
    if notes.start is not None and notes.start.bilm.symbols is not None:
        expected = notes.start.bilm.symbols.num_symbols
        if num_symbols != expected:
            raise ModelError(
                f"{folder} holds {num_symbols} words, expected {expected}: is {MORE_WORDS} as it was? Begin anew in "
                "another folder"
            )
    characters = None if notes.is_looked_up else CharCNNConfig()
    if notes.start is not None:
        characters = notes.start.bilm.char_cnn
    spelling = spelling_for(vocabulary, characters, more=more_words, folds_case=notes.folds_case)
    num_truncated = 0 if is_spelled else prepared.spell(spelling, vocabulary)
    if (folder / HELD_OUT).is_file():
        held_out = read_json(folder / HELD_OUT)
    else:
        held_out = _held_out(prepared, is_carried=notes.documents)
    return TrainingText(
        prepared=prepared,
        vocabulary=vocabulary,
        more_words=more_words,
        min_count=notes.min_count,
        description=notes.description,
        held_out=held_out,
        documents=notes.documents,
        num_truncated=num_truncated,
        weights=notes.weights,
        vectors=np.load(folder / VECTORS) if (folder / VECTORS).is_file() else None,
        num_symbols=num_symbols,
        has_words=notes.has_words,
        folds_case=notes.folds_case,
        said=notes.said,
        start=None if notes.start is None else Start(notes.start, folder / START),
    )


def _held_out(prepared: PreparedCorpus, *, is_carried: bool) -> list[Document]:
    """What training never sees, or a spread of it."""
    every = max(1, -(-prepared.counts.num_held_out_tokens // _MAX_HELD_OUT_TOKENS))
    return _read_documents(prepared, prepared.held_out, is_carried=is_carried, every=every)


def _read_documents(
    prepared: PreparedCorpus, numbers: NDArray[np.integer], *, is_carried: bool, every: int = 1
) -> list[Document]:
    """Sentences with rising numbers, those of a document together if the state is carried; every so manieth of them."""
    stretches = prepared.document_stretches(numbers) if is_carried else list(numbers[:, None])
    chosen = [stretch.tolist() for stretch in stretches[::every]]
    sentences = iter(prepared.read_sentences(itertools.chain.from_iterable(chosen)))
    return [list(itertools.islice(sentences, len(stretch))) for stretch in chosen]


def _spread(documents: Sequence[Document], max_tokens: int) -> list[Document]:
    """Every so manieth document, so that there are at most about so many tokens."""
    total = sum(len(sentence) for document in documents for sentence in document)
    return list(documents[:: max(1, -(-total // max_tokens))])


def batches_of(settings: Settings, text: TrainingText, *, row_length: int) -> TrainingBatches:
    """In what batches a text is read: documents in lanes, sentences one a row, or packed.

    Args:
        settings: that say so.
        text: the text.
        row_length: characters of a spelled type.
    """
    ways = SentenceBatches if settings.trunk == "lstm" else PackedBatches
    way: type[TrainingBatches] = DocumentBatches if settings.documents else ways
    return way(
        text.prepared,
        row_length=row_length,
        row_tokens=settings.row_tokens,
        rows=settings.rows,
        seed=settings.seed,
        weights=text.weights,
    )
