"""Reading vectors from Parquet; see `lowtide.embeddings.outputs.parquet` for what stands in a file."""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowtide.config import from_json
from lowtide.embeddings.outputs.base import VectorKind
from lowtide.embeddings.outputs.keys import NumberedKeys
from lowtide.errors import ConfigError, InputError, require

METADATA = "lowtide"
"""The key under which the summary stands."""
VERSION = 1
_MAX_RATIO = 100
"""How much smaller than its numbers a column may be stored."""
_SMALL = 1 << 26
"""So many bytes do no harm."""
_MAX_EMPTY = 1000
"""Empty sentences for each byte of a file."""


@dataclass(frozen=True)
class Summary:
    """What stands in the metadata of a file."""

    kind: VectorKind
    num_sentences: int
    num_tokens: int
    first_key: int
    """The number of the first sentence."""
    num_counted: int
    """So many sentences, from the first one on, are counted up from there."""
    empty_keys: tuple[tuple[int, str], ...]
    """The other sentences that have no row: where they stand, and what they are called."""
    format_version: int = VERSION


def vector_columns(kind: VectorKind) -> list[str]:
    """What the columns are called that hold numbers."""
    return ["vector"] if kind.num_layers is None else [f"layer_{layer}" for layer in range(kind.num_layers)]


@dataclass(frozen=True)
class _Place:
    """The rows of a sentence in a row group."""

    group: int
    start: int
    stop: int


class _Stored:
    """The vectors of a sentence, not read yet."""

    def __init__(self, reader: ParquetReader, place: _Place | None) -> None:
        self._reader, self._place = reader, place
        kind = reader.summary.kind
        layers = [] if kind.num_layers is None else [kind.num_layers]
        num_rows = 0 if place is None else place.stop - place.start
        self.shape: tuple[int, ...] = (*layers, kind.width) if kind.is_pooled else (*layers, num_rows, kind.width)
        self.dtype: np.dtype[Any] = np.dtype(kind.dtype)
        self.num_bytes = 0 if place is None else reader.size_of(place.group)

    def read(self) -> NDArray[Any]:
        if self._place is None:
            return np.empty(self.shape, self.dtype)
        return self._reader.numbers(self._place).reshape(self.shape)


