"""What tagger, classifier and matcher have in common: embeddings below, a head above, fit, predict, evaluate."""

from __future__ import annotations

import copy
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowtide.embeddings.base import Embedder, Encodes
from lowtide.embeddings.device import pick_device
from lowtide.embeddings.inputs import CutsText, Texts, as_sentence, as_sentences, as_token_lists, listed
from lowtide.embeddings.type_vectors import TypeEmbedding
from lowtide.errors import ConfigError, InputError
from lowtide.model import LayerMix
from lowtide.tasks.examples import LabelledPair, LabelledText, TaggedSentence
from lowtide.tasks.fine_tuning import can_learn
from lowtide.tasks.fitting import fit, seeded
from lowtide.tasks.heads import Head, Network
from lowtide.tasks.history import History
from lowtide.tasks.inputs import Inputs, as_embeddings, make_sources
from lowtide.tasks.options import FitOptions, HeadOptions, Kind, LayerOptions
from lowtide.tasks.reports import Evaluation
from lowtide.tasks.saving import save
from lowtide.tasks.state_store import TOKENS_AT_ONCE
from lowtide.tasks.task_problem import TaskProblem
from lowtide.tasks.token_network import INPUT, TokenNetwork, spelling_of
from lowtide.text.batches import group_by_length
from lowtide.text.tokenize import Sentence, Tokenizer

Example = TypeVar("Example", TaggedSentence, LabelledText, LabelledPair)
Answer = TypeVar("Answer")
Found = TypeVar("Found")
Probabilities = NDArray[np.float32]
_MOST_WORST = 10


