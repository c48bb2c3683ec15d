"""Vectors of a text of any size into a file: what `Elmo.embed_to` does."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lowtide.amounts import parse_bytes
from lowtide.config import to_json
from lowtide.embeddings.embedding_files import Recipe, VectorFile
from lowtide.embeddings.file_forecast import keeps_spans, kind_for
from lowtide.embeddings.numbered import Cutter, NumberedLines, number
from lowtide.embeddings.outputs import check_output
from lowtide.embeddings.parts import Shard
from lowtide.embeddings.surroundings import JoinSurroundings
from lowtide.embeddings.unread import Unread
from lowtide.embeddings.warm_state import WarmState, embed_warm
from lowtide.errors import InputError

if TYPE_CHECKING:
    from lowtide.embeddings.elmo import Elmo
    from lowtide.model import LayerMix


@dataclass(frozen=True)
class WritingOptions:
    """What is written, and how; see `Elmo.embed_to`."""

    layers: str | int
    mix: LayerMix | None
    calibrated: bool
    pool: str | None
    keys: Literal["line", "id"]
    encoding: str
    is_tokenized: bool
    store: Literal["float32", "float16"] | None
    resume: bool
    shard: str | None
    max_memory: str | None
    stateful: int | None


def write_vectors(elmo: Elmo, texts: str | Path | Iterable[Any], out: Path, options: WritingOptions) -> int | None:
    """Write, or go on; see `Elmo.embed_to`."""
    check_output(out)
    share = None if options.shard is None else Shard.parse(options.shard)
    if options.stateful is not None and (options.resume or share is not None):
        raise InputError(
            "a warm state is carried through the whole text: there is no --resume and no --shard with --stateful"
        )
    tokenizer = elmo.cutting(is_tokenized=options.is_tokenized)
    cutter = Cutter(tokenizer, has_spans=keeps_spans(out))
    numbered = number(texts, cutter, keys=options.keys, encoding=options.encoding)
    mix, num_layers = options.mix, elmo.num_layers if options.layers == "all" else None
    width = elmo.width_of(options.layers)
    recipe = Recipe(
        reduction=elmo.reduction(options.layers, mix, calibrated=options.calibrated),
        kind=kind_for(out, num_layers, width, options.store, is_pooled=options.pool is not None),
        pool=options.pool,
        is_carried=elmo.stored.config.documents and isinstance(numbered, NumberedLines),
    )
    engine = elmo.engine if options.max_memory is None else elmo.engine.limited_to(parse_bytes(options.max_memory))

    def manifest() -> dict[str, Any]:
        mixed = None if mix is None else [mix.layer_norm, mix.layer_scalars.tolist(), mix.gamma.item()]
        by = elmo.calibration.checksum if options.calibrated and elmo.calibration is not None else None
        chosen: dict[str, Any] = {"layers": str(options.layers), "mix": mixed, "calibration": by, "keys": options.keys}
        around = recipe.reduction.of_sentence
        if isinstance(around, JoinSurroundings):
            chosen["surroundings"] = around.checksum  # counts, which are no part of a model's numbers
        model = {"model": elmo.checksum, "tokenizer": to_json(tokenizer.config), "device": elmo.device.type}
        return {**model, **chosen, **engine.settings}

    unread = Unread(elmo.stored)
    file = VectorFile(out, engine, recipe, manifest, unread.add)
    if options.stateful is None:
        written = file.write(numbered, resume=options.resume, shard=share)
    else:
        sentences, shown = itertools.tee(numbered.sentences())
        alone = (sentence.tokens for sentence in sentences)
        vectors = embed_warm(elmo.encoder(), alone, options.stateful, recipe.reduction, WarmState())
        written = file.write_stream(shown, vectors)
    numbered.log_repairs()
    unread.tell()
    return written.num_sentences if written.is_whole else None
