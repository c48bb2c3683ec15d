from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lowtide
from lowtide.errors import InputError
from lowtide.model import Dropouts
from lowtide.training.trainer import Trainer
from lowtide.weights.native import load_model
from scenario import write_corpus

Stopped = Callable[..., Path]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt")


@pytest.fixture
def stopped(corpus: Path, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch) -> Stopped:
    """A training that was stopped before its first step; ``corpus`` is read if no text is given."""

    def stop(**options: Any) -> Path:
        def fail(self: Trainer, watcher: object) -> None:
            raise RuntimeError("stopped")

        out = tmp_path / "m"
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="stopped"):
            patch.setattr(Trainer, "train", fail)
            lowtide.pretrain(corpus, out=out, preset="tiny", tokens=500, min_count=1, **options)
        return out

    return stop


def go_on(text: Path, out: Path, **options: Any) -> list[str]:
    """The warnings of a training that goes on to its end."""
    said = {"preset": "tiny", "tokens": 500, "min_count": 1, **options}
    with pytest.warns(UserWarning) as warned:
        lowtide.pretrain(text, out=out, resume=True, **said)
    return sorted(str(warning.message) for warning in warned)


def test_a_training_that_was_watched_says_that_it_is_not_any_more(corpus: Path, stopped: Stopped) -> None:
    told = go_on(corpus, stopped(tensorboard=True))
    assert told == ["this training was written for TensorBoard, too, and goes on without: say tensorboard again"]


def test_a_training_that_goes_on_keeps_what_it_began_with_and_says_so(corpus: Path, stopped: Stopped) -> None:
    out = stopped(dropout=0.1, lowercase=0.5)
    other = Dropouts(inputs=0.3, is_locked=True)
    told = go_on(corpus, out, dropout=other, softmax="full", lowercase=0.25, max_types=50, min_count=2)
    assert told == [
        "this training goes on with dropout 0.1, as it began, not inputs=0.3,locked",
        "this training goes on with lowercase 0.5, as it began, not 0.25",
        "this training goes on with max_types left open, as it began, not 50",
        "this training goes on with min_count 1, as it began, not 2",
        "this training goes on with softmax sampled, as it began, not full",
    ]
    assert load_model(out).config.bilm.dropout == 0.1


def test_another_text_is_noticed_and_not_read(corpus: Path, stopped: Stopped, tmp_path: Path) -> None:
    out = stopped()
    other = write_corpus(tmp_path / "other.txt", num_sentences=50)
    [told] = go_on(other, out)
    assert re.fullmatch(
        r"this training goes on with texts corpus\.txt \([\d,]+ bytes\), as it began, not other\.txt \([\d,]+ bytes\)",
        told,
    )


def test_a_text_that_lies_elsewhere_by_now_is_the_same(corpus: Path, stopped: Stopped, tmp_path: Path) -> None:
    out = stopped(valid=corpus)
    (tmp_path / "moved").mkdir()
    moved = tmp_path / "moved" / corpus.name
    moved.write_bytes(corpus.read_bytes())
    lowtide.pretrain(moved, out=out, tokens=500, min_count=1, valid=moved, resume=True)
    assert load_model(out).path == out


def test_texts_that_are_gone_are_not_wanted_any_more(corpus: Path, stopped: Stopped, tmp_path: Path) -> None:
    [told] = go_on(tmp_path / "gone.txt", stopped())
    assert told.endswith("gone.txt")


def test_the_same_said_again_is_no_news(corpus: Path, stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    out = stopped(lowercase=0.5, seed=3)
    monkeypatch.chdir(corpus.parent)
    lowtide.pretrain(Path(corpus.name), out=out, tokens="500", lowercase=0.5, seed=3, language="en", resume=True)
    assert load_model(out).config.training["seed"] == 3


def test_a_rate_that_is_said_anew_stays(corpus: Path, stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    out = stopped()

    def fail(self: Trainer, watcher: object) -> None:
        raise RuntimeError("stopped")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="stopped"):
        patch.setattr(Trainer, "train", fail)
        lowtide.pretrain(corpus, out=out, tokens=500, learning_rate=0.00125, resume=True)
    lowtide.pretrain(corpus, out=out, tokens=500, resume=True)
    assert load_model(out).config.training["learning_rate"] == 0.00125


def test_a_device_that_is_not_here_is_refused_and_nothing_is_lost(corpus: Path, stopped: Stopped) -> None:
    out = stopped()
    with pytest.raises(InputError, match="the device 'cuda:77' cannot be used here"):
        lowtide.pretrain(corpus, out=out, tokens=500, device="cuda:77", resume=True)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    config["training"]["device"] = "cuda:77"
    (out / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match="the device 'cuda:77' cannot be used here"):
        lowtide.pretrain(corpus, out=out, tokens=500, resume=True)
    [told] = go_on(corpus, out, device="cpu")
    assert told == "this training began on cuda:77 and goes on on cpu: not bit for bit as it would have"
    assert load_model(out).config.training["device"] == "cpu"


def test_what_was_said_of_the_text_stands_in_config_and_card_without_paths(corpus: Path, stopped: Stopped) -> None:
    out = stopped(lowercase=0.5, encoding="latin-1", valid=corpus)
    lowtide.pretrain(corpus, out=out, preset="tiny", tokens=500, min_count=1, resume=True, lowercase=0.5)
    said = load_model(out).config.training["said_of_text"]
    assert said == {"encoding": "latin-1", "min_count": "1", "lowercase": "0.5"}
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "| said of the text | encoding latin-1; min_count 1; lowercase 0.5 |" in card
    assert "| optimiser | AdamW, learning rate 0.01, seed 0 |" in card and str(corpus) not in card


@pytest.mark.parametrize("damaged", [None, "", "[]", "{}", '{"seconds": "long", "texts": 5}', "{broken"])
@pytest.mark.parametrize("name", ["asked.json", "forecast.json"])
def test_what_is_only_told_stops_no_training(name: str, damaged: str | None, corpus: Path, stopped: Stopped) -> None:
    out = stopped()
    path = out / "work" / name
    path.unlink() if damaged is None else path.write_text(damaged, encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the texts, where what they were is damaged
        lowtide.pretrain(corpus, out=out, tokens=500, resume=True)
    assert "(forecast: " in (out / "README.md").read_text(encoding="utf-8")


def test_what_was_chosen_and_is_said_now_is_no_news(corpus: Path, stopped: Stopped) -> None:
    out = stopped()
    lowtide.pretrain(corpus, out=out, tokens=500, inputs="characters", tokenizer="words", trunk="elmo", resume=True)
    assert load_model(out).config.bilm.char_cnn is not None
