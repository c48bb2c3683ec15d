"""Which layers a user wants: all of them, or one vector a token made of them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from lowtide.embeddings.calibration import Calibration
from lowtide.errors import InputError, nearest
from lowtide.model import LayerMix, States

Reduction = Callable[[States], Tensor]
"""States to (..., batch, tokens, width)."""


def _context(states: States) -> Tensor:
    """What stands around every token, and not the token: the forward state before it, the backward state after it."""
    ahead, back = states.forward_layers[-1], states.backward_layers[-1]  # (batch, positions, width / 2)
    nothing = torch.zeros_like(ahead[:, :1])
    return torch.cat([torch.cat([nothing, ahead[:, :-1]], dim=1), torch.cat([back[:, 1:], nothing], dim=1)], dim=-1)


_NAMED: dict[str, Reduction] = {
    "all": lambda states: states.layers,
    "top": lambda states: states.layers[-1],
    "average": lambda states: states.layers.mean(dim=0),
    "sum": lambda states: states.layers.sum(dim=0),
    "context": _context,
}


def choose_layers(choice: str | int, num_layers: int, mix: LayerMix | None = None) -> Reduction:
    """What to make of the layers.

    Args:
        choice: ``mix`` (the learned mix, or the plain mean without one), ``all``, ``top``,
            ``average``, ``sum``, ``context`` (of the top layer the forward state before a token and the backward
            state after it: all but the token itself), or the number of a layer.
        num_layers: of the model, layer 0 counted.
        mix: scalars learned with a task.

    Raises:
        InputError: if there is no such choice, or no such layer, or a mix is given and not chosen.
    """
    if mix is not None and choice != "mix":
        raise InputError(f"layers={choice!r} leaves no room for a mix: give one of the two")
    if choice == "mix":
        return _mixed(mix or LayerMix(num_layers))
    if isinstance(choice, str) and choice in _NAMED:
        return _NAMED[choice]
    if str(choice).removeprefix("-").isdecimal():
        number = int(choice)
        if not 0 <= number < num_layers:
            raise InputError(f"there is no layer {number}: the model has layers 0 to {num_layers - 1}")
        return lambda states: states.layers[number]
    names = ["mix", *_NAMED]
    raise InputError(
        f"unknown choice of layers {choice!r}.{nearest(str(choice), names)} "
        f"Known: {', '.join(names)}, 0 to {num_layers - 1}"
    )


def calibrated_first(choice: str | int, reduction: Reduction, calibration: Calibration) -> Reduction:
    """What `choose_layers` gave for a choice, of layers that are calibrated first."""
    if choice == "context":
        # a calibrated state knows of both directions: put together first, or the token itself would shine through
        return lambda states: calibration.apply_to_layer(reduction(states), states.mask, -1)
    return lambda states: reduction(calibration.apply(states))


def _mixed(mix: LayerMix) -> Reduction:
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
