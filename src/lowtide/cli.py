"""The command line: one verb a command. Each reads its arguments, calls one public function, and prints."""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lowtide import __version__, task_commands
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
    PresetName,
    Resume,
    Stored,
    Tokenized,
    TokenizerChoice,
    Ui,
    Weights,
    Written,
)
from lowtide.console import only_first_speaks, print_json, run, stopped, tell
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
app.command(epilog="lowtide predict names novel.txt --out novel.conll")(task_commands.predict)


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


@app.command(epilog="lowtide pretrain novels/ --out my-model --time 20m")
def pretrain(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Files, folders, globs; - is standard input.")],
    out: Annotated[Path | None, typer.Option(help="The model folder to make.")] = None,
    preset: Annotated[PresetName, typer.Option(help="Sizes; auto looks at the text and the time.")] = "auto",
    trunk: Annotated[
        Literal["elmo", "lstm"] | None,
        typer.Option(help="The published cell, projected and clipped, or a plain one. [default: elmo]"),
    ] = None,
    time: Annotated[str | None, typer.Option(help="Train for so long: 90s, 20m, 8h.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Read the text so many times. [default: 10]")] = None,
    tokens: Annotated[str | None, typer.Option(help="Read so many tokens: 200k, 50M.")] = None,
    language: Annotated[str, typer.Option(help="Of the text: en, zh, de, ...; auto.")] = "auto",
    tokenizer: Annotated[
        TokenizerChoice | None, typer.Option(help="How the text is cut. [default: words; FASTA: characters]")
    ] = None,
    lines: Lines = "auto",
    encoding: Encoding = "utf-8",
    documents: Annotated[
        bool, typer.Option("--documents", help="Carry the state through documents; a blank line parts them.")
    ] = False,
    objective: Annotated[
        Literal["lm", "lm+cloze"], typer.Option(help="Learn beside the language models what stands between two states.")
    ] = "lm",
    inputs: Annotated[
        Literal["auto", "characters", "words"],
        typer.Option(help="What token vectors are made of. [auto: characters, or the symbols of a small alphabet]"),
    ] = "auto",
    vectors: Annotated[
        Path | None, typer.Option(help="A word2vec model that token vectors begin as, with --inputs words.")
    ] = None,
    tied: Annotated[
        bool | None, typer.Option(help="One table for input and output. [default: with --inputs words]")
    ] = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(help="How often a TEXT is read in one pass: 2, 0.2. Once for every TEXT. [default: 1 each]"),
    ] = None,
    lowercase: Annotated[
        float, typer.Option(min=0, max=1, help="The share of the sentences that are read in lower case.")
    ] = 0.0,
    from_model: Annotated[
        Path | None, typer.Option("--from", metavar="MODEL", help="Begin with a model, ours or a published one.")
    ] = None,
    valid: Annotated[Path | None, typer.Option(help="Held-out text. [default: one document in a hundred]")] = None,
    min_count: Annotated[int | None, typer.Option(min=1, help="The rarest type to predict. [default: 2 or 3]")] = None,
    max_types: Annotated[int | None, typer.Option(min=1, help="How many types to predict, at most.")] = None,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor. [default: all; one for tiny]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    learning_rate: Annotated[float | None, typer.Option(help="The highest. [default: the preset's]")] = None,
    dropout: Annotated[
        str,
        typer.Option(
            metavar="RATE",
            help="What is left out: auto looks at the passes; 0.1; types=0.1,inputs=0.4,hidden=0.2,outputs=0.4,"
            "recurrent=0.3,locked.",
        ),
    ] = "auto",
    softmax: Annotated[
        Literal["auto", "full", "sampled", "adaptive"],
        typer.Option(
            help="How types are predicted: all at once, among some that are drawn, or rare ones in two steps; auto: "
            "drawn where the vocabulary is large."
        ),
    ] = "auto",
    optimizer: Annotated[
        Literal["adamw", "muon"],
        typer.Option(help="Of the matrices of the LSTMs: muon takes more time a step, and fewer steps."),
    ] = "adamw",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the log for TensorBoard, too: OUT/tensorboard.")
    ] = False,
    resume: Resume = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")] = False,
    as_json: AsJson = False,
    ui: Ui = "en",
) -> None:
    """Train a bidirectional language model on plain text."""
    from lowtide.training import Budget, TextOptions, TrainOptions, forecast
    from lowtide.training.folder import has_ended
    from lowtide.training.pretrain import run
    from lowtide.training.regularisation import dropouts_said

    only_first_speaks()
    text_options = TextOptions(
        language=language,
        tokenizer=tokenizer,
        lines=lines,
        encoding=encoding,
        min_count=min_count,
        valid=valid,
        documents=documents,
        inputs=inputs,
        vectors=vectors,
        weights=tuple(weight or ()),
        max_types=max_types,
        lowercase=lowercase,
        start=from_model,
    )
    options = TrainOptions(
        preset=preset,
        budget=Budget(time, epochs, tokens),
        device=device,
        threads=threads,
        seed=seed,
        learning_rate=learning_rate,
        objective=objective,
        tied=tied,
        trunk=trunk,
        tensorboard=tensorboard,
        dropouts=dropouts_said(dropout),
        softmax=None if softmax == "auto" else softmax,
        optimizer=optimizer,
    )
    if dry_run:
        told = forecast(texts, text_options, options)
        print_json(asdict(told)) if as_json else print("\n".join(told.lines()))
        return
    if out is None:
        raise InputError("where should the model go? Name a folder with --out DIR")
    try:
        run(texts, out, text_options, options, resume=resume)
    except KeyboardInterrupt:
        if has_ended(out):
            tell("\n" + say("stopped; the training had ended, and the model is whole:  {out}", out=out))
            raise typer.Exit(130) from None
        raise stopped() from None
    if as_json:
        print_json({"out": str(out)})


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
    marked = [_cut(sentence, tokenized) for sentence in sentences]
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
    [places] = elmo.language_model().guesses([_cut(sentence, tokenized)], top=top)
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
        split = elmo.splitter(is_tokenized=tokenized)
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


