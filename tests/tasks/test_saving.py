from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lowtide.embeddings import Elmo
from lowtide.embeddings.one_hot import OneHot
from lowtide.embeddings.type_vectors import type_config
from lowtide.errors import ConfigError, InputError, MissingPathError, ModelError
from lowtide.tasks import Classifier, FineTuning, FitOptions, Matcher, MatcherOptions, Tagger, TaggerOptions, load
from lowtide.text.tokenize import make_tokenizer
from lowtide.text.vocabulary import SPECIALS, Vocabulary
from stand_ins import LABELS, SENTENCES, TAGS, WORDS, Rung

ONCE = FitOptions(epochs=1)


@pytest.fixture
def one_hot() -> OneHot:
    counts = [1, 1, 0, *[5] * len(WORDS)]
    tokenizer = make_tokenizer("words", language="en").config
    return OneHot(type_config("one_hot", tokenizer), Vocabulary([*SPECIALS, *WORDS], counts))


@pytest.fixture
def saved(elmo: Elmo, tmp_path: Path) -> Path:
    tagger = Tagger(elmo, TaggerOptions(state_width=3, char_filters=2), device="cpu")
    tagger.fit(SENTENCES, TAGS, valid=(SENTENCES, TAGS), options=ONCE).save(tmp_path / "task")
    return tmp_path / "task"


def test_a_task_answers_in_a_new_process_as_it_did(elmo: Elmo, saved: Path) -> None:
    script = (
        "import json, sys, lowtide.tasks as tasks\n"
        "task = tasks.load(sys.argv[1], device='cpu')\n"
        "print(json.dumps([task.predict(json.loads(sys.argv[2])), task.mix.weights.tolist()]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(saved), json.dumps(SENTENCES)], capture_output=True, text=True, check=True
    )
    here = load(saved, embeddings=elmo)
    assert isinstance(here, Tagger)
    assert json.loads(ran.stdout) == [here.predict(SENTENCES), here.mix.weights.tolist()]


def test_the_folder_tells_what_was_learned_and_holds_no_text(saved: Path) -> None:
    names = {"README.md", "alphas.svg", "config.json", "head.safetensors", "training.jsonl"}
    assert {path.name for path in saved.iterdir()} == names
    card, log = ((saved / name).read_text(encoding="utf-8") for name in ("README.md", "training.jsonl"))
    assert "| input |" in card and "| valid | span F1 |" in card and "alphas.svg" in card
    entries = [json.loads(line) for line in log.splitlines()]
    assert len(entries[-1]["mixes"]["input"]["weights"]) == 3 and "valid" in entries[-1]
    assert not any(word in text for word in ("bank", "river") for text in (card, log))


def test_several_embeddings_and_every_kind_of_task_come_back(elmo: Elmo, one_hot: OneHot, tmp_path: Path) -> None:
    classifier = Classifier([elmo, one_hot], device="cpu").fit(SENTENCES, LABELS, options=ONCE)
    pairs = [(sentence, SENTENCES[0]) for sentence in SENTENCES]
    scores = [1.0, 2.0, 3.0, 4.0, 5.0, 1.5]
    matcher = Matcher(one_hot, MatcherOptions(objective="cosine"), device="cpu").fit(pairs, scores, options=ONCE)
    classifier.save(tmp_path / "classifier")
    matcher.save(tmp_path / "matcher")
    assert (tmp_path / "classifier" / "embedding-1" / "config.json").is_file()
    opened = load(tmp_path / "classifier", device="cpu")
    assert isinstance(opened, Classifier)
    assert opened.probabilities(SENTENCES).tolist() == classifier.probabilities(SENTENCES).tolist()
    again = load(tmp_path / "matcher", device="cpu")
    assert isinstance(again, Matcher) and again.predict(pairs) == matcher.predict(pairs)
    assert (again.lowest, again.highest) == (1, 5)


def test_an_encoder_that_learned_comes_back(elmo: Elmo, tmp_path: Path) -> None:
    options = FitOptions(epochs=3, fine_tuning=FineTuning(learning_rate=0.01))
    tagger = Tagger(elmo, TaggerOptions(state_width=3), device="cpu").fit(SENTENCES, TAGS, options=options)
    tagger.save(tmp_path / "task")
    opened = load(tmp_path / "task", device="cpu")
    assert isinstance(opened, Tagger)
    for found, expected in zip(opened.marginals(SENTENCES), tagger.marginals(SENTENCES), strict=True):
        assert found.tolist() == expected.tolist()


