"""From a path to a model: what lies there decides, and where it does not, nothing is guessed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import published
import tiny
from lowtide.embeddings import Elmo, load
from lowtide.errors import InputError, LowtideError, MissingPathError, ModelError
from lowtide.weights import native
from lowtide.weights.reading import open_source, recognise
from published import WORDS, opened, write_checkpoint, write_pair

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "allennlp"


def refusal(path: Path | str, **files: Path | str) -> str:
    with pytest.raises(LowtideError) as error:
        load(path, device="cpu", **files)  # type: ignore[call-overload]  # whatever a test hands in
    return str(error.value)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, int]:
    """Which model it is, by its checksum: the pairs that `write_seed` writes, and our own folder (-1)."""
    folder = tmp_path_factory.mktemp("seeds")
    return {opened(write_seed(folder / str(seed), seed)).checksum: seed for seed in (1, 2, 3)}


def write_seed(folder: Path, seed: int, stem: str = "") -> Path:
    """Write one of several models."""
    return write_pair(folder, published.published(seed=seed), stem=stem)


# -- a pair --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Path, str])
@pytest.mark.parametrize("name", ["", "options.json", "weights.hdf5"])
def test_a_pair_is_found_by_its_folder_and_by_either_file(
    name: str, kind: type[Path] | type[str], tmp_path: Path, seeds: Mapping[str, int]
) -> None:
    elmo = load(kind(write_seed(tmp_path, 1) / name), device="cpu")
    assert isinstance(elmo, Elmo) and seeds[elmo.checksum] == 1


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ("options.json", "model.hdf5"),
        ("options.json", "lm_weights.hdf5"),
        ("elmo_options.json", "elmo.h5"),
        ("Options.json", "WEIGHTS.HDF5"),
        ("options_5.5B.json", "weights.hdf5"),
    ],
)
def test_files_are_known_by_what_they_are_called(
    options: str, weights: str, tmp_path: Path, seeds: Mapping[str, int]
) -> None:
    write_seed(tmp_path, 1)
    (tmp_path / "options.json").rename(tmp_path / options)
    (tmp_path / "weights.hdf5").rename(tmp_path / weights)
    for path in (tmp_path, tmp_path / options, tmp_path / weights):
        assert seeds[opened(path).checksum] == 1


@pytest.mark.parametrize("name", ["options.json", "elmo.json", "config", "settings.txt"])
def test_options_and_weights_may_lie_anywhere(name: str, tmp_path: Path, seeds: Mapping[str, int]) -> None:
    write_seed(tmp_path / "a", 1)
    write_seed(tmp_path / "b", 2)
    options = (tmp_path / "a" / "options.json").rename(tmp_path / "a" / name)
    weights = (tmp_path / "b" / "weights.hdf5").rename(tmp_path / "b" / "2.hdf5")
    assert seeds[opened(options, weights=weights).checksum] == 2


def test_options_in_the_folder_where_one_stands_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: Mapping[str, int]
) -> None:
    monkeypatch.chdir(write_seed(tmp_path, 1))
    for path in ("options.json", "weights.hdf5", "."):
        assert seeds[opened(Path(path)).checksum] == 1


def test_a_link_to_a_file_is_that_file(tmp_path: Path, seeds: Mapping[str, int]) -> None:
    write_seed(tmp_path / "blobs", 1)
    (tmp_path / "snapshot").mkdir()
    for name in ("options.json", "weights.hdf5"):
        try:
            (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name)
        except OSError:
            pytest.skip("this system lets nobody make links")
    assert seeds[opened(tmp_path / "snapshot").checksum] == 1


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three pairs in one folder, as people collect them."""
    for seed, stem in ((1, "elmo_2x1024_128_2048cnn_1xhighway_"), (2, "elmo_2x4096_512_"), (3, "")):
        write_seed(tmp_path, seed, stem)
    return tmp_path


