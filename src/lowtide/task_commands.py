"""The commands that teach a task: `lowtide train tagger|classifier|matcher`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from lowtide.arguments import AsJson, Device, Encoding, Resume, Ui
from lowtide.console import print_json, stopped, tell
from lowtide.errors import InputError
from lowtide.messages import say

if TYPE_CHECKING:
    from lowtide.tasks import ColumnOptions, RowOptions
    from lowtide.tasks.options import FitOptions, LayerOptions
    from lowtide.tasks.reports import Evaluation
    from lowtide.tasks.task import Task


class _TaskGroup(TyperGroup):
    """Whoever says `train` and means `pretrain` is told so."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise InputError(
                f"`train` teaches a task: lowtide train {'|'.join(self.commands)} MODEL TRAIN --out DIR. For a "
                f"language model from raw text: lowtide pretrain {args[0]} --out DIR"
            )
        return super().resolve_command(ctx, args)


train = typer.Typer(
    cls=_TaskGroup,
    help="Teach a task to a head over one or several models; the weights of the layers are learned with it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help="Models of any rung; several are put together.")]
Train = Annotated[Path, typer.Argument(metavar="TRAIN", help="The examples to learn from.")]
Valid = Annotated[Path | None, typer.Option(help="Examples that decide when to stop.")]
Test = Annotated[Path | None, typer.Option(help="Examples to judge by.")]
Out = Annotated[Path | None, typer.Option(help="The folder to make.")]
Layers = Annotated[str, typer.Option(help="learned, top, average, sum, 0, 1, 2.")]
LayerNorm = Annotated[Literal["none", "token"], typer.Option(help="What is done to every layer first.")]
Penalty = Annotated[float, typer.Option(min=0, help="Lambda: how much the layers are held near their plain mean.")]
AtOutput = Annotated[bool, typer.Option("--at-output", help="A second mix beside what the reader says.")]
Reader = Annotated[Literal["lstm", "none"], typer.Option(help="What reads the vectors: a BiLSTM, or nothing.")]
StateWidth = Annotated[int, typer.Option(min=1, help="Of the BiLSTM, in each direction.")]
Characters = Annotated[int, typer.Option(min=0, help="Filters over the letters of every word; 0: none.")]
Dropout = Annotated[float, typer.Option(min=0, max=0.99, help="Of what the BiLSTM reads and says.")]
Epochs = Annotated[int, typer.Option(min=1, help="At most.")]
Patience = Annotated[int, typer.Option(min=1, help="Epochs without a better score, before it stops.")]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Examples of a step. [default: 50 steps an epoch, of 4 to 32]")
]
Rate = Annotated[float, typer.Option(help="The highest learning rate.")]
Seeds = Annotated[
    int, typer.Option(min=1, max=1000, help="Learn so many times, with other seeds; mean and spread are told.")
]
Seed = Annotated[int, typer.Option(min=0, help="The first one.")]
FineTune = Annotated[bool, typer.Option("--fine-tune", help="Let the models learn with the task, layer by layer.")]
ShowText = Annotated[bool, typer.Option("--show-text", help="Show some test examples with a wrong answer.")]
Column = Annotated[
    str | None, typer.Option(help="Of the tags: a number from 0; in CoNLL-U a name. [default: the last; upos]")
]
TokenColumn = Annotated[int, typer.Option(help="Of the tokens: a number from 0; CoNLL-U has its own.")]
Lenient = Annotated[
    bool,
    typer.Option("--lenient", help="Read spans that break their scheme as seqeval does, instead of refusing them."),
]
Columns = Annotated[
    str | None, typer.Option(help="What the columns are, if the file does not say: 'label text', 'score first second'.")
]
Quoted = Annotated[
    bool | None, typer.Option(help="Whether fields stand in quotation marks. [default: in .csv they may]")
]
Pool = Annotated[Literal["mean", "max", "both"], typer.Option(help="One vector a text, of those of its tokens.")]


