"""What is fitted when a task learns: its examples by number, their inputs, and how the validation examples score."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.unread import Unread
from lowtide.errors import InputError
from lowtide.model import LayerMix
from lowtide.tasks.fine_tuning import open_layers, open_tables, table_groups, tuned_groups
from lowtide.tasks.fitting import Problem
from lowtide.tasks.inputs import Inputs
from lowtide.tasks.options import FitOptions

if TYPE_CHECKING:
    from lowtide.tasks.task import Task


class TaskProblem(Problem):
    """The examples of a task, by number.

    Args:
        task: that learns; its network is made.
        examples: to learn from.
        valid: to choose by; None: there are none.
        store: the folder of the states.
        files: closes what is open.

    Raises:
        InputError: if an example to learn from has no token.
    """

    def __init__(
        self,
        task: Task[Any, Any],
        examples: Sequence[Any],
        valid: Sequence[Any] | None,
        store: Path,
        files: ExitStack,
    ) -> None:
        self._task, self._valid = task, valid
        self.network = task.network
        sentences = [task.cut(text) for text in task._texts(examples)]
        each = task.texts_per_example
        for number, sentence in enumerate(sentences):
            if not sentence:
                raise InputError(f"{examples[number // each].place}: the sentence holds no token")
        for embedding in task.embeddings:
            if isinstance(embedding, Elmo):
                unread = Unread(embedding.stored)
                for sentence in sentences:
                    unread.add(sentence)
                unread.tell()
        self._lengths = task.lengths(sentences)
        self._inputs = task.inputs(sentences, store=store, files=files)
        self._targets = task._targets(examples)
        self._valid_inputs: Inputs | None = None
        if valid:
            sentences = [task.cut(text) for text in task._texts(valid)]
            self._valid_inputs = task.inputs(sentences, store=store, files=files)

    @property
    def lengths(self) -> Sequence[int]:
        """Of every example the tokens of its longest text."""
        return self._lengths

    def loss(self, numbers: Sequence[int]) -> Tensor:
        """The mean over these examples, the penalty of the mixes added."""
        task = self._task
        loss = task._loss(self._inputs, numbers, [self._targets[number] for number in numbers])
        return loss + task.network.head.tokens.penalty()

    def answers(self) -> list[Any]:
        """To the validation examples."""
        assert self._valid_inputs is not None
        return self._task._answer_all(self._valid_inputs)

    def measure(self) -> float | None:
        """The score on the validation examples; None without any."""
        if self._valid is None or self._valid_inputs is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # labels that are never answered: said once, at the end
            answers = self.answers()
            self._task._settle(self._valid, answers)
            return self._task._judge(self._valid, answers).score

    def mixes(self) -> dict[str, LayerMix]:
        """Those of the task."""
        return self._task.mixes

    def groups(self, options: FitOptions) -> list[dict[str, Any]]:
        """The head at its rate, and the layers of every embedding that learns at theirs."""
        head = self._task.network.head
        tables = head.tokens.tuned_tables()
        others = {*(id(mix.layer_scalars) for mix in self.mixes().values()), *map(id, tables)}
        groups = [{"params": [p for p in head.parameters() if id(p) not in others], "lr": options.learning_rate}]
        if options.fine_tuning is not None:
            groups += table_groups(tables, options.fine_tuning)
            for encoder in self._task.network.encoders.values():
                groups += tuned_groups(encoder, options.fine_tuning)
        return groups

    def begin_epoch(self, epoch: int) -> None:
        """Let those layers learn whose turn it is."""
        tuning = self._task.fit_options.fine_tuning
        if tuning is not None:
            open_tables(self._task.network.head.tokens.tuned_tables(), epoch, tuning)
            for encoder in self._task.network.encoders.values():
                open_layers(encoder, epoch, tuning)
