"""The command line: one verb a command. Each reads its arguments, calls one public function, and prints."""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lowtide import __version__, answer_commands, model_commands, task_commands
from lowtide.arguments import (
    AsJson,
    Calibrated,
    CutBy,
    Device,
    Dtype,
    Encoding,
    Language,
    Lines,
    Model,
    Tokenized,
    Ui,
    Weights,
    Written,
)
from lowtide.console import print_json, run, stopped, tell
from lowtide.errors import InputError
from lowtide.messages import say

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
app.add_typer(task_commands.train, name="train")


@app.command(epilog="lowtide demo --language zh --time 30s")
def demo(
    out: Annotated[Path, typer.Option(help="Where the models and the report go.")] = Path("demo"),
    language: Annotated[Language | None, typer.Option(help="One language only.")] = None,
    time: Annotated[str, typer.Option(help="Of training, a language.")] = "90s",
    ui: Ui = "en",
) -> None:
    """Show on real text what a language model learns, with pictures. Offline, in some minutes."""
    from lowtide.evaluation.demo import tell

    report = tell(out, languages=[language] if language else ["en", "zh"], time=time, ui=ui, say_line=print)
    print(f"\n{report}")


app.command(epilog="lowtide pretrain novels/ --out my-model --time 20m")(model_commands.pretrain)


@app.command(epilog="lowtide embed my-model corpus.txt --out vectors.h5 --layers all")
def embed(
    model: Model,
    texts: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Files, folders, globs; - is standard input.")],
    out: Annotated[
        Path | None, typer.Option(help="The vector file: .h5, .npz, .parquet, .safetensors; .mmap is a folder.")
    ] = None,
    layers: Annotated[str, typer.Option(help="mix, all, top, average, sum, context, surroundings, 0, 1, 2.")] = "mix",
    pool: Annotated[str | None, typer.Option(help="One vector a sentence: mean or max of its tokens.")] = None,
    keys: Annotated[
        Literal["line", "id"],
        typer.Option(help="Sentences are called by number, or by id: of FASTA, or before a tab in every line."),
    ] = "line",
    dtype: Annotated[
        Dtype, typer.Option(help="Of the computation; the last two are quicker, and less exact.")
    ] = "float32",
    store: Annotated[
        Literal["float32", "float16"] | None,
        typer.Option(help="The type of the numbers in the file. [default: float32; .mmap: float16]"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was stopped.")] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Compute one of N shares, 1/N to N/N; the last one to end puts all together."),
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="The most to hold at once: 4GB, 800MB.")
    ] = None,
    encoding: Encoding = "utf-8",
    tokenized: Tokenized = False,
    tokenizer: CutBy = None,
    language: Written = None,
    weights: Weights = None,
    stateful: Annotated[
        int | None, typer.Option(min=1, metavar="ROWS", help="Carry the state as old tools did, in batches of ROWS.")
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Fit a calibration to INPUT and store it with the model; no --out needed."),
    ] = False,
    calibrated: Calibrated = False,
    device: Device = "auto",
    ui: Ui = "en",
) -> None:
    """Write the vectors of every token of a text. Line i, or FASTA record i, is sentence i; blank lines too."""
    from lowtide.embeddings.outputs import check_output
    from lowtide.embeddings.parts import has_begun

    if out is not None:
        check_output(out)
    elif not calibrate or calibrated:
        raise InputError("where should the vectors go? Name a file with --out FILE")
    elmo = _load(model, device, weights, tokenizer, language, dtype)
    if calibrate:
        if out is not None and "-" in texts:
            raise InputError("standard input can be read only once: --calibrate first, then --out")
        files = [Path(text) for text in texts]
        fitted = elmo.calibrate(files, keys=keys, encoding=encoding, is_tokenized=tokenized)
        tell(
            say(
                "{model}: calibrated by {count:,} tokens; mean cosine of two random ones by layer, "
                "before and after: {cosines}",
                model=model,
                count=fitted.num_tokens,
                cosines=fitted.cosines(),
            )
        )
    if out is None:
        return
    try:
        count = elmo.embed_to(
            [Path(text) for text in texts],
            out,
            layers=layers,
            calibrated=calibrated,
            pool=pool,
            keys=keys,
            encoding=encoding,
            is_tokenized=tokenized,
            store=store,
            resume=resume,
            shard=shard,
            max_memory=max_memory,
            stateful=stateful,
        )
    except KeyboardInterrupt:
        if has_begun(out):
            raise stopped() from None
        raise
    if count is not None:
        tell(say("{out}: {count:,} sentences", out=out, count=count))


