"""From files of text to a model folder: the whole of pretraining, as a user calls it."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lowtide.config import from_json, to_json
from lowtide.embeddings.elmo import Elmo, pick_device
from lowtide.embeddings.language_model import unigram_perplexity
from lowtide.errors import InputError
from lowtide.files import explained, folder_size, read_json, remove, write_json, write_text
from lowtide.progress import progress
from lowtide.text.corpus import Corpus, Lines, RawSentence
from lowtide.text.shards import CorpusCounts, PreparedCorpus, prepare
from lowtide.text.tokenize import (
    Sentence,
    Tokenizer,
    TokenizerName,
    detect_language,
    make_tokenizer,
    open_tokenizer,
)
from lowtide.text.vocabulary import Vocabulary
from lowtide.training import presets
from lowtide.training.budget import Budget, format_seconds
from lowtide.training.card import write_card
from lowtide.training.forecast import PROBE_SECONDS, Forecast, Probe, make_forecast, probe
from lowtide.training.settings import Settings, version
from lowtide.training.trainer import Trainer
from lowtide.weights.native import (
    CONFIG,
    FORMAT_VERSION,
    MODEL,
    VOCABULARY,
    ModelConfig,
    save_model,
    spelling_of,
)

log = logging.getLogger("lowtide")

HELD_OUT_SHARE = 0.01
MAX_VALID_TOKENS = 20_000
"""Of the held-out text, what is looked at during training; at the end all of it is."""
MAX_FINAL_TOKENS = 1_000_000
ROW_TOKENS = 64
_SMALLEST_SAMPLED = 4
"""The softmax is sampled when the vocabulary is at least this many times the samples."""


@dataclass(frozen=True)
class TextOptions:
    """How the text is to be read."""

    language: str = "auto"
    tokenizer: TokenizerName = "words"
    lines: Lines = "auto"
    encoding: str = "utf-8"
    min_count: int | None = None
    """The rarest type that the softmax predicts; None: 2, or 3 in large corpora."""
    valid: Path | None = None
    """Held-out text; None: one document in a hundred, by hash."""


@dataclass(frozen=True)
class TrainOptions:
    """What a user may decide about the training."""

    preset: str = "auto"
    budget: Budget = field(default_factory=Budget)
    device: str = "auto"
    threads: int | None = None
    seed: int = 0
    learning_rate: float | None = None


@dataclass(frozen=True)
class _Text:
    """A corpus made ready."""

    prepared: PreparedCorpus
    vocabulary: Vocabulary
    min_count: int
    description: str
    valid: list[Sentence]
    num_truncated: int
    num_symbols: int | None

    @property
    def counts(self) -> CorpusCounts:
        return self.prepared.counts

    @property
    def num_train_tokens(self) -> int:
        return self.counts.num_tokens - self.counts.num_held_out_tokens


def pretrain(
    texts: Sequence[str | Path],
    *,
    out: str | Path,
    preset: str = "auto",
    language: str = "auto",
    tokenizer: TokenizerName = "words",
    lines: Lines = "auto",
    encoding: str = "utf-8",
    valid: str | Path | None = None,
    min_count: int | None = None,
    time: str | None = None,
    epochs: float | None = None,
    tokens: str | int | None = None,
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    learning_rate: float | None = None,
    resume: bool = False,
) -> Elmo:
    """Train a bidirectional language model on unlabelled text.

    Sizes, vocabulary and passes follow the size of the corpus where they are not given. A stop at
    any moment loses at most a minute of work: call again with ``resume=True``. On a CPU, with the
    same number of threads and the same PyTorch, the resumed model is the same to the last bit.

    Args:
        texts: files, globs, folders; ``-`` is standard input.
        out: the model folder; all that is derived from the text lies in it.
        preset: ``tiny``, ``small``, ``medium``, ``original``, or ``auto``: as large as the text,
            and the time if it is given, are worth.
        language: of the text; ``auto`` tells Chinese from languages with spaces.
        tokenizer: ``words``, ``characters``, or ``whitespace`` for text that is cut already.
        lines: what a line is: ``sentence``, ``paragraph``, ``wrapped``, or ``auto``.
        encoding: of the files.
        valid: held-out text; without it one document in a hundred is kept apart.
        min_count: the rarest type that the softmax predicts.
        time: ``20m``, ``8h``: turned once into a number of tokens.
        epochs: passes over the text.
        tokens: ``50M``: tokens to read.
        device: ``auto``, ``cpu``, ``cuda``.
        threads: of the processor; None leaves PyTorch's choice.
        seed: of everything random.
        learning_rate: the highest; None: the preset's. With ``resume``, a new one.
        resume: go on with the training in ``out``, under the settings it began with.

    Returns:
        The model, opened from ``out``.

    Raises:
        InputError: if a text or an argument cannot be used, or ``out`` holds something already.
        TrainingError: if the loss is no number any more.
        WriteError: if ``out`` cannot be written.
    """
    text_options = TextOptions(language, tokenizer, lines, encoding, min_count, Path(valid) if valid else None)
    options = TrainOptions(preset, Budget(time, epochs, tokens), device, threads, seed, learning_rate)
    return run(texts, Path(out), text_options, options, resume=resume)


def run(
    texts: Sequence[str | Path],
    out: Path,
    text_options: TextOptions,
    options: TrainOptions,
    *,
    resume: bool = False,
) -> Elmo:
    """`pretrain`, with its arguments in two groups."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    work = out / "work"
    settings = _begun(out, options) if resume else None
    if settings is None:
        _refuse_occupied(out)
        with explained(out):
            work.mkdir(parents=True, exist_ok=True)
        text = _read(texts, text_options, work / "text")
        settings, told = _decide(text, options, work)
        for line in told.lines():
            log.info("%s", line)
        write_json(out / CONFIG, to_json(_model_config(settings, text)))
    else:
        settings.warn_if_elsewhere()
        text = _read_again(work / "text", settings)
    trainer = _trainer(settings, text, work=work, log_path=out / "training.jsonl")
    if resume and trainer.resume():
        log.info("going on from step %s", f"{trainer.position.step:,}")
    trainer.train()
    _finish(trainer, text, out)
    return Elmo.open(out, device=settings.device)


