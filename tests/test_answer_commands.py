from __future__ import annotations

import json
from pathlib import Path

import pytest

import tiny
from command import Command
from lowtide.embeddings import Elmo
from lowtide.tasks import Classifier, ClassifierOptions, FitOptions, Tagger, TaggerOptions
from stand_ins import LABELS, SENTENCES, TAGS, write_conll, write_labelled

ONCE = FitOptions(epochs=1)
QUICK = ("--epochs", "1", "--state-width", "4", "--device", "cpu")


@pytest.fixture(scope="module")
def tagger(elmo: Elmo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks") / "tagger"
    Tagger(elmo, TaggerOptions(reader="none"), device="cpu").fit(SENTENCES, TAGS, options=ONCE).save(folder)
    return folder


@pytest.fixture(scope="module")
def classifier(elmo: Elmo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks") / "classifier"
    options = ClassifierOptions(reader="none")
    Classifier(elmo, options, device="cpu").fit(SENTENCES, LABELS, options=ONCE).save(folder)
    return folder


def test_help_ends_with_a_line_to_paste(run: Command) -> None:
    ran = run("evaluate", "task", "--help")
    assert ran.code == 0 and ran.out.strip().splitlines()[-1].strip().startswith("lowtide evaluate task ")


def test_the_texts_of_examples_are_written(run: Command, tmp_path: Path) -> None:
    source, out = write_conll(tmp_path / "t.conll"), tmp_path / "t.txt"
    ran = run("text", source, "--out", out)
    assert ran.code == 0 and f"{len(SENTENCES)} texts" in ran.err
    assert out.read_text(encoding="utf-8").splitlines() == [" ".join(sentence) for sentence in SENTENCES]
    assert run("text", out, "--out", tmp_path / "again.txt").code == 2
    assert "Name a file with --out FILE" in run("text", source).err


def test_a_folder_of_seeds_answers_and_is_judged(run: Command, saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "names"
    command = ("train", "tagger", saved_bytes.folder, path, "--valid", path, "--out", out, "--seeds", "2", *QUICK)
    assert run(*command).code == 0
    ran = run("predict", out, path, "--out", tmp_path / "answers.conll")
    assert ran.code == 0 and "of 2 on the validation examples" in ran.err, ran.err
    assert run("evaluate", "task", out, path).out.startswith("span F1 ")


def test_a_task_is_judged_on_other_examples(run: Command, classifier: Path, tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "t.tsv")
    ran = run("evaluate", "task", classifier, path, "--device", "cpu", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["metric"], found["num_examples"]) == ("accuracy", 6) and "macro F1" in found
    ran = run("evaluate", "task", classifier, path, "--device", "cpu")
    assert ran.out.startswith("accuracy ") and "bank" not in ran.out + ran.err


def test_wrong_answers_are_shown_to_who_asks(run: Command, classifier: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("wet\tthe tide\ndry\tthe tide\n", encoding="utf-8")  # one of them is wrong
    ran = run("evaluate", "task", classifier, path, "--show-text", "--device", "cpu")
    assert ran.code == 0 and "  the tide" in ran.out
    ran = run("evaluate", "task", classifier, path, "--show-text", "--json")
    assert ran.code == 2 and "--show-text and --json do not go together" in ran.err


def test_columns_of_the_other_kind_of_file_are_refused(run: Command, tagger: Path, classifier: Path) -> None:
    for option in (("--columns", "label text"), ("--quoted",)):
        assert "a tagger reads a token a row" in run("evaluate", "task", tagger, "t.conll", *option).err
    for option in (("--column", "1"), ("--token-column", "1")):
        assert "a classifier reads an example a row" in run("evaluate", "task", classifier, "t.tsv", *option).err
    assert "a classifier has none: leave it out" in run("evaluate", "task", classifier, "t.tsv", "--lenient").err


@pytest.mark.filterwarnings("always")
def test_a_tagger_answers_and_is_judged_by_the_columns_it_was_learned_from(
    run: Command, saved_bytes: tiny.Saved, tmp_path: Path
) -> None:
    path, out = tmp_path / "eng.testb", tmp_path / "out"
    rows = ["0 the O here", "1 tide B-X here", "", "0 river B-Y here", "1 bank I-Y here"]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    columns = ("--token-column", "1")
    command = ("train", "tagger", saved_bytes.folder, path, "--column", "2", *columns, "--out", out, *QUICK)
    assert run(*command).code == 0
    ran = run("evaluate", "task", out, path, "--column", "2", *columns, "--device", "cpu", "--json")
    assert set(json.loads(ran.out)["by_label"]) >= {"X", "Y"}
    ran = run("predict", out, path, "--format", "conll", *columns, "--out", tmp_path / "answers.conll")
    assert ran.code == 0, ran.err
    lines = (tmp_path / "answers.conll").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[0] for line in lines] == ["the", "tide", "", "river", "bank", ""]
    ran = run("predict", out, path, "--out", tmp_path / "answers.conll")
    assert "eng.testb: its lines have 4 columns each" in ran.err and "--format conll" in ran.err


def test_probabilities_are_written_to_who_asks(run: Command, classifier: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "t.txt", tmp_path / "out.jsonl"
    path.write_text("the tide\n", encoding="utf-8")
    assert run("predict", classifier, path, "--out", out, "--probabilities", "--device", "cpu").code == 0
    row = json.loads(out.read_text(encoding="utf-8"))
    assert set(row["probabilities"]) == {"dry", "wet"} and sum(row["probabilities"].values()) == pytest.approx(1)
