"""Why two vector files of one text differ: the known habits of tools, tried one after the other, and two by two.

Every habit is a `_Step` that makes the vectors of one file into those of the other, or a pattern in which sentences
differ: the state of a network that was carried from batch to batch.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.outputs import Embeddings, Floats
from lowtide.evaluation.vector_pairs import Pairing, distances, matched, texts_of
from lowtide.messages import say

EmbedWarm = Callable[[list[list[str]], int], Iterator[Floats]]
"""Sentences and the rows of a batch, to the vectors that a model gives with its state carried from batch to batch."""


@dataclass(frozen=True)
class Reason:
    """Something known that explains a difference."""

    name: str
    """For a program to read."""
    values: dict[str, Any]
    """What its sentence is filled with; files are ``"old"`` and ``"new"``."""

    def __str__(self) -> str:
        values = {**self.values}
        for blank in ("this", "other"):
            if blank in values:
                values[blank] = say(FILES[values[blank]])
        return say(REASONS[self.name], **values)


FILES = {"old": "the old file", "new": "the new file"}
REASONS: dict[str, str] = {
    "order": "the sentences are the same in another order",
    "texts": "the texts differ, first in sentence {sentence}: {old!r} and {new!r}",
    "boundaries": (
        "{this} keeps the sentence boundaries, a vector before the first token and one after the last; {other} does not"
    ),
    "halves": "the halves of the vectors are swapped: forward then backward in one file, the other way in the other",
    "forward half": "{other} holds the first half of every vector of {this} alone: the forward direction",
    "backward half": "{other} holds the second half of every vector of {this} alone: the backward direction",
    "one layer": "{this} holds all layers, {other} layer {layer} alone",
    "mean": "{this} holds all layers, {other} their mean (average)",
    "sum": "{this} holds all layers, {other} their sum",
    "side by side": "{this} holds {layers} layers, {other} the same side by side in one vector",
    "layer order": "the layers stand in another order: those of the new file are layers {order} of the old file",
    "pooled mean": "{other} holds one vector a sentence, the mean of those of its tokens in {this}",
    "pooled max": "{other} holds one vector a sentence, the maximum of those of its tokens in {this}",
    "factor": "{this} is {factor} times {other} everywhere, as the sum of {factor} layers is of their mean (average)",
    "float16": "{this} was stored as float16: the differences are of its rounding",
    "warm": (
        "the first {rows} sentences agree and {share:.0%} of those after them differ, as where the state of the "
        "network was carried from batch to batch of {rows} rows (warm): the published tools did that, lowtide starts "
        "every sentence clean; embed with --stateful {rows} to get the numbers of the warm file"
    ),
    "warm from the start": (
        "layer 0 agrees everywhere and {share:.0%} of the sentences differ above it: probably the state of the network "
        "was carried from batch to batch, and was warm before the first sentence; other weights above layer 0 would "
        "look the same"
    ),
    "confirmed": (
        "confirmed with the model: it gives the numbers of the old file when its state is carried from batch to batch "
        "of {rows} rows: embed with --stateful {rows} to get them"
    ),
}
"""A sentence for people each. ``{this}`` and ``{other}`` are the two files."""


_BATCH_ROWS = (1, 32, 64, 128)
"""The usual batches: bilm-tf's dump, ELMoForManyLangs and simple scripts, AllenNLP's command, bilm-tf's most rows."""
_FACTORS = range(2, 9)
_MOST_PERMUTED = 4
"""Of more layers than these only the reverse and the rotations are tried."""
_NEARLY_ALL = 0.9
_FLOAT16_ROUNDING = 2.0**-11
_FLOAT16_SMALLEST = 2.0**-24

File = Literal["old", "new"]


