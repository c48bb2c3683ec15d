"""The states of frozen embeddings, computed once: a float16 file on disk, so that an epoch costs only the head.

A store is a folder of vectors as `lowtide embed` writes it (``.mmap``), all layers of all tokens, named by what decides
its numbers: the checksum of the embedding, the dtype in which it computes, and the tokens. Whoever finds it there does
not compute it again. float16 has eleven bits: a state is off by 5e-4 of itself at most, or by 3e-8 where that is more.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowtide.amounts import format_bytes
from lowtide.embeddings.base import Embedder
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.outputs.base import EmbeddedSentence, explained
from lowtide.embeddings.outputs.memory_map import open_reader, open_writer
from lowtide.errors import ModelError
from lowtide.files import written_whole
from lowtide.model.products import Dtype
from lowtide.progress import progress
from lowtide.text.tokenize import Sentence

log = logging.getLogger("lowtide")

States16 = NDArray[np.float16]
"""(tokens, layers, width)"""
TOKENS_AT_ONCE = 8192
"""That are embedded together: what is held in memory."""


def chunks(sentences: Sequence[Sentence], most_tokens: int = TOKENS_AT_ONCE) -> Iterator[Sequence[Sentence]]:
    """Neighbouring sentences, of so many tokens together; a longer one alone."""
    start = tokens = 0
    for number, sentence in enumerate(sentences):
        if tokens + len(sentence) > most_tokens and number > start:
            yield sentences[start:number]
            start, tokens = number, 0
        tokens += len(sentence)
    if start < len(sentences):
        yield sentences[start:]


def compute_states(embedding: Embedder, sentences: Sequence[Sentence]) -> list[States16]:
    """The states of some sentences, as a store keeps them.

    Raises:
        ModelError: if they are too large for float16.
    """
    found = []
    for layers in embedding.embed_layers(sentences):  # (layers, tokens, width)
        with np.errstate(over="ignore"):
            states = layers.astype(np.float16).transpose(1, 0, 2)
        if not np.isfinite(states).all():
            largest = float(np.abs(layers).max())
            raise ModelError(
                f"the embedding gives numbers up to {largest:g}, expected at most 65504 to learn a task on"
            )
        found.append(states)
    return found


class StateStore:
    """All layers of the tokens of numbered sentences, on disk.

    Args:
        folder: of a store.
    """

    def __init__(self, folder: Path) -> None:
        with explained(folder):
            self._reader = open_reader(folder)
        self._starts: list[int] = self._reader.starts.read(0, len(self._reader) + 1).tolist()

    @classmethod
    def of(cls, embedding: Embedder, sentences: Sequence[Sentence], folder: Path) -> StateStore:
        """Open the store of these sentences; compute it, if it is not there.

        Args:
            embedding: that stays as it is.
            sentences: tokens.
            folder: where stores lie.

        Raises:
            WriteError: if it cannot be written.
        """
        path = folder / f"{_name(embedding, sentences)}.mmap"
        if not path.is_dir():
            _write(embedding, sentences, path)
        return cls(path)

    def read(self, number: int) -> States16:
        """The states of a sentence: (tokens, layers, width)."""
        states: States16 = self._reader.vectors.read(self._starts[number], self._starts[number + 1])
        return states

    def close(self) -> None:
        """Let go of the files."""
        self._reader.close()


def dtype_of(embedding: Embedder) -> Dtype:
    """In which an embedding computes."""
    return embedding.engine.dtype if isinstance(embedding, Elmo) else "float32"


def numbers_of(embedding: Embedder) -> str:
    """What decides the numbers of an embedding: its checksum, and the dtype in which it computes if that is special."""
    dtype = dtype_of(embedding)
    return embedding.checksum if dtype == "float32" else f"{embedding.checksum} {dtype}"


def _name(embedding: Embedder, sentences: Sequence[Sentence]) -> str:
    digest = hashlib.sha256(numbers_of(embedding).encode())
    for sentence in sentences:
        digest.update(json.dumps(sentence).encode())
    return digest.hexdigest()[:32]


def _write(embedding: Embedder, sentences: Sequence[Sentence], path: Path) -> None:
    num_tokens = sum(map(len, sentences))
    size = 2 * num_tokens * embedding.num_layers * embedding.width
    log.info("states      %s tokens, computed once: %s", f"{num_tokens:,}", format_bytes(size))
    with (
        written_whole(path) as beside,
        open_writer(beside) as writer,
        progress("embedding", total=num_tokens, unit="tokens") as bar,
    ):
        number = 0
        for chunk in chunks(sentences):
            for sentence, states in zip(chunk, compute_states(embedding, chunk), strict=True):
                writer.write(EmbeddedSentence(str(number), sentence, states.transpose(1, 0, 2)))
                number += 1
            bar.advance(sum(map(len, chunk)))
