from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import tiny
from lowtide.errors import ConfigError, LowtideError, MissingPathError, ModelError, WriteError
from lowtide.model import AdaptiveSoftmax, CharCNNConfig, Softmax
from lowtide.model.char_cnn import SymbolEmbedding
from lowtide.text.characters import ByteSpelling, SymbolSpelling
from lowtide.text.vocabulary import Vocabulary
from lowtide.weights import native
from lowtide.weights.native import (
    CONFIG,
    MODEL,
    SOFTMAX,
    VOCABULARY,
    load_model,
    save_model,
)
from lowtide.weights.stored import StoredModel, spelling_for

FIRST_TENSOR = "backward_lstm.layers.0.bias"


# -- there and back ------------------------------------------------------------------------------


def test_saving_and_loading_changes_no_bit_of_the_network(saved: tiny.Saved) -> None:
    loaded = load_model(saved.folder).bilm.state_dict()
    assert list(loaded) == list(saved.bilm.state_dict())
    assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.bilm.state_dict().items())


def test_saving_and_loading_changes_no_bit_of_the_softmax(saved: tiny.Saved) -> None:
    loaded = load_model(saved.folder).load_softmax()
    assert torch.equal(loaded.weight, saved.softmax.weight) and torch.equal(loaded.bias, saved.softmax.bias)


def test_saving_and_loading_changes_no_bit_of_the_states(saved: tiny.Saved) -> None:
    type_char_ids = torch.from_numpy(load_model(saved.folder).spelling.char_ids(["A", "tide", "<S>"]))
    arguments = (type_char_ids, torch.tensor([[0, 1, 2]]), torch.tensor([[True, False, False]]), torch.tensor([3]))
    with torch.no_grad():
        assert torch.equal(load_model(saved.folder).bilm(*arguments).layers, saved.bilm(*arguments).layers)


def test_saving_and_loading_keeps_config_and_vocabulary(saved: tiny.Saved) -> None:
    loaded = load_model(saved.folder)
    assert loaded.config == saved.config
    assert loaded.vocabulary.types == saved.vocabulary.types
    assert loaded.vocabulary.counts.tolist() == saved.vocabulary.counts.tolist()


def test_saving_what_was_loaded_gives_the_same_bytes(saved: tiny.Saved, tmp_path: Path) -> None:
    loaded = load_model(saved.folder)
    save_model(tmp_path / "again", loaded.config, loaded.vocabulary, loaded.bilm, loaded.load_softmax())
    for name in (CONFIG, MODEL, VOCABULARY, SOFTMAX):
        assert (tmp_path / "again" / name).read_bytes() == (saved.folder / name).read_bytes()


def test_a_loaded_network_is_in_evaluation_mode(saved: tiny.Saved) -> None:
    loaded = load_model(saved.folder)
    assert not loaded.bilm.training and not loaded.load_softmax().training


def test_a_loaded_network_can_be_trained_further(saved: tiny.Saved) -> None:
    assert all(parameter.requires_grad for parameter in load_model(saved.folder).bilm.parameters())


def test_the_softmax_is_not_read_with_the_network(copied: Path) -> None:
    (copied / SOFTMAX).unlink()
    load_model(copied)


def test_types_are_spelled_as_the_token_network_reads_them(saved_bytes: tiny.Saved, saved_symbols: tiny.Saved) -> None:
    spelled = load_model(saved_bytes.folder).spelling
    assert isinstance(spelled, ByteSpelling) and spelled.row_length == tiny.CHAR_CNN.max_characters
    assert isinstance(load_model(saved_symbols.folder).spelling, SymbolSpelling)


@pytest.mark.parametrize(("characters", "kind"), [(None, SymbolSpelling), (tiny.CHAR_CNN, ByteSpelling)])
def test_without_characters_a_type_is_a_symbol(
    characters: CharCNNConfig | None, kind: type, saved_bytes: tiny.Saved
) -> None:
    assert isinstance(spelling_for(saved_bytes.vocabulary, characters), kind)


# -- writing -------------------------------------------------------------------------------------


