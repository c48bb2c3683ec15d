from __future__ import annotations

import numpy as np
import pytest

from lowtide.embeddings import Elmo
from lowtide.errors import InputError
from lowtide.evaluation.comparison import compare, cosines, separate

_SENTENCES: list[str | list[str]] = ["a [b] c", "[b] a", ["c", "[a]"]]


def test_one_hot_and_layer_0_cannot_tell_tokens_of_one_type_apart(elmo: Elmo) -> None:
    found = compare(elmo, _SENTENCES)
    assert found.one_hot[0, 1] == 1.0 and found.one_hot[0, 2] == 0.0
    assert found.layers[0][0, 1] == pytest.approx(1.0, abs=1e-6)


def test_higher_layers_tell_them_apart(elmo: Elmo) -> None:
    assert compare(elmo, _SENTENCES).layers[2][0, 1] < 0.9999


def test_matrices_are_symmetric_with_ones_on_the_diagonal(elmo: Elmo) -> None:
    for matrix in compare(elmo, _SENTENCES).matrices().values():
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
        np.testing.assert_allclose(np.diag(matrix), 1.0, atol=1e-6)


def test_a_marked_word_has_the_vector_that_embed_word_gives(elmo: Elmo) -> None:
    vectors = np.stack([elmo.embed_word(sentence, layers=1) for sentence in _SENTENCES])
    np.testing.assert_allclose(compare(elmo, _SENTENCES).layers[1], cosines(vectors), atol=1e-5)


def test_a_single_sentence_cannot_be_compared(elmo: Elmo) -> None:
    with pytest.raises(InputError, match="at least two"):
        compare(elmo, ["a [b]"])


def test_uses_that_lie_apart_are_told_apart() -> None:
    vectors = np.array([[1, 0.1], [1, -0.1], [0.1, 1], [-0.1, 1]])
    found = separate(vectors, [0, 0, 1, 1])
    assert found.nearest_centroid == 1.0 and found.within > found.across


def test_uses_that_cannot_be_told_apart_are_at_chance() -> None:
    found = separate(np.ones((6, 3)), [0, 0, 0, 1, 1, 1])
    assert found.nearest_centroid == 0.5
    assert found.within == pytest.approx(found.across)


def test_separation_leaves_a_token_out_of_its_own_centroid() -> None:
    # each token is its own direction: with itself in the mean it would always be right
    assert separate(np.eye(4), [0, 0, 1, 1]).nearest_centroid == 0.5