@pytest.mark.parametrize(
    ("stem", "seed"), [("elmo_2x1024_128_2048cnn_1xhighway_", 1), ("elmo_2x4096_512_", 2), ("", 3)]
)
def test_of_several_pairs_one_is_found_by_either_file(
    stem: str, seed: int, pairs: Path, seeds: Mapping[str, int]
) -> None:
    assert seeds[opened(pairs / f"{stem}options.json").checksum] == seed
    assert seeds[opened(pairs / f"{stem}weights.hdf5").checksum] == seed


def test_several_pairs_are_listed(pairs: Path) -> None:
    said = refusal(pairs)
    for name in ("elmo_2x1024_128_2048cnn_1xhighway_options.json", "elmo_2x4096_512_options.json", "options.json"):
        assert name in said


def test_weights_without_options_of_their_own_are_not_given_others(pairs: Path) -> None:
    (pairs / "options.json").unlink()
    assert "elmo_2x4096_512_options.json" in refusal(pairs / "weights.hdf5")


def test_options_without_weights_of_their_own_are_not_given_others(pairs: Path) -> None:
    (pairs / "weights.hdf5").unlink()
    assert "elmo_2x4096_512_weights.hdf5" in refusal(pairs / "options.json")


def test_weights_of_which_there_are_several_for_one_options_file_may_be_named(
    tmp_path: Path, seeds: Mapping[str, int]
) -> None:
    write_seed(tmp_path, 1)
    (tmp_path / "weights.hdf5").rename(tmp_path / "elmo_weights_PubMed_only.hdf5")
    write_seed(tmp_path, 2)
    assert seeds[opened(tmp_path / "elmo_weights_PubMed_only.hdf5").checksum] == 1
    assert seeds[opened(tmp_path / "weights.hdf5").checksum] == 2


# -- what lies beside ----------------------------------------------------------------------------


def test_a_token_cache_and_vectors_do_not_make_a_folder_ambiguous(tmp_path: Path, seeds: Mapping[str, int]) -> None:
    write_seed(tmp_path, 1)
    published.write_cache(tmp_path / "elmo_token_embeddings.hdf5", np.ones((9, 5), np.float32))
    with h5py.File(tmp_path / "lm_embeddings_0.hdf5", "w") as file:
        file["0"] = np.ones((2, 4, 5), np.float32)
    published.write_words(tmp_path / "vocab_test.txt", WORDS)
    (tmp_path / "sentences.json").write_text("[]", encoding="utf-8")
    for path in (tmp_path, tmp_path / "options.json", tmp_path / "weights.hdf5"):
        assert seeds[opened(path).checksum] == 1


@pytest.mark.shared
@pytest.mark.skipif(not FIXTURE.is_dir(), reason="the public fixture is not here")
@pytest.mark.parametrize("name", ["", "options.json", "lm_weights.hdf5"])
def test_the_public_folder_is_read(name: str) -> None:
    elmo = opened(FIXTURE / name)
    assert elmo.num_layers == 3 and elmo.width == 32


def test_a_damaged_file_beside_a_model_is_no_reason_for_another_error(tmp_path: Path) -> None:
    write_seed(tmp_path, 1)
    (tmp_path / "vectors.h5").write_bytes(b"half")
    try:
        opened(tmp_path)
    except ModelError as error:
        assert "vectors.h5" in str(error)
    opened(tmp_path / "weights.hdf5")


def test_folders_in_a_folder_are_not_looked_into(tmp_path: Path, seeds: Mapping[str, int]) -> None:
    write_seed(tmp_path, 1)
    write_seed(tmp_path / "old.hdf5", 2)
    assert seeds[opened(tmp_path).checksum] == 1


# -- more than one model -------------------------------------------------------------------------


def test_a_checkpoint_beside_an_hdf5_is_ambiguous_and_either_may_be_named(
    tmp_path: Path, seeds: Mapping[str, int]
) -> None:
    write_checkpoint(tmp_path, published.published(seed=2))
    write_seed(tmp_path, 1)
    said = refusal(tmp_path)
    assert "weights.hdf5" in said and "model.ckpt-935588.index" in said
    assert seeds[opened(tmp_path / "weights.hdf5").checksum] == 1
    assert seeds[opened(tmp_path / "options.json", weights=tmp_path / "weights.hdf5").checksum] == 1
    for ending in ("", ".index"):
        assert seeds[opened(tmp_path / f"model.ckpt-935588{ending}").checksum] == 2


