from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lowtide
from lowtide.embeddings.language_model import Perplexity
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.errors import ConfigError, InputError, LowtideError, MissingExtraError, MissingPathError, TrainingError
from lowtide.model import Dropouts
from lowtide.text.batches import TrainingBatch
from lowtide.training.averaging import TailAverage
from lowtide.training.budget import Budget
from lowtide.training.forecast import Probe
from lowtide.training.planning import TrainOptions, plan, settle
from lowtide.training.presets import PRESETS, plain
from lowtide.training.reading import Inputs, TextOptions, read_text
from lowtide.training.regularisation import dropouts_for
from lowtide.training.settings import SoftmaxName
from lowtide.training.trainer import Trainer
from lowtide.training.training_text import TrainingText
from lowtide.weights.native import load_model
from scenario import BUDGET, pretrain_mini, use_mini_preset, write_corpus

_FILES = ["model.safetensors", "softmax.safetensors", "calibration.safetensors", "vocabulary.txt", "config.json"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt")


@pytest.fixture(scope="module")
def uninterrupted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing disturbed."""
    kept = PRESETS["tiny"]
    use_mini_preset()
    out = tmp_path_factory.mktemp("uninterrupted") / "model"
    try:
        pretrain_mini(corpus, out)
    finally:
        PRESETS["tiny"] = kept
    return out


@pytest.fixture(scope="module")
def learnt(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of the real smallest preset, long enough to learn something."""
    out = tmp_path_factory.mktemp("learnt") / "model"
    lowtide.pretrain([corpus], out=out, preset="tiny", tokens=20_000, min_count=1, threads=1)
    return out


def _log(out: Path) -> list[dict[str, float]]:
    entries = [json.loads(line) for line in (out / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in entries]


def _assert_same(out: Path, expected: Path) -> None:
    for name in _FILES:
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name
    assert _log(out) == _log(expected)


# Where a run is killed: a patch that counts calls of a function, and lets the last one do half its work.
_KILLED_RUN = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import scenario
from pathlib import Path
from lowtide.training import checkpoint, finishing, planning, reading, trainer

pretrain = sys.modules["lowtide.training.pretrain"]
from lowtide.weights import native

scenario.use_mini_preset()
planning.PROBE_SECONDS = 0.05
checkpoint.CHECKPOINT_SECONDS, checkpoint.CHECKPOINT_SHARE = 0.0, 1e9  # after every step

def kill_in(owner, name, call, half):
    before, calls = getattr(owner, name), [0]
    def patched(*args, **kwargs):
        calls[0] += 1
        if calls[0] == call:
            half(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)
        return before(*args, **kwargs)
    setattr(owner, name, patched)

def kill_at(step):
    loss = trainer.Trainer._learn
    def patched(self, batch):
        if self.position.step == step and self._log_path.name == "training.jsonl":
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(self, batch)
    trainer.Trainer._learn = patched

def nothing(*args, **kwargs):
    pass

def half_a_line(self, log_file, **values):
    log_file.file.write(b"{{")
    log_file.file.flush()

def half_a_checkpoint(path, *args, **kwargs):
    path.with_name("." + path.name + ".1.part").write_bytes(bytes(1000))

def half_a_file(tensors, path, metadata=None):
    Path(path).write_bytes(b"\\x00" * 1000)

{where}
scenario.pretrain_mini(Path({corpus!r}), Path({out!r}))
"""

_MOMENTS = {
    "while the text is read": "kill_in(reading, 'prepare', 1, nothing)",
    "before the first step": "kill_in(trainer.Trainer, 'train', 1, nothing)",
    "in an early step": "kill_at(3)",
    "in a late step": "kill_at(17)",
    "while the first checkpoint is written": "kill_in(native, 'save_file', 3, half_a_file)",
    "while a checkpoint is written": "kill_in(checkpoint, 'save_tensors', 9, half_a_checkpoint)",
    "while the best state is written": "kill_in(native, 'save_file', 6, half_a_file)",
    "while the log is written": "kill_in(trainer.Trainer, '_log', 30, half_a_line)",
    "before the model is calibrated": "kill_in(finishing, '_calibrate', 1, nothing)",
    "while the model is written": "kill_in(finishing, 'save_model', 1, nothing)",
    "before the work is removed": "kill_in(pretrain, 'remove_work', 1, nothing)",
    "in the first step": "kill_at(0)",
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
@pytest.mark.parametrize("moment", _MOMENTS)
def test_a_killed_training_resumes_to_the_same_bits(
    moment: str, corpus: Path, uninterrupted: Path, tmp_path: Path, mini_preset: None
) -> None:
    out = tmp_path / "model"
    tests = str(Path(__file__).parent.parent)
    where = _MOMENTS[moment]
    script = _KILLED_RUN.format(tests=tests, where=where, corpus=str(corpus), out=str(out))
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    pretrain_mini(corpus, out, resume=True)
    _assert_same(out, uninterrupted)


def test_the_probe_changes_nothing(
    corpus: Path, uninterrupted: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowtide.training.planning.PROBE_SECONDS", 0.3)
    pretrain_mini(corpus, tmp_path / "model")
    _assert_same(tmp_path / "model", uninterrupted)


def test_an_interrupted_training_resumes_to_the_same_bits(
    corpus: Path, uninterrupted: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def press_ctrl_c(self: Trainer, batch: object) -> float:
        if self.position.step == 9:
            signal.raise_signal(signal.SIGINT)
        return step(self, batch)  # type: ignore[arg-type]  # a batch, passed on unread

    monkeypatch.setattr(Trainer, "step", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        pretrain_mini(corpus, tmp_path / "model")
    pretrain_mini(corpus, tmp_path / "model", resume=True)
    _assert_same(tmp_path / "model", uninterrupted)


def test_training_lowers_the_held_out_perplexity_in_both_directions(learnt: Path) -> None:
    first, *others = [entry for entry in _log(learnt) if "valid_forward" in entry]
    assert min(entry["valid_forward"] for entry in others) < 0.9 * first["valid_forward"]
    assert min(entry["valid_backward"] for entry in others) < 0.9 * first["valid_backward"]


def test_training_begins_near_the_unigram_model(learnt: Path) -> None:
    first = _log(learnt)[0]
    assert first["valid_forward"] == pytest.approx(first["valid_unigram"], rel=0.25)


def test_the_folder_holds_the_model_its_card_and_its_log_and_no_work(uninterrupted: Path) -> None:
    assert sorted(path.name for path in uninterrupted.iterdir()) == sorted(
        [*_FILES, "README.md", "training.jsonl", "perplexity.svg", "loss.svg"]
    )


def test_the_card_holds_counts_and_no_text(uninterrupted: Path, corpus: Path) -> None:
    card = (uninterrupted / "README.md").read_text(encoding="utf-8")
    assert "500 sentences" in card and "unigram model" in card
    assert str(corpus) not in card and "goes" not in card


def test_the_budget_and_the_ground_are_in_the_config(uninterrupted: Path) -> None:
    training = load_model(uninterrupted).config.training
    assert training["budget_tokens"] == BUDGET
    assert {"seed", "num_threads", "versions", "dtype", "learning_rate"} <= set(training)


def test_the_best_state_is_the_one_that_is_kept(uninterrupted: Path, corpus: Path) -> None:
    best = min(
        (entry for entry in _log(uninterrupted) if "valid_forward" in entry),
        key=lambda e: e["valid_forward"] + e["valid_backward"],
    )
    card = (uninterrupted / "README.md").read_text(encoding="utf-8")
    assert f"step {best['step']:,} |" in card


def test_the_mean_of_the_last_states_is_looked_at_once_at_the_end(uninterrupted: Path) -> None:
    looks = [entry for entry in _log(uninterrupted) if "valid_forward" in entry]
    assert [look["is_averaged"] for look in looks] == [False] * (len(looks) - 1) + [True]
    assert looks[-1]["tokens"] == looks[-2]["tokens"]
    assert looks[-1]["valid_forward"] != looks[-2]["valid_forward"]


@pytest.mark.parametrize("is_best", [True, False])
def test_the_mean_of_the_last_states_is_kept_if_it_is_best(
    is_best: bool, corpus: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    means: dict[str, torch.Tensor] = {}
    in_place, perplexity = TailAverage.in_place, Trainer.perplexity
    value = 1.0 if is_best else 1e6
    judged = Perplexity(value, value, num_targets=1, num_tokens=1, unknown_rate=0.0)

    @contextmanager
    def watched(average: TailAverage) -> Iterator[None]:
        means.update({name: tensor.clone() for name, tensor in average.tensors().items()})
        monkeypatch.setattr(Trainer, "perplexity", lambda self, documents: judged)
        with in_place(average):
            yield
        monkeypatch.setattr(Trainer, "perplexity", perplexity)

    monkeypatch.setattr(TailAverage, "in_place", watched)
    pretrain_mini(corpus, tmp_path / "model")
    kept = load_model(tmp_path / "model").bilm.state_dict()
    assert means and all(torch.equal(kept[name], means[f"bilm.{name}"]) for name in kept) == is_best


def test_tensorboard_has_every_line_of_the_log_of_a_training_that_was_resumed(
    corpus: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr("lowtide.training.checkpoint.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("lowtide.training.checkpoint.CHECKPOINT_SHARE", 1e9)
    out, step = tmp_path / "model", Trainer.step

    def stopped(self: Trainer, batch: TrainingBatch) -> float:
        if self.position.step == 7 and self._log_path.name == "training.jsonl":
            raise RuntimeError("stopped")
        return step(self, batch)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="stopped"):
        patch.setattr(Trainer, "step", stopped)
        lowtide.pretrain([corpus], out=out, preset="tiny", tokens=BUDGET, min_count=1, tensorboard=True)
    lowtide.pretrain([corpus], out=out, preset="tiny", tokens=BUDGET, min_count=1, tensorboard=True, resume=True)
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    for name in ("loss", "valid_forward"):
        logged = {entry["step"] for entry in _log(out) if name in entry}
        assert {event.step for event in events.Scalars(name)} == logged


def test_without_tensorboard_nothing_is_read(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"lowtide\[tensorboard\]"):
        lowtide.pretrain([corpus], out=tmp_path / "model", tokens=BUDGET, tensorboard=True)
    assert not (tmp_path / "model").exists()


def test_the_log_goes_to_tensorboard_too(corpus: Path, tmp_path: Path, mini_preset: None) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "model"
    lowtide.pretrain([corpus], out=out, preset="tiny", tokens=BUDGET, min_count=1, tensorboard=True)
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    losses = [entry["loss"] for entry in _log(out) if "loss" in entry]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(losses, rel=1e-5)
    assert "valid_forward" in events.Tags()["scalars"]


def test_two_threads_give_the_same_bits_twice(corpus: Path, tmp_path: Path) -> None:
    # the real sizes: PyTorch sums small gradients in one thread whatever it is told
    for name in ("a", "b"):
        lowtide.pretrain([corpus], out=tmp_path / name, preset="tiny", tokens=6000, threads=2)
    _assert_same(tmp_path / "a", tmp_path / "b")


def test_a_work_folder_of_the_users_own_is_refused_and_left_alone(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="not empty"):
        pretrain_mini(corpus, tmp_path)
    assert (tmp_path / "work" / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_a_rate_that_is_far_too_high_stops_with_advice(corpus: Path, tmp_path: Path, mini_preset: None) -> None:
    with pytest.raises(TrainingError, match=r"the first steps diverge at .+: begin again with a lower one"):
        lowtide.pretrain([corpus], out=tmp_path / "m", preset="tiny", tokens=BUDGET, learning_rate=1e25)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="learning rate"):
        lowtide.pretrain([corpus], out=tmp_path / "m", learning_rate=rate)


def test_another_seed_gives_another_model(corpus: Path, uninterrupted: Path, tmp_path: Path, mini_preset: None) -> None:
    lowtide.pretrain([corpus], out=tmp_path / "model", preset="tiny", tokens=BUDGET, min_count=1, seed=4, threads=1)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() != (uninterrupted / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("unigram", "is_told"), [(1.0, True), (1e9, False)])
def test_a_model_that_predicts_no_better_than_counting_is_warned_of(
    unigram: float,
    is_told: bool,
    corpus: Path,
    tmp_path: Path,
    mini_preset: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lowtide.training.finishing.unigram_perplexity", lambda *_: unigram)
    with caplog.at_level(logging.INFO, logger="lowtide"):
        lowtide.pretrain([corpus], out=tmp_path / "m", preset="tiny", tokens=200, min_count=1)
    assert ("predicts no better than one that counts words" in caplog.text) == is_told


def test_few_words_that_are_looked_up_are_told_of(
    tmp_path: Path, mini_preset: None, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "t.txt").write_text("the tide goes out\nthe tide comes in\n" * 100, encoding="utf-8")
    cases: list[tuple[Inputs, bool]] = [("auto", True), ("words", False), ("characters", False)]
    for inputs, is_told in cases:
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="lowtide"):
            lowtide.pretrain([tmp_path / "t.txt"], out=tmp_path / inputs, preset="tiny", tokens=200, inputs=inputs)
        assert ("looked up: few words, 6," in caplog.text) == is_told


def test_a_model_is_not_overwritten(corpus: Path, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    shutil.copytree(uninterrupted, out)
    with pytest.raises(InputError, match="holds a model already"):
        pretrain_mini(corpus, out)
    _assert_same(out, uninterrupted)


def test_a_folder_with_other_things_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="not empty"):
        pretrain_mini(corpus, tmp_path)
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "mine"


def test_a_training_that_has_ended_is_not_resumed(corpus: Path, uninterrupted: Path) -> None:
    with pytest.raises(InputError, match="has ended"):
        pretrain_mini(corpus, uninterrupted, resume=True)


def test_a_begun_training_wants_resume(
    corpus: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", lambda self, watcher: (_ for _ in ()).throw(RuntimeError("stopped")))
        with pytest.raises(RuntimeError, match="stopped"):
            pretrain_mini(corpus, tmp_path / "model")
    with pytest.raises(InputError, match="go on with --resume"):
        pretrain_mini(corpus, tmp_path / "model")


def test_a_loss_that_is_no_number_stops_with_advice_and_can_be_resumed(
    corpus: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Trainer._learn

    def break_down(self: Trainer, batch: object) -> float:
        value = loss(self, batch)  # type: ignore[arg-type]  # a batch, passed on unread
        return value * float("nan") if self.position.step == 13 else value

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_learn", break_down)
        with pytest.raises(TrainingError, match=r"nan at step 14.*--resume --learning-rate 0\.005"):
            pretrain_mini(corpus, tmp_path / "model")
    lowtide.pretrain([corpus], out=tmp_path / "model", resume=True, learning_rate=0.005, threads=1)
    log = _log(tmp_path / "model")
    assert log[-1]["tokens"] >= BUDGET and all(np.isfinite(entry.get("loss", 0.0)) for entry in log)


def test_the_river_runs_with_sockets_forbidden(
    corpus: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", forbid)
    monkeypatch.setattr(socket, "create_connection", forbid)
    monkeypatch.setattr(socket, "getaddrinfo", forbid)
    elmo = pretrain_mini(corpus, tmp_path / "model", tokens=500)
    elmo.embed("the tide goes out")
    elmo.language_model().guesses("the tide goes out")
    elmo.embed_to(corpus, tmp_path / "vectors.h5")


def test_a_small_alphabet_gets_a_symbol_embedding(tmp_path: Path, mini_preset: None) -> None:
    corpus = tmp_path / "proteins.txt"
    corpus.write_text("MKVLAA\nGGHLKM\n" * 50, encoding="utf-8")
    elmo = lowtide.pretrain(
        [corpus], out=tmp_path / "m", preset="tiny", tokens=500, tokenizer="characters", lines="sentence"
    )
    assert load_model(tmp_path / "m").config.bilm.symbols is not None
    assert np.asarray(elmo.embed("MKV")).shape == (3, elmo.width)


def test_text_that_ready_cut_is_embedded_as_it_was_trained(tmp_path: Path, mini_preset: None) -> None:
    corpus = tmp_path / "cut.txt"
    corpus.write_text("don't tide, goes\n" * 60, encoding="utf-8")
    elmo = lowtide.pretrain([corpus], out=tmp_path / "m", preset="tiny", tokens=500, tokenizer="whitespace")
    assert elmo.tokenize("don't tide, goes") == ["don't", "tide,", "goes"]


def test_a_validation_file_takes_the_place_of_held_out_documents(
    corpus: Path, tmp_path: Path, mini_preset: None
) -> None:
    valid = tmp_path / "valid.txt"
    valid.write_text("the w1x1 goes out\n" * 5, encoding="utf-8")
    lowtide.pretrain([corpus], out=tmp_path / "m", preset="tiny", tokens=500, valid=valid)
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert "| 25 |" in card  # five sentences of four tokens and a boundary


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no token"), ("\n\n \n", "no token")],
    ids=["empty", "blank"],
)
def test_a_text_without_a_token_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        lowtide.pretrain([tmp_path / "corpus.txt"], out=tmp_path / "m")


def test_one_sentence_is_enough_to_train(tmp_path: Path, mini_preset: None) -> None:
    (tmp_path / "corpus.txt").write_text("the tide goes out\n", encoding="utf-8")
    elmo = lowtide.pretrain([tmp_path / "corpus.txt"], out=tmp_path / "m", preset="tiny", epochs=3)
    assert np.asarray(elmo.embed("the tide")).shape == (2, elmo.width)


def test_a_sentence_longer_than_a_row_is_cut_counted_and_logged(
    tmp_path: Path, mini_preset: None, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "corpus.txt").write_text("tide " * 1000 + "\nthe tide\n", encoding="utf-8")
    with caplog.at_level("INFO", logger="lowtide"):
        lowtide.pretrain(
            [tmp_path / "corpus.txt"],
            out=tmp_path / "m",
            preset="tiny",
            tokens=3000,
            tokenizer="whitespace",
            lines="sentence",
        )
    assert "longer than 64 positions was cut" in caplog.text


def test_an_output_below_a_file_is_an_error_of_ours(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(LowtideError, match="file"):
        pretrain_mini(corpus, tmp_path / "file" / "model")


def test_two_trainings_of_one_text_are_the_same(
    corpus: Path, uninterrupted: Path, tmp_path: Path, mini_preset: None
) -> None:
    pretrain_mini(corpus, tmp_path / "model")
    _assert_same(tmp_path / "model", uninterrupted)


# -- small text, read many times --------------------------------------------------------------------

EVERYTHING = Dropouts(types=0.1, inputs=0.3, hidden=0.2, outputs=0.3, recurrent=0.4, is_locked=True)
_REGULARISED: dict[str, dict[str, Any]] = {
    "words, tied, with the cloze objective": {"inputs": "words", "objective": "lm+cloze", "dropout": EVERYTHING},
    "words, tied, an adaptive softmax": {"inputs": "words", "softmax": "adaptive", "dropout": EVERYTHING},
    "words, plain states": {"inputs": "words", "trunk": "lstm", "dropout": EVERYTHING},
    "rounded": {"inputs": "words", "dropout": EVERYTHING, "dtype": "bfloat16"},
    "documents, plain states, characters": {"documents": True, "trunk": "lstm", "dropout": EVERYTHING},
}


@pytest.mark.parametrize("kind", _REGULARISED)
def test_a_training_that_leaves_everything_out_resumes_to_the_same_bits(
    kind: str, corpus: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def stopped(self: Trainer, batch: TrainingBatch) -> float:
        if self.position.step == 9 and self._log_path.name == "training.jsonl":
            signal.raise_signal(signal.SIGINT)
        return step(self, batch)

    def train(out: Path, *, resume: bool = False) -> None:
        lowtide.pretrain(
            [corpus], out=out, preset="tiny", tokens=BUDGET, min_count=1, resume=resume, **_REGULARISED[kind]
        )

    train(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "step", stopped)
        train(tmp_path / "stopped")
    train(tmp_path / "stopped", resume=True)
    _assert_same(tmp_path / "stopped", tmp_path / "whole")
    card = (tmp_path / "whole" / "README.md").read_text(encoding="utf-8")
    assert f"| dropout | {EVERYTHING} |" in card
    config = load_model(tmp_path / "whole").config
    assert config.training["dtype"] == _REGULARISED[kind].get("dtype", "float32")
    assert config.training["dropouts"] == {**EVERYTHING.rates, "is_locked": True}
    assert config.bilm.dropout == 0


def test_the_softmax_is_as_it_is_said_or_as_many_types_and_tied_vectors_want_it(
    corpus: Path, tmp_path: Path, mini_preset: None
) -> None:
    few = read_text([corpus], TextOptions(max_types=100), tmp_path / "few")
    many = read_text([corpus], TextOptions(min_count=1), tmp_path / "many")
    words = read_text([corpus], TextOptions(min_count=1, inputs="words"), tmp_path / "words")

    def found(
        text: TrainingText, name: SoftmaxName | None = None, *, tied: bool | None = None
    ) -> tuple[str, int | None, int]:
        settings = settle(text, TrainOptions(budget=Budget(epochs=1), softmax=name, tied=tied), "tiny")
        assert name is None or settings.softmax == name
        return settings.softmax, settings.num_samples, len(settings.cutoffs)

    assert len(few.vocabulary) < 4 * 32 <= len(many.vocabulary)
    assert found(few) == ("full", None, 0) == found(many, "full")
    assert found(many) == ("sampled", 32, 0) == found(few, "sampled")
    assert found(few, "adaptive") == ("adaptive", None, 3) == found(many, "adaptive") == found(words)
    assert found(words, tied=False) == ("sampled", 32, 0) == found(words, "sampled")


def test_how_much_is_left_out_follows_the_passes_unless_it_is_said(corpus: Path, tmp_path: Path) -> None:
    words = read_text([corpus], TextOptions(inputs="words"), tmp_path / "words")
    characters = read_text([corpus], TextOptions(), tmp_path / "characters")

    def found(text: TrainingText, **options: Any) -> Dropouts:
        return settle(text, TrainOptions(budget=Budget(epochs=20), **options), "tiny").dropouts_in_use

    assert found(characters) == found(words, tied=False) == Dropouts.plain(0.2)
    assert found(words) == dropouts_for(20, num_tokens=1, has_words=True) != Dropouts.plain(0.2)
    assert found(words, dropouts=Dropouts.plain(0.4)) == Dropouts.plain(0.4)
    assert found(characters, dropouts=EVERYTHING) == EVERYTHING


def test_a_time_decides_how_much_is_left_out_by_the_passes_it_allows(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = Probe(tokens_per_second=1000.0, validation_seconds=0.0, memory_bytes=None)
    monkeypatch.setattr("lowtide.training.planning.probe", lambda trainer, seconds: use)
    text = read_text([corpus], TextOptions(inputs="words"), tmp_path / "text")
    for seconds, has_types in (("1s", False), ("100s", True)):
        settings, told = plan(text, TrainOptions(preset="tiny", budget=Budget(time=seconds)), tmp_path)
        assert bool(settings.dropouts_in_use.types) == has_types
        assert told.dropouts == settings.dropouts_in_use


# -- what token vectors are made of, and what is learnt ---------------------------------------------


@pytest.fixture
def words(corpus: Path, tmp_path: Path) -> Path:
    """Vectors of the common words of the corpus."""
    vectors = Word2Vec.train([corpus], width=6, min_count=20, lowercase=True)
    vectors.save(tmp_path / "words")
    return tmp_path / "words"


def test_token_vectors_may_begin_as_word_vectors_and_be_those_of_the_softmax(
    corpus: Path, words: Path, tmp_path: Path, mini_preset: None
) -> None:
    options = TextOptions(inputs="words", vectors=words, max_types=300)
    text = read_text([corpus], options, tmp_path / "text")
    settings = settle(text, TrainOptions(preset="tiny", budget=Budget(tokens=100)), "tiny")
    settings = dataclasses.replace(settings, is_tied=True)
    begun = Trainer(settings, text, work=tmp_path, log_path=tmp_path / "log")
    table = begun.bilm.token_network.embedding.weight  # type: ignore[union-attr]  # words are looked up
    assert begun.softmax.weight is table and len(table) == 303
    given = Word2Vec.open(words)
    known = [type_ for type_ in text.vocabulary.types[3:] if given.knows(type_)]
    assert 0 < len(known) < 300
    mine = table.detach().numpy()[text.vocabulary.indices(known)]
    theirs = given.vectors[given.indices(known)]
    np.testing.assert_allclose(mine / np.linalg.norm(mine), theirs / np.linalg.norm(theirs), atol=1e-6)
    begun.step(next(iter(begun.batches()))[1])
    begun.save()
    resumed = Trainer(settings, text, work=tmp_path, log_path=tmp_path / "log")
    assert resumed.resume()
    assert torch.equal(resumed.softmax.weight, table)
    assert resumed.softmax.weight is resumed.bilm.token_network.embedding.weight  # type: ignore[union-attr]  # as above


def test_a_model_of_words_is_trained_saved_and_opened(
    corpus: Path, words: Path, tmp_path: Path, mini_preset: None
) -> None:
    elmo = lowtide.pretrain(
        [corpus],
        out=tmp_path / "model",
        preset="tiny",
        tokens=BUDGET,
        objective="lm+cloze",
        inputs="words",
        vectors=words,
        tied=True,
        lowercase=0.5,
        max_types=300,
    )
    assert len(elmo.stored.vocabulary) == 303 and elmo.stored.config.bilm.symbols is not None
    log = _log(tmp_path / "model")
    assert log[-1]["valid_forward"] < log[0]["valid_forward"]
    table = elmo.stored.bilm.state_dict()["token_network.embedding.weight"]
    assert torch.equal(elmo.stored.load_softmax().weight, table)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"inputs": "word"}, "unknown inputs 'word', expected auto, characters, words"),
        ({"vectors": "nowhere"}, "give inputs='words' as well"),
        ({"tied": True}, "nothing to tie the softmax to"),
        ({"objective": "cloze"}, "unknown objective 'cloze', expected lm or lm\\+cloze"),
        ({"objective": "lm+cloze", "documents": True}, "the cloze objective reads sentences"),
        ({"softmax": "hierarchical"}, "unknown softmax 'hierarchical', expected full, sampled, adaptive"),
        ({"lowercase": 2.0}, "share in lower case is 2.0"),
        ({"dtype": "float16"}, "unknown dtype 'float16', expected float32 or bfloat16"),
        ({"preset": "smal"}, "unknown preset 'smal'. Did you mean 'small'"),
        ({"device": "cuda:77"}, "the device 'cuda:77' cannot be used here"),
        ({"inputs": "characters", "tied": True}, "nothing to tie the softmax to"),
        ({"inputs": "words", "vectors": "nowhere"}, "nowhere"),
        ({"weights": [1, 1]}, "found 2 weights for 1 texts"),
        ({"weights": [0]}, "found weights .*expected more than 0"),
        ({"weights": 0.0}, "found weights .*expected more than 0"),
        ({"min_count": 0}, "min_count is 0, expected at least 1"),
        ({"max_types": 0}, "max_types is 0, expected at least 1"),
        ({"dropout": "types=2"}, "types"),
        ({"tokens": None, "time": 20}, "cannot read the time 20"),
        ({"tokens": None, "epochs": "3"}, "epochs is '3', expected a number above 0"),
    ],
)
def test_what_does_not_go_together_is_refused(
    options: dict[str, Any], told: str, corpus: Path, tmp_path: Path, mini_preset: None
) -> None:
    with pytest.raises((InputError, MissingPathError, ConfigError), match=told):
        lowtide.pretrain([corpus], out=tmp_path / "m", **{"preset": "tiny", "tokens": 500, "min_count": 1, **options})
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB")])
def test_missing_memory_says_what_would_take_less(
    error: Exception, corpus: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Trainer, batch: TrainingBatch) -> float:
        raise error

    monkeypatch.setattr(Trainer, "_learn", fail)
    with pytest.raises(TrainingError, match=r"out of memory at step 1, in a batch of .*: take a smaller preset"):
        lowtide.pretrain(corpus, out=tmp_path / "m", preset="tiny", tokens=500)
    error = RuntimeError("another one")
    with pytest.raises(RuntimeError, match="another one"):
        lowtide.pretrain(corpus, out=tmp_path / "m", preset="tiny", tokens=500)


def test_a_text_with_a_weight_is_read_as_often_as_it_says(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_corpus(tmp_path / f"{name}.txt", num_sentences=600, seed=ord(name))
    both = [tmp_path / "a.txt", tmp_path / "b.txt"]
    even = read_text(both, TextOptions(), tmp_path / "even")
    uneven = read_text(both, TextOptions(weights=(1, 3)), tmp_path / "uneven")
    tokens = even.prepared.tokens_of_parts()
    assert even.num_train_tokens == tokens.sum() == uneven.prepared.tokens_of_parts().sum()
    assert uneven.num_train_tokens == tokens[0] + 3 * tokens[1]


def test_a_text_that_stands_in_another_one_has_no_weight_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    write_corpus(tmp_path / "all" / "a.txt", num_sentences=60)
    both = [tmp_path / "all", tmp_path / "all" / "a.txt"]
    with pytest.raises(InputError, match=r"a\.txt stands in the texts before it, so that its weight does nothing"):
        read_text(both, TextOptions(weights=(1, 3)), tmp_path / "text")
    assert read_text(both, TextOptions(), tmp_path / "text").num_train_tokens > 0


@pytest.mark.parametrize(
    ("preset", "expected"), [("tiny", r"7 \(tiny\): train"), ("auto", r"7 \(tiny\), 128 \(small\)")]
)
def test_vectors_of_another_width_are_refused_before_the_text_is_read(
    preset: str, expected: str, words: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wider = dataclasses.replace(PRESETS["tiny"].lstm, width=7)
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(PRESETS["tiny"], lstm=wider))
    monkeypatch.setattr("lowtide.training.reading.prepare", lambda *_, **__: pytest.fail("the text was read"))
    with pytest.raises(InputError, match=rf"words has vectors of width 6, expected {expected}"):
        lowtide.pretrain([corpus], out=tmp_path / "m", preset=preset, inputs="words", vectors=words)


def test_a_share_of_the_sentences_is_read_in_lower_case(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("".join(f"The Tide {n}\n" for n in range(400)), encoding="utf-8")
    text = read_text([tmp_path / "text.txt"], TextOptions(lowercase=0.25, lines="sentence"), tmp_path / "t")
    counts = dict(zip(text.vocabulary.types, text.vocabulary.counts.tolist(), strict=True))
    assert 0.15 < counts["tide"] / (counts["tide"] + counts["Tide"]) < 0.35
    assert counts["tide"] == counts["the"]  # whole sentences


@pytest.mark.parametrize("inputs", ["characters", "words"])
def test_a_plain_trunk_is_trained_saved_and_embeds(
    inputs: str, corpus: Path, tmp_path: Path, mini_preset: None
) -> None:
    out = tmp_path / "model"
    elmo = lowtide.pretrain(
        [corpus],
        out=out,
        preset="tiny",
        trunk="lstm",
        tokens=BUDGET,
        min_count=1,
        inputs=inputs,  # type: ignore[arg-type]  # a literal
    )
    lstm = elmo.stored.config.bilm.lstm
    assert elmo.stored.config.trunk == "lstm"
    assert not lstm.is_projected and lstm.cell_clip is None
    looks = [entry["valid_forward"] for entry in _log(out) if "valid_forward" in entry]
    assert min(looks) < looks[0]
    assert elmo.embed("the tide goes out", layers="context").shape == (4, 2 * lstm.width)


def test_a_plain_trunk_takes_as_many_products_a_token_as_the_published_one() -> None:
    for preset in PRESETS.values():
        published, narrow = preset.lstm, plain(preset.lstm)
        products = 9 * published.cell_width * published.width
        assert 8 * narrow.width**2 == pytest.approx(products, rel=0.08)
