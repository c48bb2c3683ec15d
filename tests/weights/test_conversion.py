from __future__ import annotations

import json
import logging
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import tiny
from lowtide.embeddings import load
from lowtide.embeddings.loading import read
from lowtide.errors import InputError, ModelError, WriteError
from lowtide.weights import allennlp, native
from lowtide.weights.conversion import WRITERS, convert


def datasets(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[...].tobytes()} if hasattr(item, "dtype") else {}))
    return found


def test_a_model_of_ours_keeps_every_byte_through_the_published_pair_and_back(
    saved_bytes: tiny.Saved, tmp_path: Path
) -> None:
    convert(read(saved_bytes.folder), tmp_path / "pair", to="hdf5")
    convert(read(tmp_path / "pair"), tmp_path / "ours", to="lowtide")
    convert(read(tmp_path / "ours"), tmp_path / "again", to="hdf5")
    assert datasets(tmp_path / "pair" / allennlp.WEIGHTS) == datasets(tmp_path / "again" / allennlp.WEIGHTS)
    before, after = saved_bytes.bilm.state_dict(), read(tmp_path / "ours").bilm.state_dict()
    no_token = "token_network.char_embedding.weight"
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items() if name != no_token)
    assert torch.equal(after[no_token][1:], before[no_token][1:])


def test_a_model_gives_the_same_vectors_and_checksum_in_every_format(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    convert(read(saved_bytes.folder), tmp_path / "pair", to="hdf5")
    one, other = load(saved_bytes.folder, device="cpu"), load(tmp_path / "pair", device="cpu")
    assert one.checksum == other.checksum
    sentence = ["the", "潮水", "unseen"]
    assert np.array_equal(one.embed_layers([sentence])[0], other.embed_layers([sentence])[0])


def test_the_softmax_goes_into_a_folder_of_ours(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    convert(read(saved_bytes.folder), tmp_path / "copy")
    [one], [other] = (
        load(f, device="cpu").language_model().guesses(["the tide"]) for f in (saved_bytes.folder, tmp_path / "copy")
    )
    assert one == other


def test_what_a_pair_has_no_place_for_is_said(
    saved_bytes: tiny.Saved, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lowtide"):
        convert(read(saved_bytes.folder), tmp_path / "pair", to="hdf5")
    assert "the softmax" in caplog.text


def test_a_pair_adds_no_more_bias_than_its_readers_will(tmp_path: Path) -> None:
    from lowtide.model import BiLM
    from lowtide.text.tokenize import make_tokenizer
    from lowtide.weights.stored import FORMAT_VERSION, ModelConfig, StoredModel

    network = tiny.bilm(tiny.VARIANTS["forget bias in the file"])
    assert isinstance(network, BiLM)
    tokenizer = make_tokenizer("words", language="en").config
    config = ModelConfig(FORMAT_VERSION, "elmo", tokenizer, "elmo", network.config)
    convert(StoredModel(tmp_path, "test", config, network), tmp_path / "pair", to="hdf5")
    written = datasets(tmp_path / "pair" / allennlp.WEIGHTS)["RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell/B"]
    cell = network.config.lstm.cell_width
    ours = network.state_dict()["forward_lstm.layers.0.bias"].numpy()
    np.testing.assert_allclose(
        np.frombuffer(written, np.float32)[2 * cell : 3 * cell] + 1, ours[cell : 2 * cell], atol=1e-6
    )


def test_a_model_of_words_is_written_with_its_words(saved_symbols: tiny.Saved, tmp_path: Path) -> None:
    convert(read(saved_symbols.folder), tmp_path / "pair", to="hdf5")
    assert "char_cnn" not in json.loads((tmp_path / "pair" / allennlp.OPTIONS).read_text(encoding="utf-8"))
    one, other = load(saved_symbols.folder, device="cpu"), load(tmp_path / "pair", device="cpu")
    assert np.array_equal(one.embed([["A", "H", "Z"]])[0], other.embed([["A", "H", "Z"]])[0])


def test_a_folder_that_holds_something_is_left_alone(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="not empty"):
        convert(read(saved_bytes.folder), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_format_is_refused_with_the_known_ones(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown format 'hdf'\. Did you mean 'hdf5'"):
        convert(read(saved_bytes.folder), tmp_path / "x", to="hdf")
    assert set(WRITERS) == {"lowtide", "hdf5"}


def test_a_conversion_that_fails_leaves_nothing(
    saved_bytes: tiny.Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(native, "save_tensors", refuse)
    with pytest.raises(WriteError, match="No space left"):
        convert(read(saved_bytes.folder), tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_letters_cannot_be_a_pair(tmp_path: Path, saved_bytes: tiny.Saved) -> None:
    import dataclasses

    stored = dataclasses.replace(read(saved_bytes.folder), letters=["a"])
    with pytest.raises(ModelError, match="cannot be written as published hdf5"):
        convert(stored, tmp_path / "pair", to="hdf5")
    assert not (tmp_path / "pair").exists()


def test_a_folder_in_float16_leaves_the_calibration_of_the_other_model_out(
    saved_bytes: tiny.Saved, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "source"
    convert(read(saved_bytes.folder), source)
    elmo = load(source, device="cpu")
    elmo.calibrate([["the", "tide", "goes", "out"]] * 50)
    with caplog.at_level(logging.INFO, "lowtide"):
        convert(read(source), tmp_path / "half", store="float16")
    assert "Fit it with" in caplog.text
    half = load(tmp_path / "half", device="cpu")
    assert half.calibration is None and half.checksum != elmo.checksum
    one, other = (model.embed("the tide") for model in (elmo, half))
    np.testing.assert_allclose(one, other, atol=5e-3)


def test_the_published_pair_has_no_float16(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds float32"):
        convert(read(saved_bytes.folder), tmp_path / "pair", to="hdf5", store="float16")
    assert not (tmp_path / "pair").exists()


def test_what_float16_cannot_hold_is_refused_and_nothing_is_written(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    stored = read(saved_bytes.folder)
    with torch.no_grad():
        next(iter(stored.bilm.parameters())).view(-1)[0] = 1e5
    with pytest.raises(ModelError, match="up to 100000, float16 ends at 65504"):
        convert(stored, tmp_path / "half", store="float16")
    assert not (tmp_path / "half").exists()
