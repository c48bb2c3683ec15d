"""Two vector files of one text: the same, or where they differ, and which habit of a tool explains it.

Tools that run the same model write different numbers: one writes all layers and another their mean, one keeps the
sentence boundaries, one carries the state of the network from batch to batch. Both files are read twice at most, one
sentence at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.outputs import Floats, open_embeddings
from lowtide.embeddings.session import Session
from lowtide.errors import InputError
from lowtide.evaluation.reasons import FILES, EmbedWarm, Reason, find_reasons
from lowtide.evaluation.vector_pairs import distances, paired
from lowtide.messages import say
from lowtide.progress import progress
from lowtide.text.tokenize import Sentence


@dataclass(frozen=True)
class Place:
    """A number that stands in both files."""

    sentence: str
    """Its key: the number of the sentence from 0, or a name."""
    layer: int | None
    """None where there is one vector a token."""
    token: int | None
    """None where there is one vector a sentence."""
    old: float
    new: float

    def __str__(self) -> str:
        parts = [say("sentence {sentence}", sentence=self.sentence)]
        if self.layer is not None:
            parts.append(say("layer {number}", number=self.layer))
        if self.token is not None:
            parts.append(say("token {number}", number=self.token))
        return ", ".join(parts)


@dataclass(frozen=True)
class OtherShape:
    """A sentence that has one shape in one file and another in the other."""

    sentence: str
    old: tuple[int, ...]
    new: tuple[int, ...]


@dataclass(frozen=True)
class Difference:
    """How two vector files differ."""

    old: str
    new: str
    tolerance: float
    num_old: int
    """Sentences."""
    num_new: int
    only_in_old: tuple[str, ...] = ()
    """Keys, where these are names."""
    only_in_new: tuple[str, ...] = ()
    num_compared: int = 0
    """Sentences that are in both files and have one shape."""
    num_other_shapes: int = 0
    first_other_shape: OtherShape | None = None
    largest: float = 0.0
    """The largest absolute difference of two finite numbers."""
    mean: float = 0.0
    """The mean of these differences."""
    num_over: int = 0
    """Sentences with a difference beyond the tolerance."""
    first_over: Place | None = None
    num_nan_old: int = 0
    """Numbers that are NaN; at one place in both files that is no difference."""
    num_nan_new: int = 0
    num_unlike: int = 0
    """Numbers that are NaN or infinite in one file, and something else in the other."""
    reasons: tuple[Reason, ...] = ()
    """What is known to explain the difference, all of them together."""

    @property
    def is_same(self) -> bool:
        """Whether both hold the same sentences in the same shapes, with numbers within the tolerance."""
        return self.num_old == self.num_new == self.num_compared and not self.num_over

    def lines(self) -> list[str]:
        """For reading, in the language that was chosen."""
        return [
            say("old         {path}: {count:,} sentences", path=self.old, count=self.num_old),
            say("new         {path}: {count:,} sentences", path=self.new, count=self.num_new),
            *self._lines_of_sentences(),
            *self._lines_of_numbers(),
            *(say("reason      {reason}", reason=str(reason)) for reason in self.reasons),
            self._verdict(),
        ]

    def _lines_of_sentences(self) -> Iterator[str]:
        for keys, file in ((self.only_in_old, "old"), (self.only_in_new, "new")):
            if keys:
                names = ", ".join(map(repr, keys[:3])) + (", ..." if len(keys) > 3 else "")
                where = say(FILES[file])
                yield say(
                    "alone       {count:,} sentences are in {file} only: {names}",
                    count=len(keys),
                    file=where,
                    names=names,
                )
        if (shape := self.first_other_shape) is not None:
            yield say(
                "shapes      {count:,} sentences have another shape, first sentence {sentence}: {old} and {new}",
                count=self.num_other_shapes,
                sentence=shape.sentence,
                old=" x ".join(map(str, shape.old)),
                new=" x ".join(map(str, shape.new)),
            )

    def _lines_of_numbers(self) -> Iterator[str]:
        if self.num_compared:
            yield say("difference  {largest:.1e} at most, {mean:.1e} on average", largest=self.largest, mean=self.mean)
        if self.num_nan_old or self.num_nan_new or self.num_unlike:
            yield say(
                "not finite  {old:,} numbers are NaN in the old file, {new:,} in the new file; {unlike:,} are NaN or "
                "infinite in one of them alone",
                old=self.num_nan_old,
                new=self.num_nan_new,
                unlike=self.num_unlike,
            )
        if (place := self.first_over) is not None:
            yield say(
                "over        {over:,} of {count:,} sentences differ by more than {tolerance:.1e}",
                over=self.num_over,
                count=self.num_compared,
                tolerance=self.tolerance,
            )
            yield say("first       {place}: {old:.7g} and {new:.7g}", place=str(place), old=place.old, new=place.new)

    def _verdict(self) -> str:
        if self.is_same:
            return say("the same, within {tolerance:.1e}", tolerance=self.tolerance)
        is_other_text = self.num_old != self.num_new
        is_explained = self.reasons or is_other_text or not (self.num_over or self.num_other_shapes)
        return say("not the same" if is_explained else "not the same, for no reason that is known here")


def compare_files(
    old: str | Path,
    new: str | Path,
    *,
    tolerance: float = 1e-5,
    batch_rows: Sequence[int] = (),
    embed_warm: EmbedWarm | None = None,
) -> Difference:
    """Compare two vector files of one text.

    Sentences are paired by their numbers; by their keys where these are names; by their tokens where one file has
    numbers and the other names.

    Args:
        old: any file that `open_embeddings` reads.
        new: another one.
        tolerance: how far two equal numbers may lie apart.
        batch_rows: how many sentences a batch of the old tool may have had, beside what is usual.
        embed_warm: the model, to confirm that a carried state is the reason.

    Raises:
        MissingPathError: if a file is not there.
        InputError: if one is no vector file, or a damaged one, or the tolerance is negative.
    """
    if not tolerance >= 0:
        raise InputError(f"the tolerance is {tolerance}, expected 0 or more")
    with open_embeddings(old) as olds, open_embeddings(new) as news:
        pairing = paired(olds, news)
        tally = _Tally(tolerance)
        with progress("comparing", total=len(pairing.pairs), unit="sentences") as bar:
            for i, j in pairing.pairs:
                tally.add(olds.keys[i], olds[i], news[j])
                bar.advance(1)
        found = Difference(
            old=str(old),
            new=str(new),
            tolerance=tolerance,
            num_old=len(olds),
            num_new=len(news),
            only_in_old=tuple(olds.keys[i] for i in pairing.only_in_old),
            only_in_new=tuple(news.keys[j] for j in pairing.only_in_new),
            num_compared=tally.num_compared,
            num_other_shapes=tally.num_other_shapes,
            first_other_shape=tally.first_other_shape,
            largest=tally.largest,
            mean=tally.total / max(tally.num_finite, 1),
            num_over=tally.num_over,
            first_over=tally.first_over,
            num_nan_old=tally.num_nan_old,
            num_nan_new=tally.num_nan_new,
            num_unlike=tally.num_unlike,
        )
        if not (found.num_over or found.num_other_shapes):
            return found
        return replace(found, reasons=find_reasons(olds, news, pairing, tolerance, batch_rows, embed_warm))


# -- how far apart -------------------------------------------------------------------------------


@dataclass
class _Tally:
    """What is known of two files after some of their sentences."""

    tolerance: float
    num_compared: int = 0
    num_other_shapes: int = 0
    first_other_shape: OtherShape | None = None
    largest: float = 0.0
    total: float = 0.0
    num_finite: int = 0
    num_over: int = 0
    first_over: Place | None = None
    num_nan_old: int = 0
    num_nan_new: int = 0
    num_unlike: int = 0

    def add(self, key: str, old: Floats, new: Floats) -> None:
        """Compare the next sentence."""
        self.num_nan_old += int(np.isnan(old).sum())
        self.num_nan_new += int(np.isnan(new).sum())
        if old.shape != new.shape:
            self.num_other_shapes += 1
            self.first_other_shape = self.first_other_shape or OtherShape(key, old.shape, new.shape)
            return
        self.num_compared += 1
        apart = distances(old, new)
        is_over = apart > self.tolerance
        if is_over.any():
            self.num_over += 1
            self.first_over = self.first_over or _place(key, old, new, int(is_over.argmax()))
        is_finite = np.isfinite(apart)
        finite = apart if is_finite.all() else apart[is_finite]
        self.num_unlike += apart.size - finite.size
        self.num_finite += finite.size
        self.total += float(finite.sum())
        self.largest = max(self.largest, float(finite.max(initial=0.0)))


def _place(key: str, old: Floats, new: Floats, flat: int) -> Place:
    *above, _ = map(int, np.unravel_index(flat, old.shape))
    layer, token = (None, None, *above)[-2:]
    return Place(key, layer, token, float(old.flat[flat]), float(new.flat[flat]))


def warm_vectors(elmo: Elmo, sentences: Iterable[Sentence], rows: int) -> Iterator[Floats]:
    """Every layer, as a model gives it with its state carried in batches of so many rows; for `compare_files`."""
    return Session(elmo, rows=rows).embed_iter(sentences, layers="all")