@dataclass(frozen=True)
class _Step:
    """What makes the vectors of one file into those of the other: what the tool behind the other one did."""

    name: str
    family: str
    """Two steps of one family are never taken together."""
    make: Callable[[Floats], Floats | None]
    """None if this cannot have been done."""
    values: dict[str, Any] = field(default_factory=dict)
    gain: float = 1.0
    """How much larger it makes small differences."""
    is_mutual: bool = False
    """Whether it is the same thing seen from the other file."""


def _steps(shape: tuple[int, ...]) -> Iterator[_Step]:
    """All that may have been done with vectors of this shape, in the order in which it would have been done."""
    yield _Step("float16", "float16", _if_float16)
    if len(shape) > 1:
        yield _Step("boundaries", "boundaries", lambda x: x[..., 1:-1, :] if x.shape[-2] >= 2 else None)
    half, is_odd = divmod(shape[-1], 2)
    if not is_odd:
        yield _Step("halves", "halves", lambda x: np.roll(x, half, axis=-1), is_mutual=True)
        yield _Step("forward half", "halves", lambda x: x[..., :half])
        yield _Step("backward half", "halves", lambda x: x[..., half:])
    if len(shape) == 3:
        yield from _layer_steps(shape[0])
    if len(shape) > 1:
        yield _Step("pooled mean", "pooled", lambda x: x.sum(axis=-2, dtype=np.float64) / max(x.shape[-2], 1))
        yield _Step("pooled max", "pooled", lambda x: x.max(axis=-2) if x.shape[-2] else x.sum(axis=-2))
    for factor in _FACTORS:
        yield _Step("factor", "factor", _divided_by(factor), {"factor": factor})


def _layer_steps(num_layers: int) -> Iterator[_Step]:
    for layer in range(num_layers):
        yield _Step("one layer", "layers", _taken(layer), {"layer": layer})
    yield _Step("mean", "layers", lambda x: x.mean(axis=0, dtype=np.float64))
    yield _Step("sum", "layers", lambda x: x.sum(axis=0, dtype=np.float64), gain=num_layers)
    yield _Step("side by side", "layers", lambda x: np.concatenate(list(x), axis=-1), {"layers": num_layers})
    natural = tuple(range(num_layers))
    orders: Iterable[tuple[int, ...]] = (natural[::-1], *(natural[k:] + natural[:k] for k in natural[1:]))
    if num_layers <= _MOST_PERMUTED:
        orders = dict.fromkeys([*orders, *itertools.permutations(natural)])
    for order in orders:
        if order != natural:
            yield _Step("layer order", "layers", _taken(list(order)), {"order": list(order)}, is_mutual=True)


def _taken(layers: int | list[int]) -> Callable[[Floats], Floats]:
    return lambda x: x[layers]


def _divided_by(factor: int) -> Callable[[Floats], Floats]:
    return lambda x: x / factor


def _if_float16(numbers: Floats) -> Floats | None:
    with np.errstate(over="ignore"):
        rounded = numbers.astype(np.float16)
    return numbers if np.array_equal(rounded, numbers, equal_nan=True) else None


_Chain = tuple[tuple[File, _Step], ...]
"""Steps, each with the file that it is taken from."""


def _chains(old: Floats, new: Floats) -> Iterator[_Chain]:
    """No step, every single step, every pair of them."""
    single: list[tuple[File, _Step]] = [("old", step) for step in _steps(old.shape)]
    single += [("new", step) for step in _steps(new.shape) if not step.is_mutual]
    yield ()
    yield from ((step,) for step in single)
    for first, second in itertools.combinations(single, 2):
        if first[1].family != second[1].family or first[1].family == "float16":
            yield first, second


