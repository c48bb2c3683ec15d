from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lowtide.errors import ConfigError, ShapeError
from lowtide.model import LayerMix
from model import reference

LAYERS, BATCH, TOKENS, WIDTH = 3, 2, 4, 5
MASK = torch.tensor([[True, True, True, True], [True, True, False, False]])


def layers_of(seed: int = 0, *, scale: float = 2.0) -> Tensor:
    """Random layers, zero where there is no token."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(LAYERS, BATCH, TOKENS, WIDTH, generator=generator, dtype=torch.float64) * scale + 0.5
    return drawn * MASK[None, :, :, None]


def mix_of(scalars: list[float], gamma: float, layer_norm: Literal["none", "token", "published"] = "none") -> LayerMix:
    mix = LayerMix(LAYERS, layer_norm=layer_norm).double()
    with torch.no_grad():
        mix.layer_scalars.copy_(torch.tensor(scalars))
        mix.gamma.fill_(gamma)
    return mix


def mixed_by_hand(layers: reference.Array, scalars: list[float], gamma: float) -> reference.Array:
    """(batch, tokens, width) by the reference, row by row."""
    mask = MASK.numpy()[..., None]
    return mask * np.stack([reference.mix(layers[:, row], np.array(scalars), gamma) for row in range(BATCH)])


@settings(max_examples=25, deadline=None)
@given(scalars=st.lists(st.floats(-5, 5), min_size=LAYERS, max_size=LAYERS), gamma=st.floats(-3, 3))
def test_the_mix_is_gamma_times_the_weighted_sum_of_layers(scalars: list[float], gamma: float) -> None:
    layers = layers_of()
    found = mix_of(scalars, gamma)(layers, MASK).detach()
    np.testing.assert_allclose(found, mixed_by_hand(layers.numpy(), scalars, gamma), atol=1e-6)


def test_an_untrained_mix_is_the_plain_mean() -> None:
    layers = layers_of()
    torch.testing.assert_close(LayerMix(LAYERS)(layers, MASK).detach(), layers.mean(dim=0), rtol=0, atol=1e-6)


def test_weights_are_a_softmax_of_the_scalars() -> None:
    weights = mix_of([0.0, 1.0, 2.0], 1.0).weights.detach().numpy()
    np.testing.assert_allclose(weights, np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum())


def test_layer_norm_by_token_gives_every_vector_mean_0_and_variance_1() -> None:
    layers = layers_of().numpy()
    normed = (layers - layers.mean(-1, keepdims=True)) / np.sqrt(layers.var(-1, keepdims=True) + 1e-12)
    found = mix_of([0.1, -0.4, 0.9], 1.3, "token")(torch.from_numpy(layers), MASK).detach()
    np.testing.assert_allclose(found, mixed_by_hand(normed, [0.1, -0.4, 0.9], 1.3), atol=1e-6)


def test_layer_norm_as_published_takes_one_mean_and_variance_over_all_tokens() -> None:
    layers = layers_of().numpy()
    kept = layers[:, MASK.numpy()]  # (layers, all tokens of the batch, width)
    mean, variance = (moment.reshape(LAYERS, 1, 1, 1) for moment in (kept.mean((1, 2)), kept.var((1, 2))))
    normed = (layers - mean) / np.sqrt(variance + 1e-12)
    found = mix_of([0.1, -0.4, 0.9], 1.3, "published")(torch.from_numpy(layers), MASK).detach()
    np.testing.assert_allclose(found, mixed_by_hand(normed, [0.1, -0.4, 0.9], 1.3), atol=1e-6)


@pytest.mark.parametrize("layer_norm", ["none", "token"])
def test_batch_mates_do_not_change_a_mix(layer_norm: Literal["none", "token"]) -> None:
    mix, layers = mix_of([0.1, -0.4, 0.9], 1.3, layer_norm), layers_of()
    torch.testing.assert_close(mix(layers[:, 1:], MASK[1:])[0], mix(layers, MASK)[1])


@pytest.mark.parametrize("layer_norm", ["none", "token", "published"])
def test_the_mix_is_zero_where_there_is_no_token(layer_norm: Literal["none", "token", "published"]) -> None:
    found = mix_of([0.1, -0.4, 0.9], 1.3, layer_norm)(layers_of(), MASK)
    assert not found[~MASK].any()


@pytest.mark.parametrize("layer_norm", ["none", "token", "published"])
def test_what_lies_under_the_mask_changes_nothing(layer_norm: Literal["none", "token", "published"]) -> None:
    mix, layers = mix_of([0.1, -0.4, 0.9], 1.3, layer_norm), layers_of()
    rubbish = torch.where(MASK[None, :, :, None], layers, torch.full_like(layers, 7.0))
    torch.testing.assert_close(mix(rubbish, MASK), mix(layers, MASK))


def test_the_mix_of_float64_layers_is_float64() -> None:
    assert LayerMix(LAYERS)(layers_of(), MASK).dtype == torch.float64


def test_scalars_and_gamma_are_learned() -> None:
    mix = LayerMix(LAYERS)
    (mix(layers_of(), MASK) ** 2).sum().backward()
    assert mix.gamma.grad is not None and mix.layer_scalars.grad is not None and mix.layer_scalars.grad.any()


@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_another_number_of_layers_is_refused(num_layers: int) -> None:
    with pytest.raises(ShapeError, match=f"found 3 layers, this mix is of {num_layers}"):
        LayerMix(num_layers)(layers_of(), MASK)


def test_an_unknown_layer_norm_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected none, token or published"):
        LayerMix(3, layer_norm="batch")  # type: ignore[arg-type]  # the mistake that is tested


def test_a_mix_of_no_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected at least 1"):
        LayerMix(0)