@app.command(epilog="lowtide compare my-model 'He sat on the [bank].' 'She went to the [bank].'")
def compare(
    model: Model,
    sentences: Annotated[list[str], typer.Argument(metavar="SENTENCE...", help="Each with one word in [brackets].")],
    html: Annotated[Path | None, typer.Option(help="Write a page with the matrices.")] = None,
    calibrated: Calibrated = False,
    tokenized: Tokenized = False,
    device: Device = "auto",
    as_json: AsJson = False,
    ui: Ui = "en",
) -> None:
    """Show how like each other the marked words are, at every layer."""
    from lowtide.evaluation import comparison, tables

    elmo = _load(model, device)
    marked = [_cut(sentence, tokenized, elmo) for sentence in sentences]
    found = comparison.compare(elmo, marked, calibrated=calibrated)
    if html is not None:
        from lowtide.evaluation.story_report import comparison_page
        from lowtide.files import write_text

        write_text(html, comparison_page(found, ui=ui))
    if as_json:
        print_json({name: matrix.round(6).tolist() for name, matrix in found.matrices().items()})
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
    ui: Ui = "en",
) -> None:
    """Show what each direction expects at each position, knowing only its own side."""
    from lowtide.evaluation import tables

    elmo = _load(model, device)
    [places] = elmo.language_model().guesses([_cut(sentence, tokenized, elmo)], top=top)
    if as_json:
        print_json([asdict(place) for place in places])
    else:
        tables.print_guesses(places)


@evaluate.command(epilog="lowtide evaluate perplexity my-model test.txt")
def perplexity(
    model: Model,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Files, folders, globs; - is standard input.")],
    lines: Lines = "auto",
    encoding: Encoding = "utf-8",
    tokenized: Tokenized = False,
    device: Device = "auto",
    as_json: AsJson = False,
    ui: Ui = "en",
) -> None:
    """Measure how well both directions predict a text (full softmax, boundaries counted)."""
    from lowtide.evaluation.perplexity import measure_perplexity

    elmo = _load(model, device)
    found = measure_perplexity(elmo, texts, lines=lines, encoding=encoding, is_tokenized=tokenized)
    if as_json:
        print_json({**asdict(found), "mean": found.perplexity.mean})
    else:
        print("\n".join(found.lines()))


