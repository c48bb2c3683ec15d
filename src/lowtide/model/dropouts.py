"""What training leaves out: a share of the numbers, so that a small text is not learnt by heart.

The places and the masks are those of AWD-LSTM: Merity et al. (2018), https://arxiv.org/abs/1708.02182, section 4. What
has been trained leaves nothing out: only training knows of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lowtide.errors import ConfigError


@dataclass(frozen=True)
class Dropouts:
    """Which share is left out where: 0, nothing, up to 1.

    `lowtide.model.lstm.LSTMStack` drops what concerns its layers; types, and what the softmax reads, are dropped where
    a batch is learnt, `lowtide.training.learning`.
    """

    types: float = 0.0
    """Of the types of a batch: the whole vector, wherever the type stands, in both directions alike. Gal & Ghahramani
    (2016), https://arxiv.org/abs/1512.05287."""
    inputs: float = 0.0
    """Of what the first layer reads."""
    hidden: float = 0.0
    """Of what every other layer reads."""
    outputs: float = 0.0
    """Of what the softmax reads."""
    recurrent: float = 0.0
    """Of the weights from one state to the next, the same ones for a whole batch: DropConnect, Wan et al. (2013)."""
    is_locked: bool = False
    """Whether inputs, hidden and outputs lose the same numbers at all steps of a row: Gal & Ghahramani (2016)."""

    def __post_init__(self) -> None:
        """Check the rates.

        Raises:
            ConfigError: if one is out of range.
        """
        for name, rate in self.rates.items():
            if not 0 <= rate < 1:
                raise ConfigError(f"the dropout of {name} is {rate}, expected 0 up to 1, such as 0.1")

    @classmethod
    def plain(cls, rate: float) -> Dropouts:
        """One rate for the input of every layer and for what the softmax reads; every number by itself."""
        return cls(inputs=rate, hidden=rate, outputs=rate)

    @property
    def rates(self) -> dict[str, float]:
        """All of them, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "is_locked"}

    @property
    def plain_rate(self) -> float | None:
        """The one rate that `plain` was given; None where it is not as simple."""
        return self.inputs if self == Dropouts.plain(self.inputs) else None

    def __str__(self) -> str:
        """As the command line takes it: ``0.1``, or ``types=0.1,inputs=0.65,locked``."""
        others = [f"{name}={rate:g}" for name, rate in self.rates.items() if rate]
        rates = others if self.plain_rate is None else [f"{self.plain_rate:g}"]
        return ",".join([*rates, "locked"] if self.is_locked else rates)


def dropped(
    values: Tensor, rate: float, generator: torch.Generator | None = None, *, rows: Tensor | None = None
) -> Tensor:
    """Dropout: a share of the values becomes 0, and the others grow, so that their mean stays.

    Args:
        values: of any shape; (places, width) with rows.
        rate: the share, 0 up to 1.
        generator: draws; PyTorch's own dropout takes none. None: its own.
        rows: (places,), on the CPU: the row in which each place lies; all places of a row lose the same numbers.
            None: every number is drawn by itself.
    """
    if not rate:
        return values
    if rows is None:
        return values * _mask(torch.empty_like(values), rate, generator)
    num_rows = int(rows.max()) + 1 if len(rows) else 0
    masks = _mask(values.new_empty(num_rows, values.shape[1]), rate, generator)
    return values * masks.index_select(0, rows.to(values.device))


def dropped_whole(vectors: Tensor, rate: float, generator: torch.Generator | None = None) -> Tensor:
    """Dropout of whole vectors.

    Args:
        vectors: (vectors, width).
        rate: the share, 0 up to 1.
        generator: draws; None: PyTorch's own.
    """
    return vectors * _mask(vectors.new_empty(len(vectors), 1), rate, generator) if rate else vectors


def _mask(empty: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    return empty.bernoulli_(1 - rate, generator=generator).div_(1 - rate)
