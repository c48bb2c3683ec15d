"""Training checkpoints of bilm-tf: ``model.ckpt-N.index`` and its ``.data``, ``options.json`` and the vocabulary.

Beside the network they hold the softmax, which both directions share: with them, guesses and perplexity. Their names
are TensorFlow's; two rewrites make the published ones of them. What is left of the training (Adagrad's memory, the
step) is not read.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lowtide.errors import ModelError
from lowtide.model import BiLM, Softmax
from lowtide.text.tokenize import TokenizerConfig
from lowtide.weights.allennlp import Words, card_of, is_options, options_of, read_words, without_vocabulary, words_of
from lowtide.weights.arrays import check_finite, fill
from lowtide.weights.bilm_tf import arrays_begin, arrays_of, clear_no_token, config_from_options, reads_characters
from lowtide.weights.hdf5 import Floats, shape_text
from lowtide.weights.sources import Source, read_object, read_text
from lowtide.weights.stored import FORMAT_VERSION, ModelConfig, StoredModel, blank_network, blank_softmax
from lowtide.weights.tensor_bundle import Entry, read_index, read_tensor

NAME = "TensorFlow checkpoint"

_REWRITES = (
    (r"^lm/", ""),
    (r"^(RNN_[01])/rnn/lstm_cell/", r"\1/rnn/multi_rnn_cell/cell_0/lstm_cell/"),  # with one layer
    (r"/rnn/multi_rnn_cell/cell_(\d+)/lstm_cell/", r"/RNN/MultiRNNCell/Cell\1/LSTMCell/"),
    (r"/projection/kernel$", "/W_P_0"),
    (r"/LSTMCell/kernel$", "/LSTMCell/W_0"),
    (r"/LSTMCell/bias$", "/LSTMCell/B"),
)
"""From TensorFlow's names to those of the published files."""
_BACK = (
    (r"/RNN/MultiRNNCell/Cell(\d+)/LSTMCell/", r"/rnn/multi_rnn_cell/cell_\1/lstm_cell/"),
    (r"/W_P_0$", "/projection/kernel"),
    (r"/lstm_cell/W_0$", "/lstm_cell/kernel"),
    (r"/lstm_cell/B$", "/lstm_cell/bias"),
    (r"^", "lm/"),
)
"""And back, for what is not there."""
_SOFTMAX = ("softmax/W", "softmax/b")
_OPTIMISER = ("/Adagrad", "/Adagrad_1", "/Adam", "/Adam_1")


def found_in(source: Source) -> list[str]:
    """The files that make a source one of this format: an index with its data, or alone with options beside it.

    One that is packed cannot be read; it does not stand in the way of an hdf5 file beside it.
    """
    found = [name for name in source.names if name.endswith(".index")]
    if not any(name.endswith((".hdf5", ".h5")) for name in source.names) and any(map(is_options, source.names)):
        return found
    return [name for name in found if _has_data(source, name) and source.file(name) is not None]


def _has_data(source: Source, name: str) -> bool:
    return any(other.startswith(f"{name.removesuffix('.index')}.data-") for other in source.names)


def read(source: Source, tokenizer: TokenizerConfig) -> StoredModel:
    """Read a training checkpoint.

    Args:
        source: the files; of several checkpoints, the one that the file ``checkpoint`` names.
        tokenizer: what raw text is cut with: the files do not say.

    Raises:
        MissingPathError: if a file cannot be opened.
        ModelError: if one is missing, ambiguous, damaged, or does not fit the others.
    """
    index_name, options_name, words_name = _index_of(source), options_of(source), words_of(source)
    options = read_object(source, options_name)
    index = source.file(index_name)
    if index is None:
        raise ModelError(f"{source.shown(index_name)} is packed, and a checkpoint is not read so: unpack it")
    words = None if words_name is None else read_words(source, words_name)
    if words is None and not reads_characters(options):
        raise without_vocabulary(source)
    checkpoint = _Checkpoint(index, words)
    config = config_from_options(
        options,
        source.shown(options_name),
        num_words=len(words.vocabulary) if words and not reads_characters(options) else None,
        has_projection="CNN_proj/W_proj" in checkpoint.shapes,
    )
    bilm = blank_network(config)
    assert isinstance(bilm, BiLM)
    fill(bilm, lambda: arrays_of(bilm), checkpoint, others=arrays_begin(bilm))
    clear_no_token(bilm)
    weight = "embedding" if options.get("share_embedding_softmax") else _SOFTMAX[0]
    read_softmax: Callable[[], Softmax] | None = None
    if {weight, _SOFTMAX[1]} <= checkpoint.shapes.keys():
        read_softmax = functools.partial(_softmax, checkpoint, weight, words, config.lstm.state_width)
    model = ModelConfig(FORMAT_VERSION, "elmo", tokenizer, "elmo", config)
    vocabulary = words.vocabulary if words else None
    return StoredModel(source.path, NAME, model, bilm, vocabulary, read_softmax=read_softmax, card=card_of(source))


