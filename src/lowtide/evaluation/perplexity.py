"""How well a model predicts files of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.language_model import Perplexity, unigram_perplexity
from lowtide.errors import InputError
from lowtide.text.corpus import Corpus, Lines


@dataclass(frozen=True)
class PerplexityReport:
    """A model's perplexity on a text, beside that of the unigram model of its vocabulary."""

    perplexity: Perplexity
    unigram: float
    num_sentences: int
    vocabulary_size: int
    corpus: str
    """How the text was read."""


def measure_perplexity(
    elmo: Elmo,
    texts: Sequence[str | Path],
    *,
    lines: Lines = "auto",
    encoding: str = "utf-8",
    is_tokenized: bool = False,
) -> PerplexityReport:
    """Measure a model on files of text, cut as its training text was.

    Args:
        elmo: a model with a softmax.
        texts: files, globs, folders, ``-``.
        lines: what a line is.
        encoding: of the files.
        is_tokenized: whether the tokens stand between spaces already.

    Raises:
        InputError: if there is no token.
    """
    corpus = Corpus(texts, encoding=encoding, lines=lines)
    split = elmo.splitter(is_tokenized=is_tokenized)
    sentences = [tokens for raw in corpus.sentences() if (tokens := split(raw.text))]
    if not sentences:
        raise InputError("the text holds no token: is it empty, or blank?")
    vocabulary = elmo.stored.vocabulary
    return PerplexityReport(
        elmo.language_model().perplexity_of(sentences),
        unigram_perplexity(vocabulary, sentences),
        len(sentences),
        len(vocabulary),
        corpus.describe(),
    )
