"""Vectors as Parquet: one row a token, for pandas, polars, DuckDB and whatever else reads tables.

===========================  ===================================================================================
``sentence``                 its place in the file, from 0; empty sentences are counted and have no row
``key``                      its number in the text from 0, or its name
``position``                 of the token, from 0
``token``                    its text; a lone surrogate, which is no Unicode, is replaced by ``?``
``start``, ``end``           where it stands in the raw text, in characters, the end exclusive; null if not known
``vector``                   (width,); of several layers ``layer_0``, ``layer_1``, ...
===========================  ===================================================================================

Pooled vectors have one row a sentence, and the lists ``tokens``, ``starts`` and ``ends``. A sentence lies in one row
group, so a reader finds it without the rest of the file. The number of sentences, and what empty ones are called,
stand in the metadata of the file, as JSON under ``lowtide``.

The vectors are compressed with zstd, float32 with its bytes split into streams, which makes them a sixth smaller.
float16 is not split: DuckDB does not read that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowtide.config import to_json
from lowtide.embeddings.outputs.base import EmbeddedSentence, VectorKind
from lowtide.embeddings.outputs.keys import KeySequence
from lowtide.embeddings.outputs.parquet_reader import METADATA, ParquetReader, Summary, vector_columns
from lowtide.errors import require

_GROUP_BYTES = 1 << 25
_GROUP_ROWS = 1 << 16


class _Group:
    """The rows that are written next."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}
        self.vectors: list[NDArray[Any]] = []
        self.num_bytes = 0
        self.num_rows = 0

    def add(self, **columns: list[Any]) -> None:
        for name, values in columns.items():
            self.columns.setdefault(name, []).extend(values)

    @property
    def is_full(self) -> bool:
        return self.num_bytes >= _GROUP_BYTES or self.num_rows >= _GROUP_ROWS


class _Writer:
    def __init__(self, path: Path, files: ExitStack) -> None:
        self._arrow, self._parquet = require("pyarrow", extra="parquet"), require("pyarrow.parquet", extra="parquet")
        # opened here, as the library tells a full disk in words of its own
        self._file = files.enter_context(path.open("wb"))
        self._files = files
        self._keys = KeySequence()
        self._empty_keys: list[tuple[int, str]] = []
        self._num_tokens = 0
        self._group = _Group()
        self._kind: VectorKind | None = None
        self._schema: Any = None
        self._rows: Any = None

    def write(self, sentence: EmbeddedSentence) -> None:
        vectors, tokens, spans = sentence.vectors, [*map(_utf8, sentence.tokens)], sentence.spans
        kind = VectorKind.of(sentence)
        self._begin(kind)
        key, number = _utf8(sentence.key), self._keys.count
        self._keys.add(key)
        starts = None if spans is None else [start for start, _ in spans]
        ends = None if spans is None else [end for _, end in spans]
        if kind.is_pooled:
            self._group.add(sentence=[number], key=[key], tokens=[tokens], starts=[starts], ends=[ends])
            vectors = vectors[..., None, :]  # (1, width) or (layers, 1, width)
        else:
            count = len(tokens)
            if not count and not self._keys.is_counted:
                self._empty_keys.append((number, key))
            nothing = [None] * count
            self._group.add(sentence=[number] * count, key=[key] * count, position=[*range(count)], token=tokens)
            self._group.add(start=starts or nothing, end=ends or nothing)
        self._group.vectors.append(vectors)
        self._group.num_bytes += vectors.nbytes
        self._group.num_rows += 1 if kind.is_pooled else len(tokens)
        self._num_tokens += len(tokens)
        if self._group.is_full:
            self._flush()

    def _begin(self, kind: VectorKind) -> None:
        if self._kind is not None:
            self._kind.require(kind)
            return
        self._kind = kind
        arrow = self._arrow
        numbers = arrow.float32() if kind.dtype == "float32" else arrow.float16()
        columns = {"sentence": arrow.int64(), "key": arrow.string()}
        if kind.is_pooled:
            offsets = arrow.list_(arrow.int32())
            columns |= {"tokens": arrow.list_(arrow.string()), "starts": offsets, "ends": offsets}
        else:
            columns |= {"position": arrow.int32(), "token": arrow.string()}
            columns |= {"start": arrow.int32(), "end": arrow.int32()}
        columns |= dict.fromkeys(vector_columns(kind), arrow.list_(numbers, kind.width))
        self._schema = arrow.schema(columns)
        names = [f"{name}.list.element" for name in vector_columns(kind)]
        self._rows = self._files.enter_context(
            self._parquet.ParquetWriter(
                self._file,
                self._schema,
                compression="zstd",
                use_dictionary=["key", "token", "tokens.list.element"],
                column_encoding=dict.fromkeys(names, "BYTE_STREAM_SPLIT") if kind.dtype == "float32" else None,
                write_statistics=["sentence"],
            )
        )

    def _flush(self) -> None:
        group, arrow = self._group, self._arrow
        self._group = _Group()
        if not group.num_rows:
            return
        assert self._kind is not None
        rows = np.concatenate(group.vectors, axis=-2)
        layers = [rows] if self._kind.num_layers is None else rows
        columns = dict(group.columns)
        for name, layer in zip(vector_columns(self._kind), layers, strict=True):
            numbers = arrow.array(np.ascontiguousarray(layer).reshape(-1))
            columns[name] = arrow.FixedSizeListArray.from_arrays(numbers, self._kind.width)
        self._rows.write_table(arrow.table(columns, schema=self._schema), row_group_size=group.num_rows)

    def finish(self) -> None:
        """Write the rows that are left, and what the file is."""
        if self._kind is None:
            self._begin(VectorKind("float32", None, 1, False))
        self._flush()
        assert self._kind is not None
        summary = Summary(
            kind=self._kind,
            num_sentences=self._keys.count,
            num_tokens=self._num_tokens,
            first_key=self._keys.first,
            num_counted=self._keys.num_counted,
            empty_keys=tuple(self._empty_keys),
        )
        self._rows.add_key_value_metadata({METADATA: json.dumps(to_json(summary))})


def _utf8(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode("utf-8")


@contextmanager
def open_writer(path: Path) -> Iterator[_Writer]:
    """Write vectors to a Parquet file, sentence by sentence."""
    with ExitStack() as files:
        writer = _Writer(path, files)
        yield writer
        writer.finish()


def open_reader(path: Path) -> ParquetReader:
    """Read the sentences of a Parquet file, one by one."""
    return ParquetReader(path)
