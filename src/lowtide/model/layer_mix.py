"""The mix of all layers: ELMo's own equation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from lowtide.errors import ConfigError, ShapeError

LayerNorm = Literal["none", "token", "published"]


class LayerMix(nn.Module):
    """gamma * sum_k softmax(s)_k * h_k: equation 1 of Peters et al. (2018), https://arxiv.org/abs/1802.05365.

    gamma begins at 1 and s at 0 over all layers, layer 0 included: the plain mean, until a task has
    learned better. (AllenNLP calls this ``ScalarMix``.)

    Args:
        num_layers: layer 0 counts.
        layer_norm: what is done to every layer first. ``none``; ``token``: each vector to mean 0
            and variance 1; ``published``: one mean and one variance over all tokens of the batch,
            as bilm-tf did. With ``published`` the batch mates of a sentence change its vectors: it
            is for parity only.
    """

    def __init__(self, num_layers: int, *, layer_norm: LayerNorm = "none") -> None:
        super().__init__()
        if num_layers < 1:
            raise ConfigError(f"a mix of {num_layers} layers: expected at least 1")
        if layer_norm not in ("none", "token", "published"):
            raise ConfigError(f"layer_norm is {layer_norm!r}, expected none, token or published")
        self.layer_norm = layer_norm
        self.layer_scalars = nn.Parameter(torch.zeros(num_layers))
        self.gamma = nn.Parameter(torch.ones(()))

    @property
    def weights(self) -> Tensor:
        """softmax(s): (layers,), their sum is 1."""
        return torch.softmax(self.layer_scalars, dim=0)

    def forward(self, layers: Tensor, mask: Tensor) -> Tensor:
        """Mix the layers of a biLM into one vector a token.

        Args:
            layers: (layers, batch, tokens, width), layer 0 first.
            mask: (batch, tokens), true where there is a token.

        Returns:
            (batch, tokens, width). Zero where the mask is false.

        Raises:
            ShapeError: if there is another number of layers than this mix was made for.
        """
        if len(layers) != len(self.layer_scalars):
            raise ShapeError(f"found {len(layers)} layers, this mix is of {len(self.layer_scalars)} (layer 0 counts)")
        return mix_layers(self._normed(layers, mask), self.layer_scalars, self.gamma) * mask[..., None]

    def _normed(self, layers: Tensor, mask: Tensor) -> Tensor:
        if self.layer_norm == "token":
            return norm_tokens(layers)
        return norm_as_published(layers, mask) if self.layer_norm == "published" else layers


def mix_layers(layers: Tensor, layer_scalars: Tensor, gamma: Tensor) -> Tensor:
    """The equation itself.

    Args:
        layers: (layers, ...), layer 0 first.
        layer_scalars: (layers,)
        gamma: one number.

    Returns:
        (...)
    """
    weights = torch.softmax(layer_scalars, dim=0)
    mixed: Tensor = gamma * torch.tensordot(weights.to(layers.dtype), layers, dims=1)
    return mixed


def norm_tokens(layers: Tensor) -> Tensor:
    """Every vector to mean 0 and variance 1: (..., width)."""
    normed: Tensor = nn.functional.layer_norm(layers, layers.shape[-1:], eps=1e-12)
    return normed


def norm_as_published(layers: Tensor, mask: Tensor) -> Tensor:
    """Every layer to mean 0 and variance 1 over all tokens of the batch, the others shifted and scaled alike.

    Args:
        layers: (layers, ..., width)
        mask: (...), true where there is a token.
    """
    kept = mask[..., None].to(layers.dtype)
    within = tuple(range(1, layers.dim()))
    count = kept.sum() * layers.shape[-1]
    mean = (layers * kept).sum(dim=within, keepdim=True) / count
    variance = (((layers - mean) * kept) ** 2).sum(dim=within, keepdim=True) / count
    return (layers - mean) / torch.sqrt(variance + 1e-12)
