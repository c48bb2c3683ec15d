"""From files of text to a model folder: the whole of pretraining, as a user calls it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from lowtide.config import to_json
from lowtide.embeddings.elmo import Elmo
from lowtide.errors import InputError
from lowtide.files import write_json
from lowtide.model import CharCNNConfig, Dropouts
from lowtide.text.corpus import Lines, as_inputs
from lowtide.text.tokenize import TokenizerName
from lowtide.training.budget import Budget
from lowtide.training.finishing import FORECAST, finish, model_config
from lowtide.training.folder import begin_work, remove_work, reserved, work_of
from lowtide.training.forecast import Forecast
from lowtide.training.log import LOG
from lowtide.training.planning import TrainOptions, plan, refuse_other_width, refuse_together
from lowtide.training.ranks import Ranks, opened
from lowtide.training.reading import Inputs, TextOptions, read_text
from lowtide.training.regularisation import dropouts_said
from lowtide.training.resuming import asked_for, begun, remember
from lowtide.training.settings import Objective, SoftmaxName, TrainableTrunk, TrainingDtype
from lowtide.training.trainer import Trainer
from lowtide.training.training_text import TrainingText, open_text
from lowtide.training.watching import tensorboard as write_tensorboard
from lowtide.weights.native import CONFIG

log = logging.getLogger("lowtide")


def pretrain(
    texts: Sequence[str | Path] | str | Path,
    *,
    out: str | Path,
    preset: str = "auto",
    trunk: TrainableTrunk | None = None,
    language: str = "auto",
    tokenizer: TokenizerName | None = None,
    lines: Lines = "auto",
    encoding: str = "utf-8",
    documents: bool = False,
    objective: Objective = "lm",
    inputs: Inputs = "auto",
    vectors: str | Path | None = None,
    tied: bool | None = None,
    weights: float | Sequence[float] = (),
    lowercase: float = 0.0,
    from_model: str | Path | None = None,
    valid: str | Path | None = None,
    min_count: int | None = None,
    max_types: int | None = None,
    time: str | None = None,
    epochs: float | None = None,
    tokens: str | int | None = None,
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    learning_rate: float | None = None,
    dropout: float | str | Dropouts | None = None,
    softmax: SoftmaxName | None = None,
    dtype: TrainingDtype = "float32",
    tensorboard: bool = False,
    resume: bool = False,
) -> Elmo:
    """Train a bidirectional language model on unlabelled text.

    Sizes, vocabulary and passes follow the size of the corpus where they are not given. A stop at
    any moment loses at most a minute of work: call again with ``resume=True``. On a CPU, with the
    same number of threads and the same PyTorch, the resumed model is the same to the last bit.

    Args:
        texts: files, globs, folders, several or one; ``-`` is standard input.
        out: the model folder; all that is derived from the text lies in it.
        preset: ``tiny``, ``small``, ``medium``, ``original``, or ``auto``: as large as the text,
            and the time if it is given, are worth.
        trunk: ``elmo``, the published cell with a clipped projection; or ``lstm``, a plain one of a width that takes as
            many products a token. None: ``elmo``, or that of ``from_model``.
        language: of the text; ``auto`` tells Chinese from languages with spaces.
        tokenizer: ``words``, ``characters``, or ``whitespace`` for text that is cut already; None:
            words, and of FASTA the characters, which are its residues.
        lines: what a line is: ``sentence``, ``paragraph``, ``wrapped``, ``fasta``, or ``auto``.
        encoding: of the files.
        documents: whether the state is carried from sentence to sentence within a document, forward one
            way, backward the other. A blank line parts documents, and so does the end of a file.
        objective: ``lm+cloze`` learns beside the two language models to tell a token from the states on both
            sides of it, with the same softmax: for vectors that know what a word means in its place.
        inputs: what token vectors are made of: ``characters``, or ``words``: looked up, one for every type of the
            vocabulary, and one for all others. ``auto``: characters, but of at most 1,000 types each is looked up.
        vectors: the folder of a `Word2Vec` whose vectors the token vectors begin as, with ``inputs="words"``.
        tied: whether the softmax predicts with the vectors that are looked up; None: with ``inputs="words"``.
        weights: how often each of ``texts`` is read in one pass: 2 is twice, 0.2 a fifth of it, in each pass another
            one; none: once each.
        lowercase: the share of the sentences, 0 to 1, that are read in lower case: for a model that is to know text
            without capitals, too.
        from_model: a model that the training begins with, ours or a published one: for another domain. Its sizes and
            its way to cut text are kept; what is predicted are the types of ``texts``. Where words are looked up, those
            that the model knew keep their vectors, whether they stand in ``texts`` or not.
        valid: held-out text; without it one document in a hundred is kept apart.
        min_count: the rarest type that the softmax predicts.
        max_types: how many types it predicts, at most: the commonest ones.
        time: ``20m``, ``8h``: turned once into a number of tokens.
        epochs: passes over the text.
        tokens: ``50M``: tokens to read.
        device: ``auto``, ``cpu``, ``cuda``.
        threads: of the processor; None: as many as it has, but one for ``tiny``.
        seed: of everything random.
        learning_rate: the highest; None: the preset's. With ``resume``, a new one.
        dropout: what is left out while training: one rate, a `lowtide.model.Dropouts`, or a text as the command line
            has it (``types=0.1,inputs=0.4,locked``); None: by the passes over the text, more
            where ``inputs="words"`` reads a small text often (`lowtide.training.regularisation`).
        softmax: ``full``; ``sampled``, which learns to tell a type from some that are drawn; ``adaptive``, which
            predicts rare types in two steps; None: full, but where the vocabulary is large adaptive if the softmax is
            tied, else sampled.
        dtype: ``bfloat16`` rounds the operands of products to 16 bits, for GPUs and processors that multiply these
            quicker; weights, states and sums stay float32, and so is what is looked at: the perplexity, the model.
        tensorboard: whether to write what the log says for TensorBoard, too, in ``out/tensorboard``.
        resume: go on with the training in ``out``, under the settings it began with.

    Returns:
        The model, opened from ``out``.

    Raises:
        InputError: if a text or an argument cannot be used, or ``out`` holds something already.
        TrainingError: if the loss is no number any more.
        WriteError: if ``out`` cannot be written.
    """
    text_options = TextOptions(
        language=language,
        tokenizer=tokenizer,
        lines=lines,
        encoding=encoding,
        min_count=min_count,
        valid=Path(valid) if valid else None,
        documents=documents,
        inputs=inputs,
        vectors=Path(vectors) if vectors else None,
        weights=(weights,) if isinstance(weights, (int, float)) else tuple(weights),
        max_types=max_types,
        lowercase=lowercase,
        from_model=Path(from_model) if from_model else None,
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
        dropouts=_dropouts(dropout),
        softmax=softmax,
        dtype=dtype,
    )
    return run(as_inputs(texts), Path(out), text_options, options, resume=resume)


def _dropouts(said: float | str | Dropouts | None) -> Dropouts | None:
    if isinstance(said, str):
        return dropouts_said(said)
    return Dropouts.plain(said) if isinstance(said, (int, float)) else said


def run(
    texts: Sequence[str | Path],
    out: Path,
    text_options: TextOptions,
    options: TrainOptions,
    *,
    resume: bool = False,
) -> Elmo:
    """`pretrain`, with its arguments in two groups."""
    refuse_together(text_options, options)
    with opened() as ranks, reserved(out) if ranks.is_first else nullcontext():
        device = _train(texts, out, text_options, options, ranks, resume=resume)
        ranks.meet()  # no process has the text open any more
        if ranks.is_first:
            remove_work(out)
    return Elmo.open(out, device=device)


def _train(
    texts: Sequence[str | Path],
    out: Path,
    text_options: TextOptions,
    options: TrainOptions,
    ranks: Ranks,
    *,
    resume: bool,
) -> str:
    """Make the folder what it is to be; returns the device."""
    work = work_of(out)
    asked = asked_for(texts, text_options, options)
    settings = begun(out, asked, options, writes=ranks.is_first) if resume else None
    if settings is None:
        if ranks.is_first:
            begin_work(out)
        if resume:
            log.info("nothing to resume in %s: beginning", out)
        refuse_other_width(text_options, options)
        text = _opened_by_all(ranks, lambda: read_text(texts, text_options, work / "text"), work / "text")
        settings, told = plan(text, options, work, ranks)
        if text.num_truncated:
            log.info(
                "cut         %s types are longer than %d bytes; the rest of them is not read",
                f"{text.num_truncated:,}",
                (settings.bilm.char_cnn or CharCNNConfig()).max_characters - 2,
            )
        for line in told.lines():
            log.info("%s", line)
        if ranks.is_first:
            remember(out, asked)
            write_json(work / FORECAST, {"seconds": told.seconds})
            write_json(out / CONFIG, to_json(model_config(settings, text)))
    else:
        settings.warn_if_elsewhere(ranks.size)
        text = _opened_by_all(ranks, lambda: _opened_again(work / "text"), work / "text")
    if ranks.size > 1:
        log.info("processes   %s, which divide the %s rows of a batch", ranks.size, settings.rows)
    trainer = Trainer(settings, text, work=work, log_path=out / LOG, ranks=ranks)
    first_step = 0
    if resume and trainer.resume():
        log.info("going on from step %s", f"{trainer.position.step:,}")
        first_step = trainer.position.step + 1  # what is told of this one was told before the checkpoint
    is_watched = options.tensorboard and ranks.is_first
    watching = write_tensorboard(out, step=first_step) if is_watched else nullcontext()
    with settings.threads(), watching as watcher:
        trainer.train(watcher)
        if ranks.is_first:
            finish(trainer, text, out)
        ranks.share(None)  # the others wait for it
    return str(ranks.device(settings.device))


def _opened_by_all(ranks: Ranks, read: Callable[[], TrainingText], folder: Path) -> TrainingText:
    """The text that the first process has read, opened by every one.

    Raises:
        InputError: if a process cannot see it.
    """
    text = read() if ranks.is_first else None
    ranks.share(None)  # the others wait for it
    if text is None:
        if not folder.is_dir():
            raise InputError(f"{folder} is not there: --out has to be a folder that the hosts of all processes share")
        text = open_text(folder, is_spelled=True)
    return text


def _opened_again(folder: Path) -> TrainingText:
    """The text of a training that goes on, as it was when it began."""
    text = open_text(folder)
    text.prepared.verify()
    return text


def forecast(texts: Sequence[str | Path], text_options: TextOptions, options: TrainOptions) -> Forecast:
    """What `pretrain` would do and cost; nothing is kept.

    Args:
        texts: files, globs, folders.
        text_options: how the text is to be read.
        options: what is decided already.
    """
    refuse_together(text_options, options)
    refuse_other_width(text_options, options)
    with opened() as ranks, tempfile.TemporaryDirectory(prefix="lowtide-") as own:
        folder = Path(ranks.share(own))
        text = _opened_by_all(ranks, lambda: read_text(texts, text_options, folder / "text"), folder / "text")
        told = plan(text, options, folder, ranks)[1]
        ranks.meet()
        return told
