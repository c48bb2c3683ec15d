"""Progress bars with rate and time left; silent where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Something that can be told how far the work has come."""

    def advance(self, amount: float, note: str = "") -> None:
        """Say that ``amount`` more units are done; ``note`` stands beside the bar."""


class _Silent:
    def advance(self, amount: float, note: str = "") -> None:
        """Nothing is shown."""


@contextmanager
def progress(label: str, *, total: float | None, unit: str, delay_seconds: float = 1.0) -> Iterator[Progress]:
    """Show a bar on stderr while work goes on, once it has taken longer than ``delay_seconds``.

    Args:
        label: what is being done, in a word or two.
        total: how many units there are; None if that is not known.
        unit: what is counted: ``"tokens"``, ``"sentences"``.
        delay_seconds: quick work shows no bar.
    """
    if not sys.stderr.isatty():
        yield _Silent()
        return
    bar = _RichBar(label, total, unit, delay_seconds)
    try:
        yield bar
    finally:
        bar.stop()


class _RichBar:
    def __init__(self, label: str, total: float | None, unit: str, delay_seconds: float) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._show_at = time.monotonic() + delay_seconds
        self._done = 0.0
        self._started = time.monotonic()
        self._note = ""
        self._display: tuple[object, int] | None = None

    def advance(self, amount: float, note: str = "") -> None:
        self._done += amount
        self._note = note or self._note
        if self._display is None and time.monotonic() >= self._show_at:
            self._start()
        if self._display is not None:
            self._update()

    def _start(self) -> None:
        # rich takes a while to import and is not needed by quick work
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
        )
        bar.start()
        task = bar.add_task(self._label, total=self._total, completed=self._done, count="", note="")
        self._display = (bar, task)

    def _update(self) -> None:
        from rich.progress import Progress as Bar
        from rich.progress import TaskID

        assert self._display is not None
        bar, task = self._display
        assert isinstance(bar, Bar)
        rate = self._done / max(time.monotonic() - self._started, 1e-9)
        bar.update(
            TaskID(task), completed=self._done, count=f"{rate:,.0f} {self._unit}/s", note=self._note
        )

    def stop(self) -> None:
        from rich.progress import Progress as Bar

        if self._display is not None and isinstance(self._display[0], Bar):
            self._display[0].stop()
