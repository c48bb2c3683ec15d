"""The same task learned with several seeds: mean and spread of the score, and of what every layer is worth.

What differs between seeds is the head's first weights, the order of the examples, and the dropout; the states of the
embeddings are computed once for all of them.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowtide.errors import InputError
from lowtide.files import remove, write_json, write_text
from lowtide.messages import say
from lowtide.tasks.fitting import MixState
from lowtide.tasks.options import FitOptions
from lowtide.tasks.reports import Evaluation
from lowtide.tasks.task import Task
from lowtide.training.folder import begin_work, remove_work, reserved, work_of
from lowtide.weights.native import CONFIG

_STATES, _MADE = "states", "made"
"""In the work folder: the states of the embeddings, and what has been made so far."""


@dataclass(frozen=True)
class Spread:
    """Some numbers, one a seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the values."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """The standard deviation of the sample (n - 1); 0 of one value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.deviation:.4f}" if len(self.values) > 1 else f"{self.mean:.4f}"

    def as_json(self) -> dict[str, Any]:
        """For a program to read."""
        return {"mean": self.mean, "deviation": self.deviation, "values": list(self.values)}


@dataclass(frozen=True)
class SeedReport:
    """What a task scored with every seed."""

    seeds: tuple[int, ...]
    metric: str
    scores: dict[str, Spread]
    """By the examples: ``valid``, ``test``."""
    gammas: dict[str, Spread]
    """By the mix."""
    weights: dict[str, list[Spread]]
    """By the mix: the alpha of every layer, layer 0 first."""

    def lines(self) -> list[str]:
        """For reading, in the language that was chosen."""
        told = [
            say("{examples:6} {metric} {score}", examples=name, metric=self.metric, score=spread)
            for name, spread in self.scores.items()
        ]
        for name, spreads in self.weights.items():
            layers = "  ".join(f"{layer}: {spread}" for layer, spread in enumerate(spreads))
            told.append(say("layers {mix}: α {layers}; γ {gamma}", mix=name, layers=layers, gamma=self.gammas[name]))
        return told

    def rows(self) -> list[tuple[str, Spread]]:
        """Every number, by name."""
        found = [(f"{name} {self.metric}", spread) for name, spread in self.scores.items()]
        for mix, spreads in self.weights.items():
            found += [(f"{mix} alpha {layer}", spread) for layer, spread in enumerate(spreads)]
            found.append((f"{mix} gamma", self.gammas[mix]))
        return found

    def as_json(self) -> dict[str, Any]:
        """For a program to read."""
        return {
            "seeds": list(self.seeds),
            "metric": self.metric,
            "scores": {name: spread.as_json() for name, spread in self.scores.items()},
            "gammas": {name: spread.as_json() for name, spread in self.gammas.items()},
            "weights": {name: [spread.as_json() for spread in spreads] for name, spreads in self.weights.items()},
        }

    def as_csv(self) -> str:
        """A row a number: its name, mean, deviation, and its value with every seed."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "mean", "deviation", *(f"seed {seed}" for seed in self.seeds)])
        for name, spread in self.rows():
            writer.writerow([name, spread.mean, spread.deviation, *spread.values])
        return text.getvalue()

    def as_tex(self) -> str:
        """A table for LaTeX."""
        rows = [rf"{name} & ${spread.mean:.4f} \pm {spread.deviation:.4f}$ \\" for name, spread in self.rows()]
        head = rf"\begin{{tabular}}{{lr}}{chr(10)}& mean $\pm$ sd, {len(self.seeds)} seeds \\{chr(10)}\hline"
        return "\n".join([head, *rows, r"\end{tabular}"]) + "\n"

    def write(self, folder: Path) -> None:
        """Write ``results.json``, ``results.csv`` and ``results.tex``."""
        write_json(folder / "results.json", self.as_json())
        write_text(folder / "results.csv", self.as_csv())
        write_text(folder / "results.tex", self.as_tex())


@dataclass(frozen=True)
class Files:
    """Of examples."""

    train: Path
    valid: Path | None = None
    test: Path | None = None


def fit_seeds(
    make: Callable[[], Any],
    files: Files,
    out: Path,
    *,
    seeds: Sequence[int],
    options: FitOptions | None = None,
    reading: Any = None,
    told: Callable[[Task[Any, Any], Evaluation], None] | None = None,
) -> SeedReport:
    """Learn a task once with every seed, and save each.

    Args:
        make: gives a `Tagger`, `Classifier` or `Matcher` that has learned nothing.
        files: to learn from, to choose with, to judge by.
        out: a folder to make: of the task if there is one seed, else of a folder ``seed-0`` ... for each. All of it
            appears at the end; until then it lies in ``work``, with the states of the text.
        seeds: one or several.
        options: how to learn; their seed is not looked at.
        reading: how the files are read: ``ColumnOptions`` of a tagger, else ``RowOptions``.
        told: called after every seed with the task and what it scored on the test.

    Raises:
        InputError: if a file cannot be used, there is no seed, or ``out`` holds something already.
        WriteError: if it cannot be written.
    """
    if not seeds:
        raise InputError("found no seed, expected one at least")
    with reserved(out):
        if (out / CONFIG).exists():
            raise InputError(f"{out} holds something already: choose another --out, or remove it")
        begin_work(out)
        work = work_of(out)
        remove(work / _MADE)  # what a killed run has made
        found: dict[str, list[Any] | None] = {}
        for name in ("train", "valid", "test"):
            path = getattr(files, name)
            found[name] = None if path is None else make().read_examples(path, reading)
        names = [out.resolve().name] if len(seeds) == 1 else [f"seed-{seed}" for seed in seeds]
        learned: list[Task[Any, Any]] = []
        for seed, name in zip(seeds, names, strict=True):
            task = make()
            fitted = replace(options or FitOptions(), seed=seed)
            task.fit_examples(found["train"], found["valid"], fitted, work / _STATES)
            task.save(work / _MADE / name)
            if found["test"] is not None:
                score = task.evaluate_examples(found["test"])
                task.save(work / _MADE / name)  # its card tells the score
                if told is not None:
                    told(task, score)
            learned.append(task)
        report = _report(seeds, learned)
        report.write(work / _MADE)
        for made in [work / _MADE, *([work / _MADE / names[0]] if len(seeds) == 1 else [])]:
            # a task is one when its config is there
            for path in sorted(made.iterdir(), key=lambda path: path.name == CONFIG):
                if path.name not in names or len(seeds) > 1:
                    path.replace(out / path.name)
        remove_work(out)
    return report


def _report(seeds: Sequence[int], learned: Sequence[Task[Any, Any]]) -> SeedReport:
    first = learned[0]
    states = [{name: MixState.of(mix) for name, mix in task.mixes.items()} for task in learned]
    return SeedReport(
        seeds=tuple(seeds),
        metric=next((found.metric for found in first.scores.values()), ""),
        scores={name: Spread(tuple(task.scores[name].score for task in learned)) for name in first.scores},
        gammas={name: Spread(tuple(of_task[name].gamma for of_task in states)) for name in first.mixes},
        weights={
            name: [
                Spread(tuple(of_task[name].weights[layer] for of_task in states))
                for layer in range(len(states[0][name].weights))
            ]
            for name in first.mixes
        },
    )
