"""A training laid down between two steps, to go on from exactly there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lowtide.config import from_json
from lowtide.errors import ModelError
from lowtide.model import Carry
from lowtide.model.recurrence import LayerState
from lowtide.weights.native import save_tensors

CHECKPOINT = "checkpoint.safetensors"


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
    num_averaged: int = 0
    """States in the mean of the last ones."""


def save_checkpoint(path: Path, position: Position, tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint; the last one stays until this one is whole."""
    save_tensors(path, tensors, metadata={"position": json.dumps(asdict(position))})


def carry_tensors(carry: Carry | None) -> dict[str, Tensor]:
    """The states that a training goes on with, as named tensors: ``forward.0.hidden``, ..."""
    if carry is None:
        return {}
    return {
        f"{direction}.{layer}.{part}": tensor
        for direction, states in (("forward", carry.forward), ("backward", carry.backward))
        for layer, state in enumerate(states)
        for part, tensor in (("hidden", state.hidden), ("cell", state.cell))
    }


def restore_carry(tensors: dict[str, Tensor], device: torch.device) -> Carry | None:
    """What `carry_tensors` has laid down."""

    def states(direction: str) -> list[LayerState]:
        num_layers = sum(name.startswith(direction) for name in tensors) // 2
        return [
            LayerState(*(tensors[f"{direction}.{layer}.{part}"].to(device) for part in ("hidden", "cell")))
            for layer in range(num_layers)
        ]

    return Carry(states("forward"), states("backward")) if tensors else None


def load_checkpoint(path: Path) -> tuple[Position, dict[str, Tensor]]:
    """Read a checkpoint.

    Raises:
        ModelError: if it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            position = from_json(Position, json.loads(file.metadata()["position"]), where=str(path))
            return position, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # an open file is no mapping
    except (SafetensorError, KeyError, TypeError) as error:
        raise ModelError(f"the checkpoint {path} cannot be read ({error}): start anew in another folder") from None
