"""The published pair, ``options.json`` and ``weights.hdf5``: bilm-tf, AllenNLP, SeqVec and most models since 2018.

::

    char_embed                                      (261, E)            or embedding (words, P), for models of words
    CNN/W_cnn_i, b_cnn_i                            (1, width, E, n), (n,)
    CNN_high_k/W_carry, b_carry, W_transform, ...   (F, F), (F,)
    CNN_proj/W_proj, b_proj                         (F, P), (P,)        not there if F = P
    RNN_d/RNN/MultiRNNCell/Celll/LSTMCell/W_0, B    (in + P, 4C), (4C,) d is 0 forward and 1 backward; l from 0
    RNN_d/RNN/MultiRNNCell/Celll/LSTMCell/W_P_0     (C, P)              not there if P = C

A training with one layer left ``RNN_d/RNN/LSTMCell/...``, which the old readers do not find; here both names are read.
The softmax is never in this file. In a token cache (``embedding`` alone) the vectors of a list of words are computed
already: with it, a model of characters becomes one of words.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lowtide.config import from_json, to_json
from lowtide.errors import ModelError
from lowtide.files import write_json, write_text, written_whole
from lowtide.model import BiLM
from lowtide.text.tokenize import TokenizerConfig
from lowtide.text.vocabulary import SPECIALS, Vocabulary
from lowtide.weights.arrays import fill
from lowtide.weights.bilm_tf import (
    arrays_begin,
    arrays_of,
    clear_no_token,
    config_from_options,
    options_from_config,
    reads_characters,
)
from lowtide.weights.hdf5 import Floats, Hdf5File, holds, open_hdf5
from lowtide.weights.sources import Source, read_object, read_text
from lowtide.weights.stored import FORMAT_VERSION, ModelConfig, StoredModel, blank_network

log = logging.getLogger("lowtide")

NAME = "published hdf5"
OPTIONS, WEIGHTS, WORDS = "options.json", "weights.hdf5", "vocabulary.txt"
CACHE = "token_cache.hdf5"
"""The name under which a token cache is handed in."""
_ONE_LAYER = (re.compile(r"^(RNN_[01]/RNN)/LSTMCell/"), r"\1/MultiRNNCell/Cell0/LSTMCell/")
_OWN_KEY = "lowtide"
_NO_WORD = "!!!MAXTERMID"
"""Stands in some of bilm-tf's vocabulary files, and is no word."""


def found_in(source: Source) -> list[str]:
    """The files that make a source one of this format: those with weights in them."""
    return _weight_files(source) if any(map(is_options, source.names)) else []


def read(source: Source, tokenizer: TokenizerConfig) -> StoredModel:
    """Read a published pair.

    Args:
        source: the files: one options file and one weight file; for models of words a vocabulary.
        tokenizer: what raw text is cut with: the files do not say.

    Raises:
        MissingPathError: if a file cannot be opened.
        ModelError: if one is missing, ambiguous, damaged, or does not fit the others.
    """
    options_name, weights_name, words_name = options_of(source), _weights_of(source), words_of(source)
    options, shown = read_object(source, options_name), source.shown(options_name)
    cache = CACHE if CACHE in source.names else None
    is_of_words = cache is not None or not reads_characters(options)
    words = None if words_name is None else read_words(source, words_name, is_complete=is_of_words)
    with ExitStack() as stack:
        weights = stack.enter_context(open_hdf5(source, weights_name))
        vectors = stack.enter_context(open_hdf5(source, cache)) if cache else weights
        if is_of_words and words is None:
            raise without_vocabulary(source)
        pair = _Pair(weights, vectors, words if is_of_words else None)
        config = config_from_options(
            options,
            shown,
            num_words=len(words.vocabulary) if is_of_words and words else None,
            has_projection="CNN_proj/W_proj" in pair.shapes,
        )
        bilm = blank_network(config)
        assert isinstance(bilm, BiLM)
        fill(bilm, lambda: arrays_of(bilm), pair, others=arrays_begin(bilm))
        clear_no_token(bilm)
    own = _read_own(options, shown)
    model = ModelConfig(
        FORMAT_VERSION, "elmo", tokenizer if own is None else own.tokenizer, "elmo", config, bool(own and own.documents)
    )
    return StoredModel(source.path, NAME, model, bilm, words.vocabulary if words else None, card=card_of(source))


@dataclass(frozen=True)
class _Own:
    """What we add to the options of a pair that we write; other readers do not look at it."""

    tokenizer: TokenizerConfig
    documents: bool


