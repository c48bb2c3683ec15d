from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import lowtide
import tiny
from command import Command
from lowtide.embeddings import Elmo
from lowtide.embeddings.base import Vectors
from lowtide.embeddings.calibrating import fit_to
from lowtide.embeddings.calibration import MAX_TOKENS, Calibration, fit
from lowtide.embeddings.layers import calibrated_first, choose_layers
from lowtide.embeddings.loading import read
from lowtide.errors import InputError, MissingPathError, ModelError, ShapeError
from lowtide.evaluation.inspection import inspect
from lowtide.model import LayerMix, States
from lowtide.weights.conversion import convert
from lowtide.weights.native import CALIBRATION
from scenario import pretrain_mini, write_corpus

Array = NDArray[np.float64]


def cloud(num_tokens: int = 3000, width: int = 24, *, seed: int = 0, offset: float = 8.0) -> Vectors:
    """(layers, tokens, width): vectors that all point the same way, as those of contextual embeddings do."""
    draw = np.random.default_rng(seed)
    shape = (3, num_tokens, width)
    scales = draw.uniform(0.2, 3.0, size=(3, 1, width))
    common = draw.normal(size=(3, num_tokens, 1)) * draw.normal(size=(3, 1, width)) * 2
    centre = offset * draw.normal(size=(3, 1, width))
    array: Vectors = (draw.normal(size=shape) * scales + common + centre).astype(np.float32)
    return array


def states_of(vectors: Vectors) -> States:
    """One row of tokens."""
    return States(torch.from_numpy(vectors[:, None]), torch.ones(1, vectors.shape[1], dtype=torch.bool))


def applied(calibration: Calibration, vectors: Vectors) -> Array:
    array: Array = calibration.apply(states_of(vectors)).layers[:, 0].double().numpy()
    return array


def by_the_book(vectors: Vectors, num_removed: int) -> tuple[Array, Array]:
    """The formula in two passes and float64: the calibrated vectors, and the components."""
    layers, removed = [], []
    for layer in vectors.astype(np.float64):
        standard = (layer - layer.mean(axis=0)) / layer.std(axis=0)
        directions = np.linalg.svd(standard, full_matrices=False)[2][:num_removed]
        layers.append(standard - standard @ directions.T @ directions)
        removed.append(directions)
    return np.stack(layers), np.stack(removed)


def mean_cosine(vectors: Array) -> float:
    """Of all pairs of different tokens, one by one."""
    units = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    cosines = units @ units.T
    return float(cosines[~np.eye(len(cosines), dtype=bool)].mean())


# -- the formula -----------------------------------------------------------------------------------


@pytest.mark.parametrize("num_removed", [0, 1, 3])
def test_calibrated_vectors_are_those_of_the_formula(num_removed: int) -> None:
    vectors = cloud()
    expected, _ = by_the_book(vectors, num_removed)
    found = applied(fit([vectors], model_checksum="", num_removed=num_removed), vectors)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_every_layer_of_the_fitted_tokens_has_mean_0_and_nothing_along_its_components() -> None:
    vectors = cloud()
    calibration = fit([vectors], model_checksum="", num_removed=2)
    found = applied(calibration, vectors)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.einsum("ltw,lcw->ltc", found, calibration.components), 0, atol=1e-4)


def test_outside_of_the_components_the_spread_is_what_standardising_made_it() -> None:
    vectors = cloud()
    calibration = fit([vectors], model_checksum="", num_removed=2)
    standard = applied(fit([vectors], model_checksum="", num_removed=0), vectors)
    np.testing.assert_allclose(standard.std(axis=1), 1, atol=1e-5)
    for layer, directions in enumerate(calibration.components):
        rest = np.linalg.svd(directions.astype(np.float64))[2][2:]  # a basis of what is orthogonal to them
        found = applied(calibration, vectors)[layer]
        np.testing.assert_allclose(found @ rest.T, standard[layer] @ rest.T, atol=1e-4)


