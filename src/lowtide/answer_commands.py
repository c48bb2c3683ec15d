"""The commands that use a task: `lowtide predict` and `lowtide evaluate task`; and its examples: `lowtide text`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lowtide.arguments import AsJson, Device, Encoding, Tokenized, Ui
from lowtide.console import print_json, tell
from lowtide.errors import InputError
from lowtide.messages import say
from lowtide.task_commands import (
    Column,
    Columns,
    Lenient,
    Quoted,
    ShowText,
    TokenColumn,
    column_options,
    print_evaluation,
    row_options,
)

if TYPE_CHECKING:
    from lowtide.tasks import Classifier, ColumnOptions, Matcher, RowOptions, Tagger
    from lowtide.tasks.task import Task

Learned = Annotated[Path, typer.Argument(metavar="TASK", help="A folder that `lowtide train` made.")]
Embedding = Annotated[list[str] | None, typer.Option(help="The model it was learned on, where it lies elsewhere now.")]


def predict(
    task: Learned,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A text, a sentence a line, or a file of examples.")],
    out: Annotated[Path | None, typer.Option(help="The file to write: .conll, .tsv, .csv, .jsonl.")] = None,
    kind: Annotated[
        Literal["conll", "conllu", "tsv", "csv", "jsonl", "text"] | None,
        typer.Option("--format", help="What INPUT is. [default: as its name says; else a text]"),
    ] = None,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities", help="With every answer, how probable each label is, or how similar two texts: .jsonl."
        ),
    ] = False,
    n_best: Annotated[
        int | None, typer.Option(min=1, max=1000, help="With the tags, so many of the most probable taggings: .jsonl.")
    ] = None,
    embedding: Embedding = None,
    token_column: TokenColumn = 0,
    columns: Columns = None,
    quoted: Quoted = None,
    encoding: Encoding = "utf-8",
    tokenized: Tokenized = False,
    device: Device = "auto",
    ui: Ui = "en",
) -> None:
    """Answer a file of any size with a task that was learned."""
    from lowtide.tasks.prediction_files import predict_file

    if out is None:
        raise InputError("where should the answers go? Name a file with --out FILE")
    count = predict_file(
        _open(task, embedding, device),
        source,
        out,
        rows=row_options(columns, quoted, encoding),
        columns=column_options(None, token_column, encoding),
        kind=kind,
        with_probabilities=probabilities,
        n_best=n_best,
        is_tokenized=tokenized,
    )
    tell(say("{out}: {count:,} answers", out=out, count=count))


def evaluate(
    task: Learned,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Examples, as the task was learned from.")],
    embedding: Embedding = None,
    column: Column = None,
    token_column: TokenColumn = 0,
    lenient: Lenient = False,
    columns: Columns = None,
    quoted: Quoted = None,
    encoding: Encoding = "utf-8",
    device: Device = "auto",
    show_text: ShowText = False,
    as_json: AsJson = False,
    ui: Ui = "en",
) -> None:
    """Measure a task that was learned on examples that it has not seen."""
    from lowtide.tasks import Tagger

    if show_text and as_json:
        raise InputError("--show-text and --json do not go together: leave one of them out")
    opened = _open(task, embedding, device)
    reading: ColumnOptions | RowOptions
    if isinstance(opened, Tagger):
        if columns is not None or quoted is not None:
            raise InputError("a tagger reads a token a row: say --column and --token-column, not --columns or --quoted")
        reading = column_options(column, token_column, encoding)
        if lenient:
            opened.options = replace(opened.options, lenient=True)
    else:
        if lenient:
            raise InputError(f"--lenient says how spans are read, and a {opened.kind} has none: leave it out")
        if column is not None or token_column:
            raise InputError(f"a {opened.kind} reads an example a row: say --columns, not --column or --token-column")
        reading = row_options(columns, quoted, encoding)
    judged: Task[Any, Any] = opened
    found = judged.evaluate_examples(judged.read_examples(source, reading))
    print_json(found.as_json()) if as_json else print_evaluation(judged, found, show_text=show_text)


def text(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A file of examples.")],
    out: Annotated[Path | None, typer.Option(help="The text to write.")] = None,
    kind: Annotated[
        Literal["conll", "conllu", "tsv", "csv", "jsonl"] | None,
        typer.Option("--format", help="What INPUT is. [default: as its name says]"),
    ] = None,
    token_column: TokenColumn = 0,
    columns: Columns = None,
    quoted: Quoted = None,
    encoding: Encoding = "utf-8",
    ui: Ui = "en",
) -> None:
    """Write the texts of examples without their labels, one a line: for `lowtide pretrain TEXT --lines sentence`."""
    from lowtide.tasks.example_texts import write_example_texts

    if out is None:
        raise InputError("where should the text go? Name a file with --out FILE")
    count = write_example_texts(
        source,
        out,
        rows=row_options(columns, quoted, encoding),
        columns=column_options(None, token_column, encoding),
        kind=kind,
    )
    tell(say("{out}: {count:,} texts", out=out, count=count))


def _open(task: Path, embedding: Sequence[str] | None, device: str) -> Tagger | Classifier | Matcher:
    from lowtide.embeddings.loading import load_any
    from lowtide.tasks import load

    given = None if not embedding else [load_any(name, device=device) for name in embedding]
    return load(task, embeddings=given, device=device)