@dataclass
class _Trial:
    """One chain of steps, and in which sentences it does not explain the difference."""

    chain: _Chain
    tolerance: float
    num_agreed: int = 0
    last_agreed: int | None = None
    """Before the first one that did not."""
    first_over: int | None = None
    num_over: int = 0
    num_after: int = 0
    """Sentences from `first_over` on."""
    has_layers: bool = False

    def goes_on(self, index: int, old: Floats, new: Floats) -> bool:
        """Look at the next sentence: whether this may still be what happened."""
        if not self.num_agreed and self._fails_at_once(old, new):
            return False
        is_over = self._excess(old, new)
        if is_over is None:
            return False
        if not is_over.size:
            return True
        self.has_layers = _has_layers(is_over)
        if self.first_over is None and not is_over.any():
            self.num_agreed += 1
            self.last_agreed = index
            return True
        if self.first_over is None:
            self.first_over = index
        self.num_after += 1
        self.num_over += bool(is_over.any())
        # from here on, only a carried state can be the reason: it changes all but layer 0
        if self.has_layers:
            return not is_over[0].any()
        return self.num_agreed > 0 and (self.num_after < 20 or self.share_over > 0.8)

    def _fails_at_once(self, old: Floats, new: Floats) -> bool:
        """Whether the first tokens are enough to see it: they are for nearly all chains, and a sentence may be long."""
        is_over = self._excess(self._first_tokens("old", old), self._first_tokens("new", new))
        if is_over is None:
            return True
        if any(step.family == "pooled" for _, step in self.chain):
            return False
        return bool((is_over[0] if _has_layers(is_over) else is_over).any())

    def _first_tokens(self, file: File, numbers: Floats) -> Floats:
        num_boundaries = 2 * sum(source == file and step.family == "boundaries" for source, step in self.chain)
        return numbers[..., : 4 + num_boundaries, :] if numbers.ndim > 1 else numbers

    def _excess(self, old: Floats, new: Floats) -> NDArray[np.bool_] | None:
        """Where the numbers are too far apart after the steps; None if these cannot have been taken."""
        made_old, made_new = self._made("old", old), self._made("new", new)
        if made_old is None or made_new is None or made_old.shape != made_new.shape:
            return None
        is_over: NDArray[np.bool_] = distances(made_old, made_new) > self._limits(old, new)
        return is_over

    def _made(self, file: File, numbers: Floats) -> Floats | None:
        made: Floats | None = numbers
        for source, step in self.chain:
            if source == file and made is not None:
                made = step.make(made)
        return made

    def _limits(self, old: Floats, new: Floats) -> float | Floats:
        gain = math.prod(step.gain for _, step in self.chain)
        limits: float | Floats = self.tolerance * gain
        for source, step in self.chain:
            if step.name == "float16":
                sizes = self._made(source, np.abs(old if source == "old" else new))
                assert sizes is not None
                limits = limits + _FLOAT16_ROUNDING * sizes + _FLOAT16_SMALLEST * gain
        return limits

    @property
    def is_equal(self) -> bool:
        """Whether the steps explain all."""
        return self.first_over is None and self.num_agreed > 0

    @property
    def share_over(self) -> float:
        """Of the sentences from the first that differs on."""
        return self.num_over / max(self.num_after, 1)

    def warm_rows(self, known: Iterable[int]) -> int | None:
        """The rows of a batch, if the first batch agrees and what comes after it does not."""
        if self.last_agreed is None or self.first_over is None or self.num_after < 3 or self.share_over < _NEARLY_ALL:
            return None
        # between the two are sentences without a token
        usual = [
            rows for rows in known if self.last_agreed < rows <= self.first_over and (rows > 1 or self.first_over == 1)
        ]
        if usual:
            return usual[-1]
        return self.first_over if self.num_after >= max(10, self.first_over) else None

    @property
    def is_warm_from_the_start(self) -> bool:
        """Whether nearly all differ, and layer 0 nowhere."""
        return self.has_layers and self.num_after >= 3 and self.share_over >= _NEARLY_ALL

    def reasons(self) -> list[Reason]:
        """The steps, for people."""
        others = {"old": "new", "new": "old"}
        return [Reason(step.name, {"this": file, "other": others[file], **step.values}) for file, step in self.chain]


def _has_layers(array: NDArray[Any]) -> bool:
    return array.ndim == 3 and len(array) > 1


