from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lowtide.embeddings.layers import choose_layers, pool
from lowtide.errors import InputError, ShapeError
from lowtide.model import LayerMix, States

LAYERS = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
STATES = States(LAYERS, torch.ones(2, 4, dtype=torch.bool))


def trained_mix() -> LayerMix:
    mix = LayerMix(3)
    with torch.no_grad():
        mix.layer_scalars.copy_(torch.tensor([0.0, 1.0, 2.0]))
        mix.gamma.fill_(1.5)
    return mix


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("mix", LAYERS.mean(dim=0)),
        ("average", LAYERS.mean(dim=0)),
        ("sum", LAYERS.sum(dim=0)),
        ("top", LAYERS[2]),
        ("all", LAYERS),
        (0, LAYERS[0]),
        (1, LAYERS[1]),
        ("2", LAYERS[2]),
        (np.int64(1), LAYERS[1]),
    ],
)
def test_a_choice_gives_its_layers(choice: str | int, expected: Tensor) -> None:
    torch.testing.assert_close(choose_layers(choice, 3)(STATES).detach(), expected)


def test_a_mix_that_is_given_is_used() -> None:
    mix = trained_mix()
    expected = 1.5 * sum(weight * layer for weight, layer in zip(mix.weights, LAYERS, strict=True))
    torch.testing.assert_close(choose_layers("mix", 3, mix)(STATES), expected)


def test_a_mix_that_is_given_stays_as_it_was() -> None:
    mix = trained_mix()
    elsewhere = States(LAYERS.to("meta"), STATES.mask.to("meta"))
    assert choose_layers("mix", 3, mix)(elsewhere).device.type == "meta"
    assert mix.gamma.device.type == "cpu"


@pytest.mark.parametrize("choice", ["top", "average", "all", 0])
def test_a_mix_beside_another_choice_is_refused(choice: str | int) -> None:
    with pytest.raises(InputError, match="no room for a mix"):
        choose_layers(choice, 3, trained_mix())


def test_a_mix_of_another_number_of_layers_is_refused() -> None:
    with pytest.raises(ShapeError, match="found 3 layers, this mix is of 2"):
        choose_layers("mix", 3, LayerMix(2))(STATES)


@pytest.mark.parametrize("number", [3, "3", -1, "-1", np.int64(17)])
def test_a_layer_that_is_not_there_is_refused_with_those_that_are(number: str | int) -> None:
    with pytest.raises(InputError, match=f"there is no layer {number}: the model has layers 0 to 2"):
        choose_layers(number, 3)


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ("tops", r"unknown choice of layers 'tops'\. Did you mean 'top'\?"),
        ("", r"Known: mix, all, top, average, sum, context, surroundings, 0 to 2"),
        (1.5, r"unknown choice of layers 1\.5"),
        (None, r"unknown choice of layers None"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_known_ones(choice: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        choose_layers(choice, 3)


# -- pooling -------------------------------------------------------------------------------------

VECTORS = torch.tensor([[1.0, -4.0], [3.0, -2.0]])


@pytest.mark.parametrize(("how", "expected"), [("mean", [2.0, -3.0]), ("max", [3.0, -2.0])])
def test_tokens_are_pooled_to_one_vector(how: str, expected: list[float]) -> None:
    assert pool(VECTORS, how).tolist() == expected


@pytest.mark.parametrize("how", ["mean", "max"])
def test_every_layer_is_pooled_by_itself(how: str) -> None:
    pooled = pool(LAYERS[:, 0], how)
    assert all(torch.equal(pooled[layer], pool(LAYERS[layer, 0], how)) for layer in range(3))


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize("shape", [(0, 5), (3, 0, 5)])
def test_no_tokens_are_pooled_to_zeros(how: str, shape: tuple[int, ...]) -> None:
    assert torch.equal(pool(torch.zeros(shape), how), torch.zeros(*shape[:-2], 5))


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(InputError, match="unknown pooling 'median', expected mean or max"):
        pool(VECTORS, "median")
