"""From a path to a model: what lies there decides the reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowtide.errors import InputError, MissingPathError, ModelError
from lowtide.text.tokenize import TokenizerConfig
from lowtide.weights import allennlp, many_langs, native, tf_checkpoint
from lowtide.weights.sources import Files, Source, Zip, is_file
from lowtide.weights.stored import StoredModel


@dataclass(frozen=True)
class Format:
    """A way in which models are stored."""

    name: str
    found_in: Callable[[Source], Sequence[str]]
    """The files that tell it; none if a source is not of this format."""
    takes: frozenset[str]
    """What may be named beside the model."""
    read: Callable[[Source, TokenizerConfig], StoredModel]
    """Raw text is cut as the second argument says, unless the model says it itself."""


FORMATS = (
    Format(native.NAME, native.found_in, frozenset(), native.read),
    Format(allennlp.NAME, allennlp.found_in, frozenset({"weights", "vocabulary", "token_cache"}), allennlp.read),
    Format(tf_checkpoint.NAME, tf_checkpoint.found_in, frozenset({"weights", "vocabulary"}), tf_checkpoint.read),
    Format(many_langs.NAME, many_langs.found_in, frozenset(), many_langs.read),
)
_WEIGHTS = (".hdf5", ".h5", ".index")
_OWN_NAMES = (native.CONFIG, native.MODEL, many_langs.ENCODER, many_langs.TOKENS)
"""Files that make the folder around them a model."""


def open_source(
    path: Path, *, weights: Path | None = None, vocabulary: Path | None = None, token_cache: Path | None = None
) -> Source:
    """The files that a user means by a path.

    Args:
        path: a folder; a zip; an options file; a weight file; a checkpoint, with or without its ending.
        weights: the weight file, if ``path`` is an options file that lies elsewhere.
        vocabulary: a list of words, one a line.
        token_cache: an HDF5 file with the vectors of these words.

    Raises:
        MissingPathError: if something is not there.
        ModelError: if a zip cannot be read.
    """
    if weights is not None and is_file(weights.parent / f"{weights.name}.index"):
        weights = weights.parent / f"{weights.name}.index"
    for file in (weights, vocabulary, token_cache):
        if file is not None and not is_file(file):
            raise MissingPathError(f"{str(file)[:200]} is not there, or no file")
    if path.is_file() and path.suffix.lower() == ".zip":
        if weights or vocabulary or token_cache:
            raise InputError(f"{path} is a zip with files of its own: unpack it, to use others with it")
        return Zip(path)
    if path.is_dir():
        files = dict(Files.in_folder(path).files)
    elif path.is_file() and weights is not None:
        files = {**_without(_beside(path), ".json", ".pkl", ".safetensors", *_WEIGHTS), allennlp.OPTIONS: path}
    else:
        path, files = _around(path)
    if weights is not None:
        files = _without(files, *_WEIGHTS)
        files[weights.name if weights.suffix == ".index" else allennlp.WEIGHTS] = weights
    if vocabulary is not None:
        files = {name: file for name, file in files.items() if not name.lower().startswith("vocab")}
        files[allennlp.WORDS] = vocabulary
    if token_cache is not None:
        files[allennlp.CACHE] = token_cache
    return Files(path, files)


def _beside(path: Path) -> dict[str, Path]:
    return dict(Files.in_folder(path.parent).files) if path.parent.is_dir() else {}


def _around(path: Path) -> tuple[Path, dict[str, Path]]:
    """The files that belong to one that was named: those beside it, without what another model is read from."""
    beside, name = _beside(path), path.name.lower()
    if path.is_file() and path.name in _OWN_NAMES:
        return path.parent, _without(beside, *_WEIGHTS)
    foreign = {other: file for other, file in beside.items() if other not in _OWN_NAMES}
    if path.is_file() and name.endswith(".json") and "options" in name:
        stem = name.removesuffix("options.json")
        own = [other for other in foreign if other.lower() in {f"{stem}weights{ending}" for ending in _WEIGHTS}]
        return path, _without(foreign, ".json", *(_WEIGHTS if own else ()), keep=[path.name, *own])
    if path.is_file() and name.endswith(_WEIGHTS[:2]):
        stem = name.rpartition(".")[0].removesuffix("weights")
        own = [other for other in foreign if other.lower() == f"{stem}options.json"]
        if not any(map(allennlp.is_options, foreign)):
            raise ModelError(f"{path} has no options.json beside it, which says what the weights are of: put it there")
        return path, _without(foreign, *_WEIGHTS, *([".json"] if own else []), keep=[path.name, *own])
    checkpoint = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name)
    if f"{checkpoint}.index" in foreign:
        return path, _without(foreign, *_WEIGHTS, keep=[f"{checkpoint}.index"])
    if not path.exists():
        raise MissingPathError(f"{path} is not there")
    if path.suffix.lower() in (".vec", ".bin", ".kv", ".glove"):
        raise ModelError(
            f"{path} looks like vectors of words: open them with gensim, and make a folder of them in Python, by "
            "`lowtide.Word2Vec.from_keyed_vectors(vectors).save(FOLDER)`"
        )
    raise ModelError(
        f"{path} is a file of no known format: expected a folder, a zip, an options file, a weight file or a checkpoint"
    )


def _without(files: dict[str, Path], *endings: str, keep: Sequence[str] = ()) -> dict[str, Path]:
    return {name: file for name, file in files.items() if name in keep or not name.lower().endswith(endings)}


def recognise(source: Source) -> Format:
    """The format of a source.

    Raises:
        ModelError: if no reader knows these files, or more than one does.
    """
    found = {format_.name: files for format_ in FORMATS if (files := list(format_.found_in(source)))}
    if len(found) == 1:
        return next(format_ for format_ in FORMATS if format_.name in found)
    if found:
        lies = "; ".join(f"{', '.join(files)} ({name})" for name, files in found.items())
        raise ModelError(f"{source.path} holds more than one model: {lies}. Name the file that you mean")
    lies = ", ".join(source.names[:8]) or "nothing"
    raise ModelError(
        f"{source.path} is no model: found {lies}; expected config.json with model.safetensors, options.json with an "
        "hdf5 file or a TensorFlow checkpoint, or the folder of an ELMoForManyLangs model"
    )
