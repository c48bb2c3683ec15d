"""The same task learned with several seeds: mean and spread of the score, and of what every layer is worth.

What differs between seeds is the head's first weights, the order of the examples, and the dropout; the states of the
embeddings are computed once for all of them.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowtide.errors import InputError
from lowtide.files import make_folder, remove, write_json, write_text
from lowtide.messages import say
from lowtide.tasks.fitting import MixState
from lowtide.tasks.options import FitOptions
from lowtide.tasks.reports import Evaluation
from lowtide.tasks.task import Task

STORE = "work"
"""Where the states lie while it goes on."""


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
    reading: Mapping[str, Any] | None = None,
    told: Callable[[Task[Any, Any], Evaluation], None] | None = None,
) -> SeedReport:
    """Learn a task once with every seed, and save each.

    Args:
        make: gives a `Tagger`, `Classifier` or `Matcher` that has learned nothing.
        files: to learn from, to choose with, to judge by.
        out: a folder: of the task if there is one seed, else of a folder ``seed-0`` ... for each.
        seeds: one or several.
        options: how to learn; their seed is not looked at.
        reading: how the files are read: ``columns`` or ``rows``, as `fit_file` takes them.
        told: called after every seed with the task and what it scored on the test.

    Raises:
        InputError: if a file cannot be used, or there is no seed.
    """
    if not seeds:
        raise InputError("found no seed, expected one at least")
    make_folder(out)
    store, how = out / STORE, dict(reading or {})
    make_folder(store)
    learned: list[Task[Any, Any]] = []
    for seed in seeds:
        task = make()
        task.fit_file(
            files.train, valid=files.valid, options=replace(options or FitOptions(), seed=seed), store=store, **how
        )
        if files.test is not None:
            found = task.evaluate_file(files.test, **how)
            if told is not None:
                told(task, found)
        task.save(out if len(seeds) == 1 else out / f"seed-{seed}")
        learned.append(task)
    remove(store)
    report = _report(seeds, learned)
    report.write(out)
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
