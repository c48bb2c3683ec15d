from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lowtide.embeddings.outputs import EmbeddedSentence, open_embeddings, open_output
from lowtide.embeddings.outputs.memory_map import concatenate, open_writer, read_sentences
from lowtide.errors import InputError, LowtideError, ShapeError

_TEXTS = [["the", "tide"], [], ["a\0b", "", "\ud800", "潮水\n"], ["🌊"]]


def _sentences(
    *, layers: int | None = None, keys: Sequence[str] = "0123", spans: bool = True, dtype: str = "float32"
) -> list[EmbeddedSentence]:
    sentences = []
    for number, (key, tokens) in enumerate(zip(keys, _TEXTS, strict=True)):
        shape = (len(tokens), 5) if layers is None else (layers, len(tokens), 5)
        vectors = np.random.default_rng(number).standard_normal(shape).astype(dtype)
        known = [(i, i + 1) for i in range(len(tokens))] if spans else None
        sentences.append(EmbeddedSentence(key, tokens, vectors, known))
    return sentences


def _write(folder: Path, sentences: list[EmbeddedSentence]) -> Path:
    with open_writer(folder) as writer:
        for sentence in sentences:
            writer.write(sentence)
    return folder


def _assert_equal(found: list[EmbeddedSentence], expected: list[EmbeddedSentence]) -> None:
    assert [(s.key, s.tokens, s.spans) for s in found] == [(s.key, s.tokens, s.spans) for s in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors, strict=True)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("layers", [None, 1, 3])
@pytest.mark.parametrize("keys", ["0123", "abcd", "01x2", "7a89"])
def test_sentences_are_read_as_they_were_written(keys: str, layers: int | None, dtype: str, tmp_path: Path) -> None:
    sentences = _sentences(layers=layers, keys=keys, dtype=dtype)
    _assert_equal(list(read_sentences(_write(tmp_path / "v", sentences))), sentences)


def test_numpy_maps_the_vectors_of_all_tokens(tmp_path: Path) -> None:
    sentences = _sentences()
    folder = _write(tmp_path / "v", sentences)
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    starts = np.load(folder / "sentences.npy")
    assert isinstance(vectors, np.memmap) and vectors.shape == (7, 5) and starts.tolist() == [0, 2, 2, 6, 7]
    for number, sentence in enumerate(sentences):
        np.testing.assert_array_equal(vectors[starts[number] : starts[number + 1]], sentence.vectors)


def test_layers_stand_within_a_token(tmp_path: Path) -> None:
    sentences = _sentences(layers=3, dtype="float16")
    vectors = np.load(_write(tmp_path / "v", sentences) / "vectors.npy", mmap_mode="r")
    assert vectors.shape == (7, 3, 5) and vectors.dtype == np.float16
    np.testing.assert_array_equal(vectors[2:6].transpose(1, 0, 2), sentences[2].vectors)


def test_pooled_vectors_have_a_row_a_sentence(tmp_path: Path) -> None:
    sentences = [EmbeddedSentence(str(i), text, np.full(5, i, np.float32)) for i, text in enumerate(_TEXTS)]
    folder = _write(tmp_path / "v", sentences)
    assert np.load(folder / "vectors.npy").shape == (4, 5)
    assert [sentence.is_pooled for sentence in read_sentences(folder)] == [True] * 4
    assert [sentence.tokens for sentence in read_sentences(folder)] == _TEXTS


def test_a_token_is_found_without_the_others(tmp_path: Path) -> None:
    folder = _write(tmp_path / "v", _sentences())
    starts, text = np.load(folder / "tokens.npy"), (folder / "tokens.utf8").read_bytes()
    assert text[starts[6] : starts[7]].decode() == "🌊"
    assert np.load(folder / "spans.npy")[5].tolist() == [3, 4]


