"""The log of a training, ``training.jsonl``, read again and drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowtide.files import write_text
from lowtide.messages import UI, say
from lowtide.pictures import line_chart

LOG = "training.jsonl"
PERPLEXITY, LOSS = "perplexity.svg", "loss.svg"


@dataclass(frozen=True)
class TrainingLog:
    """What a training has written down on its way."""

    held_out: list[tuple[float, float, float]]
    """(tokens read, forward, backward perplexity) at every look at the held-out text."""
    losses: list[tuple[float, float]]
    """(tokens read, mean nats as training samples them)."""
    unigram: float | None
    """The unigram model's perplexity of the held-out text; None if nothing is held out."""
    tokens: int
    """Read in all."""
    seconds: float
    """Spent in all."""

    @property
    def best(self) -> tuple[float, float, float]:
        """The look at the state that was kept."""
        return min(self.held_out, key=lambda look: look[1] + look[2])


def read_log(folder: Path) -> TrainingLog:
    """Read the log of a model folder; lines that were damaged since are passed over."""
    entries = list(_entries((folder / LOG).read_text(encoding="utf-8", errors="replace")))
    looks = [entry for entry in entries if "valid_forward" in entry]
    return TrainingLog(
        held_out=[(entry["tokens"], entry["valid_forward"], entry["valid_backward"]) for entry in looks],
        losses=[(entry["tokens"], entry["loss"]) for entry in entries if "loss" in entry],
        unigram=looks[0].get("valid_unigram") if looks else None,
        tokens=entries[-1]["tokens"] if entries else 0,
        seconds=entries[-1]["seconds"] if entries else 0.0,
    )


def _entries(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        with suppress(json.JSONDecodeError):
            entry = json.loads(line)
            if isinstance(entry, dict) and {"tokens", "seconds"} <= entry.keys():
                yield entry


def perplexity_chart(log: TrainingLog, ui: UI | None = None) -> str:
    """Draw the held-out perplexity of both directions over the tokens read; an SVG."""
    return line_chart(
        {
            say("forward", ui): [(tokens, forward) for tokens, forward, _ in log.held_out],
            say("backward", ui): [(tokens, backward) for tokens, _, backward in log.held_out],
        },
        title=say("Held-out perplexity", ui),
        x_label=say("tokens read", ui),
        y_label=say("perplexity", ui),
        levels=None if log.unigram is None else {say("unigram model", ui): log.unigram},
        log_y=True,
    )


def loss_chart(log: TrainingLog, ui: UI | None = None) -> str:
    """Draw the loss over the tokens read; an SVG."""
    return line_chart(
        {say("loss", ui): log.losses},
        title=say("Training loss", ui),
        x_label=say("tokens read", ui),
        y_label=say("nats a token, as training samples them", ui),
    )


def draw_log(folder: Path) -> None:
    """Lay both pictures beside the log."""
    log = read_log(folder)
    if log.held_out:
        write_text(folder / PERPLEXITY, perplexity_chart(log))
    if log.losses:
        write_text(folder / LOSS, loss_chart(log))
