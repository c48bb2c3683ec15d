from __future__ import annotations

import inspect
import json
import signal
import sys
from pathlib import Path

import pytest

import lowtide
import tiny
from command import Command
from lowtide import model_commands
from lowtide.console import stopped
from lowtide.training.trainer import Trainer
from scenario import write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt")


def test_pretrain_makes_a_model_that_the_other_commands_open(
    run: Command, corpus: Path, tmp_path: Path, mini_preset: None
) -> None:
    ran = run("pretrain", corpus, "--out", tmp_path / "m", "--preset", "tiny", "--tokens", "500", "--threads", "1")
    assert ran.code == 0, ran.err
    assert run("inspect", tmp_path / "m").code == 0


def test_a_dry_run_forecasts_and_leaves_nothing(run: Command, corpus: Path, tmp_path: Path, mini_preset: None) -> None:
    out = tmp_path / "m"
    ran = run("pretrain", corpus, "--out", out, "--dry-run", "--json", "--preset", "tiny", "--threads", "1")
    told = json.loads(ran.out)
    assert told["seconds"] > 0 and told["budget_tokens"] == 10 * told["num_train_tokens"]
    assert not out.exists()


def test_a_forecast_tells_what_is_left_out(run: Command, corpus: Path, mini_preset: None) -> None:
    command = ["pretrain", str(corpus), "--dry-run", "--preset", "tiny", "--threads", "1", "--tokens", "500"]
    assert "dropout     0\n" in run(*command).out
    assert "dropout     0.3\n" in run(*command, "--dropout", "0.3").out
    said = "types=0.1,inputs=0.4,locked"
    assert f"dropout     {said}\n" in run(*command, "--dropout", said).out
    told = json.loads(run(*command, "--dropout", said, "--json").out)["dropouts"]
    assert (told["types"], told["inputs"], told["hidden"], told["is_locked"]) == (0.1, 0.4, 0.0, True)


def test_a_time_becomes_a_number_of_tokens_before_the_first_step(
    run: Command, corpus: Path, tmp_path: Path, mini_preset: None
) -> None:
    ran = run("pretrain", corpus, "--out", tmp_path / "m", "--preset", "tiny", "--time", "1s", "--threads", "1")
    assert ran.code == 0, ran.err
    config = json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))
    assert config["training"]["budget_tokens"] > 0


def test_ctrl_c_prints_the_line_that_goes_on(
    run: Command, corpus: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "my model"
    command = ["pretrain", str(corpus), "--out", str(out), "--preset", "tiny", "--tokens", "2000", "--threads", "1"]
    step = Trainer.step

    def press_ctrl_c(self: Trainer, batch: object) -> float:
        if self.position.step == 3:
            signal.raise_signal(signal.SIGINT)
        return step(self, batch)  # type: ignore[arg-type]  # a batch, passed on unread

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", press_ctrl_c)
        ran = run(*command)
    assert ran.code == 130
    assert ran.err.strip().splitlines()[-1].endswith(f"--out '{out}' --preset tiny --tokens 2000 --threads 1 --resume")
    assert run(*command, "--resume").code == 0


def test_the_line_that_goes_on_starts_as_many_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(sys, "argv", ["lowtide", "pretrain", "a b.txt", "--out", "m"])
    assert stopped().code == 130
    assert capsys.readouterr().err.endswith(
        "torchrun --nproc-per-node 2 -m lowtide pretrain 'a b.txt' --out m --resume\n"
    )


def test_a_stop_after_the_end_of_a_training_offers_no_way_to_go_on(
    run: Command, corpus: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lowtide.embeddings.elmo.Elmo.open", press)
    ran = run("pretrain", corpus, "--out", tmp_path / "m", "--preset", "tiny", "--tokens", "500", "--threads", "1")
    assert ran.code == 130 and "--resume" not in ran.err and "the model is whole" in ran.err


def test_a_model_is_converted_and_opened_in_its_new_format(
    run: Command, saved_bytes: tiny.Saved, tmp_path: Path
) -> None:
    assert run("convert", saved_bytes.folder, tmp_path / "pair", "--to", "hdf5").code == 0
    pair = ("inspect", tmp_path / "pair" / "options.json", "--weights", tmp_path / "pair" / "weights.hdf5", "--json")
    told = json.loads(run(*pair).out)
    assert told["format"] == "published hdf5" and not told["has_softmax"]
    assert told["checksum"] == json.loads(run("inspect", saved_bytes.folder, "--json").out)["checksum"]


def test_pretrain_has_the_defaults_and_the_options_of_python() -> None:
    shell = inspect.signature(model_commands.pretrain).parameters
    python = inspect.signature(lowtide.pretrain).parameters
    names = {name: {"weight": "weights"}.get(name, name) for name in shell if name not in ("dry_run", "as_json", "ui")}
    assert sorted(names.values()) == sorted(python)
    auto = {"dropout": "auto", "softmax": "auto", "weight": None}  # None, None and () in Python
    for name, other in names.items():
        if name not in ("texts", "out"):
            assert shell[name].default == auto.get(name, python[other].default), name