def test_the_components_are_the_first_ones_and_tell_what_they_explain() -> None:
    vectors = cloud()
    calibration = fit([vectors], model_checksum="", num_removed=3)
    _, expected = by_the_book(vectors, 3)
    cosines = np.abs(np.einsum("lcw,lcw->lc", calibration.components, expected))
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    standard = (vectors - calibration.mean[:, None]) / calibration.spread[:, None]
    along = np.einsum("ltw,lcw->ltc", standard, calibration.components)
    shares = (along**2).mean(axis=1) / vectors.shape[-1]
    np.testing.assert_allclose(calibration.explained, shares, atol=1e-5)
    assert (np.diff(calibration.explained) <= 0).all()


def test_random_tokens_of_an_anisotropic_cloud_have_a_cosine_of_about_0_afterwards() -> None:
    vectors = cloud(1000)
    calibration = fit([vectors], model_checksum="")
    before = [mean_cosine(layer) for layer in vectors.astype(np.float64)]
    after = [mean_cosine(layer) for layer in applied(calibration, vectors)]
    assert min(before) > 0.7
    np.testing.assert_allclose(after, 0, atol=0.01)
    np.testing.assert_allclose(calibration.cosine_before, before, atol=1e-5)
    np.testing.assert_allclose(calibration.cosine_after, after, atol=1e-5)


# -- fitting ---------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5000), max_size=12))
@settings(deadline=None, max_examples=30)
def test_however_a_text_is_cut_its_calibration_is_the_same(cuts: list[int]) -> None:
    vectors = cloud(5000, 12)
    pieces = [vectors[:, a:b] for a, b in itertools.pairwise([0, *sorted(cuts), 5000])]
    one, other = (fit(stream, model_checksum="", num_removed=2) for stream in ([vectors], pieces))
    assert one.num_tokens == other.num_tokens == 5000
    for name in ("mean", "spread", "components", "explained", "cosine_before", "cosine_after"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-5)


def test_no_more_is_read_than_was_wanted() -> None:
    vectors = cloud(900)
    read: list[int] = []

    def stream() -> Iterator[Vectors]:
        for start in range(0, 900, 100):
            read.append(start)
            yield vectors[:, start : start + 100]

    calibration = fit(stream(), model_checksum="", max_tokens=250)
    assert (calibration.num_tokens, read) == (250, [0, 100, 200])
    np.testing.assert_array_equal(calibration.mean, fit([vectors[:, :250]], model_checksum="").mean)


@pytest.mark.parametrize("num_tokens", [0, 1, 99])
def test_too_few_tokens_are_refused(num_tokens: int) -> None:
    with pytest.raises(InputError, match=f"at least 100 tokens of text, found {num_tokens}"):
        fit([cloud()[:, :num_tokens]], model_checksum="")


def test_a_hundredth_of_the_width_of_components_is_kept_and_none_of_them_taken_off_unless_it_is_asked_for() -> None:
    calibration = fit([cloud(500, 300)], model_checksum="")
    assert (calibration.components.shape, calibration.num_removed) == ((3, 3, 300), 0)
    taken = dataclasses.replace(calibration, num_removed=2)
    assert taken.checksum != calibration.checksum
    np.testing.assert_allclose(applied(taken, cloud(500, 300)), by_the_book(cloud(500, 300), 2)[0], atol=1e-4)


@pytest.mark.parametrize("num_removed", [-1, 24])
def test_components_that_would_leave_nothing_are_refused(num_removed: int) -> None:
    with pytest.raises(InputError, match="expected 0 to 23"):
        fit([cloud()], model_checksum="", num_removed=num_removed)


def test_fewer_tokens_than_dimensions_are_enough() -> None:
    vectors = cloud(120, 300)
    found = applied(fit([vectors], model_checksum="", num_removed=3), vectors)
    np.testing.assert_allclose(found, by_the_book(vectors, 3)[0], atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.3e4])
