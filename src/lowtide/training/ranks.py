"""Several processes that train one model: which one this is, and what they tell each other.

``torchrun`` starts them, on one host or many, and says in the environment of each who it is. All hold the same networks
and go through the same batches; each learns from its own rows (`lowtide.training.together`). The first of them alone
reads text, writes files and speaks. Where one fails, all end, and the first one says why.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from lowtide.config import from_json, to_json
from lowtide.embeddings.device import pick_device
from lowtide.errors import InputError, LowtideError, TrainingError

Value = TypeVar("Value")

_LEFT, _REASON = "left", "reason"
"""What is told of processes that have failed: how many there are, and why the first one of them did."""
_LOOK_SECONDS = 0.1
_FAREWELL_SECONDS = 10.0
"""How long the process that may keep the messages stays for those who still want to read one."""
_trainings = itertools.count()
"""Every training has names of its own for what is told; all processes count alike."""


class _Lost(Exception):
    """Another process has ended."""


class Ranks:
    """The processes of a training, seen from one of them.

    Args:
        rank: of this process, from 0.
        size: how many there are.
        local_rank: of this process on its host, from 0.
        store: where they leave messages; None where there is one process.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, store: Store | None = None) -> None:
        self.rank, self.size, self._local_rank, self._store = rank, size, local_rank, store
        self._shared = itertools.count()

    @property
    def is_first(self) -> bool:
        """Whether it is this one that reads text, writes files and speaks."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """Where this process computes: of several GPUs its own.

        Raises:
            InputError: if there is no such device here, the host has fewer GPUs than processes, or all processes
                are to share one.
        """
        if self.size > 1 and name.startswith("cuda:"):
            raise InputError(f"found {self.size} processes for the one device {name}: say cuda, and each has its own")
        return pick_device(f"cuda:{self._local_rank}" if self.size > 1 and name == "cuda" else name)

    def share(self, value: Value) -> Value:
        """What the first process has here, for all. The others wait for it, hours if it takes hours.

        Args:
            value: as JSON knows them.
        """
        if self._store is None:
            return value
        key = f"shared/{next(self._shared)}"
        with _noticing():
            if self.is_first:
                self._store.set(key, json.dumps(value))
                return value
            while not self._store.check([key]):
                if self._store.check([_LEFT]):
                    raise _Lost
                time.sleep(_LOOK_SECONDS)
            told: Value = json.loads(self._store.get(key))
            return told

    def agree(self, config: Value) -> Value:
        """As `share`, of a dataclass that every process has made by itself."""
        return config if self.size == 1 else from_json(type(config), self.share(to_json(config)), where="rank 0")

    def total(self, *numbers: float) -> list[float]:
        """The sum over the processes of each number; none goes on before all are here."""
        if self.size == 1:
            return list(numbers)
        vector = torch.tensor(numbers, dtype=torch.float64)
        self._add_up(vector)
        return vector.tolist()

    def meet(self) -> None:
        """Go on when all are here."""
        self.total(0.0)

    @torch.no_grad()
    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Put the sum over the processes in the place of every tensor, all at once.

        Args:
            tensors: of one type and on one device; of the same shapes in all processes.
        """
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._add_up(flat)
        for tensor, values in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(values.view_as(tensor))

    def _add_up(self, numbers: Tensor) -> None:
        with _noticing():
            dist.all_reduce(numbers)

    def leave(self, error: BaseException) -> BaseException:
        """Leave the others, who notice it, and tell the first of them why.

        Returns:
            How this process ends: the first one with a message, the others without, unless it is a mistake of ours.
        """
        assert self._store is not None
        reason = "another process of this training has ended, and could not say why"
        with suppress(RuntimeError):  # nobody may be left to be told
            if not (self.is_first or isinstance(error, _Lost) or self._store.check([_REASON])):
                self._store.set(_REASON, json.dumps([self.rank, str(error) or type(error).__name__]))
            self._store.add(_LEFT, 1)
        dist.destroy_process_group()  # what the others wait for fails now
        if not self.is_first:
            if isinstance(error, KeyboardInterrupt):
                return SystemExit(130)
            is_told = isinstance(error, (_Lost, LowtideError, OSError, MemoryError))
            return SystemExit(2) if is_told and not os.environ.get("LOWTIDE_DEBUG") else error
        with suppress(RuntimeError):
            until = time.monotonic() + _FAREWELL_SECONDS
            while self._store.add(_LEFT, 0) < self.size and time.monotonic() < until:
                time.sleep(_LOOK_SECONDS)
            if self._store.check([_REASON]):
                number, why = json.loads(self._store.get(_REASON))
                reason = f"process {number} of {self.size}: {why}"
        return TrainingError(reason) if isinstance(error, _Lost) else error


ALONE = Ranks()
"""One process, which is all there is."""


@contextmanager
def opened() -> Iterator[Ranks]:
    """The processes that ``torchrun`` has started, for one training; `ALONE` without it.

    Where one fails, so do all: the first one with the error, or with what the one that failed has told it; the others
    end without a word, with exit code 2.
    """
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    store = PrefixStore(f"lowtide/{next(_trainings)}", _store())
    ranks = Ranks(rank, size, local_rank, store)
    if local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)  # or everyone would take some memory of the first GPU
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_nccl else "gloo", store=store, rank=rank, world_size=size)
    try:
        with nullcontext() if ranks.is_first else _silence():
            yield ranks
            ranks.meet()
    except BaseException as error:
        ending = ranks.leave(error)
        if ending is error:
            raise
        raise ending from None
    dist.destroy_process_group()


@functools.cache
def _store() -> Store:
    """Where all processes leave messages: kept by ``torchrun``, or by the first of them."""
    store: Store
    store, _, _ = next(iter(rendezvous("env://")))
    return store


@contextmanager
def _noticing() -> Iterator[None]:
    """An error of the connection means that another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise _Lost from error


@contextmanager
def _silence() -> Iterator[None]:
    """No bars, no warnings, no lines of the log: the first process has the same ones."""
    log = logging.getLogger("lowtide")
    was_disabled = log.disabled
    log.disabled = True
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
            yield
    finally:
        log.disabled = was_disabled
