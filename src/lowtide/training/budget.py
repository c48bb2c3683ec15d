"""How long to train, as a user says it; and how such numbers are read and written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lowtide.errors import InputError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_THOUSANDS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


@dataclass(frozen=True)
class Budget:
    """At most one of three; none means that the size of the corpus decides.

    A time is turned once, by a probe, into tokens; tokens alone drive the schedule, so a training
    that is interrupted, or runs on a busier machine, ends in the same model.
    """

    time: str | None = None
    """``90s``, ``20m``, ``8h``, ``2d``."""
    epochs: float | None = None
    """Times that every sentence is read."""
    tokens: str | int | None = None
    """``50M``, ``200k``: tokens read, boundaries not counted."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: if two are given, or one cannot be read.
        """
        if sum(given is not None for given in (self.time, self.epochs, self.tokens)) > 1:
            raise InputError("give one of --time, --epochs and --tokens, not two")
        if self.epochs is not None and not (isinstance(self.epochs, (int, float)) and 0 < self.epochs < math.inf):
            raise InputError(f"epochs is {self.epochs!r}, expected a number above 0")
        _ = self.seconds, self.num_tokens

    @property
    def seconds(self) -> float | None:
        """The time, if one is given."""
        if self.time is None:
            return None
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", str(self.time))
        if match is None or float(match[1]) == 0:
            raise InputError(f"cannot read the time {self.time!r}: expected something like 90s, 20m, 8h, 2d")
        return float(match[1]) * _SECONDS[match[2]]

    @property
    def num_tokens(self) -> int | None:
        """The tokens, if they are given."""
        if self.tokens is None:
            return None
        match = re.fullmatch(r"\s*(\d[\d_,]*(?:\.\d+)?)\s*([kKMGB]?)\s*", str(self.tokens))
        number = int(float(re.sub(r"[_,]", "", match[1])) * _THOUSANDS[match[2]]) if match else 0
        if number < 1:
            raise InputError(f"cannot read the number of tokens {self.tokens!r}: expected something like 50M, 200k")
        return number
