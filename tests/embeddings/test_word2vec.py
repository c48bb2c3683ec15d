from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

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
