from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lowtide.tasks.inputs import Inputs, make_sources
from lowtide.tasks.options import HeadOptions, LayerOptions
from lowtide.tasks.token_network import TokenNetwork, pool_tokens, spelling_of
from lowtide.text.tokenize import Sentence
from stand_ins import SENTENCES, Rung

BOTH = LayerOptions(at_output=True, penalty=0.5)


def network_of(**options: Any) -> tuple[TokenNetwork, HeadOptions]:
    head = HeadOptions(state_width=4, **options)
    torch.manual_seed(0)
    return TokenNetwork([Rung(), Rung(2)], head, is_tuned=False).eval(), head


def inputs_of(sentences: list[Sentence], options: HeadOptions) -> Inputs:
    sources = make_sources([Rung(), Rung(2)], sentences, [None, None])
    return Inputs(sentences, sources, spelling=spelling_of(options), device=torch.device("cpu"))


@pytest.mark.parametrize("options", [{}, {"reader": "none"}, {"char_filters": 3, "layers": BOTH}])
def test_batch_mates_do_not_change_a_token(options: dict[str, Any]) -> None:
    network, head = network_of(**options)
    inputs = inputs_of([*SENTENCES, []], head)
    together = network(inputs.batch(range(7)))
    assert together.shape[2] == network.width
    for number, sentence in enumerate(SENTENCES):
        alone = network(inputs.batch([number]))
        torch.testing.assert_close(together[number, : len(sentence)], alone[0])
    assert network(inputs.batch([6])).shape == (1, 1, network.width)  # a sentence without a token, alone


def test_several_embeddings_stand_beside_each_other() -> None:
    assert network_of(reader="none")[0].width == 12
    assert network_of(reader="none", char_filters=3)[0].width == 15
    assert network_of()[0].width == 8
    assert network_of(layers=BOTH)[0].width == 8 + 12


def test_what_is_put_at_the_output_is_the_mix_of_every_embedding() -> None:
    network, head = network_of(reader="none", layers=BOTH)
    rows = network(inputs_of(SENTENCES, head).batch([4]))
    assert not torch.equal(rows[..., :6], rows[..., 6:12])
    torch.testing.assert_close(rows[..., :12], rows[..., 12:])  # fresh mixes: the plain means, of both places


def test_every_place_and_embedding_has_a_mix_of_its_own() -> None:
    network, _ = network_of(layers=BOTH)
    assert list(network.mixes()) == ["input 1", "input 2", "output 1", "output 2"]
    with torch.no_grad():
        network.mixes()["input 2"].layer_scalars.copy_(torch.tensor([1.0, -2.0, 0.0]))
    assert network.penalty().item() == pytest.approx(0.5 * (1 + 4))


@pytest.mark.parametrize("place", [slice(0, 12), slice(12, 24)], ids=["input", "output"])
def test_a_number_is_dropped_at_all_tokens_of_a_sentence(place: slice) -> None:
    network, head = network_of(reader="none", dropout=0.5, layers=BOTH)
    batch = inputs_of(SENTENCES, head).batch([4])
    whole, dropped = network(batch)[0, :, place], network.train()(batch)[0, :, place]
    is_dropped = (dropped == 0).all(dim=0)
    assert is_dropped.any() and not is_dropped.all()
    torch.testing.assert_close(dropped[:, ~is_dropped], 2 * whole[:, ~is_dropped])


def test_what_the_reader_says_is_dropped_too() -> None:
    network, head = network_of(dropout=0.5)
    read = network.train()(inputs_of(SENTENCES, head).batch([4]))[0]
    is_dropped = (read == 0).all(dim=0)
    assert is_dropped.any() and not is_dropped.all() and (read[:, ~is_dropped] != 0).all()


@pytest.mark.parametrize("how", ["mean", "max", "both"])
def test_pooling_looks_at_tokens_alone(how: str) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 4, 2)) - 3
    lengths = [4, 2, 0]
    means = np.stack([r[:n].mean(axis=0) if n else np.zeros(2) for r, n in zip(rows, lengths, strict=True)])
    largest = np.stack([r[:n].max(axis=0) if n else np.zeros(2) for r, n in zip(rows, lengths, strict=True)])
    expected = {"mean": means, "max": largest, "both": np.concatenate([means, largest], axis=1)}[how]
    np.testing.assert_allclose(pool_tokens(torch.from_numpy(rows), torch.tensor(lengths), how), expected)
