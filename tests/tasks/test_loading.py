from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

import lowtide
import tiny
from lowtide.embeddings import Elmo
from lowtide.errors import InputError, ModelError
from lowtide.tasks import ColumnOptions, FitOptions, Tagger, TaggerOptions, fitting, load
from lowtide.tasks.seeds import Files, fit_seeds
from stand_ins import SENTENCES, TAGS, Rung, teach, write_conll

LINEAR = TaggerOptions(reader="none", char_filters=0)


def write_results(out: Path, valid: list[float] | None) -> None:
    """What a run over seeds scored, otherwise than it did."""
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    if valid is None:
        del found["scores"]["valid"]
    else:
        found["scores"]["valid"]["values"] = valid
    (out / "results.json").write_text(json.dumps(found), encoding="utf-8")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run over the seeds 3, 4 and 5."""
    folder = tmp_path_factory.mktemp("seeds")
    teach(write_conll(folder / "t.conll"), folder / "out", seeds=[3, 4, 5], epochs=1)
    return folder / "out"


@pytest.mark.parametrize(
    ("valid", "seed", "why"),
    [
        ([0.1, 0.9, 0.9], 4, "the best of 3 on the validation examples"),
        (None, 3, "the first of 3"),
    ],
)
def test_a_folder_of_seeds_is_opened_as_its_best_one(
    valid: list[float] | None, seed: int, why: str, seeds: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_results(seeds, valid)
    with caplog.at_level(logging.INFO, logger="lowtide"):
        opened = load(seeds, embeddings=Rung(), device="cpu")
    assert opened.fit_options.seed == seed
    assert caplog.messages == [f"{seeds}: seed {seed}, {why}"]


def test_results_that_name_no_seed_are_damaged(tmp_path: Path) -> None:
    for content in ("[]", "{}", '{"seeds": [], "scores": {}}'):
        (tmp_path / "results.json").write_text(content, encoding="utf-8")
        with pytest.raises(ModelError, match=r"results\.json does not say which seeds there are"):
            load(tmp_path)


@pytest.mark.parametrize("seeds", [[3], [3, 4]])
def test_a_task_under_way_is_not_opened_but_gone_on_with(
    seeds: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        teach(write_conll(tmp_path / "t.conll"), tmp_path / "out", seeds=seeds)
    with pytest.raises(
        ModelError, match=r"not learned to the end: go on with `lowtide train \.\.\. --out .* --resume`"
    ):
        load(tmp_path / "out")


def test_whoever_opens_a_task_as_a_model_is_sent_to_where_tasks_are_opened(
    seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (seeds, seeds / "seed-3"):
        with pytest.raises(ModelError, match=r"holds a task, and no model: lowtide\.tasks\.load\('.*'\) opens it"):
            lowtide.load(folder)

    def stop(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        teach(write_conll(tmp_path / "t.conll"), tmp_path / "out")
    with pytest.raises(ModelError, match=r"not learned to the end: go on with `lowtide train"):
        lowtide.load(tmp_path / "out")


@pytest.fixture
def saved(elmo: Elmo, tmp_path: Path) -> Path:
    tagger = Tagger(elmo, LINEAR, device="cpu")
    tagger.fit(SENTENCES, TAGS, valid=(SENTENCES, TAGS), options=FitOptions(epochs=3, learning_rate=0.1))
    tagger.evaluate(SENTENCES, TAGS)
    tagger.save(tmp_path / "task")
    return tmp_path / "task"


def test_what_is_opened_and_saved_again_tells_the_same(saved: Path, elmo: Elmo) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    opened = load(saved, embeddings=elmo, device="cpu")
    assert opened.scores["valid"].metric == "span F1" and opened.scores["test"].by_label["Y"].wanted == 4
    assert opened.history.num_epochs == 3 and opened.history.best_score == opened.scores["valid"].score
    opened.save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


@pytest.mark.parametrize("name", ["config.json", "training.jsonl"])
def test_a_damaged_record_of_what_was_measured_is_left_out_with_a_warning(name: str, saved: Path, elmo: Elmo) -> None:
    if name == "config.json":
        config = json.loads((saved / name).read_text(encoding="utf-8"))
        (saved / name).write_text(json.dumps({**config, "scores": {"valid": 1}}), encoding="utf-8")
    else:
        (saved / name).write_text("{\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=f"{name}: what was measured cannot be read, and is left out"):
        opened = load(saved, embeddings=elmo, device="cpu")
    assert (bool(opened.scores), bool(opened.history.entries)) == (name != "config.json", name == "config.json")
    assert isinstance(opened, Tagger) and opened.predict(SENTENCES)


def test_a_folder_of_an_older_version_is_opened(saved: Path, elmo: Elmo) -> None:
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    del config["scores"]
    del config["embeddings"][0]["dtype"]
    (saved / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (saved / "training.jsonl").unlink()
    opened = load(saved, embeddings=elmo, device="cpu")
    assert not opened.scores and not opened.history.entries and opened.labels


def test_a_model_that_was_named_from_one_folder_is_found_from_another(
    saved_bytes: tiny.Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved_bytes.folder.parent)
    elmo = Elmo.open(Path(saved_bytes.folder.name), device="cpu")
    Tagger(elmo, TaggerOptions(reader="none"), device="cpu").fit(SENTENCES, TAGS, options=FitOptions(epochs=1)).save(
        tmp_path / "task"
    )
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path / "task", device="cpu").embeddings[0].checksum == elmo.checksum


def test_an_embedding_is_opened_in_the_dtype_it_was_learned_in(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    quick = Elmo.open(saved_bytes.folder, device="cpu", dtype="bfloat16")
    Tagger(quick, LINEAR, device="cpu").fit(SENTENCES, TAGS, options=FitOptions(epochs=1)).save(tmp_path / "task")
    [embedding] = load(tmp_path / "task", device="cpu").embeddings
    assert isinstance(embedding, Elmo) and embedding.engine.dtype == "bfloat16"
    with pytest.warns(UserWarning, match="was learned on vectors computed in bfloat16, embedding 0 computes them in f"):
        load(tmp_path / "task", embeddings=Elmo.open(saved_bytes.folder, device="cpu"), device="cpu")


def test_files_of_one_seed_are_opened_as_they_are(tmp_path: Path) -> None:
    path = write_conll(tmp_path / "t.conll")
    fit_seeds(
        lambda: Tagger(Rung(), LINEAR, device="cpu"),
        Files(path),
        tmp_path / "out",
        seeds=[7],
        options=FitOptions(epochs=1),
        reading=ColumnOptions(),
    )
    assert load(tmp_path / "out", embeddings=Rung(), device="cpu").fit_options.seed == 7


def test_what_is_no_embedding_is_refused_by_its_class(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    elmo = Elmo.open(saved_bytes.folder, device="cpu")
    Tagger(elmo, LINEAR, device="cpu").fit(SENTENCES, TAGS, options=FitOptions(epochs=1)).save(tmp_path / "task")
    for given in (str(saved_bytes.folder), [str(saved_bytes.folder)]):
        with pytest.raises(InputError, match="found str, expected an embedding"):
            load(tmp_path / "task", embeddings=given)  # type: ignore[arg-type]  # the mistake that is tested