def test_a_dimension_that_does_not_vary_comes_out_as_0(value: float) -> None:
    vectors = cloud()
    vectors[:, :, 5] = value
    calibration = fit([vectors], model_checksum="")
    assert (calibration.spread[:, 5] == 0).all()
    elsewhere = cloud(seed=1)
    assert np.isfinite(applied(calibration, elsewhere)).all()
    assert np.abs(applied(calibration, elsewhere)[:, :, 5]).max() < 1e-3


def test_tokens_that_are_all_the_same_come_out_as_0() -> None:
    vectors = np.repeat(cloud(1), 200, axis=1)
    assert (applied(fit([vectors], model_checksum=""), vectors) == 0).all()


# -- what is made of the layers --------------------------------------------------------------------


def masked_states() -> States:
    """Two rows between boundaries, the second shorter: boundaries have vectors and no mask."""
    layers = torch.from_numpy(cloud(14, 24, seed=3)).reshape(3, 2, 7, 24).clone()
    layers[:, 1, 5:] = 0
    mask = torch.zeros(2, 7, dtype=torch.bool)
    mask[0, 1:6] = mask[1, 1:4] = True
    return States(layers, mask)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return fit([cloud()], model_checksum="", num_removed=2)


def test_what_is_no_token_stays_zero(calibration: Calibration) -> None:
    found = calibration.apply(masked_states()).layers
    assert (found[:, 1, 5:] == 0).all()
    assert (found[:, 0] != 0).all() and (found[:, 1, :5] != 0).all()


def test_a_token_whose_vector_is_zero_is_calibrated_as_any_other(calibration: Calibration) -> None:
    states = states_of(np.zeros((3, 1, 24), dtype=np.float32))
    assert (calibration.apply(states).layers != 0).any()


@pytest.mark.parametrize("choice", ["mix", "all", "top", "average", "sum", 0, 1, 2], ids=str)
def test_layers_are_calibrated_before_anything_is_made_of_them(choice: str | int, calibration: Calibration) -> None:
    states, reduction = masked_states(), choose_layers(choice, 3)
    found = calibrated_first(choice, reduction, calibration)(states)
    torch.testing.assert_close(found, reduction(calibration.apply(states)))


def test_a_learned_mix_mixes_calibrated_layers(calibration: Calibration) -> None:
    mix = LayerMix(3)
    with torch.no_grad():
        mix.layer_scalars.copy_(torch.tensor([0.0, 1.0, 2.0]))
    states = masked_states()
    found = calibrated_first("mix", choose_layers("mix", 3, mix), calibration)(states)
    torch.testing.assert_close(found, mix(calibration.apply(states).layers, states.mask))


def test_a_calibrated_context_still_knows_nothing_of_its_token(copied_bytes: Path, text: Path) -> None:
    elmo = Elmo.open(copied_bytes, device="cpu")
    elmo.calibrate(text, num_removed=2)
    one, other = elmo.embed([["the", "tide", "sat"], ["the", "bank", "sat"]], layers="context", calibrated=True)
    np.testing.assert_allclose(one[1], other[1], atol=1e-6)
    assert np.abs(one[0] - other[0]).max() > 1e-3


def test_states_of_another_model_are_refused(calibration: Calibration) -> None:
    with pytest.raises(ShapeError, match="found 2 layers of width 24, this calibration is of 3 of width 24"):
        calibration.apply(states_of(cloud(5)[:2]))


def test_half_precision_is_calibrated_in_float32(calibration: Calibration) -> None:
    states = masked_states()
    half = States(states.layers.bfloat16(), states.mask)
    assert calibration.apply(half).layers.dtype == torch.float32


# -- with a model ----------------------------------------------------------------------------------

_TEXT = "the tide goes out .\nthe bank sat\n\nunseen words 潮水 退了\n" * 30


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(_TEXT, encoding="utf-8")
    return path


@pytest.fixture
def calibrated_bytes(copied_bytes: Path, text: Path) -> Path:
    Elmo.open(copied_bytes, device="cpu").calibrate(text)
    return copied_bytes


