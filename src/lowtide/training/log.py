"""The log of a training, ``training.jsonl``: written line by line, read again, drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lowtide.files import explained, write_text
from lowtide.messages import UI, say
from lowtide.pictures import line_chart

LOG = "training.jsonl"
PERPLEXITY, LOSS = "perplexity.svg", "loss.svg"
Watcher = Callable[[int, Mapping[str, float]], None]
"""Is told the step and the values of a line of the log."""


@dataclass(frozen=True)
class LogWriter:
    """Appends lines to the log of a training."""

    path: Path
    file: IO[bytes]
    watcher: Watcher | None = None

    def write(self, values: Mapping[str, float], *, step: int, tokens: int, epoch: float, seconds: float) -> int:
        """Write a line.

        Args:
            values: what is told; see `TrainingLog`.
            step: of the training.
            tokens: read so far.
            epoch: passes so far.
            seconds: spent so far.

        Returns:
            The length of the log, in bytes.

        Raises:
            WriteError: if the disk is full.
        """
        told = {name: value if isinstance(value, bool) else float(f"{value:.6g}") for name, value in values.items()}
        entry = {"step": step, "tokens": tokens, "epoch": round(epoch, 3), **told, "seconds": round(seconds, 1)}
        with explained(self.path):
            self.file.write((json.dumps(entry) + "\n").encode())
            self.file.flush()
        if self.watcher is not None:
            self.watcher(step, values)
        return self.file.tell()


@contextmanager
def appending(path: Path, watcher: Watcher | None = None) -> Iterator[LogWriter]:
    """Open a log to go on with it.

    Args:
        path: of the log; made if it is not there.
        watcher: is told every line, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        yield LogWriter(path, file, watcher)


def cut_off(path: Path, num_bytes: int) -> None:
    """Cut off what a log has beyond so many bytes."""
    with path.open("ab") as file:
        file.truncate(min(num_bytes, file.tell()))  # beyond its end, it would be filled with zeros


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
