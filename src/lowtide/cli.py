"""The command line: one verb a command. Each reads its arguments, calls one public function, and prints."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
import warnings
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lowtide import __version__
from lowtide.errors import InputError, LowtideError
from lowtide.messages import say, speak, translated

if TYPE_CHECKING:
    from lowtide.embeddings.elmo import Elmo

app = typer.Typer(
    help="ELMo, maintained: train bidirectional language models on plain text; a vector for every token.",
    epilog="Begin with:  lowtide demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
evaluate = typer.Typer(help="Measure a model.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(evaluate, name="evaluate")


class Preset(StrEnum):
    """Sizes with a name."""

    auto = "auto"
    tiny = "tiny"
    small = "small"
    medium = "medium"
    original = "original"


class TokenizerChoice(StrEnum):
    """How text is cut."""

    words = "words"
    characters = "characters"
    whitespace = "whitespace"


class LinesChoice(StrEnum):
    """What a line of a file is."""

    auto = "auto"
    sentence = "sentence"
    paragraph = "paragraph"
    wrapped = "wrapped"
    fasta = "fasta"


class Language(StrEnum):
    """The languages of the demo's text, and of what is said."""

    en = "en"
    zh = "zh"


def _speak(ui: Language) -> Language:
    speak(ui.value)
    return ui