def test_the_index_says_what_all_of_it_is(tmp_path: Path) -> None:
    index = json.loads((_write(tmp_path / "v", _sentences(layers=3)) / "index.json").read_bytes())
    assert index == {
        "format": "lowtide vectors",
        "format_version": 1,
        "kind": {"dtype": "float32", "num_layers": 3, "width": 5, "is_pooled": False},
        "num_sentences": 4,
        "num_tokens": 7,
        "first_key": 0,
        "has_spans": True,
    }


def test_numbers_that_count_up_take_no_room(tmp_path: Path) -> None:
    assert not (_write(tmp_path / "numbers", _sentences(keys="3456")) / "keys.npy").exists()
    assert (_write(tmp_path / "names", _sentences(keys="345x")) / "keys.utf8").read_bytes() == b"345x"


def test_offsets_may_be_known_of_some_sentences_only(tmp_path: Path) -> None:
    sentences = [*_sentences(spans=False)[:2], _sentences()[2], _sentences(spans=False)[3]]
    found = list(read_sentences(_write(tmp_path / "v", sentences)))
    assert [sentence.spans for sentence in found] == [None, [], sentences[2].spans, None]


# -- parts are put together ----------------------------------------------------------------------


@pytest.mark.parametrize("layers", [None, 3])
@pytest.mark.parametrize("spans", [True, False])
@pytest.mark.parametrize("keys", ["0123", "abcd", "01xy", "x012", "0213"])
@pytest.mark.parametrize("cuts", [(0, 2), (1, 3), (2, 2), (0, 0), (4, 4)])
def test_parts_put_together_are_the_bytes_of_the_whole(
    cuts: tuple[int, int], keys: str, spans: bool, layers: int | None, tmp_path: Path
) -> None:
    sentences = _sentences(layers=layers, keys=keys, spans=spans)
    whole = _write(tmp_path / "whole", sentences)
    parts = [sentences[: cuts[0]], sentences[cuts[0] : cuts[1]], sentences[cuts[1] :]]
    folders = [_write(tmp_path / str(number), part) for number, part in enumerate(parts)]
    concatenate(folders, tmp_path / "together")
    assert _contents(tmp_path / "together") == _contents(whole)


def test_parts_of_which_one_knows_offsets_are_put_together(tmp_path: Path) -> None:
    sentences = [*_sentences(spans=False)[:1], *_sentences()[1:3], *_sentences(spans=False)[3:]]
    whole = _write(tmp_path / "whole", sentences)
    folders = [_write(tmp_path / str(i), [sentence]) for i, sentence in enumerate(sentences)]
    concatenate(folders, tmp_path / "together")
    assert _contents(tmp_path / "together") == _contents(whole)


def test_parts_that_hold_the_same_sentence_are_refused(tmp_path: Path) -> None:
    folders = [_write(tmp_path / name, _sentences(keys=keys)) for name, keys in (("a", "0123"), ("b", "3456"))]
    with pytest.raises(InputError, match="3 stands twice"):
        concatenate(folders, tmp_path / "together")


def test_parts_of_two_kinds_are_refused(tmp_path: Path) -> None:
    folders = [
        _write(tmp_path / "a", _sentences()),
        _write(tmp_path / "b", _sentences(keys="4567", dtype="float16")),
    ]
    with pytest.raises(ShapeError, match="one file holds one kind"):
        concatenate(folders, tmp_path / "together")


# -- nothing that stands in it is believed -------------------------------------------------------


def _read_all(path: Path) -> None:
    with open_embeddings(path) as vectors:
        for index in range(len(vectors)):
            vectors[index]
            vectors.tokens(index)
            vectors.spans(index)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with open_output(tmp_path / "v.mmap") as writer:
        for sentence in _sentences(layers=3, keys="abcd"):
            writer.write(sentence)
    return tmp_path / "v.mmap"