def test_a_calibration_is_stored_with_the_model_and_gives_the_same_vectors(copied_bytes: Path, text: Path) -> None:
    elmo = Elmo.open(copied_bytes, device="cpu")
    fitted = elmo.calibrate(text)
    now = elmo.embed_layers("the tide", calibrated=True)
    later = lowtide.load(copied_bytes, device="cpu").embed_layers("the tide", calibrated=True)
    np.testing.assert_array_equal(now, later)
    [raw] = elmo.embed_layers([["the", "tide"]])
    np.testing.assert_allclose(now, applied(fitted, raw), atol=1e-5)


def test_nothing_is_calibrated_unless_it_is_asked_for(calibrated_bytes: Path, elmo: Elmo) -> None:
    np.testing.assert_array_equal(Elmo.open(calibrated_bytes, device="cpu").embed("the tide"), elmo.embed("the tide"))


def test_every_way_to_embed_gives_the_same_calibrated_vectors(calibrated_bytes: Path, tmp_path: Path) -> None:
    elmo = Elmo.open(calibrated_bytes, device="cpu")
    expected = elmo.embed_layers(["the tide goes"], calibrated=True)[0].mean(axis=0)
    [embedded] = elmo.embed_iter(["the tide goes"], calibrated=True)
    [[of_document]] = elmo.embed_documents([["the tide goes"]], calibrated=True)
    (tmp_path / "in.txt").write_text("the tide goes\n", encoding="utf-8")
    elmo.embed_to(tmp_path / "in.txt", tmp_path / "v.npz", calibrated=True)
    with np.load(tmp_path / "v.npz") as file:
        of_file = file["0"]
    for found in (embedded, of_document, of_file, elmo.embed("the tide goes", calibrated=True)):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(elmo.embed_word("the [tide] goes", calibrated=True), expected[1], atol=1e-5)
    np.testing.assert_allclose(elmo.encode("the tide goes", calibrated=True), expected.mean(axis=0), atol=1e-5)


def test_a_calibrated_sentence_is_the_same_alone_and_in_a_batch(calibrated_bytes: Path) -> None:
    elmo = Elmo.open(calibrated_bytes, device="cpu")
    sentences = [["the"] * n for n in (1, 9, 4)]
    for together, sentence in zip(elmo.embed(sentences, calibrated=True), sentences, strict=True):
        np.testing.assert_allclose(together, elmo.embed([sentence], calibrated=True)[0], atol=1e-5)


def test_a_model_without_a_calibration_names_the_command_that_makes_one(copied_bytes: Path) -> None:
    with pytest.raises(ModelError, match=r"no calibration: fit one with `lowtide embed .* TEXT --calibrate`"):
        Elmo.open(copied_bytes, device="cpu").embed("the tide", calibrated=True)


def test_a_calibration_of_another_model_is_refused(copied_bytes: Path, text: Path, tmp_path: Path) -> None:
    other = tiny.save(tmp_path / "other", seed=5).folder
    Elmo.open(other, device="cpu").calibrate(text)
    shutil.copyfile(other / CALIBRATION, copied_bytes / CALIBRATION)
    elmo = Elmo.open(copied_bytes, device="cpu")
    with pytest.raises(ModelError, match="fitted to another model, or with another tokenizer: fit one with"):
        elmo.embed("the tide", calibrated=True)
    assert elmo.embed("the tide").shape == (2, elmo.width)


def test_a_model_in_another_format_is_to_be_converted_first(
    saved_bytes: tiny.Saved, text: Path, tmp_path: Path
) -> None:
    convert(read(saved_bytes.folder), tmp_path / "pair", to="hdf5")
    with pytest.raises(ModelError, match=r"no place for a calibration: first `lowtide convert .* FOLDER`"):
        lowtide.load(tmp_path / "pair", device="cpu").calibrate(text)


def test_a_conversion_to_a_folder_of_ours_keeps_the_calibration(calibrated_bytes: Path, tmp_path: Path) -> None:
    convert(read(calibrated_bytes), tmp_path / "copy")
    one, other = (
        lowtide.load(f, device="cpu").embed("the tide", calibrated=True) for f in (calibrated_bytes, tmp_path / "copy")
    )
    np.testing.assert_array_equal(one, other)


