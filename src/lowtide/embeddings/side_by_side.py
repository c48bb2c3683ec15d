"""Two pieces of work at once, each with half of the processor's cores.

Two products side by side, one core each, are faster than two products one after the other on two cores: nothing waits
at the end of every one, and what is done between products is spread, too.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

First = TypeVar("First")
Second = TypeVar("Second")


def side_by_side(
    first: Callable[[], First], second: Callable[[], Second], *, with_gradients: bool = False
) -> tuple[First, Second]:
    """Call two functions, at the same time if there is more than one thread to work with.

    Args:
        first: is called without arguments.
        second: too. What one raises is raised here, when both have ended.
        with_gradients: whether gradients are recorded in them.
    """
    threads = torch.get_num_threads()
    if threads < 2:
        return first(), second()
    # a process that was forked has no threads of its parent's
    pool = _pool(threads // 2, os.getpid())
    call = _with_gradients if with_gradients else _without_gradients
    running = pool.submit(call, first), pool.submit(call, second)
    for future in running:
        future.exception()
    return running[0].result(), running[1].result()


@contextmanager
def on_one_thread() -> Iterator[None]:
    """PyTorch uses one thread inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _without_gradients(work: Callable[[], First]) -> First:
    with torch.inference_mode():
        return work()


def _with_gradients(work: Callable[[], First]) -> First:
    with torch.enable_grad():
        return work()


@functools.cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Two threads that use so many cores each."""
    before = torch.get_num_threads()
    both_there = threading.Barrier(2)

    def begin() -> None:
        torch.get_num_threads()  # a thread that was never asked takes the number of the others at its first product
        torch.set_num_threads(threads)
        both_there.wait()

    pool = ThreadPoolExecutor(2, thread_name_prefix="lowtide", initializer=begin)
    for future in [pool.submit(int) for _ in range(2)]:
        future.result()
    torch.set_num_threads(before)  # one of its libraries has one number for all threads
    return pool