def _read_own(options: Mapping[str, Any], shown: str) -> _Own | None:
    return from_json(_Own, options[_OWN_KEY], where=f"{shown}: {_OWN_KEY}") if _OWN_KEY in options else None


class _Pair:
    """The arrays of the weight file; the vectors of words may come from a token cache."""

    def __init__(self, weights: Hdf5File, vectors: Hdf5File, words: Words | None) -> None:
        self._vectors, self._words = vectors, words
        self._places: dict[str, tuple[Hdf5File, str]] = {}
        for stored in weights.datasets:
            name = _ONE_LAYER[0].sub(_ONE_LAYER[1], stored)  # with one layer, both names are in use
            _, other = self._places.get(name, (None, None))
            if other is not None:
                raise ModelError(f"{weights.shown} holds both {other} and {stored}: which of the two is meant?")
            self._places[name] = (weights, stored)
        if "embedding" in vectors.datasets:
            self._places["embedding"] = (vectors, "embedding")
        self.shapes = {name: file.shape(stored) for name, (file, stored) in self._places.items()}
        self._weights = weights

    def told(self, name: str) -> tuple[str, str]:
        """See `ForeignFile`."""
        file, stored = self._places.get(name, (self._vectors if name == "embedding" else self._weights, name))
        return file.shown, stored

    def check(self, name: str) -> None:
        """See `ForeignFile`."""
        file, stored = self._places[name]
        file.check(stored)

    def read(self, name: str) -> Floats:
        """See `ForeignFile`."""
        file, stored = self._places[name]
        return file.array(stored)

    def rows(self, name: str) -> NDArray[np.int64] | None:
        """See `ForeignFile`."""
        return self._words.rows if name == "embedding" and self._words else None


# -- which file is which -------------------------------------------------------------------------


def is_options(name: str) -> bool:
    """Whether a file is named as an options file is."""
    return re.search(r"(^|[_.-])options[^/]*\.json$", name.lower()) is not None


def options_of(source: Source) -> str:
    """The options file of a source.

    Raises:
        ModelError: if there is not exactly one.
    """
    found = [name for name in source.names if is_options(name)]
    if not found:
        raise ModelError(f"{source.path} has no options.json, which says what the weights are of: put it there")
    if len(found) > 1:
        raise ModelError(
            f"{source.path} holds {', '.join(found)}, expected one options file: "
            "name it, as in load('options.json', weights='weights.hdf5')"
        )
    return found[0]


def _weights_of(source: Source) -> str:
    found = _weight_files(source)
    if len(found) != 1:
        raise ModelError(
            f"{source.path} holds {', '.join(found)}, expected one weight file: "
            "name it, as in load('options.json', weights='weights.hdf5')"
        )
    return found[0]


def _weight_files(source: Source) -> list[str]:
    """A token cache or vectors may lie beside a model: what has a recurrence is one, and what stands alone."""
    found = [name for name in source.names if name.lower().endswith((".hdf5", ".h5")) and name != CACHE]
    if len(found) == 1 and not any(name.endswith(".index") for name in source.names):
        return found  # its reader says what is wrong with it
    return [name for name in found if _may_be_model(source, name)]


def _may_be_model(source: Source, name: str) -> bool:
    try:
        return holds(source, name, "RNN_0")
    except ModelError:  # a damaged one; its reader says so
        return True


def words_of(source: Source) -> str | None:
    """The vocabulary file; None if there is none.

    Raises:
        ModelError: if there are several.
    """
    found = [name for name in source.names if re.fullmatch(r"vocab[^/]*\.txt", name.lower())]
    if len(found) > 1:
        raise ModelError(f"{source.path} holds {', '.join(found)}, expected one vocabulary: name it with vocabulary=")
    return found[0] if found else None


@dataclass(frozen=True)
class Words:
    """A vocabulary file."""

    vocabulary: Vocabulary
    rows: NDArray[np.int64]
    """(types,): the line of every type, counted from 0 over the lines that are words: its row in the weights."""


def read_words(source: Source, name: str, *, is_complete: bool = True) -> Words:
    """A vocabulary file of bilm-tf: one word a line, blanks around it do not count.

    Args:
        source: the files.
        name: of the vocabulary.
        is_complete: whether it must have the specials, as where its lines are rows of the weights.

    Raises:
        ModelError: if a special is not in it.
    """
    lines = read_text(source, name).removesuffix("\n").split("\n")
    words = [word for word in map(str.strip, lines) if word != _NO_WORD]
    if not is_complete:
        words = [*(special for special in SPECIALS if special not in words), *words]
    try:
        return Words(*Vocabulary.from_words(words))
    except ModelError as error:
        raise ModelError(f"{source.shown(name)}: {error}") from None