def _index_of(source: Source) -> str:
    found = found_in(source)
    if len(found) > 1 and "checkpoint" in source.names:
        newest = re.search(
            r'^model_checkpoint_path: "(?:[^"]*[/\\\\])?([^"/\\\\]+)"', read_text(source, "checkpoint"), re.M
        )
        if newest and f"{newest[1]}.index" in found:
            return f"{newest[1]}.index"
    if len(found) != 1:
        raise ModelError(f"{source.path} holds {', '.join(found)}, expected one checkpoint: name the one that you mean")
    return found[0]


class _Checkpoint:
    """The tensors of a checkpoint, under their published names; what only the training needs is left out."""

    def __init__(self, index: Path, words: Words | None) -> None:
        self._index, self._words = index, words
        self._entries: dict[str, tuple[str, Entry]] = {}
        for theirs, entry in read_index(index).items():
            if theirs.startswith("lm/") and not theirs.endswith(_OPTIMISER):
                name = _rewritten(theirs, _REWRITES)
                if name in self._entries:
                    raise ModelError(
                        f"{index} holds both {self._entries[name][0]} and {theirs}: which of the two is meant?"
                    )
                self._entries[name] = theirs, entry
        self.shapes = {name: entry.shape for name, (_, entry) in self._entries.items()}

    def told(self, name: str) -> tuple[str, str]:
        """See `ForeignFile`."""
        theirs = self._entries[name][0] if name in self._entries else _rewritten(name, _BACK)
        return str(self._index), theirs

    def check(self, name: str) -> None:
        """See `ForeignFile`."""
        theirs, entry = self._entries[name]
        if entry.dtype != np.float32:
            raise ModelError(f"{self._index}: {theirs} is {entry.type_name}, expected float32")
        read_tensor(self._index, entry)

    def read(self, name: str) -> Floats:
        """See `ForeignFile`."""
        numbers: Floats = read_tensor(self._index, self._entries[name][1])
        return numbers if numbers.flags.aligned else numbers.copy()  # a tensor may begin at any byte

    def rows(self, name: str) -> NDArray[np.int64] | None:
        """See `ForeignFile`."""
        return self._words.rows if self._words is not None and name in ("embedding", *_SOFTMAX) else None


def _rewritten(name: str, rewrites: Sequence[tuple[str, str]]) -> str:
    for pattern, rewrite in rewrites:
        name = re.sub(pattern, rewrite, name)
    return name


def _softmax(checkpoint: _Checkpoint, weight: str, words: Words | None, width: int) -> Softmax:
    if words is None:
        raise ModelError(
            f"{checkpoint.told(weight)[0]} has a softmax and no list of what it predicts: "
            "expected a file vocab*.txt beside it, one word a line"
        )
    softmax = blank_softmax(len(words.rows), width)
    for name, parameter in ((weight, softmax.weight), (_SOFTMAX[1], softmax.bias)):
        shown, theirs = checkpoint.told(name)
        if checkpoint.shapes[name] != parameter.shape:
            raise ModelError(
                f"{shown}: {theirs} is {shape_text(checkpoint.shapes[name])}, the vocabulary and the options say "
                f"{shape_text(tuple(parameter.shape))}: are they from the same model?"
            )
        checkpoint.check(name)
    softmax = softmax.to_empty(device="cpu")
    for name, parameter in ((weight, softmax.weight), (_SOFTMAX[1], softmax.bias)):
        numbers = checkpoint.read(name)
        check_finite(*checkpoint.told(name), numbers)
        parameter.detach().copy_(torch.from_numpy(numbers[words.rows]))
    return softmax
