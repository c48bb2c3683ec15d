"""Arrays of a foreign file, and where their numbers stand in our network: one table a format, for both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowtide.errors import ModelError
from lowtide.model import Trunk
from lowtide.weights.hdf5 import Floats, check_shape

_TURNED_ROWS = 64


@dataclass(frozen=True)
class Place:
    """Some numbers of an array that stand in a parameter of ours."""

    part: Any
    """An index into the array: slices, or everything."""
    view: Tensor
    """Of the parameter, laid out as that part."""
    is_negative: bool = False
    """Whether our numbers have the other sign."""


@dataclass(frozen=True)
class ForeignArray:
    """An array under its foreign name."""

    name: str
    shape: tuple[int, ...]
    places: Sequence[Place]

    def fill(self, array: Tensor) -> None:
        """Put its numbers into our parameters."""
        for place in self.places:
            part, view = array[place.part], place.view
            if view.dim() == 2 and not view.is_contiguous():
                _turn(part, view.t())
            else:
                view.copy_(part)
            if place.is_negative:
                place.view.neg_()

    def gather(self) -> Tensor:
        """Its numbers, from our parameters: float32, on the CPU."""
        return self._gathered_into(torch.empty(self.shape))

    def as_state(self) -> Tensor:
        """Its numbers as a state dict has them: our parameter itself, where they are one; else a copy beside ours."""
        first = self.places[0]
        return first.view if first.part is ... else self._gathered_into(first.view.new_empty(self.shape))

    def _gathered_into(self, array: Tensor) -> Tensor:
        for place in self.places:
            array[place.part] = -place.view if place.is_negative else place.view
        return array


def _turn(matrix: Tensor, turned: Tensor) -> None:
    """Copy the transpose of a matrix, some rows at a time: a piece is turned in the cache, by one thread."""
    theirs, ours = matrix.numpy(), turned.numpy()
    for first in range(0, len(ours), _TURNED_ROWS):
        rows = slice(first, first + _TURNED_ROWS)
        ours[rows] = np.ascontiguousarray(theirs[:, rows]).T


def whole(name: str, view: Tensor) -> ForeignArray:
    """An array that is one parameter, or one view of it."""
    return ForeignArray(name, tuple(view.shape), [Place(..., view.detach())])


class ForeignFile(Protocol):
    """The arrays of a model, under the names of its table."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of all of them."""

    def told(self, name: str) -> tuple[str, str]:
        """The file that an array is in, or should be in, and the name that it has there."""

    def check(self, name: str) -> None:
        """Refuse an array that is not float32, or not whole, before there is memory for it.

        Raises:
            ModelError: with what was found.
        """

    def read(self, name: str) -> Floats:
        """The numbers of an array, as the file has them."""

    def rows(self, name: str) -> NDArray[np.int64] | None:
        """Which rows of the array are ours, in our order; None: all of them, as they are."""


def fill(
    network: Trunk,
    table: Callable[[], Sequence[ForeignArray]],
    file: ForeignFile,
    *,
    others: tuple[str, ...],
) -> None:
    """Fill a blank network with the arrays of a file.

    Args:
        network: of `blank_network`; it gets its memory here, when all names and shapes are known to be right.
        table: its arrays; asked for twice, as their places are new ones then.
        file: where they are.
        others: how names begin that the table must have: if the file holds one more, it is another model's.

    Raises:
        ModelError: if an array is missing, too many, of another shape, or has numbers that are none.
    """
    expected = {array.name: array.shape for array in table()}
    for name, shape in expected.items():
        shown, theirs = file.told(name)
        if name not in file.shapes:
            raise ModelError(f"{shown} has no {theirs}, which the options ask for: are they from the same model?")
        check_shape(shown, theirs, file.shapes[name], shape)
        file.check(name)
    for name in sorted(file.shapes.keys() - expected.keys()):
        if name.startswith(others):
            shown, theirs = file.told(name)
            raise ModelError(f"{shown} holds {theirs}, of which the options say nothing: are they from the same model?")
    network.to_empty(device="cpu")
    for array in table():
        numbers = file.read(array.name)
        check_finite(*file.told(array.name), numbers)
        rows = file.rows(array.name)
        array.fill(torch.from_numpy(numbers if rows is None else numbers[rows]))


def check_finite(shown: str, name: str, numbers: Floats) -> None:
    """Refuse an array with numbers that are none.

    Raises:
        ModelError: with the first place.
    """
    with np.errstate(all="ignore"):
        if np.isfinite(numbers.sum()):  # cheap, and never true where one is not
            return
    places = np.argwhere(~np.isfinite(numbers))
    if len(places):
        at = ", ".join(map(str, places[0]))
        raise ModelError(
            f"{shown}: {name} has {len(places):,} numbers that are none, the first at [{at}]: "
            f"found {numbers[tuple(places[0])]}, expected only finite ones"
        )
