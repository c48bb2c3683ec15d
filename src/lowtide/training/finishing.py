"""The end of a training: the best state is taken, measured on all held-out text, calibrated, and written."""

from __future__ import annotations

import logging
from pathlib import Path

from lowtide.amounts import format_seconds
from lowtide.config import to_json
from lowtide.embeddings.calibrating import fit_to
from lowtide.embeddings.calibration import LEAST_TOKENS, MAX_TOKENS, Calibration
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.language_model import unigram_perplexity
from lowtide.errors import LowtideError
from lowtide.files import read_json, write_text
from lowtide.training.card import write_card
from lowtide.training.folder import work_of
from lowtide.training.log import draw_log
from lowtide.training.settings import Settings
from lowtide.training.trainer import Trainer
from lowtide.training.training_text import TrainingText
from lowtide.weights.native import CALIBRATION, MORE_WORDS, NAME, VOCABULARY, save_model
from lowtide.weights.stored import FORMAT_VERSION, ModelConfig, StoredModel

log = logging.getLogger("lowtide")

FORECAST = "forecast.json"
"""In the work folder: what the training was to take."""
_CALIBRATED_SHARE = 0.05
"""Of the tokens that training reads; a token is embedded in a third of the time that it is learnt from in."""
_LEAST_CALIBRATED = 10_000
"""Tokens, however short the training was."""


def model_config(settings: Settings, text: TrainingText) -> ModelConfig:
    """What stands in ``config.json``."""
    return ModelConfig(
        format_version=FORMAT_VERSION,
        kind="elmo",
        tokenizer=text.counts.tokenizer,
        trunk=settings.trunk,
        bilm=settings.bilm,
        documents=settings.documents,
        folds_case=text.folds_case,
        cutoffs=settings.cutoffs,
        preset=settings.preset,
        training=to_json(settings),
    )


def finish(trainer: Trainer, text: TrainingText, out: Path) -> None:
    """Take the best state, measure it on all held-out text, write the folder."""
    settings, position = trainer.settings, trainer.position
    forecast_seconds = _forecast_seconds(out) or position.seconds
    draw_log(out)
    trainer.restore_best()
    perplexity = trainer.perplexity(text.held_out) if text.held_out else None
    unigram = unigram_perplexity(text.vocabulary, text.held_out) if text.held_out else None
    calibration = _calibrate(trainer, text, out)
    card = write_card(
        out.resolve().name,
        settings,
        text.counts,
        position,
        corpus=text.description,
        num_truncated=text.num_truncated,
        perplexity=perplexity,
        unigram=unigram,
        calibration=calibration,
        num_more_words=len(text.more_words),
        num_parameters=sum(parameter.numel() for parameter in trainer.bilm.parameters()),
        forecast_seconds=forecast_seconds,
    )
    write_text(out / "README.md", card)
    if perplexity is not None:
        log.info(
            "held out    perplexity %.1f forward, %.1f backward; the unigram model has %.1f (%s targets)",
            perplexity.forward,
            perplexity.backward,
            unigram,
            f"{perplexity.num_targets:,}",
        )
        if unigram is not None and perplexity.mean >= unigram:
            log.warning(
                "the model predicts no better than one that counts words: give it more text, or let it read this one "
                "more often (--epochs, --time)"
            )
    if position.num_cut:
        longer = (
            "a document longer than a block"
            if settings.documents
            else f"a sentence longer than {settings.row_tokens} positions"
        )
        log.info("%s times %s was cut", f"{position.num_cut:,}", longer)
    error = forecast_seconds / max(position.seconds, 1e-9) - 1
    told = format_seconds(position.seconds), format_seconds(forecast_seconds), f"{error:+.0%}"
    log.info("time        %s; the forecast was %s (%s)", *told)
    config = model_config(settings, text)
    save_model(out, config, text.vocabulary, trainer.bilm, trainer.softmax, more_words=text.more_words)
    _log_whereabouts(settings, text, out, position.seconds)


def _forecast_seconds(out: Path) -> float | None:
    """What the training was to take; None where that is not known: begun by an older version, or damaged."""
    try:
        return float(read_json(work_of(out) / FORECAST)["seconds"])
    except (LowtideError, KeyError, TypeError, ValueError):
        return None


def _log_whereabouts(settings: Settings, text: TrainingText, out: Path, seconds: float) -> None:
    """Say where the model lies, and what it gives away."""
    log.info(
        "done        %s in %s. Whoever has this folder can read in %s which %s types stood %d times or "
        "more in the text",
        out,
        format_seconds(seconds),
        VOCABULARY,
        f"{len(text.vocabulary) - 3:,}",
        settings.min_count,
    )
    if text.more_words:
        log.info(
            "also        %s lists the %s words of %s that the text has not",
            MORE_WORDS,
            f"{len(text.more_words):,}",
            settings.begun_with,
        )


def _calibrate(trainer: Trainer, text: TrainingText, out: Path) -> Calibration | None:
    """Fit a calibration to the text that was trained on and lay it down; a function of model and text alone."""
    if text.num_train_tokens < LEAST_TOKENS:
        return None
    config, bilm = model_config(trainer.settings, text), trainer.bilm.eval()
    stored = StoredModel(out, NAME, config, bilm, text.vocabulary, more_words=text.more_words)
    elmo = Elmo(stored, device=trainer.settings.device)
    num_tokens = min(MAX_TOKENS, max(_LEAST_CALIBRATED, int(_CALIBRATED_SHARE * trainer.settings.budget_tokens)))
    calibration = fit_to(elmo, text.sample(num_tokens), max_tokens=num_tokens)
    calibration.save(out / CALIBRATION)
    return calibration
