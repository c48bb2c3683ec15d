"""What a vector file will be, told before the work begins: sentences, shape, bytes, minutes."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowtide.amounts import format_bytes, format_seconds
from lowtide.embeddings.engine import Engine
from lowtide.embeddings.layers import Reduction
from lowtide.embeddings.outputs.base import VectorKind
from lowtide.errors import InputError, WriteError
from lowtide.text.batches import Document, num_positions

log = logging.getLogger("lowtide")

_WARM_UP_POSITIONS = 256
_MOST_POSITIONS = 4096
_PROBE_SECONDS = 1.0
_QUICK_SECONDS = 5.0
"""Of work that is done before its forecast is read."""
_DISK_DOUBT = 0.9
"""A forecast of the size is no reason to refuse unless it is far beyond what is free."""


def keeps_spans(out: Path) -> bool:
    """Whether the format has a place for where tokens stand in the raw text."""
    return out.suffix.lower() != ".npz"


def kind_for(out: Path, num_layers: int | None, width: int, store: str | None, *, is_pooled: bool) -> VectorKind:
    """What all vectors of a file will have in common, in the type that was chosen, or that its format suggests.

    Raises:
        InputError: if there is no such type.
    """
    store = store or ("float16" if out.suffix.lower() == ".mmap" else "float32")
    if store not in ("float32", "float16"):
        raise InputError(f"cannot store {store!r}, expected float32 or float16")
    return VectorKind(store, num_layers, width, is_pooled)


def unit_bytes(kind: VectorKind) -> int:
    """Of a token, or of a sentence if its tokens are pooled."""
    return (kind.num_layers or 1) * kind.width * (2 if kind.dtype == "float16" else 4)


@dataclass(frozen=True)
class Extent:
    """How much there is to do; of a long text it is drawn from its beginning."""

    num_sentences: int
    num_tokens: int
    is_exact: bool

    def num_bytes(self, kind: VectorKind) -> int:
        """Of all vectors."""
        return unit_bytes(kind) * (self.num_sentences if kind.is_pooled else self.num_tokens)


def tokens_per_second(engine: Engine, window: Sequence[Document], reduction: Reduction) -> float | None:
    """Embed some of a window, for a second; None if its documents are too long for that."""
    warm_up = _of_at_most(window, _WARM_UP_POSITIONS)
    if not warm_up:
        return None
    rate = _measured(engine, warm_up, reduction)
    num_positions_ = min(_MOST_POSITIONS, int(rate * _PROBE_SECONDS))
    return _measured(engine, _of_at_most(window, max(num_positions_, _WARM_UP_POSITIONS)), reduction)


def _of_at_most(window: Sequence[Document], most: int) -> list[Document]:
    documents: list[Document] = []
    for document in window:
        if num_positions(document) <= most:
            documents.append(document)
            most -= num_positions(document)
    return documents


def _measured(engine: Engine, documents: Sequence[Document], reduction: Reduction) -> float:
    started = time.monotonic()
    num_tokens = 1
    for vectors in engine.embed_window(documents, reduction):
        num_tokens += vectors.shape[-2]
    return num_tokens / max(time.monotonic() - started, 1e-6)


def log_extent(extent: Extent | None, kind: VectorKind) -> None:
    """Say what will be written; of a text whose end is not in sight, for every token."""
    if extent is None:
        log.info(
            "writes      %s a sentence, %s" if kind.is_pooled else "writes      %s a token, %s",
            format_bytes(unit_bytes(kind)),
            kind,
        )
        return
    log.info(
        "writes      %s sentences, %s tokens: %s, %s"
        if extent.is_exact
        else "writes      about %s sentences, %s tokens: %s, %s",
        _rounded(extent.num_sentences, extent),
        _rounded(extent.num_tokens, extent),
        format_bytes(extent.num_bytes(kind)),
        kind,
    )


def _rounded(number: int, extent: Extent) -> str:
    if extent.is_exact or number < 1000:
        return f"{number:,}"
    scale = 10 ** (int(math.log10(number)) - 2)
    return f"{number // scale * scale:,}"


def log_time(num_tokens: int | None, rate: float | None) -> None:
    """Say how long it will take, unless that is not worth a word."""
    if rate is None:
        return
    if num_tokens is None:
        log.info("time        %s tokens a second", f"{rate:,.0f}")
    elif num_tokens / rate > _QUICK_SECONDS:
        log.info("time        about %s at %s tokens a second", format_seconds(num_tokens / rate), f"{rate:,.0f}")


def check_room(folder: Path, num_bytes: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        WriteError: if far less is free than will be needed.
    """
    free = shutil.disk_usage(folder).free
    if num_bytes * _DISK_DOUBT > free:
        raise WriteError(
            f"{folder} has {format_bytes(free)} free, and about {format_bytes(num_bytes)} are needed, for the parts "
            "and then the file: choose another --out, fewer --layers, or --store float16"
        )
