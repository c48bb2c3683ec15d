"""From a name or a path to an embedding."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, cast, overload

from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.one_hot import OneHot
from lowtide.embeddings.session import Session
from lowtide.embeddings.type_vectors import TypeEmbedding
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.errors import InputError, MissingPathError, ModelError, nearest
from lowtide.model.products import Dtype
from lowtide.text.tokenize import TokenizerConfig, make_tokenizer
from lowtide.weights import native
from lowtide.weights.catalogue import Published, published, shipped_model
from lowtide.weights.fetching import fetch
from lowtide.weights.native import CONFIG, MODEL, read_config
from lowtide.weights.reading import open_source, recognise
from lowtide.weights.stored import StoredModel

KINDS: dict[str, Callable[[Path], StoredModel | TypeEmbedding]] = {
    "elmo": native.load_model,
    "one_hot": OneHot.open,
    "word2vec": Word2Vec.open,
}
"""The ``kind`` of a model folder of ours, and what reads it."""
_TASKS = ("tagger", "classifier", "matcher")
_TASK_BEGUN, _SEED_RESULTS = "work/begun.json", "results.json"
"""By these a folder tells that it holds a task, which `lowtide.tasks` knows, and this package does not."""


@overload
def load(
    model: str | Path,
    *,
    weights: str | Path | None = None,
    vocabulary: str | Path | None = None,
    token_cache: str | Path | None = None,
    tokenizer: str | None = None,
    language: str | None = None,
    stateful: Literal[False] = False,
    device: str = "auto",
    dtype: Dtype = "float32",
) -> Elmo: ...
@overload
def load(
    model: str | Path,
    *,
    weights: str | Path | None = None,
    vocabulary: str | Path | None = None,
    token_cache: str | Path | None = None,
    tokenizer: str | None = None,
    language: str | None = None,
    stateful: Literal[True],
    device: str = "auto",
    dtype: Dtype = "float32",
) -> Session: ...
def load(
    model: str | Path,
    *,
    weights: str | Path | None = None,
    vocabulary: str | Path | None = None,
    token_cache: str | Path | None = None,
    tokenizer: str | None = None,
    language: str | None = None,
    stateful: bool = False,
    device: str = "auto",
    dtype: Dtype = "float32",
) -> Elmo | Session:
    """Open a model of any format: what lies there decides how it is read.

    Args:
        model: a path, if there is something: a folder or a zip, an options file, a weight file, a checkpoint. Else
            the name of a model that ships with lowtide, or that was published: see `models`. A published one is
            fetched once, and only when it is named here.
        weights: the weight file, where it does not lie beside the options file.
        vocabulary: a list of words, one a line, for models of words.
        token_cache: an HDF5 file with the vectors of these words, computed already.
        tokenizer: ``words``, ``characters`` or ``whitespace``: what raw text is cut with. Our own folders know that;
            published models were trained on text that was cut already, mostly into words.
        language: of raw text, for the tokenizer.
        stateful: whether to remember the state from call to call, as the published tools did: see `Session`.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: of the recurrence when embedding: ``float32``, or ``bfloat16`` or ``int8``, which are quicker and less
            exact and never chosen unless they are asked for: see ``docs/embedding.md``.

    Returns:
        An `Elmo`; of the folder of another rung, that rung (`OneHot`, `Word2Vec`), although a type checker is told
        otherwise: ask `load_any` there.

    Raises:
        MissingPathError: if there is no such path or name, or a file is missing.
        ModelError: if it is no model, a damaged one, one whose training has not ended, or more than one.
        InputError: if the tokenizer, the language or the dtype is unknown, or the dtype does not work here.
    """
    others = {"weights": weights, "vocabulary": vocabulary, "token_cache": token_cache}
    found = _read(model, tokenizer, language, others)
    if isinstance(found, TypeEmbedding):
        return cast(Elmo, found)  # nearly everybody opens an Elmo, and would have to say so each time
    elmo = Elmo(found, device=device, dtype=dtype)
    return Session(elmo) if stateful else elmo


def load_any(model: str | Path, *, device: str = "auto") -> Elmo | TypeEmbedding:
    """Open a model of any rung; see `load`."""
    return load(model, device=device)


def open_word2vec(model: str | Path) -> Word2Vec:
    """Open a word2vec model.

    Raises:
        InputError: if it is another one.
    """
    found = load_any(model, device="cpu")
    if not isinstance(found, Word2Vec):
        raise InputError(
            f"{model} is no word2vec model: expected what `Word2Vec.train(...).save(FOLDER)` writes in Python, or "
            "`Word2Vec.from_keyed_vectors(...)` of vectors of gensim"
        )
    return found


def read(
    model: str | Path,
    *,
    weights: str | Path | None = None,
    vocabulary: str | Path | None = None,
    token_cache: str | Path | None = None,
    tokenizer: str | None = None,
    language: str | None = None,
) -> StoredModel:
    """Read a language model of any format, to be opened or converted; see `load`.

    Raises:
        InputError: if it is a rung below context.
    """
    others = {"weights": weights, "vocabulary": vocabulary, "token_cache": token_cache}
    found = _read(model, tokenizer, language, others)
    if isinstance(found, TypeEmbedding):
        raise InputError(
            f"{model} is a {found.kind} model: this is for language models, such as `lowtide pretrain` makes"
        )
    return found


def models() -> list[Published]:
    """The published models that `load` knows by name; nothing is fetched."""
    return list(published().values())


def _read(
    model: str | Path, tokenizer: str | None, language: str | None, others: Mapping[str, str | Path | None]
) -> StoredModel | TypeEmbedding:
    found = _find_and_read(str(model), {name: None if file is None else Path(file) for name, file in others.items()})
    if tokenizer is None and language is None:
        return found
    known = found.config.tokenizer
    wanted = make_tokenizer(tokenizer or known.name, language=language or known.language).config
    if isinstance(found, TypeEmbedding):
        return found.cut_by(wanted)
    return dataclasses.replace(found, config=dataclasses.replace(found.config, tokenizer=wanted))


def _find_and_read(model: str, others: Mapping[str, Path | None]) -> StoredModel | TypeEmbedding:
    path, tokenizer = _find(model)
    if path.is_dir():
        refuse_unfinished_task(path)
    if (path / _SEED_RESULTS).is_file() and any(path.glob("seed-*")):
        raise _is_a_task(path)
    if path.is_dir() and _is_unfinished(path):
        raise ModelError(
            f"{model} holds a training that has not ended: go on with `lowtide pretrain ... --out {model} --resume`"
        )
    source = open_source(path, **others)
    format_ = recognise(source)
    for name, file in others.items():
        if file is not None and name not in format_.takes:
            raise InputError(f"{model} ({format_.name}) takes no {name}: leave it out")
    if format_.name != native.NAME or not source.path.is_dir():
        return format_.read(source, tokenizer)
    kind = read_config(source.path).get("kind")
    if kind in _TASKS:
        raise _is_a_task(source.path)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelError(
            f"{source.path / CONFIG}: found kind {kind!r}.{nearest(str(kind), KINDS)} Known: {', '.join(KINDS)}"
        )
    opened = KINDS[kind](source.path)
    if isinstance(opened, TypeEmbedding):
        opened.path = source.path
    return opened


def _find(model: str) -> tuple[Path, TokenizerConfig]:
    """Where a model lies, and what raw text is cut with if its files do not say."""
    path = Path(model)
    tokenizer = make_tokenizer("words", language="en").config
    try:
        if path.exists() or path.with_name(f"{path.name}.index").exists():
            return path, tokenizer
    except (OSError, ValueError):  # a text rather than a path
        raise MissingPathError(f"{model[:60]!r} is no path, and no name of a model") from None
    shipped, known = shipped_model(model), published().get(model.lower())
    if shipped is not None:
        return shipped, tokenizer
    if known is not None:
        words = make_tokenizer(known.tokenizer.name, language=known.tokenizer.language).config
        return known.path_in(fetch(known)), words
    raise MissingPathError(
        f"{model} is not there, and no published model has this name.{nearest(model, published())} Expected a model, "
        f"as `lowtide pretrain TEXT --out {path.name}` makes; published ones are listed by `lowtide models`"
    )


def refuse_unfinished_task(folder: Path) -> None:
    """Send whoever means a task that is not learned to the end to where it goes on.

    Raises:
        ModelError: if it is one.
    """
    if (folder / _TASK_BEGUN).is_file():
        raise ModelError(
            f"{folder} holds a task that is not learned to the end: go on with `lowtide train ... --out {folder} "
            "--resume`"
        )


def _is_a_task(folder: Path) -> ModelError:
    return ModelError(
        f"{folder} holds a task, and no model: lowtide.tasks.load({str(folder)!r}) opens it, and `lowtide predict "
        f"{folder} INPUT --out OUT` answers with it"
    )


def _is_unfinished(folder: Path) -> bool:
    # config.json is there from the first step on, the weights only at the end
    return (folder / "work").is_dir() and not (folder / MODEL).exists()
