"""A training laid down between two steps, to go on from exactly there."""

from __future__ import annotations

import json
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lowtide.config import from_json, to_json
from lowtide.errors import ModelError
from lowtide.model import Carry
from lowtide.model.recurrence import LayerState
from lowtide.weights.native import save_tensors

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 60.0
"""Between two checkpoints, at least."""
CHECKPOINT_SHARE = 0.05
"""At most this much of the time goes into writing checkpoints."""
AnyPosition = TypeVar("AnyPosition")
"""A dataclass that says how far something has come."""


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
    """Sentences that were longer than a row; documents longer than a block, where the state is carried."""
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


class CheckpointClock:
    """When the next checkpoint is due: so that writing them takes little of the time."""

    def __init__(self) -> None:
        self._last, self._cost = time.monotonic(), 0.0

    @property
    def is_due(self) -> bool:
        """Whether enough has been done since the last one."""
        pause = max(CHECKPOINT_SECONDS, self._cost / CHECKPOINT_SHARE)
        return time.monotonic() - self._last > pause

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While a checkpoint is written."""
        before = time.monotonic()
        yield
        self._last = time.monotonic()
        self._cost = self._last - before


def save_checkpoint(path: Path, position: Any, tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint; the last one stays until this one is whole.

    Args:
        path: the file.
        position: a dataclass that says how far it has come.
        tensors: by name.
    """
    laid_out = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    told = json.dumps(to_json(position))
    save_tensors(path, laid_out, metadata={"position": told, "crc32": _crc32(told, laid_out)})


def _crc32(told: str, tensors: dict[str, Tensor]) -> str:
    """Of all that a checkpoint holds: a damage is noticed, whichever byte it is."""
    checksum = zlib.crc32(told.encode())
    for name, tensor in sorted(tensors.items()):
        checksum = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), checksum)
        checksum = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, checksum)
    return f"{checksum:08x}"


def parts_of(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """What stands before the first dot of their names, and the tensors under the rest of it."""
    parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    return parts


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


def load_checkpoint(path: Path, kind: type[AnyPosition]) -> tuple[AnyPosition, dict[str, Tensor]]:
    """Read a checkpoint.

    Args:
        path: the file.
        kind: of the position in it.

    Returns:
        How far it had come, and its tensors by name.

    Raises:
        ModelError: if it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            position = from_json(kind, json.loads(metadata["position"]), where=str(path))
            # copies: on Windows a file that is mapped cannot be replaced by the next checkpoint
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ModelError(
            f"the checkpoint {path} cannot be read ({error}): remove it, and go on with --resume; "
            "what it held is learned once more"
        ) from None
    if metadata.get("crc32") not in (None, _crc32(metadata["position"], tensors)):  # older ones have none
        raise ModelError(
            f"the checkpoint {path} is damaged: remove it, and go on with --resume; what it held is learned once more"
        )
    return position, tensors
