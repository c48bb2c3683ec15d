"""From the names of files to their sentences and the tokenizer that cuts them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowtide.errors import InputError
from lowtide.text.corpus import Corpus, Lines, RawSentence
from lowtide.text.file_kinds import file_kind
from lowtide.text.tokenize import Tokenizer, TokenizerName, detect_language, is_cut_by_spaces, make_tokenizer

_LANGUAGE_SAMPLE = 2000
CUT_SAMPLE = 50
"""Sentences that are looked at for spaces between words."""


@dataclass(frozen=True)
class CutOptions:
    """How raw text is to be read and cut."""

    language: str = "auto"
    tokenizer: TokenizerName | None = None
    """None: words; of FASTA, characters, which are its residues."""
    lines: Lines = "auto"
    encoding: str = "utf-8"


@dataclass(frozen=True)
class OpenedText:
    """Text that can be read once, from its beginning."""

    corpus: Corpus
    tokenizer: Tokenizer
    sentences: Iterator[RawSentence]


def open_texts(texts: Sequence[str | Path], options: CutOptions) -> OpenedText:
    """Open files of text; the first lines decide what is left open. A name that says a table is warned of.

    Args:
        texts: files, globs, folders, ``-``.
        options: how they are to be read.

    Raises:
        InputError: if a file cannot be read, or the tokenizer does not go with it.
    """
    corpus = Corpus(texts, encoding=options.encoding, lines=options.lines)
    warn_of_tables(corpus)
    sentences = corpus.sentences()
    sample = list(itertools.islice(sentences, _LANGUAGE_SAMPLE))
    tokenizer = _choose_tokenizer(options, sample, is_fasta=corpus.is_fasta)
    warn_of_spaces(tokenizer, [sentence.text for sentence in sample])
    return OpenedText(corpus, tokenizer, itertools.chain(sample, sentences))


def warn_of_tables(corpus: Corpus) -> None:
    """Warn of files whose names say that they hold columns."""
    for file in corpus.files:
        if file_kind(Path(file)) != "text":
            warnings.warn(
                f"{file}: its name says a table, and every line is read as a sentence, whatever its columns hold: "
                "`lowtide text` writes the sentences as text, one a line",
                stacklevel=3,
            )


def warn_of_spaces(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Warn of Chinese that somebody has cut into words, where a tokenizer cuts it anew."""
    texts = [text for text in texts[:CUT_SAMPLE] if text.strip()]
    is_anew = tokenizer.config.name == "words" and tokenizer.config.language == "zh"
    if is_anew and 2 * sum(map(is_cut_by_spaces, texts)) > len(texts):
        warnings.warn(
            "spaces stand between Chinese words, and the text is cut anew all the same: to keep the words train with "
            "--tokenizer whitespace, and embed with --tokenized",
            stacklevel=3,
        )


def _choose_tokenizer(options: CutOptions, sample: Sequence[RawSentence], *, is_fasta: bool) -> Tokenizer:
    name, language = options.tokenizer, options.language
    if is_fasta:
        if name not in (None, "characters"):
            raise InputError(f"FASTA is cut into residues, not by {name!r}: leave the tokenizer open")
        name, language = "characters", "und" if language == "auto" else language  # undetermined, ISO 639
    if language == "auto":
        language = detect_language(sentence.text for sentence in sample)
    return make_tokenizer(name or "words", language=language)