def test_a_pair_beside_our_files_is_ambiguous_and_either_may_be_named(
    copied_bytes: Path, saved_bytes: tiny.Saved, seeds: Mapping[str, int]
) -> None:
    ours = opened(copied_bytes).checksum
    write_seed(copied_bytes, 1)
    said = refusal(copied_bytes)
    assert native.MODEL in said and "weights.hdf5" in said
    for name in ("weights.hdf5", "options.json"):
        assert seeds[opened(copied_bytes / name).checksum] == 1
    for name in (native.MODEL, native.CONFIG):
        assert opened(copied_bytes / name).checksum == ours


def test_a_pair_beside_our_files_may_be_named_by_both(copied_bytes: Path, seeds: Mapping[str, int]) -> None:
    write_seed(copied_bytes, 1)
    elmo = opened(copied_bytes / "options.json", weights=copied_bytes / "weights.hdf5")
    assert seeds[elmo.checksum] == 1


def test_a_checkpoint_beside_our_files_is_ambiguous_and_either_may_be_named(
    copied_bytes: Path, seeds: Mapping[str, int]
) -> None:
    ours = opened(copied_bytes).checksum
    write_checkpoint(copied_bytes, published.published(seed=2))
    (copied_bytes / "vocab-2016-09-10.txt").unlink()
    said = refusal(copied_bytes)
    assert native.MODEL in said and "model.ckpt-935588.index" in said
    assert opened(copied_bytes / native.CONFIG).checksum == ours


@pytest.mark.parametrize("name", ["vectors.h5", "vectors.hdf5"])
def test_vectors_in_our_own_folder_do_no_harm(name: str, copied_bytes: Path) -> None:
    with h5py.File(copied_bytes / name, "w") as file:
        file["0"] = np.ones((2, 4, 5), np.float32)
    opened(copied_bytes)


def test_a_config_json_of_something_else_beside_a_pair_is_listed(tmp_path: Path, seeds: Mapping[str, int]) -> None:
    write_seed(tmp_path, 1)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    try:
        assert seeds[opened(tmp_path).checksum] == 1
    except ModelError as error:
        assert "config.json" in str(error)
    assert seeds[opened(tmp_path / "weights.hdf5").checksum] == 1
    assert seeds[opened(tmp_path / "options.json").checksum] == 1


# -- no model ------------------------------------------------------------------------------------


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    assert f"{tmp_path} is no model" in refusal(tmp_path)


def test_a_folder_of_something_else_lists_what_lies_there(tmp_path: Path) -> None:
    for name in ("a.txt", "pytorch_model.bin"):
        (tmp_path / name).write_bytes(b"")
    said = refusal(tmp_path)
    assert "a.txt" in said and "pytorch_model.bin" in said


def test_a_folder_of_very_many_files_is_told_in_one_line(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:03d}.txt").write_bytes(b"")
    assert len(refusal(tmp_path)) < len(str(tmp_path)) + 600


@pytest.mark.parametrize("name", ["notes.txt", "model.bin", "data.json", "noending"])
def test_a_file_of_something_else_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert str(tmp_path / name) in refusal(tmp_path / name)


def test_options_without_weights_are_no_model(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "weights.hdf5").unlink()
    for path in (tmp_path, tmp_path / "options.json"):
        assert "options.json" in refusal(path)


def test_weights_without_options_are_no_model(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "options.json").unlink()
    for path in (tmp_path, tmp_path / "weights.hdf5"):
        assert "options.json" in refusal(path) and "weights.hdf5" in refusal(path)


@pytest.mark.parametrize("name", ["no/such/model", "nomodel", "options.json/below", "x.zip", "model.ckpt-7", "~/elmo"])
def test_a_path_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    write_pair(tmp_path)
    with pytest.raises(MissingPathError) as error:
        load(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_a_name_that_is_nearly_that_of_a_published_model_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingPathError, match="Did you mean 'original'"):
        load("orginal")


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "The tide goes out. " * 300, "\ud800"])
def test_a_text_in_the_place_of_a_path_is_no_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(refusal(name)) < 20_000


