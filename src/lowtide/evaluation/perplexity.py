"""How well a model predicts files of text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.language_model import Perplexity, unigram_perplexity
from lowtide.embeddings.unread import Unread
from lowtide.errors import InputError
from lowtide.messages import say, translated
from lowtide.text.corpus import Corpus, Lines, as_documents
from lowtide.text.opening import warn_of_tables


@dataclass(frozen=True)
class PerplexityReport:
    """A model's perplexity on a text, beside that of the unigram model of its vocabulary."""

    perplexity: Perplexity
    unigram: float
    num_sentences: int
    vocabulary_size: int
    corpus: str
    """How the text was read."""

    def lines(self) -> list[str]:
        """For reading, in the language that was chosen."""
        measured = self.perplexity
        return [
            say(
                "text        {corpus}: {sentences:,} sentences, {tokens:,} tokens",
                corpus=translated(self.corpus),
                sentences=self.num_sentences,
                tokens=measured.num_tokens,
            ),
            say(
                "vocabulary  {types:,} types; {unknown:.2%} of the tokens are unknown to it",
                types=self.vocabulary_size,
                unknown=measured.unknown_rate,
            ),
            say(
                "perplexity  {forward:.1f} forward, {backward:.1f} backward, {mean:.1f} mean",
                forward=measured.forward,
                backward=measured.backward,
                mean=measured.mean,
            ),
            say("unigram     {unigram:.1f} (a model that knows only how often each type comes)", unigram=self.unigram),
        ]


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
    warn_of_tables(corpus)
    split = elmo.cutting(is_tokenized=is_tokenized).split
    documents = list(as_documents(corpus.sentences(), split, is_carried=elmo.stored.config.documents))
    corpus.log_repairs()
    unread = Unread(elmo.stored)
    for sentence in itertools.chain.from_iterable(documents):
        unread.add(sentence)
    unread.tell()
    if not documents:
        raise InputError(f"{corpus.name} holds no token: is it empty, or blank?")
    vocabulary = elmo.stored.vocabulary
    return PerplexityReport(
        elmo.language_model().perplexity_of(documents),
        unigram_perplexity(vocabulary, documents),
        sum(map(len, documents)),
        len(vocabulary),
        corpus.describe(),
    )
