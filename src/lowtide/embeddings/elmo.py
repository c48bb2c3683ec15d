"""A trained biLM as an embedding: a vector for every token, of every layer or of their mix."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.calibrating import calibrate, how_to_calibrate, stored_calibration
from lowtide.embeddings.calibration import NUM_REMOVED, Calibration
from lowtide.embeddings.device import pick_device
from lowtide.embeddings.encoder import Encoder
from lowtide.embeddings.engine import Engine
from lowtide.embeddings.inputs import CutsText, Texts, as_sentence, as_sentences, parse_marked
from lowtide.embeddings.language_model import LanguageModel
from lowtide.embeddings.layers import CONTEXT, SURROUNDINGS, Reduction, calibrated_first, choose_layers, pool, width_of
from lowtide.embeddings.surroundings import JoinSurroundings
from lowtide.embeddings.writing import WritingOptions, write_vectors
from lowtide.errors import ConfigError, InputError, ModelError
from lowtide.model import BiLM, LayerMix
from lowtide.model.products import Dtype
from lowtide.text.batches import Document
from lowtide.text.tokenize import Sentence, Token, Tokenizer, make_tokenizer, open_tokenizer
from lowtide.weights.native import CONFIG, load_model
from lowtide.weights.stored import StoredModel


class Elmo(CutsText):
    """Embeddings from a language model (Peters et al. 2018).

    What: a network that has read text in both directions, and gives every *token* a vector that
    depends on its sentence. When: you want the meaning a word has in its place, or features for a
    tagger or a classifier. How to get one: `lowtide.load` or `lowtide.pretrain`. What to do::

        elmo = lowtide.load("my-model")
        elmo.embed("The tide goes out.")                # (5, width) float32
        elmo.embed(["The tide goes out.", ["臣", "退了"]])  # a list of two such arrays
        elmo.embed_layers("The tide goes out.")         # (layers, 5, width)
        elmo.embed_word("He sat on the [bank].")        # (width,)
        elmo.encode(["One text.", "Another."])          # (2, width)

    The same sentence gives the same vectors alone, in any company and in any order.
    """

    def __init__(self, stored: StoredModel, *, device: str = "auto", dtype: Dtype = "float32") -> None:
        self._stored = stored
        self.device = pick_device(device)
        self._encoder = Encoder(stored.bilm.to(self.device), stored.spelling).eval()
        self._engine = Engine(self._encoder, dtype=dtype)
        self._calibration: Calibration | None = None

    @classmethod
    def open(cls, folder: Path, *, device: str = "auto", dtype: Dtype = "float32") -> Elmo:
        """Open a model folder; see `lowtide.load`."""
        return cls(load_model(folder), device=device, dtype=dtype)

    @property
    def num_layers(self) -> int:
        """Layer 0, before any context, counts."""
        return self._stored.bilm.num_layers

    @property
    def width(self) -> int:
        """Of every vector: both directions."""
        return self._stored.bilm.width

    @property
    def stored(self) -> StoredModel:
        """The folder, config, vocabulary and network behind this embedding."""
        return self._stored

    @property
    def engine(self) -> Engine:
        """What embeds; its ``settings`` name the kernel that multiplies."""
        return self._engine

    @property
    def checksum(self) -> str:
        """SHA-256 of all that decides a layer: `StoredModel.checksum`."""
        return self._stored.checksum

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What the model's own training text was cut with."""
        try:
            return open_tokenizer(self._stored.config.tokenizer)
        except InputError as error:
            raise ConfigError(f"{self._stored.path / CONFIG}: {error}") from None

    def cutting(self, *, is_tokenized: bool) -> Tokenizer:
        """What cuts a text: the model's tokenizer, or white space if the text is cut already."""
        language = self._stored.config.tokenizer.language
        return make_tokenizer("whitespace", language=language) if is_tokenized else self.tokenizer

    def encoder(self) -> Encoder:
        """The network as a module that takes sentences and carries gradients."""
        return self._encoder

    def language_model(self) -> LanguageModel:
        """The network with its softmax: guesses and perplexity.

        Raises:
            ModelError: if the model has no softmax.
        """
        softmax = self._stored.load_softmax().to(self.device)
        return LanguageModel(self._encoder, softmax, self._stored.vocabulary, self.tokenizer)

    def knows(self, type_: str) -> bool:
        """Whether the type was seen often enough in training, or has a vector of its own; True where no list tells."""
        return self._stored.knows(type_)

    def tokenize_with_offsets(self, text: str) -> list[Token]:
        """The tokens of one text, with start and end in its characters."""
        return self.tokenizer.tokenize(text)

    @overload
    def embed(
        self, sentences: str, *, layers: str | int = "mix", mix: LayerMix | None = None, calibrated: bool = False
    ) -> Vectors: ...
    @overload
    def embed(
        self, sentences: Texts, *, layers: str | int = "mix", mix: LayerMix | None = None, calibrated: bool = False
    ) -> list[Vectors]: ...
    def embed(
        self,
        sentences: Texts | str,
        *,
        layers: str | int = "mix",
        mix: LayerMix | None = None,
        calibrated: bool = False,
    ) -> list[Vectors] | Vectors:
        """One vector a token.

        Args:
            sentences: a list; each is a text (cut by the model's tokenizer, never split into
                several) or a list of tokens. One bare text is one sentence, and one array comes back.
            layers: ``mix`` (the mean of all layers, or ``mix`` if given), ``top``, ``average``,
                ``sum``, ``context`` (what stands around a token, without the token itself: the states beside it),
                ``surroundings`` (``context``, and beside it the mean of the other words of the sentence, rare ones
                weighing more: 3/2 as wide, and best at telling senses, calibrated), or the number of a layer.
            mix: scalars learned with a task.
            calibrated: whether every layer is calibrated before anything is made of it, so that cosines say more:
                see `calibrate`.

        Returns:
            A (tokens, width) float32 array a sentence, in order; (0, width) for an empty one.

        Raises:
            InputError: if something is neither a text nor tokens, or there is no such layer.
            ModelError: if the model has no calibration and one is asked for.
        """
        if layers == "all":
            raise InputError("layers='all' gives another shape: use embed_layers(sentences)")
        if isinstance(sentences, str):
            return next(self.embed_iter(sentences, layers=layers, mix=mix, calibrated=calibrated))
        cut = as_sentences(sentences, self.tokenizer)
        return list(self.embed_iter(cut, layers=layers, mix=mix, calibrated=calibrated))

    @overload
    def embed_layers(self, sentences: str, *, calibrated: bool = False) -> Vectors: ...
    @overload
    def embed_layers(self, sentences: Texts, *, calibrated: bool = False) -> list[Vectors]: ...
    def embed_layers(self, sentences: Texts | str, *, calibrated: bool = False) -> list[Vectors] | Vectors:
        """Every layer of every token: a (layers, tokens, width) array a sentence; see `embed`."""
        if isinstance(sentences, str):
            return next(self.embed_iter(sentences, layers="all", calibrated=calibrated))
        return list(self.embed_iter(as_sentences(sentences, self.tokenizer), layers="all", calibrated=calibrated))

    def embed_word(
        self,
        text: str | Sentence,
        *,
        layers: str | int = "mix",
        mix: LayerMix | None = None,
        calibrated: bool = False,
    ) -> Vectors:
        """The vector of the word in brackets, as in ``"He sat on the [bank] of the river."``.

        Returns:
            (width,), or (layers, width) for ``layers="all"``; of several tokens, their mean.

        Raises:
            InputError: if not exactly one stretch is marked.
        """
        marked = parse_marked(text, self.tokenizer)
        vectors = next(self.embed_iter([marked.tokens], layers=layers, mix=mix, calibrated=calibrated))
        mean: Vectors = vectors[..., marked.first : marked.last, :].mean(axis=-2)
        return mean

    def encode(
        self,
        sentences: Texts | str,
        *,
        pool: str = "mean",
        layers: str | int = "mix",
        mix: LayerMix | None = None,
        calibrated: bool = False,
    ) -> Vectors:
        """One vector a sentence: the mean or the maximum of its tokens' vectors.

        Returns:
            (sentences, width); (width,) for one bare text. Zeros for an empty sentence.
        """
        is_one = isinstance(sentences, str)
        texts: Texts = [sentences] if isinstance(sentences, str) else sentences
        cut = as_sentences(texts, self.tokenizer)
        embedded = self.embed_iter(cut, layers=layers, mix=mix, calibrated=calibrated)
        pooled = [_pooled(vectors, pool) for vectors in embedded]
        stacked = np.stack(pooled) if pooled else np.zeros((0, self.width_of(layers)), dtype=np.float32)
        return stacked[0] if is_one else stacked

    def embed_iter(
        self,
        sentences: Iterable[str | Sequence[str]],
        *,
        layers: str | int = "mix",
        mix: LayerMix | None = None,
        calibrated: bool = False,
    ) -> Iterator[Vectors]:
        """As `embed`, for any number of sentences: one array at a time comes out.

        Args:
            sentences: consumed as needed; a window of some ten thousand tokens is held.
            layers: as in `embed`; ``all`` gives (layers, tokens, width).
            mix: as in `embed`.
            calibrated: as in `embed`.
        """
        texts = [sentences] if isinstance(sentences, str) else sentences
        return self.embed_stream(([as_sentence(text, self.tokenizer)] for text in texts), layers, mix, calibrated)

    def embed_documents(
        self,
        documents: Iterable[Texts],
        *,
        layers: str | int = "mix",
        mix: LayerMix | None = None,
        calibrated: bool = False,
    ) -> list[list[Vectors]]:
        """As `embed`, of documents: the state is carried from sentence to sentence, forward and backward.

        For a model that was trained with ``documents=True``; `embed` takes every sentence as a document of
        its own.

        Args:
            documents: lists of sentences, each as in `embed`.
            layers: as in `embed`; ``all`` gives (layers, tokens, width).
            mix: as in `embed`.
            calibrated: as in `embed`.

        Returns:
            A list a document, with one array a sentence.
        """
        cut = [as_sentences(document, self.tokenizer) for document in documents]
        vectors = self.embed_stream(cut, layers, mix, calibrated)
        return [list(itertools.islice(vectors, len(document))) for document in cut]

    def embed_stream(
        self, documents: Iterable[Document], layers: str | int, mix: LayerMix | None, calibrated: bool = False
    ) -> Iterator[Vectors]:
        """As `embed_documents`, of any number of documents that are cut already: the arrays of all their sentences."""
        return self._engine.embed(documents, self.reduction(layers, mix, calibrated=calibrated))

    def reduction(self, layers: str | int, mix: LayerMix | None = None, *, calibrated: bool = False) -> Reduction:
        """What to make of the layers of this model; see `embed`.

        Raises:
            InputError: if there is no such choice.
            ModelError: if the model has no calibration and one is asked for.
        """
        if layers in (CONTEXT, SURROUNDINGS) and not self.has_context:
            raise InputError(f"layers={layers!r} wants two directions that never meet, and in this model they do")
        reduction = choose_layers(layers, self.num_layers, mix)
        if layers == SURROUNDINGS:
            reduction = dataclasses.replace(
                reduction, of_sentence=JoinSurroundings(self._stored.vocabulary, self.width)
            )
        if not calibrated:
            return reduction
        if self.calibration is None:
            raise ModelError(f"{self._stored.path} has no calibration: {how_to_calibrate(self._stored)}")
        return calibrated_first(layers, reduction, self.calibration)

    @property
    def has_context(self) -> bool:
        """Whether there is a ``context``: two directions that never meet."""
        return isinstance(self._stored.bilm, BiLM)

    @property
    def has_surroundings(self) -> bool:
        """Whether there are ``surroundings``: two directions that never meet, and a vocabulary with its counts."""
        return self.has_context and self._stored.words is not None

    def width_of(self, layers: str | int) -> int:
        """The width of what is made of the layers: that of a layer, but for ``surroundings``."""
        return width_of(layers, self.width)

    @property
    def calibration(self) -> Calibration | None:
        """What calibrates the vectors of this model, if it was fitted: see `calibrate`.

        Raises:
            ModelError: if it is damaged, or was fitted to another model.
        """
        if self._calibration is None and self._stored.calibration is not None:
            self._calibration = stored_calibration(self._stored)
        return self._calibration

    def calibrate(
        self,
        texts: str | Path | Iterable[Any],
        *,
        keys: Literal["line", "id"] = "line",
        encoding: str = "utf-8",
        is_tokenized: bool = False,
        num_removed: int = NUM_REMOVED,
    ) -> Calibration:
        """Fit a calibration to a text, and store it with the model for ``calibrated=True``.

        Args:
            texts: as in `embed_to`. Of a long one sentences from all over it are taken, of a million tokens at most.
            keys: as in `embed_to`.
            encoding: of the files.
            is_tokenized: whether the tokens stand between spaces already.
            num_removed: principal components that are taken off as well, see `lowtide.embeddings.calibration`.

        Raises:
            InputError: if a file cannot be read, or there are fewer than 100 tokens.
            ModelError: if the model lies in no folder of ours, or is one that ships.
            WriteError: if the folder cannot be written.
        """
        self._calibration = calibrate(
            self, texts, keys=keys, encoding=encoding, is_tokenized=is_tokenized, num_removed=num_removed
        )
        return self._calibration

    def embed_to(
        self,
        texts: str | Path | Iterable[Any],
        out: str | Path,
        *,
        layers: str | int = "mix",
        mix: LayerMix | None = None,
        calibrated: bool = False,
        pool: str | None = None,
        keys: Literal["line", "id"] = "line",
        encoding: str = "utf-8",
        is_tokenized: bool = False,
        store: Literal["float32", "float16"] | None = None,
        resume: bool = False,
        shard: str | None = None,
        max_memory: str | None = None,
        stateful: int | None = None,
    ) -> int | None:
        """Write the vectors of a text of any size into a file, in bounded memory.

        A text that is longer than what is embedded together (some ten thousand tokens) becomes blocks in ``OUT.parts``,
        and a block that is there is not computed again: what was stopped goes on with ``resume=True``. At the end
        the blocks are put together. The same text gives the same bytes, whether it was written at once, in several
        runs, or by several processes.

        A model that was trained with ``documents=True`` carries its state through the lines of a document,
        from one blank line to the next; any other takes every line alone.

        Args:
            texts: a file, a glob, a folder or ``-``, or a list of `Path`: every line is a sentence, numbered from 0,
                blank ones too; in FASTA every record is. Or any other iterable, of texts and lists of tokens.
            out: ``.h5`` (the published layout), ``.npz``, ``.parquet``, ``.safetensors``, or ``.mmap`` (a folder); it
                appears when it is whole.
            layers: as in `embed`; ``all`` keeps every layer.
            mix: as in `embed`.
            calibrated: as in `embed`.
            pool: ``mean`` or ``max``: one vector a sentence, zeros for an empty one.
            keys: what sentences are called: by their number; or by an id, which is that of the FASTA record, or stands
                before a tab in every line, or is the first of a pair in an iterable.
            encoding: of the files.
            is_tokenized: whether the tokens stand between spaces already.
            store: the type of the numbers; ``float32``, or ``float16`` in ``.mmap``, unless it is said.
            resume: go on with the blocks that are there.
            shard: ``2/4``: compute the second of every four blocks, and leave the others to other processes, on
                this machine or another. Whoever finds all blocks there puts them together. A shard always goes on.
            max_memory: the most that this process may hold, such as ``4GB``.
            stateful: rows of a batch whose state is carried to the next one, as the published tools did: for old
                numbers only, see `lowtide.embeddings.warm_state`.

        Returns:
            How many sentences were written; None if other shards have blocks to compute still.

        Raises:
            InputError: if a text cannot be read, the ending of ``out`` names no format, a key is not there or
                stands twice, or what is to be gone on with was begun with something else.
            WriteError: if ``out`` cannot be written, or the disk has no room for it.
        """
        options = WritingOptions(
            layers=layers,
            mix=mix,
            calibrated=calibrated,
            pool=pool,
            keys=keys,
            encoding=encoding,
            is_tokenized=is_tokenized,
            store=store,
            resume=resume,
            shard=shard,
            max_memory=max_memory,
            stateful=stateful,
        )
        return write_vectors(self, texts, Path(out), options)

    def __repr__(self) -> str:
        return f"Elmo({str(self._stored.path)!r}, num_layers={self.num_layers}, width={self.width})"


def _pooled(vectors: Vectors, how: str) -> Vectors:
    pooled: Vectors = pool(torch.from_numpy(vectors), how).numpy()
    return pooled
