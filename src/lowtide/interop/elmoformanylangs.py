"""Old code for ELMoForManyLangs, with the old numbers: only the import changes.

::

    from lowtide.interop.elmoformanylangs import Embedder

    e = Embedder("/path/to/your/model/")
    e.sents2elmo([["今", "天", "天氣", "真", "好", "阿"], ["潮水", "退", "了"]])

Che et al. (2018), https://arxiv.org/abs/1807.03121. What is imitated is how version 0.0.4 of
https://github.com/HIT-SCIR/ELMoForManyLangs behaves when it runs: sentences are sorted by length and cut into batches,
and the batches run in an order that Python's ``random`` draws, each from the states in which the one before ended.
So the numbers of several batches are the old ones after the same ``random.seed``.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.encoder import measuring, sentence_places
from lowtide.embeddings.inputs import as_token_lists
from lowtide.embeddings.loading import read
from lowtide.embeddings.warm_state import WarmState
from lowtide.errors import InputError
from lowtide.text.batches import Batch, batch_of_documents
from lowtide.text.characters import LETTER_PAD, CharIds
from lowtide.text.tokenize import Sentence
from lowtide.weights.stored import StoredModel

log = logging.getLogger("lowtide")


class Embedder:
    """A model that gives sentences their vectors, and remembers.

    What: ``elmoformanylangs.Embedder``, with its numbers: they depend on what was embedded before. When: code or
    numbers from then are to be kept. What to do instead in new code: `lowtide.load`, whose vectors depend on the
    sentence alone.

    With the encoder ``lstm`` (no published model has it) nothing is remembered, but a short sentence is read together
    with the padding behind it, so its vectors depend on the longest one of its batch. ``stateful=False`` turns either
    off: then vectors are those of `lowtide.load`, and no random number is drawn.

    Where the original fails, this does not: no sentences give no arrays, an empty sentence an array of no tokens (of
    the encoder ``lstm``, whose mean is one over tokens: zeros), and after ``stateful = False`` batches may grow.

    Args:
        model_dir: the model folder or its zip; also the name of a published model, which is then fetched. See
            `lowtide.load`.
        batch_size: sentences that run together; may be changed later.
        stateful: whether the state is warm, as it was; may be changed later.
        device: see `lowtide.load`.

    Attributes:
        config: sizes, under the names of the architecture file.
        word_lexicon: the words and their rows in the network; None for a model that has none. The rows are not the
            numbers of ``word.dic``.
        char_lexicon: the characters and their numbers in ``char.dic``; None for a model that has none.
        model: only ``model.encoder``, with ``stateful`` and ``reset_states()``.

    Raises:
        MissingPathError: if there is no such model.
        ModelError: if its files are damaged, or lowtide cannot run it.
    """

    def __init__(
        self, model_dir: str | Path, batch_size: int = 64, *, stateful: bool = True, device: str = "auto"
    ) -> None:
        stored = read(model_dir)
        self.model_dir = model_dir
        self.batch_size = batch_size
        self.elmo = Elmo(stored, device=device)
        self.use_cuda = self.elmo.device.type == "cuda"
        self.config = _architecture(stored)
        self.char_lexicon = None if stored.letters is None else _numbered(stored.letters)
        self.word_lexicon = None if stored.words is None else _numbered(stored.words.types)
        self._rows = _Rows(stateful)
        self.model = SimpleNamespace(encoder=self._rows)
        self._is_plain = stored.config.trunk == "joint_lstm"
        self._is_told = False

    @property
    def stateful(self) -> bool:
        """Whether vectors depend on what was embedded before and beside them, as in the original."""
        return self._rows.stateful

    @stateful.setter
    def stateful(self, stateful: bool) -> None:
        self._rows.stateful = stateful

    def sents2elmo(self, sents: Iterable[Iterable[str]], output_layer: int = -1) -> list[Vectors]:
        """Embed sentences.

        Args:
            sents: each a list of tokens; a text is taken for a list of its characters, as in the original.
            output_layer: -1 for the mean of all layers, -2 for all, else the number of one.

        Returns:
            In the order of ``sents``, float32: (tokens, width), or (layers, tokens, width) for -2. The encoder
            ``lstm`` has one layer, (tokens, width), and here as there -2 gives that, -1 the mean of its tokens
            (width,), and another number the vector of that token.

        Raises:
            InputError: if something is no sentence, or there is no such layer, or the batch size is below 1.
        """
        sentences = as_token_lists(sents)
        self._check(sentences, output_layer)
        if self.stateful:
            self._tell()
            embedded = self._embed_warm(sentences)
        else:
            embedded = list(self.elmo.embed_iter(sentences, layers="top" if self._is_plain else "all"))
        return [_chosen(vectors, output_layer) for vectors in embedded]

    def _check(self, sentences: Sequence[Sentence], output_layer: int) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size!r}, expected a whole number from 1 on")
        if not isinstance(output_layer, (int, np.integer)):
            raise InputError(f"output_layer is {output_layer!r}, expected a whole number")
        if output_layer in (-1, -2):
            return
        num_layers = self.elmo.num_layers
        if not self._is_plain and not -num_layers <= output_layer < num_layers:
            raise InputError(f"there is no layer {output_layer}: the model has layers 0 to {num_layers - 1}")
        for number, sentence in enumerate(sentences):
            if self._is_plain and not -len(sentence) <= output_layer < len(sentence):
                raise InputError(
                    f"sentence {number} has {len(sentence)} tokens, and output_layer={output_layer} asks this encoder, "
                    "which has one layer, for one more: expected -1 for their mean or -2 for all"
                )

    def _tell(self) -> None:
        if self._is_told:
            return
        self._is_told = True
        if self._is_plain:
            log.warning(
                "batches     as in ELMoForManyLangs: this encoder reads the padding behind a short sentence, so its "
                "vectors depend on the sentences beside it; stateful=False turns this off"
            )
        else:
            log.warning(
                "state       warm, as in ELMoForManyLangs: vectors depend on what was embedded before them; "
                "stateful=False turns this off"
            )

    def _embed_warm(self, sentences: Sequence[Sentence]) -> list[Vectors]:
        """The layers of every sentence, run in the batches and in the order of the original."""
        longest_first = sorted(range(len(sentences)), key=lambda number: -len(sentences[number]))
        size = self.batch_size
        batches = [longest_first[first : first + size] for first in range(0, len(longest_first), size)]
        random.shuffle(batches)  # not ours to seed: it is that of the caller, as it was
        embedded: dict[int, Vectors] = {}
        for numbers in batches:
            embedded |= zip(numbers, self._run([sentences[number] for number in numbers]), strict=True)
        return [embedded[number] for number in range(len(sentences))]

    def _run(self, sentences: Sequence[Sentence]) -> list[Vectors]:
        """One batch, its r-th sentence from the state that the last batch left in row r."""
        encoder = self.elmo.encoder()
        documents = [[sentence] for sentence in sentences]
        batch, _ = batch_of_documents(documents, encoder.spelling)
        if self._is_plain:
            batch = _padded(batch, _spelled_padding(self.elmo.stored))
        with measuring(encoder):
            states = self._rows.run(encoder.bilm, batch)
            layers = (states.layers[-1] if self._is_plain else states.layers).float().cpu().numpy()
        # copies, so that one short sentence does not keep its whole batch alive
        return [
            layers[..., row, place, :].copy()
            for row, document in enumerate(documents)
            for place in sentence_places(document)
        ]

    def __repr__(self) -> str:
        return f"Embedder({str(self.model_dir)!r}, batch_size={self.batch_size}, stateful={self.stateful})"


class _Rows(WarmState):
    """The state of all rows, where old code reaches it: ``embedder.model.encoder``."""

    def __init__(self, stateful: bool) -> None:
        super().__init__()
        self.stateful = stateful

    def reset_states(self) -> None:
        """Forget everything: all rows begin at zero."""
        self.reset()


def _chosen(vectors: Vectors, output_layer: int) -> Vectors:
    if output_layer == -2:
        return vectors
    if output_layer == -1:
        mean: Vectors = vectors.sum(axis=0) / max(1, len(vectors))
        return mean
    one: Vectors = vectors[output_layer]
    return one


# -- padding that is read ------------------------------------------------------------------------


def _padded(batch: Batch, padding: CharIds) -> Batch:
    """The same rows, all as long as the longest, with something that is read where there was nothing."""
    num_steps = batch.type_index.shape[1]
    is_beyond = np.arange(num_steps) >= batch.lengths[:, None]
    return dataclasses.replace(
        batch,
        type_char_ids=np.concatenate([batch.type_char_ids, padding]),
        type_index=np.where(is_beyond, len(batch.type_char_ids), batch.type_index),
        lengths=np.full_like(batch.lengths, num_steps),
    )


def _spelled_padding(stored: StoredModel) -> CharIds:
    """(1, chars): the word ``<pad>``, all characters padding, which is no spelling of that word."""
    spelled = stored.spelling.char_ids([""])
    spelled[:] = spelled[:, -1:]
    if stored.config.bilm.symbols is not None:
        spelled[:, 0] = stored.vocabulary.index(LETTER_PAD)
    return spelled


# -- what old code looks up ----------------------------------------------------------------------


def _architecture(stored: StoredModel) -> dict[str, Any]:
    sizes = stored.config.bilm
    encoder = {
        "name": "lstm" if stored.config.trunk == "joint_lstm" else "elmo",
        "projection_dim": sizes.lstm.width,
        "cell_clip": sizes.lstm.cell_clip,
        "proj_clip": sizes.lstm.projection_clip,
        "dim": sizes.lstm.cell_width,
        "n_layers": sizes.lstm.num_layers,
    }
    tokens: dict[str, Any] = {"name": "cnn", "word_dim": 0, "char_dim": 0}
    if sizes.symbols is not None:
        tokens["word_dim"] = sizes.symbols.embedding_width
    if sizes.char_cnn is not None:
        tokens |= {
            "char_dim": sizes.char_cnn.embedding_width,
            "filters": [list(pair) for pair in sizes.char_cnn.filters],
            "n_highway": sizes.char_cnn.num_highways,
            "activation": sizes.char_cnn.activation,
            "max_characters_per_token": sizes.char_cnn.max_characters,
        }
    return {"encoder": encoder, "token_embedder": tokens}


def _numbered(symbols: Sequence[str]) -> dict[str, int]:
    return {symbol: number for number, symbol in enumerate(symbols)}
