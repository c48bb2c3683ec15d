"""What users hand in by mistake, and what happens to them: each is one line that helps, or a repair that is counted.

Nothing that stood there before is harmed: a refused command leaves every file around it as it was.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

import lowtide
import tiny
from command import Command, Ran
from lowtide.embeddings import Elmo, LanguageModel
from lowtide.embeddings.outputs import EmbeddedSentence, hdf5, npz, open_output
from lowtide.training import checkpoint
from lowtide.training.presets import PRESETS
from lowtide.training.trainer import Trainer
from scenario import MINI, pretrain_mini, write_corpus

posix = pytest.mark.skipif(os.name != "posix", reason="signals, limits and devices are other ones there")


@pytest.fixture
def here(tmp_path: Path, copied_bytes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which all commands run: a model, a text, a corpus, and vectors from before."""
    monkeypatch.chdir(tmp_path)
    assert copied_bytes == tmp_path / "model"
    Path("good.txt").write_text("the tide goes out\n\nthe bank .\n", encoding="utf-8")
    write_corpus(Path("corpus.txt"), num_sentences=60)
    for name in ("v.h5", "v.npz", "page.html"):
        Path(name).write_bytes(b"from before")
    return tmp_path


PRETRAIN = ["--out", "m", "--preset", "tiny", "--tokens", "1200", "--threads", "1"]
"""Five steps over the corpus below, with the mini preset."""
READERS: dict[str, Callable[[str], list[str]]] = {
    "pretrain": lambda text: ["pretrain", text, *PRETRAIN],
    "embed to .h5": lambda text: ["embed", "model", text, "--out", "v.h5"],
    "embed to .npz": lambda text: ["embed", "model", text, "--out", "v.npz"],
    "evaluate perplexity": lambda text: ["evaluate", "perplexity", "model", text],
}
"""The commands that read a text."""
OPENERS = {
    "embed": ["embed", "model", "good.txt", "--out", "v.npz"],
    "evaluate perplexity": ["evaluate", "perplexity", "model", "good.txt"],
    "guess": ["guess", "model", "the tide"],
    "compare": ["compare", "model", "the [tide]", "the [bank]"],
    "inspect": ["inspect", "model"],
}
"""The commands that open a model."""
of_every_reader = pytest.mark.parametrize("command", READERS)
of_every_opener = pytest.mark.parametrize("command", OPENERS)


def assert_one_line_error(ran: Ran, *parts: str) -> None:
    """Exit code 2, and one line on stderr, below warnings and the log, with all these parts."""
    assert ran.code == 2, ran.err
    assert "Traceback" not in ran.err and "Exception ignored" not in ran.err, ran.err
    *before, last = ran.err.splitlines()
    assert last.startswith("lowtide: ") and not any(line.startswith("lowtide: ") for line in before), ran.err
    assert [part for part in parts if part not in last] == [], last


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path in a folder, with the bytes of every file."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Nothing is written, removed, or left over inside."""
    before = tree(folder)
    yield
    assert {name for name, content in tree(folder).items() if before.get(name, b"?") != content} == set()
    assert before.keys() - tree(folder).keys() == set()


# -- a text that cannot be read ------------------------------------------------------------------

CHINESE = "潮水退了，就知道是谁没穿裤子。\n"
UNREADABLE: dict[str, tuple[bytes | None, list[str]]] = {
    "that is not there": (None, ["bad.txt is not there", "Expected a text file, a folder, a glob"]),
    "in cp1252": ("One.\nTwo.\nÀ côté du café.\n".encode("cp1252"), ["bad.txt:3: ", "0xc0", "try --encoding cp1252"]),
    "in GB18030": (b"One.\nTwo.\n" + CHINESE.encode("gb18030"), ["bad.txt:3: ", "try --encoding gb18030"]),
    "in UTF-16": (CHINESE.encode("utf-16"), ["bad.txt:1: ", "try --encoding utf-16"]),
    "in Big5": (b"One.\n" + "潮水退了，誰沒穿褲子。\n".encode("big5"), ["bad.txt:2: ", "--encoding"]),
    "in UTF-16 without its mark": ("One.\n".encode("utf-16-le"), ["bad.txt:1 ", "zero byte"]),
    "cut off amid a character": ("One.\n潮水".encode()[:-1], ["bad.txt:2: "]),
    "with a zero byte": (b"One.\nTwo.\nThr\0ee.\n", ["bad.txt:3 ", "zero byte"]),
    "with every byte there is": (b"One.\n" + bytes(range(256)), ["bad.txt:2 ", "zero byte"]),
    "that is a program": (Path(sys.executable).read_bytes()[:5000], ["bad.txt:1 ", "zero byte"]),
}


@pytest.mark.parametrize("text", UNREADABLE)
@of_every_reader
def test_a_text_that_cannot_be_read_is_one_line_with_file_and_line_and_changes_nothing(
    command: str, text: str, run: Command, here: Path
) -> None:
    content, parts = UNREADABLE[text]
    if content is not None:
        Path("bad.txt").write_bytes(content)
    with unchanged(here):
        assert_one_line_error(run(*READERS[command]("bad.txt")), *parts)


@of_every_reader
def test_half_of_a_surrogate_pair_in_a_file_has_its_line_and_no_wrong_advice(
    command: str, run: Command, here: Path
) -> None:
    Path("bad.txt").write_bytes(b"One.\nTw\xed\xa0\x80o.\n")
    ran = run(*READERS[command]("bad.txt"))
    assert_one_line_error(ran, "bad.txt:2: ", "0xed")
    assert "cp1252" not in ran.err  # it would read the three bytes as three letters


