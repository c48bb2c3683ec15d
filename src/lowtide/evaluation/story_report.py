"""The report of the demo: one page that needs nothing else, and every number of it as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lowtide import pictures
from lowtide.amounts import format_seconds
from lowtide.embeddings.inputs import MarkedSentence
from lowtide.embeddings.language_model import Guess
from lowtide.evaluation.comparison import Comparison, layer_name
from lowtide.evaluation.story import LanguageStory, WordStory, your_turn
from lowtide.messages import UI, say
from lowtide.training.log import loss_chart, perplexity_chart

_AROUND = 4
"""Tokens shown on either side of a marked word."""


def report_page(stories: Sequence[LanguageStory], shipped: Sequence[Comparison], *, time: str, ui: UI) -> str:
    """The whole page.

    Args:
        stories: of the languages that were trained.
        shipped: what the shipped models answered, if there are any.
        time: of training, as it was asked for.
        ui: the language of the page.
    """
    blocks = []
    if shipped:
        blocks.append(pictures.heading(say("Ready in seconds", ui)))
        blocks += [_comparison(found, ui) for found in shipped]
    for story in stories:
        blocks += _language(story, ui)
    blocks.append(pictures.heading(say("Your turn", ui)))
    blocks.append(pictures.code_block("\n".join(your_turn(stories))))
    lead = say(
        "A language model was trained from nothing for {time} a language, on real text, on this machine. "
        "It has only learnt to expect the next word, from the left and from the right; this page looks at "
        "the vectors that came of it.",
        ui,
        time=time,
    )
    return pictures.page(say("What lies under the water", ui), blocks, language=ui, lead=lead)


def comparison_page(found: Comparison, *, ui: UI) -> str:
    """A page with the similarity of some marked words at every layer."""
    words = ", ".join(dict.fromkeys(sentence.word for sentence in found.sentences))
    lead = say(
        "Cosines of the marked words, layer by layer; every layer is calibrated."
        if found.is_calibrated
        else "Cosines of the marked words, layer by layer.",
        ui,
    )
    return pictures.page(words, [_comparison(found, ui)], language=ui, lead=lead)


def story_json(stories: Sequence[LanguageStory], shipped: Sequence[Comparison]) -> dict[str, Any]:
    """Every number of the report."""
    return {"shipped": [_comparison_json(found) for found in shipped], "stories": [_story_json(s) for s in stories]}


# -- one language ------------------------------------------------------------------------------


def _language(story: LanguageStory, ui: UI) -> list[str]:
    name = say("English" if story.language == "en" else "Chinese", ui)
    return [
        pictures.heading(name),
        pictures.paragraph(_what_was_done(story, ui)),
        _curves(story, ui),
        pictures.heading(say("What each direction expects", ui), level=3),
        pictures.paragraph(
            say(
                "At every place the forward model knows only what stands left of it, the backward model only what "
                "stands right of it. Marked words are not in the vocabulary: rare in the text, or not in it; the model "
                "reads them letter by letter all the same.",
                ui,
            )
        ),
        _walk(story, ui),
        pictures.heading(say("One word, two uses", ui), level=3),
        pictures.paragraph(
            say(
                "These words stand in this very text in two uses, each many times. One-hot vectors and layer 0 "
                "cannot tell the uses apart: every cell is 1. The layers above read the sentence.",
                ui,
            )
            + " "
            + _how_told(story, ui)
        ),
        *(block for word in story.words for block in _word(word, ui)),
        pictures.heading(say("The story's own sentences", ui), level=3),
        pictures.paragraph(_own_words(story, ui)),
        _comparison(story.own, ui),
        pictures.heading(say("What this can and cannot do", ui), level=3),
        pictures.paragraph(_honestly(story, ui)),
    ]


def _how_told(story: LanguageStory, ui: UI) -> str:
    if story.language == "en":
        return say(
            "Which use a place is of was told by the word before it: the, a, his ... or to, will, can ... That is "
            "an easy difference, close at hand; it is what this much training can learn.",
            ui,
        )
    return say("Which use a place is of was told by the tags that the paper's text carries.", ui)


def _what_was_done(story: LanguageStory, ui: UI) -> str:
    _, before_forward, before_backward = story.log.held_out[0]
    _, forward, backward = story.log.best
    return say(
        "The text has {sentences} sentences and {tokens} tokens; {read} tokens were read in {time}. Perplexity on "
        "sentences that were kept apart (the lower the better: the number of words the model hesitates between) "
        "fell from {a} to {c} forward and from {b} to {d} backward. A unigram model, which knows only how often "
        "each word comes, has {u}: the training begins there.",
        ui,
        sentences=f"{story.num_sentences:,}",
        tokens=f"{story.num_tokens:,}",
        read=f"{story.log.tokens:,}",
        time=format_seconds(story.log.seconds),
        a=f"{before_forward:.0f}",
        b=f"{before_backward:.0f}",
        c=f"{forward:.0f}",
        d=f"{backward:.0f}",
        u=f"{story.log.unigram:.0f}",
    )


def _curves(story: LanguageStory, ui: UI) -> str:
    return pictures.columns(
        pictures.figure(perplexity_chart(story.log, ui), caption=say("Full softmax; both directions share it.", ui)),
        pictures.figure(loss_chart(story.log, ui), caption=say("What training minimises; it is not a perplexity.", ui)),
    )


def _walk(story: LanguageStory, ui: UI) -> str:
    unseen = say("not in the vocabulary: rare in the text, or not in it", ui)
    rows = [
        [
            place.token if place.is_known else pictures.Marked(place.token, unseen),
            _guesses(place.from_left, ui),
            _guesses(place.from_right, ui),
        ]
        for place in story.walk
    ]
    header = [say("stands there", ui), say("expected from the left", ui), say("expected from the right", ui)]
    return pictures.table(header, rows)


def _guesses(guesses: Sequence[Guess], ui: UI) -> str:
    named = {"<UNK>": say("(a rare word)", ui)}
    return "   ".join(f"{named.get(g.type, g.type)} {g.probability:.1%}" for g in guesses) or "–"


def _word(word: WordStory, ui: UI) -> list[str]:
    uses = word.uses
    names = [say(name, ui) for name in uses.names]
    title = say(
        "{word}: {first} ({m} times), {second} ({n} times)",
        ui,
        word=uses.word,
        first=names[0],
        m=f"{uses.counts[0]:,}",
        second=names[1],
        n=f"{uses.counts[1]:,}",
    )
    rows = [
        [
            layer_name(name, ui),
            f"{found.within:.3f}",
            f"{found.across:.3f}",
            f"{found.within - found.across:+.3f}",
            f"{found.nearest_centroid:.0%}",
        ]
        for name, found in word.separations.items()
    ]
    header = [
        say("layer", ui),
        say("cosine, same use", ui),
        say("cosine, other use", ui),
        say("difference", ui),
        say("nearer to its own use (chance 50 %)", ui),
    ]
    shares = [len(examples) for examples in uses.examples]
    token_map = pictures.token_map(
        word.points.tolist(),
        labels=[_snippet(marked) for examples in uses.examples for marked in examples],
        groups=[names[0]] * shares[0] + [names[1]] * shares[1],
        title=say("{word} at the top layer, on a plane", ui, word=uses.word),
    )
    return [
        pictures.heading(title, level=4),
        _comparison(word.shown, ui),
        pictures.table(header, rows, caption=say("Over {count} sentences.", ui, count=sum(shares))),
        pictures.figure(token_map, caption=say("The two directions in which these tokens differ most.", ui)),
    ]


def _own_words(story: LanguageStory, ui: UI) -> str:
    counts = ", ".join(f"{word}: {count:,}" for word, count in _counts(story).items())
    return say(
        "These are the sentences that the whole method was invented for. How often training saw the marked words: "
        "{counts}. A model this young has had little chance to learn their senses; what it shows here is how a "
        "vector moves with its sentence.",
        ui,
        counts=counts,
    )


def _counts(story: LanguageStory) -> dict[str, int]:
    return {marked.word: count for marked, count in zip(story.own.sentences, story.own_counts, strict=True)}


def _honestly(story: LanguageStory, ui: UI) -> str:
    _, forward, backward = story.log.best
    shares = [list(word.separations.values())[-2].nearest_centroid for word in story.words]
    mean = sum(shares) / len(shares) if shares else 0.5
    return say(
        "In this time it learns which words are likely where (perplexity {p} in place of {u}), and the grammar of "
        "common words: at the top layer {share} of the tokens above lie nearer to their own use, where chance is "
        "50 %. It does not learn what rare words mean, nor facts, nor the senses of words that it has seen a few "
        "times. Hours on millions of sentences do that; the published ELMo read 7.7 thousand million tokens.",
        ui,
        p=f"{(forward + backward) / 2:.0f}",
        u=f"{story.log.unigram:.0f}",
        share=f"{mean:.0%}",
    )


# -- matrices ----------------------------------------------------------------------------------


def _comparison(found: Comparison, ui: UI) -> str:
    unseen = say("not in the vocabulary: rare in the text, or not in it", ui)
    numbers = [str(number) for number in range(1, len(found.sentences) + 1)]
    maps = [
        pictures.figure(
            pictures.heat_map(
                matrix.tolist(),
                row_labels=numbers,
                column_labels=numbers,
                title=layer_name(name, ui),
                low=0.0,
                high=1.0,
            ),
            caption="",
        )
        for name, matrix in found.matrices().items()
    ]
    sentences = [
        [number, _bracketed(marked) + ("" if is_known else f"   ({unseen})")]
        for number, marked, is_known in zip(numbers, found.sentences, found.is_known, strict=True)
    ]
    return pictures.table(["", say("sentence", ui)], sentences) + pictures.columns(*maps)


def _snippet(marked: MarkedSentence) -> str:
    before = marked.tokens[max(0, marked.first - _AROUND) : marked.first]
    after = marked.tokens[marked.last : marked.last + _AROUND]
    start = "… " if marked.first > _AROUND else ""
    end = " …" if len(marked.tokens) - marked.last > _AROUND else ""
    return f"{start}{' '.join([*before, f'[{marked.word}]', *after])}{end}"


# -- numbers -----------------------------------------------------------------------------------


def _comparison_json(found: Comparison) -> dict[str, Any]:
    return {
        "sentences": [_bracketed(marked) for marked in found.sentences],
        "is_known": found.is_known,
        "cosines": {name: matrix.round(6).tolist() for name, matrix in found.matrices().items()},
    }


def _bracketed(marked: MarkedSentence) -> str:
    tokens = [*marked.tokens[: marked.first], f"[{marked.word}]", *marked.tokens[marked.last :]]
    return " ".join(tokens)


def _story_json(story: LanguageStory) -> dict[str, Any]:
    tokens, forward, backward = story.log.best
    return {
        "language": story.language,
        "model": story.model.as_posix(),
        "sentences": story.num_sentences,
        "tokens": story.num_tokens,
        "tokens_read": story.log.tokens,
        "seconds": story.log.seconds,
        "vocabulary": story.vocabulary_size,
        "perplexity": {
            "unigram": story.log.unigram,
            "before": {"forward": story.log.held_out[0][1], "backward": story.log.held_out[0][2]},
            "after": {"forward": forward, "backward": backward, "tokens_read": tokens},
        },
        "curve": [{"tokens": t, "forward": f, "backward": b} for t, f, b in story.log.held_out],
        "losses": [{"tokens": t, "nats": n} for t, n in story.log.losses],
        "walk": [asdict(place) for place in story.walk],
        "own_sentences": {**_comparison_json(story.own), "seen_in_training": story.own_counts},
        "words": [
            {
                "word": word.uses.word,
                "uses": dict(zip(word.uses.names, word.uses.counts, strict=True)),
                **_comparison_json(word.shown),
                "separation": {name: asdict(found) for name, found in word.separations.items()},
                "map": [
                    {"use": name, "sentence": _bracketed(marked), "x": x, "y": y}
                    for (name, marked), (x, y) in zip(
                        [
                            (name, marked)
                            for name, examples in zip(word.uses.names, word.uses.examples, strict=True)
                            for marked in examples
                        ],
                        word.points.round(6).tolist(),
                        strict=True,
                    )
                ],
            }
            for word in story.words
        ],
    }
