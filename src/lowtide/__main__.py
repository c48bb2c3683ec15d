"""Where the command begins: ``lowtide`` and ``python -m lowtide``. Ctrl-C is answered from the first import on."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line."""
    try:
        from lowtide.cli import main as run

        run()
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: what Python does at its end is not to be stopped


if __name__ == "__main__":
    main()
