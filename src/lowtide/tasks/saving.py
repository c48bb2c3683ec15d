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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lowtide.config import from_json, to_json
from lowtide.embeddings.base import Embedder
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.loading import load_any, shipped_model
from lowtide.embeddings.type_vectors import TypeEmbedding
from lowtide.errors import ConfigError, InputError, LowtideError, MissingPathError, ModelError
from lowtide.files import explained, make_folder, read_json, remove, write_json, write_text
from lowtide.pictures import line_chart
from lowtide.tasks.card import write_card
from lowtide.tasks.classifier import Classifier
from lowtide.tasks.matcher import Matcher
from lowtide.tasks.options import ClassifierOptions, FitOptions, HeadOptions, MatcherOptions, TaggerOptions
from lowtide.tasks.tagger import Tagger
from lowtide.tasks.task import Task
from lowtide.weights.native import CARD, CONFIG, load_tensors, save_tensors

FORMAT_VERSION = 1
HEAD, LOG, PICTURE = "head.safetensors", "training.jsonl", "alphas.svg"
KINDS: dict[str, tuple[type[Task[Any, Any]], type[HeadOptions]]] = {
    "tagger": (Tagger, TaggerOptions),
    "classifier": (Classifier, ClassifierOptions),
    "matcher": (Matcher, MatcherOptions),
}


@dataclass(frozen=True)
class EmbeddingRecord:
    """An embedding that a task was learned on."""

    checksum: str
    place: str | None
    """Where it lies: a path, or the name of a model that ships; relative to the task's folder if it is in it. None if
    that is not known."""
    num_layers: int
    width: int


@dataclass(frozen=True)
class TaskConfig:
    """What ``config.json`` holds."""

    format_version: int
    kind: Literal["tagger", "classifier", "matcher"]
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


def save(task: Task[Any, Any], folder: str | Path) -> None:
    """Write a folder that `load` opens.

    Raises:
        InputError: if nothing has been learned, or the folder holds something else.
        WriteError: if it cannot be written.
    """
    network, folder = task.network, Path(folder)
    if (folder / CONFIG).is_file() and read_json(folder / CONFIG).get("kind") not in KINDS:
        raise InputError(f"{folder} holds something else, and no task: choose another folder")
    with explained(folder):
        make_folder(folder)
        (folder / CONFIG).unlink(missing_ok=True)  # until all is there again
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
    else:
        remove(folder / PICTURE)
    write_text(folder / CARD, write_card(task, folder.resolve().name, has_picture=bool(lines)))
    config = TaskConfig(
        format_version=FORMAT_VERSION,
        kind=task.kind,  # type: ignore[arg-type]  # one of KINDS
        embeddings=records,
        labels=tuple(task.labels),
        head=to_json(task.head_options),
        fit=to_json(task.fit_options),
        settings=task._settings(),
        num_train=task.num_train,
        scores={name: found.as_json() for name, found in task.scores.items()},
    )
    write_json(folder / CONFIG, to_json(config))


def _record(embedding: Embedder, number: int, folder: Path) -> EmbeddingRecord:
    place: str | None = None
    if isinstance(embedding, TypeEmbedding):
        if embedding.path is None:
            embedding.save(folder / f"embedding-{number}")
        assert embedding.path is not None
        is_inside = embedding.path.resolve().is_relative_to(folder.resolve())
        place = embedding.path.name if is_inside else str(embedding.path.resolve())
    elif isinstance(embedding, Elmo):
        path = embedding.stored.path
        place = path.name if shipped_model(path.name) == path else str(path.resolve())
    return EmbeddingRecord(embedding.checksum, place, embedding.num_layers, embedding.width)


def load(
    folder: str | Path, *, embeddings: Embedder | Sequence[Embedder] | None = None, device: str = "auto"
) -> Tagger | Classifier | Matcher:
    """Open a task that was learned.

    Args:
        folder: of the task.
        embeddings: those that it was learned on, where they are open already, or lie elsewhere now.
        device: where the head computes.

    Raises:
        MissingPathError: if it is not there, or an embedding is not where it was.
        ModelError: if it is no task, a damaged one, or an embedding is another one than it was learned on.
        ConfigError: if ``config.json`` has an unknown key.
    """
    folder = Path(folder)
    config = _read_config(folder)
    given = embeddings if embeddings is None or isinstance(embeddings, Sequence) else [embeddings]
    if given is not None and len(given) != len(config.embeddings):
        raise InputError(f"{folder} was learned on {len(config.embeddings)} embeddings, found {len(given)}")
    opened = [
        _open(folder, record, device) if given is None else given[number]
        for number, record in enumerate(config.embeddings)
    ]
    for number, (embedding, record) in enumerate(zip(opened, config.embeddings, strict=True)):
        if embedding.checksum != record.checksum:
            raise ModelError(
                f"{folder} was learned on an embedding with the checksum {record.checksum[:12]}, embedding {number} "
                f"has {embedding.checksum[:12]}: give the one it was learned on (embeddings=, --embedding)"
            )
    kind, options = KINDS[config.kind]
    task = kind(opened, from_json(options, config.head, where=f"{folder / CONFIG}: head"), device=device)
    task.fit_options = from_json(FitOptions, config.fit, where=f"{folder / CONFIG}: fit")
    task.labels, task.num_train = list(config.labels), config.num_train
    if not isinstance(config.settings, Mapping):
        raise ConfigError(f"{folder / CONFIG}: found no settings of the task: is it damaged?")
    task._restore(dict(config.settings))
    task._network = task._make_network(task.fit_options)
    load_tensors(folder / HEAD, task.network.head)
    for number_, encoder in task.network.encoders.items():
        load_tensors(folder / f"encoder-{number_}.safetensors", encoder)
    assert isinstance(task, (Tagger, Classifier, Matcher))
    return task


def _read_config(folder: Path) -> TaskConfig:
    path = folder / CONFIG
    if not path.is_file():
        raise MissingPathError(f"{folder} is no task: {CONFIG} is not there; `lowtide train` makes one")
    data = read_json(path)
    if not isinstance(data, dict) or data.get("kind") not in KINDS:
        found = data.get("kind") if isinstance(data, dict) else None
        raise ModelError(f"{folder} is no task: found kind {found!r}, expected {', '.join(KINDS)}")
    config = from_json(TaskConfig, data, where=str(path))
    if config.format_version != FORMAT_VERSION:
        raise ModelError(f"{path} has format {config.format_version}, expected {FORMAT_VERSION}: update lowtide?")
    return config


def _open(folder: Path, record: EmbeddingRecord, device: str) -> Embedder:
    advice = "give the embedding it was learned on (embeddings=, --embedding)"
    if record.place is None:
        raise MissingPathError(f"{folder} does not say where its embedding lies: {advice}")
    inside = folder / record.place
    try:
        return load_any(inside if inside.is_dir() else record.place, device=device)
    except LowtideError as error:
        raise ModelError(f"{folder}: {error}; {advice}") from None