@of_every_reader
def test_a_folder_without_a_text_is_one_line_and_changes_nothing(command: str, run: Command, here: Path) -> None:
    Path("folder").mkdir()
    (here / "folder" / "picture.png").touch()
    with unchanged(here):
        assert_one_line_error(run(*READERS[command]("folder")), "the folder folder holds no text file", ".txt")


@pytest.mark.parametrize("text", ["that is not there", "in cp1252", "with a zero byte"])
def test_the_held_out_text_is_looked_at_as_the_text_is(text: str, run: Command, here: Path) -> None:
    content, parts = UNREADABLE[text]
    if content is not None:
        Path("bad.txt").write_bytes(content)
    with unchanged(here):
        assert_one_line_error(run("pretrain", "corpus.txt", *PRETRAIN, "--valid", "bad.txt"), *parts)


@pytest.mark.parametrize("content", ["", "\n\n \n\t\n\u3000\n"], ids=["empty", "of blank lines"])
@pytest.mark.parametrize("command", ["pretrain", "evaluate perplexity"])
def test_a_file_without_a_token_is_named(command: str, content: str, run: Command, here: Path) -> None:
    Path("bad.txt").write_text(content, encoding="utf-8")
    with unchanged(here):
        assert_one_line_error(run(*READERS[command]("bad.txt")), "bad.txt", "no token", "blank")


@pytest.mark.parametrize(("content", "count"), [("", 0), ("\n\n \n\t\n\u3000\n", 5)], ids=["empty", "of blank lines"])
def test_a_file_without_a_token_is_embedded_line_for_line_and_counted(
    content: str, count: int, run: Command, here: Path
) -> None:
    Path("blank.txt").write_text(content, encoding="utf-8")
    ran = run("embed", "model", "blank.txt", "--out", "v.npz")
    assert (ran.code, ran.err) == (0, f"v.npz: {count} sentences\n")
    with np.load("v.npz") as arrays:
        assert [arrays[name].shape for name in arrays.files] == [(0, 10)] * count


@pytest.mark.parametrize(
    ("command", "encoding"),
    [("pretrain", "gb18030"), *itertools.product(list(READERS)[1:], ["cp1252", "gb18030", "utf-16"])],
)
def test_the_encoding_that_an_error_names_reads_the_file(
    command: str, encoding: str, run: Command, here: Path, mini_preset: None
) -> None:
    text = {"cp1252": "À côté du café.\n"}.get(encoding, CHINESE) * 60
    Path("text.txt").write_bytes(text.encode(encoding))
    arguments = READERS[command]("text.txt")
    advice = re.search(r"try (--encoding) ([\w-]+)", run(*arguments).err)
    assert advice is not None and advice[2] == encoding
    ran = run(*arguments, *advice.groups())
    assert ran.code == 0, ran.err


@of_every_reader
def test_standard_input_that_is_closed_is_one_line(
    command: str, run: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it after `lowtide ... <&-`
    with unchanged(here):
        assert_one_line_error(run(*READERS[command]("-")), "standard input")


# -- text that is odd but can be read ------------------------------------------------------------

ODD = {
    "control characters": "the\x07 tide \x1b[31mgoes\x1b[0m out \x01\x02 a\x7fb \x0c x\x1cy z\x85",
    "zero-width characters": "go\u200bes out\ufeff e\u200dx \u2060 \u200c so\u00adon \u200b\u200d",
    "right-to-left text": "مرحبا بِكُم \u200fשלום\u200e (עולם) \u202bסוף\u202c \u2067כן\u2069 12",
    "line ends that are none": "one\u2028two\u2029three\x0bfour",
}


def test_of_odd_text_nothing_is_lost(run: Command, here: Path, mini_preset: None) -> None:
    lines = list(ODD.values()) * 10
    Path("odd.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    ran = run("pretrain", "odd.txt", *PRETRAIN, "--lines", "sentence")
    assert ran.code == 0, ran.err
    ran = run("embed", "m", "odd.txt", "--out", "v.h5")
    assert ran.code == 0, ran.err
    with h5py.File("v.h5") as file:
        for number, line in enumerate(lines):
            tokens = list(file[str(number)].attrs["tokens"])
            assert file[str(number)].shape == (len(tokens), 12)
            assert "".join(tokens) == without_spaces(line)
            assert np.isfinite(file[str(number)][...]).all()


def without_spaces(text: str) -> str:
    return "".join(unicodedata.normalize("NFC", text).split())


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_sentence_is_guessed_at_every_token(kind: str, run: Command, here: Path) -> None:
    places = json.loads(run("guess", "model", ODD[kind], "--json").out)
    assert "".join(place["token"] for place in places[1:-1]) == without_spaces(ODD[kind])


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["for people", "for programs"])
def test_an_argument_that_is_no_utf_8_is_a_token_like_others(options: list[str], run: Command, here: Path) -> None:
    word = os.fsdecode(b"\xff\xfe")  # lone surrogates, as the shell's bytes reach Python
    for arguments in (["guess", "model", f"the {word}"], ["compare", "model", f"[{word}]", "the [tide]"]):
        ran = run(*arguments, *options)
        assert ran.code == 0, ran.err
        assert json.loads(ran.out) if options else "the" in ran.out


@pytest.mark.parametrize(
    "sentence", ["\ud800 x", ["\ud800", "x"], ["\udfff\udfff", "a\udc80b"], ["\udbff", "\U0010ffff"]], ids=ascii
)
def test_a_lone_surrogate_is_a_token_like_others(
    sentence: str | list[str], elmo: Elmo, language_model: LanguageModel
) -> None:
    [vectors] = elmo.embed([sentence])
    assert vectors.shape == (2, 10) and np.isfinite(vectors).all()
    assert np.isfinite(language_model.perplexity([sentence]).mean)
    assert len(language_model.guesses([sentence])[0]) == 4


# -- far too long --------------------------------------------------------------------------------

LONG = 100_000


@pytest.fixture
def long_text(here: Path) -> str:
    Path("long.txt").write_text("tide " * LONG + "\nthe tide\n", encoding="utf-8")
    return "long.txt"


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one layer, without clips and projections: a hundred thousand tokens are as many steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "BYTES", tiny.lstm(num_layers=1, cell_width=5, cell_clip=None, projection_clip=None))
        return tiny.save(tmp_path_factory.mktemp("shallow") / "model").folder