@pytest.mark.parametrize("argument", ["weights", "vocabulary", "token_cache"])
def test_a_file_that_was_named_and_is_not_there_is_named(argument: str, tmp_path: Path) -> None:
    write_pair(tmp_path)
    with pytest.raises(MissingPathError, match="gone"):
        load(tmp_path / "options.json", device="cpu", **{argument: tmp_path / "gone"})  # type: ignore[call-overload]  # one of three


@pytest.mark.parametrize("argument", ["weights", "vocabulary", "token_cache"])
@pytest.mark.parametrize("value", ["", "a" * 5000, "a\0b", ".."])
def test_what_is_no_file_in_the_place_of_one_is_refused(argument: str, value: str, tmp_path: Path) -> None:
    write_pair(tmp_path)
    refusal(tmp_path / "options.json", **{argument: value})


# -- what a format does not take -----------------------------------------------------------------


@pytest.mark.parametrize("argument", ["weights", "vocabulary", "token_cache"])
def test_our_folder_takes_no_file_from_elsewhere(argument: str, copied_bytes: Path, tmp_path: Path) -> None:
    other = write_pair(tmp_path / "other") / "weights.hdf5"
    assert argument in refusal(copied_bytes, **{argument: other})


@pytest.mark.parametrize("argument", ["weights", "vocabulary", "token_cache"])
def test_a_zip_takes_no_file_from_elsewhere(argument: str, tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "pair")
    path = published.write_zip(tmp_path / "171.zip", published.nlpl_files(folder))
    with pytest.raises(InputError, match="zip"):
        load(path, device="cpu", **{argument: folder / "weights.hdf5"})  # type: ignore[call-overload]  # one of three


# -- the same words for all ------------------------------------------------------------------------


WRITERS: dict[str, Callable[[Path], Path]] = {
    "published hdf5": write_pair,
    "TensorFlow checkpoint": lambda folder: write_checkpoint(folder).folder,
    "lowtide": lambda folder: tiny.save(folder).folder,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_format_is_recognised(name: str, tmp_path: Path) -> None:
    assert recognise(open_source(WRITERS[name](tmp_path / "model"))).name == name
    assert opened(tmp_path / "model").stored.format == name


@pytest.mark.parametrize("name", WRITERS)
def test_raw_text_is_cut_as_was_asked_for(name: str, tmp_path: Path) -> None:
    folder = WRITERS[name](tmp_path / "model")
    assert opened(folder).tokenize("The tide.") == ["The", "tide", "."]
    assert load(folder, tokenizer="whitespace", device="cpu").tokenize("The tide.") == ["The", "tide."]
    assert load(folder, tokenizer="characters", device="cpu").tokenize("ebb") == ["e", "b", "b"]


@pytest.mark.parametrize("name", WRITERS)
def test_reading_a_model_changes_nothing_where_it_lies(name: str, tmp_path: Path) -> None:
    folder = WRITERS[name](tmp_path / "model")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    opened(folder).embed([["tide"]])
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before


@pytest.mark.parametrize("file", [native.MODEL, native.SOFTMAX])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_of_ours_that_are_none_are_named(file: str, value: float, copied_bytes: Path) -> None:
    tensors = load_file(copied_bytes / file)
    name = sorted(tensors)[-1]
    tensors[name].view(-1)[3] = value
    save_file(tensors, copied_bytes / file)
    with pytest.raises(ModelError) as error:
        opened(copied_bytes).language_model()
    assert str(copied_bytes / file) in str(error.value) and f"{name} has 1 numbers" in str(error.value)


def test_a_model_stays_where_it_was_read_from(tmp_path: Path) -> None:
    write_pair(tmp_path / "model", words=WORDS)
    elmo = opened(tmp_path / "model")
    before = elmo.embed([["the", "退了"]])[0].tobytes()
    shutil.rmtree(tmp_path / "model")
    assert elmo.embed([["the", "退了"]])[0].tobytes() == before
