"""What is written is what is read, in every format, of any sentences and any kind of vectors."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lowtide.embeddings.outputs import EmbeddedSentence, VectorWriter, open_embeddings, open_output
from lowtide.errors import InputError, ShapeError

_ENDINGS = [".h5", ".npz", ".parquet", ".safetensors", ".mmap"]
_ODD = ["", "a", "the", "潮水", "🌊", "a/b", "c\td", "e\nf", "\r", "nul\0", "\0", "\ud800", "x" * 300, '"\\', "_"]


@st.composite
def cases(draw: st.DrawFn) -> list[EmbeddedSentence]:
    """Sentences of one kind."""
    tokens = st.lists(st.one_of(st.sampled_from(_ODD), st.text(max_size=5)), max_size=6)
    texts = draw(st.lists(tokens, max_size=8))
    num_layers = draw(st.sampled_from([None, 1, 3]))
    is_pooled = draw(st.booleans())
    dtype = draw(st.sampled_from(["float32", "float16"]))
    names = [str(i) for i in range(len(texts))]
    if draw(st.booleans()):
        names = draw(st.lists(st.sampled_from("abcdefgh0123"), min_size=len(texts), max_size=len(texts), unique=True))
        names[:1] = [f"P{name}" for name in names[:1]]  # numbers alone would have to be from 0 on
    has_spans = draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    sentences = []
    for number, text in enumerate(texts):
        layers = () if num_layers is None else (num_layers,)
        shape = (*layers, 3) if is_pooled else (*layers, len(text), 3)
        vectors = (np.arange(np.prod(shape), dtype=np.float64).reshape(shape) / 8 - number).astype(dtype)
        spans = [(4 * i, 4 * i + 2) for i in range(len(text))] if has_spans[number] else None
        sentences.append(EmbeddedSentence(names[number], text, vectors, spans, is_pooled))
    return sentences


def _write(path: Path, sentences: list[EmbeddedSentence]) -> Path:
    with open_output(path) as writer:
        for sentence in sentences:
            writer.write(sentence)
    return path


def _as_kept(ending: str, tokens: list[str]) -> list[str]:
    """What a format makes of tokens."""
    if ending in (".h5", ".parquet"):
        tokens = [token.encode("utf-8", "replace").decode("utf-8") for token in tokens]
    return [token.replace("\0", "\ufffd") for token in tokens] if ending == ".h5" else tokens


@pytest.mark.parametrize("ending", _ENDINGS)
@settings(deadline=None, max_examples=60)
@given(sentences=cases())
def test_all_sentences_come_back(ending: str, sentences: list[EmbeddedSentence]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = _write(Path(folder, f"v{ending}"), sentences)
        with open_embeddings(path) as found:
            by_key = {sentence.key: sentence for sentence in sentences}
            assert sorted(found.keys) == sorted(by_key) and len(found) == len(by_key)
            if ending != ".h5" and not found.is_numbered:  # HDF5 sorts names
                assert list(found.keys) == list(by_key)
            for index, key in enumerate(found.keys):
                sentence = by_key[key]
                np.testing.assert_array_equal(found[index], sentence.vectors, strict=False)
                assert found[index].shape == sentence.vectors.shape and found[index].dtype == np.float32
                if ending != ".npz":  # which has no tokens
                    assert found.tokens(index) == _as_kept(ending, sentence.tokens)
                if sentence.tokens and ending != ".npz":
                    assert found.spans(index) == sentence.spans


@pytest.mark.parametrize("ending", _ENDINGS)
@settings(deadline=None, max_examples=20)
@given(sentences=cases())
def test_the_same_sentences_make_the_same_bytes(ending: str, sentences: list[EmbeddedSentence]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, again = (_contents(_write(Path(folder, f"{name}{ending}"), sentences)) for name in ("a", "b"))
        assert first == again


def _contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else path.iterdir()
    return {file.name if path.is_dir() else "": file.read_bytes() for file in files}


def _vectors(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    return np.ones(shape, dtype)


@pytest.mark.parametrize("key", ["0", "P1", "\ud800"])
@pytest.mark.parametrize("ending", _ENDINGS)
def test_a_key_that_comes_again_is_refused_and_leaves_nothing(ending: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stands twice"), open_output(tmp_path / f"v{ending}") as writer:
        writer.write(EmbeddedSentence(key, ["a"], _vectors(1, 2)))
        writer.write(EmbeddedSentence("other", ["b"], _vectors(1, 2)))
        writer.write(EmbeddedSentence(key, ["c"], _vectors(1, 2)))
    assert list(tmp_path.iterdir()) == []


def _write_other(writer: VectorWriter, vectors: NDArray[Any], tokens: list[str]) -> None:
    writer.write(EmbeddedSentence("0", ["a", "b"], _vectors(2, 4)))
    writer.write(EmbeddedSentence("1", tokens, vectors))


@pytest.mark.parametrize(
    ("vectors", "tokens"),
    [
        (_vectors(2, 5), ["a", "b"]),
        (_vectors(3, 2, 4), ["a", "b"]),
        (_vectors(4), ["a", "b"]),
        (_vectors(2, 4, dtype="float16"), ["a", "b"]),
    ],
)
@pytest.mark.parametrize("ending", [".parquet", ".mmap"])
def test_one_file_holds_one_kind_of_vectors(
    ending: str, vectors: NDArray[Any], tokens: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ShapeError, match="one file holds one kind"), open_output(tmp_path / f"v{ending}") as writer:
        _write_other(writer, vectors, tokens)


@pytest.mark.parametrize("ending", [".parquet", ".mmap", ".safetensors"])
def test_vectors_that_are_not_those_of_the_tokens_are_refused(ending: str, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="3 tokens have vectors"), open_output(tmp_path / f"v{ending}") as writer:
        _write_other(writer, _vectors(2, 4), ["a", "b", "c"])


@pytest.mark.parametrize("vectors", [_vectors(1, 2, dtype="float64"), _vectors(1, 2, dtype="int64"), _vectors(1, 0)])
@pytest.mark.parametrize("ending", [".parquet", ".mmap", ".safetensors"])
def test_other_numbers_are_refused(ending: str, vectors: NDArray[Any], tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="expected float32 or float16"), open_output(tmp_path / f"v{ending}") as writer:
        writer.write(EmbeddedSentence("0", ["a"], vectors))
