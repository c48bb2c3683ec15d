from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lowtide
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.errors import InputError, MissingExtraError

ANIMALS, PLACES = ("cat", "dog", "fox"), ("bank", "shop", "port")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of two kinds of words that never meet."""
    generator = np.random.default_rng(0)
    lines = []
    for _ in range(400):
        kind = (ANIMALS, PLACES)[int(generator.integers(2))]
        lines.append(" ".join(generator.choice(kind, 6)))
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(text: Path) -> Word2Vec:
    return Word2Vec.train([text], width=8, epochs=20, seed=3)


def cosine(word2vec: Word2Vec, first: str, second: str) -> float:
    a, b = (word2vec.embed([[word]])[0][0].astype(np.float64) for word in (first, second))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_words_that_stand_among_the_same_words_are_near(trained: Word2Vec) -> None:
    assert min(cosine(trained, "cat", "dog"), cosine(trained, "bank", "port")) > cosine(trained, "cat", "bank") + 0.3


def test_the_same_seed_gives_the_same_vectors(trained: Word2Vec, text: Path) -> None:
    assert Word2Vec.train([text], width=8, epochs=20, seed=3).checksum == trained.checksum
    assert Word2Vec.train([text], width=8, epochs=20, seed=4).checksum != trained.checksum


def test_counts_are_those_of_the_text(trained: Word2Vec, text: Path) -> None:
    words = text.read_text(encoding="utf-8").split()
    assert {t: trained.vocabulary.counts[trained.vocabulary.index(t)] for t in ANIMALS} == {
        t: words.count(t) for t in ANIMALS
    }


def test_it_comes_back_from_gensim_as_it_went(trained: Word2Vec) -> None:
    keyed = trained.keyed_vectors()
    assert set(dict(keyed.most_similar("cat", topn=2))) == {"dog", "fox"}
    back = Word2Vec.from_keyed_vectors(keyed)
    assert back.embed("cat bank tide").tobytes() == trained.embed("cat bank tide").tobytes()
    assert back.vocabulary.types == trained.vocabulary.types


def test_vectors_without_counts_keep_their_order() -> None:
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(2)
    keyed.add_vectors(["zebra", "ant"], np.eye(2, dtype=np.float32))
    assert Word2Vec.from_keyed_vectors(keyed).vocabulary.types[3:] == ["zebra", "ant"]


def test_a_text_in_which_nothing_comes_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("every word once\n", encoding="utf-8")
    with pytest.raises(InputError, match="stands 2 times: give a lower min_count"):
        Word2Vec.train([tmp_path / "text.txt"])


def test_without_gensim_the_command_that_installs_it_is_named(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(MissingExtraError, match=r"lowtide\[word2vec\]"):
        Word2Vec.train([text])


def test_it_is_public() -> None:
    assert lowtide.Word2Vec is Word2Vec and "Word2Vec" in lowtide.__all__


@pytest.mark.parametrize("name", ["width", "window", "negatives", "epochs", "min_count", "threads"])
def test_a_number_below_one_is_refused_before_a_text_is_read(tmp_path: Path, name: str) -> None:
    given: Any = {name: 0}
    with pytest.raises(InputError, match=f"{name} is 0, expected a whole number of at least 1"):
        Word2Vec.train([tmp_path / "missing.txt"], **given)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_cannot_take_is_refused(tmp_path: Path, seed: int) -> None:
    with pytest.raises(InputError, match=f"the seed is {seed}, expected 0 to 4294967295"):
        Word2Vec.train([tmp_path / "missing.txt"], seed=seed)


def test_numbers_of_numpy_are_numbers(text: Path, tmp_path: Path) -> None:
    numbers: Any = {"width": np.int64(4), "epochs": np.int32(1), "seed": np.uint32(2)}
    Word2Vec.train([text], **numbers).save(tmp_path / "vectors")
    assert Word2Vec.open(tmp_path / "vectors").config.training["seed"] == 2


def test_a_model_of_gensim_is_taken_for_its_vectors() -> None:
    from gensim.models import Word2Vec as Gensim

    model = Gensim([["cat", "dog"], ["dog", "fox"]], vector_size=4, min_count=1)
    taken, expected = Word2Vec.from_keyed_vectors(model), Word2Vec.from_keyed_vectors(model.wv)
    assert taken.knows("cat") and taken.checksum == expected.checksum


def test_what_has_no_vectors_of_gensim_is_refused() -> None:
    with pytest.raises(InputError, match="found dict, expected gensim's KeyedVectors, or a model of gensim"):
        Word2Vec.from_keyed_vectors({"cat": [1.0, 0.0]})


def test_a_word_of_count_zero_keeps_its_vector() -> None:
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(2)
    keyed.add_vectors(["cat", "dog"], np.eye(2, dtype=np.float32))
    for word, count in (("cat", 7), ("dog", 0)):
        keyed.set_vecattr(word, "count", count)
    taken = Word2Vec.from_keyed_vectors(keyed)
    assert taken.embed("cat dog").tolist() == [[1, 0], [0, 1]]
    assert taken.vocabulary.counts[3:].tolist() == [7, 1]
