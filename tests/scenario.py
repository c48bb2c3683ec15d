"""A small training that tests share: invented text, a network of some hundred weights, the real loop around it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import lowtide
from lowtide.model import CharCNNConfig, LSTMConfig
from lowtide.training.presets import PRESETS, Preset

MINI = Preset(
    published_name=None,
    lstm=LSTMConfig(cell_width=12, width=6),
    char_cnn=CharCNNConfig(embedding_width=4, filters=((1, 4), (2, 4))),
    rows=4,
    num_samples=32,
    learning_rate=1e-2,
    max_threads=1,
    enough_tokens=0,
)
BUDGET = 4000
"""Tokens: some twenty steps, with twenty looks at the held-out text."""


def write_corpus(path: Path, *, num_sentences: int = 500, seed: int = 0) -> Path:
    """Write invented sentences: a few common words with an order to learn, and over a thousand rare ones."""
    draw = random.Random(seed)
    lines = []
    for number in range(num_sentences):
        rare = [f"w{draw.randrange(60)}x{draw.randrange(60)}" for _ in range(draw.randrange(1, 8))]
        lines.append(" ".join(["the", *rare, "goes", "out"] if draw.random() < 0.7 else [*rare, "comes", "in"]))
        if number % 10 == 9:
            lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def use_mini_preset() -> None:
    """Make ``tiny`` still smaller, in this process."""
    PRESETS["tiny"] = MINI


def pretrain_mini(corpus: Path, out: Path, *, resume: bool = False, tokens: int = BUDGET) -> lowtide.Elmo:
    """Train as users do, with the mini preset."""
    return lowtide.pretrain([corpus], out=out, preset="tiny", tokens=tokens, min_count=1, resume=resume, seed=3)


@pytest.fixture
def mini_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mini preset, for one test."""
    monkeypatch.setitem(PRESETS, "tiny", MINI)
    monkeypatch.setattr("lowtide.training.planning.PROBE_SECONDS", 0.05)
