"""The third rung: near in meaning, near in space; still one vector a type.

Mikolov et al. (2013), https://arxiv.org/abs/1310.4546. The training is gensim's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.type_vectors import TypeConfig, TypeEmbedding, check_numbers, read_type_config, type_config
from lowtide.errors import InputError, MissingPathError, ModelError, require
from lowtide.progress import progress
from lowtide.text.opening import CutOptions, OpenedText, open_texts
from lowtide.text.tokenize import make_tokenizer
from lowtide.text.vocabulary import SPECIALS, Vocabulary
from lowtide.weights.native import save_tensors

VECTORS = "vectors.safetensors"
_EXTRA = "word2vec"


class Word2Vec(TypeEmbedding):
    """One vector for every type of a text, from the words that stand around it; zeros for a type that is not known.

    ::

        word2vec = Word2Vec.train(["corpus.txt"])
        word2vec.embed("He sat on the bank.")                  # (6, 200)
        word2vec.keyed_vectors().most_similar("bank")          # gensim's own object

    Args:
        config: how text is cut.
        vocabulary: the types, with their counts.
        vectors: (types, width) float32, zeros for the specials.
    """

    kind = "word2vec"

    def __init__(self, config: TypeConfig, vocabulary: Vocabulary, vectors: Vectors) -> None:
        super().__init__(config, vocabulary)
        if vectors.ndim != 2 or len(vectors) != len(vocabulary):
            raise ModelError(f"found vectors {vectors.shape} for {len(vocabulary):,} types, expected one each")
        self.vectors = vectors

    @classmethod
    def train(
        cls,
        texts: Sequence[str | Path],
        *,
        options: CutOptions | None = None,
        width: int = 200,
        window: int = 5,
        negatives: int = 5,
        epochs: int = 5,
        min_count: int = 2,
        lowercase: bool = False,
        seed: int = 0,
        threads: int = 1,
    ) -> Word2Vec:
        """Train skip-gram vectors with negative sampling.

        Args:
            texts: files, globs, folders, ``-``.
            options: how they are to be read and cut.
            width: of a vector.
            window: how far neighbours are looked at on either side, at most.
            negatives: drawn for every neighbour.
            epochs: passes over the text. Two take less than half the time; of 31 M tokens five make better vectors, for
                names above all.
            min_count: rarer types get no vector.
            lowercase: whether upper and lower case are one.
            seed: decides the numbers, with one thread.
            threads: more are quicker, and then every training gives other numbers.

        Raises:
            InputError: if a file cannot be read, there is no token, no type stands often enough, or a number is out
                of range.
            MissingExtraError: if gensim is not installed.
        """
        check_numbers(
            seed=seed,
            width=width,
            window=window,
            negatives=negatives,
            epochs=epochs,
            min_count=min_count,
            threads=threads,
        )
        models = require("gensim.models", extra=_EXTRA)
        opened = open_texts(texts, options or CutOptions())
        with tempfile.TemporaryDirectory(prefix="lowtide-") as folder:
            lines = Path(folder) / "tokens.txt"
            num_sentences, num_tokens = _write_lines(opened, lines, lowercase=lowercase)
            if not num_tokens:
                raise InputError(f"{opened.corpus.name} holds no token: is it empty, or blank?")
            model = models.Word2Vec(
                vector_size=width,
                window=window,
                negative=negatives,
                min_count=min_count,
                sg=1,
                seed=seed,
                workers=threads,
            )
            model.build_vocab(corpus_file=str(lines))
            if not model.wv.key_to_index:
                raise InputError(f"no type of {opened.corpus.name} stands {min_count} times: give a lower min_count")
            with progress("word2vec", total=epochs, unit="passes") as bar:
                model.train(
                    corpus_file=str(lines),
                    total_examples=model.corpus_count,
                    total_words=model.corpus_total_words,
                    epochs=epochs,
                    callbacks=[_counting_passes(models, bar)],
                )
        numbers = {"width": width, "window": window, "negatives": negatives, "epochs": epochs, "seed": seed}
        record = {name: int(number) for name, number in numbers.items()}  # JSON has no numbers of NumPy
        config = type_config("word2vec", opened.tokenizer.config, lowercase=lowercase, training=record)
        counts = {type_: int(model.wv.get_vecattr(type_, "count")) for type_ in model.wv.key_to_index}
        return cls._of(config, counts, model.wv, num_sentences=num_sentences, num_tokens=num_tokens)

    @classmethod
    def from_keyed_vectors(
        cls, vectors: Any, *, tokenizer: str = "words", language: str = "en", lowercase: bool = False
    ) -> Word2Vec:
        """Take over vectors from gensim.

        Args:
            vectors: ``gensim.models.KeyedVectors``, or a model of gensim that has them as its ``wv``.
            tokenizer: what raw text is cut with: ``words``, ``characters`` or ``whitespace``.
            language: of raw text.
            lowercase: whether tokens are looked up in lower case.

        Raises:
            InputError: if they are no such vectors.
        """
        keyed = getattr(vectors, "wv", vectors)
        if not hasattr(keyed, "key_to_index"):
            found = type(vectors).__name__
            raise InputError(f"found {found}, expected gensim's KeyedVectors, or a model of gensim that has them")
        has_counts = "count" in keyed.expandos
        # where the counts are missing, the order still tells which types are the commoner ones; a vocabulary leaves out
        # what was never seen, and who has a vector is not to be left out
        counts = {
            type_: max(1, int(keyed.get_vecattr(type_, "count"))) if has_counts else len(keyed) - rank
            for type_, rank in keyed.key_to_index.items()
        }
        config = type_config("word2vec", make_tokenizer(tokenizer, language=language).config, lowercase=lowercase)
        return cls._of(config, counts, keyed, num_sentences=0, num_tokens=sum(counts.values()))

    @classmethod
    def _of(
        cls, config: TypeConfig, counts: dict[str, int], keyed: Any, *, num_sentences: int, num_tokens: int
    ) -> Word2Vec:
        vocabulary = Vocabulary.from_counts(counts, num_sentences=num_sentences, num_tokens=num_tokens)
        vectors = np.zeros((len(vocabulary), keyed.vector_size), dtype=np.float32)
        types = vocabulary.types[len(SPECIALS) :]
        vectors[len(SPECIALS) :] = keyed.vectors[[keyed.key_to_index[type_] for type_ in types]]
        return cls(config, vocabulary, vectors)

    @classmethod
    def open(cls, folder: Path) -> Word2Vec:
        """Open a folder; see `lowtide.load`."""
        config, vocabulary = read_type_config(folder, cls.kind)
        path = folder / VECTORS
        if not path.is_file():
            raise MissingPathError(f"{path} is not there: the model folder is incomplete")
        try:
            return cls(config, vocabulary, load_file(path)["vectors"])
        except (SafetensorError, KeyError, ModelError) as error:
            raise ModelError(f"{path} cannot be used ({error}): is it damaged?") from None

    def keyed_vectors(self) -> Any:
        """As ``gensim.models.KeyedVectors``, with counts.

        Raises:
            MissingExtraError: if gensim is not installed.
        """
        keyed = require("gensim.models", extra=_EXTRA).KeyedVectors(self.width)
        types = self.vocabulary.types[len(SPECIALS) :]
        keyed.add_vectors(types, self.vectors[len(SPECIALS) :])
        for type_, count in zip(types, self.vocabulary.counts[len(SPECIALS) :].tolist(), strict=True):
            keyed.set_vecattr(type_, "count", count)
        return keyed

    @property
    def width(self) -> int:
        """Of every vector."""
        return int(self.vectors.shape[1])

    def rows(self, indices: NDArray[np.int64]) -> Vectors:
        """(tokens,) to (tokens, width)."""
        return self.vectors[indices]

    def _digest(self) -> bytes:
        return self.vectors.tobytes()

    def _save_vectors(self, folder: Path) -> None:
        save_tensors(folder / VECTORS, {"vectors": torch.from_numpy(self.vectors)})


def _write_lines(opened: OpenedText, path: Path, *, lowercase: bool) -> tuple[int, int]:
    """Write sentences as gensim reads them, tokens parted by spaces; returns how many, and their tokens."""
    num_sentences = num_tokens = 0
    with (
        path.open("w", encoding="utf-8", newline="\n") as file,
        progress("reading", total=None, unit="sentences") as bar,
    ):
        for sentence in opened.sentences:
            tokens = opened.tokenizer.split(sentence.text)
            bar.advance(1)
            if tokens:
                line = " ".join(tokens)
                file.write(f"{line.lower() if lowercase else line}\n")
                num_sentences += 1
                num_tokens += len(tokens)
    return num_sentences, num_tokens


def _counting_passes(models: Any, bar: Any) -> Any:
    """A callback of gensim's that moves a progress bar."""

    class Passes(models.callbacks.CallbackAny2Vec):  # type: ignore[misc]  # a class of a library that is imported lazily
        def on_epoch_end(self, _model: Any) -> None:
            bar.advance(1)

    return Passes()
