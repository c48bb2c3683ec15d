"""A learned task as a folder.

======================  ========================================================================
``config.json``         `TaskConfig`; written last
``head.safetensors``    the head, with the learned mixes
``encoder-0.safetensors``  the encoder of embedding 0, if it learned with the task
``embedding-1/``        embedding 1, if it is one of types that lay nowhere else
``README.md``           the card
``alphas.svg``          what every layer was worth, over time
``training.jsonl``      the log
======================  ========================================================================

An embedding that is a model of its own is not copied: the folder says where it lies, and knows its checksum.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowtide.config import to_json
from lowtide.embeddings.base import Embedder
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.type_vectors import TypeEmbedding
from lowtide.errors import InputError, MissingPathError, ModelError
from lowtide.files import explained, make_folder, read_json, remove, write_json, write_text, written_whole
from lowtide.model.products import Dtype
from lowtide.pictures import line_chart
from lowtide.tasks.card import write_card
from lowtide.tasks.options import KINDS, Kind
from lowtide.tasks.state_store import dtype_of
from lowtide.weights.catalogue import shipped_model
from lowtide.weights.native import CARD, CONFIG, save_tensors

if TYPE_CHECKING:
    from lowtide.tasks.heads import Network
    from lowtide.tasks.task import Task

FORMAT_VERSION = 1
HEAD, LOG, PICTURE = "head.safetensors", "training.jsonl", "alphas.svg"


@dataclass(frozen=True)
class EmbeddingRecord:
    """An embedding that a task was learned on."""

    checksum: str
    place: str | None
    """Where it lies: a path, the name of a model that ships, or of a folder in that of the task. None if that is not
    known."""
    num_layers: int
    width: int
    dtype: Dtype = "float32"
    """In which its vectors were computed."""


@dataclass(frozen=True)
class TaskConfig:
    """What ``config.json`` holds."""

    format_version: int
    kind: Kind
    embeddings: tuple[EmbeddingRecord, ...]
    labels: tuple[str, ...]
    head: Any
    """`HeadOptions` of the kind."""
    fit: Any
    """`FitOptions`"""
    settings: Any
    """What was found out in fitting."""
    num_train: int
    scores: Any = None
    """What was measured. Nothing depends on it."""


def save(task: Task[Any, Any], folder: str | Path, *, name: str | None = None) -> None:
    """Write a folder that `lowtide.tasks.load` opens.

    Args:
        task: that has learned something.
        folder: to make, or to write anew.
        name: that its card gives; None: that of the folder.

    Raises:
        InputError: if nothing has been learned, or the folder holds something else.
        WriteError: if it cannot be written.
    """
    network, folder = task.network, Path(folder)
    if folder.is_dir() and any(folder.iterdir()) and not _is_task(folder):
        raise InputError(f"{folder} holds something else, and no task: choose another folder")
    with explained(folder):
        make_folder(folder)
        with written_whole(folder / "new") as beside:
            beside.mkdir()
            _write(task, network, beside, name or folder.resolve().name)
            (folder / CONFIG).unlink(missing_ok=True)  # until all is there again
            for stale in [*folder.glob("encoder-*.safetensors"), *folder.glob("embedding-*"), folder / PICTURE]:
                remove(stale)
            for path in sorted(beside.iterdir(), key=lambda path: path.name == CONFIG):
                path.replace(folder / path.name)
        remove(folder / "new")


def _is_task(folder: Path) -> bool:
    """Whether a task lies there, or what is left of one whose saving was killed."""
    try:
        data = read_json(folder / CONFIG)
    except MissingPathError:
        return (folder / HEAD).is_file()
    except ModelError:
        return False
    return isinstance(data, dict) and isinstance(data.get("kind"), str) and data["kind"] in KINDS


def _write(task: Task[Any, Any], network: Network, folder: Path, name: str) -> None:
    records = tuple(_record(embedding, number, folder) for number, embedding in enumerate(task.embeddings))
    save_tensors(folder / HEAD, network.head.state_dict())
    for number, encoder in network.encoders.items():
        save_tensors(folder / f"encoder-{number}.safetensors", encoder.state_dict())
    write_text(folder / LOG, "".join(json.dumps(entry) + "\n" for entry in task.history.entries))
    lines = task.history.alphas()
    if lines:
        write_text(
            folder / PICTURE,
            line_chart(lines, title="What every layer is worth", x_label="epochs", y_label="α"),
        )
    write_text(folder / CARD, write_card(task, name, has_picture=bool(lines)))
    config = TaskConfig(
        format_version=FORMAT_VERSION,
        kind=task.kind,
        embeddings=records,
        labels=tuple(task.labels),
        head=to_json(task.options),
        fit=to_json(task.fit_options),
        settings=task.settings(),
        num_train=task.num_train,
        scores={name: found.as_json() for name, found in task.scores.items()},
    )
    write_json(folder / CONFIG, to_json(config))


def _record(embedding: Embedder, number: int, folder: Path) -> EmbeddingRecord:
    place: str | None = None
    if isinstance(embedding, TypeEmbedding):
        path = embedding.path
        if path is None or (path.parent / HEAD).is_file():  # that of another task, which may be removed
            place = f"embedding-{number}"
            embedding.save(folder / place)
            embedding.path = path
        else:
            place = str(path.resolve())
    elif isinstance(embedding, Elmo):
        path = embedding.stored.path
        place = path.name if shipped_model(path.name) == path else str(path.resolve())
    return EmbeddingRecord(embedding.checksum, place, embedding.num_layers, embedding.width, dtype_of(embedding))