def forecast(texts: Sequence[str | Path], text_options: TextOptions, options: TrainOptions) -> Forecast:
    """What `pretrain` would do and cost; nothing is kept.

    Args:
        texts: files, globs, folders.
        text_options: how the text is to be read.
        options: what is decided already.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="lowtide-") as folder:
        text = _read(texts, text_options, Path(folder) / "text")
        return _decide(text, options, Path(folder))[1]


# -- the text ----------------------------------------------------------------------------------


def _read(texts: Sequence[str | Path], options: TextOptions, folder: Path) -> _Text:
    """Cut the corpus into tokens, on disk, and choose its vocabulary."""
    corpus = Corpus(texts, encoding=options.encoding, lines=options.lines)
    sentences: Iterator[RawSentence] = corpus.sentences()
    language = options.language
    if language == "auto":
        sample = list(itertools.islice(sentences, 2000))
        sentences = itertools.chain(sample, sentences)
        language = detect_language(sentence.text for sentence in sample)
    tokenizer = make_tokenizer(options.tokenizer, language=language)
    share = HELD_OUT_SHARE if options.valid is None else 0.0
    counts, occurrences = prepare(_shown(sentences, corpus), tokenizer, folder, held_out_share=share)
    description = corpus.describe()
    log.info(
        "read        %s: %s sentences, %s tokens (%s, %s)",
        description,
        f"{counts.num_sentences:,}",
        f"{counts.num_tokens:,}",
        counts.tokenizer.name,
        counts.tokenizer.language,
    )
    num_train_tokens = counts.num_tokens - counts.num_held_out_tokens
    is_alphabet = len(occurrences) <= presets.MAX_SYMBOLS
    min_count = options.min_count or presets.default_min_count(num_train_tokens)
    vocabulary = Vocabulary.from_counts(
        occurrences,
        num_sentences=counts.num_sentences - counts.num_held_out,
        num_tokens=num_train_tokens,
        min_count=min_count,
        max_types=presets.MAX_VOCABULARY,
    )
    if options.valid is not None:
        write_json(folder / "valid.json", _cut(options.valid, options, tokenizer))
    vocabulary.save(folder / VOCABULARY)
    write_json(folder / "text.json", {"description": description, "is_alphabet": is_alphabet, "min_count": min_count})
    return _opened(folder)


def _shown(sentences: Iterator[RawSentence], corpus: Corpus) -> Iterator[RawSentence]:
    with progress("reading", total=None, unit="sentences") as bar:
        for sentence in sentences:
            bar.advance(1)
            yield sentence


def _cut(valid: Path, options: TextOptions, tokenizer: Tokenizer) -> list[Sentence]:
    lines = Corpus([valid], encoding=options.encoding, lines=options.lines)
    sentences = [tokens for raw in lines.sentences() if (tokens := tokenizer.split(raw.text))]
    if not sentences:
        raise InputError(f"the held-out text {valid} holds no token")
    return _first_tokens(sentences, MAX_FINAL_TOKENS)


def _read_again(folder: Path, settings: Settings) -> _Text:
    text = _opened(folder)
    if len(text.vocabulary) != settings.vocabulary_size:
        raise InputError(f"{folder} is not the text that this training began with: start anew in another folder")
    return text


def _opened(folder: Path) -> _Text:
    """Open a text on disk; spells its types if that has not been done."""
    prepared = PreparedCorpus(folder)
    notes = read_json(folder / "text.json")
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    num_symbols = len(vocabulary) if notes["is_alphabet"] else None
    bilm = presets.bilm_config(presets.PRESETS["tiny"], num_symbols=num_symbols, dropout=0.0)
    num_truncated = prepared.spell(spelling_of(bilm, vocabulary), vocabulary)
    if (folder / "valid.json").is_file():
        valid = read_json(folder / "valid.json")
    else:
        valid = _first_tokens(prepared.read_sentences(prepared.held_out.tolist()), MAX_FINAL_TOKENS)
    return _Text(prepared, vocabulary, notes["min_count"], notes["description"], valid, num_truncated, num_symbols)


def _first_tokens(sentences: Sequence[Sentence], max_tokens: int) -> list[Sentence]:
    """Sentences from the whole list, evenly, until there are so many tokens."""
    total = sum(map(len, sentences))
    step = max(1, -(-total // max_tokens))
    return list(sentences[::step])


# -- the decisions -----------------------------------------------------------------------------


def _decide(text: _Text, options: TrainOptions, work: Path) -> tuple[Settings, Forecast]:
    """Choose all that the user has left open; a time becomes a number of tokens, by a probe.

    ``auto`` takes the largest preset that the corpus is large enough for; with a time, the largest
    of these that reads all of the text at least once in it.
    """
    names = presets.suited_presets(text.num_train_tokens) if options.preset == "auto" else [options.preset]
    for name in names:
        settings = _settings(text, options, name)
        trainer = _trainer(settings, text, work=work, log_path=work / "probe.jsonl")
        seconds = options.budget.seconds
        measured = probe(trainer, seconds=PROBE_SECONDS if seconds is None else min(PROBE_SECONDS, seconds / 10))
        if seconds is not None:
            settings = _within(settings, measured, seconds)
        if settings.epochs >= 1 or seconds is None or name == names[-1]:
            break
    told = make_forecast(settings, trainer, measured, corpus_bytes=folder_size(text.prepared.folder))
    return settings, told


def _settings(text: _Text, options: TrainOptions, preset_name: str) -> Settings:
    preset = presets.preset_named(preset_name)
    budget = options.budget.num_tokens
    if budget is None:
        epochs = options.budget.epochs or presets.DEFAULT_EPOCHS
        budget = max(1, round(epochs * text.num_train_tokens))
    is_sampled = len(text.vocabulary) >= _SMALLEST_SAMPLED * preset.num_samples
    dropout = presets.dropout_for(budget / text.num_train_tokens)
    return Settings(
        preset=preset_name,
        bilm=presets.bilm_config(preset, num_symbols=text.num_symbols, dropout=dropout),
        budget_tokens=budget,
        rows=preset.rows,
        row_tokens=ROW_TOKENS,
        num_samples=preset.num_samples if is_sampled else None,
        learning_rate=options.learning_rate or preset.learning_rate,
        seed=options.seed,
        min_count=text.min_count,
        vocabulary_size=len(text.vocabulary),
        num_train_tokens=text.num_train_tokens,
        num_threads=torch.get_num_threads(),
        torch_version=version(),
        device=str(pick_device(options.device)),
    )


def _within(settings: Settings, measured: Probe, seconds: float) -> Settings:
    """As many tokens as fit the time, and the dropout that so many passes need."""
    budget = max(1, int(measured.tokens_per_second * seconds))
    dropout = presets.dropout_for(budget / settings.num_train_tokens)
    bilm = dataclasses.replace(settings.bilm, dropout=dropout)
    return dataclasses.replace(settings, budget_tokens=budget, bilm=bilm)


def _trainer(settings: Settings, text: _Text, *, work: Path, log_path: Path) -> Trainer:
    return Trainer(
        settings,
        text.prepared,
        text.vocabulary,
        _first_tokens(text.valid, MAX_VALID_TOKENS),
        tokenizer=open_tokenizer(text.counts.tokenizer),
        work=work,
        log_path=log_path,
    )


# -- the folder --------------------------------------------------------------------------------


def _refuse_occupied(out: Path) -> None:
    if (out / MODEL).exists():
        raise InputError(f"{out} holds a model already: choose another --out, or remove it")
    if (out / CONFIG).exists():
        raise InputError(f"{out} holds a training that has not ended: go on with --resume, or remove it")
    if out.is_dir() and any(path.name != "work" for path in out.iterdir()):
        raise InputError(f"{out} is not empty: choose another --out")


def _begun(out: Path, options: TrainOptions) -> Settings | None:
    """The settings of the training that lies in ``out``; None if none has come as far as that."""
    if (out / MODEL).exists() and not (out / "work").exists():
        raise InputError(f"the training in {out} has ended: there is nothing to resume")
    if not (out / CONFIG).exists():
        return None
    config = from_json(ModelConfig, read_json(out / CONFIG), where=str(out / CONFIG))
    settings = from_json(Settings, config.training, where=f"{out / CONFIG}: training")
    if options.learning_rate is not None:
        settings = dataclasses.replace(settings, learning_rate=options.learning_rate)
    return settings


def _model_config(settings: Settings, text: _Text) -> ModelConfig:
    return ModelConfig(
        format_version=FORMAT_VERSION,
        kind="elmo",
        tokenizer=text.counts.tokenizer,
        trunk="elmo",
        bilm=settings.bilm,
        preset=settings.preset,
        training=to_json(settings),
    )


def _finish(trainer: Trainer, text: _Text, out: Path) -> None:
    """Take the best state, measure it on all held-out text, write the folder, remove the work."""
    settings, position = trainer.settings, trainer.position
    trainer.restore_best()
    if text.valid:
        perplexity = trainer.perplexity(text.valid)
        unigram = unigram_perplexity(text.vocabulary, text.valid)
        card = write_card(
            out.name,
            settings,
            text.counts,
            position,
            corpus=text.description,
            num_truncated=text.num_truncated,
            perplexity=perplexity,
            unigram=unigram,
            num_parameters=sum(parameter.numel() for parameter in trainer.bilm.parameters()),
        )
        write_text(out / "README.md", card)
        log.info(
            "held out    perplexity %.1f forward, %.1f backward; the unigram model has %.1f (%s targets)",
            perplexity.forward,
            perplexity.backward,
            unigram,
            f"{perplexity.num_targets:,}",
        )
    if position.num_cut:
        log.info(
            "%s times a sentence longer than %d positions was cut",
            f"{position.num_cut:,}",
            settings.row_tokens,
        )
    save_model(out, _model_config(settings, text), text.vocabulary, trainer.bilm, trainer.softmax)
    remove(out / "work")
    log.info(
        "done        %s in %s. Whoever has this folder can read in %s which %s types stood %d times or "
        "more in the text",
        out,
        format_seconds(position.seconds),
        VOCABULARY,
        f"{len(text.vocabulary) - 3:,}",
        settings.min_count,
    )
