from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from command import Command
from lowtide.embeddings import Elmo, load
from lowtide.errors import InputError, LowtideError, MissingPathError, ModelError
from lowtide.model.products import Dtype
from lowtide.weights.native import CONFIG, MODEL, SOFTMAX, VOCABULARY


@pytest.mark.parametrize("kind", [Path, str])
def test_a_folder_is_opened_as_the_model_it_holds(saved: tiny.Saved, kind: type[Path] | type[str]) -> None:
    elmo = load(kind(saved.folder), device="cpu")
    assert isinstance(elmo, Elmo) and elmo.stored.config == saved.config


def test_a_loaded_model_gives_the_bytes_that_the_saved_one_gave(elmo: Elmo) -> None:
    sentences = [["the", "tide"], [], ["潮水"]]
    loaded = load(elmo.stored.path, device="cpu")
    assert [v.tobytes() for v in loaded.embed(sentences)] == [v.tobytes() for v in elmo.embed(sentences)]


def test_the_softmax_is_not_needed_to_embed(copied: Path) -> None:
    (copied / SOFTMAX).unlink()
    assert load(copied, device="cpu").embed("A").shape == (1, 10)


def test_a_folder_that_is_not_there_is_named_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match=r"no-model is not there.* `lowtide pretrain TEXT --out no-model`"):
        load(tmp_path / "no-model")


def test_a_file_is_not_said_to_be_missing(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    (tmp_path / "words.vec").write_text("2 3\na 1 2 3\nb 1 2 3\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"words\.vec looks like vectors of words: .*from_keyed_vectors"):
        load(tmp_path / "words.vec")
    with pytest.raises(ModelError, match=r"vocabulary\.txt is a file of no known format: expected a folder"):
        load(saved_bytes.folder / VOCABULARY)


def test_a_folder_without_a_config_is_no_model_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=re.escape(f"{tmp_path} is no model: found nothing; expected config.json")):
        load(tmp_path)


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps(config | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("elmp", "found kind 'elmp'. Did you mean 'elmo'? Known: elmo"),
        ("zzz", "found kind 'zzz'. Known: elmo"),
        (None, "found kind None. Known: elmo"),
        (["elmo"], "found kind ['elmo']. Did you mean 'elmo'? Known: elmo"),
    ],
)
def test_an_unknown_kind_is_refused_with_the_known_ones(copied: Path, kind: Any, says: str) -> None:
    change_config(copied, kind=kind)
    with pytest.raises(ModelError, match=re.escape(f"{copied / CONFIG}: {says}")):
        load(copied)


@pytest.mark.parametrize("text", ["[]", "7", "null"])
def test_a_config_that_is_no_object_is_refused(copied: Path, text: str) -> None:
    (copied / CONFIG).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="holds no object"):
        load(copied)


# -- a training that has not ended ---------------------------------------------------------------


@pytest.mark.parametrize("kept", [[CONFIG, VOCABULARY], [CONFIG], []], ids=["begun", "just begun", "before the config"])
def test_a_training_that_has_not_ended_says_how_to_go_on(
    saved_bytes: tiny.Saved, tmp_path: Path, kept: list[str]
) -> None:
    (tmp_path / "work").mkdir()
    for name in kept:
        shutil.copy(saved_bytes.folder / name, tmp_path / name)
    with pytest.raises(ModelError) as error:
        load(tmp_path)
    assert "a training that has not ended" in str(error.value)
    assert f"--out {tmp_path} --resume" in str(error.value)


def test_a_model_that_is_whole_is_opened_though_its_work_was_not_removed(copied: Path) -> None:
    (copied / "work").mkdir()
    load(copied, device="cpu")


def test_weights_that_are_missing_without_a_training_are_an_incomplete_folder(copied: Path) -> None:
    (copied / MODEL).unlink()
    with pytest.raises(MissingPathError, match=r"model\.safetensors is not there: the model folder is incomplete"):
        load(copied)


# -- every damage is told ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size"), [(CONFIG, 0), (CONFIG, 1), (CONFIG, 30), (VOCABULARY, 1), (MODEL, 0), (MODEL, 1), (MODEL, 30)]
)
def test_a_file_that_was_cut_off_is_told_as_an_error_of_ours(copied: Path, name: str, size: int) -> None:
    (copied / name).write_bytes((copied / name).read_bytes()[:size])
    with pytest.raises(LowtideError, match=re.escape(str(copied))):
        load(copied, device="cpu")


# -- dtypes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_a_model_is_opened_for_a_dtype(saved: tiny.Saved, dtype: Dtype) -> None:
    sentences = [["t", "h"], [], ["A", "B"]]
    exact = load(saved.folder, device="cpu").embed(sentences)
    for one, other in zip(load(saved.folder, device="cpu", dtype=dtype).embed(sentences), exact, strict=True):
        assert one.dtype == np.float32 and np.array_equal(one, other) == (dtype == "float32" or not one.size)
        np.testing.assert_allclose(one, other, rtol=0, atol=0.2)


def test_a_dtype_that_is_none_is_refused_with_the_nearest(saved_bytes: tiny.Saved) -> None:
    with pytest.raises(InputError, match=r"unknown dtype 'int'\. Did you mean 'int8'\?"):
        load(saved_bytes.folder, device="cpu", dtype="int")  # type: ignore[call-overload]  # on purpose


def test_the_command_line_embeds_with_a_dtype(saved_bytes: tiny.Saved, tmp_path: Path, run: Command) -> None:
    text = tmp_path / "in.txt"
    text.write_text("the tide goes out\n", encoding="utf-8")
    found = {}
    for dtype in ("float32", "bfloat16", "int8"):
        out = tmp_path / f"{dtype}.npz"
        ran = run("embed", saved_bytes.folder, text, "--out", out, "--dtype", dtype, "--device", "cpu")
        assert ran.code == 0, ran.err
        with np.load(out) as file:
            found[dtype] = file["0"]
    assert found["float32"].shape == found["int8"].shape and not np.array_equal(found["float32"], found["int8"])
    expected = load(saved_bytes.folder, device="cpu", dtype="int8").embed("the tide goes out")
    np.testing.assert_array_equal(found["int8"], expected)


def test_a_wrong_dtype_on_the_command_line_is_code_2(saved_bytes: tiny.Saved, tmp_path: Path, run: Command) -> None:
    text = tmp_path / "in.txt"
    text.write_text("the tide\n", encoding="utf-8")
    ran = run("embed", saved_bytes.folder, text, "--out", tmp_path / "v.npz", "--dtype", "int4")
    assert ran.code == 2 and "int4" in ran.err and "Traceback" not in ran.err
    assert not (tmp_path / "v.npz").exists()
