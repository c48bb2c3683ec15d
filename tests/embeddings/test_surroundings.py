from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import published
import tiny
from lowtide.embeddings.calibrating import fit_to
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.loading import read
from lowtide.embeddings.outputs.reading import open_embeddings
from lowtide.embeddings.surroundings import mean_of_others, rarity
from lowtide.errors import InputError, ModelError
from lowtide.text.vocabulary import SPECIALS, Vocabulary

SENTENCES = [["the", "tide", "goes", "out"], ["tide"], [], ["unseen", "the", "the", "moon"]]


@pytest.fixture
def elmo(saved_bytes: tiny.Saved) -> Elmo:
    return Elmo(read(saved_bytes.folder), device="cpu")


def test_rare_words_weigh_more_and_boundaries_nothing() -> None:
    weights = rarity(Vocabulary([*SPECIALS, "the", "tide"], [10, 10, 5, 999, 1]))
    assert weights[:3].tolist() == [0, 0, 0]
    assert weights[3:].tolist() == pytest.approx([1e-3 / (1e-3 + 0.999), 1e-3 / (1e-3 + 0.001)])


@settings(deadline=None)
@given(st.data())
def test_the_mean_leaves_the_token_itself_out(data: st.DataObject) -> None:
    tokens = data.draw(st.integers(1, 6))
    numbers = st.floats(-3, 3, width=32)
    vectors = data.draw(arrays(np.float32, (tokens, 3), elements=numbers))
    weights = data.draw(arrays(np.float32, tokens, elements=st.sampled_from([0.0, 0.25, 1.0])))
    for place, found in enumerate(mean_of_others(vectors, weights)):
        others = np.arange(tokens) != place
        if weights[others].sum():
            expected = np.average(vectors[others].astype(np.float64), axis=0, weights=weights[others])
            np.testing.assert_allclose(found, expected, atol=1e-5)
        else:
            assert not found.any()


@pytest.mark.parametrize("calibrated", [False, True])
def test_both_surroundings_stand_side_by_side_each_of_length_1(calibrated: bool, elmo: Elmo) -> None:
    if calibrated:
        elmo._calibration = fit_to(elmo, [[s] for s in SENTENCES * 30 if s])
    found = elmo.embed(SENTENCES, layers="surroundings", calibrated=calibrated)
    contexts = elmo.embed(SENTENCES, layers="context", calibrated=calibrated)
    words = elmo.embed(SENTENCES, layers=0, calibrated=calibrated)
    weights = rarity(elmo.stored.vocabulary)
    half = elmo.width // 2
    for sentence, vectors, context, word in zip(SENTENCES, found, contexts, words, strict=True):
        assert vectors.shape == (len(sentence), elmo.width + half)
        others = mean_of_others(word[:, :half], weights[elmo.stored.vocabulary.indices(sentence)])
        for ours, expected in ((vectors[:, : elmo.width], context), (vectors[:, elmo.width :], others)):
            lengths = np.linalg.norm(expected, axis=1, keepdims=True)
            np.testing.assert_allclose(ours * lengths, expected, atol=1e-5)
            np.testing.assert_allclose(np.linalg.norm(ours, axis=1), lengths[:, 0] > 0, atol=1e-5)


def test_surroundings_go_into_files_and_means_of_sentences(elmo: Elmo, tmp_path: Path) -> None:
    elmo.embed_to([" ".join(s) for s in SENTENCES], tmp_path / "v.h5", layers="surroundings")
    expected = elmo.embed(SENTENCES, layers="surroundings")
    with open_embeddings(tmp_path / "v.h5") as stored:
        np.testing.assert_array_equal(stored[0], expected[0])
    encoded = elmo.encode(SENTENCES, layers="surroundings")
    np.testing.assert_allclose(encoded[0], expected[0].mean(axis=0), atol=1e-6)
    assert elmo.encode([], layers="surroundings").shape == (0, encoded.shape[1])


def test_a_sentence_has_the_same_surroundings_in_any_company(elmo: Elmo) -> None:
    alone = elmo.embed([SENTENCES[0]], layers="surroundings")[0]
    np.testing.assert_allclose(elmo.embed(SENTENCES, layers="surroundings")[0], alone, atol=1e-6)


def test_without_a_vocabulary_nothing_is_known_to_be_rare(tmp_path: Path) -> None:
    elmo = Elmo(read(published.write_pair(tmp_path)), device="cpu")
    with pytest.raises(ModelError, match="no vocabulary"):
        elmo.embed([["tide"]], layers="surroundings")


def test_a_mix_leaves_no_room_for_surroundings(elmo: Elmo) -> None:
    from lowtide.model import LayerMix

    with pytest.raises(InputError, match="no room for a mix"):
        elmo.embed([["tide"]], layers="surroundings", mix=LayerMix(3))


def test_parts_with_other_counts_are_not_put_together(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    texts = [" ".join(SENTENCES[0])] * 12_000
    other = tmp_path / "other"
    shutil.copytree(saved_bytes.folder, other)
    counts = saved_bytes.vocabulary.counts.tolist()
    Vocabulary(saved_bytes.vocabulary.types, [1000 * count for count in counts[:4]] + counts[4:]).save(
        other / "vocabulary.txt"
    )
    one, two = (Elmo(read(folder), device="cpu") for folder in (saved_bytes.folder, other))
    assert one.checksum == two.checksum
    one.embed_to(texts, tmp_path / "v.npz", layers="surroundings", shard="1/2")
    with pytest.raises(InputError, match="surroundings"):
        two.embed_to(texts, tmp_path / "v.npz", layers="surroundings", shard="2/2")