def test_the_weights_are_written_last(saved_bytes: tiny.Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tensors = native.save_tensors

    def fail_at_last(path: Path, tensors: dict[str, Tensor]) -> None:
        if path.name == MODEL:
            raise WriteError("the disk is full")
        save_tensors(path, tensors)

    monkeypatch.setattr(native, "save_tensors", fail_at_last)
    with pytest.raises(WriteError):
        save_model(tmp_path, saved_bytes.config, saved_bytes.vocabulary, saved_bytes.bilm, saved_bytes.softmax)
    assert (tmp_path / CONFIG).exists() and not (tmp_path / MODEL).exists()


def test_weights_that_cannot_be_written_are_a_write_error(
    saved_bytes: tiny.Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(tensors: dict[str, Tensor], path: Path, metadata: None) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(native, "save_file", fail)
    with pytest.raises(WriteError, match=r"model\.safetensors.*No space left"):
        native.save_tensors(tmp_path / MODEL, saved_bytes.bilm.state_dict())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_a_write_error(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("no folder", encoding="utf-8")
    with pytest.raises(WriteError, match="model"):
        save_model(
            tmp_path / "model", saved_bytes.config, saved_bytes.vocabulary, saved_bytes.bilm, saved_bytes.softmax
        )


@pytest.mark.skipif(os.name != "posix", reason="only there do files have these rights")
def test_weights_may_be_read_by_whoever_may_read_the_other_files(saved_bytes: tiny.Saved) -> None:
    assert len({(saved_bytes.folder / name).stat().st_mode for name in (CONFIG, MODEL, SOFTMAX)}) == 1


# -- what cannot be loaded -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [CONFIG, VOCABULARY, MODEL])
def test_a_missing_file_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(MissingPathError, match=re.escape(str(copied / name))):
        load_model(copied)


def test_a_missing_softmax_is_named(copied: Path) -> None:
    (copied / SOFTMAX).unlink()
    with pytest.raises(ModelError, match=re.escape(f"{copied} (lowtide) has no softmax")):
        load_model(copied).load_softmax()


def test_a_truncated_file_of_weights_is_named(copied: Path) -> None:
    whole = (copied / MODEL).read_bytes()
    for kept in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        (copied / MODEL).write_bytes(whole[:kept])
        with pytest.raises(ModelError, match=rf"{re.escape(str(copied / MODEL))} cannot be read .* only half copied\?"):
            load_model(copied)


def _another_shape(tensors: dict[str, Tensor]) -> None:
    tensors[FIRST_TENSOR] = torch.zeros(3, 5)


def _one_missing(tensors: dict[str, Tensor]) -> None:
    del tensors[FIRST_TENSOR]


def _one_too_many(tensors: dict[str, Tensor]) -> None:
    tensors["a_third_lstm"] = torch.zeros(())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_another_shape, f"{FIRST_TENSOR} is 3 x 5, config.json and vocabulary.txt say 28"),
        (_one_missing, f"{FIRST_TENSOR} is not there, config.json and vocabulary.txt say 28"),
        (_one_too_many, "a_third_lstm is a single number, config.json and vocabulary.txt say not there"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_named(
    copied: Path, change: Callable[[dict[str, Tensor]], None], says: str
) -> None:
    tensors = load_file(copied / MODEL)
    change(tensors)
    save_file(tensors, copied / MODEL)
    with pytest.raises(ModelError) as error:
        load_model(copied)
    assert str(copied / MODEL) in str(error.value) and says in str(error.value)


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    change(config)
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (lambda c: c.update(format_version=2), ModelError, "has format_version 2, this lowtide reads up to 1"),
        (lambda c: c.update(vocabluary=1), ConfigError, "unknown key 'vocabluary'"),
        (lambda c: c.update(tokeniser={}), ConfigError, "unknown key 'tokeniser'. Did you mean 'tokenizer'?"),
        (
            lambda c: c["bilm"]["lstm"].update(cel_clip=3.0),
            ConfigError,
            "bilm: lstm: unknown key 'cel_clip'. Did you mean 'cell_clip'?",
        ),
        (lambda c: c.update(kind="gpt"), ConfigError, "kind: found 'gpt', expected one of 'elmo'"),
        (lambda c: c.pop("tokenizer"), ConfigError, "the key 'tokenizer' is missing"),
        (lambda c: c["bilm"].update(dropout="much"), ConfigError, "dropout: found 'much', expected float"),
    ],
)
def test_a_config_that_cannot_be_used_is_named(
    copied: Path, change: Callable[[dict[str, Any]], Any], kind: type[LowtideError], says: str
) -> None:
    change_config(copied, change)
    with pytest.raises(kind) as error:
        load_model(copied)
    assert str(copied / CONFIG) in str(error.value) and says in str(error.value)


def test_a_newer_format_is_told_before_its_unknown_keys(copied: Path) -> None:
    change_config(copied, lambda c: c.update(format_version=7, something_new=1))
    with pytest.raises(ModelError, match="pip install --upgrade lowtide"):
        load_model(copied)


@pytest.mark.parametrize("text", ["", "{", '{"kind": "elmo"', "\ufeff{}"])
def test_a_damaged_config_is_named(copied: Path, text: str) -> None:
    (copied / CONFIG).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=re.escape(f"{copied / CONFIG} is not JSON")):
        load_model(copied)


def test_a_config_that_is_no_object_is_named(copied: Path) -> None:
    (copied / CONFIG).write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(ModelError, match=re.escape(f"{copied / CONFIG} holds no object")):
        load_model(copied)


def one_type_more(folder: Path) -> None:
    with (folder / VOCABULARY).open("a", encoding="utf-8", newline="\n") as vocabulary:
        vocabulary.write("another\t1\n")


