from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny
from command import Command
from lowtide import task_commands
from lowtide.tasks import ClassifierOptions, FitOptions, MatcherOptions, TaggerOptions, fitting
from lowtide.tasks.options import HeadOptions
from stand_ins import write_conll, write_labelled

QUICK = ("--epochs", "2", "--batch-size", "32", "--state-width", "4", "--device", "cpu")


@pytest.mark.parametrize("command", ["train tagger", "train classifier", "train matcher", "predict"])
def test_help_ends_with_a_line_to_paste(command: str, run: Command) -> None:
    ran = run(*command.split(), "--help")
    assert ran.code == 0
    assert ran.out.strip().splitlines()[-1].strip().startswith(f"lowtide {command}")


def test_a_tagger_is_taught_and_answers(run: Command, saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "out"
    ran = run("train", "tagger", saved_bytes.folder, path, "--valid", path, "--test", path, "--out", out, *QUICK)
    assert ran.code == 0, ran.err
    assert "span F1" in ran.out and "layers input: α 0:" in ran.out and "tide" not in ran.out + ran.err
    assert run("predict", out, path, "--out", tmp_path / "answers.conll").code == 0
    assert (tmp_path / "answers.conll").read_text(encoding="utf-8").startswith("the\t")


def test_seeds_are_reported_as_json(run: Command, saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    path, out = write_labelled(tmp_path / "t.tsv"), tmp_path / "out"
    files = (path, "--valid", path, "--test", path)
    ran = run("train", "classifier", saved_bytes.folder, *files, "--out", out, "--seeds", "2", "--json", *QUICK)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["seeds"] == [0, 1] and len(found["scores"]["test"]["values"]) == 2
    assert len(found["others"]["test"]["macro F1"]["values"]) == 2


def test_texts_are_shown_to_who_asks(run: Command, saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("1\tthe tide\tthe tide\n0\tthe bank\tout\n", encoding="utf-8")
    test = tmp_path / "test.tsv"
    test.write_text("1\tthe tide\tthe tide\n0\tthe tide\tthe tide\n", encoding="utf-8")  # one of them is wrong
    out = ("--out", tmp_path / "out", *QUICK)
    ran = run("train", "matcher", saved_bytes.folder, path, "--test", test, "--show-text", *out)
    assert ran.code == 0, ran.err
    assert "the tide  |  the tide" in ran.out


@pytest.mark.parametrize("options", [(), ("--test", "t.tsv", "--json")])
def test_texts_that_cannot_be_shown_are_refused(options: tuple[str, ...], run: Command, tmp_path: Path) -> None:
    ran = run("train", "classifier", "en", "t.tsv", "--out", tmp_path / "out", "--show-text", *options)
    assert ran.code == 2 and "--show-text shows test examples: name them with --test FILE" in ran.err


def test_who_means_pretrain_is_told_so(run: Command, tmp_path: Path) -> None:
    ran = run("train", tmp_path)
    assert ran.code == 2 and f"lowtide pretrain {tmp_path} --out DIR" in ran.err


def test_where_things_go_has_to_be_said(run: Command, tmp_path: Path) -> None:
    assert "Name a folder with --out DIR" in run("train", "tagger", "model", "train.conll").err
    assert "Name a file with --out FILE" in run("predict", "task", "text.txt").err


def test_a_line_that_breaks_is_named(run: Command, saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    path = tmp_path / "t.conll"
    path.write_text("the\tO\ntide\n", encoding="utf-8")
    ran = run("train", "tagger", saved_bytes.folder, path, "--out", tmp_path / "out")
    assert ran.code == 2 and "t.conll:2: found 1 columns, expected 2 as in line 1" in ran.err


def test_spans_that_break_their_scheme_are_refused_or_read_as_seqeval_does(
    run: Command, saved_bytes: tiny.Saved, tmp_path: Path
) -> None:
    path, out = tmp_path / "t.conll", tmp_path / "out"
    path.write_text("the\tO\ntide\tB-X\n\nthe\tO\nriver\tI-X\nbank\tB-X\nbank\tB-Y\n", encoding="utf-8")
    command = ("train", "tagger", saved_bytes.folder, path, "--out", out, *QUICK)
    ran = run(*command)
    assert ran.code == 2 and "t.conll:5: 'I-X' cannot stand behind 'O' in IOB2" in ran.err and not out.exists()
    ran = run(*command, "--lenient", "--scheme", "none")
    assert ran.code == 2 and "leave one out" in ran.err and not out.exists()
    ran = run(*command, "--lenient")
    assert ran.code == 0 and "t.conll:4: 1 sentences break IOB2, and are read as seqeval reads them" in ran.err
    assert run("evaluate", "task", out, path).code == 0  # as it was learned

    whole, strict = tmp_path / "whole.conll", tmp_path / "strict"
    whole.write_text(path.read_text(encoding="utf-8").replace("I-X", "B-X"), encoding="utf-8")
    assert run("train", "tagger", saved_bytes.folder, whole, "--out", strict, *QUICK).code == 0
    assert run("evaluate", "task", strict, path).code == 2
    lenient = run("evaluate", "task", strict, path, "--lenient")
    assert lenient.code == 0 and lenient.out == run("evaluate", "task", strict, whole).out


@pytest.mark.parametrize(
    ("command", "options"),
    [("tagger", TaggerOptions()), ("classifier", ClassifierOptions()), ("matcher", MatcherOptions())],
)
def test_a_command_has_the_defaults_of_python(command: str, options: HeadOptions) -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(getattr(task_commands, command)).parameters.items()
    }
    fit = FitOptions()
    assert all(defaults[name] == getattr(fit, name) for name in ("epochs", "patience", "batch_size", "learning_rate"))
    assert defaults["seed"] == fit.seed
    assert all(defaults[name] == getattr(options, name) for name in ("reader", "state_width", "dropout"))
    assert defaults["characters"] == options.char_filters
    layers = options.layers
    assert (defaults["layers"], defaults["layer_norm"], defaults["penalty"], defaults["at_output"]) == (
        layers.choice,
        layers.layer_norm,
        layers.penalty,
        layers.at_output,
    )


def test_a_file_is_answered_as_it_was_learned_from(run: Command, saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    path, out = tmp_path / "t.tsv", tmp_path / "out"
    path.write_text("the tide\twet\nthe bank\tdry\n", encoding="utf-8")
    how = ("--columns", "text label")
    assert run("train", "classifier", saved_bytes.folder, path, "--out", out, *how, *QUICK).code == 0
    assert run("predict", out, path, "--out", tmp_path / "answers.tsv", *how).code == 0
    answers = (tmp_path / "answers.tsv").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[1] for line in answers] == ["the tide", "the bank"]


@pytest.fixture
def interrupted() -> Iterator[pytest.MonkeyPatch]:
    """Ctrl-C in the first step of the second epoch, until it is undone."""
    take, taken = fitting._step, list[int]()

    def pressed(*arguments: Any) -> float:
        taken.append(1)
        if len(taken) == 2:
            raise KeyboardInterrupt
        return take(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_step", pressed)
        yield patch


def test_ctrl_c_says_how_to_go_on_and_so_it_goes(
    run: Command, saved_bytes: tiny.Saved, tmp_path: Path, interrupted: pytest.MonkeyPatch
) -> None:
    path, out = write_conll(tmp_path / "a file.conll"), tmp_path / "out"
    ran = run("train", "tagger", saved_bytes.folder, path, "--valid", path, "--out", out, *QUICK)
    *_, line = ran.err.splitlines()
    assert ran.code == 130 and line.startswith("stopped. Go on with:  lowtide train tagger ")
    interrupted.undo()
    ran = run(*shlex.split(line.partition("  lowtide ")[2]))
    assert ran.code == 0 and "going on after epoch 1" in ran.err, ran.err
    assert (out / "config.json").is_file() and not (out / "work").exists()


def test_ctrl_c_before_anything_has_begun_leaves_nothing(
    run: Command, saved_bytes: tiny.Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lowtide.tasks.seeds.record_of", press)
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "out"
    ran = run("train", "tagger", saved_bytes.folder, path, "--out", out, *QUICK)
    assert ran.code == 130 and "--resume" not in ran.err and not out.exists()


def test_what_was_begun_with_something_else_is_refused_by_name(
    run: Command, saved_bytes: tiny.Saved, tmp_path: Path, interrupted: pytest.MonkeyPatch
) -> None:
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "out"
    command = ("train", "tagger", saved_bytes.folder, path, "--out", out, *QUICK)
    assert run(*command).code == 130
    interrupted.undo()
    ran = run(*command, "--learning-rate", "0.5", "--resume")
    assert ran.code == 2 and "was begun with something else: fit.learning_rate 0.003 -> 0.5." in ran.err, ran.err
    ran = run("pretrain", path, "--out", out)
    assert ran.code == 2 and "holds a training that has not ended" in ran.err, ran.err
    assert run("pretrain", path, "--out", out, "--resume").code == 2
    assert run(*command, "--resume").code == 0


def test_a_pretraining_is_not_taken_for_a_task(run: Command, saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "out"
    (out / "work").mkdir(parents=True)
    for name in ("config.json", "work/.lowtide", "work/checkpoint.safetensors"):
        (out / name).write_text("{}", encoding="utf-8")
    command = ("train", "tagger", saved_bytes.folder, path, "--out", out, *QUICK)
    assert "holds a training that has not ended" in run(*command).err
    assert "holds something already" in run(*command, "--resume").err
    assert (out / "work" / "checkpoint.safetensors").is_file()


@pytest.mark.parametrize("option", ["--state-width", "--characters"])
def test_sizes_that_nobody_has_are_one_line(option: str, run: Command, saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "out"
    ran = run("train", "tagger", saved_bytes.folder, path, "--out", out, option, "1000000000")
    assert ran.code == 2 and "is 1000000000, expected" in ran.err and len(ran.err.splitlines()) == 1
    assert not out.exists()
