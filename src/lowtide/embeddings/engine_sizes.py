"""How much an engine holds at once: what is quick, and what fits into a given memory."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from lowtide.amounts import format_bytes
from lowtide.embeddings.type_cache import TYPES_AT_ONCE
from lowtide.errors import InputError
from lowtide.model import Trunk
from lowtide.model.packed_lstm import ROWS_AT_ONCE

_CACHED_TYPES = 1 << 16
_ANSWERS = 256e6
"""Bytes of the answers of a window: where vectors are wide, a window is shorter."""
_BATCH = 256e6
"""Bytes of a batch: where the network is small, a batch is larger, as it costs as many calls as any other."""
_LARGER = 4
"""How many times."""
_FLOAT = 4
_TYPE_AROUND = 300
"""Bytes of a type beside its vector: the text, and its places in two tables."""
_TOKEN_AROUND = 500
"""Bytes of a token beside its vectors: the text, where it stood, the numbers that order it."""
_PROCESS = 450e6
"""Bytes of Python, PyTorch and what writes files. A figure that was not measured is the same in every run, and so are
the sizes that follow from it: who goes on with a work has to have the same."""
_WHILE_LOADING = 1.3
"""The most that loading a model holds, beside its size."""
_DOUBT = 0.85
"""The share of what is there that is planned for: the heap has holes."""


@dataclass(frozen=True)
class Sizes:
    """How much is held at once."""

    max_positions: int
    """Of a batch."""
    window_positions: int
    """Of the documents that are looked at together, all of whose answers are held."""
    cached_types: int
    """Whose vectors are kept from batch to batch."""


def sizes_of(network: Trunk, *, max_positions: int, window_positions: int) -> Sizes:
    """What is quick: as much as is worth having.

    Args:
        network: the network.
        max_positions: of a batch of a large network.
        window_positions: of a window, at most.
    """
    positions = max(max_positions, min(_LARGER * max_positions, int(_BATCH / _bytes_of_position(network))))
    window = min(window_positions, max(4 * max_positions, int(_ANSWERS / _bytes_of_answer(network))))
    return Sizes(positions, window, _CACHED_TYPES)


def sizes_within(network: Trunk, num_bytes: int, *, least: int, quick: Sizes) -> Sizes:
    """What fits into a memory, beside the process itself and what is there whatever the size of a batch.

    Args:
        network: the network.
        num_bytes: that the process may hold.
        least: positions of a batch.
        quick: the most that is worth having.

    Raises:
        InputError: if not even the least fits.
    """
    ratio = quick.window_positions / quick.max_positions
    a_position = _bytes_of_position(network) + ratio * (_bytes_of_answer(network) + _TOKEN_AROUND)
    a_type = network.config.lstm.width * _FLOAT + _TYPE_AROUND
    weights = sum(parameter.numel() * _FLOAT for parameter in network.parameters())
    fixed = _PROCESS + _WHILE_LOADING * weights + _bytes_of_packed(network) + _bytes_of_work(network)
    room = _DOUBT * (num_bytes - fixed)
    positions = int(0.8 * room / a_position)
    if positions < least:
        needed = fixed + (least + 1) * a_position / (0.8 * _DOUBT)
        unit = 1e8 if needed > 0.9e9 else 1e6
        needed = math.ceil(needed / unit) * unit  # what is said is rounded, and has to be enough
        raise InputError(
            f"{format_bytes(num_bytes)} are too little memory: this model needs {format_bytes(needed)} or more"
        )
    max_positions = min(quick.max_positions, positions)
    types = min(quick.cached_types, max(max_positions, int(0.2 * room / a_type)))
    return dataclasses.replace(
        quick, max_positions=max_positions, window_positions=round(max_positions * ratio), cached_types=types
    )


def _bytes_of_answer(network: Trunk) -> int:
    """All layers of a position."""
    return network.num_layers * network.width * _FLOAT


def _bytes_of_position(network: Trunk) -> int:
    """Of a position of a batch: its states and what is made of them, and what its type says to the gates."""
    states = 3 * _bytes_of_answer(network)
    gates = 2 * 4 * network.config.lstm.cell_width * _FLOAT
    return states + gates


def _bytes_of_packed(network: Trunk) -> int:
    """The weights of the recurrence twice more: packed, and as single rows want them."""
    return 2 * sum(p.numel() * _FLOAT for name, p in network.named_parameters() if not name.startswith("token_network"))


def _bytes_of_work(network: Trunk) -> int:
    """What a batch of types, and a block of steps in both directions, take for a moment."""
    char_cnn = network.config.char_cnn
    types = 0
    if char_cnn is not None:
        answers = max(count for _, count in char_cnn.filters) * char_cnn.max_characters + 4 * char_cnn.num_filters
        types = 2 * TYPES_AT_ONCE * answers * _FLOAT
    return types + 2 * 3 * ROWS_AT_ONCE * 4 * network.config.lstm.cell_width * _FLOAT
