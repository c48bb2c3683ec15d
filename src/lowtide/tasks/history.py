"""How a fit went: the loss, the scores, and what every layer was worth, over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lowtide.model import LayerMix


@dataclass(frozen=True)
class MixState:
    """The scalars of a mix at some moment."""

    gamma: float
    weights: list[float]
    """The alphas, softmax(s): one a layer, layer 0 first, their sum is 1."""

    @classmethod
    def of(cls, mix: LayerMix) -> MixState:
        """As they are now."""
        return cls(float(mix.gamma.detach()), mix.weights.detach().tolist())


@dataclass
class History:
    """How a fit went; what the log holds."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    """In the order of time: ``epoch`` (of passes, with its fraction), ``loss``, the mixes, and after an epoch
    ``valid``."""
    best_epoch: int = 0
    best_score: float | None = None
    num_epochs: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, entries: list[dict[str, Any]]) -> History:
        """That of a log: what ``entries`` held."""
        history = cls(entries)
        for entry in entries:
            if "valid" in entry:
                history.end_epoch(entry["valid"], entry.get("seconds", 0.0))
        return history

    def end_epoch(self, score: float | None, seconds: float) -> bool:
        """Count an epoch.

        Args:
            score: on the validation examples; None without any.
            seconds: from the beginning.

        Returns:
            Whether it is the best so far; without scores the last one is, and of scores of 0, which tell no state from
            another.
        """
        self.num_epochs += 1
        self.seconds = seconds
        is_best = score is None or self.best_score is None or score > self.best_score or score == self.best_score == 0
        if is_best:
            self.best_score, self.best_epoch = score, self.num_epochs
        return is_best

    def alphas(self) -> dict[str, list[tuple[float, float]]]:
        """(epoch, weight) of every layer over time, by the name of its mix and its number."""
        lines: dict[str, list[tuple[float, float]]] = {}
        for entry in self.entries:
            for name, mix in entry.get("mixes", {}).items():
                for layer, weight in enumerate(mix["weights"]):
                    lines.setdefault(f"{name} {layer}", []).append((entry["epoch"], weight))
        return lines