@app.command(epilog="lowtide convert options.json my-model --weights weights.hdf5")
def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A model of any format.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The folder to make; the file, for onnx.")],
    to: Annotated[
        Literal["lowtide", "hdf5", "onnx"],
        typer.Option(help="Our own folder, options.json and weights.hdf5, or a file for ONNX Runtime."),
    ] = "lowtide",
    store: Stored = "float32",
    weights: Weights = None,
    vocabulary: Annotated[Path | None, typer.Option(help="A list of words, one a line.")] = None,
    tokenizer: CutBy = None,
    language: Written = None,
    ui: Ui = "en",
) -> None:
    """Write a model in another format; its numbers stay what they are, but for --store."""
    from lowtide.embeddings.loading import read

    stored = read(source, weights=weights, vocabulary=vocabulary, tokenizer=tokenizer, language=language)
    if to == "onnx":
        if store != "float32":
            raise InputError(f"a file for ONNX Runtime holds float32: found store={store!r}, leave it out")
        from lowtide.embeddings.elmo import Elmo
        from lowtide.interop.onnx import export

        export(Elmo(stored, device="cpu"), target)
    else:
        from lowtide.weights import conversion

        conversion.convert(stored, target, to=to, store=store)
    tell(say("{target}: {format}, from {source}", target=target, format=to, source=stored.format))


@app.command(epilog="lowtide expand my-model my-word2vec larger-model --max-words 50000")
def expand(
    model: Model,
    words: Annotated[Path, typer.Argument(metavar="WORD2VEC", help="A word2vec model, best of the same text.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The folder to make.")],
    types: Annotated[
        Path | None, typer.Option(help="A vocabulary.txt of the words to give. [default: those of WORD2VEC]")
    ] = None,
    max_words: Annotated[int | None, typer.Option(min=1, help="At most so many, the commonest. [default: all]")] = None,
    store: Stored = "float32",
    ui: Ui = "en",
) -> None:
    """Give a model that looks words up the words of a word2vec model that it does not know."""
    from lowtide.embeddings import expanding
    from lowtide.embeddings.loading import read
    from lowtide.embeddings.word2vec import Word2Vec
    from lowtide.text.vocabulary import Vocabulary
    from lowtide.weights import conversion

    wanted = None if types is None else Vocabulary.load(types).types
    expanded = expanding.expand(read(model), Word2Vec.open(words), types=wanted, max_words=max_words)
    conversion.convert(expanded.model, target, store=store)
    told = say("{target}: {count:,} words, from {source}", target=target, count=expanded.model.num_words, source=model)
    tell(told)


@app.command(epilog="lowtide diff old.h5 new.h5")
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A vector file: .h5 or .npz.")],
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


def _cut(sentence: str, is_tokenized: bool) -> str | list[str]:
    """Take a sentence as it is cut, if it is: Chinese with spaces between its words is."""
    from lowtide.text.tokenize import is_cut_by_spaces

    if not is_tokenized and is_cut_by_spaces(sentence):
        tell(say("spaces stand between Chinese words: taken as cut already"))
        is_tokenized = True
    return sentence.split() if is_tokenized else sentence
