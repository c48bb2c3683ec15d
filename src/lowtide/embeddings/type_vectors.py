"""The rungs below context: one vector for every type, wherever it stands."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from lowtide.config import from_json, to_json
from lowtide.embeddings.base import Vectors
from lowtide.embeddings.inputs import CutsText, Texts, as_sentence, as_sentences, parse_marked
from lowtide.embeddings.surroundings import mean_of_others, rarity
from lowtide.errors import InputError, ModelError
from lowtide.files import make_folder, write_json
from lowtide.text.tokenize import Sentence, Tokenizer, TokenizerConfig, open_tokenizer
from lowtide.text.vocabulary import Vocabulary
from lowtide.weights.native import CONFIG, VOCABULARY, read_config
from lowtide.weights.stored import FORMAT_VERSION


@dataclass(frozen=True)
class TypeConfig:
    """What the ``config.json`` of these rungs holds."""

    format_version: int
    kind: Literal["one_hot", "word2vec"]
    tokenizer: TokenizerConfig
    lowercase: bool = False
    """Whether tokens are looked up in lower case."""
    training: Any = None
    """A record of how it was trained. Nothing depends on it."""


class TypeEmbedding(CutsText):
    """An `Embedder` of one layer: what a token is, and nothing of where it stands.

    Args:
        config: its kind, and how text is cut.
        vocabulary: the types that have a vector.
    """

    kind: ClassVar[str]
    num_layers = 1
    path: Path | None = None
    """The folder that it was opened from, or saved to; None if it lies in none."""

    def __init__(self, config: TypeConfig, vocabulary: Vocabulary) -> None:
        self.config = config
        self.vocabulary = vocabulary

    @property
    @abstractmethod
    def width(self) -> int:
        """Of every vector."""

    @abstractmethod
    def rows(self, indices: NDArray[np.int64]) -> Vectors:
        """(tokens,) indices of the vocabulary to (tokens, width)."""

    @abstractmethod
    def _digest(self) -> bytes:
        """All numbers that decide a vector."""

    @abstractmethod
    def _save_vectors(self, folder: Path) -> None: ...

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of all that decides a vector: tokenizer, types, numbers."""
        decides = {
            "kind": self.config.kind,
            "tokenizer": to_json(self.config.tokenizer),
            "lowercase": self.config.lowercase,
            "types": self.vocabulary.types,
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode() + self._digest()).hexdigest()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What the training text was cut with."""
        return open_tokenizer(self.config.tokenizer)

    def cut_by(self, tokenizer: TokenizerConfig) -> Self:
        """The same vectors, for text that is cut otherwise."""
        other = copy.copy(self)
        other.config = dataclasses.replace(self.config, tokenizer=tokenizer)
        other.path = None
        for name in ("tokenizer", "checksum"):
            other.__dict__.pop(name, None)
        return other

    def knows(self, type_: str) -> bool:
        """Whether a type has a vector of its own."""
        return self._looked_up(type_) in self.vocabulary

    def indices(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """(tokens,): the number of every token's type; that of ``<UNK>`` for one that is not known."""
        return self.vocabulary.indices(map(self._looked_up, tokens))

    @overload
    def embed(self, sentences: str, *, layers: str | int = 0) -> Vectors: ...
    @overload
    def embed(self, sentences: Texts, *, layers: str | int = 0) -> list[Vectors]: ...
    def embed(self, sentences: Texts | str, *, layers: str | int = 0) -> list[Vectors] | Vectors:
        """One vector a token, as `Elmo.embed`.

        Args:
            sentences: a list of texts or of lists of tokens; one bare text is one sentence.
            layers: 0, the only layer (``mix``, ``top``, ``average`` and ``sum`` are the same here), or ``context``:
                the mean of the other tokens of the sentence, rare ones weighing more.

        Returns:
            A (tokens, width) float32 array a sentence; (0, width) for an empty one.

        Raises:
            InputError: if something is neither a text nor tokens, or there is no such layer.
        """
        if isinstance(sentences, str):
            return next(self.embed_iter([sentences], layers=layers))
        return list(self.embed_iter(as_sentences(sentences, self.tokenizer), layers=layers))

    def embed_iter(self, sentences: Iterable[str | Sequence[str]], *, layers: str | int = 0) -> Iterator[Vectors]:
        """As `embed`, for any number of sentences: one array at a time comes out."""
        is_context = layers == "context"
        if not is_context and str(layers) not in ("0", "mix", "top", "average", "sum"):
            raise InputError(f"found layers={layers!r}, expected 0, the only layer there is, or 'context'")
        for text in sentences:
            indices = self.indices(as_sentence(text, self.tokenizer))
            rows = self.rows(indices)
            yield mean_of_others(rows, self._weights[indices]) if is_context else rows

    @overload
    def embed_layers(self, sentences: str) -> Vectors: ...
    @overload
    def embed_layers(self, sentences: Texts) -> list[Vectors]: ...
    def embed_layers(self, sentences: Texts | str) -> list[Vectors] | Vectors:
        """The one layer, (1, tokens, width) a sentence; see `embed`."""
        if isinstance(sentences, str):
            return self.embed(sentences)[None]
        return [vectors[None] for vectors in self.embed(sentences)]

    def embed_word(self, text: str | Sentence, *, layers: str | int = 0) -> Vectors:
        """The vector of the word in brackets, as in ``"He sat on the [bank] of the river."``: (width,).

        Raises:
            InputError: if not exactly one stretch is marked.
        """
        marked = parse_marked(text, self.tokenizer)
        vectors = next(self.embed_iter([marked.tokens], layers=layers))
        mean: Vectors = vectors[marked.first : marked.last].mean(axis=0)
        return mean

    def save(self, folder: str | Path) -> None:
        """Write a folder that `lowtide.load` opens.

        Raises:
            WriteError: if it cannot be written.
        """
        folder = Path(folder)
        make_folder(folder)
        self.vocabulary.save(folder / VOCABULARY)
        self._save_vectors(folder)
        write_json(folder / CONFIG, to_json(self.config))
        self.path = folder

    def _looked_up(self, token: str) -> str:
        return token.lower() if self.config.lowercase else token

    @cached_property
    def _weights(self) -> NDArray[np.float32]:
        return rarity(self.vocabulary)


def read_type_config(folder: Path, kind: str) -> tuple[TypeConfig, Vocabulary]:
    """The config and the vocabulary of a folder.

    Raises:
        ModelError: if it holds another kind, or is damaged.
    """
    config = from_json(TypeConfig, read_config(folder), where=str(folder / CONFIG))
    if config.kind != kind:
        raise ModelError(f"{folder / CONFIG} holds a {config.kind}, expected a {kind}")
    return config, Vocabulary.load(folder / VOCABULARY)


def check_numbers(*, seed: int = 0, **at_least_one: int | None) -> None:
    """Look at what a training was asked for, before it reads a text.

    Args:
        seed: of NumPy's.
        at_least_one: by their names; None is one that was left open.

    Raises:
        InputError: if a number is none, or out of range.
    """
    for name, found in at_least_one.items():
        if found is not None and not (isinstance(found, (int, np.integer)) and found >= 1):
            raise InputError(f"{name} is {found!r}, expected a whole number of at least 1")
    if not (isinstance(seed, (int, np.integer)) and 0 <= seed < 2**32):
        raise InputError(f"the seed is {seed}, expected 0 to {2**32 - 1}")


def type_config(kind: Literal["one_hot", "word2vec"], tokenizer: TokenizerConfig, **others: Any) -> TypeConfig:
    """A config of today's format."""
    return TypeConfig(FORMAT_VERSION, kind, tokenizer, **others)
