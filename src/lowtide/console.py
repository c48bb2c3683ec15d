"""What stands around every command: streams, log lines, warnings, Ctrl-C, and how an error ends it."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

from lowtide.errors import LowtideError, is_out_of_memory
from lowtide.messages import say, translated


def run(command: Callable[[], object]) -> None:
    """Run a command line; a user's mistake is one or two lines on stderr and exit code 2."""
    log = logging.getLogger("lowtide")
    log.setLevel(logging.INFO)
    if not log.handlers:
        log.addHandler(_ToStderr())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe may be set to something that has no Chinese
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    signal.signal(signal.SIGTERM, _stop)  # leaves no temporary file, as Ctrl-C
    warnings.showwarning = _warnings_shown_once()  # where it was raised tells a user nothing
    try:
        try:
            command()
        finally:
            sys.stdout.flush()  # not when Python ends, where a full disk would be a traceback
    except BrokenPipeError:  # whoever read our output has enough
        _discard_output()
    except KeyboardInterrupt:
        tell("\n" + say("stopped"))
        sys.exit(130)
    except (LowtideError, OSError, MemoryError, RuntimeError) as error:
        is_meant = isinstance(error, (LowtideError, OSError)) or is_out_of_memory(error)
        if not is_meant or os.environ.get("LOWTIDE_DEBUG"):
            raise
        tell(f"lowtide: {_reason(error)}")
        _discard_output()
        sys.exit(2)


def _discard_output() -> None:
    """Let Python not try again to write what could not be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _ToStderr(logging.Handler):
    """Prints to whatever stderr is now: a progress bar puts itself in between, and lines go above it."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(translated(self.format(record)))


def _stop(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(143)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, LowtideError):
        return f"{error.filename or say('the system')}: {translated(error.strerror or str(error))}"
    if not isinstance(error, LowtideError):
        return say("out of memory: close what else runs, or take a smaller model or less at a time")
    return translated(str(error))


def _warnings_shown_once() -> Callable[..., None]:
    """What shows a warning, and the same one not again: every seed checks the same examples."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            tell(say("warning: {message}", message=translated(str(message))))

    return show


def tell(line: str) -> None:
    """Say something that is no answer: on stderr."""
    print(line, file=sys.stderr)


def stopped() -> SystemExit:
    """Say how to go on with what Ctrl-C has stopped; what ends the command."""
    again = [argument for argument in sys.argv[1:] if argument != "--resume"]
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    program = "lowtide" if processes == "1" else f"torchrun --nproc-per-node {processes} -m lowtide"
    command = f"{program} {' '.join(map(shlex.quote, again))} --resume"
    tell("\n" + say("stopped. Go on with:  {command}", command=command))
    return SystemExit(130)


def only_first_speaks() -> None:
    """Of the processes that ``torchrun`` has started only the first says anything from now on: all say the same."""
    is_other = int(os.environ.get("WORLD_SIZE", "1")) > 1 and int(os.environ.get("RANK", "0")) > 0
    if is_other and not os.environ.get("LOWTIDE_DEBUG"):
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # open to the end


def print_json(value: Any) -> None:
    """Print something for a program to read; numbers that are none, which JSON does not have, are null."""
    print(json.dumps(_finite(value), ensure_ascii=False, indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
