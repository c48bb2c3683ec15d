import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import pytest

from lowtide.messages import speak
from lowtide.progress import Progress, progress


class Terminal(io.StringIO):
    """A stderr that takes itself for a terminal, and keeps what is shown."""

    def isatty(self) -> bool:
        return True

    @contextmanager
    def progress(self, *, total: int | None, delay_seconds: float = 0.0) -> Iterator[Progress]:
        with redirect_stderr(self), progress("reading", total=total, unit="tokens", delay_seconds=delay_seconds) as bar:
            yield bar


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name, value in {"TERM": "xterm", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def test_nothing_is_shown_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", total=2, unit="tokens", delay_seconds=0) as bar:
        bar.advance(2, note="loss 1.000")
    assert capsys.readouterr() == ("", "")


def test_quick_work_shows_nothing(terminal: Terminal) -> None:
    with terminal.progress(total=2, delay_seconds=1000) as bar:
        bar.advance(2)
    assert terminal.getvalue() == ""


def test_work_without_a_step_shows_nothing(terminal: Terminal) -> None:
    with terminal.progress(total=0):
        pass
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("expected", ["reading", "tokens/s", "loss 1.000", "50%"])
def test_slow_work_shows_what_how_fast_and_how_far(terminal: Terminal, expected: str) -> None:
    with terminal.progress(total=2) as bar:
        bar.advance(1, note="loss 1.000")
    assert expected in terminal.getvalue()


def test_a_bar_speaks_the_language_that_was_chosen(terminal: Terminal) -> None:
    speak("zh")
    try:
        with terminal.progress(total=2) as bar:
            bar.advance(1, note="loss 1.000")
    finally:
        speak("en")
    assert all(text in terminal.getvalue() for text in ("读入", "词例/s", "损失 1.000"))


def test_work_of_unknown_size_is_shown(terminal: Terminal) -> None:
    with terminal.progress(total=None) as bar:
        bar.advance(1)
    assert "reading" in terminal.getvalue()


def test_what_an_earlier_run_did_is_no_part_of_the_rate(terminal: Terminal) -> None:
    with terminal.progress(total=1_000_000_000) as bar:
        bar.advance(999_999_999)
    assert " 0 tokens/s" in terminal.getvalue()


def test_a_failure_closes_the_bar_and_passes(terminal: Terminal) -> None:
    show_cursor = "\x1b[?25h"
    with pytest.raises(RuntimeError), terminal.progress(total=2) as bar:
        bar.advance(1)
        raise RuntimeError
    assert terminal.getvalue().count(show_cursor) == 1