def test_an_alphabet_of_another_size_is_named(saved_symbols: tiny.Saved, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(
        folder,
        saved_symbols.config,
        Vocabulary.load(saved_symbols.folder / VOCABULARY),
        saved_symbols.bilm,
        saved_symbols.softmax,
    )
    one_type_more(folder)
    with pytest.raises(ModelError, match=r"vocabulary\.txt has 12 types, config\.json says 11 symbols"):
        load_model(folder)


def test_a_softmax_of_another_vocabulary_is_named(copied_bytes: Path) -> None:
    one_type_more(copied_bytes)
    with pytest.raises(ModelError) as error:
        load_model(copied_bytes).load_softmax()
    assert str(copied_bytes / SOFTMAX) in str(error.value)
    assert "bias is 13, config.json and vocabulary.txt say 14" in str(error.value)


def test_a_damaged_line_of_the_vocabulary_is_named(copied: Path) -> None:
    lines = (copied / VOCABULARY).read_text(encoding="utf-8").splitlines()
    lines[4] = "no count"
    (copied / VOCABULARY).write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ModelError, match=re.escape(f"{copied / VOCABULARY}:5: expected a type, a tab and a count")):
        load_model(copied)


# -- smaller files -------------------------------------------------------------------------------


def _tied(folder: Path, saved_symbols: tiny.Saved) -> tuple[StoredModel, Softmax]:
    bilm = saved_symbols.bilm
    assert isinstance(bilm.token_network, SymbolEmbedding)
    softmax = Softmax(len(saved_symbols.vocabulary), bilm.config.lstm.width)
    softmax.tie(bilm.token_network.embedding.weight)
    save_model(folder, saved_symbols.config, saved_symbols.vocabulary, bilm, softmax)
    return load_model(folder), softmax


def test_what_is_tied_stands_in_one_file_and_is_one_tensor_again(saved_symbols: tiny.Saved, tmp_path: Path) -> None:
    stored, softmax = _tied(tmp_path, saved_symbols)
    assert list(load_file(tmp_path / SOFTMAX)) == ["bias"]
    found = stored.load_softmax()
    assert isinstance(stored.bilm.token_network, SymbolEmbedding)
    assert found.weight is stored.bilm.token_network.embedding.weight
    assert torch.equal(found.weight, softmax.weight) and torch.equal(found.bias, softmax.bias)


def test_a_tied_softmax_that_is_damaged_is_an_error(saved_symbols: tiny.Saved, tmp_path: Path) -> None:
    stored, _ = _tied(tmp_path, saved_symbols)
    (tmp_path / SOFTMAX).write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="cannot be read"):
        stored.load_softmax()


@pytest.mark.parametrize("tied", [False, True])
def test_an_adaptive_softmax_is_what_it_was(saved_symbols: tiny.Saved, tmp_path: Path, tied: bool) -> None:
    bilm = saved_symbols.bilm
    softmax = AdaptiveSoftmax(len(saved_symbols.vocabulary), bilm.config.lstm.state_width, (2, 5))
    tiny.random_(softmax)
    if tied:
        assert bilm.type_vectors is not None
        softmax.tie(bilm.type_vectors)
    config = dataclasses.replace(saved_symbols.config, cutoffs=(2, 5))
    save_model(tmp_path, config, saved_symbols.vocabulary, bilm, softmax)
    assert ("weight" in load_file(tmp_path / SOFTMAX)) != tied
    stored = load_model(tmp_path)
    found = stored.load_softmax()
    assert isinstance(found, AdaptiveSoftmax) and found.cutoffs == (2, 5)
    for name, tensor in softmax.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
    for name in (CONFIG, SOFTMAX):
        (tmp_path / "again").mkdir(exist_ok=True)
        save_model(tmp_path / "again", stored.config, stored.vocabulary, stored.bilm, found)
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("cutoffs", [[0, 3], [5, 2], [3, 11], [3, 400], [-1]])
def test_cutoffs_that_cannot_be_are_named(cutoffs: list[int], saved_symbols: tiny.Saved, tmp_path: Path) -> None:
    shutil.copytree(saved_symbols.folder, tmp_path, dirs_exist_ok=True)
    change_config(tmp_path, lambda config: config.update(cutoffs=cutoffs))
    with pytest.raises(ModelError, match=r"has cutoffs \[.*\], expected them to rise between 0 and the 11 types"):
        load_model(tmp_path).load_softmax()


def test_float16_halves_the_file_and_is_read_as_float32(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    save_model(
        tmp_path, saved_bytes.config, saved_bytes.vocabulary, saved_bytes.bilm, saved_bytes.softmax, store="float16"
    )
    found = load_model(tmp_path).bilm.state_dict()
    for name, tensor in saved_bytes.bilm.state_dict().items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], tensor.half().float()), name
    assert (tmp_path / MODEL).stat().st_size < 0.6 * (saved_bytes.folder / MODEL).stat().st_size
