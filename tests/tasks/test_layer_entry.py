from __future__ import annotations

import numpy as np
import pytest
import torch

from lowtide.embeddings.one_hot import OneHot
from lowtide.embeddings.type_vectors import type_config
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.errors import InputError
from lowtide.tasks.layer_entry import ONE_HOT_WIDTH, LayerEntry, make_entry
from lowtide.tasks.options import LayerOptions
from lowtide.text.tokenize import make_tokenizer
from lowtide.text.vocabulary import SPECIALS, Vocabulary

STATES = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
"""(layers, tokens, width)"""
VOCABULARY = Vocabulary([*SPECIALS, "a", "b"], [1, 1, 0, 5, 5])
TOKENIZER = make_tokenizer("words", language="en").config


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("learned", STATES.mean(dim=0)),  # before anything is learned
        ("average", STATES.mean(dim=0)),
        ("sum", STATES.sum(dim=0)),
        ("top", STATES[2]),
        ("0", STATES[0]),
        ("1", STATES[1]),
    ],
)
def test_layers_enter_as_they_were_chosen(choice: str, expected: torch.Tensor) -> None:
    entry = LayerEntry(3, 5, LayerOptions(choice))
    torch.testing.assert_close(entry(STATES).detach(), expected)
    assert (entry.mix is not None) == (choice == "learned")


@pytest.mark.parametrize("choice", ["learned", "average"])
def test_every_layer_may_be_normed_by_token_first(choice: str) -> None:
    layers = STATES.numpy().astype(np.float64)
    normed = (layers - layers.mean(-1, keepdims=True)) / layers.std(-1, keepdims=True)
    found = LayerEntry(3, 5, LayerOptions(choice, "token"))(STATES).detach()
    np.testing.assert_allclose(found, normed.mean(axis=0), atol=1e-5)


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="there is no layer 7"):
        LayerEntry(3, 5, LayerOptions("7"))


def test_types_enter_as_a_table() -> None:
    vectors = np.arange(10, dtype=np.float32).reshape(5, 2)
    word2vec = Word2Vec(type_config("word2vec", TOKENIZER), VOCABULARY, vectors)
    indices = torch.from_numpy(word2vec.indices(["b", "a", "none"]))
    frozen, tuned = (make_entry(word2vec, LayerOptions(), is_tuned=is_tuned) for is_tuned in (False, True))
    for entry in (frozen, tuned):
        assert entry(indices).tolist() == vectors[[4, 3, 2]].tolist() and entry.width == 2
    assert not list(frozen.parameters()) and not frozen.state_dict()
    assert [name for name, _ in tuned.named_parameters()] == ["table"]


def test_one_hot_types_learn_a_table_that_begins_at_zero() -> None:
    entry = make_entry(OneHot(type_config("one_hot", TOKENIZER), VOCABULARY), LayerOptions(), is_tuned=False)
    assert entry(torch.tensor([3, 4])).tolist() == [[0.0] * ONE_HOT_WIDTH] * 2
    assert [tuple(parameter.shape) for parameter in entry.parameters()] == [(5, ONE_HOT_WIDTH)]
