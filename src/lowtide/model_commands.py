"""The commands that make a model: `lowtide pretrain`, `convert` and `expand`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from lowtide.arguments import (
    AsJson,
    CutBy,
    Device,
    Encoding,
    Lines,
    Model,
    PresetName,
    Resume,
    Stored,
    TokenizerChoice,
    Ui,
    Weights,
    Written,
)
from lowtide.console import only_first_speaks, print_json, stopped, tell
from lowtide.errors import InputError
from lowtide.messages import say


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
        Path | None,
        typer.Option(help="A word2vec model (Word2Vec.save) that token vectors begin as, with --inputs words."),
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
            "one of the last two where the vocabulary is large."
        ),
    ] = "auto",
    dtype: Annotated[
        Literal["float32", "bfloat16"],
        typer.Option(help="Of the operands of products: bfloat16, where the device multiplies it quicker."),
    ] = "float32",
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
        from_model=from_model,
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
        dtype=dtype,
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


def expand(
    model: Model,
    words: Annotated[Path, typer.Argument(metavar="WORD2VEC", help="What Word2Vec.save wrote, best of the same text.")],
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
    from lowtide.embeddings.loading import open_word2vec, read
    from lowtide.text.vocabulary import Vocabulary
    from lowtide.weights import conversion

    wanted = None if types is None else Vocabulary.load(types).types
    conversion.check_target(target)
    expanded = expanding.expand(read(model), open_word2vec(words), types=wanted, max_words=max_words)
    conversion.convert(expanded.model, target, store=store)
    told = say("{target}: {count:,} words, from {source}", target=target, count=expanded.model.num_words, source=model)
    tell(told)
