"""From sentences to a vector file of any size: window by window, in bounded memory, whole or gone on with later.

What fits into one window is written straight. Anything longer becomes blocks, one a window (`parts`), which are put
together at the end; a block that is there is never computed again, by this process or by any other.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.blocks import digest
from lowtide.embeddings.engine import Engine
from lowtide.embeddings.file_forecast import (
    Extent,
    check_room,
    keeps_spans,
    log_extent,
    log_time,
    tokens_per_second,
)
from lowtide.embeddings.layers import Reduction, pool
from lowtide.embeddings.numbered import Numbered, NumberedSentence
from lowtide.embeddings.outputs import open_output
from lowtide.embeddings.outputs.base import EmbeddedSentence, VectorKind
from lowtide.embeddings.outputs.formats import format_of
from lowtide.embeddings.parts import Parts, Shard, has_begun
from lowtide.errors import InputError
from lowtide.files import remove
from lowtide.progress import Progress, progress
from lowtide.text.batches import Document
from lowtide.text.tokenize import Sentence

log = logging.getLogger("lowtide")

FORMAT_VERSION = 1
"""Of the parts."""
_WORTH_TELLING = 2000
"""Tokens; what is written of fewer is there at once."""


@dataclass(frozen=True)
class Window:
    """What is embedded together."""

    number: int
    """From 0."""
    documents: list[Document]
    sentences: list[NumberedSentence]

    @property
    def num_tokens(self) -> int:
        """Boundaries not counted."""
        return sum(len(sentence.tokens) for sentence in self.sentences)


@dataclass(frozen=True)
class Recipe:
    """From the vectors of a network to those of a file."""

    reduction: Reduction
    kind: VectorKind
    pool: str | None
    is_carried: bool
    """Whether the state is carried through documents."""

    def __post_init__(self) -> None:
        """Refuse an unknown pooling before any work is done."""
        if self.pool is not None:
            pool(torch.zeros(1, 1), self.pool)

    def finished(self, vectors: Vectors) -> NDArray[np.floating[Any]]:
        """One vector a sentence if they are pooled, in the type in which they are stored."""
        if self.pool is not None:
            vectors = pool(torch.from_numpy(vectors), self.pool).numpy()
        finished: NDArray[np.floating[Any]] = vectors.astype(self.kind.dtype, copy=False)
        return finished


def windows(engine: Engine, sentences: Iterable[NumberedSentence], *, is_carried: bool) -> Iterator[Window]:
    """Sentences in windows of documents, in order; one document a sentence unless a state is carried."""
    waiting: deque[NumberedSentence] = deque()

    def documents() -> Iterator[Document]:
        document: list[Sentence] = []
        for sentence in sentences:
            if document and (sentence.starts_document or not is_carried):
                yield document
                document = []
            document.append(sentence.tokens)
            waiting.append(sentence)
        if document:
            yield document

    for number, window in enumerate(engine.windows(documents())):
        yield Window(number, window, [waiting.popleft() for document in window for _ in document])


@dataclass(frozen=True)
class Written:
    """What has become of a file."""

    num_sentences: int
    """Of the whole text."""
    is_whole: bool
    """False where other processes have blocks to compute still."""


class VectorFile:
    """A vector file to be written.

    Args:
        out: where; its ending says which format.
        engine: what embeds.
        recipe: what is made of the layers.
        manifest: gives all else that decides what will be in the file, as JSON has it.
        look: is called with every sentence that is read.
    """

    def __init__(
        self,
        out: Path,
        engine: Engine,
        recipe: Recipe,
        manifest: Callable[[], dict[str, Any]],
        look: Callable[[Sentence], None],
    ) -> None:
        self._out, self._engine, self._recipe = out, engine, recipe
        self._manifest, self._look = manifest, look

    def write(self, numbered: Numbered, *, resume: bool, shard: Shard | None) -> Written:
        """Write it, or a share of it.

        Args:
            numbered: the sentences.
            resume: whether to go on with blocks that are there; a shard always does.
            shard: the share of this process; None: all.
        """
        if resume and self._out.exists() and not has_begun(self._out):
            raise InputError(f"{self._out} is whole: there is nothing to resume; without --resume it is written anew")
        found = windows(self._engine, self._counted(numbered.sentences()), is_carried=self._recipe.is_carried)
        ahead = list(itertools.islice(found, 2))
        rest = itertools.chain(ahead, found)
        if len(ahead) < 2 and shard is None and not has_begun(self._out):
            if resume:
                log.info("nothing to resume in %s: beginning", self._out)
            return self._write_straight(ahead)
        parts = Parts(self._out, shard or Shard())
        with parts.reserved(self._full_manifest(numbered), goes_on=resume or shard is not None):
            extent = self._extent(numbered, ahead)
            self._tell(extent, ahead, parts)
            return self._write_parts(rest, parts, extent)

    def _full_manifest(self, numbered: Numbered) -> dict[str, Any]:
        recipe = self._recipe
        made = {"pool": recipe.pool, "vectors": str(recipe.kind), "documents": recipe.is_carried}
        text = {"spans": keeps_spans(self._out), "text": numbered.describe()}
        versions = {"lowtide": version("lowtide"), "torch": torch.__version__, "format_version": FORMAT_VERSION}
        manifest: dict[str, Any] = json.loads(json.dumps({**versions, **self._manifest(), **made, **text}))
        return manifest

    def _counted(self, sentences: Iterable[NumberedSentence]) -> Iterator[NumberedSentence]:
        check_key = format_of(self._out).check_key
        for sentence in sentences:
            if check_key is not None:
                with _placed(sentence):
                    check_key(sentence.key)
            self._look(sentence.tokens)
            yield sentence

    def _embedded(self, window: Window, bar: Progress) -> Iterator[EmbeddedSentence]:
        found = self._engine.embed_window(window.documents, self._recipe.reduction)
        for sentence, vectors in zip(window.sentences, found, strict=True):
            yield self._as_written(sentence, vectors)
            bar.advance(len(sentence.tokens))

    def write_stream(self, sentences: Iterable[NumberedSentence], vectors: Iterable[Vectors]) -> Written:
        """Write what was embedded otherwise, without blocks: nothing of it can be gone on with."""
        count = 0
        with open_output(self._out) as writer, progress("embedding", total=None, unit="tokens") as bar:
            for sentence, found in zip(self._counted(sentences), vectors, strict=True):
                writer.write(self._as_written(sentence, found))
                bar.advance(len(sentence.tokens))
                count += 1
        return Written(count, is_whole=True)

    def _as_written(self, sentence: NumberedSentence, vectors: Vectors) -> EmbeddedSentence:
        finished, is_pooled = self._recipe.finished(vectors), self._recipe.pool is not None
        return EmbeddedSentence(sentence.key, sentence.tokens, finished, sentence.spans, is_pooled)

    # -- what fits into a window -----------------------------------------------------------------

    def _write_straight(self, whole: list[Window]) -> Written:
        num_tokens = sum(window.num_tokens for window in whole)
        num_sentences = sum(len(window.sentences) for window in whole)
        for window in whole:
            if num_tokens >= _WORTH_TELLING:
                log_extent(Extent(num_sentences, num_tokens, is_exact=True), self._recipe.kind)
                log_time(num_tokens, tokens_per_second(self._engine, window.documents, self._recipe.reduction))
        with open_output(self._out) as writer, progress("embedding", total=num_tokens, unit="tokens") as bar:
            for window in whole:
                for sentence in self._embedded(window, bar):
                    writer.write(sentence)
        return Written(num_sentences, is_whole=True)

    # -- what does not ---------------------------------------------------------------------------

    def _extent(self, numbered: Numbered, ahead: list[Window]) -> Extent | None:
        first = ahead[:1]
        num_sentences = sum(len(window.sentences) for window in first)
        num_tokens = sum(window.num_tokens for window in first)
        if len(ahead) < 2:
            return Extent(num_sentences, num_tokens, is_exact=True)
        share = numbered.share_read(first[0].sentences[-1])
        if not share:
            return None
        return Extent(int(num_sentences / share), int(num_tokens / share), is_exact=False)

    def _tell(self, extent: Extent | None, ahead: list[Window], parts: Parts) -> None:
        kind, shard = self._recipe.kind, parts.shard
        log_extent(extent, kind)
        mine = [block for number, block in parts.blocks.items() if shard.has(number)]
        done = sum(block.num_tokens for block in mine)
        if parts.blocks:
            log.info("going on    %s blocks are there already", f"{len(parts.blocks):,}")
        rate = tokens_per_second(self._engine, ahead[0].documents, self._recipe.reduction) if ahead else None
        log_time(None if extent is None else max(0, extent.num_tokens // shard.count - done), rate)
        if extent is not None:
            # whether the other shards write to this disk is not known
            size = extent.num_bytes(kind)
            needed = 2 * size if shard.count == 1 else size // shard.count
            check_room(parts.folder, needed - sum(block.num_bytes for block in mine))

    def _write_parts(self, found: Iterable[Window], parts: Parts, extent: Extent | None) -> Written:
        texts: list[str] = []
        num_sentences = 0
        shard = parts.shard
        total = None if extent is None else extent.num_tokens // shard.count
        with progress("embedding", total=total, unit="tokens") as bar:
            bar.advance(sum(block.num_tokens for number, block in parts.blocks.items() if shard.has(number)))
            for window in found:
                text = digest(window.sentences)
                texts.append(text)
                num_sentences += len(window.sentences)
                if window.number in parts.blocks:
                    parts.check(window.number, text)
                elif shard.has(window.number):
                    parts.write(window.number, text, self._embedded(window, bar))
        with parts.ended(texts) as missing:
            if missing == []:
                self._put_together(parts, num_sentences)
        if missing is None:
            log.info(
                "shard       %s of %s has ended; another process puts all of them together", shard.number, shard.count
            )
        elif missing:
            log.info(
                "shard       %s of %s has ended; %s of %s blocks are not there yet, those of: %s",
                shard.number,
                shard.count,
                f"{len(missing):,}",
                f"{len(texts):,}",
                ", ".join(f"{number}/{shard.count}" for number in sorted({shard.of_block(n) for n in missing})[:10]),
            )
        return Written(num_sentences, is_whole=missing == [])

    def _put_together(self, parts: Parts, num_sentences: int) -> None:
        remove_halves(self._out)
        with (
            open_output(self._out) as writer,
            progress("putting together", total=num_sentences, unit="sentences") as bar,
        ):
            for block in parts.copy_to(writer):
                bar.advance(block.num_sentences)


@contextmanager
def _placed(sentence: NumberedSentence) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{sentence.place}: {error}") from None


def remove_halves(out: Path) -> None:
    """Remove what a process that was killed has left of a file; nobody else may be writing it."""
    place = out.resolve() if out.is_symlink() else out
    for path in place.parent.glob(".*.part"):
        if re.fullmatch(rf"\.{re.escape(place.name)}\.\d+\.part", path.name):
            remove(path)
