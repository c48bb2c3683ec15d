"""How much is left out while training: by passes over the text, or as the user says.

A text that is read once or twice is not learnt by heart, and nothing need be left out; what is read often enough is.
"""

from __future__ import annotations

import math

from lowtide.errors import InputError, nearest
from lowtide.model import Dropouts

AWD = Dropouts(types=0.1, inputs=0.65, hidden=0.2, outputs=0.4, recurrent=0.5, is_locked=True)
"""Of AWD-LSTM on WikiText-2, which read its 2 M tokens 750 times: Merity et al. (2018), the settings of their code."""

SMALL_TEXT = 20_000_000
"""Tokens. On 100 M tokens (WikiText-103) the same authors leave a tenth out and no recurrent weight, for 14 passes:
Merity et al. (2018), "An Analysis of Neural Language Modeling at Multiple Scales", https://arxiv.org/abs/1803.08240."""

_PLAIN = (
    (2.0, Dropouts()),
    (10.0, Dropouts.plain(0.1)),  # as Peters et al. (2018), who read theirs ten times
    (math.inf, Dropouts.plain(0.2)),
)
"""Up to so many passes, so much."""

_WORDS_OF_SMALL_TEXTS = (
    (2.0, Dropouts()),
    (5.0, Dropouts.plain(0.1)),
    # between the two: ours; the first is measured at 7.8 passes, benchmarks/results/2026-11-28-wikitext2.md
    (10.0, Dropouts(types=0.05, inputs=0.2, hidden=0.1, outputs=0.2, recurrent=0.2, is_locked=True)),
    (30.0, Dropouts(types=0.1, inputs=0.4, hidden=0.2, outputs=0.4, recurrent=0.3, is_locked=True)),
    (math.inf, AWD),
)
"""Likewise, where a vector of its own for every word learns the text by heart: that is what AWD-LSTM was made for."""


def dropouts_for(epochs: float, *, num_tokens: int, has_words: bool) -> Dropouts:
    """What is left out, by passes over the text.

    Args:
        epochs: the passes.
        num_tokens: of one of them.
        has_words: whether words are looked up, and predicted with the same vectors.
    """
    table = _WORDS_OF_SMALL_TEXTS if has_words and num_tokens <= SMALL_TEXT else _PLAIN
    return next(dropouts for most, dropouts in table if epochs <= most)


def dropouts_said(said: str) -> Dropouts | None:
    """What the command line says: ``auto``, ``0.1``, ``types=0.1,inputs=0.4,locked``. None: by the passes.

    Raises:
        InputError: if it says something else.
        ConfigError: if a rate is out of range.
    """
    if said == "auto":
        return None
    rate = _number(said)
    if rate is not None:
        return Dropouts.plain(rate)
    rates: dict[str, float] = {}
    parts = [part.strip() for part in said.split(",")]
    for part in parts:
        name, _, said_rate = part.partition("=")
        rate = _number(said_rate)
        if name in AWD.rates and rate is not None:
            rates[name] = rate
        elif part != "locked":
            raise InputError(
                f"dropout: found {part!r}, expected auto, a rate such as 0.1, or rates such as {AWD}."
                f"{nearest(name, [*AWD.rates, 'locked', 'auto'])}"
            )
    return Dropouts(**rates, is_locked="locked" in parts)


def _number(said: str) -> float | None:
    try:
        return float(said)
    except ValueError:
        return None
