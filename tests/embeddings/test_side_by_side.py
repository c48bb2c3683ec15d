from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from lowtide.embeddings.side_by_side import on_one_thread, side_by_side


@pytest.fixture(params=[2, 3, 4], ids="{} threads".format)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_two_answers_come_in_order_whichever_is_ready_first(threads: int) -> None:
    def slow() -> str:
        time.sleep(0.02)
        return "first"

    assert side_by_side(slow, lambda: 2) == ("first", 2)
    assert side_by_side(lambda: 1, slow) == (1, "first")


def test_both_run_at_the_same_time(threads: int) -> None:
    meeting = threading.Barrier(2, timeout=30)
    assert sorted(side_by_side(meeting.wait, meeting.wait)) == [0, 1]


def test_with_one_thread_one_runs_after_the_other_where_they_were_called(one_thread: None) -> None:
    order: list[str] = []

    def run(name: str) -> int:
        order.append(name)
        return threading.get_ident()

    assert side_by_side(lambda: run("first"), lambda: run("second")) == (threading.get_ident(),) * 2
    assert order == ["first", "second"]


def test_each_has_half_of_the_threads_and_outside_there_are_as_many_as_before(threads: int) -> None:
    assert side_by_side(torch.get_num_threads, torch.get_num_threads) == (threads // 2, threads // 2)
    assert torch.get_num_threads() == threads
    a = torch.rand(300, 300)
    side_by_side(lambda: a @ a, lambda: a @ a)
    assert torch.get_num_threads() == threads
    assert side_by_side(torch.get_num_threads, torch.get_num_threads) == (threads // 2, threads // 2)


def test_another_number_of_threads_is_seen(threads: int) -> None:
    side_by_side(int, int)
    torch.set_num_threads(threads + 2)
    assert side_by_side(torch.get_num_threads, torch.get_num_threads) == ((threads + 2) // 2,) * 2


@pytest.mark.parametrize("failing", [(True, False), (False, True), (True, True)])
def test_what_one_raises_is_raised_when_both_have_ended(threads: int, failing: tuple[bool, bool]) -> None:
    ended: list[str] = []

    def work(name: str, fails: bool, seconds: float) -> str:
        time.sleep(seconds)
        ended.append(name)
        if fails:
            raise KeyError(name)
        return name

    with pytest.raises(KeyError, match="first" if failing[0] else "second"):
        side_by_side(lambda: work("first", failing[0], 0), lambda: work("second", failing[1], 0.03))
    assert ended == ["first", "second"]
    with pytest.raises(KeyError, match="first" if failing[0] else "second"):
        side_by_side(lambda: work("first", failing[0], 0.03), lambda: work("second", failing[1], 0))
    assert ended == ["first", "second", "second", "first"]
    assert side_by_side(lambda: 1, lambda: 2) == (1, 2)  # and the next two are answered


def test_no_gradient_is_recorded(threads: int) -> None:
    weight = torch.rand(3, 3, requires_grad=True)
    for answer in side_by_side(lambda: weight @ weight, lambda: weight + 1):
        assert not answer.requires_grad


def test_a_process_that_was_forked_does_not_wait_for_threads_of_its_parent(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = set(side_by_side(threading.get_ident, threading.get_ident))
    monkeypatch.setattr(os, "getpid", lambda: -threads)
    meeting = threading.Barrier(2, timeout=30)

    def work() -> int:
        meeting.wait()
        return threading.get_ident()

    assert not set(side_by_side(work, work)) & parent
    assert torch.get_num_threads() == threads  # though threads were made


def test_on_one_thread_there_is_one_and_then_as_many_as_before(threads: int) -> None:
    with pytest.raises(KeyError), on_one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == threads
