from __future__ import annotations

import numpy as np
import pytest

from lowtide.embeddings import Elmo
from lowtide.embeddings.session import Session
from lowtide.errors import InputError
from lowtide.evaluation.state_check import check_warm_state

SENTENCES = [["the", "tide"], ["goes", "out", "."], [], ["the", "bank"], ["a", "river"]]


def test_the_first_batch_is_clean_and_the_rest_is_compared(elmo: Elmo) -> None:
    checked = check_warm_state(elmo, SENTENCES, rows=2)
    assert (checked.rows, checked.num_sentences, checked.num_warm) == (2, 5, 3)
    assert checked.layers[0].largest < 1e-6
    assert all(layer.largest > 1e-3 and layer.mean > 0 and layer.cosine < 0.9999 for layer in checked.layers[1:])


def test_the_figures_are_those_of_the_vectors_themselves(elmo: Elmo) -> None:
    clean = elmo.embed_layers(SENTENCES)
    warm = Session(elmo, rows=2).embed_layers(SENTENCES)
    apart = np.concatenate([np.abs(a - b) for a, b in zip(clean[2:], warm[2:], strict=True)], axis=1)
    checked = check_warm_state(elmo, SENTENCES, rows=2)
    assert [layer.largest for layer in checked.layers] == pytest.approx(apart.max(axis=(1, 2)).tolist(), abs=1e-6)
    assert [layer.mean for layer in checked.layers] == pytest.approx(apart.mean(axis=(1, 2)).tolist(), abs=1e-6)


def test_a_text_of_one_batch_tells_nothing_and_says_so(elmo: Elmo) -> None:
    with pytest.raises(InputError, match=r"5 sentences, all in the first batch of 64"):
        check_warm_state(elmo, SENTENCES)


def test_the_lines_name_every_layer(elmo: Elmo) -> None:
    lines = check_warm_state(elmo, SENTENCES, rows=2).lines()
    assert [line.split()[0] for line in lines] == ["state", "layer", "layer", "layer", "lowtide"]