class Task(ABC, Generic[Example, Answer]):
    """A head over one or several embeddings.

    Args:
        embeddings: any rungs; the vectors of several are put beside each other.
        options: the head.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ...: where the head computes.
    """

    kind: ClassVar[Kind]
    options_class: ClassVar[type[HeadOptions]]

    def __init__(
        self, embeddings: Embedder | Sequence[Embedder], options: HeadOptions, *, device: str = "auto"
    ) -> None:
        if not isinstance(options, self.options_class):
            raise ConfigError(f"options are {type(options).__name__}, expected {self.options_class.__name__}")
        self.embeddings = as_embeddings(embeddings)
        self.options = options
        """Of the head."""
        self.device = pick_device(device)
        self.labels: list[str] = []
        """That the head can answer, in the order of its scores."""
        self.fit_options = FitOptions()
        self.history = History()
        self.scores: dict[str, Evaluation] = {}
        """What was measured, by the name of the examples; the card tells it."""
        self.num_train = 0
        self.worst: list[tuple[Example, Answer]] = []
        """Some examples of the last evaluation with a wrong answer, and these, the worst first: texts, which nothing
        writes."""
        self._network: Network | None = None

    # -- what every task says for itself ---------------------------------------------------------

    @abstractmethod
    def read_examples(self, path: str | Path, how: Any = None) -> list[Example]:
        """Read a file of examples.

        Args:
            path: of the file.
            how: ``ColumnOptions`` of a tagger, else ``RowOptions``; None: as its name says.

        Raises:
            InputError: if a row is broken, with its line.
        """

    @abstractmethod
    def _learn_labels(self, examples: Sequence[Example]) -> None:
        """Find out what can be answered; refuse examples that cannot be learned from."""

    @abstractmethod
    def _make_head(self, tokens: TokenNetwork) -> Head:
        """The head, with random weights."""

    @abstractmethod
    def _texts(self, examples: Iterable[Example]) -> Iterator[str | Sequence[str]]:
        """The texts of examples, one or two each, one behind the other."""

    @abstractmethod
    def _targets(self, examples: Sequence[Example]) -> list[Any]:
        """What the head shall answer, as numbers."""

    @abstractmethod
    def _loss(self, inputs: Inputs, numbers: Sequence[int], targets: Sequence[Any]) -> Tensor:
        """The mean loss of some examples."""

    @abstractmethod
    def _answer(self, inputs: Inputs, numbers: Sequence[int]) -> list[Answer]:
        """The answers to some examples."""

    @abstractmethod
    def _probabilities(self, inputs: Inputs, numbers: Sequence[int]) -> list[Probabilities]:
        """How probable every label is, for some examples: (labels,), of a tagger (tokens, labels).

        Raises:
            InputError: if the head has none.
        """

    @abstractmethod
    def _judge(self, examples: Sequence[Example], answers: Sequence[Answer]) -> Evaluation:
        """How good answers are."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What was found out in fitting, beside the labels; for `config.json`."""

    @abstractmethod
    def restore(self, settings: dict[str, Any]) -> None:
        """Take back what `settings` gave."""

    def _check_valid(self, examples: Sequence[Example]) -> None:
        """Refuse examples to judge by that cannot be judged, before anything is learned."""

    def _worst_first(self, examples: Sequence[Example], wrong: Sequence[int]) -> Sequence[int]:
        """The order in which ``Evaluation.wrong`` is shown."""
        return wrong

    def _settle(self, examples: Sequence[Example], answers: Sequence[Answer]) -> None:
        """Decide, after a fit, what is chosen on the validation examples."""

    @property
    def texts_per_example(self) -> int:
        """One, or two."""
        return 1

    def lengths(self, sentences: Sequence[Sentence]) -> list[int]:
        """Of every example the tokens of its longest text; ``sentences`` are those of one behind those of the other."""
        each, lengths = self.texts_per_example, list(map(len, sentences))
        return [max(lengths[first : first + each]) for first in range(0, len(lengths), each)]

    # -- what is there ---------------------------------------------------------------------------

    @property
    def network(self) -> Network:
        """Head and encoders.

        Raises:
            InputError: if nothing has been learned yet.
        """
        if self._network is None:
            raise InputError(f"this {self.kind} has learned nothing yet: call fit, or open a saved one with load")
        return self._network

    @property
    def mixes(self) -> dict[str, LayerMix]:
        """The learned mixes of layers, by name: ``input``, ``output``."""
        return self.network.head.tokens.mixes()

    @property
    def mix(self) -> LayerMix:
        """The mix that was learned, that of the input: for ``elmo.embed(sentences, mix=task.mix)``.

        Raises:
            InputError: if none was learned; or one for each of several embeddings.
        """
        found = self.network.head.tokens.mixes()
        if not found:
            raise InputError("this task learned no mix: its embeddings have one layer, or layers were chosen")
        if INPUT not in found:
            raise InputError(f"this task learned a mix for each embedding: take one of mixes: {', '.join(found)}")
        return found[INPUT]

    @property
    def tokenizer(self) -> Tokenizer:
        """What cuts raw text: that of the first embedding that has one.

        Raises:
            InputError: if none has.
        """
        for embedding in self.embeddings:
            if isinstance(embedding, CutsText):
                return embedding.tokenizer
        raise InputError("no embedding of this task has a tokenizer: give sentences as lists of tokens")

    def cut(self, text: str | Sequence[str]) -> Sentence:
        """A text as its tokens; tokens stay as they are."""
        return as_sentence(text, self.tokenizer) if isinstance(text, str) else as_token_lists([text])[0]

    def several(self, texts: Texts | str) -> Texts:
        """One bare text is a list of one; a list that looks like the tokens of one sentence is warned of."""
        given = listed([texts] if isinstance(texts, str) else texts)
        if given and all(isinstance(text, str) for text in given):
            return as_sentences(given, self.tokenizer)
        return given

    def save(self, folder: str | Path) -> None:
        """Write a folder that `lowtide.tasks.load` opens, in a new process and without training data.

        Raises:
            InputError: if nothing has been learned, or the folder holds something else.
            WriteError: if it cannot be written.
        """
        save(self, folder)

    # -- fitting ---------------------------------------------------------------------------------

    def check(self, examples: Sequence[Example], *others: Sequence[Example] | None) -> None:
        """Refuse examples that cannot be learned from, and others that cannot be judged, before anything is computed.

        Args:
            examples: to learn from.
            others: to judge by; None where there are none.

        Raises:
            InputError: if they cannot.
        """
        if not examples:
            raise InputError("found no example, expected some to learn from")
        self._warn_of_idle_options()
        self._learn_labels(examples)
        for judged in others:
            if judged is not None:
                if not judged:
                    raise InputError("found no example, expected some to judge by")
                self._check_valid(judged)

    def fit_examples(
        self,
        examples: Sequence[Example],
        valid: Sequence[Example] | None = None,
        options: FitOptions | None = None,
        store: str | Path | None = None,
        *,
        checkpoint: Path | None = None,
    ) -> None:
        """Learn from examples; if that is refused, or stopped, the task stays what it was.

        Args:
            examples: to learn from.
            valid: that decide when to stop, and which state is kept; None: the last one is.
            options: how.
            store: a folder where the states of frozen embeddings are kept; None: one that is removed afterwards.
            checkpoint: see `lowtide.tasks.fitting.fit`.
        """
        options = options or FitOptions()
        if not isinstance(options, FitOptions):
            raise ConfigError(f"options are {type(options).__name__}, expected {FitOptions.__name__}")
        with self._as_it_was_after_errors(), ExitStack() as files, seeded(options.seed):
            self.fit_options, self.num_train = options, len(examples)
            self.scores, self.worst = {}, []
            self.check(examples, valid)
            self.build()
            if store is None:
                store = files.enter_context(tempfile.TemporaryDirectory(prefix="lowtide-"))
            problem = TaskProblem(self, examples, valid, Path(store), files)
            self.history = fit(problem, options, checkpoint)
            if valid:
                answers = problem.answers()
                self._settle(valid, answers)
                self.scores["valid"] = self._judge(valid, answers)

    @contextmanager
    def _as_it_was_after_errors(self) -> Iterator[None]:
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            vars(self).update(before)
            raise

    def _fit_files(
        self,
        train: str | Path,
        valid: str | Path | None,
        how: Any,
        options: FitOptions | None,
        store: str | Path | None,
    ) -> None:
        """As `fit_examples`, from files that `read_examples` reads."""
        examples = self.read_examples(train, how)
        self.fit_examples(examples, None if valid is None else self.read_examples(valid, how), options, store)

    def build(self) -> None:
        """Make the network, with random weights, as options and labels want it; nobody outside the package needs it."""
        is_tuned = self.fit_options.fine_tuning is not None
        encoders: list[nn.Module | None] = [
            copy.deepcopy(cast(Encodes, embedding).encoder()) if is_tuned and can_learn(embedding) else None
            for embedding in self.embeddings
        ]
        if is_tuned and not any(encoders) and not any(isinstance(e, TypeEmbedding) for e in self.embeddings):
            raise InputError("no embedding of this task can be trained further: leave fine_tuning out")
        head = self._make_head(TokenNetwork(self.embeddings, self.options, is_tuned=is_tuned))
        self._network = Network(head, encoders).to(self.device).eval()

    def inputs(
        self, sentences: Sequence[Sentence], *, store: Path | None = None, files: ExitStack | None = None
    ) -> Inputs:
        """Sentences, ready to be read by the network; see `make_sources`."""
        encoders = [self.network.encoder(number) for number in range(len(self.embeddings))]
        sources = make_sources(self.embeddings, sentences, encoders, store=store, files=files)
        return Inputs(sentences, sources, spelling=spelling_of(self.options), device=self.device)

    # -- answering -------------------------------------------------------------------------------

    def _find_all(self, inputs: Inputs, find: Callable[[Inputs, Sequence[int]], Iterable[Found]]) -> list[Found]:
        """What is found for all examples of some inputs, in their order."""
        sizes = self.lengths(inputs.sentences)
        found: dict[int, Found] = {}
        with torch.inference_mode():
            for numbers in group_by_length([max(1, size) for size in sizes], TOKENS_AT_ONCE):
                found.update(zip(numbers, find(inputs, numbers), strict=True))
        return [found[number] for number in range(len(sizes))]

    def _answer_all(self, inputs: Inputs) -> list[Answer]:
        """The answers to all examples of some inputs, in their order."""
        return self._find_all(inputs, self._answer)

    def _predict_iter(self, texts: Iterable[str | Sequence[str]]) -> Iterator[Answer]:
        """The answers to any number of texts."""
        return self._find_iter(texts, self._answer)

    def predict_with_probabilities(self, texts: Iterable[Any]) -> Iterator[tuple[Answer, Probabilities]]:
        """Answers, each with how probable every label is.

        Args:
            texts: any number, as ``predict_iter`` takes them: of a matcher pairs of texts.

        Returns:
            Of every example the answer, and (labels,) or, of a tagger, (tokens, labels), in the order of ``labels``.

        Raises:
            InputError: if the head has no probabilities.
        """

        def find(inputs: Inputs, numbers: Sequence[int]) -> Iterator[tuple[Answer, Probabilities]]:
            return zip(self._answer(inputs, numbers), self._probabilities(inputs, numbers), strict=True)

        return self._find_iter(texts, find)

    def _find_iter(
        self, texts: Iterable[str | Sequence[str]], find: Callable[[Inputs, Sequence[int]], Iterable[Found]]
    ) -> Iterator[Found]:
        """What is found for any number of texts, some thousand tokens at a time."""
        self.network.eval()
        held: list[Sentence] = []
        tokens = 0
        for text in texts:
            held.append(self.cut(text))
            tokens += len(held[-1]) + 1
            if tokens >= TOKENS_AT_ONCE and len(held) % self.texts_per_example == 0:
                yield from self._find_all(self.inputs(held), find)
                held, tokens = [], 0
        if held:
            yield from self._find_all(self.inputs(held), find)

    def evaluate_examples(self, examples: Sequence[Example], name: str = "test") -> Evaluation:
        """How good the answers to examples are; kept in ``scores`` under a name.

        Raises:
            InputError: if there is none, or they cannot be judged.
        """
        if not examples:
            raise InputError("found no example, expected some to judge by")
        self._check_valid(examples)
        answers = list(self._predict_iter(self._texts(examples)))
        found = self._judge(examples, answers)
        self.scores[name] = found
        self.worst = [(examples[n], answers[n]) for n in self._worst_first(examples, found.wrong)[:_MOST_WORST]]
        return found

    def _warn_of_idle_options(self) -> None:
        """Say that something was asked for which does nothing here."""
        if self.options.layers != LayerOptions() and all(isinstance(e, TypeEmbedding) for e in self.embeddings):
            warnings.warn(
                "embeddings of types have no layers: what was said of layers (choice, layer_norm, penalty, at_output) "
                "does nothing",
                stacklevel=4,
            )

    def _warn_of_unknown(self, unknown: Sequence[tuple[str, str]]) -> None:
        """Say that examples have labels that the head cannot answer.

        Args:
            unknown: the place and the label of each.
        """
        if unknown:
            place, label = unknown[0]
            warnings.warn(
                f"{place}: the label {label!r} stands in no training example, so it is never answered; "
                f"{len(unknown):,} such labels count as errors",
                stacklevel=4,
            )