def _trials(sentences: Iterable[tuple[int, Floats, Floats]], tolerance: float) -> list[_Trial]:
    """What may have happened, the simplest first."""
    trials: list[_Trial] | None = None
    forms = None
    for index, old, new in sentences:
        if not old.size and not new.size:
            continue
        found = [(x.ndim, x.shape[:-2], x.shape[-1]) for x in (old, new)]  # all but the number of tokens
        if trials is None:
            forms, trials = found, [_Trial(chain, tolerance) for chain in _chains(old, new)]
        trials = [trial for trial in trials if found == forms and trial.goes_on(index, old, new)]
        if not trials:
            break
    return trials or []


def find_reasons(
    olds: Embeddings,
    news: Embeddings,
    pairing: Pairing,
    tolerance: float,
    batch_rows: Sequence[int],
    embed_warm: EmbedWarm | None,
) -> tuple[Reason, ...]:
    """What explains that two files differ; nothing if nothing known does."""
    reasons: list[Reason] = []
    other_texts: list[Reason] = []
    pairs = pairing.pairs
    if pairing.is_by_number:
        old_texts, new_texts = texts_of(olds), texts_of(news)
        if old_texts and new_texts and any(map(operator.ne, old_texts, new_texts)):
            if sorted(old_texts) == sorted(new_texts):
                pairs = matched(old_texts, new_texts).pairs
                reasons.append(Reason("order", {}))
            else:
                other_texts.append(_other_texts(old_texts, new_texts))
    trials = _trials(((i, olds[i], news[j]) for i, j in pairs), tolerance)
    for trial in trials:
        if trial.is_equal:
            return (*reasons, *trial.reasons())
    if other_texts:
        return tuple(other_texts)
    known = [*_BATCH_ROWS, *batch_rows]
    found = [(trial, rows) for trial in trials if (rows := trial.warm_rows(known))]
    if found:
        trial, rows = found[0]
        reasons += [*trial.reasons(), Reason("warm", {"rows": rows, "share": trial.share_over})]
        known.insert(0, rows)
    else:
        # no sentence agrees that would prove anything else of the layers above 0: only the simplest counts
        for trial in trials[:1]:
            if trial.is_warm_from_the_start:
                reasons += [*trial.reasons(), Reason("warm from the start", {"share": trial.share_over})]
    if embed_warm is not None and pairing.is_by_number:
        confirmed = _confirmed_rows(olds, news, embed_warm, known, tolerance)
        reasons += [] if confirmed is None else [Reason("confirmed", {"rows": confirmed})]
    return tuple(reasons)


def _other_texts(olds: list[str], news: list[str]) -> Reason:
    """The first sentence that is another one, from shortly before the place where it is."""
    number, old, new = next((i, old, new) for i, (old, new) in enumerate(zip(olds, news, strict=False)) if old != new)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))
    first = max(0, sum(1 for _ in same) - 20)
    return Reason("texts", {"sentence": number, "old": old[first : first + 60], "new": new[first : first + 60]})


def _confirmed_rows(
    olds: Embeddings, news: Embeddings, embed_warm: EmbedWarm, known: Sequence[int], tolerance: float
) -> int | None:
    """The rows of a batch with which the model gives the numbers of the old file.

    A batch depends only on those before it, so the first four are enough.
    """
    sentences = []
    for index in range(min(len(olds), len(news), 4 * max(known))):
        found = [tokens for tokens in (olds.tokens(index), news.tokens(index)) if tokens is not None]
        if not found:
            return None
        sentences.append(found[0])
    for rows in dict.fromkeys(known):
        if rows < len(sentences):
            warm = zip(olds, embed_warm(sentences, rows), strict=False)
            compared = ((index, old, new) for index, (old, new) in enumerate(warm))
            if any(trial.is_equal for trial in _trials(compared, tolerance)):
                return rows
    return None