@train.command(epilog="lowtide train tagger en train.conll --valid valid.conll --test test.conll --out names")
def tagger(
    models: Models,
    train: Train,
    valid: Valid = None,
    test: Test = None,
    out: Out = None,
    column: Column = None,
    token_column: TokenColumn = 0,
    scheme: Annotated[
        Literal["auto", "none", "IOB1", "IOB2", "BIOES", "BMES", "BILOU"], typer.Option(help="How tags write spans.")
    ] = "auto",
    lenient: Lenient = False,
    layers: Layers = "learned",
    layer_norm: LayerNorm = "none",
    penalty: Penalty = 0.001,
    at_output: AtOutput = False,
    reader: Reader = "lstm",
    state_width: StateWidth = 200,
    characters: Characters = 30,
    dropout: Dropout = 0.5,
    epochs: Epochs = 20,
    patience: Patience = 10,
    batch_size: BatchSize = None,
    learning_rate: Rate = 3e-3,
    seeds: Seeds = 1,
    seed: Seed = 0,
    fine_tune: FineTune = False,
    resume: Resume = False,
    encoding: Encoding = "utf-8",
    device: Device = "auto",
    show_text: ShowText = False,
    as_json: AsJson = False,
    ui: Ui = "en",
) -> None:
    """A tag for every token: names, parts of speech. Files: CoNLL columns, CoNLL-U, JSON lines."""
    from lowtide.tasks import Tagger, TaggerOptions

    options = TaggerOptions(
        layers=_layers(layers, layer_norm, penalty, at_output),
        reader=reader,
        state_width=state_width,
        char_filters=characters,
        dropout=dropout,
        scheme=scheme,
        lenient=lenient,
    )
    _teach(
        lambda embeddings: Tagger(embeddings, options, device=device),
        models,
        (train, valid, test),
        out,
        _fit_options(epochs, patience, batch_size, learning_rate, fine_tune),
        column_options(column, token_column, encoding),
        (seed, seeds),
        device=device,
        show_text=show_text,
        as_json=as_json,
        resume=resume,
    )


@train.command(epilog="lowtide train classifier en train.tsv --valid valid.tsv --test test.tsv --out sentiment")
def classifier(
    models: Models,
    train: Train,
    valid: Valid = None,
    test: Test = None,
    out: Out = None,
    columns: Columns = None,
    quoted: Quoted = None,
    pool: Pool = "both",
    layers: Layers = "learned",
    layer_norm: LayerNorm = "none",
    penalty: Penalty = 0.001,
    at_output: AtOutput = False,
    reader: Reader = "lstm",
    state_width: StateWidth = 200,
    characters: Characters = 0,
    dropout: Dropout = 0.5,
    epochs: Epochs = 20,
    patience: Patience = 10,
    batch_size: BatchSize = None,
    learning_rate: Rate = 3e-3,
    seeds: Seeds = 1,
    seed: Seed = 0,
    fine_tune: FineTune = False,
    resume: Resume = False,
    encoding: Encoding = "utf-8",
    device: Device = "auto",
    show_text: ShowText = False,
    as_json: AsJson = False,
    ui: Ui = "en",
) -> None:
    """A label for every text: topics, sentiment. Files: TSV (label, text), CSV, JSON lines."""
    from lowtide.tasks import Classifier, ClassifierOptions

    options = ClassifierOptions(
        layers=_layers(layers, layer_norm, penalty, at_output),
        reader=reader,
        state_width=state_width,
        char_filters=characters,
        dropout=dropout,
        pool=pool,
    )
    _teach(
        lambda embeddings: Classifier(embeddings, options, device=device),
        models,
        (train, valid, test),
        out,
        _fit_options(epochs, patience, batch_size, learning_rate, fine_tune),
        row_options(columns, quoted, encoding),
        (seed, seeds),
        device=device,
        show_text=show_text,
        as_json=as_json,
        resume=resume,
    )


