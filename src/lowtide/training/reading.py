"""The text of a training is cut, counted and spelled on disk, and its vocabulary chosen."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from lowtide.config import departures, to_json
from lowtide.embeddings.loading import open_word2vec
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.errors import InputError
from lowtide.files import write_json
from lowtide.progress import progress
from lowtide.text.batches import Document
from lowtide.text.corpus import Corpus, RawSentence, as_documents
from lowtide.text.opening import CutOptions, open_texts
from lowtide.text.shards import prepare
from lowtide.text.tokenize import Tokenizer
from lowtide.text.vocabulary import SPECIALS, UNKNOWN, Vocabulary
from lowtide.training.continuing import open_start, words_beyond, write_start
from lowtide.training.presets import MAX_SYMBOLS, MAX_VOCABULARY, default_min_count
from lowtide.training.training_text import HELD_OUT, NOTES, START, VECTORS, Notes, TrainingText, open_text
from lowtide.weights.catalogue import name_of
from lowtide.weights.native import MORE_WORDS, NAME, VOCABULARY, write_list
from lowtide.weights.stored import StoredModel

log = logging.getLogger("lowtide")

Inputs = Literal["auto", "characters", "words"]
HELD_OUT_SHARE = 0.01
MAX_WEIGHT = 1000.0


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
        for name in ("min_count", "max_types"):
            found = getattr(self, name)
            if found is not None and found < 1:
                raise InputError(f"{name} is {found}, expected at least 1")
        if any(not 0 < weight <= MAX_WEIGHT for weight in self.weights):
            raise InputError(f"found weights {self.weights}, expected more than 0, at most {MAX_WEIGHT}")


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
    said = _said(options)
    start = None if options.from_model is None else open_start(options.from_model)
    if start is not None:
        options = _as_trained(options, start)
    opened = open_texts(texts, options)
    corpus, tokenizer = opened.corpus, opened.tokenizer
    if options.weights:
        _refuse_unread(texts, corpus)
    # what is small first, so that a mistake there is found before the large text is read
    valid = None if options.valid is None else _cut(options.valid, options, tokenizer)
    vectors = None if options.vectors is None else open_word2vec(options.vectors)
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
        write_json(folder / HELD_OUT, valid)
    vocabulary.save(folder / VOCABULARY)
    if vectors is not None:
        _write_vectors(vectors, vocabulary, folder / VECTORS)
    is_looked_up = len(occurrences) <= MAX_SYMBOLS if options.inputs == "auto" else options.inputs == "words"
    taken_over = None
    if start is not None:
        more_words = words_beyond(start, vocabulary)
        if more_words:
            write_list(folder / MORE_WORDS, more_words)
            known = name_of(start.path)
            log.info("kept        %s words that %s knows and the text has not", f"{len(more_words):,}", known)
        taken_over = write_start(start, vocabulary, folder / START, more_words)
        is_looked_up = taken_over.bilm.symbols is not None
    has_words = options.inputs == "words"
    notes = Notes(
        description=corpus.describe(),
        min_count=min_count,
        is_looked_up=is_looked_up,
        documents=options.documents,
        has_words=has_words,
        weights=options.weights,
        start=taken_over,
        folds_case=has_words if start is None else start.config.folds_case,
        said=said,
    )
    write_json(folder / NOTES, to_json(notes))
    log.info(
        "read        %s: %s sentences, %s tokens (%s, %s)",
        notes.description,
        f"{counts.num_sentences:,}",
        f"{counts.num_tokens:,}",
        counts.tokenizer.name,
        counts.tokenizer.language,
    )
    if is_looked_up and options.inputs == "auto" and start is None and counts.tokenizer.name == "words":
        log.info(
            "inputs      looked up: few words, %s, each with a vector of its own; any other is %s (--inputs characters "
            "spells it)",
            f"{len(vocabulary) - len(SPECIALS):,}",
            UNKNOWN,
        )
    corpus.log_repairs()
    return open_text(folder)


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


def _refuse_unread(texts: Sequence[str | Path], corpus: Corpus) -> None:
    """Refuse a text all of which stands in those before it: a file is read once, and has one weight.

    Raises:
        InputError: with its name.
    """
    read = {corpus.part_of(file) for file in corpus.files}
    for number, text in enumerate(texts):
        if number not in read:
            raise InputError(f"{text} stands in the texts before it, so that its weight does nothing: name it once")


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
