"""Two processes that train together, really started: gloo, on this host."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import lowtide
from lowtide.errors import InputError
from lowtide.training.budget import Budget
from lowtide.training.checkpoint import CHECKPOINT, Position, load_checkpoint
from lowtide.training.folder import work_of
from lowtide.training.planning import TrainOptions, settle
from lowtide.training.presets import PRESETS
from lowtide.training.ranks import Ranks
from lowtide.training.reading import TextOptions, read_text
from lowtide.training.trainer import Trainer
from scenario import use_mini_preset, write_corpus

KINDS: dict[str, dict[str, Any]] = {
    "characters, a sampled softmax": {},
    "words, tied, with the cloze objective": {
        "inputs": "words",
        "tied": True,
        "objective": "lm+cloze",
        "max_types": 300,
    },
    "documents, with a carry": {"documents": True},
    "words of their own, an adaptive softmax": {"inputs": "words", "tied": False, "softmax": "adaptive"},
}
CARRIED = "documents, with a carry"
OPTIONS: dict[str, Any] = {"preset": "tiny", "tokens": 2000, "min_count": 1, "seed": 3, "threads": 1}

# What every process runs: the mini preset, and then some lines of a test.
_SCRIPT = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import lowtide, scenario
from lowtide.training import planning, trainer

scenario.use_mini_preset()
planning.PROBE_SECONDS = 0.05
rank = int(os.environ["RANK"])

def in_step(number, act):
    learn = trainer.Trainer._learn
    def patched(self, batch):
        if self.position.step == number and self._log_path.name == "training.jsonl":
            act()
        return learn(self, batch)
    trainer.Trainer._learn = patched

def lowtide_command(*arguments):
    from lowtide.cli import main
    sys.argv = ["lowtide", *arguments]
    main()

{body}
"""


@dataclass(frozen=True)
class Process:
    """What one of the processes has left."""

    code: int
    out: str
    err: str


def run_two(body: str) -> list[Process]:
    """Run some lines in two processes that know of each other, as ``torchrun`` starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = _SCRIPT.format(tests=str(Path(__file__).parent.parent), body=body)
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for rank in ("0", "1")
    ]
    try:
        texts = [process.communicate(timeout=600) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    return [Process(process.returncode, *text) for process, text in zip(started, texts, strict=True)]


def read_log(out: Path) -> list[dict[str, float]]:
    entries = [json.loads(line) for line in (out / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in entries]


def assert_like(found: Sequence[dict[str, float]], expected: Sequence[dict[str, float]]) -> None:
    assert len(expected) > 10
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)


def assert_same_states(found: Path, expected: Path) -> None:
    """Two stopped trainings carry the same states on, row by row."""
    mine, theirs = (load_checkpoint(work_of(out) / CHECKPOINT, Position)[1] for out in (found, expected))
    carried = [name for name in theirs if name.startswith("carry.")]
    assert carried
    for name in carried:
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-3, atol=1e-6)


def pretrain_alone(corpus: Path, out: Path, kind: str, **more: Any) -> None:
    lowtide.pretrain([corpus], out=out, **OPTIONS, **KINDS[kind], **more)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt")


@pytest.fixture(scope="module")
def alone(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each kind of training by one process; one of them again, stopped on its way: ``stopped``."""
    kept, folder = PRESETS["tiny"], tmp_path_factory.mktemp("alone")
    use_mini_preset()
    step = Trainer.step

    def press_ctrl_c(self: Trainer, batch: object) -> float:
        if self.position.step == 5:
            signal.raise_signal(signal.SIGINT)
        return step(self, batch)  # type: ignore[arg-type]  # a batch, passed on unread

    try:
        for kind in KINDS:
            pretrain_alone(corpus, folder / kind, kind)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Trainer, "step", press_ctrl_c)
            pretrain_alone(corpus, folder / "stopped", CARRIED)
    finally:
        PRESETS["tiny"] = kept
    return folder


