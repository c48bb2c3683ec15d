"""From a name or a path to an embedding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lowtide.embeddings.elmo import Elmo
from lowtide.errors import MissingPathError, ModelError, nearest
from lowtide.weights.native import CONFIG, MODEL, read_config

KINDS: dict[str, Callable[..., Elmo]] = {"elmo": Elmo.open}
"""The ``kind`` of a model folder, and what opens it."""


def shipped_model(name: str) -> Path | None:
    """The folder of a model that comes with this package; None if there is none of that name."""
    folder = Path(__file__).parent.parent / "models" / name
    return folder if name.isidentifier() and (folder / CONFIG).is_file() else None


def load(model: str | Path, *, device: str = "auto") -> Elmo:
    """Open a model.

    Args:
        model: a model folder; or the name of a model that ships with lowtide, if no such path is there.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        MissingPathError: if there is no such folder, or a file is missing in it.
        ModelError: if it is no model folder, a damaged one, or one whose training has not ended.
    """
    folder = Path(model)
    if not folder.exists():
        folder = shipped_model(str(model)) or folder
    if not folder.is_dir():
        found = "is no folder" if folder.exists() else "is not there"
        raise MissingPathError(
            f"{model} {found}: expected a model folder, as `lowtide pretrain TEXT --out {folder.name}` makes"
        )
    if _is_unfinished(folder):
        raise ModelError(
            f"{model} holds a training that has not ended: go on with `lowtide pretrain ... --out {model} --resume`"
        )
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{model} is no model folder: it holds no {CONFIG}")
    kind = read_config(folder).get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelError(
            f"{folder / CONFIG}: found kind {kind!r}.{nearest(str(kind), KINDS)} Known: {', '.join(KINDS)}"
        )
    return KINDS[kind](folder, device=device)


def _is_unfinished(folder: Path) -> bool:
    # config.json is there from the first step on, the weights only at the end
    return (folder / "work").is_dir() and not (folder / MODEL).exists()
