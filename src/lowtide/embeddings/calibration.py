"""Calibration: vectors whose cosines say more.

Contextual vectors are anisotropic: a few dimensions are large in every vector, so that the cosine of two tokens that
have nothing in common is far above 0. Timkey & van Schijndel (2021), https://arxiv.org/abs/2109.04404, give every
dimension the mean 0 and the spread 1 over a text; Mu & Viswanath (2018), https://arxiv.org/abs/1702.01417, take off
what lies along the first principal components, which tell how common a word is rather than what it means. Here the
second may follow the first; unless it is asked for, it does not: see `NUM_REMOVED`.

This module knows no text and no model: it is fitted to vectors, and changes vectors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.sampling import Spread
from lowtide.errors import InputError, MissingPathError, ModelError, ShapeError
from lowtide.model import States
from lowtide.weights.arrays import check_finite
from lowtide.weights.native import save_tensors

FORMAT_VERSION = 1
MAX_TOKENS = 1_000_000
"""More change nothing that can be seen: means and components of a thousand dimensions are known long before."""
LEAST_TOKENS = 100
"""Fewer say nothing of a text."""
NUM_REMOVED = 0
"""Components that are taken off unless another number is wanted. A standardised cloud has a mean cosine of 0 already.
In a `tiny` model of English (mix of all layers), 0, 1, 2 and 3 components less gave 35.9, 33.9, 33.1 and 32.1 as
Spearman's rho on SCWS (different words), and 62.2, 62.1, 62.5 and 62.8 as AUC on the pairs of MCL-WiC (one word)."""
_BATCH = 4096
"""Tokens of one product."""
_NUM_SAMPLED = 2048
"""Tokens, at least half of them, of which the cosines of all pairs are taken; or all there are."""
_NO_SPREAD = 1e-6
"""A dimension that varies by less than this share of its size varies by the rounding of float32 alone."""
_TENSORS = ("mean", "spread", "components", "explained", "cosine_before", "cosine_after")


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the vectors of a model are like over a text, layer by layer; all float32."""

    mean: Vectors
    """(layers, width)."""
    spread: Vectors
    """(layers, width): the standard deviation of every dimension; 0 where a dimension does not vary."""
    components: Vectors
    """(layers, components, width): the first principal directions of the standardised vectors, each of length 1; a
    hundredth of the width of them (the number that Mu & Viswanath advise), or more if more are taken off."""
    explained: Vectors
    """(layers, components): the share of the standardised vectors' variance that lies along each."""
    cosine_before: Vectors
    """(layers,): the mean cosine of two random tokens as the model gives them."""
    cosine_after: Vectors
    """(layers,): the same once they are calibrated."""
    num_removed: int
    """So many of the components are taken off."""
    num_tokens: int
    """That it was fitted to."""
    model_checksum: str
    """Of the model that it belongs to."""

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of all that decides what a vector becomes."""
        digest = hashlib.sha256()
        for array in (self.mean, self.spread, self.components[:, : self.num_removed]):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def apply(self, states: States) -> States:
        """Calibrate every layer.

        Computes z = (x - mean) / spread, as Timkey & van Schijndel (2021), then z - sum_j (z · c_j) c_j over the
        components that are taken off, as algorithm 1 of Mu & Viswanath (2018).

        Args:
            states: of the model that this belongs to, boundaries among them or not.

        Returns:
            The same in float32; what was zero where the mask is false is zero still.

        Raises:
            ShapeError: if the layers or their width are others.
        """
        if (len(states.layers), states.layers.shape[-1]) != self.mean.shape:
            found = f"{len(states.layers)} layers of width {states.layers.shape[-1]}"
            raise ShapeError(
                f"found {found}, this calibration is of {self.mean.shape[0]} of width {self.mean.shape[1]}"
            )
        layers = [self.apply_to_layer(vectors, states.mask, number) for number, vectors in enumerate(states.layers)]
        return States(torch.stack(layers), states.mask, states.carry)

    def apply_to_layer(self, vectors: Tensor, mask: Tensor, layer: int) -> Tensor:
        """Calibrate vectors of one layer; see `apply`.

        Args:
            vectors: (..., width).
            mask: (...), true where there is a token.
            layer: its number; from the top, if it is negative.

        Returns:
            (..., width), float32.
        """
        is_there = (mask | vectors.any(dim=-1))[..., None]  # a boundary is no token, but has vectors
        removed = self.components[:, : self.num_removed]
        mean, spread, components = (
            torch.from_numpy(array[layer]).to(vectors.device) for array in (self.mean, self.spread, removed)
        )
        scale = torch.where(spread > 0, 1 / spread, 0.0)
        standard = (vectors.float() - mean) * scale  # (..., width)
        return (standard - standard @ components.T @ components) * is_there

    def cosines(self) -> str:
        """The mean cosine of two random tokens before and after, layer by layer, for reading: ``0.31 → 0.00, ...``."""
        pairs = zip(self.cosine_before.tolist(), self.cosine_after.tolist(), strict=True)
        # + 0.0: there is no -0.00
        return ", ".join(f"{round(before, 2) + 0.0:.2f} → {round(after, 2) + 0.0:.2f}" for before, after in pairs)

    def save(self, path: Path) -> None:
        """Write it, whole; the same calibration gives the same bytes.

        Raises:
            WriteError: if the file cannot be written.
        """
        # one text: safetensors lays several of them down in any order
        facts = {
            "format_version": FORMAT_VERSION,
            "num_removed": self.num_removed,
            "num_tokens": self.num_tokens,
            "model": self.model_checksum,
        }
        tensors = {name: torch.from_numpy(getattr(self, name)) for name in _TENSORS}
        save_tensors(path, tensors, metadata={"calibration": json.dumps(facts)})

    @classmethod
    def load(cls, path: Path, *, num_layers: int, width: int) -> Calibration:
        """Read what `save` has written.

        Args:
            path: the file.
            num_layers: that it should be of.
            width: that it should be of.

        Raises:
            MissingPathError: if it is not there.
            ModelError: if it is damaged, of a newer format or of other shapes.
        """
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["calibration"])
                arrays = {name: file.get_tensor(name).numpy() for name in _TENSORS}
            version, num_removed, num_tokens = (facts[f] for f in ("format_version", "num_removed", "num_tokens"))
            model_checksum = facts["model"]
        except FileNotFoundError:
            raise MissingPathError(f"{path} is not there") from None
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path} cannot be read ({error}): is it damaged, or only half copied?") from None
        if version != FORMAT_VERSION:
            raise ModelError(f"{path} has format_version {version}, this lowtide reads {FORMAT_VERSION}: fit it again")
        num_components = arrays["components"].shape[1] if arrays["components"].ndim == 3 else 0
        shapes = {
            "mean": (num_layers, width),
            "spread": (num_layers, width),
            "components": (num_layers, num_components, width),
            "explained": (num_layers, num_components),
            "cosine_before": (num_layers,),
            "cosine_after": (num_layers,),
        }
        for name, shape in shapes.items():
            if arrays[name].shape != shape or arrays[name].dtype != np.float32:
                raise ModelError(
                    f"{path}: {name} is {arrays[name].shape} of {arrays[name].dtype}, expected {shape} of float32"
                )
            check_finite(str(path), name, arrays[name])
        return cls(**arrays, num_removed=num_removed, num_tokens=num_tokens, model_checksum=model_checksum)


def fit(
    vectors: Iterable[Vectors],
    *,
    model_checksum: str,
    num_removed: int = NUM_REMOVED,
    max_tokens: int = MAX_TOKENS,
) -> Calibration:
    """Fit a calibration in one pass; what is held does not grow with the text.

    Args:
        vectors: (layers, tokens, width) each, the tokens of a text; how they are cut into arrays changes nothing.
        model_checksum: of the model that they are from.
        num_removed: components that are to be taken off.
        max_tokens: the rest of the stream is left unread.

    Raises:
        InputError: if there are fewer than 100 tokens, or as many components are to go as there are dimensions.
    """
    sums: _Sums | None = None
    sample: Spread[Tensor] = Spread(_NUM_SAMPLED, Tensor.clone)  # a part would keep its whole batch alive
    for batch in _batches(vectors, max_tokens):
        sums = sums or _Sums(len(batch), batch.shape[-1])
        sums.add(batch)
        for token in batch.unbind(dim=1):
            sample.add(token)
    num_tokens = 0 if sums is None else sums.num_tokens
    if sums is None or num_tokens < LEAST_TOKENS:
        raise InputError(f"a calibration wants at least {LEAST_TOKENS} tokens of text, found {num_tokens}")
    mean, spread, correlations = sums.moments()
    width = mean.shape[-1]
    if not 0 <= num_removed < width:
        raise InputError(f"num_removed is {num_removed}, expected 0 to {width - 1}")
    num_kept = max(1, width // 100, num_removed)
    variances, directions = torch.linalg.eigh(correlations)  # rising; (layers, width, components)
    components = _signed(directions.mT.flip(1)[:, :num_kept])
    explained = variances.flip(1)[:, :num_kept].clamp(min=0) / spread.gt(0).sum(dim=-1, keepdim=True).clamp(min=1)
    tokens = torch.stack(sample.items, dim=1)  # (layers, tokens, width)
    before = _float32(_mean_cosine(tokens))
    fitted = Calibration(
        mean=_float32(mean),
        spread=_float32(spread),
        components=_float32(components),
        explained=_float32(explained),
        cosine_before=before,
        cosine_after=before,
        num_removed=num_removed,
        num_tokens=num_tokens,
        model_checksum=model_checksum,
    )
    after = fitted.apply(States(tokens[:, None], torch.ones(1, tokens.shape[1], dtype=torch.bool))).layers[:, 0]
    return replace(fitted, cosine_after=_float32(_mean_cosine(after)))


class _Sums:
    """What is left of vectors that have gone by: enough for their means, spreads and principal components."""

    def __init__(self, num_layers: int, width: int) -> None:
        self.num_tokens = 0
        self._sums = torch.zeros(num_layers, width, dtype=torch.float64)
        self._products = torch.zeros(num_layers, width, width, dtype=torch.float64)

    def add(self, vectors: Tensor) -> None:
        numbers = vectors.double()  # (layers, tokens, width)
        self.num_tokens += numbers.shape[1]
        self._sums += numbers.sum(dim=1)
        self._products.baddbmm_(numbers.mT, numbers)

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """(layers, width) means and spreads, (layers, width, width) correlations."""
        mean = self._sums / self.num_tokens
        squares = self._products.diagonal(dim1=1, dim2=2) / self.num_tokens
        variance = squares - mean.square()
        spread = torch.where(variance > _NO_SPREAD**2 * squares, variance, 0.0).sqrt()
        scale = torch.where(spread > 0, 1 / spread, 0.0)
        covariances = self._products / self.num_tokens - mean[:, :, None] * mean[:, None, :]
        return mean, spread, covariances * scale[:, :, None] * scale[:, None, :]


def _batches(vectors: Iterable[Vectors], max_tokens: int) -> Iterator[Tensor]:
    """Arrays joined to (layers, tokens, width), as many tokens each as make a good product."""
    left, waiting, size = max_tokens, [], 0
    for array in vectors:
        taken = torch.from_numpy(array[:, :left])
        waiting.append(taken)
        size += taken.shape[1]
        left -= taken.shape[1]
        if size >= _BATCH or not left:
            # joined to memory of PyTorch's own: where an array begins decides how its products are rounded
            yield torch.cat(waiting, dim=1)
            waiting, size = [], 0
        if not left:
            return
    if size:
        yield torch.cat(waiting, dim=1)


def _signed(components: Tensor) -> Tensor:
    """A direction is the same both ways; the largest number of each is made positive, so that it is always one."""
    largest = components.gather(-1, components.abs().argmax(dim=-1, keepdim=True))
    return torch.where(largest < 0, -components, components)


def _mean_cosine(vectors: Tensor) -> Tensor:
    """(layers, tokens, width) to (layers,): over all pairs of different tokens."""
    numbers = vectors.double()
    units = numbers / numbers.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    num_tokens = units.shape[1]
    # the square of the sum holds every pair twice, and every token with itself
    cosines = units.sum(dim=1).square().sum(dim=-1) - units.square().sum(dim=(1, 2))
    mean: Tensor = cosines / (num_tokens * (num_tokens - 1))
    return mean


def _float32(numbers: Tensor) -> NDArray[Any]:
    return numbers.float().contiguous().numpy()
