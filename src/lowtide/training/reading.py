"""The text of a training: cut, counted and spelled on disk, with its vocabulary and its held-out part."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lowtide.config import departures, from_json, to_json
from lowtide.embeddings.base import Vectors
from lowtide.embeddings.loading import load_any
from lowtide.embeddings.sampling import STRETCH
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.errors import InputError, ModelError
from lowtide.files import read_json, write_json
from lowtide.model import CharCNNConfig
from lowtide.progress import progress
from lowtide.text.batches import Document
from lowtide.text.corpus import Corpus, RawSentence, as_documents
from lowtide.text.opening import CutOptions, open_texts
from lowtide.text.shards import CorpusCounts, PreparedCorpus, prepare
from lowtide.text.tokenize import Tokenizer
from lowtide.text.vocabulary import Vocabulary
from lowtide.training.continuing import Start, StartConfig, open_start, words_beyond, write_start
from lowtide.training.presets import MAX_SYMBOLS, MAX_VOCABULARY, default_min_count
from lowtide.weights.native import MORE_WORDS, NAME, VOCABULARY, read_more_words, write_list
from lowtide.weights.stored import StoredModel, spelling_for

log = logging.getLogger("lowtide")

Inputs = Literal["auto", "characters", "words"]
HELD_OUT_SHARE = 0.01
MAX_WEIGHT = 1000.0
MAX_VALID_TOKENS = 10_000
"""Of the held-out text, what is looked at during training; at the end all of it is."""
_MAX_HELD_OUT_TOKENS = 100_000
"""Held in memory, whatever the size of the corpus."""
_VECTORS, _START = "vectors.npy", "start.safetensors"
_GOLDEN_RATIO = 0.6180339887498949
"""The fractions of its multiples fill the interval from 0 to 1 evenly, and have no period."""


@dataclass(frozen=True)
class TextOptions(CutOptions):
    """How the text is to be read, and what of it is to be predicted."""

    min_count: int | None = None
    """The rarest type that the softmax predicts; None: 2, or 3 in large corpora."""
    valid: Path | None = None
    """Held-out text; None: one document in a hundred, by hash."""
    documents: bool = False
    """Whether the state is to be carried from sentence to sentence within a document."""
    inputs: Inputs = "auto"
    """What token vectors are made of: of the characters of a type, or looked up, one for every word of the vocabulary;
    ``auto``: looked up in an alphabet of at most 1,000 types, of characters elsewhere."""
    vectors: Path | None = None
    """A word2vec model whose vectors token vectors begin as, where they are looked up; None: they begin at random."""
    weights: tuple[float, ...] = ()
    """How often each of the texts is read in one pass: 2 is twice, 0.2 a fifth of it; none: once each."""
    max_types: int | None = None
    """How many types the model knows by name, at most: the commonest ones."""
    lowercase: float = 0.0
    """The share of the sentences that are read in lower case, so that the model knows text without capitals, too."""
    from_model: Path | None = None
    """That the training begins with; None: it begins at random."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: if one is out of range.
        """
        if self.inputs not in get_args(Inputs):
            raise InputError(f"unknown inputs {self.inputs!r}, expected {', '.join(get_args(Inputs))}")
        if self.vectors is not None and self.inputs != "words":
            raise InputError("token vectors that begin as word vectors are looked up: give inputs='words' as well")
        if self.from_model is not None and (self.inputs != "auto" or self.vectors is not None):
            raise InputError(f"what token vectors are made of is {self.from_model}'s: leave inputs and vectors open")
        if not 0 <= self.lowercase <= 1:
            raise InputError(f"the share in lower case is {self.lowercase}, expected 0 to 1")
        if any(not 0 < weight <= MAX_WEIGHT for weight in self.weights):
            raise InputError(f"found weights {self.weights}, expected more than 0, at most {MAX_WEIGHT}")


@dataclass(frozen=True)
class _Notes:
    """What is known of a text and stands in none of its other files."""

    description: str
    min_count: int
    is_alphabet: bool
    """Whether vectors are looked up: of the types of a small alphabet, or of words."""
    documents: bool
    has_words: bool = False
    weights: tuple[float, ...] = ()
    start: StartConfig | None = None
    folds_case: bool = False
    said: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingText:
    """A text that is ready to be trained on."""

    prepared: PreparedCorpus
    vocabulary: Vocabulary
    more_words: Sequence[str]
    """Words that have a vector and are not predicted: those of the model that the training begins with."""
    min_count: int
    description: str
    """``3 files, one sentence a line``: no names, no text."""
    held_out: list[Document]
    """Of one sentence each, unless the state is carried through documents."""
    documents: bool
    """Whether the state is carried through documents."""
    num_truncated: int
    """Types that are longer than their row of characters."""
    weights: tuple[float, ...]
    """How often each part of the text is read in a pass; none: once each."""
    vectors: Vectors | None
    """(types, width): as which token vectors begin; zeros for types that have none."""
    num_symbols: int | None
    """Rows of the table of token vectors, those of more words among them; None: vectors are made of characters."""
    has_words: bool
    """Whether vectors are looked up because words were asked for, and not because the alphabet is small."""
    folds_case: bool
    """Whether a word without a vector takes that of another writing of it."""
    said: dict[str, str]
    """What the user has said about it, by the names of the arguments of `lowtide.pretrain`; no paths."""
    start: Start | None
    """What is taken over from the model that the training begins with."""

    @property
    def counts(self) -> CorpusCounts:
        """Of the whole text."""
        return self.prepared.counts

    @cached_property
    def num_train_tokens(self) -> int:
        """Of one pass, in which a part may be read several times, or only some of it."""
        tokens = self.prepared.tokens_of_parts()
        weights = self.weights[: len(tokens)] or [1.0] * len(tokens)
        return max(1, round(float(tokens @ np.array(weights))))

    @property
    def valid(self) -> list[Document]:
        """The part of the held-out text that is looked at during training."""
        return _spread(self.held_out, MAX_VALID_TOKENS)

    def sample(self, num_tokens: int) -> list[Document]:
        """Documents from all over the text that is trained on, of about so many tokens; the same ones each time.

        A corpus is ordered by its subjects, so its beginning tells little of the rest. From each of equal parts one
        sentence is taken, or one stretch of a document, each time at another place of its part: no period that the
        text may have is met.
        """
        length = STRETCH if self.documents else 1
        num_stretches = -(-self.counts.num_sentences // length)
        num_parts = math.ceil(num_stretches * min(1.0, num_tokens / max(1, self.counts.num_tokens)))
        parts = np.arange(num_parts)
        places = (parts + parts * _GOLDEN_RATIO % 1) * num_stretches / num_parts
        starts = np.unique(places.astype(np.int64)) * length
        numbers = (starts[:, None] + np.arange(length)).reshape(-1)
        numbers = numbers[(numbers < self.counts.num_sentences) & ~np.isin(numbers, self.prepared.held_out)]
        documents = _read_documents(self.prepared, numbers, is_carried=self.documents)
        return [document[at : at + STRETCH] for document in documents for at in range(0, len(document), STRETCH)]


def read_text(texts: Sequence[str | Path], options: TextOptions, folder: Path) -> TrainingText:
    """Cut a corpus into tokens, on disk, and choose its vocabulary.

    Args:
        texts: files, globs, folders, ``-``.
        options: how they are to be read.
        folder: for what is derived from the text.

    Raises:
        InputError: if a file cannot be read, or there is no token.
    """
    if options.weights and len(options.weights) != len(texts):
        raise InputError(f"found {len(options.weights)} weights for {len(texts)} texts, expected one each")
    start = None if options.from_model is None else open_start(options.from_model)
    if start is not None:
        options = _as_trained(options, start)
    opened = open_texts(texts, options)
    corpus, tokenizer = opened.corpus, opened.tokenizer
    # what is small first, so that a mistake there is found before the large text is read
    valid = None if options.valid is None else _cut(options.valid, options, tokenizer)
    vectors = None if options.vectors is None else _open_vectors(options.vectors)
    share = HELD_OUT_SHARE if valid is None else 0.0
    sentences = _watched(_partly_lower_case(opened.sentences, options.lowercase))
    counts, occurrences = prepare(
        sentences, tokenizer, folder, held_out_share=share, name=corpus.name, part_of=corpus.part_of
    )
    num_train_tokens = counts.num_tokens - counts.num_held_out_tokens
    min_count = options.min_count or default_min_count(num_train_tokens)
    vocabulary = Vocabulary.from_counts(
        occurrences,
        num_sentences=counts.num_sentences - counts.num_held_out,
        num_tokens=num_train_tokens,
        min_count=min_count,
        max_types=min(MAX_VOCABULARY, options.max_types or MAX_VOCABULARY),
    )
    if valid is not None:
        write_json(folder / "held_out.json", valid)
    vocabulary.save(folder / VOCABULARY)
    if vectors is not None:
        _write_vectors(vectors, vocabulary, folder / _VECTORS)
    is_looked_up = len(occurrences) <= MAX_SYMBOLS if options.inputs == "auto" else options.inputs == "words"
    taken_over = None
    if start is not None:
        more_words = words_beyond(start, vocabulary)
        if more_words:
            write_list(folder / MORE_WORDS, more_words)
            log.info("kept        %s words that %s knows and the text has not", f"{len(more_words):,}", start.path)
        taken_over = write_start(start, vocabulary, folder / _START, more_words)
        is_looked_up = taken_over.bilm.symbols is not None
    has_words = options.inputs == "words"
    notes = _Notes(
        description=corpus.describe(),
        min_count=min_count,
        is_alphabet=is_looked_up,
        documents=options.documents,
        has_words=has_words,
        weights=options.weights,
        start=taken_over,
        folds_case=has_words if start is None else start.config.folds_case,
        said=_said(options),
    )
    write_json(folder / "notes.json", to_json(notes))
    log.info(
        "read        %s: %s sentences, %s tokens (%s, %s)",
        notes.description,
        f"{counts.num_sentences:,}",
        f"{counts.num_tokens:,}",
        counts.tokenizer.name,
        counts.tokenizer.language,
    )
    corpus.log_repairs()
    return open_text(folder)


def open_text(folder: Path, *, is_spelled: bool = False) -> TrainingText:
    """Open a text that `read_text` has laid down, and spell its types, unless another process has just done that."""
    prepared = PreparedCorpus(folder)
    notes = from_json(_Notes, read_json(folder / "notes.json"), where=str(folder / "notes.json"))
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    more_words = read_more_words(folder)
    num_symbols = len(vocabulary) + len(more_words) if notes.is_alphabet else None
    if notes.start is not None and notes.start.bilm.symbols is not None:
        expected = notes.start.bilm.symbols.num_symbols
        if num_symbols != expected:
            raise ModelError(
                f"{folder} holds {num_symbols} words, expected {expected}: is {MORE_WORDS} as it was? Begin anew in "
                "another folder"
            )
    characters = None if notes.is_alphabet else CharCNNConfig()
    if notes.start is not None:
        characters = notes.start.bilm.char_cnn
    spelling = spelling_for(vocabulary, characters, more=more_words, folds_case=notes.folds_case)
    num_truncated = 0 if is_spelled else prepared.spell(spelling, vocabulary)
    if (folder / "held_out.json").is_file():
        held_out = read_json(folder / "held_out.json")
    else:
        held_out = _held_out(prepared, is_carried=notes.documents)
    return TrainingText(
        prepared=prepared,
        vocabulary=vocabulary,
        more_words=more_words,
        min_count=notes.min_count,
        description=notes.description,
        held_out=held_out,
        documents=notes.documents,
        num_truncated=num_truncated,
        weights=notes.weights,
        vectors=np.load(folder / _VECTORS) if (folder / _VECTORS).is_file() else None,
        num_symbols=num_symbols,
        has_words=notes.has_words,
        folds_case=notes.folds_case,
        said=notes.said,
        start=None if notes.start is None else Start(notes.start, folder / _START),
    )


def _said(options: TextOptions) -> dict[str, str]:
    told = {name: value for name, value in departures(options).items() if name not in ("valid", "from_model")}
    named = {name: value.name if isinstance(value, Path) else value for name, value in told.items()}
    return {name: ", ".join(map(str, v)) if isinstance(v, tuple) else str(v) for name, v in named.items()}


def _as_trained(options: TextOptions, start: StoredModel) -> TextOptions:
    """Text is cut as the model's own text was, and its state carried or not; a published model's was cut before."""
    known = start.config.tokenizer
    name, language = options.tokenizer, options.language
    if start.format == NAME:
        if name not in (None, known.name) or language not in ("auto", known.language):
            raise InputError(
                f"{start.path} reads text that is cut as {known.name}, language {known.language}: leave both open"
            )
        name, language = known.name, known.language
    documents = options.documents or start.config.documents
    return dataclasses.replace(options, tokenizer=name, language=language, documents=documents)


def _open_vectors(model: Path) -> Word2Vec:
    found = load_any(model)
    if not isinstance(found, Word2Vec):
        raise InputError(f"{model} is no word2vec model: expected what `Word2Vec.save` has written")
    return found


def _write_vectors(found: Word2Vec, vocabulary: Vocabulary, target: Path) -> None:
    """Lay down the vectors of the types of a vocabulary."""
    vectors = found.rows(found.indices(vocabulary.types))
    log.info("vectors     %s of %s types have one", f"{int(vectors.any(axis=1).sum()):,}", f"{len(vocabulary):,}")
    np.save(target, vectors)


def _watched(sentences: Iterator[RawSentence]) -> Iterator[RawSentence]:
    with progress("reading", total=None, unit="sentences") as bar:
        for sentence in sentences:
            bar.advance(1)
            yield sentence


def _partly_lower_case(sentences: Iterator[RawSentence], share: float) -> Iterator[RawSentence]:
    """Sentences, some of them in lower case: which ones, their text alone decides."""
    for sentence in sentences:
        digest = hashlib.blake2b(sentence.text.encode("utf-8", "replace"), digest_size=8, person=b"case").digest()
        is_lowered = int.from_bytes(digest) < share * 2**64
        yield sentence._replace(text=sentence.text.lower()) if is_lowered else sentence


def _cut(valid: Path, options: TextOptions, tokenizer: Tokenizer) -> Sequence[Document]:
    corpus = Corpus([valid], encoding=options.encoding, lines=options.lines)
    documents = list(as_documents(corpus.sentences(), tokenizer.split, is_carried=options.documents))
    if not documents:
        raise InputError(f"the held-out text {valid} holds no token")
    return documents


def _held_out(prepared: PreparedCorpus, *, is_carried: bool) -> list[Document]:
    """What training never sees, or a spread of it."""
    every = max(1, -(-prepared.counts.num_held_out_tokens // _MAX_HELD_OUT_TOKENS))
    return _read_documents(prepared, prepared.held_out, is_carried=is_carried, every=every)


def _read_documents(
    prepared: PreparedCorpus, numbers: NDArray[np.integer], *, is_carried: bool, every: int = 1
) -> list[Document]:
    """Sentences with rising numbers, those of a document together if the state is carried; every so manieth of them."""
    stretches = prepared.document_stretches(numbers) if is_carried else list(numbers[:, None])
    chosen = [stretch.tolist() for stretch in stretches[::every]]
    sentences = iter(prepared.read_sentences(itertools.chain.from_iterable(chosen)))
    return [list(itertools.islice(sentences, len(stretch))) for stretch in chosen]


def _spread(documents: Sequence[Document], max_tokens: int) -> list[Document]:
    """Every so manieth document, so that there are at most about so many tokens."""
    total = sum(len(sentence) for document in documents for sentence in document)
    return list(documents[:: max(1, -(-total // max_tokens))])