def test_a_published_pair_has_no_place_for_it_and_that_is_said(
    calibrated_bytes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lowtide"):
        convert(read(calibrated_bytes), tmp_path / "pair", to="hdf5")
    assert "left out    the calibration" in caplog.text


def test_a_text_too_long_for_all_of_it_is_sampled_from_end_to_end(
    copied_bytes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "long.txt").write_text("the tide\n" * 3000 + "bank river\n" * 3000, encoding="utf-8")
    monkeypatch.setattr("lowtide.embeddings.calibrating.MAX_TOKENS", 1000)
    elmo = Elmo.open(copied_bytes, device="cpu")
    found = elmo.calibrate(tmp_path / "long.txt")
    assert 500 < found.num_tokens <= 1000 < MAX_TOKENS
    expected = np.concatenate([*elmo.embed_layers([["the", "tide"], ["bank", "river"]])], axis=1).mean(axis=1)
    np.testing.assert_allclose(found.mean, expected, atol=0.02)


# -- the file --------------------------------------------------------------------------------------


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path, calibration: Calibration) -> None:
    calibration.save(tmp_path / "c")
    found = Calibration.load(tmp_path / "c", num_layers=3, width=24)
    for field in dataclasses.fields(Calibration):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(calibration, field.name))


def test_the_same_calibration_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        fit([cloud()], model_checksum="c").save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_calibration_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match="is not there"):
        Calibration.load(tmp_path / "c", num_layers=3, width=24)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"{}"])
def test_a_damaged_file_is_an_error_of_ours(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(ModelError, match="is it damaged"):
        Calibration.load(tmp_path / "c", num_layers=3, width=24)


def test_a_file_that_ends_early_is_an_error_of_ours(tmp_path: Path, calibration: Calibration) -> None:
    calibration.save(tmp_path / "c")
    content = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="is it damaged"):
        Calibration.load(tmp_path / "c", num_layers=3, width=24)


@pytest.mark.parametrize(("num_layers", "width"), [(2, 24), (3, 23)])
def test_a_file_of_other_shapes_is_refused(
    num_layers: int, width: int, tmp_path: Path, calibration: Calibration
) -> None:
    calibration.save(tmp_path / "c")
    with pytest.raises(ModelError, match="expected"):
        Calibration.load(tmp_path / "c", num_layers=num_layers, width=width)


def test_numbers_that_are_none_are_refused(tmp_path: Path, calibration: Calibration) -> None:
    spoilt = dataclasses.replace(calibration, mean=calibration.mean * np.float32("nan"))
    spoilt.save(tmp_path / "c")
    with pytest.raises(ModelError, match="mean"):
        Calibration.load(tmp_path / "c", num_layers=3, width=24)


