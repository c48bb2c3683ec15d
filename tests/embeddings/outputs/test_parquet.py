from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lowtide.embeddings.outputs import EmbeddedSentence, open_embeddings, open_output, parquet
from lowtide.embeddings.outputs.parquet_reader import ParquetReader
from lowtide.errors import InputError

_TEXTS = [["the", "tide"], [], ["a\0b", "", "潮水\n"], ["🌊"], []]


def _write(
    path: Path, *, layers: int | None = None, keys: str = "01234", dtype: str = "float32", spans: bool = True
) -> Path:
    with open_output(path) as writer:
        for number, (key, tokens) in enumerate(zip(keys, _TEXTS, strict=True)):
            shape = (len(tokens), 4) if layers is None else (layers, len(tokens), 4)
            vectors = np.full(shape, number + 0.5, dtype)
            known = [(10 * i, 10 * i + 5) for i in range(len(tokens))] if spans else None
            writer.write(EmbeddedSentence(key, tokens, vectors, known))
    return path


def _many(path: Path, *, num_sentences: int = 60, is_pooled: bool = False) -> Path:
    """Every third sentence is empty."""
    with open_output(path) as writer:
        for number in range(num_sentences):
            tokens = [f"t{i}" for i in range(number % 3)]
            vectors = np.full((4,) if is_pooled else (len(tokens), 4), number, np.float32)
            writer.write(EmbeddedSentence(str(number), tokens, vectors))
    return path


# -- what other programs find in it --------------------------------------------------------------


def test_there_is_a_row_a_token(tmp_path: Path) -> None:
    table = pq.read_table(_write(tmp_path / "v.parquet"))
    assert table.column_names == ["sentence", "key", "position", "token", "start", "end", "vector"]
    assert table.drop(["vector"]).to_pylist() == [
        {"sentence": s, "key": str(s), "position": p, "token": token, "start": 10 * p, "end": 10 * p + 5}
        for s, tokens in enumerate(_TEXTS)
        for p, token in enumerate(tokens)
    ]
    assert table["vector"].to_pylist()[2] == [2.5] * 4


@pytest.mark.parametrize(("dtype", "kind"), [("float32", pa.float32()), ("float16", pa.float16())])
def test_vectors_are_lists_of_one_length_in_the_type_they_had(dtype: str, kind: Any, tmp_path: Path) -> None:
    schema = pq.read_schema(_write(tmp_path / "v.parquet", dtype=dtype))
    assert schema.field("vector").type == pa.list_(kind, 4)
    assert schema.field("sentence").type == pa.int64() and schema.field("position").type == pa.int32()


def test_layers_are_columns(tmp_path: Path) -> None:
    table = pq.read_table(_write(tmp_path / "v.parquet", layers=3))
    assert table.column_names[-3:] == ["layer_0", "layer_1", "layer_2"]


def test_offsets_that_are_not_known_are_null(tmp_path: Path) -> None:
    table = pq.read_table(_write(tmp_path / "v.parquet", spans=False))
    assert table["start"].null_count == table["end"].null_count == 6
    with open_embeddings(tmp_path / "v.parquet") as vectors:
        assert vectors.spans(0) is None


def test_pooled_vectors_have_a_row_a_sentence(tmp_path: Path) -> None:
    table = pq.read_table(_many(tmp_path / "v.parquet", num_sentences=4, is_pooled=True))
    assert table.column_names == ["sentence", "key", "tokens", "starts", "ends", "vector"]
    assert table["tokens"].to_pylist() == [[], ["t0"], ["t0", "t1"], []]


def test_the_file_says_how_many_sentences_there_are(tmp_path: Path) -> None:
    summary = json.loads(pq.read_metadata(_write(tmp_path / "v.parquet", keys="01xyz")).metadata[b"lowtide"])
    assert (summary["num_sentences"], summary["num_tokens"], summary["num_counted"]) == (5, 6, 2)
    assert summary["empty_keys"] == [[4, "z"]]


# -- a part of it is read ------------------------------------------------------------------------


@pytest.mark.parametrize("is_pooled", [False, True])
def test_a_sentence_is_found_in_its_row_group(is_pooled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 5)
    path = _many(tmp_path / "v.parquet", is_pooled=is_pooled)
    assert pq.read_metadata(path).num_row_groups >= 10
    with open_embeddings(path) as vectors:
        assert len(vectors) == 60
        for number in np.random.default_rng(0).permutation(60).tolist():
            assert vectors.tokens(number) == [f"t{i}" for i in range(number % 3)]
            shape = (4,) if is_pooled else (number % 3, 4)
            np.testing.assert_array_equal(vectors[number], np.full(shape, number, np.float32), strict=True)


def test_a_row_group_ends_where_a_sentence_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 100)
    path = _many(tmp_path / "v.parquet")
    with pq.ParquetFile(path) as file:
        groups = [set(file.read_row_group(i)["sentence"].to_pylist()) for i in range(file.num_row_groups)]
    assert len(groups) > 5 and all(not one & other for i, one in enumerate(groups) for other in groups[:i])