Model = Annotated[Path, typer.Argument(help="A model folder.", metavar="MODEL")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Encoding = Annotated[str, typer.Option(help="Of the text files.")]
Lines = Annotated[LinesChoice, typer.Option(help="What a line of the text is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
Ui = Annotated[
    Language,
    typer.Option(envvar="LOWTIDE_UI", callback=_speak, is_eager=True, help="The language of messages and pages."),
]
Tokenized = Annotated[bool, typer.Option("--tokenized", help="The text is cut already: tokens stand between spaces.")]


@app.command(epilog="lowtide demo --language zh --time 30s")
def demo(
    out: Annotated[Path, typer.Option(help="Where the models and the report go.")] = Path("demo"),
    language: Annotated[Language | None, typer.Option(help="One language only.")] = None,
    time: Annotated[str, typer.Option(help="Of training, a language.")] = "90s",
    ui: Ui = Language.en,
) -> None:
    """Show on real text what a language model learns, with pictures. Offline, in some minutes."""
    from lowtide.evaluation.demo import tell

    report = tell(out, languages=[language.value] if language else ["en", "zh"], time=time, ui=ui.value, say_line=print)
    print(f"\n{report}")


@app.command(epilog="lowtide pretrain novels/ --out my-model --time 20m")
def pretrain(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Files, folders, globs; - is standard input.")],
    out: Annotated[Path | None, typer.Option(help="The model folder to make.")] = None,
    preset: Annotated[Preset, typer.Option(help="Sizes; auto looks at the text and the time.")] = Preset.auto,
    time: Annotated[str | None, typer.Option(help="Train for so long: 90s, 20m, 8h.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Read the text so many times. [default: 10]")] = None,
    tokens: Annotated[str | None, typer.Option(help="Read so many tokens: 200k, 50M.")] = None,
    language: Annotated[str, typer.Option(help="Of the text: en, zh, de, ...; auto.")] = "auto",
    tokenizer: Annotated[
        TokenizerChoice | None, typer.Option(help="How the text is cut. [default: words; FASTA: characters]")
    ] = None,
    lines: Lines = LinesChoice.auto,
    encoding: Encoding = "utf-8",
    documents: Annotated[
        bool, typer.Option("--documents", help="Carry the state through documents; a blank line parts them.")
    ] = False,
    valid: Annotated[Path | None, typer.Option(help="Held-out text. [default: one document in a hundred]")] = None,
    min_count: Annotated[int | None, typer.Option(min=1, help="The rarest type to predict. [default: 2 or 3]")] = None,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor. [default: all; one for tiny]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    learning_rate: Annotated[float | None, typer.Option(help="The highest. [default: the preset's]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")] = False,
    as_json: AsJson = False,
    ui: Ui = Language.en,
) -> None:
    """Train a bidirectional language model on plain text."""
    from lowtide.training import Budget, TextOptions, TrainOptions, forecast
    from lowtide.training.pretrain import run

    text_options = TextOptions(
        language, tokenizer.value if tokenizer else None, lines.value, encoding, min_count, valid, documents
    )
    options = TrainOptions(preset.value, Budget(time, epochs, tokens), device, threads, seed, learning_rate)
    if dry_run:
        told = forecast(texts, text_options, options)
        _print_json(asdict(told)) if as_json else print("\n".join(told.lines()))
        return
    if out is None:
        raise InputError("where should the model go? Name a folder with --out DIR")
    try:
        run(texts, out, text_options, options, resume=resume)
    except KeyboardInterrupt:
        again = [argument for argument in sys.argv[1:] if argument != "--resume"]
        command = f"lowtide {' '.join(map(_quoted, again))} --resume"
        _tell("\n" + say("stopped. Go on with:  {command}", command=command))
        raise typer.Exit(130) from None
    if as_json:
        _print_json({"out": str(out)})


@app.command(epilog="lowtide embed my-model corpus.txt --out vectors.h5 --layers all")
def embed(
    model: Model,
    text: Annotated[str, typer.Argument(metavar="INPUT", help="A text, one sentence a line; - is standard input.")],
    out: Annotated[Path, typer.Option(help="The vector file: .h5 or .npz.")],
    layers: Annotated[str, typer.Option(help="mix, all, top, average, sum, 0, 1, 2.")] = "mix",
    pool: Annotated[str | None, typer.Option(help="One vector a sentence: mean or max of its tokens.")] = None,
    encoding: Encoding = "utf-8",
    tokenized: Tokenized = False,
    device: Device = "auto",
    ui: Ui = Language.en,
) -> None:
    """Write the vectors of every token of a file. Line i, or FASTA record i, is sentence i; blank lines too."""
    from lowtide.embeddings.outputs import check_output

    check_output(out)
    elmo = _load(model, device)
    count = elmo.embed_to([text], out, layers=layers, pool=pool, encoding=encoding, is_tokenized=tokenized)
    _tell(say("{out}: {count:,} sentences", out=out, count=count))


@app.command(epilog="lowtide compare my-model 'He sat on the [bank].' 'She went to the [bank].'")
def compare(
    model: Model,
    sentences: Annotated[list[str], typer.Argument(metavar="SENTENCE...", help="Each with one word in [brackets].")],
    html: Annotated[Path | None, typer.Option(help="Write a page with the matrices.")] = None,
    tokenized: Tokenized = False,
    device: Device = "auto",
    as_json: AsJson = False,
    ui: Ui = Language.en,
) -> None:
    """Show how like each other the marked words are, at every layer."""
    from lowtide.evaluation import comparison, tables

    elmo = _load(model, device)
    found = comparison.compare(elmo, [_cut(sentence, tokenized) for sentence in sentences])
    if html is not None:
        from lowtide.evaluation.story_report import comparison_page
        from lowtide.files import write_text

        write_text(html, comparison_page(found, ui=ui.value))
    if as_json:
        _print_json({name: matrix.round(6).tolist() for name, matrix in found.matrices().items()})
    else:
        tables.print_comparison(found)


@app.command(epilog='lowtide guess my-model "潮水 退了 就 知道 谁 没穿 裤子"')
def guess(
    model: Model,
    sentence: Annotated[str, typer.Argument(metavar="SENTENCE")],
    top: Annotated[int, typer.Option(min=1, help="How many guesses a place.")] = 3,
    tokenized: Tokenized = False,
    device: Device = "auto",
    as_json: AsJson = False,
    ui: Ui = Language.en,
) -> None:
    """Show what each direction expects at each position, knowing only its own side."""
    from lowtide.evaluation import tables

    elmo = _load(model, device)
    [places] = elmo.language_model().guesses([_cut(sentence, tokenized)], top=top)
    if as_json:
        _print_json([asdict(place) for place in places])
    else:
        tables.print_guesses(places)


@evaluate.command(epilog="lowtide evaluate perplexity my-model test.txt")
def perplexity(
    model: Model,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Files, folders, globs; - is standard input.")],
    lines: Lines = LinesChoice.auto,
    encoding: Encoding = "utf-8",
    tokenized: Tokenized = False,
    device: Device = "auto",
    as_json: AsJson = False,
    ui: Ui = Language.en,
) -> None:
    """Measure how well both directions predict a text (full softmax, boundaries counted)."""
    from lowtide.evaluation.perplexity import measure_perplexity

    elmo = _load(model, device)
    found = measure_perplexity(elmo, texts, lines=lines.value, encoding=encoding, is_tokenized=tokenized)
    if as_json:
        _print_json({**asdict(found), "mean": found.perplexity.mean})
    else:
        print("\n".join(found.lines()))


@app.command(epilog="lowtide inspect my-model")
def inspect(model: Model, as_json: AsJson = False, ui: Ui = Language.en) -> None:
    """Show what a model is: sizes, vocabulary, checksum, card."""
    from lowtide.evaluation.inspection import inspect as look

    found = look(_load(model, "cpu"))
    if as_json:
        _print_json(asdict(found))
        return
    print("\n".join(found.lines()))
    if found.card:
        print(f"\n{found.card}", end="")


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    if version:
        print(f"lowtide {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a user's mistake is one or two lines on stderr and exit code 2."""
    log = logging.getLogger("lowtide")
    log.setLevel(logging.INFO)
    if not log.handlers:
        log.addHandler(_ToStderr())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe may be set to something that has no Chinese
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    signal.signal(signal.SIGTERM, _stop)  # leaves no temporary file, as Ctrl-C
    warnings.showwarning = _show_warning  # where it was raised tells a user nothing
    try:
        try:
            app(prog_name="lowtide")
        finally:
            sys.stdout.flush()  # not when Python ends, where a full disk would be a traceback
    except BrokenPipeError:  # whoever read our output has enough
        _discard_output()
    except KeyboardInterrupt:
        _tell("\n" + say("stopped"))
        sys.exit(130)
    except (LowtideError, OSError, MemoryError) as error:
        if os.environ.get("LOWTIDE_DEBUG"):
            raise
        _tell(f"lowtide: {_reason(error)}")
        _discard_output()
        sys.exit(2)


def _discard_output() -> None:
    """Let Python not try again to write what could not be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _ToStderr(logging.Handler):
    """Prints to whatever stderr is now: a progress bar puts itself in between, and lines go above it."""

    def emit(self, record: logging.LogRecord) -> None:
        _tell(translated(self.format(record)))


def _stop(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(143)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, LowtideError):
        return f"{error.filename or say('the system')}: {translated(error.strerror or str(error))}"
    return translated(str(error)) or say("out of memory: try a smaller --preset")


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _tell(say("warning: {message}", message=translated(str(message))))


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _load(model: Path, device: str) -> Elmo:
    from lowtide.embeddings.loading import load

    return load(model, device=device)


def _cut(sentence: str, is_tokenized: bool) -> str | list[str]:
    """Take a sentence as it is cut, if it is: Chinese with spaces between its words is."""
    from lowtide.text.tokenize import is_cut_by_spaces

    if not is_tokenized and is_cut_by_spaces(sentence):
        _tell(say("spaces stand between Chinese words: taken as cut already"))
        is_tokenized = True
    return sentence.split() if is_tokenized else sentence


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _quoted(argument: str) -> str:
    import shlex

    return shlex.quote(argument)
