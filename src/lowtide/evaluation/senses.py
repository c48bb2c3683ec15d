"""Whether vectors tell the senses of a word apart.

Two questions, each with data that has a name in the field:

- **nearest centroid**: the mean of the labelled uses of every sense, and for a new use the sense whose mean is nearest
  by cosine. Measured is the recall of every sense, and their mean: a sense that is rare counts as much as one that is
  common (CoarseWSD-20).
- **same or not**: two uses have one meaning if the cosine of their vectors is above a threshold (WiC, MCL-WiC).

A model has several vectors for a token: layers, their mix, what stands around it, each calibrated or not. Which of them
is used is chosen on labelled data that is not the test: a tenth of the training file, or the validation file.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.inputs import MarkedSentence
from lowtide.embeddings.layers import CONTEXT, SURROUNDINGS
from lowtide.embeddings.type_vectors import TypeEmbedding
from lowtide.errors import InputError
from lowtide.evaluation.sense_files import Pair, Use, read_labelled, read_pairs, read_uses
from lowtide.messages import say
from lowtide.progress import progress
from lowtide.tasks.metrics import best_threshold

CHOOSING = 10
"""One use in so many of the training file chooses the vectors, and the others are its training file."""
FOLDS = 10
"""Where there is one file of pairs: each part is judged with what the others chose."""

_AROUND = (CONTEXT, SURROUNDINGS)
Array = NDArray[np.float32]
Views = dict[str, Array]
"""Vectors of uses, (uses, width), by which vectors they are: ``1``, ``context``, ``mix, calibrated``, ..."""


@dataclass(frozen=True)
class CentroidReport:
    """How well the senses of words are told apart by nearest centroid."""

    view: str
    """Which vectors were chosen."""
    chosen_from: dict[str, float]
    """The mean recall of every kind of vector on what they were chosen with."""
    recalls: dict[str, dict[str, float]]
    """Of every sense of every word, on the test."""
    accuracy: float
    """Of all test uses."""
    majority: float
    """The accuracy of always saying the sense that is the commonest in training."""
    num_train: int
    num_test: int
    num_left_out: int
    """Test uses of words that have no use to learn from."""

    @property
    def mean_recall(self) -> float:
        """Over all senses of all words."""
        return _mean_recall(self.recalls)

    def lines(self) -> list[str]:
        """For reading, in the language that was chosen."""
        told = [
            say(
                "uses        {train:,} to learn from, {test:,} to judge, {words:,} words, {senses:,} senses",
                train=self.num_train,
                test=self.num_test,
                words=len(self.recalls),
                senses=sum(map(len, self.recalls.values())),
            ),
            say(
                "vectors     {view}, the best of {count} on a tenth of the training uses",
                view=self.view,
                count=len(self.chosen_from),
            ),
            say("recall      {recall:.3f}, mean over senses", recall=self.mean_recall),
            say(
                "accuracy    {accuracy:.1%}; always the commonest sense: {majority:.1%}",
                accuracy=self.accuracy,
                majority=self.majority,
            ),
        ]
        if self.num_left_out:
            told.insert(
                1,
                say(
                    "left out    {count:,} uses to judge, of words that there is nothing to learn of",
                    count=self.num_left_out,
                ),
            )
        for word, of_senses in sorted(self.recalls.items()):
            senses = "  ".join(f"{sense} {recall:.2f}" for sense, recall in sorted(of_senses.items()))
            told.append(f"  {word:10}  {senses}")
        return told

    def as_json(self) -> dict[str, Any]:
        """For a program to read."""
        return {**asdict(self), "mean_recall": self.mean_recall}


@dataclass(frozen=True)
class PairReport:
    """How well one meaning is told from two by a cosine."""

    view: str
    """Which vectors were chosen; of several folds, by the most of them."""
    threshold: float
    """The mean over folds, if there are several."""
    chosen_from: dict[str, float]
    """The accuracy of every kind of vector on what they were chosen with."""
    accuracy: float
    num_test: int
    num_folds: int
    """1 where a validation file chose."""

    @property
    def standard_error(self) -> float:
        """Of the accuracy, as that of so many draws."""
        return float((self.accuracy * (1 - self.accuracy) / self.num_test) ** 0.5)

    def as_json(self) -> dict[str, Any]:
        """For a program to read."""
        return {**asdict(self), "standard_error": self.standard_error}

    def lines(self) -> list[str]:
        """For reading, in the language that was chosen."""
        chosen = (
            say("in each of {folds} folds on the other ones", folds=self.num_folds)
            if self.num_folds > 1
            else say("on the validation pairs")
        )
        return [
            say("pairs       {test:,} to judge", test=self.num_test),
            say(
                "vectors     {view}, the best of {count}, {chosen}; threshold {threshold:.3f}",
                view=self.view,
                count=len(self.chosen_from),
                chosen=chosen,
                threshold=self.threshold,
            ),
            say("accuracy    {accuracy:.1%} +- {error:.1%}", accuracy=self.accuracy, error=self.standard_error),
        ]


def measure(model: Elmo | TypeEmbedding, labelled: Path, test: Path | None = None) -> CentroidReport | PairReport:
    """Measure what the files are for: see `measure_senses` and `measure_pairs`.

    Raises:
        InputError: if a file is broken, or uses come without a test.
    """
    uses, pairs = read_labelled(labelled, model.tokenizer)
    if pairs:
        return _measure_pairs(model, labelled, pairs, test)
    if test is None:
        raise InputError(f"{labelled} holds uses to learn from: give a file of other ones to be judged, too")
    return _measure_senses(model, labelled, uses, test)


def measure_senses(model: Elmo | TypeEmbedding, train: Path, test: Path) -> CentroidReport:
    """Nearest centroids, from two files of labelled uses.

    Raises:
        InputError: if a file is broken, or no word of the test has uses to learn from.
    """
    return _measure_senses(model, train, read_uses(train), test)


def _measure_senses(model: Elmo | TypeEmbedding, train: Path, learnt: list[Use], test: Path) -> CentroidReport:
    judged = read_uses(test)
    words = {use.word for use in learnt}
    num_given, judged = len(judged), [use for use in judged if use.word in words]
    if not judged:
        raise InputError(f"no word of {test} has a use in {train}: are they of one set?")
    views = _views_of(model, [use.sentence for use in learnt])
    is_choosing = _for_choosing(learnt)
    if not is_choosing.any():
        raise InputError(f"no sense of {train} has two uses: there is nothing to choose the vectors with")
    first, tenth = _those(learnt, ~is_choosing), _those(learnt, is_choosing)
    scores = {
        name: _mean_recall(_recalls(first, vectors[~is_choosing], tenth, vectors[is_choosing]))
        for name, vectors in views.items()
    }
    view = max(scores, key=lambda name: scores[name])
    found = _views_of(model, [use.sentence for use in judged], only=view)[view]
    guesses = _nearest(learnt, views[view], judged, found)
    commonest = _commonest(learnt)
    return CentroidReport(
        view,
        scores,
        _recalls(learnt, views[view], judged, found),
        float(np.mean([guess == use.sense for guess, use in zip(guesses, judged, strict=True)])),
        float(np.mean([commonest[use.word] == use.sense for use in judged])),
        len(learnt),
        len(judged),
        num_given - len(judged),
    )


def measure_pairs(model: Elmo | TypeEmbedding, valid: Path, test: Path | None = None) -> PairReport:
    """Same or not, from files of pairs.

    Args:
        model: of any rung.
        valid: chooses the vectors and the threshold.
        test: is judged; None: ``valid`` is, in ten folds.

    Raises:
        InputError: if a file is broken, or ``valid`` alone has not a pair for each fold.
    """
    return _measure_pairs(model, valid, read_pairs(valid, model.tokenizer), test)


def _measure_pairs(model: Elmo | TypeEmbedding, valid: Path, choosing: list[Pair], test: Path | None) -> PairReport:
    judged = None if test is None else read_pairs(test, model.tokenizer)
    if judged is None and len(choosing) < FOLDS:
        raise InputError(
            f"{valid} holds {len(choosing)} pairs, ten folds need at least {FOLDS}: give a file to be judged, too"
        )
    cosines = _cosines(model, choosing)
    labels = np.array([pair.is_same for pair in choosing])
    scores = {name: best_threshold(found, labels)[1] for name, found in cosines.items()}
    if judged is not None:
        view = max(scores, key=lambda name: scores[name])
        threshold = best_threshold(cosines[view], labels)[0]
        is_same = _cosines(model, judged, only=view)[view] > threshold
        accuracy = float(np.mean(is_same == np.array([pair.is_same for pair in judged])))
        return PairReport(view, threshold, scores, accuracy, len(judged), 1)
    # neighbours share a word, and often a sentence: parts are stretches
    folds = np.arange(len(labels)) * FOLDS // len(labels)
    is_right = np.zeros(len(labels), dtype=np.bool_)
    chosen: list[tuple[str, float]] = []
    for fold in range(FOLDS):
        here = folds == fold
        best = {name: best_threshold(found[~here], labels[~here]) for name, found in cosines.items()}
        view = max(best, key=lambda name: best[name][1])
        chosen.append((view, best[view][0]))
        is_right[here] = (cosines[view][here] > best[view][0]) == labels[here]
    names = [name for name, _ in chosen]
    threshold = float(np.mean([threshold for _, threshold in chosen]))
    return PairReport(max(names, key=names.count), threshold, scores, float(is_right.mean()), len(labels), FOLDS)


# -- vectors ---------------------------------------------------------------------------------------


def _views_of(model: Elmo | TypeEmbedding, sentences: Sequence[MarkedSentence], *, only: str | None = None) -> Views:
    """The vectors of marked tokens, in every way that a model has them, or in one; of several tokens their mean."""
    names = _names(model) if only is None else [only]
    found: dict[str, list[Array]] = {name: [] for name in names}
    passes = sorted({_call_of(name) for name in names})
    with progress("embedding", total=len(passes) * len(sentences), unit="sentences") as bar:
        for layers, calibrated in passes:
            vectors = _embedded(model, (sentence.tokens for sentence in sentences), layers, calibrated)
            for sentence, of_tokens in zip(sentences, vectors, strict=True):
                marked = of_tokens[..., sentence.first : sentence.last, :].mean(axis=-2)
                for name in names:
                    if _call_of(name) == (layers, calibrated):
                        found[name].append(_of_layers(name, marked))
                bar.advance(1)
    return {name: np.stack(vectors) for name, vectors in found.items()}


def _names(model: Elmo | TypeEmbedding) -> list[str]:
    if isinstance(model, TypeEmbedding):
        return ["0", "context"]
    names = [*map(str, range(model.num_layers)), "mix", *_around(model)]
    return names if model.calibration is None else [*names, *(f"{name}, calibrated" for name in names)]


def _around(model: Elmo) -> Sequence[str]:
    return _AROUND if model.has_surroundings else [CONTEXT] if model.has_context else []


def _call_of(name: str) -> tuple[str, bool]:
    """What the model is asked for: all layers at once, as they come from one reading."""
    layers, _, calibrated = name.partition(", ")
    return (layers if layers in _AROUND else "all"), bool(calibrated)


def _of_layers(name: str, vectors: Array) -> Array:
    """What a kind of vector is among what the model was asked for."""
    layers = name.partition(", ")[0]
    if vectors.ndim == 1:
        return vectors
    of_layer: Array = vectors.mean(axis=0) if layers == "mix" else vectors[int(layers)]
    return of_layer


def _embedded(
    model: Elmo | TypeEmbedding, sentences: Iterable[Sequence[str]], layers: str, calibrated: bool
) -> Iterator[Array]:
    if isinstance(model, TypeEmbedding):
        return model.embed_iter(sentences, layers=0 if layers == "all" else layers)
    return model.embed_iter(sentences, layers=layers, calibrated=calibrated)


def _unit(vectors: Array) -> NDArray[np.float64]:
    """Of length 1; zeros stay zeros."""
    wide = vectors.astype(np.float64)
    unit: NDArray[np.float64] = wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-30)
    return unit


# -- nearest centroid ------------------------------------------------------------------------------


def _for_choosing(uses: Sequence[Use]) -> NDArray[np.bool_]:
    """(uses,): one use in ten of every sense that has ten, from all over the file; if none has, the second of each."""
    seen: dict[tuple[str, str], int] = defaultdict(int)
    places = []
    for use in uses:
        seen[use.word, use.sense] += 1
        places.append(seen[use.word, use.sense])
    nth = np.array(places)
    is_tenth: NDArray[np.bool_] = nth % CHOOSING == 0
    return is_tenth if is_tenth.any() else nth == 2


def _those(uses: Sequence[Use], which: NDArray[np.bool_]) -> list[Use]:
    return list(itertools.compress(uses, which.tolist()))


def _nearest(learnt: Sequence[Use], known: Array, judged: Sequence[Use], found: Array) -> list[str]:
    """The sense of every judged use whose centroid is nearest."""
    units = _unit(known)
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, use in enumerate(learnt):
        members[use.word][use.sense].append(number)
    centroids = {
        word: (list(senses), _unit(np.stack([units[numbers].mean(axis=0) for numbers in senses.values()])))
        for word, senses in members.items()
    }
    guesses = []
    for use, vector in zip(judged, _unit(found), strict=True):
        senses, of_senses = centroids[use.word]
        guesses.append(senses[int(np.argmax(of_senses @ vector))])
    return guesses


def _recalls(learnt: Sequence[Use], known: Array, judged: Sequence[Use], found: Array) -> dict[str, dict[str, float]]:
    """Of every sense of every word: the share of its uses that are found."""
    is_right: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for use, guess in zip(judged, _nearest(learnt, known, judged, found), strict=True):
        is_right[use.word][use.sense].append(guess == use.sense)
    return {
        word: {sense: float(np.mean(right)) for sense, right in senses.items()} for word, senses in is_right.items()
    }


def _mean_recall(recalls: dict[str, dict[str, float]]) -> float:
    values = [recall for of_senses in recalls.values() for recall in of_senses.values()]
    return float(np.mean(values)) if values else 0.0


def _commonest(uses: Sequence[Use]) -> dict[str, str]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for use in uses:
        counts[use.word][use.sense] += 1
    return {word: max(senses, key=lambda sense: senses[sense]) for word, senses in counts.items()}


# -- same or not -----------------------------------------------------------------------------------


def _cosines(
    model: Elmo | TypeEmbedding, pairs: Sequence[Pair], *, only: str | None = None
) -> dict[str, NDArray[np.float64]]:
    """(pairs,) for every kind of vector."""
    sentences = [sentence for pair in pairs for sentence in (pair.first, pair.second)]
    views = _views_of(model, sentences, only=only)
    units = {name: _unit(vectors) for name, vectors in views.items()}
    return {name: (unit[0::2] * unit[1::2]).sum(axis=1) for name, unit in units.items()}
