from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from lowtide.embeddings import Elmo
from lowtide.errors import InputError, ModelError, TrainingError
from lowtide.tasks import FitOptions, Tagger, TaggerOptions, fitting
from lowtide.tasks.seed_work import record_of
from lowtide.tasks.seeds import Files, Spread, fit_seeds
from stand_ins import SENTENCES, TAGS, Rung, teach, write_conll


def test_a_spread_is_the_mean_and_the_deviation_of_the_sample() -> None:
    spread = Spread((0.8, 0.9, 0.85))
    assert spread.mean == pytest.approx(np.mean(spread.values))
    assert spread.deviation == pytest.approx(np.std(spread.values, ddof=1))
    assert (str(spread), str(Spread((0.5,))), Spread((0.5,)).deviation) == ("0.8500 ± 0.0500", "0.5000", 0)


def test_every_seed_is_learned_saved_and_reported(tmp_path: Path) -> None:
    path, rung = write_conll(tmp_path / "t.conll"), Rung()
    told: list[float] = []
    report = fit_seeds(
        lambda: Tagger(rung, TaggerOptions(reader="none")),
        Files(path, path, path),
        tmp_path / "out",
        seeds=[3, 4],
        options=FitOptions(epochs=2),
        told=lambda task, found: told.append(found.score),
    )
    assert rung.num_calls == 3  # the store once, and the test with every seed
    assert list(report.scores["test"].values) == told and len(report.weights["input"]) == 3
    names = {"results.csv", "results.json", "results.tex", "seed-3", "seed-4"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert found["seeds"] == [3, 4] and found["scores"]["test"]["values"] == told
    rows = (tmp_path / "out" / "results.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "name,mean,deviation,seed 3,seed 4" and rows[1].startswith("valid span F1,")
    assert r"\pm" in (tmp_path / "out" / "results.tex").read_text(encoding="utf-8")
    assert rows[2].startswith("valid precision,") and set(found["others"]["test"]) == {"precision", "recall"}
    assert report.lines()[1].startswith("valid  precision ")
    assert "mix" not in report.lines()[0] and report.lines()[-1].startswith("layers input")


def test_one_seed_has_no_deviation_in_a_table(tmp_path: Path) -> None:
    path = write_conll(tmp_path / "t.conll")
    report = fit_seeds(make, Files(path, path), tmp_path / "out", seeds=[0], options=FitOptions(epochs=1))
    assert "pm" not in report.as_tex() and f"valid span F1 & ${report.scores['valid'].mean:.4f}$" in report.as_tex()


def test_what_an_older_version_has_not_written_down_is_left_out(stopped: Path, train: Path) -> None:
    path = stopped / "work" / "seed-3.json"
    outcome = json.loads(path.read_text(encoding="utf-8"))
    del outcome["others"]
    path.write_text(json.dumps(outcome), encoding="utf-8")
    report = teach(train, stopped, resume=True)
    assert report.others == {} and len(report.scores["test"].values) == 2


def test_without_a_seed_there_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no seed"):
        fit_seeds(lambda: Tagger(Rung()), Files(tmp_path / "t"), tmp_path / "out", seeds=[])


def make() -> Tagger:
    return Tagger(Rung(), TaggerOptions(reader="none", char_filters=0))


def test_another_seed_begins_elsewhere(tmp_path: Path) -> None:
    path = write_conll(tmp_path / "t.conll")
    fit_seeds(make, Files(path), tmp_path / "out", seeds=[0, 1], options=FitOptions(epochs=1))
    heads = [(tmp_path / "out" / f"seed-{seed}" / "head.safetensors").read_bytes() for seed in (0, 1)]
    assert heads[0] != heads[1]


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "out"
    (out / "work").mkdir(parents=True)
    (out / "work" / "thesis.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match="is not empty"):
        fit_seeds(make, Files(path), out, seeds=[0])
    assert (out / "work" / "thesis.txt").read_text(encoding="utf-8") == "precious"


def test_a_task_is_not_written_over(tmp_path: Path) -> None:
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "out"
    fit_seeds(make, Files(path), out, seeds=[0], options=FitOptions(epochs=1))
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(InputError, match="holds something already"):
        fit_seeds(make, Files(path), out, seeds=[1], options=FitOptions(epochs=1))
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert "work" not in before and "config.json" in before


@pytest.mark.parametrize("broken", ["valid", "test"])
def test_every_file_is_read_before_anything_is_learned(broken: str, tmp_path: Path) -> None:
    path, bad = write_conll(tmp_path / "t.conll"), tmp_path / "bad.conll"
    bad.write_text("the\tO\ntide\n", encoding="utf-8")
    rung = Rung()
    with pytest.raises(InputError, match=r"bad\.conll:2"):
        fit_seeds(lambda: Tagger(rung), Files(path, **{broken: bad}), tmp_path / "out", seeds=[0])
    assert rung.num_calls == 0 and not (tmp_path / "out").exists()


def test_a_killed_run_is_cleared_up(tmp_path: Path) -> None:
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "out"
    (out / "work" / "made" / "seed-9").mkdir(parents=True)
    (out / "work" / ".lowtide").touch()
    fit_seeds(make, Files(path), out, seeds=[0, 1], options=FitOptions(epochs=1))
    assert {file.name for file in out.iterdir()} >= {"seed-0", "seed-1", "results.json"}
    assert not (out / "seed-9").exists() and not (out / "work").exists()


def test_a_test_file_that_cannot_be_judged_is_refused_before_anything_is_learned(tmp_path: Path) -> None:
    path, rung = write_conll(tmp_path / "t.conll"), Rung()
    test = write_conll(tmp_path / "test.conll", tags=[["NOUN"] * len(tags) for tags in TAGS])
    with pytest.raises(InputError, match=r"test\.conll:1: 'NOUN' writes no span"):
        fit_seeds(lambda: Tagger(rung), Files(path, test=test), tmp_path / "out", seeds=[0])
    assert rung.num_calls == 0 and not (tmp_path / "out").exists()


# -- a stop --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conll(tmp_path_factory.mktemp("examples") / "t.conll")


@pytest.fixture(scope="module")
def whole(train: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    teach(train, out)
    return out


@pytest.fixture(scope="module")
def kept(train: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in an epoch of its second seed: for `stopped`, which copies it."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        raise_in(patch, 20, KeyboardInterrupt)
        teach(train, out)
    return out


@pytest.fixture
def stopped(kept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept, tmp_path / "out")


def raise_in(patch: pytest.MonkeyPatch, step: int, error: type[BaseException]) -> None:
    """Of all steps of a run, counted from 1."""
    take, taken = fitting._step, [0]

    def counted(*arguments: Any) -> float:
        taken[0] += 1
        if taken[0] == step:
            raise error
        return take(*arguments)

    patch.setattr(fitting, "_step", counted)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_same(out: Path, expected: Path) -> None:
    """But for the times in logs and cards."""
    found, wanted = contents(out), contents(expected)
    assert found.keys() == wanted.keys()
    timed = ("README.md", "training.jsonl")
    assert [name for name in wanted if not name.endswith(timed) and found[name] != wanted[name]] == []


# a patch that counts calls of a function, and lets the last one do something else before the process is killed
_KILLED_RUN = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from stand_ins import teach
from lowtide.tasks import fitting, seed_work, seeds, state_store
from lowtide.weights import native

torch.set_num_threads(1)

def kill_in(owner, name, call, half=lambda *arguments, **named: None):
    before, calls = getattr(owner, name), [0]
    def patched(*arguments, **named):
        calls[0] += 1
        if calls[0] == call:
            half(*arguments, **named)
            os.kill(os.getpid(), signal.SIGKILL)
        return before(*arguments, **named)
    setattr(owner, name, patched)

def half_a_file(tensors, path, metadata=None):
    Path(path).write_bytes(bytes(1000))

def half_a_task(self, seed, task):
    (self.made / f"seed-{{seed}}").mkdir(parents=True)
    (self.made / f"seed-{{seed}}" / "README.md").touch()

def half_of_all(self):
    path = sorted(self.made.iterdir())[-1]
    path.replace(Path({out!r}) / path.name)

kill_in({where})
teach(Path({train!r}), Path({out!r}))
"""

_MOMENTS = {
    "while states are computed": "state_store, 'compute_states', 1",
    "in a step of the first epoch": "fitting, '_step', 2",
    "in a step of a later epoch": "fitting, '_step', 20",
    "while a checkpoint is written": "native, 'save_file', 3, half_a_file",
    "while a task is saved": "seed_work.SeedWork, 'keep', 2, half_a_task",
    "while all is put in place": "seed_work.SeedWork, 'put_in_place', 1, half_of_all",
    "before the work is removed": "seeds, 'remove_work', 1",
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
@pytest.mark.parametrize("moment", _MOMENTS)
def test_a_killed_run_goes_on_to_the_same_results(moment: str, train: Path, whole: Path, tmp_path: Path) -> None:
    out, tests = tmp_path / "out", str(Path(__file__).parent.parent)
    script = _KILLED_RUN.format(tests=tests, where=_MOMENTS[moment], train=str(train), out=str(out))
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    teach(train, out, resume=True)
    assert_same(out, whole)


def test_a_run_of_one_seed_goes_on_to_the_same_task(train: Path, tmp_path: Path) -> None:
    teach(train, tmp_path / "expected" / "out", seeds=[3])
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        raise_in(patch, 8, KeyboardInterrupt)
        teach(train, tmp_path / "out", seeds=[3])
    teach(train, tmp_path / "out", seeds=[3], resume=True)
    assert_same(tmp_path / "out", tmp_path / "expected" / "out")


def test_a_seed_that_is_learned_is_not_learned_again(
    train: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, learned = fitting.fit, list[tuple[int, int]]()

    def watched(problem: Any, options: FitOptions, checkpoint: Path | None = None) -> Any:
        history = fit(problem, options, checkpoint)
        learned.append((options.seed, history.num_epochs))
        return history

    monkeypatch.setattr("lowtide.tasks.task.fit", watched)
    with monkeypatch.context() as patch:
        raise_in(patch, 7, AssertionError)  # 12 steps a seed: 20 were begun, of which two epochs were laid down
        teach(train, stopped, resume=True)
    assert learned == [(4, 4)]


def test_what_was_stopped_is_told_of(train: Path, stopped: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="lowtide"):
        teach(train, stopped, resume=True)
    assert "seed 3 is learned already" in caplog.messages and "going on after epoch 2" in caplog.messages


_OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "seeds": ({"seeds": [3]}, r"seeds \[3, 4\] -> \[3\]"),
    "a fit": ({"epochs": 5}, r"fit\.epochs 4 -> 5"),
    "a head": ({"dropout": 0.25}, r"head\.dropout 0\.5 -> 0\.25"),
    "an embedding": ({"telling": 2}, r"embeddings\.0 \w{12}\.\.\. -> \w{12}\.\.\."),
}


@pytest.mark.parametrize("what", _OTHERS)
def test_what_differs_from_the_beginning_is_named_and_nothing_is_lost(
    what: str, train: Path, whole: Path, stopped: Path
) -> None:
    changed, named = _OTHERS[what]
    before = contents(stopped)
    with pytest.raises(InputError, match=f"out was begun with something else: {named}. Go on as it was begun"):
        teach(train, stopped, resume=True, **changed)
    assert contents(stopped) == before
    teach(train, stopped, resume=True)
    assert_same(stopped, whole)


def test_another_kind_of_task_does_not_go_on(train: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tagger, "kind", "matcher")
    with pytest.raises(InputError, match="kind tagger -> matcher"):
        teach(train, stopped, resume=True)


def test_other_examples_do_not_go_on_but_may_have_moved(train: Path, whole: Path, stopped: Path) -> None:
    moved = Path(shutil.copy(train, stopped.parent / "moved.conll"))
    other = write_conll(stopped.parent / "other.conll", SENTENCES[1:], TAGS[1:])
    with pytest.raises(InputError, match=r"examples\.test \w{12}\.\.\. -> \w{12}\.\.\."):
        teach(train, stopped, resume=True, test=other)
    teach(moved, stopped, resume=True)
    assert_same(stopped, whole)


def test_what_was_stopped_is_not_begun_anew_without_a_word(train: Path, stopped: Path) -> None:
    before = contents(stopped)
    with pytest.raises(InputError, match="out holds a training that has not ended: go on with --resume, or remove it"):
        teach(train, stopped)
    assert contents(stopped) == before


def test_of_several_seeds_the_log_says_which_is_learned(
    train: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="lowtide"):
        teach(train, tmp_path / "several", epochs=1)
        assert [message for message in caplog.messages if message.startswith("seed")] == ["seed 3", "seed 4"]
        caplog.clear()
        teach(train, tmp_path / "one", seeds=[3], epochs=1)
        assert not [message for message in caplog.messages if message.startswith("seed")]


def test_where_nothing_was_stopped_a_run_begins(
    train: Path, whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="lowtide"):
        teach(train, tmp_path / "out", resume=True)
    assert f"nothing to resume in {tmp_path / 'out'}: beginning" in caplog.messages
    assert_same(tmp_path / "out", whole)


@pytest.mark.parametrize("seeds", [[3], [3, 4]])
def test_a_run_that_has_ended_is_neither_gone_on_with_nor_begun_anew(
    seeds: list[int], train: Path, tmp_path: Path
) -> None:
    teach(train, tmp_path / "out", seeds=seeds, epochs=1)
    before = contents(tmp_path / "out")
    for resume, says in ((True, "has ended: there is nothing to resume"), (False, "holds something already")):
        with pytest.raises(InputError, match=says):
            teach(train, tmp_path / "out", seeds=seeds, epochs=1, resume=resume)
    assert contents(tmp_path / "out") == before


def no_number(patch: pytest.MonkeyPatch, step: int) -> None:
    raise_in(patch, step, TrainingError)


def full_disk(patch: pytest.MonkeyPatch, step: int) -> None:
    raise_in(patch, step, OSError)


@pytest.mark.parametrize(
    ("fail", "step", "stays"),
    [(no_number, 2, False), (no_number, 5, True), (no_number, 14, True), (full_disk, 2, True)],
)
def test_after_an_error_stays_what_can_be_gone_on_with(
    fail: Callable[[pytest.MonkeyPatch, int], None], step: int, stays: bool, train: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises((TrainingError, OSError)):
        fail(patch, step)
        teach(train, tmp_path / "out")
    assert (tmp_path / "out").exists() == stays


def test_a_damaged_checkpoint_loses_no_seed_that_is_learned(train: Path, whole: Path, stopped: Path) -> None:
    checkpoint = stopped / "work" / "checkpoint-4.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"checkpoint-4\.safetensors cannot be read .* remove it"):
        teach(train, stopped, resume=True)
    checkpoint.unlink()
    teach(train, stopped, resume=True)
    assert_same(stopped, whole)


def test_what_is_written_down_of_a_run_knows_the_dtype_of_its_states(saved_bytes: tiny.Saved) -> None:
    records = [
        record_of(Tagger(Elmo.open(saved_bytes.folder, device="cpu", dtype=dtype)), FitOptions(), [0], {})
        for dtype in ("float32", "float32", "bfloat16")
    ]
    assert records[0] == records[1] != records[2]


def test_another_number_of_threads_goes_on_with_a_warning(train: Path, stopped: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.warns(UserWarning, match=rf"cpu, {threads} threads, here is .* {threads + 1} threads: it goes on"):
            teach(train, stopped, resume=True)
    finally:
        torch.set_num_threads(threads)


def test_other_versions_go_on_with_a_warning(train: Path, stopped: Path) -> None:
    path = stopped / "work" / "begun.json"
    began = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**began, "versions": "torch 0.1"}), encoding="utf-8")
    with pytest.warns(UserWarning, match=r"began with torch 0\.1, here is lowtide .*: it goes on, but not bit for bit"):
        teach(train, stopped, resume=True)
