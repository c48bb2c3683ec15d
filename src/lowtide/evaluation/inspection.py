"""What a model holds, without trusting its card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lowtide.config import to_json
from lowtide.embeddings.elmo import Elmo
from lowtide.errors import ModelError
from lowtide.messages import say, translated


@dataclass(frozen=True)
class CalibrationFacts:
    """What a calibration is of, and what it does."""

    num_tokens: int
    num_removed: int
    """Principal components that are taken off."""
    cosine_before: list[float]
    """By layer: the mean cosine of two random tokens."""
    cosine_after: list[float]
    cosines: str
    """Both, for reading."""

    def line(self) -> str:
        """For reading."""
        return say(
            "calibration {tokens:,} tokens; mean cosine of two random ones by layer, before and after: {cosines}",
            tokens=self.num_tokens,
            cosines=self.cosines,
        )


@dataclass(frozen=True)
class Inspection:
    """The facts of a model."""

    path: str
    format: str
    kind: str
    preset: str | None
    tokenizer: str
    num_layers: int
    width: int
    num_parameters: int
    """Of the biLM; the softmax not counted."""
    parameters: dict[str, int]
    """By part."""
    vocabulary_size: int | None
    """None if the model has no vocabulary."""
    num_more_words: int
    """That have a vector beyond the vocabulary."""
    has_softmax: bool
    checksum: str
    calibration: CalibrationFacts | None
    calibration_fault: str | None
    """Why the one that lies there cannot be used."""
    config: dict[str, Any]
    card: str
    """What its makers say of it, or nothing."""

    def lines(self) -> list[str]:
        """For reading, in the language that was chosen; the card not among them."""
        return [
            say("model       {path} ({format}, {kind})", path=self.path, format=self.format, kind=self.kind),
            say("tokenizer   {name}, {language}, version {version}", **self.config["tokenizer"]),
            say(
                "layers      {layers} of width {width}; layer 0 is before any context",
                layers=self.num_layers,
                width=self.width,
            ),
            say(
                "parameters  {number:,} ({parts})",
                number=self.num_parameters,
                parts=", ".join(f"{name} {count:,}" for name, count in self.parameters.items()),
            ),
            self._vocabulary_line(),
            say("checksum    {checksum}", checksum=self.checksum),
            self._calibration_line(),
        ]

    def _calibration_line(self) -> str:
        if self.calibration_fault is not None:
            return say("calibration cannot be used: {fault}", fault=translated(self.calibration_fault))
        return say("calibration none") if self.calibration is None else self.calibration.line()

    def _vocabulary_line(self) -> str:
        if self.vocabulary_size is None:
            return say("vocabulary  none, and no softmax: it cannot guess")
        told = (
            "vocabulary  {types:,} types, with an adaptive softmax"
            if self.has_softmax and self.config["cutoffs"]
            else "vocabulary  {types:,} types, with a softmax"
            if self.has_softmax
            else "vocabulary  {types:,} types, without a softmax"
        )
        more = say("; {words:,} words more have a vector", words=self.num_more_words) if self.num_more_words else ""
        return say(told, types=self.vocabulary_size) + more


def inspect(elmo: Elmo) -> Inspection:
    """Look at a model."""
    stored = elmo.stored
    tokenizer = stored.config.tokenizer
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in stored.bilm.named_children()}
    calibration, fault = _calibration(elmo)
    return Inspection(
        path=str(stored.path),
        format=stored.format,
        kind=stored.config.kind,
        preset=stored.config.preset,
        tokenizer=f"{tokenizer.name}, {tokenizer.language}, version {tokenizer.version}",
        num_layers=elmo.num_layers,
        width=elmo.width,
        num_parameters=sum(parts.values()),
        parameters=parts,
        vocabulary_size=None if stored.words is None else len(stored.words),
        num_more_words=len(stored.more_words),
        has_softmax=stored.read_softmax is not None,
        checksum=elmo.checksum,
        calibration=calibration,
        calibration_fault=fault,
        config=to_json(stored.config),
        card=stored.card,
    )


def _calibration(elmo: Elmo) -> tuple[CalibrationFacts | None, str | None]:
    try:
        found = elmo.calibration
    except ModelError as error:
        return None, str(error)
    if found is None:
        return None, None
    before, after = ([round(c, 4) for c in cosines.tolist()] for cosines in (found.cosine_before, found.cosine_after))
    return CalibrationFacts(found.num_tokens, found.num_removed, before, after, found.cosines()), None
