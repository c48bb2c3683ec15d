from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from command import Command
from lowtide.training.presets import PRESETS
from scenario import MINI, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt")


@pytest.fixture(scope="module")
def model(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import lowtide

    out = tmp_path_factory.mktemp("cli") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", MINI)
        patch.setattr("lowtide.training.planning.PROBE_SECONDS", 0.05)
        lowtide.pretrain([corpus], out=out, preset="tiny", tokens=1000, threads=1)
    return out


_COMMANDS = [
    *("demo", "pretrain", "embed", "compare", "guess", "evaluate perplexity", "inspect", "convert", "diff", "models")
]


@pytest.mark.parametrize("command", _COMMANDS)
def test_help_ends_with_a_line_to_paste(command: str, run: Command) -> None:
    ran = run(*command.split(), "--help")
    assert ran.code == 0
    assert ran.out.strip().splitlines()[-1].strip().startswith(f"lowtide {command}")


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"]])
def test_help_needs_no_torch(arguments: list[str]) -> None:
    script = (
        "import sys; sys.argv = ['lowtide', *sys.argv[1:]]\nfrom lowtide.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'h5py', 'rjieba'} & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert ran.stderr.strip() == "[]"


@pytest.mark.parametrize("name", ["v.h5", "v.npz"])
def test_embed_numbers_every_line_and_keeps_the_empty_ones(
    name: str, run: Command, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("the tide goes out\n\nthe tide\n", encoding="utf-8")
    ran = run("embed", model, tmp_path / "in.txt", "--out", tmp_path / name, "--layers", "all")
    assert ran.code == 0, ran.err
    if name == "v.h5":
        with h5py.File(tmp_path / name) as file:
            shapes = [file[str(number)].shape for number in range(3)]
    else:
        with np.load(tmp_path / name) as arrays:
            shapes = [arrays[str(number)].shape for number in range(3)]
    assert shapes == [(3, 4, 12), (3, 0, 12), (3, 2, 12)]


@pytest.mark.parametrize("name", ["v.h5", "v.npz"])
def test_embed_gives_the_same_bytes_again(name: str, run: Command, model: Path, corpus: Path, tmp_path: Path) -> None:
    files = [tmp_path / "a" / name, tmp_path / "b" / name]
    for file in files:
        assert run("embed", model, corpus, "--out", file).code == 0
    assert files[0].read_bytes() == files[1].read_bytes()


def test_embed_pools_to_one_vector_a_sentence(run: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("the tide goes out\n\n", encoding="utf-8")
    assert run("embed", model, tmp_path / "in.txt", "--out", tmp_path / "v.npz", "--pool", "max").code == 0
    with np.load(tmp_path / "v.npz") as arrays:
        assert (arrays["0"].shape, arrays["1"].tolist()) == ((12,), [0.0] * 12)


def test_compare_shows_every_layer(run: Command, model: Path) -> None:
    ran = run("compare", model, "the [tide] goes", "[tide] out", "--json")
    matrices = json.loads(ran.out)
    assert list(matrices) == ["one-hot", "layer 0", "layer 1", "layer 2", "mix", "surroundings"]
    assert matrices["one-hot"] == matrices["layer 0"] == [[1.0, 1.0], [1.0, 1.0]]
    assert matrices["layer 2"][0][1] < 1.0


def test_compare_prints_tables(run: Command, model: Path) -> None:
    ran = run("compare", model, "the [tide] goes", "[tide] out")
    assert "layer 1" in ran.out and "1.00" in ran.out


def test_compare_writes_a_page(run: Command, model: Path, tmp_path: Path) -> None:
    assert run("compare", model, "the [tide]", "[tide] out", "--html", tmp_path / "p.html").code == 0
    assert "<svg" in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_guess_walks_from_the_start_to_the_end(run: Command, model: Path) -> None:
    places = json.loads(run("guess", model, "the tide goes", "--json", "--top", "2").out)
    assert [place["token"] for place in places] == ["<S>", "the", "tide", "goes", "</S>"]
    assert [len(place["from_left"]) for place in places] == [0, 2, 2, 2, 2]
    assert [len(place["from_right"]) for place in places] == [2, 2, 2, 2, 0]


def test_guess_marks_types_that_training_never_saw(run: Command, model: Path) -> None:
    assert "tide (not in the vocabulary)" in run("guess", model, "the tide").out


def test_chinese_with_spaces_is_taken_as_cut(run: Command, model: Path) -> None:
    places = json.loads(run("guess", model, "潮水 退了 就 知道", "--json").out)
    assert [place["token"] for place in places[1:-1]] == ["潮水", "退了", "就", "知道"]


def test_a_model_of_characters_takes_chinese_with_spaces_as_characters(
    run: Command, corpus: Path, tmp_path: Path, mini_preset: None
) -> None:
    import lowtide

    (tmp_path / "zh.txt").write_text("潮水退了\n" * 50, encoding="utf-8")
    lowtide.pretrain(tmp_path / "zh.txt", out=tmp_path / "zh", preset="tiny", tokenizer="characters", tokens=500)
    places = json.loads(run("guess", tmp_path / "zh", "潮水 退了", "--json").out)
    assert [place["token"] for place in places[1:-1]] == ["潮", "水", "退", "了"]


def test_evaluate_perplexity_reports_both_directions_and_the_unigram_model(
    run: Command, model: Path, corpus: Path
) -> None:
    ran = run("evaluate", "perplexity", model, corpus, "--json")
    found = json.loads(ran.out)
    assert found["mean"] == pytest.approx((found["perplexity"]["forward"] + found["perplexity"]["backward"]) / 2)
    assert found["unigram"] > 1 and found["num_sentences"] == 500


def test_inspect_tells_the_sizes(run: Command, model: Path) -> None:
    found = json.loads(run("inspect", model, "--json").out)
    assert (found["num_layers"], found["width"], found["has_softmax"]) == (3, 12, True)
    assert found["num_parameters"] == sum(found["parameters"].values())


_MISTAKES = {
    "a text that is not there": (["pretrain", "nowhere.txt", "--out", "m"], "nowhere.txt is not there"),
    "no folder to write to": (["pretrain", "{corpus}"], "--out DIR"),
    "two budgets": (["pretrain", "{corpus}", "--out", "m", "--time", "1m", "--epochs", "2"], "give one of"),
    "a time that cannot be read": (["pretrain", "{corpus}", "--out", "m", "--time", "soon"], "20m"),
    "a dropout that cannot be read": (
        ["pretrain", "{corpus}", "--out", "m", "--dropout", "input=0.4"],
        "found 'input=0.4', expected auto, a rate such as 0.1, or rates such as types=0.1,inputs=0.65,hidden=0.2,",
    ),
    "a dropout of all": (["pretrain", "{corpus}", "--out", "m", "--dropout", "1"], "expected 0 up to 1, such as 0.1"),
    "an unknown encoding": (["pretrain", "{corpus}", "--out", "m", "--encoding", "utf-9"], "unknown encoding"),
    "a model that is not there": (["guess", "nowhere", "text"], "nowhere is not there"),
    "a folder that is no model": (["inspect", "{folder}"], "is no model"),
    "a vector file of no known kind": (["embed", "{model}", "{corpus}", "--out", "v.csv"], ".npz"),
    "an unknown layer": (["embed", "{model}", "{corpus}", "--out", "v.npz", "--layers", "7"], "layers 0 to 2"),
    "a misspelt layer": (["embed", "{model}", "{corpus}", "--out", "v.npz", "--layers", "tpo"], "Did you mean 'top'"),
    "a pooling that is none": (["embed", "{model}", "{corpus}", "--out", "v.npz", "--pool", "sum"], "mean or max"),
    "nothing marked": (["compare", "{model}", "the tide", "the [tide]"], "mark one word"),
    "a single sentence to compare": (["compare", "{model}", "the [tide]"], "at least two"),
    "a device that is not here": (["guess", "{model}", "the tide", "--device", "qpu"], "cannot be used here"),
}


@pytest.mark.parametrize("mistake", _MISTAKES)
def test_a_mistake_is_one_line_on_stderr_and_code_2(
    mistake: str, run: Command, model: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, message = _MISTAKES[mistake]
    ran = run(*(a.format(model=model, corpus=corpus, folder=tmp_path) for a in arguments))
    assert ran.code == 2 and message in ran.err
    assert len(ran.err.strip().splitlines()) <= 2 and "Traceback" not in ran.err
    assert [path for path in tmp_path.iterdir() if path.name != "m"] == []


_IN_CHINESE = {
    "what a model is": (["inspect", "{model}"], "词表      "),
    "how well it predicts": (["evaluate", "perplexity", "{model}", "{corpus}"], "困惑度    正向 "),
    "what it expects": (["guess", "{model}", "the tide"], "从左边看"),
    "how like words are": (["compare", "{model}", "the [tide]", "[tide] out"], "第 1 层"),
    "what training would cost": (["pretrain", "{corpus}", "--dry-run", "--preset", "tiny"], "遍：要读 "),
    "a line of the log": (["pretrain", "{corpus}", "--dry-run", "--preset", "tiny"], "读入      1 个文件，每行一句"),
    "a mistake": (["guess", "nowhere", "text"], "lowtide: nowhere 不存在"),
    "a mistake with an advice": (["embed", "{model}", "{corpus}", "--out", "v.npz", "--layers", "tpo"], "是不是想写"),
    "the refusal of the system": (["embed", "{model}", "{corpus}", "--out", "{corpus}/v.npz"], "不能写入"),
}


@pytest.mark.parametrize("kind", _IN_CHINESE)
def test_all_commands_speak_chinese(kind: str, run: Command, model: Path, corpus: Path, mini_preset: None) -> None:
    arguments, expected = _IN_CHINESE[kind]
    ran = run(*(a.format(model=model, corpus=corpus) for a in arguments), "--ui", "zh")
    assert expected in ran.out + ran.err


def test_a_page_speaks_chinese(run: Command, model: Path, tmp_path: Path) -> None:
    run("compare", model, "the [tide]", "[tide] out", "--html", tmp_path / "p.html", "--ui", "zh")
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert 'lang="zh"' in page and "第 1 层" in page and "layer" not in page


def test_the_language_may_stand_in_the_environment(run: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWTIDE_UI", "zh")
    assert run("inspect", model).out.startswith("模型")
    assert run("inspect", model, "--ui", "en").out.startswith("model")


def test_json_is_the_same_in_every_language(run: Command, model: Path) -> None:
    english, chinese = (run("inspect", model, "--json", "--ui", ui).out for ui in ("en", "zh"))
    assert english == chinese


def test_debugging_shows_the_traceback(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWTIDE_DEBUG", "1")
    with pytest.raises(FileNotFoundError):
        run("guess", "nowhere", "text")


def test_an_error_that_nobody_meant_stays_one(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr("lowtide.weights.catalogue.published", fail)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        run("models")


def test_missing_memory_is_one_line(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("lowtide.weights.catalogue.published", fail)
    ran = run("models")
    assert ran.code == 2 and ran.err.startswith("lowtide: out of memory: ") and len(ran.err.splitlines()) == 1


def test_the_version_is_told(run: Command) -> None:
    assert run("--version").out.startswith("lowtide 0.")


# -- published models ----------------------------------------------------------------------------


def test_vectors_of_warm_state_differ_and_the_reason_is_named(
    run: Command, model: Path, corpus: Path, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.h5", tmp_path / "new.h5"
    run("embed", model, corpus, "--out", old, "--layers", "all", "--stateful", "8")
    run("embed", model, corpus, "--out", new, "--layers", "all")
    ran = run("diff", old, new, "--rows", "8", "--model", model)
    assert ran.code == 1 and "--stateful 8" in ran.out
    assert "confirmed with the model" in ran.out
    assert run("diff", new, new).code == 0
    assert json.loads(run("diff", old, new, "--json").out)["is_same"] is False


def test_a_vector_file_that_is_none_is_a_mistake(run: Command, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("no vectors", encoding="utf-8")
    ran = run("diff", tmp_path / "x.h5", tmp_path / "x.h5")
    assert ran.code == 2 and "x.h5" in ran.err


def test_how_far_warm_state_goes_is_shown(run: Command, model: Path, corpus: Path) -> None:
    told = json.loads(run("inspect", model, "--state-check", corpus, "--rows", "4", "--json").out)
    assert told["rows"] == 4 and told["layers"][0]["largest"] < 1e-5 < told["layers"][1]["largest"]


def test_published_models_are_listed_and_described(run: Command) -> None:
    listed = run("models").out
    assert "original" in listed and "seqvec" in listed
    told = run("models", "original").out
    assert "arxiv.org/abs/1802.05365" in told and "93,600,000" in told
    assert run("models", "orignal").code == 2


def test_records_of_fasta_are_called_by_their_ids(run: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "p.fasta").write_text(">sp|P1|X human\nMKV\n\nLL\n>q2\nacd\n", encoding="utf-8")
    out = tmp_path / "v.npz"
    ran = run("embed", model, tmp_path / "p.fasta", "--out", out, "--keys", "id", "--layers", "sum")
    assert ran.code == 0, ran.err
    with np.load(out) as vectors:
        assert {key: len(vectors[key]) for key in vectors} == {"sp|P1|X": 5, "q2": 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [("a line\n", "t.txt:1 has no id"), (">a\nMK\n>a\nMK\n", "a stands twice"), (">\nMK\n", "t.txt:1 has no id")],
)
def test_ids_that_cannot_be_keys_are_refused(text: str, says: str, run: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    ran = run("embed", model, tmp_path / "t.txt", "--out", tmp_path / "v.npz", "--keys", "id")
    assert ran.code == 2 and says in ran.err
    assert not (tmp_path / "v.npz").exists()
