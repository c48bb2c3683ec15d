"""Many sentences cut into tokens, block by block, by as many processes as there are cores.

What a process hands back of a block are its types, each once, and the numbers of its tokens in one array: so nothing
here or there is an object for every token.

The processes are this file, run by itself: they never import the program that asks, so it needs no guard of its own.
"""

from __future__ import annotations

import functools
import itertools
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from lowtide.text.corpus import RawSentence
from lowtide.text.tokenize import Tokenizer, open_tokenizer

BLOCK_CHARACTERS = 1 << 20
"""Of a block: enough that handing it over costs little."""
_WORTH_PROCESSES = 8
"""Blocks of a text from which on processes are started: below, they would take longer to start than to cut."""
_WAITING_PER_PROCESS = 3
"""Blocks under way; so many are held in memory."""


@dataclass(frozen=True)
class Cut:
    """The tokens of some texts."""

    types: list[str]
    """In the order in which they first appear."""
    numbers: NDArray[np.uint32]
    """(tokens,): the type of every token."""
    lengths: NDArray[np.int64]
    """(texts,): tokens of every text."""


@dataclass(frozen=True)
class CutBlock:
    """Neighbouring sentences, and their tokens."""

    sentences: Sequence[RawSentence]
    cut: Cut


def cut_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> Cut:
    """Cut texts, in this process."""
    index: dict[str, int] = {}
    numbers: list[NDArray[np.uint32]] = []
    for text in texts:
        tokens = tokenizer.split(text)
        numbers.append(np.fromiter((index.setdefault(t, len(index)) for t in tokens), np.uint32, len(tokens)))
    lengths = np.array([len(of_text) for of_text in numbers], dtype=np.int64)
    return Cut(list(index), np.concatenate(numbers) if numbers else np.empty(0, np.uint32), lengths)


def _num_cores() -> int:
    """Those that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cut_blocks(
    sentences: Iterable[RawSentence], tokenizer: Tokenizer, *, processes: int | None = None
) -> Iterator[CutBlock]:
    """Cut sentences, in order; the answer does not depend on the number of processes.

    Args:
        sentences: raw.
        tokenizer: what cuts; processes open one of the same config.
        processes: None: one for every core that this process may use.
    """
    blocks = _blocks(sentences)
    first = list(itertools.islice(blocks, _WORTH_PROCESSES))
    processes = processes or _num_cores()
    if len(first) < _WORTH_PROCESSES or processes < 2:
        for block in itertools.chain(first, blocks):
            yield CutBlock(block, cut_texts(tokenizer, [sentence.text for sentence in block]))
        return
    with _Processes(tokenizer, processes) as cutters:
        waiting: deque[tuple[list[RawSentence], Future[Cut]]] = deque()
        for block in itertools.chain(first, blocks):
            if len(waiting) >= _WAITING_PER_PROCESS * processes:
                done, future = waiting.popleft()
                yield CutBlock(done, future.result())
            waiting.append((block, cutters.submit([sentence.text for sentence in block])))
        for done, future in waiting:
            yield CutBlock(done, future.result())


def _blocks(sentences: Iterable[RawSentence]) -> Iterator[list[RawSentence]]:
    block: list[RawSentence] = []
    size = 0
    for sentence in sentences:
        block.append(sentence)
        size += len(sentence.text) + 1
        if size >= BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


class _Processes:
    """Processes that cut; a block of one that dies is cut here."""

    def __init__(self, tokenizer: Tokenizer, count: int) -> None:
        self._tokenizer = tokenizer
        path = os.pathsep.join(filter(None, sys.path))
        command = [sys.executable, "-m", "lowtide.text.cutting"]
        self._running = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
            )
            for _ in range(count)
        ]
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self._running:
            self._free.put(process)
        self._pool = ThreadPoolExecutor(count)

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
        self._pool.shutdown(cancel_futures=True)
        for process in self._running:
            process.communicate()

    def submit(self, texts: list[str]) -> Future[Cut]:
        return self._pool.submit(self._cut, texts)

    def _cut(self, texts: list[str]) -> Cut:
        process = self._free.get()
        assert process.stdin is not None and process.stdout is not None
        try:
            pickle.dump((self._tokenizer.config, texts), process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            cut: Cut = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            return cut_texts(self._tokenizer, texts)
        finally:
            self._free.put(process)
        return cut


def _serve() -> None:
    """Cut what comes in, until nothing more does."""
    from lowtide.text import cutting  # by its name, under which the other side knows it, and not as __main__

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who began this process, and ends it
    source, target = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a tokenizer prints is no answer
    opened = functools.cache(open_tokenizer)
    while True:
        try:
            config, texts = pickle.load(source)
            pickle.dump(cutting.cut_texts(opened(config), texts), target, pickle.HIGHEST_PROTOCOL)
            target.flush()
        except (EOFError, BrokenPipeError):  # that one is gone
            os._exit(0)  # what could not be written is not tried again


if __name__ == "__main__":
    _serve()
