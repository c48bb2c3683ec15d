"""A training laid down between two steps, to go on from exactly there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from lowtide.config import from_json
from lowtide.errors import ModelError
from lowtide.weights.native import save_tensors


@dataclass(frozen=True)
class Position:
    """How far a training has come."""

    step: int = 0
    tokens: int = 0
    """Read so far."""
    epoch: int = 0
    chunk: int = 0
    """Of the epoch."""
    batch: int = 0
    """Of the chunk: the next one."""
    num_cut: int = 0
    """Sentences that were longer than a row."""
    loss_sum: float = 0.0
    """Since the last line of the log, in nats a target."""
    loss_steps: int = 0
    seconds: float = 0.0
    """Spent so far; for the log only."""
    log_bytes: int = 0
    """The length of the log; what a killed run wrote after its checkpoint is cut off."""
    best_perplexity: float | None = None
    best_step: int = 0


def save_checkpoint(path: Path, position: Position, tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint; the last one stays until this one is whole."""
    save_tensors(path, tensors, metadata={"position": json.dumps(asdict(position))})


def load_checkpoint(path: Path) -> tuple[Position, dict[str, Tensor]]:
    """Read a checkpoint.

    Raises:
        ModelError: if it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            position = from_json(Position, json.loads(file.metadata()["position"]), where=str(path))
            return position, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ModelError(f"the checkpoint {path} cannot be read ({error}): start anew in another folder") from None
