"""From the folder of a task to the task, and to the embeddings it was learned on."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from lowtide.config import from_json
from lowtide.embeddings.base import Embedder
from lowtide.embeddings.loading import load as load_embedding
from lowtide.embeddings.loading import refuse_unfinished_task
from lowtide.errors import ConfigError, InputError, LowtideError, MissingPathError, ModelError
from lowtide.files import read_json
from lowtide.tasks.classifier import Classifier
from lowtide.tasks.history import History
from lowtide.tasks.inputs import as_embeddings
from lowtide.tasks.matcher import Matcher
from lowtide.tasks.options import KINDS, FitOptions, Kind
from lowtide.tasks.reports import Evaluation
from lowtide.tasks.saving import FORMAT_VERSION, HEAD, LOG, EmbeddingRecord, TaskConfig
from lowtide.tasks.seed_work import SEED_FOLDER
from lowtide.tasks.seeds import best_seed
from lowtide.tasks.state_store import dtype_of
from lowtide.tasks.tagger import Tagger
from lowtide.tasks.task import Task
from lowtide.training.folder import RESULTS
from lowtide.weights.native import CONFIG, load_tensors

log = logging.getLogger("lowtide")

_OPENED: dict[Kind, type[Tagger] | type[Classifier] | type[Matcher]] = {
    task.kind: task for task in (Tagger, Classifier, Matcher)
}


def load(
    folder: str | Path, *, embeddings: Embedder | Sequence[Embedder] | None = None, device: str = "auto"
) -> Tagger | Classifier | Matcher:
    """Open a task that was learned.

    Args:
        folder: of the task; or of several seeds: then the one that scored best on the validation examples is opened,
            the first where there were none, and the log says which.
        embeddings: those that it was learned on, where they are open already, or lie elsewhere now.
        device: where the head computes.

    Raises:
        MissingPathError: if it is not there, or an embedding is not where it was.
        ModelError: if it is no task, a damaged one, one that is not learned to the end, or an embedding is another one
            than it was learned on.
        ConfigError: if ``config.json`` has an unknown key.
        InputError: if something given is no embedding, or there are fewer or more of them.
    """
    folder = _find(Path(folder))
    config = _read_config(folder)
    given = None if embeddings is None else as_embeddings(embeddings)
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
        if dtype_of(embedding) != record.dtype:
            warnings.warn(
                f"{folder} was learned on vectors computed in {record.dtype}, embedding {number} computes them in "
                f"{dtype_of(embedding)}: answers may differ a little",
                stacklevel=2,
            )
    kind = _OPENED[config.kind]
    head = from_json(kind.options_class, config.head, where=f"{folder / CONFIG}: head")
    task: Task[Any, Any] = kind(opened, cast(Any, head), device=device)
    task.fit_options = from_json(FitOptions, config.fit, where=f"{folder / CONFIG}: fit")
    task.labels, task.num_train = list(config.labels), config.num_train
    if not isinstance(config.settings, Mapping):
        raise ConfigError(f"{folder / CONFIG}: found no settings of the task: is it damaged?")
    try:
        task.restore(dict(config.settings))
        task.build()
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"{folder / CONFIG}: the settings are not those of a {config.kind}: is it damaged?") from None
    load_tensors(folder / HEAD, task.network.head)
    for number_, encoder in task.network.encoders.items():
        load_tensors(folder / f"encoder-{number_}.safetensors", encoder)
    _remember(task, folder, config)
    assert isinstance(task, (Tagger, Classifier, Matcher))
    return task


def _find(folder: Path) -> Path:
    """The folder of a task, where one of several seeds may be meant."""
    if (folder / CONFIG).is_file():
        return folder
    refuse_unfinished_task(folder)
    if not (folder / RESULTS).is_file():
        return folder
    return folder / SEED_FOLDER.format(best_seed(folder))


def _remember(task: Task[Any, Any], folder: Path, config: TaskConfig) -> None:
    """Take back what was measured, and how the fit went; nothing depends on either."""
    for path, take in ((folder / CONFIG, _take_scores), (folder / LOG, _take_history)):
        try:
            take(task, folder, config)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            warnings.warn(f"{path}: what was measured cannot be read, and is left out: is it damaged?", stacklevel=3)


def _take_scores(task: Task[Any, Any], folder: Path, config: TaskConfig) -> None:
    task.scores = {name: Evaluation.from_json(found) for name, found in (config.scores or {}).items()}


def _take_history(task: Task[Any, Any], folder: Path, config: TaskConfig) -> None:
    if (folder / LOG).is_file():
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
        task.history = History.of([json.loads(line) for line in lines])


def _read_config(folder: Path) -> TaskConfig:
    path = folder / CONFIG
    if not path.is_file():
        raise MissingPathError(f"{folder} is no task: {CONFIG} is not there; `lowtide train` makes one")
    data = read_json(path)
    found = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(found, str) or found not in KINDS:
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
        return load_embedding(inside if inside.is_dir() else record.place, device=device, dtype=record.dtype)
    except LowtideError as error:
        raise ModelError(f"{folder}: {error}; {advice}") from None
