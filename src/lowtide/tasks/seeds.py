"""The same task learned with several seeds: mean and spread of the score, and of what every layer is worth.

What differs between seeds is the head's first weights, the order of the examples, and the dropout; the states of the
embeddings are computed once for all of them.
"""

from __future__ import annotations

import csv
import io
import logging
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowtide.embeddings.inputs import listed
from lowtide.errors import ConfigError, InputError, ModelError, TrainingError
from lowtide.files import read_json, write_json, write_text
from lowtide.messages import say
from lowtide.tasks.options import FitOptions
from lowtide.tasks.reports import Evaluation
from lowtide.tasks.seed_work import Outcome, SeedWork, record_of
from lowtide.tasks.task import Task
from lowtide.training.folder import RESULTS, TASK, begin_work, has_begun, remove_work, reserved

log = logging.getLogger("lowtide")


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
    others: dict[str, dict[str, Spread]]
    """Other measures by the examples, and their names: ``precision``, ``macro F1``."""

    def lines(self) -> list[str]:
        """For reading, in the language that was chosen."""
        told = [
            say("{examples:6} {metric} {score}", examples=name, metric=measure, score=spread)
            for name, measure, spread in self._measures()
        ]
        for name, spreads in self.weights.items():
            layers = "  ".join(f"{layer}: {spread}" for layer, spread in enumerate(spreads))
            told.append(say("layers {mix}: α {layers}; γ {gamma}", mix=name, layers=layers, gamma=self.gammas[name]))
        return told

    def _measures(self) -> Iterator[tuple[str, str, Spread]]:
        """Examples, measure, and its values: of all examples the one to look at first."""
        for name, spread in self.scores.items():
            yield name, self.metric, spread
            for measure, other in self.others.get(name, {}).items():
                yield name, measure, other

    def rows(self) -> list[tuple[str, Spread]]:
        """Every number, by name."""
        found = [(f"{name} {measure}", spread) for name, measure, spread in self._measures()]
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
            "others": {
                name: {measure: spread.as_json() for measure, spread in spreads.items()}
                for name, spreads in self.others.items()
            },
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
        is_one = len(self.seeds) == 1
        rows = [
            rf"{name} & ${spread.mean:.4f}" + ("" if is_one else rf" \pm {spread.deviation:.4f}") + r"$ \\"
            for name, spread in self.rows()
        ]
        head = "& one seed" if is_one else rf"& mean $\pm$ sd, {len(self.seeds)} seeds"
        return "\n".join([r"\begin{tabular}{lr}", rf"{head} \\", r"\hline", *rows, r"\end{tabular}"]) + "\n"

    def write(self, folder: Path) -> None:
        """Write ``results.json``, ``results.csv`` and ``results.tex``."""
        write_json(folder / RESULTS, self.as_json())
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
    resume: bool = False,
) -> SeedReport:
    """Learn a task once with every seed, and save each. A stop at any moment loses at most an epoch: see ``resume``.

    Args:
        make: gives a `Tagger`, `Classifier` or `Matcher` that has learned nothing.
        files: to learn from, to choose with, to judge by.
        out: a folder to make: of the task if there is one seed, else of a folder ``seed-0`` ... for each. All of it
            appears at the end; until then it lies in ``work``, with the states of the text.
        seeds: one or several.
        options: how to learn; their seed is not looked at.
        reading: how the files are read: ``ColumnOptions`` of a tagger, else ``RowOptions``.
        told: called after every seed that is learned, with the task and what it scored on the test.
        resume: go on with what was stopped in ``out``: seeds that have been learned are not learned again, and what
            comes of the others is, on the same processor, what would have come without the stop.

    Raises:
        InputError: if a file cannot be used, there is no seed, or ``out`` holds something already; or what is to be
            gone on with was begun with something else.
        WriteError: if it cannot be written.
    """
    seeds, out, options = listed(seeds), Path(out), options or FitOptions()
    if not seeds:
        raise InputError("found no seed, expected one at least")
    if len(set(seeds)) < len(seeds):
        raise InputError("a seed stands there twice: expected different ones")
    seeds = [replace(options, seed=seed).seed for seed in seeds]  # refused here if it is none
    with reserved(out):
        goes_on = resume and has_begun(out, TASK)
        if not goes_on:
            begin_work(out)
            if resume:
                log.info("nothing to resume in %s: beginning", out)
        found: dict[str, list[Any] | None] = {}
        for name in ("train", "valid", "test"):
            path = getattr(files, name)
            found[name] = None if path is None else make().read_examples(path, reading)
        first = make()
        work = SeedWork(out, seeds, first.device)
        first.check(found["train"], found["valid"], found["test"])
        record = record_of(first, options, seeds, found)
        work.go_on(record) if goes_on else work.begin(record)
        try:
            outcomes = _learn(make, found, work, options, told)
        except (InputError, ConfigError, ModelError, TrainingError):  # whoever goes on would meet it again
            work.forget_if_nothing_is_learned()
            raise
        report = _report(seeds, outcomes)
        report.write(work.made)
        work.put_in_place()
        remove_work(out)
    return report