def _refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        _read_all(folder)
    with pytest.raises(InputError):
        list(read_sentences(folder))
    assert str(caught.value).startswith(str(folder))
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["vectors.npy", "sentences.npy", "tokens.npy", "tokens.utf8", "spans.npy", "keys.npy", "keys.utf8", "index.json"],
)
def test_a_file_that_is_cut_or_lost_is_noticed(name: str, folder: Path) -> None:
    content = (folder / name).read_bytes()
    for size in {0, 1, 5, 9, len(content) // 2, len(content) - 8, len(content) - 3}:
        if 0 <= size < len(content):
            (folder / name).write_bytes(content[:size])
            assert _refusal(folder), size
    (folder / name).unlink()
    assert "is not there" in _refusal(folder)


def _index(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        index = json.loads((folder / "index.json").read_bytes())
        change(index)
        (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")

    return damage


def _array(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, change(np.load(folder / name)))


def _descending(starts: NDArray[Any]) -> NDArray[Any]:
    starts[1], starts[2] = 5, 3
    return starts


_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "more sentences": (_index(lambda index: index.update(num_sentences=10**15)), "do not belong together"),
    "numbers for names": (_index(lambda index: index.update(first_key=0, num_sentences=10**15)), "do not belong"),
    "more tokens": (_index(lambda index: index.update(num_tokens=8)), "do not belong together"),
    "another width": (_index(lambda index: index["kind"].update(width=4)), "do not belong together"),
    "another type": (_index(lambda index: index["kind"].update(dtype="float16")), "do not belong together"),
    "no layers": (_index(lambda index: index["kind"].update(num_layers=None)), "was it written by something else"),
    "pooled": (_index(lambda index: index["kind"].update(is_pooled=True)), "do not belong together"),
    "a text for a number": (_index(lambda index: index.update(num_tokens="7")), "expected int"),
    "a key too many": (_index(lambda index: index.update(colour="blue")), "unknown key 'colour'"),
    "a later version": (_index(lambda index: index.update(format_version=2)), "expected 1: update lowtide"),
    "another format": (_index(lambda index: index.update(format="x")), "is not of lowtide"),
    "a list": (lambda folder: (folder / "index.json").write_text("[]", encoding="utf-8"), "is not of lowtide"),
    "no JSON": (lambda folder: (folder / "index.json").write_text("{", encoding="utf-8"), "cannot be read"),
    "whole numbers": (_array("vectors.npy", lambda x: x.astype(np.int32)), "was it written by something else"),
    "objects": (
        lambda folder: np.save(folder / "tokens.npy", np.array([{}], object), allow_pickle=True),
        "was it written by something else",
    ),
    "columns first": (_array("vectors.npy", np.asfortranarray), "was it written by something else"),
    "descending sentences": (_array("sentences.npy", _descending), "has no rows 5 to 3"),
    "descending tokens": (_array("tokens.npy", _descending), "has no rows"),
    "sentences before the first": (_array("sentences.npy", lambda x: x - [0, 9, 0, 0, 0]), "has no rows"),
    "a shorter text": (_array("tokens.npy", lambda x: x - (x == x[-1])), "do not belong together"),
    "no Unicode": (lambda folder: (folder / "keys.utf8").write_bytes(b"ab\xffd"), "cannot be read"),
    "negative offsets": (_array("spans.npy", lambda x: x[:, ::-1]), "are not those of its tokens"),
    "one name": (lambda folder: (folder / "keys.utf8").write_bytes(b"abca"), "two arrays of one name"),
}


@pytest.mark.parametrize("kind", _DAMAGES)
def test_what_is_wrong_in_it_is_noticed(kind: str, folder: Path) -> None:
    damage, expected = _DAMAGES[kind]
    damage(folder)
    with pytest.raises(InputError) as caught:
        _read_all(folder)
    assert expected in str(caught.value)


def test_damage_anywhere_is_read_or_refused_and_never_more(folder: Path, tmp_path: Path) -> None:
    chance = random.Random(0)
    names = sorted(path.name for path in folder.iterdir())
    for number in range(400):
        damaged = shutil.copytree(folder, tmp_path / f"{number}.mmap")
        path = damaged / chance.choice(names)
        content = bytearray(path.read_bytes())
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            _read_all(damaged)
        except LowtideError as error:
            assert isinstance(error, InputError) and str(damaged) in str(error)
        shutil.rmtree(damaged)
