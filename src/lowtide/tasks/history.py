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

    def alphas(self) -> dict[str, list[tuple[float, float]]]:
        """(epoch, weight) of every layer over time, by the name of its mix and its number."""
        lines: dict[str, list[tuple[float, float]]] = {}
        for entry in self.entries:
            for name, mix in entry.get("mixes", {}).items():
                for layer, weight in enumerate(mix["weights"]):
                    lines.setdefault(f"{name} {layer}", []).append((entry["epoch"], weight))
        return lines
