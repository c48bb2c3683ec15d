"""Arrays in HDF5 files that may come from anywhere: nothing is trusted, and nothing is read twice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from lowtide.errors import LowtideError, ModelError
from lowtide.weights.sources import Source

_DEEPEST = 12
_MAX_NAMES = 10_000
_MAX_RATIO = 64
"""How much smaller a compressed weight matrix may be."""
_SMALL = 1 << 26

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Hdf5File:
    """A file that is open."""

    shown: str
    """As people see it."""
    path: Path | None
    """On disk, if it lies there unpacked."""
    datasets: dict[str, h5py.Dataset]
    """By their full names, without a slash in front."""

    def check(self, name: str) -> None:
        """Refuse a dataset that is no float32 array, or not wholly in this file.

        Raises:
            ModelError: with what was found.
        """
        with refusals_of(self.shown, name):
            dataset = self.datasets[name]
            if dataset.dtype != np.dtype("<f4"):
                raise ModelError(f"{self.shown}: {name} is {dataset.dtype}, expected float32")
            if dataset.is_virtual or dataset.external:
                raise ModelError(f"{self.shown}: the numbers of {name} lie in another file, expected them in this one")
            stored, declared = dataset.id.get_storage_size(), dataset.nbytes
            if dataset.chunks is None:
                is_whole = stored == declared
            else:
                pieces = (-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
                is_whole = dataset.id.get_num_chunks() == math.prod(pieces)
            if not is_whole or (declared > _SMALL and declared > _MAX_RATIO * stored):
                raise ModelError(
                    f"{self.shown}: {name} is said to have {declared:,} bytes and has {stored:,}: is the file damaged?"
                )

    def array(self, name: str) -> Floats:
        """The numbers of a dataset that was checked; a map of the file where they lie in one piece.

        Raises:
            ModelError: if not all of it is in the file.
        """
        with refusals_of(self.shown, name):
            dataset = self.datasets[name]
            offset = dataset.id.get_offset()
            if self.path is not None and offset is not None and dataset.nbytes:
                return np.memmap(self.path, np.float32, mode="c", offset=offset, shape=dataset.shape)
            array: Floats = dataset[...]
            return array

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a dataset."""
        with refusals_of(self.shown, name):
            return tuple(self.datasets[name].shape)


@contextmanager
def open_hdf5(source: Source, name: str) -> Iterator[Hdf5File]:
    """Open a file and list what is in it.

    Raises:
        MissingPathError: if it cannot be opened.
        ModelError: if it is no HDF5 file, a damaged one, or has links that lead out of it.
    """
    shown = source.shown(name)
    with source.open(name) as raw, _opened(raw, shown) as file:
        datasets: dict[str, h5py.Dataset] = {}
        with refusals_of(shown):
            for number, (path, item) in enumerate(_items(file, "", shown)):
                if number >= _MAX_NAMES:
                    raise ModelError(f"{shown} holds more than {_MAX_NAMES:,} names: it is no weight file")
                if isinstance(item, h5py.Dataset):
                    datasets[path] = item
        yield Hdf5File(shown, source.file(name), datasets)


def holds(source: Source, name: str, key: str) -> bool:
    """Whether something has this name in the file, whatever else is in it.

    Raises:
        MissingPathError: if it cannot be opened.
        ModelError: if it is no HDF5 file, or a damaged one.
    """
    shown = source.shown(name)
    with source.open(name) as raw, _opened(raw, shown) as file, refusals_of(shown):
        return key in file


@contextmanager
def _opened(raw: BinaryIO, shown: str) -> Iterator[h5py.File]:
    with refusals_of(shown):
        file = h5py.File(raw, "r")
    try:
        yield file
    finally:
        file.close()


def _items(group: h5py.Group, prefix: str, shown: str) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """All groups and datasets below a group, by their full names."""
    if prefix.count("/") > _DEEPEST:
        raise ModelError(f"{shown}: groups lie more than {_DEEPEST} deep: it is no weight file")
    for key in group:
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ModelError(f"{shown}: {prefix}{key} is a link to something else, expected a group or an array")
        item = group[key]
        yield prefix + key, item
        if isinstance(item, h5py.Group):
            yield from _items(item, f"{prefix}{key}/", shown)


@contextmanager
def refusals_of(shown: str, name: str | None = None) -> Iterator[None]:
    """Whatever HDF5 finds wrong with a file is said in one sentence."""
    try:
        yield
    except LowtideError:
        raise
    except Exception as error:  # it raises whatever was handy
        what = shown if name is None else f"{shown}: {name}"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{what} cannot be read as HDF5 ({reason}): is it damaged, or only half copied?") from None


def check_shape(shown: str, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Refuse an array of another shape.

    Raises:
        ModelError: with both shapes.
    """
    if found != expected:
        raise ModelError(
            f"{shown}: {name} is {shape_text(found)}, the options and the vocabulary say {shape_text(expected)}: "
            "are they from the same model?"
        )


def shape_text(shape: tuple[int, ...] | None) -> str:
    """A shape for people."""
    return "not there" if shape is None else " x ".join(map(str, shape)) or "a single number"
