"""Sizes with a name, and the rules that choose one from the size of a corpus."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lowtide.errors import InputError, nearest
from lowtide.model import BiLMConfig, CharCNNConfig, LSTMConfig, SymbolConfig
from lowtide.training.settings import TrainableTrunk

_PUBLISHED_FILTERS = CharCNNConfig.filters


@dataclass(frozen=True)
class Preset:
    """Sizes of a biLM and of the steps that train it."""

    published_name: str | None
    lstm: LSTMConfig
    char_cnn: CharCNNConfig
    rows: int
    """Of a training batch, 64 positions each."""
    num_samples: int
    """Of the sampled softmax."""
    learning_rate: float
    max_threads: int | None
    """Threads worth having. The products of a small network gain little from a second one (a fifth),
    and lose most of their speed when another process wants the processor."""
    enough_tokens: int
    """``auto`` takes a preset for corpora of at least this many tokens."""


PRESETS: dict[str, Preset] = {
    "tiny": Preset(
        published_name=None,
        lstm=LSTMConfig(cell_width=256, width=96),
        char_cnn=CharCNNConfig(filters=((1, 32), (2, 32), (3, 64), (4, 128))),
        rows=32,
        num_samples=2048,
        learning_rate=8e-3,
        max_threads=1,
        enough_tokens=0,
    ),
    "small": Preset(
        published_name="2x1024_128_2048cnn_1xhighway",
        lstm=LSTMConfig(cell_width=1024, width=128),
        char_cnn=CharCNNConfig(filters=_PUBLISHED_FILTERS),
        rows=64,
        num_samples=4096,
        learning_rate=4e-3,
        max_threads=None,
        enough_tokens=5_000_000,
    ),
    "medium": Preset(
        published_name="2x2048_256_2048cnn_1xhighway",
        lstm=LSTMConfig(cell_width=2048, width=256),
        char_cnn=CharCNNConfig(filters=_PUBLISHED_FILTERS),
        rows=96,
        num_samples=8192,
        learning_rate=2e-3,
        max_threads=None,
        enough_tokens=100_000_000,
    ),
    "original": Preset(
        published_name="2x4096_512_2048cnn_2xhighway",
        lstm=LSTMConfig(cell_width=4096, width=512),
        char_cnn=CharCNNConfig(filters=_PUBLISHED_FILTERS, num_highways=2),
        rows=128,
        num_samples=8192,
        learning_rate=1e-3,
        max_threads=None,
        enough_tokens=500_000_000,
    ),
}

MAX_SYMBOLS = 1000
"""An alphabet of at most this many types gets a symbol embedding, not a character network."""
MAX_VOCABULARY = 800_000
"""As large as the published one (793,471): a larger softmax costs gigabytes and predicts no better."""


def preset_named(name: str) -> Preset:
    """A preset by its name.

    Raises:
        InputError: if there is none.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}.{nearest(name, PRESETS)} Known: auto, {', '.join(PRESETS)}")
    return PRESETS[name]


def suited_presets(num_tokens: int) -> list[str]:
    """The presets a corpus is large enough for, the largest first."""
    suited = [name for name, preset in PRESETS.items() if num_tokens >= preset.enough_tokens]
    return suited[::-1]


def nearest_preset(cell_width: int) -> str:
    """The preset whose steps suit a network of another making; of two as near, the larger."""
    return min(PRESETS, key=lambda name: (abs(math.log(_width(name) / cell_width)), -_width(name)))


def _width(name: str) -> int:
    return PRESETS[name].lstm.cell_width


CONTINUED_RATE = 0.25
"""Of a preset's learning rate, for a network that knows something already, which is not to be unlearnt."""
DEFAULT_EPOCHS = 10.0
"""As the paper. More passes over a small corpus only make it learnt by heart."""


def default_min_count(num_tokens: int) -> int:
    """The rarest type that the softmax predicts: seen twice; thrice, as the paper, in large corpora."""
    return 2 if num_tokens < 10_000_000 else 3


def bilm_config(
    preset: Preset, trunk: TrainableTrunk = "elmo", *, num_symbols: int | None, dropout: float = 0.0
) -> BiLMConfig:
    """The network of a preset; with ``num_symbols``, a symbol embedding takes the characters' place."""
    lstm = preset.lstm if trunk == "elmo" else plain(preset.lstm)
    if num_symbols is None:
        return BiLMConfig(lstm, char_cnn=preset.char_cnn, dropout=dropout)
    return BiLMConfig(lstm, symbols=SymbolConfig(num_symbols), dropout=dropout)


def plain(lstm: LSTMConfig) -> LSTMConfig:
    """The LSTM without projection and clips that takes as many products a token: 8 w^2 = 9 cells * width a layer."""
    width = 8 * round(math.sqrt(9 * lstm.cell_width * lstm.width / 8) / 8)
    return LSTMConfig(width, width, num_layers=lstm.num_layers, cell_clip=None, projection_clip=None)
