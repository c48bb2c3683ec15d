from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lowtide.errors import TrainingError
from lowtide.model import LayerMix
from lowtide.tasks import fitting
from lowtide.tasks.fitting import Problem, batches, fit, seeded
from lowtide.tasks.options import FitOptions


class Sums(Problem):
    """A single number that shall become 1, and scores that come as they were given."""

    network: nn.Linear

    def __init__(self, scores: Sequence[float] = (), *, count: int = 8) -> None:
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        self._count, self._scores = count, iter(scores)
        self.seen: list[float] = []

    @property
    def lengths(self) -> Sequence[int]:
        return [1] * self._count

    def loss(self, numbers: Sequence[int]) -> Tensor:
        loss: Tensor = (self.network.weight - 1).square().sum()
        return loss

    def measure(self) -> float | None:
        self.seen.append(self.network.weight.item())
        return next(self._scores, None)

    def mixes(self) -> dict[str, LayerMix]:
        return {}

    def groups(self, options: FitOptions) -> list[dict[str, Any]]:
        return [{"params": list(self.network.parameters()), "lr": options.learning_rate}]

    def begin_epoch(self, epoch: int) -> None: ...


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 6), st.integers(0, 3))
def test_every_example_is_in_one_batch_and_the_seed_decides_which(lengths: list[int], size: int, seed: int) -> None:
    found = batches(lengths, size, (seed, 0))
    assert sorted(number for batch in found for number in batch) == list(range(len(lengths)))
    assert all(len(batch) <= size for batch in found)
    assert batches(lengths, size, (seed, 0)) == found
    ranges = [max(of) - min(of) for of in ([lengths[number] for number in batch] for batch in found)]
    assert sum(ranges) <= max(lengths, default=0) - min(lengths, default=0)  # neighbours in the order of their lengths


def test_the_state_with_the_best_score_is_kept_and_patience_ends() -> None:
    problem = Sums([0.1, 0.5, 0.4, 0.5, 0.3, 0.9])
    history = fit(problem, FitOptions(epochs=10, patience=3, batch_size=4))
    assert (history.best_epoch, history.num_epochs, history.best_score) == (2, 5, 0.5)
    assert problem.network.weight.item() == problem.seen[1]
    assert [entry["valid"] for entry in history.entries if "valid" in entry] == [0.1, 0.5, 0.4, 0.5, 0.3]


def test_without_a_score_the_last_state_is_kept() -> None:
    problem = Sums()
    history = fit(problem, FitOptions(epochs=3, patience=1))
    assert (history.num_epochs, history.best_epoch) == (3, 3)
    assert problem.network.weight.item() == problem.seen[-1]


@pytest.mark.parametrize(("scores", "told"), [([0.5], "loss 1.000  valid 0.5000"), ([], "loss 1.000")])
def test_every_epoch_is_told_of(scores: list[float], told: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="lowtide"):
        fit(Sums(scores), FitOptions(epochs=1, batch_size=32))
    assert [message.strip() for message in caplog.messages] == [f"epoch 1  {told}"]


def test_a_loss_that_is_no_number_is_an_error() -> None:
    problem = Sums()
    nn.init.constant_(problem.network.weight, float("nan"))
    with pytest.raises(TrainingError, match=r"the loss became nan: .* try 0\.001"):
        fit(problem, FitOptions())


def test_memory_that_does_not_suffice_names_the_size_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> float:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(fitting, "_step", fail)
    with pytest.raises(TrainingError, match=r"out of memory at 4 examples, the longest of 1 tokens: .* --batch-size"):
        fit(Sums(), FitOptions(batch_size=4))


def test_another_error_of_a_step_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> float:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(fitting, "_step", fail)
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        fit(Sums(), FitOptions())
    assert not isinstance(caught.value, TrainingError)


@pytest.fixture
def unchanged() -> Iterator[None]:
    """Nothing is drawn from PyTorch's own generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.usefixtures("unchanged")
def test_a_seed_decides_all_that_is_drawn_and_changes_nothing_outside() -> None:
    drawn = []
    for seed in (1, 1, 2):
        with seeded(seed):
            drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_rate_falls_to_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = fitting._step

    def watched(problem: Any, optimizer: Any, batch: Any, options: FitOptions) -> float:
        rates.append(optimizer.param_groups[0]["lr"])
        return step(problem, optimizer, batch, options)

    monkeypatch.setattr(fitting, "_step", watched)
    fit(Sums(), FitOptions(epochs=50, patience=50, batch_size=1))
    assert rates == sorted(rates, reverse=True)
    assert 0.1 * rates[0] < rates[-1] < 0.12 * rates[0]


def test_a_gradient_is_as_long_as_it_may_be_at_most() -> None:
    problem = Sums()
    fit(problem, FitOptions(epochs=1, batch_size=8, max_gradient_norm=0.25))
    assert problem.network.weight.grad is not None
    assert float(problem.network.weight.grad.norm()) == pytest.approx(0.25, rel=1e-3)  # of -2


def test_of_scores_that_are_all_0_the_last_state_is_kept_and_patience_waits(caplog: pytest.LogCaptureFixture) -> None:
    problem = Sums([0.0, 0.0, 0.0, 0.0, 0.2, 0.1, 0.1])
    history = fit(problem, FitOptions(epochs=7, patience=2))
    assert (history.best_epoch, history.num_epochs) == (5, 7)
    with caplog.at_level(logging.INFO, logger="lowtide"):
        history = fit(Sums([0.0, 0.0, 0.0]), FitOptions(epochs=3, patience=1))
    assert history.best_epoch == 3
    assert "the score on the validation examples is 0 after 3 epochs" in caplog.messages[-1]