def test_a_sentence_of_100_000_tokens_is_embedded_whole(shallow: Path, long_text: str, run: Command) -> None:
    ran = run("embed", shallow, long_text, "--out", "v.h5")
    assert ran.code == 0, ran.err
    with h5py.File("v.h5") as file:
        assert (file["0"].shape, file["1"].shape) == ((LONG, 10), (2, 10))
        assert np.isfinite(file["0"][...]).all()


def test_a_sentence_of_100_000_tokens_has_a_perplexity(shallow: Path, long_text: str, run: Command) -> None:
    found = json.loads(run("evaluate", "perplexity", shallow, long_text, "--json").out)
    assert found["perplexity"]["num_tokens"] == LONG + 2 and np.isfinite(found["mean"])


def test_a_sentence_of_100_000_tokens_is_cut_for_training_and_counted(
    long_text: str, run: Command, monkeypatch: pytest.MonkeyPatch, mini_preset: None
) -> None:
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(MINI, rows=512))
    budget = ["--tokens", str(LONG), "--lines", "sentence"]
    ran = run("pretrain", long_text, "--out", "m", "--preset", "tiny", "--threads", "1", *budget)
    assert ran.code == 0, ran.err
    assert re.search(r"^[1-9]\d* times a sentence longer than 64 positions was cut$", ran.err, re.MULTILINE)


@pytest.fixture
def giant_text(here: Path) -> str:
    """With so many types that they are spelled, and one of them of ten thousand characters."""
    write_corpus(Path("giant.txt"))
    with Path("giant.txt").open("a", encoding="utf-8") as file:
        file.write(f"the {'x' * 10_000} goes\nthe {'潮' * 10_000} goes\n")
    return "giant.txt"


