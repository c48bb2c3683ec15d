"""From a name or a path to an embedding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lowtide.embeddings.elmo import Elmo
from lowtide.errors import MissingPathError, ModelError, nearest
from lowtide.files import read_json
from lowtide.weights.native import CONFIG

KINDS: dict[str, Callable[..., Elmo]] = {"elmo": Elmo.open}
"""The ``kind`` of a model folder, and what opens it."""


def load(model: str | Path, *, device: str = "auto") -> Elmo:
    """Open a model.

    Args:
        model: a model folder.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        MissingPathError: if there is no such folder, or a file is missing in it.
        ModelError: if it is no model folder, or a damaged one.
    """
    folder = Path(model)
    if not folder.is_dir():
        raise MissingPathError(
            f"{model} is not there: expected a model folder, as `lowtide pretrain TEXT --out {folder.name}` makes"
        )
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{model} is no model folder: it holds no {CONFIG}{_is_unfinished(folder)}")
    config = read_json(folder / CONFIG)
    kind = config.get("kind") if isinstance(config, dict) else None
    if kind not in KINDS:
        raise ModelError(
            f"{folder / CONFIG}: found kind {kind!r}.{nearest(str(kind), KINDS)} Known: {', '.join(KINDS)}"
        )
    return KINDS[kind](folder, device=device)


def _is_unfinished(folder: Path) -> str:
    if (folder / "work").is_dir():
        return " (its training has not ended: go on with `lowtide pretrain ... --resume`)"
    return ""
