"""Where the command begins: ``lowtide`` and ``python -m lowtide``. Ctrl-C is answered from the first import on."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from typing import Any


def main() -> None:
    """Run the command line."""
    sys.unraisablehook = _press_again
    try:
        from lowtide.cli import main as run

        run()
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: what Python does at its end is not to be stopped


def _press_again(lost: Any) -> None:
    """Where Ctrl-C falls into a destructor, Python prints it and goes on: press it again, somewhat later."""
    if not isinstance(lost.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    again = threading.Timer(0.02, _press)
    again.daemon = True
    again.start()


def _press() -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # wakes a read that waits, too
    else:
        _thread.interrupt_main()


if __name__ == "__main__":
    main()
