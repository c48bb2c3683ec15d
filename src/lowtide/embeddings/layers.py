"""Which layers a user wants: all of them, or one vector a token made of them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.calibration import Calibration
from lowtide.errors import InputError, nearest
from lowtide.model import LayerMix, States
from lowtide.text.tokenize import Sentence

CONTEXT, SURROUNDINGS = "context", "surroundings"
"""Of what stands around a token: the choices that know nothing of the token itself."""


@dataclass(frozen=True)
class Reduction:
    """What is made of the layers."""

    of_states: Callable[[States], Tensor]
    """States to (..., batch, tokens, width), every position by itself."""
    of_sentence: Callable[[Sentence, Vectors], Vectors] | None = None
    """Tokens and their (..., tokens, width) to vectors of the same shape; None: they stay."""

    def __call__(self, states: States) -> Tensor:
        """See ``of_states``."""
        return self.of_states(states)

    def finish(self, sentence: Sentence, vectors: Vectors) -> Vectors:
        """See ``of_sentence``."""
        return vectors if self.of_sentence is None else self.of_sentence(sentence, vectors)


def _context(states: States) -> Tensor:
    """What stands around every token, and not the token: the forward state before it, the backward state after it."""
    ahead, back = states.forward_layers[-1], states.backward_layers[-1]  # (batch, positions, width / 2)
    nothing = torch.zeros_like(ahead[:, :1])
    return torch.cat([torch.cat([nothing, ahead[:, :-1]], dim=1), torch.cat([back[:, 1:], nothing], dim=1)], dim=-1)


def _around(states: States) -> Tensor:
    """The `_context`, and behind it every token's own vector; what becomes of that is a matter of the sentence."""
    return torch.cat([_context(states), _token_vectors(states.layers[0])], dim=-1)


def _token_vectors(layer_0: Tensor) -> Tensor:
    """Layer 0 is the token vector twice; once."""
    return layer_0[..., : layer_0.shape[-1] // 2]


_NAMED: dict[str, Callable[[States], Tensor]] = {
    "all": lambda states: states.layers,
    "top": lambda states: states.layers[-1],
    "average": lambda states: states.layers.mean(dim=0),
    "sum": lambda states: states.layers.sum(dim=0),
    CONTEXT: _context,
    SURROUNDINGS: _around,
}


def width_of(choice: str | int, width: int) -> int:
    """The width of a choice, of layers of some width: ``surroundings`` are a layer and the token's own vector."""
    return width + width // 2 if choice == SURROUNDINGS else width


def choose_layers(choice: str | int, num_layers: int, mix: LayerMix | None = None) -> Reduction:
    """What to make of the layers.

    Args:
        choice: ``mix`` (the learned mix, or the plain mean without one), ``all``, ``top``,
            ``average``, ``sum``, ``context`` (of the top layer the forward state before a token and the backward
            state after it: all but the token itself), ``surroundings`` (`Elmo.reduction` puts them together), or the
            number of a layer.
        num_layers: of the model, layer 0 counted.
        mix: scalars learned with a task.

    Raises:
        InputError: if there is no such choice, or no such layer, or a mix is given and not chosen.
    """
    if mix is not None and choice != "mix":
        raise InputError(f"layers={choice!r} leaves no room for a mix: give one of the two")
    if choice == "mix":
        return Reduction(_mixed(mix or LayerMix(num_layers)))
    if isinstance(choice, str) and choice in _NAMED:
        return Reduction(_NAMED[choice])
    if str(choice).removeprefix("-").isdecimal():
        number = int(choice)
        if not 0 <= number < num_layers:
            raise InputError(f"there is no layer {number}: the model has layers 0 to {num_layers - 1}")
        return Reduction(lambda states: states.layers[number])
    names = ["mix", *_NAMED]
    raise InputError(
        f"unknown choice of layers {choice!r}.{nearest(str(choice), names)} "
        f"Known: {', '.join(names)}, 0 to {num_layers - 1}"
    )


def calibrated_first(choice: str | int, reduction: Reduction, calibration: Calibration) -> Reduction:
    """What `choose_layers` gave for a choice, of layers that are calibrated first."""

    def of_states(states: States) -> Tensor:
        if choice not in (CONTEXT, SURROUNDINGS):
            return reduction.of_states(calibration.apply(states))
        # a calibrated state knows of both directions: put together first, or the token itself would shine through
        context = calibration.apply_to_layer(_context(states), states.mask, -1)
        if choice == CONTEXT:
            return context
        words = _token_vectors(calibration.apply_to_layer(states.layers[0], states.mask, 0))
        return torch.cat([context, words], dim=-1)

    return dataclasses.replace(reduction, of_states=of_states)


def _mixed(mix: LayerMix) -> Callable[[States], Tensor]:
    def reduce(states: States) -> Tensor:
        # a copy: the caller's own module stays where it is
        mixed: Tensor = copy.deepcopy(mix).to(states.layers.device)(states.layers, states.mask)
        return mixed

    return reduce


def pool(vectors: Tensor, how: str) -> Tensor:
    """(..., tokens, width) to (..., width): ``mean`` or ``max`` over the tokens; zeros if there are none.

    Raises:
        InputError: if ``how`` is neither.
    """
    if how not in ("mean", "max"):
        raise InputError(f"unknown pooling {how!r}, expected mean or max")
    if not vectors.shape[-2]:
        return vectors.sum(dim=-2)
    return vectors.mean(dim=-2) if how == "mean" else torch.amax(vectors, dim=-2)
