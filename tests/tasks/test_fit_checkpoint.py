from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.optim import Adam

from lowtide.embeddings import Elmo
from lowtide.errors import InputError, ModelError
from lowtide.tasks import (
    Classifier,
    ClassifierOptions,
    FineTuning,
    FitOptions,
    Matcher,
    MatcherOptions,
    Tagger,
    TaggerOptions,
    fitting,
)
from lowtide.tasks.examples import LabelledText, Place
from lowtide.tasks.fit_checkpoint import FitCheckpoint, copied
from lowtide.tasks.history import History
from lowtide.tasks.task import Task
from stand_ins import LABELS, SENTENCES, TAGS, Rung

STEPS_PER_EPOCH = 3
FIT = FitOptions(epochs=5, batch_size=2, seed=7)
FITS = {
    "frozen": FIT,
    "fine-tuned": replace(FIT, fine_tuning=FineTuning(learning_rate=0.01)),
    "stopped early": replace(FIT, patience=1, learning_rate=0.2),
}
PAIRS = [(sentence, SENTENCES[number // 2]) for number, sentence in enumerate(SENTENCES)]


class StoppedError(Exception):
    """The fit was stopped from outside."""


def learn(kind: str, elmo: Elmo, options: FitOptions = FIT, checkpoint: Path | None = None) -> Task[Any, Any]:
    """A small task of a kind, fitted on few sentences, judged on the same."""
    task: Task[Any, Any]
    if kind == "tagger":
        task = Tagger(elmo, TaggerOptions(state_width=4, char_filters=2), device="cpu")
        examples: list[Any] = task._examples(SENTENCES, TAGS)
    elif kind == "classifier":
        task = Classifier([elmo, Rung()], ClassifierOptions(state_width=4), device="cpu")
        examples = [LabelledText(*pair, Place("list")) for pair in zip(SENTENCES, LABELS, strict=True)]
    else:
        task = Matcher(elmo, MatcherOptions(state_width=4, objective="contrastive", same_label="wet"), device="cpu")
        examples = task._examples(PAIRS, LABELS)
    task.fit_examples(examples, examples, options, checkpoint=checkpoint)
    return task


@contextmanager
def stopped_before(step: int) -> Iterator[None]:
    """Inside, a fit is stopped before this step, counted from 0."""
    take, taken = fitting._step, [0]

    def counted(*arguments: Any) -> float:
        if taken[0] == step:
            raise StoppedError
        taken[0] += 1
        return take(*arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(fitting, "_step", counted)
        yield


@contextmanager
def stopped_at_the_end() -> Iterator[None]:
    """Inside, a fit is stopped when its last epoch is laid down."""

    def stop(self: nn.Module, state: Any) -> None:
        raise StoppedError

    def laid_down(self: FitCheckpoint, history: History, best: Any) -> None:
        save(self, history, best)
        if fitting._is_over(history, self._options):
            patch.setattr(nn.Module, "load_state_dict", stop)

    save = FitCheckpoint.save
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(FitCheckpoint, "save", laid_down)
        yield


def assert_same(found: Task[Any, Any], expected: Task[Any, Any]) -> None:
    """To the last bit."""
    mine, theirs = found.network.state_dict(), expected.network.state_dict()
    assert mine.keys() == theirs.keys()
    assert [name for name in theirs if not torch.equal(mine[name], theirs[name])] == []
    assert timeless(found.history) == timeless(expected.history)
    assert found.scores == expected.scores and found.settings() == expected.settings()


def timeless(history: History) -> Any:
    entries = [{name: value for name, value in entry.items() if name != "seconds"} for entry in history.entries]
    return entries, history.num_epochs, history.best_epoch, history.best_score


# -- the same bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 4, 8, 10])
@pytest.mark.parametrize("way", ["frozen", "fine-tuned"])
def test_a_fit_that_goes_on_ends_with_the_very_bits_of_one_that_was_not_stopped(
    way: str, step: int, elmo: Elmo, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"
    with stopped_before(step):
        learn("tagger", elmo, FITS[way], path)
    assert path.exists() == (step >= STEPS_PER_EPOCH)
    assert_same(learn("tagger", elmo, FITS[way], path), learn("tagger", elmo, FITS[way]))


@pytest.mark.parametrize("kind", ["classifier", "matcher"])
def test_every_kind_of_task_goes_on_to_the_same_bits_and_settings(kind: str, elmo: Elmo, tmp_path: Path) -> None:
    for step in (5, 3):  # stopped, gone on, stopped again
        with stopped_before(step):
            learn(kind, elmo, checkpoint=tmp_path / "checkpoint")
    assert_same(learn(kind, elmo, checkpoint=tmp_path / "checkpoint"), learn(kind, elmo))


def test_a_fit_that_goes_on_runs_out_of_patience_where_it_would_have(elmo: Elmo, tmp_path: Path) -> None:
    options = FITS["stopped early"]
    expected = learn("tagger", elmo, options)
    assert expected.history.best_epoch < expected.history.num_epochs < options.epochs
    last = STEPS_PER_EPOCH * (expected.history.num_epochs - 1)
    with stopped_before(last):
        learn("tagger", elmo, options, tmp_path / "checkpoint")
    assert_same(learn("tagger", elmo, options, tmp_path / "checkpoint"), expected)


@pytest.mark.parametrize("way", FITS)
def test_a_fit_that_had_ended_learns_no_further(way: str, elmo: Elmo, tmp_path: Path) -> None:
    with stopped_at_the_end():
        learn("tagger", elmo, FITS[way], tmp_path / "checkpoint")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_step", None)
        found = learn("tagger", elmo, FITS[way], tmp_path / "checkpoint")
    assert_same(found, learn("tagger", elmo, FITS[way]))


def test_without_a_score_the_last_state_is_gone_on_with(tmp_path: Path) -> None:
    def fitted(checkpoint: Path | None = None) -> Tagger:
        tagger = Tagger(Rung(), TaggerOptions(state_width=4), device="cpu")
        tagger.fit_examples(tagger._examples(SENTENCES, TAGS), None, FIT, checkpoint=checkpoint)
        return tagger

    with stopped_before(7):
        fitted(tmp_path / "checkpoint")
    assert_same(fitted(tmp_path / "checkpoint"), fitted())


def test_the_time_before_a_stop_counts(elmo: Elmo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stopped_before(4):
        learn("tagger", elmo, checkpoint=tmp_path / "checkpoint")
    restore = FitCheckpoint.restore

    def hours_later(self: FitCheckpoint) -> tuple[History, Any]:
        history, best = restore(self)
        history.seconds += 10_000
        return history, best

    monkeypatch.setattr(FitCheckpoint, "restore", hours_later)
    history = learn("tagger", elmo, checkpoint=tmp_path / "checkpoint").history
    assert 10_000 < history.entries[-1]["seconds"] <= history.seconds + 0.1


# -- what lies in the file -----------------------------------------------------------------------


class Both:
    """A network of one weight, its optimiser, and the file they are laid down in."""

    def __init__(self, path: Path, options: FitOptions = FIT, *, fused: bool = False) -> None:
        self.network = nn.Linear(2, 1)
        self.optimizer = Adam(self.network.parameters(), fused=fused)
        self.checkpoint = FitCheckpoint(path, options, self.network, self.optimizer)

    def step(self) -> Tensor:
        """Learn a little; returns the weight."""
        self.optimizer.zero_grad()
        self.network(torch.ones(1, 2)).sum().square().backward()
        self.optimizer.step()
        return self.network.weight.detach().clone()


@pytest.mark.parametrize("fused", [False, True])
def test_either_adam_goes_on_as_it_was(fused: bool, tmp_path: Path) -> None:
    both, later = (Both(tmp_path / "c", fused=fused) for _ in range(2))
    both.step()
    both.checkpoint.save(History(num_epochs=1), None)
    expected = [both.step() for _ in range(3)]
    later.checkpoint.restore()
    assert all(torch.equal(later.step(), weight) for weight in expected)


def test_the_best_state_is_laid_down_once(tmp_path: Path) -> None:
    both, other = Both(tmp_path / "c"), {"weight": torch.zeros(1, 2), "bias": torch.zeros(1)}
    now = copied(both.network)
    for best_epoch, expected in ((2, now), (1, other)):
        both.checkpoint.save(History(num_epochs=2, best_epoch=best_epoch, best_score=0.5), other)
        with safe_open(tmp_path / "c", framework="pt") as file:
            assert ("best.weight" in file.keys()) == (expected is other)  # noqa: SIM118  # no mapping
        best = both.checkpoint.restore()[1]
        assert best is not None and all(torch.equal(best[name], expected[name]) for name in expected)


def test_the_random_numbers_of_a_gpu_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both, put_back = Both(tmp_path / "c"), list[Tensor]()
    monkeypatch.setattr(FitCheckpoint, "_device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.tensor([1, 2, 3], dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: put_back.append(state))
    both.checkpoint.save(History(), None)
    both.checkpoint.restore()
    assert [state.tolist() for state in put_back] == [[1, 2, 3]]


@pytest.mark.parametrize("part", ["the head", "the history", "the numbers", "the end"])
def test_a_damaged_checkpoint_is_refused(part: str, tmp_path: Path) -> None:
    both = Both(tmp_path / "c")
    both.checkpoint.save(History(num_epochs=1), None)
    content = bytearray((tmp_path / "c").read_bytes())
    if part == "the end":
        del content[-1]
    else:
        place = {"the head": 3, "the history": content.index(b"num_epochs") + 14, "the numbers": -1}[part]
        content[place] ^= 1
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(ModelError, match=r"c (is damaged|cannot be read \(.*\)): remove it, and go on with --resume"):
        both.checkpoint.restore()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x02\0\0\0\0\0\0\0{}"])
def test_what_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read"):
        Both(tmp_path / "c").checkpoint.restore()


def test_the_fit_of_another_network_is_not_gone_on_with(elmo: Elmo, tmp_path: Path) -> None:
    with stopped_before(4):
        learn("classifier", elmo, checkpoint=tmp_path / "checkpoint")
    with pytest.raises(ModelError, match="checkpoint does not fit this task"):
        learn("tagger", elmo, checkpoint=tmp_path / "checkpoint")


def test_other_options_do_not_go_on(tmp_path: Path) -> None:
    Both(tmp_path / "c").checkpoint.save(History(num_epochs=1), None)
    other = replace(FIT, learning_rate=0.5, fine_tuning=FineTuning())
    with pytest.raises(InputError, match=r"c was begun with something else: .*learning_rate 0\.003 -> 0\.5"):
        Both(tmp_path / "c", other).checkpoint.restore()
