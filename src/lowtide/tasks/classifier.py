"""A label for every text: its topic, its sentiment, what it asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowtide.embeddings.base import Embedder
from lowtide.embeddings.inputs import Texts, listed
from lowtide.errors import InputError
from lowtide.tasks.examples import LabelledText, Place, text_of
from lowtide.tasks.heads import ClassifierHead, Head
from lowtide.tasks.inputs import Inputs
from lowtide.tasks.labels import refuse_texts_as_labels, require_labels
from lowtide.tasks.options import ClassifierOptions, FitOptions
from lowtide.tasks.reading import read_texts
from lowtide.tasks.reports import Evaluation, judge_labels, surest_first
from lowtide.tasks.rows import RowOptions, label_text
from lowtide.tasks.task import Probabilities, Task
from lowtide.tasks.token_network import TokenNetwork


class Classifier(Task[LabelledText, str]):
    """Labels texts: embeddings, a BiLSTM or nothing, one vector a text, one score a label.

    What: a small network over vectors that are there already. When: you have texts with a label each. How to get one,
    and what to do::

        classifier = Classifier(lowtide.load("en"))
        classifier.fit_file("train.tsv", valid="valid.tsv")     # label TAB text
        classifier.predict(["What a tide!"])                    # ["good"]
        classifier.evaluate_file("test.tsv").score              # accuracy
        classifier.mix.weights                                  # what each layer is worth to this task

    Args:
        embeddings: one, or several whose vectors are put beside each other.
        options: the head.
        device: where it computes.
    """

    kind = "classifier"
    options_class = ClassifierOptions
    options: ClassifierOptions

    def __init__(
        self,
        embeddings: Embedder | Sequence[Embedder],
        options: ClassifierOptions | None = None,
        *,
        device: str = "auto",
    ) -> None:
        super().__init__(embeddings, options or ClassifierOptions(), device=device)

    # -- for users -------------------------------------------------------------------------------

    def fit(
        self,
        texts: Texts,
        labels: Sequence[str],
        *,
        valid: tuple[Texts, Sequence[str]] | None = None,
        options: FitOptions | None = None,
        store: str | Path | None = None,
    ) -> Self:
        """Learn from labelled texts.

        Args:
            texts: cut by the tokenizer of the first embedding, or lists of tokens.
            labels: one a text.
            valid: texts and labels that decide when to stop; without any the last epoch is kept.
            options: how to learn.
            store: a folder where the states of the embeddings are kept, for another fit.

        Raises:
            InputError: if there are not as many labels as texts, a text is empty, or there is one label only.
        """
        self.fit_examples(
            _examples(texts, labels), None if valid is None else _examples(*valid, "valid"), options, store
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

    def predict(self, texts: Texts | str) -> list[str]:
        """The most probable label of every text, itself a text; n in, n out; one bare text is a list of one."""
        return list(self.predict_iter(self.several(texts)))

    def predict_iter(self, texts: Iterable[str | Sequence[str]]) -> Iterator[str]:
        """As `predict`, for any number of texts."""
        return self._predict_iter(texts)

    def probabilities(self, texts: Texts | str) -> NDArray[np.float32]:
        """How probable every label is: (texts, labels), in the order of ``labels``."""
        found = list(self._find_iter(self.several(texts), self._probabilities))
        return np.stack(found) if found else np.zeros((0, len(self.labels)), np.float32)

    def evaluate(self, texts: Texts, labels: Sequence[str]) -> Evaluation:
        """The accuracy, and the macro F1."""
        return self.evaluate_examples(_examples(texts, labels))

    def evaluate_file(self, path: str | Path, *, rows: RowOptions | None = None) -> Evaluation:
        """As `evaluate`, of a file as `fit_file` takes it."""
        return self.evaluate_examples(self.read_examples(path, rows))

    # -- for Task --------------------------------------------------------------------------------

    @property
    def _head(self) -> ClassifierHead:
        head = self.network.head
        assert isinstance(head, ClassifierHead)
        return head

    def read_examples(self, path: str | Path, how: RowOptions | None = None) -> list[LabelledText]:
        """TSV, CSV or JSON lines."""
        return read_texts(Path(path), how)

    def _learn_labels(self, examples: Sequence[LabelledText]) -> None:
        self.labels = sorted({example.label for example in examples})
        require_labels(self.labels, len(examples), examples[0].place)
        self._refuse_swapped(examples, warn=True)

    def _check_valid(self, examples: Sequence[LabelledText]) -> None:
        self._refuse_swapped(examples, warn=False)

    def _refuse_swapped(self, examples: Sequence[LabelledText], *, warn: bool) -> None:
        labels, texts = [example.label for example in examples], [example.text for example in examples]
        refuse_texts_as_labels(labels, texts, examples[0].place, columns="text label", warn=warn)

    def _make_head(self, tokens: TokenNetwork) -> Head:
        return ClassifierHead(tokens, len(self.labels), self.options)

    def _texts(self, examples: Iterable[LabelledText]) -> Iterator[str | Sequence[str]]:
        return (example.text for example in examples)

    def _targets(self, examples: Sequence[LabelledText]) -> list[Any]:
        return [self.labels.index(example.label) for example in examples]

    def _loss(self, inputs: Inputs, numbers: Sequence[int], targets: Sequence[Any]) -> Tensor:
        return self._head.loss(inputs.batch(numbers), torch.tensor(targets, device=self.device))

    def _answer(self, inputs: Inputs, numbers: Sequence[int]) -> list[str]:
        return [self.labels[number] for number in self._head(inputs.batch(numbers)).argmax(dim=-1).tolist()]

    def _probabilities(self, inputs: Inputs, numbers: Sequence[int]) -> list[Probabilities]:
        return list(torch.softmax(self._head(inputs.batch(numbers)), dim=-1).cpu().numpy())

    def _worst_first(self, examples: Sequence[LabelledText], wrong: Sequence[int]) -> Sequence[int]:
        return surest_first(wrong, self._find_iter(self._texts(examples[n] for n in wrong), self._probabilities))

    def _judge(self, examples: Sequence[LabelledText], answers: Sequence[str]) -> Evaluation:
        self._warn_of_unknown([(str(e.place), e.label) for e in examples if e.label not in self.labels])
        return judge_labels([example.label for example in examples], answers)

    def settings(self) -> dict[str, Any]:
        """What was found out in fitting, beside the labels."""
        return {}

    def restore(self, settings: dict[str, Any]) -> None:
        """There is nothing beside the labels."""


def _examples(texts: Texts, labels: Sequence[str], name: str = "texts") -> list[LabelledText]:
    given, labels = listed(texts), listed(labels)
    if len(given) != len(labels):
        raise InputError(f"found {len(given)} texts and {len(labels)} labels, expected one each")
    places = [Place(f"{name}[{number}]") for number in range(len(given))]
    return [
        LabelledText(text_of(text, place), label_text(label, place), place)
        for text, label, place in zip(given, labels, places, strict=True)
    ]
