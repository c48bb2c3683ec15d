from __future__ import annotations

import signal
import threading

import pytest

from lowtide.training.interrupts import interrupts_deferred


def test_the_first_interrupt_is_only_remembered() -> None:
    with interrupts_deferred() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()


def test_the_second_interrupt_acts_at_once() -> None:
    with interrupts_deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_handler_from_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_deferred():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_left_alone() -> None:
    told: list[bool] = []

    def work() -> None:
        with interrupts_deferred() as interrupted:
            told.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [False]
