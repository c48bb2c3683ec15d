"""One tree of errors, and the one door to optional libraries.

Every error that a user can cause says what was found, what was expected and what to do::

    LowtideError
    ├── InputError           (ValueError)         a text or an argument
    │   └── ShapeError                            arrays that do not fit each other
    ├── ConfigError          (ValueError)         an unknown key, a value out of range
    ├── ModelError           (ValueError)         a model folder or a weight file that cannot be used
    ├── MissingPathError     (FileNotFoundError)  a path that is not there
    ├── WriteError           (OSError)            an output that cannot be written
    ├── MissingExtraError    (ImportError)        an optional library that is not installed
    └── TrainingError        (RuntimeError)       a training that cannot go on
        └── DivergenceError                       its loss is no number any more
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

_LONGEST = 1500
"""Letters of a message."""


class LowtideError(Exception):
    """The base of all errors that are meant to be read by a user: one line, of letters that a terminal shows.

    What a message quotes may come from anywhere; signs that are none are written as escapes, and of what is
    very long the middle is left out.
    """

    def __str__(self) -> str:
        text = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in super().__str__())
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 310]} ... {text[-300:]}"

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the message alone, without the way to it."""
        return [f"{type(self).__name__}: {self}"]


class InputError(LowtideError, ValueError):
    """A text, a sentence or an argument that cannot be used."""


class ShapeError(InputError):
    """Arrays whose shapes do not fit each other."""


class ConfigError(LowtideError, ValueError):
    """A configuration with an unknown key or a value out of range."""


class ModelError(LowtideError, ValueError):
    """A model folder or a weight file that cannot be used."""


class MissingPathError(LowtideError, FileNotFoundError):
    """A path that is not there."""


class WriteError(LowtideError, OSError):
    """An output that cannot be written."""


class MissingExtraError(LowtideError, ImportError):
    """An optional library that is not installed."""


class TrainingError(LowtideError, RuntimeError):
    """A training that cannot go on."""


class DivergenceError(TrainingError):
    """The loss, a gradient or a perplexity of a training is no number any more."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional library, or say which command installs it.

    Args:
        module: what to import, for instance ``"zstandard"``.
        extra: the extra of this package that brings it, for instance ``"zstd"``.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.split(".")[0] != error.name.split(".")[0]:
            raise
        raise missing_extra(module, extra=extra) from None


def missing_extra(library: str, *, extra: str) -> MissingExtraError:
    """The error for a library that is not there; it names the command that brings it."""
    return MissingExtraError(f"{library} is not installed. Install it with: pip install 'lowtide[{extra}]'")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how Python, NumPy or PyTorch say that memory was missing."""
    told = str(error).lower()
    said = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(words in told for words in said))


def nearest(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the nearest known name, or nothing."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""