class ParquetReader:
    """Reads any sentence of a file, and of the file no more than its row group."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrow = require("pyarrow", extra="parquet")
        self._file = require("pyarrow.parquet", extra="parquet").ParquetFile(path)
        self._sizes: list[int] = []
        """Of each row group, in bytes on disk."""
        try:
            self.summary = self._read_summary()
            self._check_columns()
            self._ranges = [self._range(group) for group in range(self._file.num_row_groups)]
            if any(before[1] >= after[0] for before, after in itertools.pairwise([(0, -1), *self._ranges])):
                raise self._foreign()
            self.keys: Sequence[str] = self._read_keys()
        except BaseException:
            self.close()
            raise
        self._texts: tuple[int, Any] = (-1, None)
        """The row group that was read last, but for its numbers."""
        self._numbers: tuple[int, list[NDArray[Any]]] = (-1, [])
        """The row group of which the numbers were read last."""

    # -- what is known at once

    def _read_summary(self) -> Summary:
        text = (self._file.metadata.metadata or {}).get(METADATA.encode())
        if text is None:
            raise self._foreign()
        content = json.loads(text)
        version = content.get("format_version") if isinstance(content, dict) else None
        if version != VERSION:
            raise InputError(f"{self._path} has version {version} of the format, expected {VERSION}: update lowtide?")
        try:
            return from_json(Summary, content, where=str(self._path))
        except ConfigError as error:
            raise InputError(str(error)) from None

    def _foreign(self) -> InputError:
        return InputError(f"{self._path} does not say how its sentences lie: was it written by something else?")

    def _damaged(self) -> InputError:
        return InputError(f"{self._path} does not hold the sentences that it should: is it damaged?")

    def _check_columns(self) -> None:
        """Refuse a table that is another than the summary says."""
        kind, schema, arrow = self.summary.kind, self._file.schema_arrow, self._arrow
        numbers = {"float32": arrow.float32(), "float16": arrow.float16()}.get(kind.dtype)
        is_possible = numbers is not None and 1 <= kind.width < 1 << 31 and (kind.num_layers or 1) <= len(schema.names)
        expected = {"sentence": arrow.int64(), "key": arrow.string()}
        if is_possible:
            expected |= dict.fromkeys(vector_columns(kind), arrow.list_(numbers, kind.width))
        names = ("tokens", "starts", "ends") if kind.is_pooled else ("token", "start", "end")
        self._light = ["sentence", *names]
        is_there = all(schema.names.count(name) == 1 for name in (*expected, *names))
        if not is_possible or not is_there or any(schema.field(name).type != t for name, t in expected.items()):
            raise InputError(f"{self._path}: its columns are not those it should have: is it damaged?")

    def _range(self, group: int) -> tuple[int, int]:
        """The first and the last sentence of a row group."""
        rows = self._file.metadata.row_group(group)
        # nothing is read that says to be far larger than it is
        size = rows.num_rows * (self._row_bytes + 8)
        columns = [rows.column(number) for number in range(rows.num_columns)]
        self._sizes.append(sum(column.total_compressed_size for column in columns))
        if not 0 <= size <= max(_SMALL, _MAX_RATIO * min(self._sizes[-1], self._path.stat().st_size)):
            raise InputError(f"{self._path}: {rows.num_rows:,} rows are said to lie together: is it damaged?")
        found = next(column.statistics for column in columns if column.path_in_schema == "sentence")
        if found is None or not found.has_min_max:
            raise self._foreign()
        return found.min, found.max

    def _read_keys(self) -> Sequence[str]:
        summary = self.summary
        counted = NumberedKeys(summary.first_key, summary.num_counted)
        last = self._ranges[-1][1] if self._ranges else -1
        if summary.num_counted > summary.num_sentences or last >= summary.num_sentences:
            raise self._damaged()
        if summary.num_counted == summary.num_sentences:
            return counted
        if summary.num_counted > _MAX_EMPTY * self._path.stat().st_size:
            raise self._damaged()
        named = dict(summary.empty_keys)
        for group in range(len(self._ranges)):
            table = self._file.read_row_group(group, columns=["sentence", "key"])
            named.update(zip(table["sentence"].to_pylist(), table["key"].to_pylist(), strict=True))
        keys = [*counted, *map(named.get, range(len(counted), min(summary.num_sentences, len(counted) + len(named))))]
        if len(keys) != summary.num_sentences or None in keys:
            raise self._damaged()
        return [str(key) for key in keys]

    # -- what is read when it is asked for

    @property
    def _row_bytes(self) -> int:
        """Of the numbers of a row."""
        kind = self.summary.kind
        return (kind.num_layers or 1) * kind.width * np.dtype(kind.dtype).itemsize

    @cached_property
    def _positions(self) -> Mapping[str, int]:
        return {key: position for position, key in enumerate(self.keys)}

    def _find(self, key: str) -> _Place | None:
        """The rows of a sentence; None if it has none."""
        is_counted = isinstance(self.keys, NumberedKeys)
        position = int(key) - self.summary.first_key if is_counted else self._positions[key]
        group = bisect.bisect_right(self._ranges, position, key=lambda span: span[0]) - 1
        if group >= 0 and position <= self._ranges[group][1]:
            sentences = self._light_of(group)["sentence"].to_numpy()
            start, stop = np.searchsorted(sentences, [position, position + 1]).tolist()
            if start < stop and (sentences[start:stop] == position).all():
                return _Place(group, start, stop)
        if self.summary.kind.is_pooled:
            raise self._damaged()
        return None

    def _light_of(self, group: int) -> Any:
        if self._texts[0] != group:
            self._texts = (group, self._file.read_row_group(group, columns=self._light))
        return self._texts[1]

    def size_of(self, group: int) -> int:
        """The bytes of a row group on disk."""
        return self._sizes[group]

    def numbers(self, place: _Place) -> NDArray[Any]:
        """(layers, rows, width); of one layer, (1, rows, width)."""
        names = vector_columns(self.summary.kind)
        if self._numbers[0] != place.group:
            table = self._file.read_row_group(place.group, columns=names).combine_chunks()
            columns = [table[name].chunk(0) for name in names]
            if any(column.null_count for column in columns):
                raise self._damaged()
            width = self.summary.kind.width
            layers = [column.flatten().to_numpy(zero_copy_only=True).reshape(-1, width) for column in columns]
            self._numbers = (place.group, layers)
        return np.stack([layer[place.start : place.stop] for layer in self._numbers[1]])

    @contextmanager
    def stored(self, key: str) -> Iterator[_Stored]:
        """What is stored under a key."""
        yield _Stored(self, self._find(key))

    def tokens(self, key: str) -> list[str]:
        """The tokens of a sentence."""
        tokens = self._column(key, "tokens", "token")
        if all(isinstance(token, str) for token in tokens):
            return tokens
        raise InputError(
            f"{self._path}: the tokens of {key!r} are no list of texts: were they written by something else?"
        )

    def spans(self, key: str) -> list[tuple[int, int]] | None:
        """Where they stand in the raw text."""
        starts, ends = self._column(key, "starts", "start"), self._column(key, "ends", "end")
        is_known = len(starts) == len(ends) and None not in starts and None not in ends
        return list(zip(starts, ends, strict=True)) if is_known else None

    def _column(self, key: str, pooled: str, by_token: str) -> list[Any]:
        place = self._find(key)
        if place is None:
            return []
        table = self._light_of(place.group)
        if self.summary.kind.is_pooled:
            values = table[pooled][place.start].as_py()
            return [None] if values is None else list(values)
        values = table[by_token].slice(place.start, place.stop - place.start).to_pylist()
        return list(values)

    def sentences(self) -> dict[str, str]:
        """There is no index of them."""
        return {}

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
