"""What is computed once per type, kept from batch to batch in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowtide.model import Trunk
from lowtide.model.packed_lstm import PackedStack
from lowtide.text.characters import CharIds, Spelling

TYPES_AT_ONCE = 192
"""Through the character network: its widest filter has a thousand answers at every character."""
_ROUNDED_TO = 16
"""Types of a batch, and characters of a type. Kernels round differently at fewer rows, and at other widths; so that a
type has the same vector in every company, bit for bit, what is missing is filled up."""


class Slots:
    """Places for a limited number of keys; where there is none left, the keys that were not asked for longest go.

    Args:
        capacity: how many keys there is room for.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._places: dict[str, int] = {}  # in the order in which they were last asked for

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def place(self, keys: Sequence[str]) -> tuple[list[int], list[int]]:
        """Find the places of keys, and give new ones to those that have none.

        Args:
            keys: different ones, at most ``capacity``.

        Returns:
            The place of every key, and the numbers of those keys whose place is new, to be filled.
        """
        assert len(keys) <= self.capacity
        known = self._places
        num_used = len(known)
        found = [known.pop(key, -1) for key in keys]
        new = [number for number, place in enumerate(found) if place < 0]
        num_freed = max(0, num_used + len(new) - self.capacity)
        # these keys stand outside for the moment, so that none of them has to go
        free = [known.pop(key) for key in list(itertools.islice(known, num_freed))]
        free += range(num_used, num_used + len(new) - num_freed)
        for number, place in zip(new, free, strict=True):
            found[number] = place
        known.update(zip(keys, found, strict=True))
        return found, new


class Table:
    """Rows of numbers that are filled as they come: the system gives memory to those that were.

    Args:
        width: of a row.
        capacity: how many rows.
        like: a tensor of the dtype and on the device.
    """

    def __init__(self, width: int, capacity: int, like: Tensor) -> None:
        self.rows = like.new_empty(capacity, width)
        """(capacity, width); those never filled hold anything."""

    def fill(self, places: Sequence[int], values: Tensor) -> None:
        """Fill rows with values, (places, width)."""
        self.rows.index_copy_(0, torch.tensor(places, dtype=torch.int64, device=self.rows.device), values)


class TypeCache:
    """Vectors of types before any context: the token network runs for those that are not known yet.

    Args:
        network: whose token network it is, on its device.
        spelling: how types are written for it.
        capacity: how many vectors are kept.
    """

    def __init__(self, network: Trunk, spelling: Spelling, capacity: int) -> None:
        self._network, self._spelling = network, spelling
        char_cnn = network.config.char_cnn
        self._widest_filter = 0 if char_cnn is None else char_cnn.widest_filter
        self._like = next(network.parameters())
        self._slots = Slots(capacity)
        self._table = Table(network.config.lstm.width, capacity, self._like)

    def of(self, types: Sequence[str]) -> Tensor:
        """(types, width) of different types, in their order."""
        if len(types) > self._slots.capacity:
            return self._computed(types)
        missing = [type_ for type_ in types if type_ not in self._slots]
        computed = self._computed(missing)  # first, for what fails leaves nothing behind that looks as if it were known
        places, new = self._slots.place(types)
        self._table.fill([places[number] for number in new], computed)
        return self._table.rows.index_select(0, torch.tensor(places, dtype=torch.int64, device=self._like.device))

    def _computed(self, types: Sequence[str]) -> Tensor:
        spelled = self._spelling.char_ids(types)  # (types, chars)
        widths = _rounded_up(_num_used(spelled)) + self._widest_filter
        vectors = self._like.new_empty(len(types), self._network.config.lstm.width)
        for width in np.unique(widths):
            alike = np.flatnonzero(widths == width)
            for first in range(0, len(alike), TYPES_AT_ONCE):
                chosen = alike[first : first + TYPES_AT_ONCE]
                answer = self._network.token_network(self._filled_up(spelled[chosen, :width]))
                vectors.index_copy_(0, torch.from_numpy(chosen).to(vectors.device), answer[: len(chosen)])
        return vectors

    def _filled_up(self, spelled: CharIds) -> Tensor:
        """With rows that are as long as there is room, so that no end is left out and the number is a round one."""
        rows = np.zeros((_rounded_up(len(spelled) + 1), spelled.shape[1]), dtype=spelled.dtype)
        rows[: len(spelled)] = spelled
        if spelled.shape[1] > 1:
            rows[len(spelled) :, -1] = 1
        return torch.from_numpy(rows).to(self._like.device)


class GateCache:
    """What types say to the gates of the first layer, in both directions: one product a type, not one a token.

    Args:
        stacks: of both directions.
        capacity: for how many types there is room: as many as a piece may have, or more.
        like: a tensor of the dtype and on the device.
    """

    def __init__(self, stacks: Sequence[PackedStack], capacity: int, like: Tensor) -> None:
        self._stacks = stacks
        self._slots = Slots(capacity)
        self.tables = [Table(4 * stack.config.cell_width, capacity, like) for stack in stacks]
        """(places, 4 * cell width) of each direction."""

    def places_of(self, types: Sequence[str], vectors: Tensor) -> Tensor:
        """Where in the tables different types lie, (types,); their vectors, (types, width), are given."""
        missing = [number for number, type_ in enumerate(types) if type_ not in self._slots]
        asked = vectors.index_select(0, torch.tensor(missing, dtype=torch.int64, device=vectors.device))
        computed = [stack.input_gates(asked) for stack in self._stacks] if missing else []
        places, new = self._slots.place(types)
        for table, gates in zip(self.tables, computed, strict=False):
            table.fill([places[number] for number in new], gates)
        return torch.tensor(places, dtype=torch.int64, device=vectors.device)


def _num_used(spelled: CharIds) -> NDArray[np.int64]:
    """How many characters of every row stand before those that only repeat the last one: (types,)."""
    differs = spelled != spelled[:, -1:]
    return np.where(differs.any(axis=1), spelled.shape[1] - differs[:, ::-1].argmax(axis=1), 1)


@overload
def _rounded_up(count: int) -> int: ...
@overload
def _rounded_up(count: NDArray[np.int64]) -> NDArray[np.int64]: ...
def _rounded_up(count: int | NDArray[np.int64]) -> int | NDArray[np.int64]:
    return -(-count // _ROUNDED_TO) * _ROUNDED_TO
