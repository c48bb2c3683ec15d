"""Words that a text really uses in two ways, found by counting."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lowtide.embeddings.inputs import MarkedSentence
from lowtide.text.tokenize import Sentence, Tokenizer

_BEFORE_NOUN = frozenset("the a an this his her its their our my".split())
_BEFORE_VERB = frozenset("to will would can could may might must should".split())
_LONGEST, _SHORTEST = 40, 5


@dataclass(frozen=True)
class TwoUses:
    """A word, and places of both its uses."""

    word: str
    names: tuple[str, str]
    counts: tuple[int, int]
    """How often the text has each use, as far as the signs tell."""
    examples: tuple[list[MarkedSentence], list[MarkedSentence]]
    """Some of these, spread over the text."""


def english_uses(sentence: Sentence) -> Iterator[tuple[int, str]]:
    """Places where the word before says noun (the, a, his ...) or verb (to, will, can ...)."""
    for place in range(1, len(sentence)):
        before = sentence[place - 1].lower()
        if before in _BEFORE_NOUN:
            yield place, "noun"
        elif before in _BEFORE_VERB:
            yield place, "verb"


def find_two_uses(
    sentences: Iterable[Sentence],
    uses_in: Callable[[Sentence], Iterable[tuple[int, str]]],
    *,
    num_words: int,
    num_examples: int,
    skip_commonest: int = 0,
) -> list[TwoUses]:
    """The words whose rarer use is commonest.

    Args:
        sentences: a text; it is held in memory.
        uses_in: tells places of a sentence and the use they are of.
        num_words: how many to find; words with the same two uses as an earlier one come last.
        num_examples: of each use.
        skip_commonest: leave out so many of the commonest types, which are grammar themselves.
    """
    sentences = list(sentences)
    skipped = {t for t, _ in Counter(t for s in sentences for t in s).most_common(skip_commonest)}
    kept = [s for s in sentences if _SHORTEST <= len(s) <= _LONGEST]
    places: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for number, sentence in enumerate(kept):
        for place, use in uses_in(sentence):
            if _is_word(sentence[place]) and sentence[place] not in skipped:
                places[sentence[place]][use].append((number, place))
    candidates = []
    for word, uses in places.items():
        ranked = sorted(uses.items(), key=lambda item: (-len(item[1]), item[0]))[:2]
        if len(ranked) == 2 and len(ranked[1][1]) >= num_examples:
            candidates.append((len(ranked[1][1]), word, ranked))
    candidates.sort(key=lambda item: (-item[0], item[1]))
    # one word of every pair of uses first: three of the same kind would show one thing thrice
    seen: Counter[frozenset[str]] = Counter()
    rounds = []
    for count, word, ranked in candidates:
        pair = frozenset(use for use, _ in ranked)
        rounds.append((seen[pair], -count, word, ranked))
        seen[pair] += 1
    rounds.sort(key=lambda item: item[:3])
    return [_two_uses(word, ranked, kept, num_examples) for _, _, word, ranked in rounds[:num_words]]


def _two_uses(
    word: str, ranked: list[tuple[str, list[tuple[int, int]]]], sentences: list[Sentence], num_examples: int
) -> TwoUses:
    (first, first_places), (second, second_places) = ranked
    return TwoUses(
        word,
        (first, second),
        (len(first_places), len(second_places)),
        (_examples(first_places, sentences, num_examples), _examples(second_places, sentences, num_examples)),
    )


def _examples(places: list[tuple[int, int]], sentences: list[Sentence], wanted: int) -> list[MarkedSentence]:
    step = len(places) / wanted
    chosen = [places[int(number * step)] for number in range(wanted)]
    return [MarkedSentence(sentences[number], place, place + 1) for number, place in chosen]


def _is_word(token: str) -> bool:
    return re.fullmatch(r"[^\W\d_]{2,}|[\u4e00-\u9fff]", token) is not None


class TaggedUses:
    """Uses told by the tags of a tagged text, where a tokenizer cuts the same word out of it.

    Args:
        paragraphs: (word, tag) each.
        tokenizer: of the model.
        tags: the tags that count, and what each is called.
    """

    def __init__(self, paragraphs: Iterable[list[tuple[str, str]]], tokenizer: Tokenizer, tags: dict[str, str]) -> None:
        self.sentences: list[Sentence] = []
        self._uses: dict[int, list[tuple[int, str]]] = {}
        for paragraph in paragraphs:
            for sentence in _at_full_stops(paragraph):
                self._add(sentence, tokenizer, tags)

    def _add(self, words: list[tuple[str, str]], tokenizer: Tokenizer, tags: dict[str, str]) -> None:
        spans, end = {}, 0
        for word, tag in words:
            spans[end, end + len(word)] = tag
            end += len(word)
        tokens = tokenizer.tokenize("".join(word for word, _ in words))
        uses = [
            (place, tags[spans[token.start, token.end]])
            for place, token in enumerate(tokens)
            if spans.get((token.start, token.end)) in tags
        ]
        sentence = [token.text for token in tokens]
        self.sentences.append(sentence)
        self._uses[id(sentence)] = uses

    def __call__(self, sentence: Sentence) -> Iterable[tuple[int, str]]:
        """The uses in one of ``sentences``."""
        return self._uses[id(sentence)]


def _at_full_stops(paragraph: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    sentence: list[tuple[str, str]] = []
    for word, tag in paragraph:
        sentence.append((word, tag))
        if word in "。！？":
            yield sentence
            sentence = []
    if sentence:
        yield sentence
