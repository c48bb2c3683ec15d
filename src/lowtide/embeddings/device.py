"""Where a network computes."""

from __future__ import annotations

import torch

from lowtide.errors import InputError


def pick_device(name: str) -> torch.device:
    """``auto`` is a GPU if there is one.

    Raises:
        InputError: if there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the device {name!r} cannot be used here ({reason}): try cpu or auto") from None
    return device
