"""What every format of vector files has in common: what is written, and the verbs of writers and readers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lowtide.errors import InputError, LowtideError, MissingPathError, ShapeError
from lowtide.text.tokenize import Sentence


@dataclass(frozen=True)
class EmbeddedSentence:
    """A sentence with its vectors."""

    key: str
    """Its number from 0 on, blank lines counted, or a name of its own."""
    tokens: Sentence
    vectors: NDArray[np.floating[Any]]
    """float32 or float16: (tokens, width) or (layers, tokens, width); pooled (width,) or (layers, width)."""
    spans: Sequence[tuple[int, int]] | None = None
    """Where each token stands in the raw text, in characters, the end exclusive; None if that is not known."""
    is_pooled: bool = False
    """Whether the vectors are of the sentence; to be said where there is one a layer, as shapes do not tell."""


@dataclass(frozen=True)
class VectorKind:
    """What all vectors of a file have in common, where it holds one kind only."""

    dtype: str
    """``float32`` or ``float16``."""
    num_layers: int | None
    """None where there is one vector a token, or a sentence."""
    width: int
    is_pooled: bool

    @classmethod
    def of(cls, sentence: EmbeddedSentence) -> VectorKind:
        """The kind of a sentence's vectors.

        Raises:
            ShapeError: if there is no such kind, or they do not fit the tokens.
        """
        vectors, num_tokens = sentence.vectors, len(sentence.tokens)
        is_pooled = sentence.is_pooled or vectors.ndim == 1
        num_axes = vectors.ndim + is_pooled
        layers = vectors.shape[:1] if num_axes == 3 else ()
        is_shape = num_axes in (2, 3) and min((*layers, *vectors.shape[-1:])) > 0
        if vectors.dtype.name not in ("float32", "float16") or not is_shape:
            raise ShapeError(
                f"vectors are {vectors.dtype} in the shape {vectors.shape}, expected float32 or float16, "
                "(tokens, width) or (layers, tokens, width), or pooled (width,) or (layers, width)"
            )
        if not is_pooled and vectors.shape[-2] != num_tokens:
            raise ShapeError(f"{num_tokens} tokens have vectors of the shape {vectors.shape}")
        if sentence.spans is not None and len(sentence.spans) != num_tokens:
            raise ShapeError(f"{num_tokens} tokens have {len(sentence.spans)} spans")
        return cls(vectors.dtype.name, layers[0] if layers else None, vectors.shape[-1], is_pooled)

    def __str__(self) -> str:
        axes = [self.num_layers, None if self.is_pooled else "tokens", self.width]
        return f"{self.dtype} ({', '.join(str(axis) for axis in axes if axis is not None)})"

    def require(self, other: VectorKind) -> None:
        """Refuse vectors of another kind.

        Raises:
            ShapeError: if they are.
        """
        if other != self:
            raise ShapeError(f"the vectors before are {self}, and now {other}: one file holds one kind")


class VectorWriter(Protocol):
    """Takes one sentence after the other."""

    def write(self, sentence: EmbeddedSentence) -> None:
        """Add the next sentence.

        Raises:
            InputError: if its key stands already or cannot be a key, or its vectors do not go with those before.
        """


class StoredVectors(Protocol):
    """An array in a file, of which nothing is known to be true yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As the file claims."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As the file claims."""

    @property
    def num_bytes(self) -> int:
        """That it takes on disk."""

    def read(self) -> NDArray[Any]:
        """All of its numbers."""


class VectorReader(Protocol):
    """Finds the arrays of a file by their keys."""

    @property
    def keys(self) -> Sequence[str]:
        """In the file's order."""

    def stored(self, key: str) -> AbstractContextManager[StoredVectors]:
        """What is stored under a key."""

    def tokens(self, key: str) -> list[str] | None:
        """The tokens that are stored with it."""

    def spans(self, key: str) -> list[tuple[int, int]] | None:
        """Where its tokens stand in the raw text, if that is stored."""

    def sentences(self) -> dict[str, str]:
        """From key to sentence, as far as the file has an index of them."""

    def close(self) -> None:
        """Let go of the file."""


def file_beside(path: Path) -> IO[bytes]:
    """A file without a name, on the disk of ``path`` if that is possible; it is gone when it is closed."""
    folder = path.parent if os.access(path.parent, os.W_OK) else None
    return tempfile.TemporaryFile(dir=folder)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn whatever reading ``path`` raises into an error that says so.

    Raises:
        MissingPathError: if it is not there.
        InputError: if it cannot be read.
    """
    try:
        yield
    except LowtideError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise MissingPathError(f"{path} is not there") from None
    except Exception as error:  # the libraries raise whatever was handy
        reason = (str(error).strip("'\"") or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be read ({reason}): is it damaged, or only half copied?") from None
