"""A training that begins with a model: ours, or a published one, goes on with another text.

The network stays what it was. What is predicted are the types of the new text: those that the model knows keep their
row of the softmax, the others begin as in any training. Where vectors are looked up, all that the model knew keep
theirs, and the others begin at that of ``<UNK>``: the network knows what to make of it, and not of a random one. A
published HDF5 file has no softmax: all of it is learnt anew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lowtide.embeddings.loading import read
from lowtide.errors import InputError
from lowtide.model import AdaptiveSoftmax, BiLM, BiLMConfig, Softmax
from lowtide.model.adaptive_softmax import part_of
from lowtide.text.vocabulary import SPECIALS, Vocabulary
from lowtide.training.settings import TrainableTrunk
from lowtide.weights.native import TABLE, read_tensors, save_tensors
from lowtide.weights.stored import StoredModel

log = logging.getLogger("lowtide")

_KNOWN = "known"
"""What the softmax knows: (types,)."""
_CLUSTERS, _CLUSTER_BIAS = "softmax.cluster_weight", "softmax.cluster_bias"
_PART = "softmax.part"
"""(types,): of an adaptive softmax 0 for a common type, then the number of its cluster; 0 everywhere of another one."""


@dataclass(frozen=True)
class StartConfig:
    """What a training takes over from the model that it begins with, besides numbers."""

    name: str
    """Of the model, without its path."""
    checksum: str
    """Of the model."""
    bilm: BiLMConfig
    trunk: TrainableTrunk
    is_tied: bool
    """Whether input and output share their vectors."""
    is_adaptive: bool = False
    """Whether rare types are predicted in two steps."""


@dataclass(frozen=True)
class Start:
    """All that a training takes over from the model that it begins with."""

    config: StartConfig
    tensors: Path
    """The file that `write_start` has laid down."""


def open_start(model: Path) -> StoredModel:
    """Open the model that a training is to begin with.

    Raises:
        InputError: if its network cannot be trained.
    """
    stored = read(model)
    if not isinstance(stored.bilm, BiLM) or stored.letters is not None:
        raise InputError(
            f"{model} ({stored.format}) cannot be trained further: expected a network of two directions that never "
            "meet, over bytes or over symbols, such as `lowtide pretrain` makes or ELMo was published as"
        )
    return stored


def words_beyond(stored: StoredModel, vocabulary: Vocabulary) -> list[str]:
    """What a model that looks words up knows, and a text has not: none, if it looks nothing up."""
    if stored.bilm.type_vectors is None or stored.words is None:
        return []
    types = list(enumerate(stored.words.types))[len(SPECIALS) :]
    found = [type_ for number, type_ in types if stored.words.shown(number) == type_]  # none that stands twice
    return [word for word in [*found, *stored.more_words] if word not in vocabulary]


def write_start(
    stored: StoredModel, vocabulary: Vocabulary, target: Path, more_words: Sequence[str] = ()
) -> StartConfig:
    """Lay down the numbers of a model, as far as they fit another vocabulary.

    Args:
        stored: from `open_start`.
        vocabulary: of the text that is to be trained on.
        target: the file.
        more_words: what is looked up besides, from `words_beyond`.
    """
    tensors = {f"bilm.{name}": tensor for name, tensor in stored.bilm.state_dict().items()}
    known = torch.zeros(len(vocabulary), dtype=torch.bool)
    softmax = None if stored.read_softmax is None else stored.load_softmax()
    if stored.words is not None:
        words = stored.words
        known = torch.tensor([type_ in words for type_ in vocabulary.types])
        rows = torch.from_numpy(words.indices(vocabulary.types))  # of <UNK> where a type is not known
        if stored.config.bilm.symbols is not None:
            places = torch.from_numpy(stored.spelling.char_ids([*vocabulary.types, *more_words])[:, 0]).long()
            tensors[f"bilm.{TABLE}"] = tensors[f"bilm.{TABLE}"][places]
        if softmax is not None:
            part = part_of(rows, stored.config.cutoffs)
            tensors |= {"softmax.weight": softmax.weight[rows], "softmax.bias": softmax.bias[rows], _PART: part}
            if isinstance(softmax, AdaptiveSoftmax):
                tensors |= {_CLUSTERS: softmax.cluster_weight, _CLUSTER_BIAS: softmax.cluster_bias}
    save_tensors(target, {**tensors, _KNOWN: known})
    if stored.words is not None:
        log.info("known       %s of %s types, from %s", f"{int(known.sum()):,}", f"{len(vocabulary):,}", stored.path)
    config = stored.config.bilm
    if config.symbols is not None:
        config = replace(config, symbols=replace(config.symbols, num_symbols=len(vocabulary) + len(more_words)))
    table = stored.bilm.type_vectors
    return StartConfig(
        name=stored.path.resolve().name,
        checksum=stored.checksum,
        bilm=config,
        trunk="lstm" if stored.config.trunk == "lstm" else "elmo",
        is_adaptive=isinstance(softmax, AdaptiveSoftmax),
        is_tied=softmax is not None and table is not None and torch.equal(softmax.weight, table[: len(softmax.weight)]),
    )


@torch.no_grad()
def begin_at(start: Path, bilm: BiLM, softmax: Softmax) -> None:
    """Take over what `write_start` has laid down.

    Args:
        start: the file, `Start.tensors`.
        bilm: of the new training; types that the model has no vector of begin at that of ``<UNK>``, as which it read
            them.
        softmax: likewise. It is at the log frequencies of the new text, and the biases that come in are moved to where
            it is, by one number for all that were predicted side by side: a softmax does not know where its logits lie.
    """
    tensors = read_tensors(start)
    known = tensors.pop(_KNOWN)
    for name, parameter in bilm.state_dict().items():
        parameter.copy_(tensors[f"bilm.{name}"])
    if "softmax.weight" in tensors:
        given = tensors["softmax.bias"]
        parts = tensors.get(_PART, torch.zeros(len(known)))  # begun by an older version
        for part in parts.unique().tolist():
            here = known & (parts == part)
            moved = (softmax.bias[here] - given[here]).mean()
            _take(softmax.bias, given + moved, here)
            clusters = tensors.get(_CLUSTERS, given[:0])
            if part == 0 and isinstance(softmax, AdaptiveSoftmax) and len(clusters) == len(softmax.cutoffs):
                softmax.cluster_weight.copy_(clusters)
                softmax.cluster_bias.copy_(tensors[_CLUSTER_BIAS] + moved)
        _take(softmax.weight, tensors["softmax.weight"], known)


def _take(parameter: Tensor, given: Tensor, rows: Tensor) -> None:
    parameter[rows] = given[rows]