@evaluate.command(epilog="lowtide evaluate senses my-model train.tsv test.tsv")
def senses(
    model: Model,
    labelled: Annotated[Path, typer.Argument(metavar="LABELLED", help="Uses to learn from, or validation pairs.")],
    test: Annotated[Path | None, typer.Argument(metavar="[TEST]", help="What is judged; pairs do without it.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
    ui: Ui = "en",
) -> None:
    """Measure how well vectors tell the senses of a word apart.

    From uses labelled with a sense (word, sense, token_index, sentence): the sense whose mean vector is nearest.
    From pairs of uses (label, sentence1, start1, end1, sentence2, start2, end2): one meaning or two, by a cosine.
    Which vectors of the model are used, LABELLED alone decides; pairs without a TEST are judged in ten folds.
    """
    from lowtide.embeddings.loading import load_any
    from lowtide.evaluation.senses import measure

    found = measure(load_any(model, device=device), labelled, test)
    print_json(found.as_json()) if as_json else print("\n".join(found.lines()))


@app.command(epilog="lowtide inspect my-model --state-check corpus.txt")
def inspect(
    model: Model,
    weights: Weights = None,
    state_check: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Show how far warm state, as old tools had it, changes vectors.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Sentences of a batch, for --state-check.")] = 64,
    tokenized: Tokenized = False,
    as_json: AsJson = False,
    ui: Ui = "en",
) -> None:
    """Show what a model is: format, sizes, vocabulary, checksum, card."""
    from lowtide.evaluation.inspection import inspect as look

    elmo = _load(model, "cpu", weights)
    if state_check is not None:
        from lowtide.evaluation.state_check import check_warm_state
        from lowtide.text.corpus import Corpus

        texts = Corpus([state_check]).numbered()
        split = elmo.cutting(is_tokenized=tokenized).split
        checked = check_warm_state(elmo, (split(text.text) for text in texts), rows=rows)
        print_json(asdict(checked)) if as_json else print("\n".join(checked.lines()))
        return
    found = look(elmo)
    if as_json:
        print_json(asdict(found))
        return
    print("\n".join(found.lines()))
    if found.card:
        print(f"\n{found.card}", end="")


app.command(epilog="lowtide convert options.json my-model --weights weights.hdf5")(model_commands.convert)
app.command(epilog="lowtide expand my-model my-word2vec larger-model --max-words 50000")(model_commands.expand)
app.command(epilog="lowtide predict names novel.txt --out novel.conll")(answer_commands.predict)
app.command(epilog="lowtide text train.conll --out train.txt")(answer_commands.text)
evaluate.command("task", epilog="lowtide evaluate task names test.conll")(answer_commands.evaluate)


@app.command(epilog="lowtide diff old.h5 new.h5")
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A vector file, of any format.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one, of the same text.")],
    tolerance: Annotated[float, typer.Option(min=0, help="How far two equal numbers may lie apart.")] = 1e-5,
    rows: Annotated[list[int] | None, typer.Option(min=1, help="Sentences of a batch in the old tool.")] = None,
    model: Annotated[str | None, typer.Option(help="The model, to confirm that a carried state is the reason.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
    ui: Ui = "en",
) -> None:
    """Say whether two vector files are the same; if not, where they differ and why. Exit code 1 if they differ."""
    from lowtide.evaluation.difference import compare_files, warm_vectors

    warm = None if model is None else functools.partial(warm_vectors, _load(model, device))
    found = compare_files(old, new, tolerance=tolerance, batch_rows=rows or (), embed_warm=warm)
    if as_json:
        print_json({**asdict(found), "is_same": found.is_same})
    else:
        print("\n".join(found.lines()))
    if not found.is_same:
        raise typer.Exit(1)


@app.command(epilog="lowtide models original")
def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show all that is known of one.")] = None,
    as_json: AsJson = False,
    ui: Ui = "en",
) -> None:
    """List the published models that can be loaded by name. Nothing is fetched."""
    from lowtide.evaluation import tables
    from lowtide.weights.catalogue import published, published_model

    records = list(published().values()) if name is None else [published_model(name)]
    if as_json:
        print_json([asdict(record) for record in records])
    elif name is None:
        tables.print_models(records)
    else:
        tables.print_model(records[0])


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    if version:
        print(f"lowtide {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    run(lambda: app(prog_name="lowtide"))


def _load(
    model: str,
    device: str,
    weights: Path | None = None,
    tokenizer: str | None = None,
    language: str | None = None,
    dtype: Dtype = "float32",
) -> Elmo:
    from lowtide.embeddings.elmo import Elmo
    from lowtide.embeddings.loading import read

    return Elmo(read(model, weights=weights, tokenizer=tokenizer, language=language), device=device, dtype=dtype)


def _cut(sentence: str, is_tokenized: bool, elmo: Elmo) -> str | list[str]:
    """Take a sentence as it is cut, if it is: Chinese with spaces between its words is, for a model of words."""
    from lowtide.text.tokenize import is_cut_by_spaces

    reads_words = elmo.stored.config.tokenizer.name != "characters"
    if not is_tokenized and reads_words and is_cut_by_spaces(sentence):
        tell(say("spaces stand between Chinese words: taken as cut already"))
        is_tokenized = True
    return sentence.split() if is_tokenized else sentence
