"""The log of a training in TensorBoard, while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lowtide.errors import require
from lowtide.training.log import Watcher

TENSORBOARD = "tensorboard"
"""The folder of its event files, in the model folder."""


@contextmanager
def tensorboard(out: Path, *, step: int) -> Iterator[Watcher]:
    """Write what the log says as scalars; ``tensorboard --logdir OUT`` shows them.

    Args:
        out: the model folder.
        step: the first one that is written; what an earlier run wrote from there on is no longer shown.

    Raises:
        MissingExtraError: if TensorBoard is not installed.
    """
    require("tensorboard", extra="tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(out / TENSORBOARD, purge_step=step) as writer:

        def watch(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                if not isinstance(value, bool):
                    writer.add_scalar(name, value, step)
            writer.flush()

        yield watch
