"""A trained biLM as an embedding: a vector for every token, of every layer or of their mix."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch

from lowtide.config import to_json
from lowtide.embeddings.base import Vectors
from lowtide.embeddings.encoder import Encoder
from lowtide.embeddings.engine import embed_stream
from lowtide.embeddings.inputs import Texts, as_sentence, as_sentences, parse_marked
from lowtide.embeddings.language_model import LanguageModel
from lowtide.embeddings.layers import Reduction, choose_layers, pool
from lowtide.embeddings.outputs import open_output
from lowtide.embeddings.warm_state import WarmState, embed_warm
from lowtide.errors import ConfigError, InputError
from lowtide.model import LayerMix
from lowtide.progress import progress
from lowtide.text.batches import Document
from lowtide.text.corpus import Corpus, RawSentence, as_documents
from lowtide.text.tokenize import Sentence, Token, Tokenizer, make_tokenizer, open_tokenizer
from lowtide.weights.native import CONFIG, load_model
from lowtide.weights.stored import StoredModel


class Elmo:
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

    def __init__(self, stored: StoredModel, *, device: str = "auto") -> None:
        self._stored = stored
        self.device = pick_device(device)
        self._encoder = Encoder(stored.bilm.to(self.device), stored.spelling).eval()

    @classmethod
    def open(cls, folder: Path, *, device: str = "auto") -> Elmo:
        """Open a model folder; see `lowtide.load`."""
        return cls(load_model(folder), device=device)

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

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of all that decides a vector: the weights, the sizes, the tokenizer, the symbols.

        It is that of the numbers, not of the files: a model has the same one in every format.
        """
        config = self._stored.config
        decides: dict[str, Any] = {
            "trunk": config.trunk,
            "bilm": to_json(dataclasses.replace(config.bilm, dropout=0.0)),  # which is none but in training
            "tokenizer": to_json(config.tokenizer),
            "symbols": list(self._stored.spelling.symbols),
        }
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
        for name, tensor in sorted(self._stored.bilm.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            if name.endswith("char_embedding.weight") and not self._stored.letters:
                tensor = tensor[1:]  # "no token here" is asked for by no spelling
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What the model's own training text was cut with."""
        try:
            return open_tokenizer(self._stored.config.tokenizer)
        except InputError as error:
            raise ConfigError(f"{self._stored.path / CONFIG}: {error}") from None

    def splitter(self, *, is_tokenized: bool) -> Callable[[str], Sentence]:
        """What cuts a text: the model's tokenizer, or white space if the text is cut already."""
        language = self._stored.config.tokenizer.language
        return (make_tokenizer("whitespace", language=language) if is_tokenized else self.tokenizer).split

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
        """Whether the type is in the model's vocabulary: seen often enough in training; True where it has none."""
        return self._stored.words is None or type_ in self._stored.words

    @overload
    def tokenize(self, sentences: str) -> Sentence: ...
    @overload
    def tokenize(self, sentences: Texts) -> list[Sentence]: ...
    def tokenize(self, sentences: Texts | str) -> list[Sentence] | Sentence:
        """The tokens behind the rows of what `embed` returns for the same argument."""
        if isinstance(sentences, str):
            return as_sentence(sentences, self.tokenizer)
        return as_sentences(sentences, self.tokenizer)

    def tokenize_with_offsets(self, text: str) -> list[Token]:
        """The tokens of one text, with start and end in its characters."""
        return self.tokenizer.tokenize(text)

    @overload
    def embed(self, sentences: str, *, layers: str | int = "mix", mix: LayerMix | None = None) -> Vectors: ...
    @overload
    def embed(self, sentences: Texts, *, layers: str | int = "mix", mix: LayerMix | None = None) -> list[Vectors]: ...
    def embed(
        self, sentences: Texts | str, *, layers: str | int = "mix", mix: LayerMix | None = None
    ) -> list[Vectors] | Vectors:
        """One vector a token.

        Args:
            sentences: a list; each is a text (cut by the model's tokenizer, never split into
                several) or a list of tokens. One bare text is one sentence, and one array comes back.
            layers: ``mix`` (the mean of all layers, or ``mix`` if given), ``top``, ``average``,
                ``sum``, ``context`` (what stands around a token, without the token itself), or the number of a layer.
            mix: scalars learned with a task.

        Returns:
            A (tokens, width) float32 array a sentence, in order; (0, width) for an empty one.

        Raises:
            InputError: if something is neither a text nor tokens, or there is no such layer.
        """
        if layers == "all":
            raise InputError("layers='all' gives another shape: use embed_layers(sentences)")
        if isinstance(sentences, str):
            return next(self.embed_iter(sentences, layers=layers, mix=mix))
        return list(self.embed_iter(as_sentences(sentences, self.tokenizer), layers=layers, mix=mix))

    @overload
    def embed_layers(self, sentences: str) -> Vectors: ...
    @overload
    def embed_layers(self, sentences: Texts) -> list[Vectors]: ...
    def embed_layers(self, sentences: Texts | str) -> list[Vectors] | Vectors:
        """Every layer of every token: a (layers, tokens, width) array a sentence; see `embed`."""
        if isinstance(sentences, str):
            return next(self.embed_iter(sentences, layers="all"))
        return list(self.embed_iter(as_sentences(sentences, self.tokenizer), layers="all"))

    def embed_word(self, text: str | Sentence, *, layers: str | int = "mix", mix: LayerMix | None = None) -> Vectors:
        """The vector of the word in brackets, as in ``"He sat on the [bank] of the river."``.

        Returns:
            (width,), or (layers, width) for ``layers="all"``; of several tokens, their mean.

        Raises:
            InputError: if not exactly one stretch is marked.
        """
        marked = parse_marked(text, self.tokenizer)
        vectors = next(self.embed_iter([marked.tokens], layers=layers, mix=mix))
        mean: Vectors = vectors[..., marked.first : marked.last, :].mean(axis=-2)
        return mean

    def encode(
        self,
        sentences: Texts | str,
        *,
        pool: str = "mean",
        layers: str | int = "mix",
        mix: LayerMix | None = None,
    ) -> Vectors:
        """One vector a sentence: the mean or the maximum of its tokens' vectors.

        Returns:
            (sentences, width); (width,) for one bare text. Zeros for an empty sentence.
        """
        is_one = isinstance(sentences, str)
        texts: Texts = [sentences] if isinstance(sentences, str) else sentences
        pooled = [
            _pooled(vectors, pool)
            for vectors in self.embed_iter(as_sentences(texts, self.tokenizer), layers=layers, mix=mix)
        ]
        stacked = np.stack(pooled) if pooled else np.zeros((0, self.width), dtype=np.float32)
        return stacked[0] if is_one else stacked

    def embed_iter(
        self, sentences: Iterable[str | Sequence[str]], *, layers: str | int = "mix", mix: LayerMix | None = None
    ) -> Iterator[Vectors]:
        """As `embed`, for any number of sentences: one array at a time comes out.

        Args:
            sentences: consumed as needed; a window of some ten thousand tokens is held.
            layers: as in `embed`; ``all`` gives (layers, tokens, width).
            mix: as in `embed`.
        """
        texts = [sentences] if isinstance(sentences, str) else sentences
        return self._embed(([as_sentence(text, self.tokenizer)] for text in texts), layers, mix)

    def embed_documents(
        self, documents: Iterable[Texts], *, layers: str | int = "mix", mix: LayerMix | None = None
    ) -> list[list[Vectors]]:
        """As `embed`, of documents: the state is carried from sentence to sentence, forward and backward.

        For a model that was trained with ``documents=True``; `embed` takes every sentence as a document of
        its own.

        Args:
            documents: lists of sentences, each as in `embed`.
            layers: as in `embed`; ``all`` gives (layers, tokens, width).
            mix: as in `embed`.

        Returns:
            A list a document, with one array a sentence.
        """
        cut = [as_sentences(document, self.tokenizer) for document in documents]
        vectors = self._embed(cut, layers, mix)
        return [list(itertools.islice(vectors, len(document))) for document in cut]

    def _embed(self, documents: Iterable[Document], layers: str | int, mix: LayerMix | None) -> Iterator[Vectors]:
        return embed_stream(self._encoder, documents, self.reduction(layers, mix))

    def reduction(self, layers: str | int, mix: LayerMix | None = None) -> Reduction:
        """What to make of the layers of this model; see `embed`.

        Raises:
            InputError: if there is no such choice.
        """
        if layers == "context" and self._stored.config.trunk != "elmo":
            raise InputError("layers='context' wants two directions that never meet, and in this model they do")
        return choose_layers(layers, self.num_layers, mix)

    def embed_to(
        self,
        texts: str | Path | Sequence[str | Path],
        out: str | Path,
        *,
        layers: str | int = "mix",
        mix: LayerMix | None = None,
        pool: str | None = None,
        keys: Literal["line", "id"] = "line",
        encoding: str = "utf-8",
        is_tokenized: bool = False,
        stateful: int | None = None,
    ) -> int:
        """Write the vectors of files of text, of any size, in bounded memory.

        A model that was trained with ``documents=True`` carries its state through the lines of a document,
        from one blank line to the next; any other takes every line alone.

        Args:
            texts: files, globs, folders, ``-``. Every line is a sentence, numbered from 0, blank ones too; in
                FASTA every record is.
            out: ``.h5`` (the published layout) or ``.npz``; it appears when it is whole. The same
                text gives the same bytes.
            layers: as in `embed`; ``all`` keeps every layer.
            mix: as in `embed`.
            pool: ``mean`` or ``max``: one vector a sentence.
            keys: what sentences are called: by their number, or by the id of their FASTA record.
            encoding: of the files.
            is_tokenized: whether the tokens stand between spaces already.
            stateful: rows of a batch whose state is carried to the next one, as the published tools did: for old
                numbers only, see `lowtide.embeddings.warm_state`.

        Returns:
            How many sentences were written.

        Raises:
            InputError: if a file cannot be read, the ending of ``out`` names no format, or a key is not there or
                stands twice.
            WriteError: if ``out`` cannot be written.
        """
        inputs = [texts] if isinstance(texts, (str, Path)) else texts
        corpus = Corpus(inputs, encoding=encoding)
        split = self.splitter(is_tokenized=is_tokenized)
        residues = make_tokenizer("characters", language="en").split
        raw, named = itertools.tee(corpus.numbered())  # holds a window of them
        documents, shown = itertools.tee(
            as_documents(
                raw,
                lambda text: (residues if corpus.is_fasta else split)(text),
                is_carried=self._stored.config.documents,
                keeps_empty=True,
            )
        )
        sentences = itertools.chain.from_iterable(shown)
        if stateful is None:
            embedded = self._embed(documents, layers, mix)
        else:
            reduction = self.reduction(layers, mix)
            alone = itertools.chain.from_iterable(documents)
            embedded = embed_warm(self._encoder, alone, stateful, reduction, WarmState())
        count = num_truncated = 0
        with open_output(Path(out)) as writer, progress("embedding", total=None, unit="sentences") as bar:
            for origin, sentence, vectors in zip(named, sentences, embedded, strict=True):
                key = str(count) if keys == "line" else _id_of(origin)
                writer.write(key, sentence, vectors if pool is None else _pooled(vectors, pool))
                bar.advance(1)
                count += 1
                num_truncated += self._stored.num_truncated(sentence)
        corpus.log_repairs()
        self._stored.log_truncated(num_truncated)
        return count

    def __repr__(self) -> str:
        return f"Elmo({str(self._stored.path)!r}, num_layers={self.num_layers}, width={self.width})"


def _id_of(origin: RawSentence) -> str:
    if not origin.id:
        raise InputError(f"{origin.file}:{origin.line} has no id: FASTA headers with a word have one; use --keys line")
    return origin.id


def _pooled(vectors: Vectors, how: str) -> Vectors:
    pooled: Vectors = pool(torch.from_numpy(vectors), how).numpy()
    return pooled


def pick_device(name: str) -> torch.device:
    """``auto`` is a GPU if there is one.

    Raises:
        InputError: if there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the device {name!r} cannot be used here ({reason}): try cpu or auto") from None
    return device
