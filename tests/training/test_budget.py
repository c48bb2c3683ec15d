from __future__ import annotations

import pytest

from lowtide.errors import InputError
from lowtide.training.budget import Budget


@pytest.mark.parametrize(("time", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("2d", 172800)])
def test_a_time_is_read_with_its_unit(time: str, seconds: float) -> None:
    assert Budget(time=time).seconds == seconds


@pytest.mark.parametrize(("tokens", "number"), [("50M", 50_000_000), ("200k", 200_000), (7, 7), ("1,000", 1000)])
def test_tokens_are_read_with_their_thousands(tokens: str | int, number: int) -> None:
    assert Budget(tokens=tokens).num_tokens == number


@pytest.mark.parametrize("time", ["", "20", "m", "0s", "-5m", "20 minutes"])
def test_a_time_that_cannot_be_read_says_what_was_expected(time: str) -> None:
    with pytest.raises(InputError, match="expected something like 90s"):
        Budget(time=time)


@pytest.mark.parametrize("tokens", ["", "many", "0", "-3", "5X"])
def test_tokens_that_cannot_be_read_say_what_was_expected(tokens: str) -> None:
    with pytest.raises(InputError, match="expected something like 50M"):
        Budget(tokens=tokens)


@pytest.mark.parametrize("epochs", [0.0, -1.0, float("nan")])
def test_epochs_are_more_than_nothing(epochs: float) -> None:
    with pytest.raises(InputError, match="a number above 0"):
        Budget(epochs=epochs)


def test_two_budgets_are_refused() -> None:
    with pytest.raises(InputError, match="give one of"):
        Budget(time="20m", tokens="50M")


def test_no_budget_leaves_the_choice_to_the_corpus() -> None:
    assert (Budget().seconds, Budget().num_tokens) == (None, None)
