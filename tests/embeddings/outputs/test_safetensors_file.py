from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from lowtide.embeddings.outputs import EmbeddedSentence, open_embeddings, open_output, safetensors_file
from lowtide.errors import InputError

_TEXTS = [["the", "tide"], [], ["a\0b", "", "\ud800", "潮水\n", '"'], ["🌊"]]


def _write(path: Path, *, dtype: str = "float32", spans: bool = False) -> Path:
    with open_output(path) as writer:
        for number, tokens in enumerate(_TEXTS):
            vectors = np.full((3, len(tokens), 5), number + 0.5, dtype)
            known = [(i, i + 1) for i in range(len(tokens))] if spans else None
            writer.write(EmbeddedSentence(str(number), tokens, vectors, known))
    return path


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_library_reads_a_tensor_a_sentence(dtype: str, tmp_path: Path) -> None:
    tensors = load_file(_write(tmp_path / "v.safetensors", dtype=dtype))
    assert sorted(tensors) == ["0", "1", "2", "3"]
    for number, tokens in enumerate(_TEXTS):
        np.testing.assert_array_equal(
            tensors[str(number)], np.full((3, len(tokens), 5), number + 0.5, dtype), strict=True
        )


def test_the_library_reads_one_sentence_and_its_tokens(tmp_path: Path) -> None:
    with safe_open(_write(tmp_path / "v.safetensors"), framework="numpy") as file:
        assert file.get_tensor("3").shape == (3, 1, 5)
        assert json.loads(file.metadata()["tokens"]) == _TEXTS


def test_offsets_stand_beside_the_tokens(tmp_path: Path) -> None:
    with safe_open(_write(tmp_path / "v.safetensors", spans=True), framework="numpy") as file:
        assert json.loads(file.metadata()["spans"])[0] == [[0, 1], [1, 2]]
    with open_embeddings(tmp_path / "v.safetensors") as vectors:
        assert vectors.spans(0) == [(0, 1), (1, 2)] and vectors.spans(1) == []


def test_the_numbers_begin_where_eight_bytes_do(tmp_path: Path) -> None:
    content = _write(tmp_path / "v.safetensors").read_bytes()
    assert int.from_bytes(content[:8], "little") % 8 == 0


def test_what_the_library_wrote_is_read(tmp_path: Path) -> None:
    save_file({"1": np.ones((2, 4), np.float16), "0": np.zeros((1, 4))}, tmp_path / "v.safetensors")
    with open_embeddings(tmp_path / "v.safetensors") as vectors:
        assert len(vectors) == 2 and vectors[1].tolist() == np.ones((2, 4)).tolist()
        assert vectors.tokens(0) is None and vectors.spans(0) is None


def test_the_numbers_wait_on_disk_and_not_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    tracemalloc.start()
    with open_output(tmp_path / "v.safetensors") as writer:
        for number in range(40):
            writer.write(EmbeddedSentence(str(number), ["a"] * 100, np.ones((100, 1000), np.float32)))  # 400 kB
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000 < (tmp_path / "v.safetensors").stat().st_size


def test_more_than_the_library_reads_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_file, "_LARGEST_HEADER", 10_000)
    with pytest.raises(InputError, match="no more than these") as caught, open_output(tmp_path / "v.safetensors") as w:
        for number in range(1000):
            w.write(EmbeddedSentence(str(number), ["潮水", '"'], np.ones((2, 4), np.float32), [(0, 2), (2, 3)]))
    assert "use .h5, .parquet or .mmap" in str(caught.value) and list(tmp_path.iterdir()) == []


def test_what_is_counted_of_a_header_is_no_less_than_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    save = safetensors_file._Writer.save

    def note(self: safetensors_file._Writer, path: Path) -> None:
        counted.append(self._header_size)
        save(self, path)

    monkeypatch.setattr(safetensors_file._Writer, "save", note)
    content = _write(tmp_path / "v.safetensors", spans=True).read_bytes()
    assert counted[0] - 1000 <= int.from_bytes(content[:8], "little") <= counted[0]


def test_the_name_of_the_metadata_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be a key"), open_output(tmp_path / "v.safetensors") as writer:
        writer.write(EmbeddedSentence("__metadata__", ["a"], np.ones((1, 4), np.float32)))


def _file(header: Any, numbers: bytes = bytes(32)) -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return len(text).to_bytes(8, "little") + text + numbers


def _tensor(**changed: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32], **changed}


_BAD: dict[str, tuple[bytes, str]] = {
    "a huge header": ((1 << 62).to_bytes(8, "little") + bytes(100), "has no header"),
    "no JSON": (_file(b"the tide"), "cannot be read"),
    "a list": (_file([]), "has no header"),
    "deep JSON": (_file(b"[" * 100_000), "cannot be read"),
    "no place": (_file({"0": {"dtype": "F32", "shape": [2, 4]}}), "'0' has no place"),
    "a place beyond the end": (_file({"0": _tensor(data_offsets=[8, 40])}), "'0' has no place"),
    "a place before the beginning": (_file({"0": _tensor(data_offsets=[-8, 24])}), "'0' has no place"),
    "a place backwards": (_file({"0": _tensor(data_offsets=[32, 0])}), "'0' has no place"),
    "a place of texts": (_file({"0": _tensor(data_offsets=["0", "32"])}), "'0' has no place"),
    "no shape": (_file({"0": {"dtype": "F32", "data_offsets": [0, 32]}}), "'0' has no place"),
    "less than nothing": (_file({"0": _tensor(shape=[-2, -4])}), "'0' has no place"),
    "a huge shape": (_file({"0": _tensor(shape=[1 << 40, 1 << 40])}), "is it damaged?"),
    "a larger shape": (_file({"0": _tensor(shape=[2, 5])}), "is said to have 40 bytes"),
    "whole numbers": (_file({"0": _tensor(dtype="I32")}), "'0' holds I32, expected F16, F32 or F64"),
    "no tensor": (_file({"0": 7}), "'0' has no place"),
    "a token too few": (_file({"0": _tensor(), "__metadata__": {"tokens": "[]"}}), "tokens are not those"),
    "tokens that are numbers": (_file({"0": _tensor(), "__metadata__": {"tokens": "[[1, 2]]"}}), "tokens are not"),
    "tokens that are none": (_file({"0": _tensor(), "__metadata__": {"tokens": "[7]"}}), "tokens are not"),
    "tokens that are no JSON": (_file({"0": _tensor(), "__metadata__": {"tokens": "["}}), "cannot be read"),
    "offsets that are none": (_file({"0": _tensor(), "__metadata__": {"spans": "[[[1]]]"}}), "spans are not those"),
    "a gap": (_file({"1": _tensor()}), "holds no sentence 0"),
}


@pytest.mark.parametrize("kind", _BAD)
def test_what_is_wrong_in_it_is_noticed(kind: str, tmp_path: Path) -> None:
    content, expected = _BAD[kind]
    (tmp_path / "v.safetensors").write_bytes(content)
    with pytest.raises(InputError) as caught, open_embeddings(tmp_path / "v.safetensors") as vectors:
        reads: list[Callable[[int], object]] = [vectors.__getitem__, vectors.tokens, vectors.spans]
        for read in reads:
            read(0)
    assert expected in str(caught.value) and str(tmp_path) in str(caught.value)
