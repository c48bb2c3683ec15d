"""A calibration for a model: from a text of any size to what is stored beside its weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.calibration import MAX_TOKENS, NUM_REMOVED, Calibration, fit
from lowtide.embeddings.numbered import Cutter, number
from lowtide.embeddings.sampling import sample_documents
from lowtide.errors import ModelError
from lowtide.progress import Progress, progress
from lowtide.text.batches import Document
from lowtide.weights.catalogue import shipped_model
from lowtide.weights.native import CALIBRATION, NAME
from lowtide.weights.stored import StoredModel

if TYPE_CHECKING:
    from lowtide.embeddings.elmo import Elmo


def calibrate(
    elmo: Elmo,
    texts: str | Path | Iterable[Any],
    *,
    keys: Literal["line", "id"],
    encoding: str,
    is_tokenized: bool,
    num_removed: int,
) -> Calibration:
    """Fit a calibration to a text, and store it with the model; see `Elmo.calibrate`."""
    stored = elmo.stored
    if stored.format != NAME or not stored.path.is_dir():
        raise ModelError(
            f"{stored.path} ({stored.format}) has no place for a calibration: "
            f"first `lowtide convert {stored.path} FOLDER`"
        )
    if shipped_model(stored.path.name) == stored.path:
        raise ModelError(
            f"{stored.path.name} ships with lowtide, calibrated, and stays as it is: first `lowtide convert "
            f"{stored.path.name} FOLDER`, and calibrate that"
        )
    cutter = Cutter(elmo.cutting(is_tokenized=is_tokenized), has_spans=False)
    sentences = number(texts, cutter, keys=keys, encoding=encoding).sentences()
    sample = sample_documents(sentences, MAX_TOKENS, is_carried=stored.config.documents)
    fitted = fit_to(elmo, sample, max_tokens=MAX_TOKENS, num_removed=num_removed)
    fitted.save(stored.path / CALIBRATION)
    return fitted


def stored_calibration(stored: StoredModel) -> Calibration:
    """The calibration that lies with a model.

    Raises:
        ModelError: if it is damaged, or was fitted to another model.
    """
    assert stored.calibration is not None
    found = Calibration.load(stored.calibration, num_layers=stored.bilm.num_layers, width=stored.bilm.width)
    if found.model_checksum != stored.checksum:
        raise ModelError(
            f"{stored.calibration} was fitted to another model, or with another tokenizer: {how_to_calibrate(stored)}"
        )
    return found


def how_to_calibrate(stored: StoredModel) -> str:
    """What to do where no calibration of use is there."""
    return f"fit one with `lowtide embed {stored.path} TEXT --calibrate`"


def fit_to(
    elmo: Elmo, documents: Sequence[Document], *, max_tokens: int = MAX_TOKENS, num_removed: int = NUM_REMOVED
) -> Calibration:
    """Fit a calibration to documents that are cut already; nothing is stored."""
    total = min(max_tokens, sum(len(sentence) for document in documents for sentence in document))
    with progress("calibrating", total=total, unit="tokens") as bar:
        vectors = _counted(elmo.embed_stream(documents, "all", None), bar)
        return fit(vectors, model_checksum=elmo.checksum, max_tokens=max_tokens, num_removed=num_removed)


def _counted(found: Iterable[Vectors], bar: Progress) -> Iterator[Vectors]:
    for vectors in found:
        bar.advance(vectors.shape[-2])
        yield vectors
