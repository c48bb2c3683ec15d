"""The story of the demo: what a model that was just trained has learnt, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.inputs import MarkedSentence
from lowtide.embeddings.language_model import PositionGuesses
from lowtide.evaluation import demo_text
from lowtide.evaluation.comparison import Comparison, Separation, compare, marked_vectors, separate
from lowtide.evaluation.two_uses import TaggedUses, TwoUses, english_uses, find_two_uses
from lowtide.text.corpus import Corpus
from lowtide.text.tokenize import Sentence
from lowtide.training.log import TrainingLog, read_log

Language = Literal["en", "zh"]

OWN_SENTENCES: dict[Language, list[Sentence]] = {
    "en": [
        "He sat on the [bank] of the river and watched the water .".split(),
        "The boat lay on the north [bank] of the lake .".split(),
        "She put all her money in the [bank] .".split(),
        "The [bank] gave him a loan for the house .".split(),
    ],
    "zh": [["潮水", "[退了]"], ["高烧", "[退了]"], ["臣", "[退了]"]],
}
WALKS: dict[Language, Sentence] = {
    "en": "When the tide goes out you see what was under the water .".split(),
    "zh": ["潮水", "退了", "就", "知道", "谁", "没穿", "裤子"],
}
_TAGS = {
    "n": "noun",
    "v": "verb",
    "vn": "verbal noun",
    "p": "preposition",
    "a": "adjective",
    "d": "adverb",
    "c": "conjunction",
    "q": "classifier",
    "f": "place word",
    "u": "particle",
}
_NUM_GRAMMAR = 100
"""So many of the commonest English types are grammar themselves, and no example of two uses."""
_NUM_WORDS = 3
_NUM_SHOWN = 4
"""Sentences of each use in a matrix."""
_NUM_MEASURED = 20
"""Sentences of each use behind the numbers and in the map."""


@dataclass(frozen=True)
class WordStory:
    """A word that the text uses in two ways, and what the model makes of it."""

    uses: TwoUses
    shown: Comparison
    """Of some sentences of each use."""
    separations: dict[str, Separation]
    """By layer, over more sentences."""
    points: NDArray[np.float64]
    """(tokens, 2): the top layer on a plane, first one use and then the other."""


@dataclass(frozen=True)
class LanguageStory:
    """What was trained in one language, and what came of it."""

    language: Language
    model: Path
    num_sentences: int
    num_tokens: int
    """Of the text."""
    vocabulary_size: int
    log: TrainingLog
    walk: list[PositionGuesses]
    own: Comparison
    own_counts: list[int]
    """How often training saw the marked type of each of the story's sentences."""
    words: list[WordStory]


def your_turn(stories: Sequence[LanguageStory]) -> list[str]:
    """Three commands to paste."""
    story = stories[0]
    walk = " ".join(WALKS[story.language])
    own = [" ".join(sentence) for sentence in OWN_SENTENCES[story.language][1:3]]
    return [
        "lowtide pretrain your-text.txt --out my-model --time 20m",
        f"lowtide guess {story.model.as_posix()} --tokenized '{walk}'",
        f"lowtide compare {story.model.as_posix()} --tokenized '{own[0]}' '{own[1]}'",
    ]


def look(elmo: Elmo, text: Path, language: Language) -> LanguageStory:
    """See what a model has learnt from a text.

    Args:
        elmo: just trained.
        text: the file it was trained on, a paragraph a line.
        language: of the text.
    """
    model = elmo.stored.path
    sentences = [elmo.tokenizer.split(raw.text) for raw in Corpus([text], lines="paragraph").sentences()]
    vocabulary = elmo.stored.vocabulary
    own = compare(elmo, OWN_SENTENCES[language])
    return LanguageStory(
        language=language,
        model=model,
        num_sentences=len(sentences),
        num_tokens=sum(map(len, sentences)),
        vocabulary_size=len(vocabulary),
        log=read_log(model),
        walk=elmo.language_model().guesses([WALKS[language]], top=3)[0],
        own=own,
        own_counts=[
            int(vocabulary.counts[vocabulary.index(marked.word)]) if marked.word in vocabulary else 0
            for marked in own.sentences
        ],
        words=[_word_story(elmo, uses) for uses in _find_words(elmo, sentences, language)],
    )


def _find_words(elmo: Elmo, sentences: Sequence[Sentence], language: Language) -> list[TwoUses]:
    if language == "en":
        return find_two_uses(
            sentences,
            english_uses,
            num_words=_NUM_WORDS,
            num_examples=_NUM_MEASURED,
            skip_commonest=_NUM_GRAMMAR,
        )
    tagged = TaggedUses(demo_text.tagged_chinese(), elmo.tokenizer, _TAGS)
    return find_two_uses(tagged.sentences, tagged, num_words=_NUM_WORDS, num_examples=_NUM_MEASURED)


def _word_story(elmo: Elmo, uses: TwoUses) -> WordStory:
    first, second = uses.examples
    marked = [*first, *second]
    labels = [0] * len(first) + [1] * len(second)
    vectors = marked_vectors(elmo, marked)  # (tokens, layers, width)
    by_layer = {f"layer {layer}": vectors[:, layer] for layer in range(vectors.shape[1])}
    by_layer["mix"] = vectors.mean(axis=1)
    shown = compare(elmo, [_bracketed(m) for m in (*_spread(first), *_spread(second))])
    return WordStory(
        uses=uses,
        shown=shown,
        separations={name: separate(layer, labels) for name, layer in by_layer.items()},
        points=principal_plane(vectors[:, -1]),
    )


def _spread(marked: Sequence[MarkedSentence]) -> list[MarkedSentence]:
    """Some of the shorter sentences: they are read more easily."""
    return sorted(marked, key=lambda sentence: len(sentence.tokens))[:_NUM_SHOWN]


def _bracketed(marked: MarkedSentence) -> Sentence:
    tokens = list(marked.tokens)
    tokens[marked.first] = f"[{tokens[marked.first]}]"
    return tokens


def principal_plane(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """(tokens, width) to (tokens, 2): the plane on which they differ most (principal components)."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    plane: NDArray[np.float64] = left[:, :2] * values[:2]
    return plane
