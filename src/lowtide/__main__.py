"""Where the command begins: ``lowtide`` and ``python -m lowtide``. Ctrl-C is answered from the first import on."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from lowtide.cli import main as run

        run()
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
