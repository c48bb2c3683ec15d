"""What a run over seeds keeps until it is whole, so that a stopped one goes on.

=============================  ====================================================================
``begun.json``                 all that decides a number; who goes on has to have the same
``states/``                    the states of the embeddings, for all seeds
``checkpoint-3.safetensors``   the fit of seed 3, after its last epoch
``seed-3.json``                an `Outcome`: with it, seed 3 has been learned, and its task is saved
``made/``                      what will stand in the folder
=============================  ====================================================================
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lowtide.config import from_json, require_same, to_json
from lowtide.files import read_json, remove, write_json
from lowtide.tasks.history import MixState
from lowtide.tasks.options import FitOptions
from lowtide.tasks.saving import save
from lowtide.tasks.state_store import numbers_of
from lowtide.training.folder import BEGUN, work_of
from lowtide.training.settings import versions, warn_if_other_ground
from lowtide.weights.native import CONFIG

if TYPE_CHECKING:
    from lowtide.tasks.task import Task

_GROUND = "versions"
_CHECKPOINTS, _OUTCOMES = "checkpoint-{}.safetensors", "seed-{}.json"
SEED_FOLDER = "seed-{}"
"""Of a task, where there are several seeds."""


@dataclass(frozen=True)
class Outcome:
    """What came of one seed."""

    metric: str
    scores: dict[str, float]
    """By the examples: ``valid``, ``test``."""
    mixes: dict[str, MixState]
    others: dict[str, dict[str, float]] = field(default_factory=dict)
    """Other measures by the examples, and their names."""

    @classmethod
    def of(cls, task: Task[Any, Any]) -> Outcome:
        """Of a task that has been learned and judged."""
        return cls(
            metric=next((found.metric for found in task.scores.values()), ""),
            scores={name: found.score for name, found in task.scores.items()},
            mixes={name: MixState.of(mix) for name, mix in task.mixes.items()},
            others={name: found.others for name, found in task.scores.items()},
        )


def record_of(
    task: Task[Any, Any], options: FitOptions, seeds: Sequence[int], examples: Mapping[str, Sequence[Any] | None]
) -> dict[str, Any]:
    """All that decides a number of a run, as JSON has it.

    Args:
        task: that has learned nothing.
        options: of every fit, but for its seed.
        seeds: one fit each.
        examples: by what they are for: ``train``, ``valid``, ``test``.
    """
    return {
        "kind": task.kind,
        "embeddings": {str(number): numbers_of(embedding) for number, embedding in enumerate(task.embeddings)},
        "head": to_json(task.options),
        "fit": {name: value for name, value in to_json(options).items() if name != "seed"},
        "seeds": list(seeds),
        "examples": {name: None if found is None else _digest(found) for name, found in examples.items()},
    }


def _digest(examples: Sequence[Any]) -> str:
    """The SHA-256 of what examples say, wherever they stand."""
    digest = hashlib.sha256()
    for example in examples:
        said = [getattr(example, field.name) for field in dataclasses.fields(example) if field.name != "place"]
        digest.update(json.dumps(said).encode() + b"\n")
    return digest.hexdigest()


class SeedWork:
    """The work folder of a run.

    Args:
        out: the folder that is made: of a task if there is one seed, else of a folder for each.
        seeds: all of them.
        device: where the head computes.
    """

    def __init__(self, out: Path, seeds: Sequence[int], device: torch.device) -> None:
        self.seeds, self._is_one = seeds, len(seeds) == 1
        self._ground = f"{versions()}, {device.type}, {torch.get_num_threads()} threads"
        self._out, self._folder = out, work_of(out)
        self.states, self.made = self._folder / "states", self._folder / "made"

    def checkpoint(self, seed: int) -> Path:
        """Where the fit of a seed is laid down."""
        return self._folder / _CHECKPOINTS.format(seed)

    def begin(self, record: Mapping[str, Any]) -> None:
        """Write down what is begun."""
        remove(self.made)  # of a run by an older version, that could not go on
        write_json(self._folder / BEGUN, {**record, _GROUND: self._ground})

    def go_on(self, record: Mapping[str, Any]) -> None:
        """See to it that the same is gone on with; clear up what a kill has left half written.

        Raises:
            InputError: if something else was begun.
            ModelError: if what was written down is damaged.
        """
        began = read_json(self._folder / BEGUN)
        ground = began.pop(_GROUND, "") if isinstance(began, dict) else ""
        require_same(began, record, where=self._out)
        warn_if_other_ground(ground, self._ground)
        for half in self._folder.rglob(".*.part"):
            remove(half)

    def outcome(self, seed: int) -> Outcome | None:
        """What came of a seed; None if it has not been learned to the end.

        Raises:
            ModelError: if what was written down is damaged.
        """
        path = self._folder / _OUTCOMES.format(seed)
        return from_json(Outcome, read_json(path), where=str(path)) if path.exists() else None

    def keep(self, seed: int, task: Task[Any, Any]) -> Outcome:
        """Save a task, and write down what came of its seed."""
        name = self._out.resolve().name
        made = self.made / (name if self._is_one else SEED_FOLDER.format(seed))
        remove(made)  # half of one, if a run was killed here
        save(task, made, name=name if self._is_one else f"{name}/{made.name}")
        outcome = Outcome.of(task)
        write_json(self._folder / _OUTCOMES.format(seed), to_json(outcome))
        remove(self.checkpoint(seed))
        return outcome

    def forget_if_nothing_is_learned(self) -> None:
        """Leave nothing to go on with, where that would be nothing but the states."""
        patterns = (_CHECKPOINTS.format("*"), _OUTCOMES.format("*"))
        if not any(path for pattern in patterns for path in self._folder.glob(pattern)):
            remove(self._folder / BEGUN)

    def put_in_place(self) -> None:
        """Move to the folder all that is made; what a killed run has moved is there already."""
        moved = list(self.made.iterdir())
        for task in [path for path in moved if path.is_dir()] if self._is_one else []:
            moved.remove(task)
            moved += sorted(task.iterdir(), key=lambda path: path.name == CONFIG)  # a task is one when it is there
        for path in moved:
            path.replace(self._out / path.name)
