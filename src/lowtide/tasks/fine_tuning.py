"""How the layers of an encoder learn with a task: lower ones slower, and from the top down, one more in every epoch.

Howard & Ruder (2018), https://arxiv.org/abs/1801.06146, section 3.2: discriminative rates and gradual unfreezing. What
layer a parameter belongs to its name says: ``....layers.2.weight`` is of the third recurrent layer, and all that has no
such number lies below, in layer 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from lowtide.embeddings.base import Embedder
from lowtide.embeddings.type_vectors import TypeEmbedding
from lowtide.tasks.options import FineTuning

_IN_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def can_learn(embedding: Embedder) -> bool:
    """Whether it has an encoder to train further; vectors of types are learned as a table."""
    return hasattr(type(embedding), "encoder") and not isinstance(embedding, TypeEmbedding)


def layer_parameters(encoder: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of every layer, layer 0 first."""
    layers: dict[int, list[nn.Parameter]] = {0: []}
    for name, parameter in encoder.named_parameters():
        match = _IN_LAYER.search(name)
        layers.setdefault(int(match[1]) + 1 if match else 0, []).append(parameter)
    return [layers[number] for number in sorted(layers)]


def tuned_groups(encoder: nn.Module, tuning: FineTuning) -> list[dict[str, Any]]:
    """The parameters of every layer with their rate: that of the top layer, divided by ``decay`` at every step down."""
    layers = layer_parameters(encoder)
    return [
        {"params": parameters, "lr": tuning.learning_rate / tuning.decay ** (len(layers) - 1 - number)}
        for number, parameters in enumerate(layers)
        if parameters
    ]


def open_layers(encoder: nn.Module, epoch: int, tuning: FineTuning) -> None:
    """Let those layers learn whose turn it is: none in epoch 0, the top one in epoch 1, and so on; or all at once."""
    layers = layer_parameters(encoder)
    num_open = min(epoch, len(layers)) if tuning.is_gradual else len(layers)
    for number, parameters in enumerate(layers):
        for parameter in parameters:
            parameter.requires_grad_(number >= len(layers) - num_open)


def table_groups(tables: Sequence[nn.Parameter], tuning: FineTuning) -> list[dict[str, Any]]:
    """Vectors of types with their rate: they are all that there is of their embedding, its top layer."""
    return [{"params": list(tables), "lr": tuning.learning_rate}] if tables else []


def open_tables(tables: Iterable[nn.Parameter], epoch: int, tuning: FineTuning) -> None:
    """Let vectors of types learn from epoch 1 on, as a top layer does; or at once."""
    for table in tables:
        table.requires_grad_(epoch > 0 or not tuning.is_gradual)
