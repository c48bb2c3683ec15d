"""What a task scored: one number to look at, the others beside it, and what was taken for what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowtide.messages import say
from lowtide.tasks.examples import LabelledPair, LabelledText, TaggedSentence
from lowtide.tasks.metrics import Rates, accuracy, confusions, label_rates, macro_f1, micro, span_rates, spearman

_MOST_CONFUSIONS = 10


@dataclass(frozen=True)
class Evaluation:
    """The scores of a task on some examples."""

    metric: str
    """The name of the number to look at: ``span F1``, ``accuracy``, ``Spearman``."""
    score: float
    num_examples: int
    counted: str = "examples"
    """What ``by_label`` counts: ``examples``, ``spans`` or ``tokens``."""
    others: dict[str, float] = field(default_factory=dict)
    """Other measures, by name."""
    by_label: dict[str, Rates] = field(default_factory=dict)
    confusions: list[tuple[str, str, int]] = field(default_factory=list)
    """What was taken for what, and how often; of spans, token by token. The most frequent first."""
    wrong: list[int] = field(default_factory=list)
    """The numbers of the examples with a wrong answer: where one is more wrong than another (sentences by their wrong
    tags, scores by how far off they are), the worst first; else in their order."""

    def lines(self) -> list[str]:
        """For reading, in the language that was chosen; no text."""
        told = [
            say(
                "{metric} {score:.4f}   {count:,} examples",
                metric=self.metric,
                score=self.score,
                count=self.num_examples,
            )
        ]
        told += [f"  {say(name)} {value:.4f}" for name, value in self.others.items()]
        for label, rates in self.by_label.items():
            told.append(
                say(
                    "  {label:12} precision {precision:.4f}  recall {recall:.4f}  F1 {f1:.4f}  {count:,} {counted}",
                    label=label,
                    precision=rates.precision,
                    recall=rates.recall,
                    f1=rates.f1,
                    count=rates.wanted,
                    counted=say(self.counted),
                )
            )
        for gold, found, count in self.confusions[:_MOST_CONFUSIONS]:
            told.append(say("  {gold} taken for {found}: {count:,} times", gold=gold, found=found, count=count))
        return told

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Evaluation:
        """What `as_json` gave; which examples were wrong is not in it."""
        known = ("metric", "score", "num_examples", "by_label", "confusions")
        rates = {
            label: Rates(found["correct"], found["found"], found["wanted"]) for label, found in data["by_label"].items()
        }
        return cls(
            metric=str(data["metric"]),
            score=float(data["score"]),
            num_examples=int(data["num_examples"]),
            others={name: float(value) for name, value in data.items() if name not in known},
            by_label=rates,
            confusions=[(gold, found, count) for gold, found, count in data["confusions"]],
        )

    def as_json(self) -> dict[str, Any]:
        """For a program to read."""
        return {
            "metric": self.metric,
            "score": self.score,
            "num_examples": self.num_examples,
            **self.others,
            "by_label": {label: rates.as_json() for label, rates in self.by_label.items()},
            "confusions": [list(confusion) for confusion in self.confusions],
        }


def show_example(example: TaggedSentence | LabelledText | LabelledPair, answer: Any) -> str:
    """An example, what was wanted, and what was answered: a line with its text."""
    if isinstance(example, TaggedSentence):
        pairs = zip(example.tokens, example.tags, answer, strict=True)
        words = " ".join(token if gold == found else f"{token}[{gold} -> {found}]" for token, gold, found in pairs)
        return f"{example.place}  {words}"
    texts = [example.text] if isinstance(example, LabelledText) else [example.first, example.second]
    gold = example.label if isinstance(example, LabelledText) else example.answer
    shown = "  |  ".join(text if isinstance(text, str) else " ".join(text) for text in texts)
    return f"{example.place}  {gold} -> {answer}  {shown}"


def judge_spans(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Evaluation:
    """Tags that write spans, in IOB2 both."""
    rates = span_rates(gold, predicted)
    total = micro(rates)
    types = [[[tag.partition("-")[2] or tag for tag in tags] for tags in side] for side in (gold, predicted)]
    return Evaluation(
        metric="span F1",
        score=total.f1,
        num_examples=len(gold),
        counted="spans",
        others={"precision": total.precision, "recall": total.recall},
        by_label=rates,
        confusions=confusions(*(_flat(side) for side in types)),
        wrong=_worst(gold, predicted),
    )


def judge_tags(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Evaluation:
    """Tags that stand for themselves: the accuracy over tokens."""
    found = judge_labels(_flat(gold), _flat(predicted))
    return replace(found, num_examples=len(gold), counted="tokens", wrong=_worst(gold, predicted))


def judge_labels(gold: Sequence[str], predicted: Sequence[str]) -> Evaluation:
    """One label an example."""
    return Evaluation(
        metric="accuracy",
        score=accuracy(gold, predicted),
        num_examples=len(gold),
        others={"macro F1": macro_f1(gold, predicted)},
        by_label=label_rates(gold, predicted),
        confusions=confusions(gold, predicted),
        wrong=[number for number, (a, b) in enumerate(zip(gold, predicted, strict=True)) if a != b],
    )


def judge_scores(gold: Sequence[float], predicted: Sequence[float]) -> Evaluation:
    """One number an example."""
    distances = [abs(a - b) for a, b in zip(gold, predicted, strict=True)]
    return Evaluation(
        metric="Spearman",
        score=spearman(gold, predicted),
        num_examples=len(gold),
        others={"mean squared error": sum(distance**2 for distance in distances) / len(distances)},
        wrong=sorted((n for n, distance in enumerate(distances) if distance), key=lambda n: -distances[n]),
    )


def _flat(tags: Sequence[Sequence[str]]) -> list[str]:
    return [tag for sentence in tags for tag in sentence]


def surest_first(wrong: Sequence[int], probabilities: Iterable[NDArray[np.float32]]) -> list[int]:
    """Examples with a wrong answer, those first whose answer was held for most probable.

    Args:
        wrong: their numbers.
        probabilities: of every label, for each of them.
    """
    sure = dict(zip(wrong, (float(of.max()) for of in probabilities), strict=True))
    return sorted(wrong, key=lambda number: -sure[number])


def _worst(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> list[int]:
    """Sentences with wrong tags, those with most of them first."""
    errors = [sum(a != b for a, b in zip(*pair, strict=True)) for pair in zip(gold, predicted, strict=True)]
    return sorted((number for number, count in enumerate(errors) if count), key=lambda number: -errors[number])