def test_a_newer_format_is_refused(tmp_path: Path, calibration: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("lowtide.embeddings.calibration.FORMAT_VERSION", 2)
        calibration.save(tmp_path / "c")
    with pytest.raises(ModelError, match="format_version 2, this lowtide reads 1"):
        Calibration.load(tmp_path / "c", num_layers=3, width=24)


# -- pretraining -----------------------------------------------------------------------------------


def test_pretraining_ends_with_a_calibration_of_its_text(tmp_path: Path, mini_preset: None) -> None:
    corpus = write_corpus(tmp_path / "corpus.txt")
    elmo = pretrain_mini(corpus, tmp_path / "m", tokens=500)
    assert elmo.calibration is not None and elmo.calibration.num_tokens > 2000
    assert elmo.embed("the tide", calibrated=True).shape == (2, elmo.width)
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert f"| calibration | fitted to {elmo.calibration.num_tokens:,} tokens; mean cosine" in card


@pytest.mark.parametrize("documents", [False, True])
def test_the_calibration_of_a_pretraining_never_sees_what_is_held_out(
    documents: bool, tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def look(elmo: Elmo, given: Sequence[Sequence[list[str]]], *, max_tokens: int) -> Calibration:
        seen.extend(sentence for document in given for sentence in document)
        return fit_to(elmo, given, max_tokens=max_tokens)

    monkeypatch.setattr("lowtide.training.finishing.fit_to", look)
    corpus = write_corpus(tmp_path / "corpus.txt")
    lowtide.pretrain([corpus], out=tmp_path / "m", preset="tiny", tokens=500, documents=documents, threads=1)
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert f"| trained on | {sum(map(len, seen)):,} tokens;" in card


def test_a_text_of_a_few_words_gets_no_calibration(tmp_path: Path, mini_preset: None) -> None:
    (tmp_path / "corpus.txt").write_text("the tide goes out\n", encoding="utf-8")
    elmo = lowtide.pretrain([tmp_path / "corpus.txt"], out=tmp_path / "m", preset="tiny", epochs=3)
    assert elmo.calibration is None
    assert "| calibration | none: too little text |" in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")


# -- the command line ------------------------------------------------------------------------------


def test_embed_calibrates_and_then_embeds_calibrated(
    run: Command, copied_bytes: Path, text: Path, tmp_path: Path
) -> None:
    ran = run("embed", copied_bytes, text, "--calibrate")
    assert ran.code == 0, ran.err
    assert "calibrated by" in ran.err and (copied_bytes / CALIBRATION).is_file()
    assert run("embed", copied_bytes, text, "--out", tmp_path / "v.npz", "--calibrated", "--layers", "1").code == 0
    [expected] = lowtide.load(copied_bytes, device="cpu").embed(["the tide goes out ."], layers=1, calibrated=True)
    with np.load(tmp_path / "v.npz") as file:
        np.testing.assert_allclose(file["0"], expected, atol=1e-5)


def test_compare_calibrated_says_so_and_shows_other_cosines(run: Command, calibrated_bytes: Path) -> None:
    sentences = ["the [tide] goes", "the [bank] sat"]
    ran = run("compare", calibrated_bytes, *sentences, "--calibrated")
    assert "every layer is calibrated" in ran.out
    raw, calibrated = (
        json.loads(run("compare", calibrated_bytes, *sentences, "--json", *more).out) for more in ([], ["--calibrated"])
    )
    assert raw["layer 1"] != calibrated["layer 1"] and raw["one-hot"] == calibrated["one-hot"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "{model}", "{text}"], "--out FILE"),
        (["embed", "{model}", "{text}", "--calibrate", "--calibrated"], "--out FILE"),
        (["embed", "{model}", "-", "--calibrate", "--out", "v.npz"], "only once"),
        (["embed", "{model}", "{text}", "--calibrated", "--out", "v.npz"], "has no calibration"),
        (["compare", "{model}", "the [tide]", "a [tide]", "--calibrated"], "has no calibration"),
    ],
)
def test_a_mistake_is_answered_in_a_line(
    arguments: list[str], message: str, run: Command, copied_bytes: Path, text: Path
) -> None:
    ran = run(*(argument.format(model=copied_bytes, text=text) for argument in arguments))
    assert ran.code == 2 and message in ran.err


def test_inspect_tells_the_calibration(run: Command, calibrated_bytes: Path) -> None:
    found = json.loads(run("inspect", calibrated_bytes, "--json").out)["calibration"]
    assert found["num_tokens"] == 30 * 12 and len(found["cosine_before"]) == 3
    assert "calibration 360 tokens" in run("inspect", calibrated_bytes).out


def test_inspect_tells_what_is_wrong_with_a_calibration(copied_bytes: Path) -> None:
    assert "calibration none" in "\n".join(inspect(Elmo.open(copied_bytes, device="cpu")).lines())
    shutil.copyfile(copied_bytes / "model.safetensors", copied_bytes / CALIBRATION)
    lines = inspect(Elmo.open(copied_bytes, device="cpu")).lines()
    assert any(line.startswith("calibration cannot be used") and "damaged" in line for line in lines)