def test_no_vectors_are_read_for_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ParquetReader, "numbers", None)
    with open_embeddings(_write(tmp_path / "v.parquet")) as vectors:
        assert [vectors.tokens(number) for number in range(5)] == _TEXTS


def test_what_was_read_stays_after_the_next(tmp_path: Path) -> None:
    with open_embeddings(_write(tmp_path / "v.parquet")) as vectors:
        first = vectors[0]
        first += 1
        assert (vectors[0] == 0.5).all() and (first == 1.5).all()


# -- nothing that stands in it is believed -------------------------------------------------------


def _refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught, open_embeddings(path) as vectors:
        for number in range(len(vectors)):
            vectors[number]
            vectors.tokens(number)
            vectors.spans(number)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def _rewrite(path: Path, *, table: pa.Table | None = None, **summary: Any) -> Path:
    """As something else might leave the file."""
    found = pq.read_table(path) if table is None else table
    was = json.loads(pq.read_metadata(path).metadata[b"lowtide"])
    pq.write_table(found.replace_schema_metadata({"lowtide": json.dumps({**was, **summary})}), path)
    return path


def test_a_table_that_was_written_again_as_it_was_is_read(tmp_path: Path) -> None:
    with open_embeddings(_rewrite(_write(tmp_path / "v.parquet"))) as vectors:
        assert [vectors.tokens(number) for number in range(5)] == _TEXTS


_KIND = {"dtype": "float32", "num_layers": None, "width": 4, "is_pooled": False}
_BAD_SUMMARIES: dict[str, tuple[dict[str, Any], str]] = {
    "fewer sentences": ({"num_sentences": 2, "num_counted": 2}, "does not hold the sentences"),
    "more names than there are": ({"num_counted": 0, "num_sentences": 10**15}, "does not hold the sentences"),
    "more numbers than there are": ({"num_counted": 10**15, "num_sentences": 10**16}, "does not hold the sentences"),
    "names that are not there": ({"num_counted": 0}, "does not hold the sentences"),
    "another width": ({"kind": {**_KIND, "width": 5}}, "its columns are not those"),
    "no width": ({"kind": {**_KIND, "width": 0}}, "its columns are not those"),
    "a huge width": ({"kind": {**_KIND, "width": 1 << 40}}, "its columns are not those"),
    "layers": ({"kind": {**_KIND, "num_layers": 10**12}}, "its columns are not those"),
    "another type": ({"kind": {**_KIND, "dtype": "float16"}}, "its columns are not those"),
    "no type": ({"kind": {**_KIND, "dtype": "x"}}, "its columns are not those"),
    "pooled": ({"kind": {**_KIND, "is_pooled": True}}, "its columns are not those"),
    "a later version": ({"format_version": 2}, "expected 1: update lowtide"),
    "an unknown key": ({"colour": "blue"}, "unknown key 'colour'"),
    "a text for a number": ({"num_sentences": "5"}, "expected int"),
}


@pytest.mark.parametrize("kind", _BAD_SUMMARIES)
def test_a_summary_that_is_wrong_is_noticed(kind: str, tmp_path: Path) -> None:
    summary, expected = _BAD_SUMMARIES[kind]
    assert expected in _refusal(_rewrite(_write(tmp_path / "v.parquet"), **summary))


def test_a_table_without_a_summary_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"sentence": [0], "vector": [[1.0, 2.0]]}), tmp_path / "v.parquet")
    assert "does not say how its sentences lie" in _refusal(tmp_path / "v.parquet")


def test_tokens_without_a_vector_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "v.parquet")
    table = pq.read_table(path)
    empty = pa.nulls(table.num_rows, table["vector"].type)
    table = table.set_column(table.column_names.index("vector"), "vector", empty)
    assert "does not hold the sentences" in _refusal(_rewrite(path, table=table))


def test_vectors_without_a_token_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "v.parquet")
    table = pq.read_table(path)
    table = table.set_column(table.column_names.index("token"), "token", pa.nulls(table.num_rows, pa.string()))
    assert "are no list of texts" in _refusal(_rewrite(path, table=table))


def test_a_table_in_another_order_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "v.parquet")
    table = pq.read_table(path)
    backwards = table.take(list(range(table.num_rows))[::-1])
    was = pq.read_metadata(path).metadata[b"lowtide"]
    pq.write_table(backwards.replace_schema_metadata({"lowtide": was}), path, row_group_size=2)
    assert "does not say how its sentences lie" in _refusal(path)


def test_rows_that_would_burst_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = _write(tmp_path / "v.parquet")
    width, rows = 1024, 20_000
    summary = {"kind": {**_KIND, "width": width}, "num_sentences": 1, "num_counted": 1, "empty_keys": []}
    table = pa.table(
        {
            "sentence": pa.array(np.zeros(rows, np.int64)),
            "key": ["0"] * rows,
            "position": pa.array(np.arange(rows, dtype=np.int32)),
            "token": ["a"] * rows,
            "start": pa.nulls(rows, pa.int32()),
            "end": pa.nulls(rows, pa.int32()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * width, np.float32)), width),
        }
    )
    assert "20,000 rows are said to lie together" in _refusal(_rewrite(path, table=table, **summary))