def test_another_embedding_than_it_was_learned_on_is_refused(elmo_of_symbols: Elmo, saved: Path) -> None:
    with pytest.raises(ModelError, match=r"was learned on an embedding with the checksum \w{12}, embedding 0 has"):
        load(saved, embeddings=elmo_of_symbols)
    with pytest.raises(InputError, match="was learned on 1 embeddings, found 2"):
        load(saved, embeddings=[elmo_of_symbols] * 2)


def test_an_embedding_that_has_moved_is_asked_for(saved: Path, elmo: Elmo) -> None:
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    for place, error in (("nowhere/model", ModelError), (None, MissingPathError)):
        config["embeddings"][0]["place"] = place
        (saved / "config.json").write_text(json.dumps(config), encoding="utf-8")
        with pytest.raises(error, match="give the embedding it was learned on"):
            load(saved)
        assert load(saved, embeddings=elmo, device="cpu").labels


def test_what_is_no_task_is_refused(saved: Path, tmp_path: Path, elmo: Elmo) -> None:
    with pytest.raises(MissingPathError, match=r"is no task: config\.json is not there"):
        load(tmp_path)
    with pytest.raises(ModelError, match="is no task: found kind 'elmo'"):
        load(elmo.stored.path)
    (saved / "head.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="is it damaged"):
        load(saved, embeddings=elmo)
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    (saved / "config.json").write_text(json.dumps({**config, "head": {"dropuot": 0.5}}), encoding="utf-8")
    with pytest.raises(ConfigError, match="Did you mean 'dropout'"):
        load(saved, embeddings=elmo)


def test_a_folder_of_something_else_is_not_written_over(elmo: Elmo) -> None:
    tagger = Tagger(Rung()).fit(SENTENCES, TAGS, options=ONCE)
    with pytest.raises(InputError, match="holds something else, and no task"):
        tagger.save(elmo.stored.path)


def test_what_is_saved_again_leaves_nothing_of_the_old(elmo: Elmo, tmp_path: Path) -> None:
    options = FitOptions(epochs=1, fine_tuning=FineTuning())
    Tagger(elmo, device="cpu").fit(SENTENCES, TAGS, options=options).save(tmp_path / "task")
    assert (tmp_path / "task" / "encoder-0.safetensors").is_file()
    (tmp_path / "task" / "notes.txt").write_text("mine", encoding="utf-8")
    Tagger(elmo, device="cpu").fit(SENTENCES, TAGS, options=ONCE).save(tmp_path / "task")
    assert not (tmp_path / "task" / "encoder-0.safetensors").exists()
    assert (tmp_path / "task" / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert load(tmp_path / "task", device="cpu").labels


@pytest.mark.parametrize("content", ["[]", "{}", "no JSON", '{"kind": []}'])
def test_a_config_of_something_else_is_not_written_over(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    tagger = Tagger(Rung()).fit(SENTENCES, TAGS, options=ONCE)
    with pytest.raises(InputError, match="holds something else, and no task"):
        tagger.save(tmp_path)
    assert (tmp_path / "config.json").read_text(encoding="utf-8") == content


def test_a_copy_of_types_goes_with_every_task(one_hot: OneHot, tmp_path: Path) -> None:
    classifier = Classifier(one_hot, device="cpu").fit(SENTENCES, LABELS, options=ONCE)
    classifier.save(tmp_path / "a")
    classifier.save(tmp_path / "b")
    load(tmp_path / "a", device="cpu").save(tmp_path / "c")
    shutil.rmtree(tmp_path / "a")
    for name in ("b", "c"):
        opened = load(tmp_path / name, device="cpu")
        assert isinstance(opened, Classifier) and opened.predict(SENTENCES) == classifier.predict(SENTENCES)


@pytest.mark.parametrize("change", [{"kind": []}, {"kind": "elmo"}])
def test_a_kind_that_is_none_is_refused(change: dict[str, object], saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    (saved / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(ModelError, match="is no task"):
        load(saved)


def test_settings_of_another_kind_are_refused(saved: Path, elmo: Elmo) -> None:
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    (saved / "config.json").write_text(json.dumps({**config, "settings": {}}), encoding="utf-8")
    with pytest.raises(ConfigError, match="settings are not those of a tagger"):
        load(saved, embeddings=elmo)