@train.command(epilog="lowtide train matcher en train.tsv --valid valid.tsv --out alike --objective cosine")
def matcher(
    models: Models,
    train: Train,
    valid: Valid = None,
    test: Test = None,
    out: Out = None,
    objective: Annotated[
        Literal["classify", "cosine", "contrastive"],
        typer.Option(help="What is learned: labels; a score; which of two labels by how far texts are apart."),
    ] = "classify",
    same_label: Annotated[str, typer.Option(help="Of contrastive: the label of texts that belong together.")] = "1",
    margin: Annotated[float, typer.Option(help="Of contrastive: how far apart others shall be.")] = 1.0,
    columns: Columns = None,
    quoted: Quoted = None,
    pool: Pool = "both",
    layers: Layers = "learned",
    layer_norm: LayerNorm = "none",
    penalty: Penalty = 0.001,
    at_output: AtOutput = False,
    reader: Reader = "lstm",
    state_width: StateWidth = 200,
    characters: Characters = 0,
    dropout: Dropout = 0.5,
    epochs: Epochs = 20,
    patience: Patience = 10,
    batch_size: BatchSize = None,
    learning_rate: Rate = 3e-3,
    seeds: Seeds = 1,
    seed: Seed = 0,
    fine_tune: FineTune = False,
    resume: Resume = False,
    encoding: Encoding = "utf-8",
    device: Device = "auto",
    show_text: ShowText = False,
    as_json: AsJson = False,
    ui: Ui = "en",
) -> None:
    """What two texts are to each other. Files: TSV, CSV (a first line names the columns), JSON lines."""
    from lowtide.tasks import Matcher, MatcherOptions

    options = MatcherOptions(
        layers=_layers(layers, layer_norm, penalty, at_output),
        reader=reader,
        state_width=state_width,
        char_filters=characters,
        dropout=dropout,
        pool=pool,
        objective=objective,
        same_label=same_label,
        margin=margin,
    )
    _teach(
        lambda embeddings: Matcher(embeddings, options, device=device),
        models,
        (train, valid, test),
        out,
        _fit_options(epochs, patience, batch_size, learning_rate, fine_tune),
        row_options(columns, quoted, encoding),
        (seed, seeds),
        device=device,
        show_text=show_text,
        as_json=as_json,
        resume=resume,
    )


def _layers(choice: str, layer_norm: Literal["none", "token"], penalty: float, at_output: bool) -> LayerOptions:
    from lowtide.tasks import LayerOptions

    return LayerOptions(choice, layer_norm, penalty, at_output)


def _fit_options(
    epochs: int, patience: int, batch_size: int | None, learning_rate: float, fine_tune: bool
) -> FitOptions:
    from lowtide.tasks import FineTuning, FitOptions

    return FitOptions(
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        learning_rate=learning_rate,
        fine_tuning=FineTuning() if fine_tune else None,
    )


def _teach(
    make: Callable[[list[Any]], Any],
    models: list[str],
    files: tuple[Path, Path | None, Path | None],
    out: Path | None,
    options: FitOptions,
    reading: Any,
    seeds: tuple[int, int],
    *,
    device: str,
    show_text: bool,
    as_json: bool,
    resume: bool,
) -> None:
    """Learn with every seed, and tell what came of it."""
    from lowtide.embeddings.loading import load_any
    from lowtide.tasks.seeds import Files, fit_seeds
    from lowtide.training.folder import TASK, is_under_way

    if out is None:
        raise InputError("where should the task go? Name a folder with --out DIR")
    if show_text and (as_json or files[2] is None):
        raise InputError("--show-text shows test examples: name them with --test FILE, and leave --json out")
    embeddings = [load_any(model, device=device) for model in models]
    first, count = seeds

    def told(task: Task[Any, Any], found: Evaluation) -> None:
        if not as_json:
            if count > 1:
                print(say("seed {seed}", seed=task.fit_options.seed))
            print_evaluation(task, found, show_text=show_text)

    try:
        report = fit_seeds(
            lambda: make(embeddings),
            Files(*files),
            out,
            seeds=range(first, first + count),
            options=options,
            reading=reading,
            told=told,
            resume=resume,
        )
    except KeyboardInterrupt:
        if is_under_way(out, TASK):
            raise stopped() from None
        raise
    print_json(report.as_json()) if as_json else print("\n".join(report.lines()))
    tell(say("{out}: learned", out=out))


def column_options(column: str | None, token_column: int, encoding: str) -> ColumnOptions:
    """How a file with a token a row is read."""
    from lowtide.tasks import ColumnOptions

    is_number = column is not None and column.removeprefix("-").isdecimal()
    return ColumnOptions(int(column) if column is not None and is_number else column, token_column, encoding)


def row_options(columns: str | None, quoted: bool | None, encoding: str) -> RowOptions:
    """How a file with an example a row is read."""
    from lowtide.tasks import RowOptions

    return RowOptions(None if columns is None else tuple(columns.split()), quoted, encoding)


def print_evaluation(task: Task[Any, Any], found: Evaluation, *, show_text: bool) -> None:
    """Print how good the answers of a task are; and some wrong ones, if texts may be shown."""
    from lowtide.tasks.reports import show_example

    print("\n".join(found.lines()))
    if show_text:
        print("\n".join(show_example(example, answer) for example, answer in task.worst))