def test_a_token_of_10_000_characters_is_truncated_for_training_and_counted(
    giant_text: str, run: Command, mini_preset: None
) -> None:
    ran = run("pretrain", giant_text, *PRETRAIN, "--tokenizer", "whitespace")
    assert ran.code == 0, ran.err
    assert re.search(r"\b2 types are longer than 48 bytes", ran.err)
    assert "2 types were longer than a row" in Path("m/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["embed to .h5", "embed to .npz", "evaluate perplexity"])
def test_a_token_of_10_000_characters_is_truncated_for_reading_and_counted(
    command: str, giant_text: str, run: Command
) -> None:
    ran = run(*READERS[command](giant_text), "--tokenized")
    assert ran.code == 0, ran.err
    # the model of these tests spells a type in 8 bytes, and no other in the text is longer
    assert re.search(r"\b2 \w+ are longer than 8 bytes", ran.err)


def test_a_sentence_with_a_token_of_10_000_characters_has_as_many_rows_as_tokens(elmo: Elmo) -> None:
    [vectors] = elmo.embed([["the", "x" * 10_000, "tide"]])
    assert vectors.shape == (3, 10)


# -- a model folder in disorder ------------------------------------------------------------------

NEEDED = {
    "config.json": list(OPENERS),
    "vocabulary.txt": list(OPENERS),
    "model.safetensors": list(OPENERS),
    "softmax.safetensors": ["guess", "evaluate perplexity"],
}
"""The files of a model, and who needs them."""
needed = pytest.mark.parametrize(
    ("name", "command"), [(name, command) for name, commands in NEEDED.items() for command in commands]
)


@needed
def test_a_missing_file_of_a_model_is_named(name: str, command: str, run: Command, here: Path) -> None:
    Path("model", name).unlink()
    with unchanged(here):
        ran = run(*OPENERS[command])
    assert_one_line_error(ran, name)


@pytest.mark.parametrize("name", NEEDED)
def test_a_file_of_a_model_that_is_cut_off_is_named_wherever_it_ends(name: str, run: Command, here: Path) -> None:
    whole = Path("model", name).read_bytes()
    for tenth in range(10):
        Path("model", name).write_bytes(whole[: len(whole) * tenth // 10])
        with unchanged(here):
            ran = run(*OPENERS["guess"])
        assert_one_line_error(ran, name)


@needed
def test_noise_in_place_of_a_file_of_a_model_is_named(name: str, command: str, run: Command, here: Path) -> None:
    Path("model", name).write_bytes(b"\xff\xfe\x00noise" * 20)
    with unchanged(here):
        ran = run(*OPENERS[command])
    assert_one_line_error(ran, name)


def test_a_card_that_is_no_utf_8_does_not_hide_the_model(run: Command, here: Path) -> None:
    Path("model", "README.md").write_bytes("Modèle.\n".encode("cp1252"))
    ran = run(*OPENERS["inspect"])
    assert ran.code == 0 and "Mod" in ran.out, ran.err


def another_size(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "BYTES", tiny.lstm(width=6))
        other = tiny.save(folder.parent / "other").folder
    shutil.copy(other / "model.safetensors", folder / "model.safetensors")
    shutil.rmtree(other)


def another_layer(folder: Path) -> None:
    change_config(folder, lambda config: config["bilm"]["lstm"].update(num_layers=3))


def another_dtype(name: str, dtype: torch.dtype) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / name)
        save_file({key: tensor.to(dtype) for key, tensor in tensors.items()}, folder / name)

    return change


def softmax_for_weights(folder: Path) -> None:
    shutil.copy(folder / "softmax.safetensors", folder / "model.safetensors")


def one_type_more(folder: Path) -> None:
    with (folder / "vocabulary.txt").open("a", encoding="utf-8", newline="\n") as file:
        file.write("another\t1\n")


def first_lines_of_vocabulary(count: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        lines = (folder / "vocabulary.txt").read_bytes().splitlines(keepends=True)
        (folder / "vocabulary.txt").write_bytes(b"".join(lines[:count]))

    return change


MISMATCHED: dict[str, tuple[Callable[[Path], None], list[str], list[str]]] = {
    "weights of another size": (another_size, list(OPENERS), ["model.safetensors", "from the same model?"]),
    "a config with a layer more": (another_layer, list(OPENERS), ["model.safetensors", "from the same model?"]),
    "the softmax as weights": (softmax_for_weights, list(OPENERS), ["model.safetensors", "from the same model?"]),
    "weights in double precision": (
        another_dtype("model.safetensors", torch.float64),
        list(OPENERS),
        ["model.safetensors", "float64", "float32"],
    ),
    "weights that are whole numbers": (
        another_dtype("model.safetensors", torch.int64),
        list(OPENERS),
        ["model.safetensors", "int64", "float32"],
    ),
    "a softmax in double precision": (
        another_dtype("softmax.safetensors", torch.float64),
        NEEDED["softmax.safetensors"],
        ["softmax.safetensors", "float64", "float32"],
    ),
    "a vocabulary with a type more": (
        one_type_more,
        NEEDED["softmax.safetensors"],
        ["softmax.safetensors", "13", "14"],
    ),
    "a vocabulary of the specials alone": (
        first_lines_of_vocabulary(3),
        NEEDED["softmax.safetensors"],
        ["softmax.safetensors", "from the same model?"],
    ),
    "a vocabulary smaller than the specials": (
        first_lines_of_vocabulary(2),
        list(OPENERS),
        ["vocabulary.txt", "begins with <S> </S> <UNK>", "found ['<S>', '</S>']"],
    ),
    "a vocabulary of no line": (first_lines_of_vocabulary(0), list(OPENERS), ["vocabulary.txt", "<S> </S> <UNK>"]),
}


@pytest.mark.parametrize(
    ("mismatch", "command"), [(name, command) for name, (_, commands, _) in MISMATCHED.items() for command in commands]
)
def test_files_of_a_model_that_do_not_fit_each_other_are_named(
    mismatch: str, command: str, run: Command, here: Path
) -> None:
    change, _, parts = MISMATCHED[mismatch]
    change(here / "model")
    with unchanged(here):
        assert_one_line_error(run(*OPENERS[command]), *parts)


# -- a config.json that cannot be used -----------------------------------------------------------


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    change(config)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def lstm(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["bilm"]["lstm"].update(values)


def char_cnn(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["bilm"]["char_cnn"].update(values)


CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "an unknown key": (lambda c: c.update(tokeniser={}), ["unknown key 'tokeniser'. Did you mean 'tokenizer'?"]),
    "an unknown key far within": (lstm(cel_clip=3.0), ["unknown key 'cel_clip'. Did you mean 'cell_clip'?"]),
    "a missing key": (lambda c: c.pop("tokenizer"), ["the key 'tokenizer' is missing"]),
    "a text for a number": (lstm(width="5"), ["width: found '5', expected int"]),
    "a number for a list": (char_cnn(filters=3), ["filters: found 3, expected a list"]),
    "nothing for an object": (lambda c: c.update(bilm=None), ["bilm: found NoneType"]),
    "a newer format": (lambda c: c.update(format_version=2), ["format_version 2", "reads up to 1", "--upgrade"]),
    "a newer format with new keys": (lambda c: c.update(format_version=9, new=1), ["format_version 9", "--upgrade"]),
    "a format that never was": (lambda c: c.update(format_version=0), ["format_version", "0"]),
    "a format that is a text": (lambda c: c.update(format_version="1"), ["format_version: found '1', expected int"]),
    "another kind": (lambda c: c.update(kind="elmp"), ["found kind 'elmp'. Did you mean 'elmo'?"]),
    "another trunk": (lambda c: c.update(trunk="gpt"), ["trunk: found 'gpt'"]),
    "an unknown tokenizer": (lambda c: c["tokenizer"].update(name="bpe"), ["name: found 'bpe'", "'words'"]),
    "an unknown language": (lambda c: c["tokenizer"].update(language="klingon"), ["unknown language 'klingon'"]),
    "a negative width": (lstm(width=-5), ["width", "-5", "at least 1"]),
    "a cell of no width": (lstm(cell_width=0), ["cell_width", "0", "at least 1"]),
    "a negative number of layers": (lstm(num_layers=-1), ["num_layers", "-1", "at least 1"]),
    "a state wider than its cell": (lstm(width=2**40), ["width"]),
    "a negative clip": (lstm(cell_clip=-1.0), ["cell_clip", "-1"]),
    "a clip that is no number": (lstm(cell_clip=float("nan")), ["cell_clip", "nan"]),
    "a negative width of characters": (char_cnn(embedding_width=-4), ["embedding_width", "-4"]),
    "a negative width of a filter": (char_cnn(filters=[[-1, 4]]), ["filters", "-1"]),
    "a filter of no width": (char_cnn(filters=[[0, 4]]), ["filters", "0"]),
    "no filters": (char_cnn(filters=[]), ["filters"]),
    "a negative number of highways": (char_cnn(num_highways=-1), ["num_highways", "-1"]),
    "rows too short for a byte": (char_cnn(max_characters=2), ["max_characters", "2"]),
    "dropout of more than all": (lambda c: c["bilm"].update(dropout=2.0), ["dropout", "2.0"]),
    "two token networks": (lambda c: c["bilm"].update(symbols={"num_symbols": 13}), ["symbols", "embedding_width"]),
    "no token network": (lambda c: c["bilm"].update(char_cnn=None), ["char_cnn", "symbols"]),
}


@pytest.mark.parametrize("damage", CONFIGS)
def test_a_config_that_cannot_be_used_is_named_with_the_value(damage: str, run: Command, here: Path) -> None:
    change, parts = CONFIGS[damage]
    change_config(here / "model", change)
    with unchanged(here):
        ran = run(*OPENERS["embed"])
    assert_one_line_error(ran, "model/config.json", *parts)
    assert ran.err.count("\n") == 1, ran.err  # and no warning of a library before it


@of_every_opener
@pytest.mark.parametrize("damage", ["an unknown key", "a newer format", "a negative width"])
def test_every_command_tells_a_config_that_cannot_be_used(damage: str, command: str, run: Command, here: Path) -> None:
    change, parts = CONFIGS[damage]
    change_config(here / "model", change)
    assert_one_line_error(run(*OPENERS[command]), "model/config.json", *parts)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "潮", "\ufeff{}", "[" * 100_000, '{"format_version": 1' + "0" * 5000 + "}"],
    ids=["empty", "cut off", "a list", "null", "a word", "with a mark", "too deep", "a number without end"],
)
def test_a_config_that_is_no_json_object_is_named(content: str, run: Command, here: Path) -> None:
    Path("model", "config.json").write_text(content, encoding="utf-8")
    assert_one_line_error(run(*OPENERS["inspect"]), "model/config.json")


# -- a begun training in disorder ----------------------------------------------------------------

RESUME = ["pretrain", "corpus.txt", "--out", "m", "--resume"]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was stopped."""
    folder = tmp_path_factory.mktemp("begun")
    step = Trainer.step

    def press_ctrl_c(self: Trainer, batch: Any) -> float:
        if self.position.step == 3:
            signal.raise_signal(signal.SIGINT)
        return step(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", MINI)
        patch.setattr("lowtide.training.planning.PROBE_SECONDS", 0.05)
        patch.setattr(Trainer, "step", press_ctrl_c)
        with suppress(KeyboardInterrupt):
            pretrain_mini(write_corpus(folder / "corpus.txt", num_sentences=60), folder / "m", tokens=600)
    return folder / "m"


@pytest.fixture
def stopped(begun: Path, here: Path) -> Path:
    """A copy of it, that a test may damage."""
    return shutil.copytree(begun, here / "m")


def test_the_stopped_training_of_these_tests_can_be_resumed(stopped: Path, run: Command, mini_preset: None) -> None:
    ran = run(*RESUME)
    assert ran.code == 0 and "going on from step" in ran.err, ran.err


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


TEXT_FILES = ["tokens.bin", "sentences.bin", "documents.bin", "held_out.bin", "types.txt", "vocabulary.txt"]
RECORDS = ["manifest.json", "notes.json"]


@pytest.mark.parametrize("damage", [Path.unlink, cut_off], ids=["missing", "cut off"])
@pytest.mark.parametrize("name", [*(f"work/text/{name}" for name in [*TEXT_FILES, *RECORDS]), "config.json"])
def test_a_damaged_file_of_a_training_is_named(
    name: str, damage: Callable[[Path], None], stopped: Path, run: Command, mini_preset: None
) -> None:
    damage(stopped / name)
    assert_one_line_error(run(*RESUME), name)


@pytest.mark.parametrize("options", [["--resume"], []], ids=["resumed", "begun anew"])
def test_a_checkpoint_without_its_settings_is_kept(
    options: list[str], stopped: Path, run: Command, here: Path, mini_preset: None
) -> None:
    (stopped / "config.json").unlink()
    with unchanged(here):
        assert run("pretrain", "corpus.txt", "--out", "m", *options).code == 2


def test_a_checkpoint_that_is_cut_off_is_named(stopped: Path, run: Command, mini_preset: None) -> None:
    cut_off(stopped / "work" / "checkpoint.safetensors")
    assert_one_line_error(run(*RESUME), "m/work/checkpoint.safetensors")


SETTINGS: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "an unknown key": (lambda c: c["training"].update(budget=5), ["unknown key 'budget'", "'budget_tokens'"]),
    "a newer format": (lambda c: c.update(format_version=2), ["format_version 2", "--upgrade"]),
    "no settings": (lambda c: c.update(training=None), ["config.json", "training"]),
    "another size than the checkpoint": (
        lambda c: c["training"]["bilm"]["lstm"].update(width=7),
        ["checkpoint.safetensors"],
    ),
    "no rows": (lambda c: c["training"].update(rows=0), ["config.json", "rows", "0"]),
}


@pytest.mark.parametrize("damage", SETTINGS)
def test_settings_of_a_training_that_cannot_be_used_are_named(
    damage: str, stopped: Path, run: Command, mini_preset: None
) -> None:
    change, parts = SETTINGS[damage]
    change_config(stopped, change)
    assert_one_line_error(run(*RESUME), *parts)


@pytest.mark.parametrize("damage", [Path.unlink, cut_off], ids=["missing", "cut off"])
def test_a_damaged_log_is_not_filled_up_with_zero_bytes(
    damage: Callable[[Path], None], stopped: Path, run: Command, mini_preset: None
) -> None:
    damage(stopped / "training.jsonl")
    assert run(*RESUME).code == 0
    assert b"\0" not in (stopped / "training.jsonl").read_bytes()


# -- places that cannot be written ---------------------------------------------------------------

WRITERS: dict[str, Callable[[str], list[str]]] = {
    "pretrain": lambda out: ["pretrain", "corpus.txt", "--out", out, *PRETRAIN[2:]],
    "embed to .h5": lambda out: ["embed", "model", "good.txt", "--out", f"{out}.h5"],
    "embed to .npz": lambda out: ["embed", "model", "good.txt", "--out", f"{out}.npz"],
    "compare --html": lambda out: ["compare", "model", "the [tide]", "the [bank]", "--html", f"{out}.html"],
}


@pytest.mark.parametrize("out", ["good.txt/out", "good.txt/deep/below/out"])
@pytest.mark.parametrize("command", WRITERS)
def test_an_output_below_a_file_is_one_line_that_says_so(command: str, out: str, run: Command, here: Path) -> None:
    with unchanged(here):
        assert_one_line_error(run(*WRITERS[command](out)), "cannot write good.txt/", "Not a directory")


@pytest.mark.parametrize("command", [name for name in WRITERS if name != "pretrain"])
def test_an_output_that_is_a_folder_is_one_line_that_says_so(command: str, run: Command, here: Path) -> None:
    for suffix in (".h5", ".npz", ".html"):
        Path(f"folder{suffix}").mkdir()
    with unchanged(here):
        assert_one_line_error(run(*WRITERS[command]("folder")), "cannot write folder.", "Is a directory")


@pytest.mark.parametrize("name", ["thesis.tex", ".film.part", "work/notes.txt"])
def test_a_folder_that_is_not_of_a_training_is_refused_and_left_as_it_is(name: str, run: Command, here: Path) -> None:
    Path("mine", name).parent.mkdir(parents=True)
    Path("mine", name).write_text("mine", encoding="utf-8")
    with unchanged(here):
        assert_one_line_error(run(*WRITERS["pretrain"]("mine")), "mine is not empty", "another --out")


def test_a_model_folder_that_is_a_file_is_one_line_that_says_so(run: Command, here: Path) -> None:
    with unchanged(here):
        assert_one_line_error(run(*WRITERS["pretrain"]("good.txt")), "good.txt")


# -- a full disk ---------------------------------------------------------------------------------


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk on which no file grows beyond so many bytes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def full_device(here: Path) -> Iterator[Callable[[str], str]]:
    """Makes links of any name to the device that is always full."""
    device = Path("/dev/full")
    if not device.is_char_device():
        pytest.skip("this system has no /dev/full")

    def link(name: str) -> str:
        Path(name).unlink(missing_ok=True)
        Path(name).symlink_to(device)
        return name

    yield link
    assert device.is_char_device()


@posix
@pytest.mark.parametrize("name", ["v.h5", "v.npz", "page.html"])
def test_a_full_device_is_one_line_that_says_so(
    name: str, full_device: Callable[[str], str], run: Command, here: Path
) -> None:
    by_ending = {".h5": "embed to .h5", ".npz": "embed to .npz", ".html": "compare --html"}
    ran = run(*WRITERS[by_ending[Path(name).suffix]](Path(full_device(name)).stem))
    assert_one_line_error(ran, f"cannot write {name}: No space left on device")


@posix
@pytest.mark.parametrize("command", ["guess", "compare", "inspect", "evaluate perplexity"])
def test_a_full_standard_output_is_one_line(
    command: str, full_device: Callable[[str], str], run: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(full_device("stdout")).open("w", encoding="utf-8") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        ran = run(*OPENERS[command], "--json")
    assert_one_line_error(ran, "No space left on device")


@posix
def test_what_is_left_in_the_buffer_at_the_end_has_no_traceback_of_its_own(full_device: Callable[[str], str]) -> None:
    with Path(full_device("stdout")).open("wb") as full, Process("--version", stdout=full.fileno()) as process:
        assert_one_line_error(process.end(), "No space left on device")


@posix
def test_a_reader_that_has_enough_ends_the_command_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with Process("--version", stdout=writing) as process:
        os.close(writing)
        assert process.end().err == ""


@posix
def test_a_disk_that_fills_up_under_vectors_leaves_the_old_ones(run: Command, here: Path) -> None:
    with unchanged(here), files_of_at_most(20_000):
        assert_one_line_error(run("embed", "model", "corpus.txt", "--out", "v.npz"), "cannot write v.npz")


@posix
def test_a_disk_that_fills_up_under_hdf5_leaves_the_old_vectors(here: Path) -> None:
    # in a process of its own: the HDF5 library may bring it down
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))"
    with unchanged(here), Process("embed", "model", "corpus.txt", "--out", "v.h5", before=limit) as process:
        assert_one_line_error(process.end(), "cannot write v.h5: File too large")


FULL_WHEN = {
    "while the text is read": ("lowtide.training.reading.prepare", 1),
    "at a checkpoint": ("lowtide.training.trainer.save_checkpoint", 3),
    "while the log is written": ("lowtide.training.trainer.Trainer._log", 4),
    "while the model is written": ("lowtide.training.finishing.save_model", 1),
}
"""A function, and which call of it finds the disk full."""


def around_call(
    patch: pytest.MonkeyPatch, name: str, call: int, within: Callable[[], AbstractContextManager[None]]
) -> None:
    """Let one call of a function, and all after it, run within something."""
    owner, _, attribute = name.rpartition(".")
    home = pkgutil.resolve_name(owner)
    before, calls = getattr(home, attribute), itertools.count(1)

    def called(*arguments: Any, **options: Any) -> Any:
        with within() if next(calls) >= call else nullcontext():
            return before(*arguments, **options)

    patch.setattr(home, attribute, called)


@posix
@pytest.mark.parametrize("moment", FULL_WHEN)
def test_a_disk_that_fills_up_under_a_training_is_one_line_and_the_training_goes_on_later(
    moment: str, run: Command, here: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SHARE", 1e9)  # after every step
    with monkeypatch.context() as patch:
        around_call(patch, *FULL_WHEN[moment], lambda: files_of_at_most(100))
        ran = run("pretrain", "corpus.txt", *PRETRAIN)
    assert_one_line_error(ran, "cannot write m", "File too large")
    assert not list(Path("m").rglob("*.part"))
    assert run("pretrain", "corpus.txt", *PRETRAIN, "--resume").code == 0
    assert run("inspect", "m").code == 0


# -- a process of its own ------------------------------------------------------------------------

_PROGRAM = """
import runpy, sys
sys.path.insert(0, {tests!r})
{before}
runpy.run_module("lowtide", run_name="__main__", alter_sys=True)
"""
_MINI = """
import scenario
from lowtide.training import planning, trainer
scenario.use_mini_preset()
planning.PROBE_SECONDS = 0.05
"""
_WAIT_IN_A_STEP = """
import time
from pathlib import Path
step = trainer.Trainer.step
def waiting(self, batch):
    if self.position.step == 3 and self._log_path.name == "training.jsonl":
        Path("in-a-step").touch()
        while not Path("go-on").exists():
            time.sleep(0.01)
    return step(self, batch)
trainer.Trainer.step = waiting
"""
"""A step that lasts until the test says so."""
_INTERRUPTED = """
import signal
class Destroyed:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
def press(event, arguments):
    if event == "import" and arguments[0] == {module!r}:
        {press}
sys.addaudithook(press)
"""
"""Ctrl-C in the moment in which a module is imported."""
PATIENCE = 120.0
"""Seconds; only a test that fails waits so long."""


class Process:
    """The command in a process of its own, with a pipe for its standard input; it does not outlive the test."""

    def __init__(self, *arguments: str, before: str = "", stdout: int = subprocess.PIPE) -> None:
        program = _PROGRAM.format(tests=str(Path(__file__).parent), before=before)
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            # what is printed waits in a buffer, as it does for users
            env={name: value for name, value in os.environ.items() if name not in ("PYTHONUNBUFFERED", "LOWTIDE_UI")},
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with suppress(OSError, ValueError):  # what is left in the pipe has no reader any more
            self._process.communicate()

    def feed(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        given_up_at = time.monotonic() + PATIENCE
        while not condition():
            assert self._process.poll() is None, self.end()
            assert time.monotonic() < given_up_at
            time.sleep(0.02)

    def send(self, signal_number: int) -> None:
        self._process.send_signal(signal_number)

    def end(self) -> Ran:
        """Close its standard input, and wait for it."""
        out, err = self._process.communicate(timeout=PATIENCE)
        return Ran(self._process.returncode, out or "", err)


def assert_stopped(ran: Ran) -> None:
    """As Ctrl-C should: the exit code that shells know, and nothing that frightens."""
    assert ran.code == 130, ran.err
    assert "Traceback" not in ran.err and "Exception ignored" not in ran.err and "Error" not in ran.err, ran.err


# -- two runs into one folder --------------------------------------------------------------------


@posix
def test_a_second_training_into_one_folder_is_refused_and_the_first_one_ends_well(
    run: Command, here: Path, mini_preset: None
) -> None:
    with Process("pretrain", "corpus.txt", *PRETRAIN, "--tokens", "1200", before=_MINI + _WAIT_IN_A_STEP) as first:
        first.wait_until(Path("in-a-step").exists)
        for options in ([], ["--resume"]):
            with unchanged(here):
                ran = run("pretrain", "corpus.txt", *PRETRAIN, *options)
            assert_one_line_error(ran, "another", " m", "--out")
        Path("go-on").touch()
        ended = first.end()
    assert ended.code == 0, ended.err
    assert run("inspect", "m").code == 0
    assert sorted(path.name for path in Path("m").iterdir()) == [
        "README.md",
        "calibration.safetensors",
        "config.json",
        "loss.svg",
        "model.safetensors",
        "perplexity.svg",
        "softmax.safetensors",
        "training.jsonl",
        "vocabulary.txt",
    ]


@posix
def test_a_training_that_was_killed_does_not_lock_its_folder(run: Command, here: Path, mini_preset: None) -> None:
    with Process("pretrain", "-", *PRETRAIN, before=_MINI) as first:
        first.feed("the tide goes out\n" * 3000)
        first.wait_until(Path("m/work/text/tokens.bin").exists)
        assert_one_line_error(run("pretrain", "corpus.txt", *PRETRAIN), "another", " m", "--out")
        first.send(signal.SIGKILL)
        assert first.end().code == -signal.SIGKILL
    assert run("pretrain", "corpus.txt", *PRETRAIN, "--resume").code == 0


def test_two_processes_that_embed_into_one_file_each_write_it_whole(
    run: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = os.getpid()
    for name in ("v.npz", "v.h5"):
        with open_output(Path(name)) as writer:
            writer.write(EmbeddedSentence("0", ["tide"], np.zeros((1, 10), dtype=np.float32)))
            with monkeypatch.context() as patch:
                patch.setattr(os, "getpid", lambda: process + 1)
                assert run("embed", "model", "good.txt", "--out", name).code == 0
            assert len(vectors_in(name)) == 3
        assert len(vectors_in(name)) == 1


def vectors_in(name: str) -> list[NDArray[np.float32]]:
    if name.endswith(".npz"):
        with np.load(name) as arrays:
            return [arrays[key] for key in arrays.files]
    with h5py.File(name) as file:
        return [file[key][...] for key in file if key.isdigit()]


# -- Ctrl-C --------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("module", ["lowtide.cli", "numpy", "torch.nn"])
def test_ctrl_c_while_libraries_are_loaded_stops_without_a_traceback(module: str, here: Path) -> None:
    press = _INTERRUPTED.format(module=module, press="signal.raise_signal(signal.SIGINT)")
    with unchanged(here), Process(*OPENERS["embed"], before=press) as process:
        assert_stopped(process.end())


@posix
def test_ctrl_c_that_falls_into_a_destructor_is_not_lost(here: Path) -> None:
    # there, and where a weak reference ends, Python prints what was raised and goes on; h5py has many of them
    press = _INTERRUPTED.format(module="numpy", press="Destroyed()")
    with unchanged(here), Process(*OPENERS["embed"], before=press) as process:
        assert_stopped(process.end())


@posix
def test_ctrl_c_when_all_is_done_shows_no_traceback() -> None:
    press = "import atexit, signal; atexit.register(signal.raise_signal, signal.SIGINT)"
    with Process("--version", before=press) as process:
        ran = process.end()
    assert ran.code in (0, 130) and ran.out.startswith("lowtide ")
    assert "Traceback" not in ran.err and "Exception ignored" not in ran.err


@posix
def test_ctrl_c_in_training_saves_and_prints_the_line_that_goes_on(run: Command, here: Path, mini_preset: None) -> None:
    with Process("pretrain", "corpus.txt", *PRETRAIN, before=_MINI + _WAIT_IN_A_STEP) as process:
        process.wait_until(Path("in-a-step").exists)
        process.send(signal.SIGINT)
        Path("go-on").touch()
        ran = process.end()
    assert_stopped(ran)
    *_, line = ran.err.splitlines()
    assert line == f"stopped. Go on with:  lowtide pretrain corpus.txt {' '.join(PRETRAIN)} --resume"
    assert not list(Path("m").rglob("*.part"))
    ran = run(*line.partition("  lowtide ")[2].split())
    assert ran.code == 0 and "going on from step 4" in ran.err, ran.err


@pytest.mark.parametrize("name", ["v.h5", "v.npz"])
def test_ctrl_c_between_two_vectors_leaves_the_old_ones(
    name: str, run: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = {"v.h5": hdf5, "v.npz": npz}[name]._Writer
    before = home.write

    def press(*arguments: Any) -> None:
        before(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(home, "write", press)
    with unchanged(here):
        assert_stopped(run("embed", "model", "corpus.txt", "--out", name))


@posix
def test_ctrl_c_in_a_long_text_leaves_the_old_vectors_and_what_is_done(here: Path) -> None:
    with Process("embed", "model", "-", "--out", "v.h5") as process:
        process.feed(("the tide goes out " * 10 + "\n") * 4000)  # more than twice what is embedded together
        process.wait_until(Path("v.h5.parts/00000000").exists)
        process.send(signal.SIGINT)
        ran = process.end()
    assert_stopped(ran)
    assert ran.err.splitlines()[-1] == "stopped. Go on with:  lowtide embed model - --out v.h5 --resume"
    assert Path("v.h5").read_bytes() == b"from before"


PRESSED_WHEN = {
    "while the text is read": "lowtide.text.shards._Writer.flush",
    "while the costs are measured": "lowtide.training.planning.probe",
    "while a checkpoint is written": "lowtide.training.trainer.save_checkpoint",
}


@pytest.mark.parametrize("moment", PRESSED_WHEN)
def test_ctrl_c_at_any_moment_of_a_training_leaves_one_that_goes_on(
    moment: str, run: Command, here: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def pressed() -> Iterator[None]:
        signal.raise_signal(signal.SIGINT)
        yield

    with monkeypatch.context() as patch:
        around_call(patch, PRESSED_WHEN[moment], 1, pressed)
        ran = run("pretrain", "corpus.txt", *PRETRAIN)
    assert_stopped(ran)
    assert not list(Path("m").rglob("*.part"))
    assert run("pretrain", "corpus.txt", *PRETRAIN, "--resume").code == 0
    assert isinstance(lowtide.load("m"), Elmo)