def _learn(
    make: Callable[[], Any],
    found: dict[str, list[Any] | None],
    work: SeedWork,
    options: FitOptions,
    told: Callable[[Task[Any, Any], Evaluation], None] | None,
) -> list[Outcome]:
    """Learn with every seed that has not been learned yet."""
    outcomes = []
    for seed in work.seeds:
        outcome = work.outcome(seed)
        if outcome is not None:
            log.info("seed %s is learned already", str(seed))
            outcomes.append(outcome)
            continue
        if len(work.seeds) > 1:
            log.info("seed %s", str(seed))
        task = make()
        fitted = replace(options, seed=seed)
        task.fit_examples(found["train"], found["valid"], fitted, work.states, checkpoint=work.checkpoint(seed))
        score = None if found["test"] is None else task.evaluate_examples(found["test"])
        outcomes.append(work.keep(seed, task))
        if score is not None and told is not None:
            told(task, score)
    return outcomes


def best_seed(folder: Path) -> int:
    """The seed with the best score on the validation examples, of a folder of several; the first without such scores.

    Raises:
        ModelError: if ``results.json`` is damaged.
    """
    found = read_json(folder / RESULTS)
    try:
        seeds: list[int] = [int(seed) for seed in found["seeds"]]
        values: list[float] = [float(value) for value in found["scores"].get("valid", {"values": []})["values"]]
        best = seeds[values.index(max(values)) if values else 0]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise ModelError(f"{folder / RESULTS} does not say which seeds there are: is it damaged?") from None
    if values:
        log.info("%s: seed %s, the best of %s on the validation examples", folder, str(best), str(len(seeds)))
    else:
        log.info("%s: seed %s, the first of %s", folder, str(best), str(len(seeds)))
    return best


def _report(seeds: Sequence[int], outcomes: Sequence[Outcome]) -> SeedReport:
    first = outcomes[0]
    mixes = {name: [outcome.mixes[name] for outcome in outcomes] for name in first.mixes}
    return SeedReport(
        seeds=tuple(seeds),
        metric=first.metric,
        scores={name: Spread(tuple(outcome.scores[name] for outcome in outcomes)) for name in first.scores},
        gammas={name: Spread(tuple(mix.gamma for mix in states)) for name, states in mixes.items()},
        weights={
            name: [Spread(weights) for weights in zip(*(mix.weights for mix in states), strict=True)]
            for name, states in mixes.items()
        },
        others={
            name: {measure: Spread(tuple(o.others[name][measure] for o in outcomes)) for measure in first.others[name]}
            for name in first.others
            if all(name in outcome.others for outcome in outcomes)  # those of an older version have none
        },
    )
