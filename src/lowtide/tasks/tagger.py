"""A tag for every token: names, parts of speech, segmentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowtide.embeddings.base import Embedder
from lowtide.embeddings.inputs import Texts, listed
from lowtide.errors import InputError
from lowtide.tasks.columns import ColumnOptions
from lowtide.tasks.crf import Legal
from lowtide.tasks.examples import Place, TaggedSentence, text_of
from lowtide.tasks.heads import Head, TaggerHead
from lowtide.tasks.inputs import Inputs
from lowtide.tasks.labels import require_labels
from lowtide.tasks.options import FitOptions, TaggerOptions
from lowtide.tasks.reading import read_tagged
from lowtide.tasks.reports import Evaluation, judge_spans, judge_tags
from lowtide.tasks.schemes import (
    Scheme,
    check_scheme,
    convert,
    find_scheme,
    is_written_in,
    read_leniently,
    write_spans,
)
from lowtide.tasks.spans import Span, spans_of
from lowtide.tasks.task import Probabilities, Task
from lowtide.tasks.token_network import TokenNetwork

Tags = list[str]
Examples = tuple[Texts, Sequence[Sequence[str]]]
"""Sentences, and their tags."""
_OWN: Scheme = "BIOES"
"""What the CRF writes spans in, whatever the file does: it knows where a span ends (Ratinov & Roth 2009)."""


@dataclass(frozen=True)
class Tagging:
    """One way to tag a sentence."""

    tags: Tags
    probability: float


class Tagger(Task[TaggedSentence, Tags]):
    """Tags sentences: embeddings, a BiLSTM, and a CRF.

    What: a small network over vectors that are there already. When: you have sentences with a tag for every token. How
    to get one, and what to do::

        tagger = Tagger(lowtide.load("en"))
        tagger.fit_file("train.conll", valid="valid.conll")
        tagger.predict([["Ada", "lives", "in", "London"]])   # [["B-PER", "O", "O", "B-LOC"]]
        tagger.evaluate_file("test.conll").score             # span F1, as seqeval computes it
        tagger.mix.weights                                   # what each layer is worth to this task
        tagger.save("names")                                 # lowtide.tasks.load("names") opens it again

    Tags that write spans are learned as spans, in whichever scheme they come, and are given back in the same one.

    Args:
        embeddings: one, or several whose vectors are put beside each other.
        options: the head.
        device: where it computes.
    """

    kind = "tagger"
    options_class = TaggerOptions
    options: TaggerOptions

    def __init__(
        self,
        embeddings: Embedder | Sequence[Embedder],
        options: TaggerOptions | None = None,
        *,
        device: str = "auto",
    ) -> None:
        super().__init__(embeddings, options or TaggerOptions(), device=device)
        self.scheme: Scheme | None = None
        """In which the training file writes spans; None if its tags are no spans."""

    # -- for users -------------------------------------------------------------------------------

    def fit(
        self,
        sentences: Texts,
        tags: Sequence[Sequence[str]],
        *,
        valid: Examples | None = None,
        options: FitOptions | None = None,
        store: str | Path | None = None,
    ) -> Self:
        """Learn from tagged sentences.

        Args:
            sentences: as lists of tokens; a text is cut by the tokenizer of the first embedding.
            tags: one a token.
            valid: sentences and tags that decide when to stop; without any the last epoch is kept.
            options: how to learn.
            store: a folder where the states of the embeddings are kept, for another fit.

        Raises:
            InputError: if there are not as many tags as tokens, one of them is no text, tags break their scheme, or
                there is one tag only.
        """
        self.fit_examples(
            self._examples(sentences, tags), None if valid is None else self._examples(*valid, "valid"), options, store
        )
        return self

    def fit_file(
        self,
        train: str | Path,
        *,
        valid: str | Path | None = None,
        columns: ColumnOptions | None = None,
        options: FitOptions | None = None,
        store: str | Path | None = None,
    ) -> Self:
        """As `fit`, from files: CoNLL columns, CoNLL-U (``.conllu``) or JSON lines (``.jsonl``); see `read_tagged`."""
        self._fit_files(train, valid, columns, options, store)
        return self

    def predict(self, sentences: Texts | str) -> list[Tags]:
        """The most probable tags of every sentence, by Viterbi; n in, n out; one bare text is a list of one."""
        return list(self.predict_iter(self.several(sentences)))

    def predict_iter(self, sentences: Iterable[str | Sequence[str]]) -> Iterator[Tags]:
        """As `predict`, for any number of sentences."""
        return self._predict_iter(sentences)

    def predict_n_best(self, sentences: Texts | str, count: int = 5) -> list[list[Tagging]]:
        """The ``count`` most probable taggings of every sentence, the first one first; fewer where there are fewer.

        Raises:
            InputError: if ``count`` is below 1.
        """
        return list(self.n_best_iter(self.several(sentences), count))

    def n_best_iter(self, sentences: Iterable[str | Sequence[str]], count: int = 5) -> Iterator[list[Tagging]]:
        """As `predict_n_best`, for any number of sentences."""
        if count < 1:
            raise InputError(f"count is {count}, expected at least 1")

        def find(inputs: Inputs, numbers: Sequence[int]) -> list[list[Tagging]]:
            batch = inputs.batch(numbers)
            found = self._head.crf.n_best(self._head.emissions(batch), batch.lengths.to(self.device), count)
            return [[Tagging(self._written(path), float(np.exp(nats))) for path, nats in paths] for paths in found]

        return self._find_iter(sentences, find)

    def marginals(self, sentences: Texts | str) -> list[NDArray[np.float32]]:
        """How probable every tag is at every token: (tokens, labels) a sentence, in the order of ``labels``.

        ``labels`` are the tags of the network: spans stand there in BIOES.
        """
        return list(self._find_iter(self.several(sentences), self._probabilities))

    def evaluate(self, sentences: Texts, tags: Sequence[Sequence[str]]) -> Evaluation:
        """The span F1, or the accuracy of tags that write no spans."""
        return self.evaluate_examples(self._examples(sentences, tags))

    def evaluate_file(self, path: str | Path, *, columns: ColumnOptions | None = None) -> Evaluation:
        """As `evaluate`, of a file as `fit_file` takes it."""
        return self.evaluate_examples(self.read_examples(path, columns))

    # -- for Task --------------------------------------------------------------------------------

    def _examples(
        self, sentences: Texts, tags: Sequence[Sequence[str]], name: str = "sentences"
    ) -> list[TaggedSentence]:
        given, tags = listed(sentences), listed(tags)
        if len(given) != len(tags):
            raise InputError(f"found {len(given)} sentences and {len(tags)} lists of tags, expected one each")
        found = []
        for number, (text, of_tokens) in enumerate(zip(given, tags, strict=True)):
            place = Place(f"{name}[{number}]")
            tokens, of_tokens = self.cut(text_of(text, place)), listed(of_tokens)
            if len(tokens) != len(of_tokens):
                raise InputError(f"{place}: found {len(tokens)} tokens and {len(of_tokens)} tags, expected one each")
            for at, tag in enumerate(of_tokens):
                if not isinstance(tag, str):
                    raise InputError(f"{place.token(at)}: the tag is {type(tag).__name__}, expected a text: its name")
            found.append(TaggedSentence(tokens, of_tokens, place))
        return self._read(found)

    def _read(self, examples: list[TaggedSentence]) -> list[TaggedSentence]:
        """Examples with their spans as the options want them read."""
        if not self.options.lenient:
            return examples
        choice = self.options.scheme
        return read_leniently(examples, None if choice == "auto" or choice == "none" else choice)

    @property
    def _head(self) -> TaggerHead:
        head = self.network.head
        assert isinstance(head, TaggerHead)
        return head

    def read_examples(self, path: str | Path, how: ColumnOptions | None = None) -> list[TaggedSentence]:
        """CoNLL columns, CoNLL-U or JSON lines."""
        return self._read(read_tagged(Path(path), how))

    def _learn_labels(self, examples: Sequence[TaggedSentence]) -> None:
        choice = self.options.scheme
        self.scheme = find_scheme(examples) if choice == "auto" else None if choice == "none" else choice
        if self.scheme is not None:
            check_scheme(examples, self.scheme)
        tags = sorted({tag for example in examples for tag in example.tags})
        require_labels(tags, len(examples), examples[0].place)
        self.labels = tags
        if self.scheme is not None:
            own = (convert(example.tags, self.scheme, _OWN) for example in examples)
            types = sorted({span.type for written in own for span in spans_of(written)})
            spans = [Span(type_, 0, length) for type_ in types for length in (1, 3)]
            outside = ["O"] if "O" in tags else []  # segmentation leaves no token out
            self.labels = [*outside, *(tag for span in spans for tag in write_spans([span], span.stop, _OWN))]

    def _check_valid(self, examples: Sequence[TaggedSentence]) -> None:
        if self.scheme is not None:
            self._scheme_of(examples)

    def _scheme_of(self, examples: Sequence[TaggedSentence]) -> Scheme:
        """In which scheme other tags write spans, which need not be that of the training file.

        Raises:
            InputError: if they write none.
        """
        if self.options.scheme == self.scheme and is_written_in(examples, self.options.scheme):
            return self.options.scheme  # as it was said
        found = find_scheme(examples)
        if found is None:
            for example in examples:
                for number, tag in enumerate(example.tags):
                    if tag != "O":
                        raise InputError(
                            f"{example.place.token(number)}: {tag!r} writes no span, and the tags learned from do"
                        )
        return found or "IOB2"

    def _make_head(self, tokens: TokenNetwork) -> Head:
        return TaggerHead(tokens, Legal.of(self.labels, None if self.scheme is None else _OWN))

    def _texts(self, examples: Iterable[TaggedSentence]) -> Iterator[str | Sequence[str]]:
        return (example.tokens for example in examples)

    def _targets(self, examples: Sequence[TaggedSentence]) -> list[Any]:
        number = {label: n for n, label in enumerate(self.labels)}
        return [torch.tensor([number[tag] for tag in self._own(example.tags)]) for example in examples]

    def _own(self, tags: Sequence[str]) -> Sequence[str]:
        return tags if self.scheme is None else convert(tags, self.scheme, _OWN)

    def _written(self, path: Sequence[int]) -> Tags:
        tags = [self.labels[number] for number in path]
        return tags if self.scheme is None else convert(tags, _OWN, self.scheme)

    def _loss(self, inputs: Inputs, numbers: Sequence[int], targets: Sequence[Any]) -> Tensor:
        tags = torch.nn.utils.rnn.pad_sequence(list(targets), batch_first=True)
        return self._head.loss(inputs.batch(numbers), tags.to(self.device))

    def _answer(self, inputs: Inputs, numbers: Sequence[int]) -> list[Tags]:
        batch = inputs.batch(numbers)
        paths = self._head.crf.decode(self._head.emissions(batch), batch.lengths.to(self.device))
        return [self._written(path) for path in paths]

    def _probabilities(self, inputs: Inputs, numbers: Sequence[int]) -> list[Probabilities]:
        batch = inputs.batch(numbers)
        rows = self._head.crf.marginals(self._head.emissions(batch), batch.lengths.to(self.device)).cpu().numpy()
        return [row[:length] for row, length in zip(rows, batch.lengths.tolist(), strict=True)]

    def _judge(self, examples: Sequence[TaggedSentence], answers: Sequence[Tags]) -> Evaluation:
        gold = [example.tags for example in examples]
        if self.scheme is None:
            known = set(self.labels)
            self._warn_of_unknown(
                [(e.place.token(n), tag) for e in examples for n, tag in enumerate(e.tags) if tag not in known]
            )
            return judge_tags(gold, answers)
        scheme = self._scheme_of(examples)
        plain = [convert(tags, scheme, "IOB2") for tags in gold]
        known = {label.partition("-")[2] for label in self.labels}
        self._warn_of_unknown(
            [
                (e.place.token(n), e.tags[n])
                for e, tags in zip(examples, plain, strict=True)
                for n, tag in enumerate(tags)
                if tag.partition("-")[2] not in known
            ]
        )
        return judge_spans(plain, [convert(tags, self.scheme, "IOB2") for tags in answers])

    def settings(self) -> dict[str, Any]:
        """What was found out in fitting, beside the labels."""
        return {"scheme": self.scheme}

    def restore(self, settings: dict[str, Any]) -> None:
        """Take back what `settings` gave."""
        self.scheme = settings["scheme"]
