"""What two texts are to each other: the same question, a paraphrase, a consequence, how alike."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowtide.embeddings.base import Embedder
from lowtide.embeddings.inputs import listed
from lowtide.errors import InputError
from lowtide.tasks.examples import LabelledPair, Place, text_of
from lowtide.tasks.heads import Head, MatcherHead
from lowtide.tasks.inputs import Batch, Inputs
from lowtide.tasks.labels import refuse_texts_as_labels, require_labels
from lowtide.tasks.metrics import best_threshold
from lowtide.tasks.options import FitOptions, MatcherOptions
from lowtide.tasks.reading import read_pairs
from lowtide.tasks.reports import Evaluation, judge_labels, judge_scores, surest_first
from lowtide.tasks.rows import RowOptions, label_text
from lowtide.tasks.task import Probabilities, Task
from lowtide.tasks.token_network import TokenNetwork

Text = str | Sequence[str]
Pair = tuple[Text, Text]
Answer = str | float


class Matcher(Task[LabelledPair, Answer]):
    """Compares two texts that go through one network.

    What: a small network over vectors that are there already. When: you have pairs of texts, with a label or a score.
    How to get one, and what to do::

        matcher = Matcher(lowtide.load("en"), MatcherOptions(objective="cosine"))
        matcher.fit_file("train.tsv", valid="valid.tsv")      # columns score, sentence1, sentence2
        matcher.predict([("The tide goes out.", "It ebbs.")]) # [4.1]
        matcher.evaluate_file("test.tsv").score               # Spearman

    Args:
        embeddings: one, or several whose vectors are put beside each other.
        options: the head, and what it learns: labels, a score, or which texts belong together.
        device: where it computes.
    """

    kind = "matcher"
    options_class = MatcherOptions
    options: MatcherOptions

    def __init__(
        self,
        embeddings: Embedder | Sequence[Embedder],
        options: MatcherOptions | None = None,
        *,
        device: str = "auto",
    ) -> None:
        super().__init__(embeddings, options or MatcherOptions(), device=device)
        self.lowest, self.highest = 0.0, 1.0
        """The scores of the training pairs lie between these; a cosine of 0 is the one, of 1 the other."""
        self.threshold = self._first_threshold
        """Of ``contrastive``: above this cosine texts belong together; at first where their distance is half the
        margin, then what is best on the validation pairs."""

    # -- for users -------------------------------------------------------------------------------

    def fit(
        self,
        pairs: Sequence[Pair],
        answers: Sequence[Answer],
        *,
        valid: tuple[Sequence[Pair], Sequence[Answer]] | None = None,
        options: FitOptions | None = None,
        store: str | Path | None = None,
    ) -> Self:
        """Learn from pairs of texts.

        Args:
            pairs: two texts each, cut by the tokenizer of the first embedding, or lists of tokens.
            answers: a label each; for ``cosine`` a number.
            valid: pairs and answers that decide when to stop; without any the last epoch is kept.
            options: how to learn.
            store: a folder where the states of the embeddings are kept, for another fit.

        Raises:
            InputError: if there are not as many answers as pairs, a text is empty, or all answers are the same.
        """
        self.fit_examples(
            self._examples(pairs, answers), None if valid is None else self._examples(*valid, "valid"), options, store
        )
        return self

    def fit_file(
        self,
        train: str | Path,
        *,
        valid: str | Path | None = None,
        rows: RowOptions | None = None,
        options: FitOptions | None = None,
        store: str | Path | None = None,
    ) -> Self:
        """As `fit`, from files: TSV, CSV or JSON lines; see `lowtide.tasks.rows`."""
        self._fit_files(train, valid, rows, options, store)
        return self

    def predict(self, pairs: Sequence[Pair]) -> list[Answer]:
        """The label or the score of every pair; n in, n out."""
        return list(self.predict_iter(pairs))

    def predict_iter(self, pairs: Iterable[Pair]) -> Iterator[Answer]:
        """As `predict`, for any number of pairs."""
        return self._predict_iter(_texts_of(pairs))

    def probabilities(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """How probable every label is: (pairs, labels), in the order of ``labels``; of ``classify``.

        Raises:
            InputError: if another objective was learned, which has no probabilities.
        """
        found = list(self._find_iter(_texts_of(pairs), self._probabilities))
        return np.stack(found) if found else np.zeros((0, len(self.labels)), np.float32)

    def similarities(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """The cosine of the two vectors of every pair: (pairs,), -1 to 1; of ``cosine`` and ``contrastive``.

        Raises:
            InputError: if ``classify`` was learned, which compares texts otherwise.
        """
        return np.array([cosine for _, cosine in self.predict_with_similarities(pairs)], np.float32)

    def predict_with_probabilities(self, texts: Iterable[Pair]) -> Iterator[tuple[Answer, Probabilities]]:
        """The label of any number of pairs, each with how probable every label is; see `probabilities`."""
        return super().predict_with_probabilities(_texts_of(texts))

    def predict_with_similarities(self, pairs: Iterable[Pair]) -> Iterator[tuple[Answer, float]]:
        """The label or the score of any number of pairs, each with its cosine; see `similarities`."""
        if self.options.objective == "classify":
            raise InputError("this matcher has no similarities, as it classifies: ask for probabilities")
        told, cosines = itertools.tee(self._find_iter(_texts_of(pairs), self._cosines))
        return zip(self._labelled(map(self._scored, told)), cosines, strict=True)

    def evaluate(self, pairs: Sequence[Pair], answers: Sequence[Answer]) -> Evaluation:
        """The accuracy of labels; of scores Spearman's correlation."""
        return self.evaluate_examples(self._examples(pairs, answers))

    def evaluate_file(self, path: str | Path, *, rows: RowOptions | None = None) -> Evaluation:
        """As `evaluate`, of a file as `fit_file` takes it."""
        return self.evaluate_examples(self.read_examples(path, rows))

    # -- for Task --------------------------------------------------------------------------------

    @property
    def texts_per_example(self) -> int:
        """Two."""
        return 2

    @property
    def _first_threshold(self) -> float:
        return 1 - self.options.margin**2 / 8

    @property
    def _is_scored(self) -> bool:
        return self.options.objective == "cosine"

    def read_examples(self, path: str | Path, how: RowOptions | None = None) -> list[LabelledPair]:
        """TSV, CSV or JSON lines."""
        return read_pairs(Path(path), how, answer="score" if self._is_scored else "label")

    def _examples(self, pairs: Sequence[Pair], answers: Sequence[Answer], name: str = "pairs") -> list[LabelledPair]:
        pairs, answers = listed(pairs), listed(answers)
        if len(pairs) != len(answers):
            raise InputError(f"found {len(pairs)} pairs and {len(answers)} answers, expected one each")
        found = []
        for number, (pair, answer) in enumerate(zip(pairs, answers, strict=True)):
            place = Place(f"{name}[{number}]")
            first, second = (text_of(text, place) for text in _checked(pair, f"{place}: "))
            told = _score(answer, place) if self._is_scored else label_text(answer, place)
            found.append(LabelledPair(first, second, told, place))
        return found

    @property
    def _head(self) -> MatcherHead:
        head = self.network.head
        assert isinstance(head, MatcherHead)
        return head

    def _learn_labels(self, examples: Sequence[LabelledPair]) -> None:
        self.labels, self.threshold = [], self._first_threshold
        if self._is_scored:
            self.lowest, self.highest = _range_of(examples)
            return
        self._refuse_swapped(examples, warn=self.options.objective == "classify")
        self.labels = sorted({str(example.answer) for example in examples})
        require_labels(self.labels, len(examples), examples[0].place)
        same = self.options.same_label
        if self.options.objective == "contrastive" and (len(self.labels) != 2 or same not in self.labels):
            raise InputError(
                f"{examples[0].place.whole}: found the labels {', '.join(self.labels[:5])}; expected two, of which "
                f"{same!r} is that of texts that belong together: name another one with same_label"
            )

    def _warn_of_idle_options(self) -> None:
        super()._warn_of_idle_options()
        plain, chosen = MatcherOptions(), self.options
        is_idle = (chosen.same_label, chosen.margin) != (plain.same_label, plain.margin)
        if is_idle and chosen.objective != "contrastive":
            warnings.warn(
                f"same_label and margin are for the objective contrastive: with {chosen.objective} they do nothing",
                stacklevel=4,
            )

    def _check_valid(self, examples: Sequence[LabelledPair]) -> None:
        if self._is_scored:
            _range_of(examples)
        else:
            self._refuse_swapped(examples, warn=False)

    def _refuse_swapped(self, examples: Sequence[LabelledPair], *, warn: bool) -> None:
        labels, texts = [str(example.answer) for example in examples], [example.first for example in examples]
        refuse_texts_as_labels(labels, texts, examples[0].place, columns="first second label", warn=warn)

    def _make_head(self, tokens: TokenNetwork) -> Head:
        return MatcherHead(tokens, len(self.labels), self.options)

    def _texts(self, examples: Iterable[LabelledPair]) -> Iterator[str | Sequence[str]]:
        return (text for example in examples for text in (example.first, example.second))

    def _targets(self, examples: Sequence[LabelledPair]) -> list[Any]:
        if self._is_scored:
            return [(float(e.answer) - self.lowest) / (self.highest - self.lowest) for e in examples]
        if self.options.objective == "contrastive":
            return [float(example.answer == self.options.same_label) for example in examples]
        return [self.labels.index(str(example.answer)) for example in examples]

    def _batch(self, inputs: Inputs, numbers: Sequence[int]) -> Batch:
        """All first texts, and then all second ones."""
        return inputs.batch([2 * number for number in numbers] + [2 * number + 1 for number in numbers])

    def _loss(self, inputs: Inputs, numbers: Sequence[int], targets: Sequence[Any]) -> Tensor:
        return self._head.loss(self._batch(inputs, numbers), torch.tensor(targets, device=self.device))

    def _cosines(self, inputs: Inputs, numbers: Sequence[int]) -> list[float]:
        found: list[float] = self._head(self._batch(inputs, numbers)).tolist()
        return found

    def _answer(self, inputs: Inputs, numbers: Sequence[int]) -> list[Answer]:
        if self.options.objective == "classify":
            best = self._head(self._batch(inputs, numbers)).argmax(dim=-1)
            return [self.labels[number] for number in best.tolist()]
        return [self._scored(cosine) for cosine in self._cosines(inputs, numbers)]

    def _scored(self, cosine: float) -> Answer:
        """The score of a cosine; of ``contrastive`` it stays, and `_labelled` makes a label of it, by the threshold."""
        return self.lowest + cosine * (self.highest - self.lowest) if self._is_scored else cosine

    def _probabilities(self, inputs: Inputs, numbers: Sequence[int]) -> list[Probabilities]:
        if self.options.objective != "classify":
            raise InputError("this matcher has no probabilities, as it compares by a cosine: ask for similarities")
        return list(torch.softmax(self._head(self._batch(inputs, numbers)), dim=-1).cpu().numpy())

    def _labelled(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """Cosines of ``contrastive`` to labels; other answers stay."""
        if self.options.objective != "contrastive":
            yield from answers
            return
        [other] = [label for label in self.labels if label != self.options.same_label]
        for cosine in answers:
            yield self.options.same_label if float(cosine) > self.threshold else other

    def _predict_iter(self, texts: Iterable[str | Sequence[str]]) -> Iterator[Answer]:
        return self._labelled(super()._predict_iter(texts))

    def _settle(self, examples: Sequence[LabelledPair], answers: Sequence[Answer]) -> None:
        if self.options.objective == "contrastive":
            is_same = [example.answer == self.options.same_label for example in examples]
            self.threshold = best_threshold([float(answer) for answer in answers], is_same)[0]

    def _worst_first(self, examples: Sequence[LabelledPair], wrong: Sequence[int]) -> Sequence[int]:
        if self.options.objective != "classify":
            return wrong
        return surest_first(wrong, self._find_iter(self._texts(examples[n] for n in wrong), self._probabilities))

    def _judge(self, examples: Sequence[LabelledPair], answers: Sequence[Answer]) -> Evaluation:
        if self._is_scored:
            return judge_scores([float(example.answer) for example in examples], [float(a) for a in answers])
        self._warn_of_unknown([(str(e.place), str(e.answer)) for e in examples if e.answer not in self.labels])
        told = answers if not answers or isinstance(answers[0], str) else list(self._labelled(answers))
        return judge_labels([str(example.answer) for example in examples], [str(answer) for answer in told])

    def settings(self) -> dict[str, Any]:
        """What was found out in fitting, beside the labels."""
        return {"lowest": self.lowest, "highest": self.highest, "threshold": self.threshold}

    def restore(self, settings: dict[str, Any]) -> None:
        """Take back what `settings` gave."""
        self.lowest, self.highest = float(settings["lowest"]), float(settings["highest"])
        self.threshold = float(settings["threshold"])


def _texts_of(pairs: Iterable[Pair]) -> Iterator[Text]:
    """One behind the other."""
    return itertools.chain.from_iterable(map(_checked, pairs))


def _range_of(examples: Sequence[LabelledPair]) -> tuple[float, float]:
    """The lowest and the highest score.

    Raises:
        InputError: if they are the same, which orders nothing.
    """
    scores = [float(example.answer) for example in examples]
    if min(scores) == max(scores):
        raise InputError(
            f"{examples[0].place.whole}: found {len(scores):,} pairs, and not two different scores: there is nothing "
            "to order"
        )
    return min(scores), max(scores)


def _checked(pair: Pair, where: str = "") -> Pair:
    if not hasattr(pair, "__len__"):
        raise InputError(f"{where}found {type(pair).__name__}, expected a pair of texts")
    if isinstance(pair, str) or len(pair) != 2:
        raise InputError(f"{where}found {type(pair).__name__} of {len(pair)}, expected a pair of texts")
    return pair


def _score(answer: Answer, place: Place) -> float:
    try:
        score = float(answer)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise InputError(f"{place}: found {answer!r}, expected a score: a finite number")
    return score