@pytest.fixture(scope="module")
def together(corpus: Path, alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same by two processes, which go on with what was stopped, too."""
    folder = tmp_path_factory.mktemp("together")
    shutil.copytree(alone / "stopped", folder / "stopped")
    trainings = [(kind, options) for kind, options in KINDS.items()]
    trainings.append(("stopped", {"documents": True, "resume": True}))
    body = f"""
for name, options in {trainings!r}:
    elmo = lowtide.pretrain([{str(corpus)!r}], out=os.path.join({str(folder)!r}, name), **{OPTIONS!r}, **options)
    print(name, elmo.checksum)
"""
    first, second = run_two(body)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert first.out == second.out != ""  # both have opened the same models
    assert second.err == ""
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_losses_of_one(kind: str, alone: Path, together: Path) -> None:
    assert_like(read_log(together / kind), read_log(alone / kind))


def test_what_one_process_began_two_end(alone: Path, together: Path) -> None:
    assert_like(read_log(together / "stopped"), read_log(alone / CARRIED))


def test_processes_leave_the_folder_that_one_leaves(alone: Path, together: Path) -> None:
    for kind in KINDS:
        assert sorted(p.name for p in (together / kind).iterdir()) == sorted(p.name for p in (alone / kind).iterdir())


# -- how they end ------------------------------------------------------------------------------------

_FAILURES = {
    "the first process fails": ("if rank == 0: in_step(3, fail)", "lowtide: the moon is full"),
    "another process fails": ("if rank == 1: in_step(3, fail)", "lowtide: process 1 of 2: the moon is full"),
    "all processes fail": ("in_step(3, fail)", "lowtide: the moon is full"),
    "the first process fails before the others begin": ("arguments[1] += '.gone'", "corpus.txt.gone"),
}
_COMMAND = """
from lowtide.errors import InputError

def fail():
    raise InputError("the moon is full")

arguments = ["pretrain", {corpus!r}, "--out", {out!r}, "--preset", "tiny", "--tokens", "2000", "--min-count", "1"]
arguments += ["--seed", "3", "--threads", "1", "--documents"]
{patch}
lowtide_command(*arguments)
"""


@pytest.mark.parametrize("failure", _FAILURES)
def test_an_error_ends_all_processes_and_is_told_once(failure: str, corpus: Path, tmp_path: Path) -> None:
    patch, told = _FAILURES[failure]
    first, second = run_two(_COMMAND.format(corpus=str(corpus), out=str(tmp_path / "m"), patch=patch))
    assert (first.code, second.code) == (2, 2), first.err + second.err
    assert first.err.count(told) == 1
    assert "lowtide:" not in second.err  # PyTorch itself may say there that the first process is gone
    assert "Traceback" not in first.err + second.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process that gets a signal")
def test_ctrl_c_in_one_process_stops_and_saves_for_all_and_one_goes_on(
    corpus: Path, alone: Path, tmp_path: Path, mini_preset: None
) -> None:
    out = tmp_path / "model"
    patch = "if rank == 1: in_step(5, lambda: signal.raise_signal(signal.SIGINT))"
    first, second = run_two(_COMMAND.format(corpus=str(corpus), out=str(out), patch=patch))
    assert (first.code, second.code) == (130, 130), first.err + second.err
    assert "stopped. Go on with:" in first.err and second.err == ""
    assert_same_states(out, alone / "stopped")
    with pytest.warns(UserWarning, match="began in 2 processes, here are 1"):
        pretrain_alone(corpus, out, CARRIED, resume=True)
    assert_like(read_log(out), read_log(alone / CARRIED))


def test_more_processes_than_rows_are_refused(corpus: Path, tmp_path: Path, mini_preset: None) -> None:
    text = read_text([corpus], TextOptions(), tmp_path / "text")
    settings = settle(text, TrainOptions(preset="tiny", budget=Budget(tokens=100)), "tiny")
    with pytest.raises(InputError, match="found 5 processes for the 4 rows of a batch: start at most 4"):
        Trainer(settings, text, work=tmp_path, log_path=tmp_path / "log", ranks=Ranks(0, 5))


def test_several_processes_do_not_share_one_gpu() -> None:
    with pytest.raises(InputError, match="found 2 processes for the one device cuda:1: say cuda"):
        Ranks(0, 2).device("cuda:1")
