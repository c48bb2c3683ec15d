"""Whether there is something to learn or to judge: examples, two labels at least, and labels that are no texts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from lowtide.errors import InputError
from lowtide.tasks.examples import Place
from lowtide.text.tokenize import Sentence

_ENOUGH = 20
"""Of so many examples on labels should come again."""


def require_labels(labels: Sequence[str], num_examples: int, place: Place) -> None:
    """Refuse to learn what has one answer.

    Args:
        labels: all that there are, each once.
        num_examples: that have them.
        place: of one of these.

    Raises:
        InputError: if there are fewer than two labels.
    """
    if len(labels) < 2:
        raise InputError(
            f"{place.whole}: all {num_examples:,} examples have the label {labels[0]!r}: expected two labels at least, "
            "or there is nothing to learn"
        )


def refuse_texts_as_labels(
    labels: Sequence[str], texts: Sequence[str | Sentence], place: Place, *, columns: str, warn: bool
) -> None:
    """Refuse columns that are swapped: most labels stand there once, and all of them are longer than all texts.

    Args:
        labels: one an example.
        texts: as many.
        place: of one of these.
        columns: in which order they may be.
        warn: whether to warn of labels that hardly ever come again, though they look like labels.

    Raises:
        InputError: if they are swapped, without showing any.
    """
    num_labels = len(set(labels))
    if len(labels) < _ENOUGH or 2 * num_labels <= len(labels):
        return
    if sum(map(len, labels)) > sum(map(_num_letters, texts)):
        raise InputError(
            f"{place.whole}: found {num_labels:,} labels in {len(labels):,} examples, and they are longer than the "
            f"texts: are the columns `{columns}`? Name them with --columns"
        )
    if warn:
        warnings.warn(
            f"{place.whole}: found {num_labels:,} labels in {len(labels):,} examples: what stands there once is hardly "
            "learned. If this is another column than that of the labels, name the columns with --columns",
            stacklevel=2,
        )


def _num_letters(text: str | Sentence) -> int:
    return len(text) if isinstance(text, str) else len(" ".join(text))
