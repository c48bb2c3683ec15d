"""Progress bars with rate and time left; silent where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from lowtide.messages import say, translated

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


class Progress(Protocol):
    """Something that can be told how far the work has come."""

    def advance(self, amount: int, note: str = "") -> None:
        """Say that ``amount`` more units are done; ``note``, in English, stands beside the bar."""


class _Silent:
    def advance(self, amount: int, note: str = "") -> None:
        """Nothing is shown."""


@contextmanager
def progress(label: str, *, total: int | None, unit: str, delay_seconds: float = 1.0) -> Iterator[Progress]:
    """Show a bar on stderr while work goes on, once it has taken longer than ``delay_seconds``.

    Args:
        label: what is being done, in an English word or two.
        total: how many units there are; None if that is not known.
        unit: what is counted: ``"tokens"``, ``"sentences"``.
        delay_seconds: quick work shows no bar.
    """
    if not sys.stderr.isatty():
        yield _Silent()
        return
    bar = _Bar(label, total, unit, delay_seconds)
    try:
        yield bar
    finally:
        bar.stop()


class _Bar:
    def __init__(self, label: str, total: int | None, unit: str, delay_seconds: float) -> None:
        self._label, self._total, self._unit = say(label), total, say(unit)
        self._started = time.monotonic()
        self._show_at = self._started + delay_seconds
        self._shown_at = 0.0
        self._done = 0
        self._begun_at: int | None = None  # what was done before this run, if it goes on from an earlier one
        self._display: RichProgress | None = None

    def advance(self, amount: int, note: str = "") -> None:
        if self._begun_at is None:
            self._begun_at = amount
        self._done += amount
        now = time.monotonic()
        if now < self._show_at or now < self._shown_at + 0.1:
            return
        self._shown_at = now
        if self._display is None:
            self._display = self._open()
        rate = (self._done - self._begun_at) / max(now - self._started, 1e-9)
        task = self._display.task_ids[0]
        self._display.update(task, completed=self._done, count=f"{rate:,.0f} {self._unit}/s", note=translated(note))

    def _open(self) -> RichProgress:
        # rich takes a while to import and is not needed by quick work
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        display = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
        )
        display.add_task(self._label, total=self._total, count="", note="")
        display.start()
        return display

    def stop(self) -> None:
        if self._display is not None:
            self._display.stop()