def without_vocabulary(source: Source) -> ModelError:
    """The error for a model that needs a list of words, and has none."""
    return ModelError(
        f"{source.path} is a model of words and has no vocabulary: "
        "expected a file vocab*.txt beside it, one word a line"
    )


def card_of(source: Source) -> str:
    """What the makers say of their model: ``meta.json`` of an NLPL repository, or a README."""
    if "meta.json" in source.names:
        return meta_card(read_object(source, "meta.json"))
    for name in ("README.md", "README.txt", "README"):
        if name in source.names:
            return read_text(source, name)
    return ""


def meta_card(meta: Mapping[str, Any]) -> str:
    """The facts of ``meta.json``, one a line."""
    lines = []
    for key, value in meta.items():
        if key == "corpus" and isinstance(value, list):
            for corpus in value:
                if isinstance(corpus, Mapping):
                    lines += [f"corpus {name}: {_plain(item)}" for name, item in corpus.items()]
        elif isinstance(value, Mapping):
            lines += [f"{key} {name}: {_plain(item)}" for name, item in value.items()]
        elif key != "contents":
            lines.append(f"{key}: {_plain(value)}")
    return "".join(f"{line}\n" for line in lines)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -- writing -------------------------------------------------------------------------------------


def write(folder: Path, model: StoredModel) -> None:
    """Write a model as a published pair, for code that reads those.

    The forget bias of 1 that the old readers add is taken off where our file holds it, which may cost the last bit of
    a bias. The softmax and the calibration are left out, as the pair has no place for them, and that is said. What raw
    text is cut with, and whether the state is carried through documents, stand in the options under ``lowtide``, which
    others pass over.

    Raises:
        ModelError: if the network is none that the pair can hold.
        WriteError: if the folder cannot be written.
    """
    bilm = model.bilm
    characters = bilm.config.char_cnn
    if not isinstance(bilm, BiLM) or (characters is not None and (model.letters or bilm.config.symbols)):
        raise ModelError(
            f"{model.path} ({model.format}) cannot be written as {NAME}, which holds a clipped LSTM over UTF-8 bytes "
            "or over words, and this model has other inputs or another encoder"
        )
    if characters is None and (bilm.config.symbols is None or bilm.config.symbols.embedding_width is not None):
        raise ModelError(
            f"{model.path} ({model.format}) cannot be written as {NAME}, which has no projection of word vectors"
        )
    types = [] if model.words is None else [_line_of(model.words, index) for index in range(len(model.words))]
    types += model.more_words
    listed = [type_ for type_ in types if _is_line(type_)]
    if characters is None and len(listed) < len(types):
        raise ModelError(f"{model.path}: {len(types) - len(listed)} of its words cannot be lines of a vocabulary file")
    with written_whole(folder / WEIGHTS) as beside, h5py.File(beside, "w") as file:
        for array in arrays_of(bilm):
            numbers = array.gather().numpy()
            if array.name.endswith("/B") and bilm.config.lstm.forget_bias != 1:
                cell = len(numbers) // 4
                numbers[2 * cell : 3 * cell] += np.float32(bilm.config.lstm.forget_bias - 1)
            file.create_dataset(array.name, data=numbers, track_times=False)
    if types:
        write_text(folder / WORDS, "".join(f"{type_}\n" for type_ in listed))
    if model.card:
        write_text(folder / "README.md", model.card)
    own = _Own(model.config.tokenizer, model.config.documents)
    write_json(folder / OPTIONS, {**options_from_config(bilm.config), _OWN_KEY: to_json(own)})
    if model.read_softmax is not None:
        log.info("left out    the softmax: %s has no place for it", NAME)
    if model.calibration is not None:
        log.info("left out    the calibration: %s has no place for it", NAME)


def _line_of(words: Vocabulary, index: int) -> str:
    """A word as a line; one that has the name of a mark and is none gets a name that no word has."""
    shown = words.shown(index)
    return f"{shown} {index}" if index >= len(SPECIALS) and shown in words.types[: len(SPECIALS)] else shown


def _is_line(type_: str) -> bool:
    return type_ not in ("", _NO_WORD) and type_.strip() == type_ and not re.search("[\n\ud800-\udfff]", type_)
