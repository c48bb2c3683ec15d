"""What a model folder holds, without trusting its card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lowtide.config import to_json
from lowtide.embeddings.elmo import Elmo
from lowtide.messages import say
from lowtide.weights.native import SOFTMAX


@dataclass(frozen=True)
class Inspection:
    """The facts of a model."""

    folder: str
    kind: str
    preset: str | None
    tokenizer: str
    num_layers: int
    width: int
    num_parameters: int
    """Of the biLM; the softmax not counted."""
    parameters: dict[str, int]
    """By part."""
    vocabulary_size: int
    has_softmax: bool
    checksum: str
    config: dict[str, Any]
    card: str
    """The text of ``README.md``, or nothing."""

    def lines(self) -> list[str]:
        """For reading, in the language that was chosen; the card not among them."""
        return [
            say(
                "model       {folder} ({kind}, preset {preset})", folder=self.folder, kind=self.kind, preset=self.preset
            ),
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
            say(
                "vocabulary  {types:,} types, with a softmax"
                if self.has_softmax
                else "vocabulary  {types:,} types, without a softmax",
                types=self.vocabulary_size,
            ),
            say("checksum    {checksum}", checksum=self.checksum),
        ]


def inspect(elmo: Elmo) -> Inspection:
    """Look at a model."""
    stored = elmo.stored
    card = stored.folder / "README.md"
    tokenizer = stored.config.tokenizer
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in stored.bilm.named_children()}
    return Inspection(
        folder=str(stored.folder),
        kind=stored.config.kind,
        preset=stored.config.preset,
        tokenizer=f"{tokenizer.name}, {tokenizer.language}, version {tokenizer.version}",
        num_layers=elmo.num_layers,
        width=elmo.width,
        num_parameters=sum(parts.values()),
        parameters=parts,
        vocabulary_size=len(stored.vocabulary),
        has_softmax=(stored.folder / SOFTMAX).is_file(),
        checksum=elmo.checksum,
        config=to_json(stored.config),
        card=card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
    )
