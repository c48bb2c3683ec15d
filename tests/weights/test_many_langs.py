from __future__ import annotations

import collections
import dataclasses
import io
import json
import os
import pickle
import re
import shutil
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import many_langs
import tiny
from lowtide.embeddings import Elmo, load
from lowtide.embeddings.unread import Unread
from lowtide.errors import LowtideError, ModelError
from lowtide.model import BiLM, BiLMConfig, CharCNNConfig, JointLSTM, LSTMConfig, SymbolConfig
from lowtide.weights import allennlp, native
from many_langs import ARCHITECTURE, RECIPES, SENTENCES, Recipe
from model import many_langs_reference as reference

BOTH = ("token_embedder.pkl", "encoder.pkl")
WEIGHT = "projection.weight"
"""It is in every model; in those with a plain encoder it is in both files."""


def opened(folder: Path) -> Elmo:
    return load(folder, device="cpu")


def agrees(elmo: Elmo, model: reference.Model, sentences: Sequence[Sequence[str]]) -> None:
    """Every layer of every token is that of the reference."""
    found = elmo.embed_layers([list(sentence) for sentence in sentences])
    for sentence, layers in zip(sentences, found, strict=True):
        expected = reference.run_sentence(model, sentence)
        assert layers.shape == expected.shape
        np.testing.assert_allclose(layers, expected, rtol=1e-5, atol=2e-6, err_msg=str(sentence))


def refused(path: Path, *says: str) -> None:
    """It is one sentence of ours, which names the file and says the rest."""
    with pytest.raises(ModelError) as error:
        opened(path)
    told = str(error.value)
    assert [part for part in (str(path), *says) if part not in told] == [], told
    assert "\n" not in told and told.count(str(path)) == 1, told


# -- every number --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(recipe, id=name) for name, recipe in RECIPES.items()],
)
def test_every_layer_agrees_with_the_reference(recipe: Recipe, tmp_path: Path) -> None:
    model = many_langs.write(tmp_path, recipe)
    agrees(opened(tmp_path), model, SENTENCES)


@pytest.mark.parametrize("name", ["words and characters", "plain"])
def test_pickles_of_either_age_hold_the_same_model(name: str, tmp_path: Path) -> None:
    for folder, is_new in (("old", False), ("new", True)):
        many_langs.write(tmp_path / folder, RECIPES[name], is_new=is_new)
    assert zipfile.is_zipfile(tmp_path / "new" / "encoder.pkl") and not zipfile.is_zipfile(
        tmp_path / "old" / "encoder.pkl"
    )
    assert opened(tmp_path / "old").checksum == opened(tmp_path / "new").checksum


def clipped_at(cell: float, projection: float, folder: Path) -> Elmo:
    many_langs.write(folder, Recipe(cell_clip=cell, proj_clip=projection))
    return opened(folder)


def test_the_clips_of_these_tests_hold_values_back(tmp_path: Path) -> None:
    without, cell, projection = (
        clipped_at(*clips, tmp_path / str(number)).embed_layers([["the", "tide", "goes"]])[0]
        for number, clips in enumerate([(0, 0), (0.5, 0), (0, 0.25)])
    )
    assert min(np.abs(without - cell).max(), np.abs(without - projection).max()) > 0.05


@pytest.mark.parametrize("name", ["words and characters", "three layers", "a projection wider than its cells"])
def test_a_state_that_is_kept_goes_on_as_in_the_reference(name: str, tmp_path: Path) -> None:
    model = many_langs.write(tmp_path, RECIPES[name])
    session = load(tmp_path, stateful=True, device="cpu")
    zero = reference.zero_states(model)
    memories: list[reference.Memory] = [(zero, zero), (zero, zero)]
    for batch in ([["the", "tide"], ["潮水"]], [["goes"]], [["a"], [".", "the", "b"]]):
        for row, found in enumerate(session.embed_layers(batch)):
            expected, memories[row] = reference.run_row(model, batch[row], memories[row])
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)


def test_a_plain_encoder_keeps_no_state(tmp_path: Path) -> None:
    many_langs.write(tmp_path, RECIPES["plain"])
    session = load(tmp_path, stateful=True, device="cpu")
    first, second = (session.embed_layers([["the", "tide"]])[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_the_mix_of_a_model_is_the_plain_mean_of_its_layers(tmp_path: Path) -> None:
    model = many_langs.write(tmp_path)
    expected = reference.run_sentence(model, ["the", "tide"]).mean(axis=0)
    np.testing.assert_allclose(opened(tmp_path).embed([["the", "tide"]])[0], expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("name", "num_layers"), [("three layers", 4), ("one layer", 2), ("plain", 2)])
def test_a_plain_encoder_gives_one_layer_and_a_clipped_one_all(name: str, num_layers: int, tmp_path: Path) -> None:
    many_langs.write(tmp_path, RECIPES[name])
    elmo = opened(tmp_path)
    assert (elmo.num_layers, elmo.width) == (num_layers, 10)
    assert isinstance(elmo.stored.bilm, JointLSTM if name == "plain" else BiLM)


# -- words and letters ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["words and characters", "words", "characters"])
@pytest.mark.parametrize(
    "word",
    [
        "<S>",
        "</S>",
        "<UNK>",
        "<PAD>",
        "<W>",
        "</W>",
        "<bos>",
        "<eos>",
        "<oov>",
        "<pad>",
    ],
)
def test_a_token_that_is_spelled_like_a_mark_is_read_as_in_the_original(name: str, word: str, tmp_path: Path) -> None:
    model = many_langs.write(tmp_path, RECIPES[name])
    agrees(opened(tmp_path), model, [["the", word, "tide"]])


@pytest.mark.parametrize("name", ["words and characters", "words"])
@pytest.mark.parametrize("word", ["<S>", "</S>", "<UNK>"])
def test_a_word_that_is_spelled_like_one_of_our_marks_has_its_own_vector(name: str, word: str, tmp_path: Path) -> None:
    recipe = RECIPES[name]
    model = many_langs.write(tmp_path, dataclasses.replace(recipe, words=(*recipe.words, "<S>", "</S>", "<UNK>")))
    agrees(opened(tmp_path), model, [["the", word, "tide"]])


def test_a_token_that_is_cut_to_a_mark_is_one(tmp_path: Path) -> None:
    model = many_langs.write(tmp_path, Recipe(max_characters_per_token=7))
    agrees(opened(tmp_path), model, [["<bos>x", "<eos>>", "<bos", "<S>xyz"]])


@pytest.mark.parametrize("name", ["words and characters", "words", "characters"])
def test_a_word_of_more_than_48_characters_is_the_one_it_is_cut_to(name: str, tmp_path: Path) -> None:
    many_langs.write(tmp_path, RECIPES[name])
    elmo, long = opened(tmp_path), many_langs.LONG
    whole, cut, shorter = (elmo.embed_layers([[word]])[0] for word in (long, long[:48], long[:47]))
    assert np.array_equal(whole, cut) and not np.array_equal(cut, shorter)
    unread = Unread(elmo.stored)
    unread.add([long, long[:48], "潮" * 49, "潮" * 48])
    assert unread.num_truncated == 2


def test_of_a_symbol_that_stands_twice_the_last_place_is_found(tmp_path: Path) -> None:
    recipe = Recipe()
    words = ("the", "<bos>", "a", "the", *recipe.words, "a")
    chars = ("t", "<eow>", "<oov>", *recipe.chars, "t", "<pad>")
    model = many_langs.write(tmp_path, dataclasses.replace(recipe, words=words, chars=chars))
    agrees(opened(tmp_path), model, [["the", "a", "tide", "unseen"], []])


def test_no_token_meets_a_row_that_is_hidden(tmp_path: Path) -> None:
    recipe = Recipe()
    model = many_langs.write(tmp_path, dataclasses.replace(recipe, words=("a", *recipe.words, "a")))
    agrees(opened(tmp_path), model, [["a\x000", "a\0"]])


def test_a_dictionary_may_hold_whatever_a_row_that_is_hidden_is_called(tmp_path: Path) -> None:
    recipe = Recipe()
    model = many_langs.write(tmp_path, dataclasses.replace(recipe, words=("a", "a\x000", *recipe.words)))
    agrees(opened(tmp_path), model, [["a\x000", "a"]])


BLANKS = [
    "\u3000",
    "\u00a0",
    "\u2009",
    "\ufeff",
    "\u200b",
    " ",
    "\t",
    "\r",
    "\v",
    "\f",
    "\x1c",
    "\x85",
    "\u2028",
    "\0",
    "\\",
]
"""What is taken for a blank or for the end of a line somewhere."""


@pytest.mark.parametrize("symbol", BLANKS, ids=lambda symbol: f"U+{ord(symbol):04X}")
def test_a_blank_is_a_symbol_like_any_other(symbol: str, tmp_path: Path) -> None:
    recipe = Recipe()
    words = (*recipe.words, symbol, f"{symbol}x", f"x{symbol}")
    chars = (*(char for char in recipe.chars if char != symbol), symbol)
    model = many_langs.write(tmp_path, dataclasses.replace(recipe, words=words, chars=chars))
    agrees(opened(tmp_path), model, [[symbol, f"{symbol}x", f"x{symbol}", "x"]])


@pytest.mark.parametrize("stripped", [[], ["\u3000"]], ids=["as it is", "stripped"])
def test_a_wide_space_is_found_whether_its_line_still_holds_it_or_not(stripped: list[str], tmp_path: Path) -> None:
    recipe = Recipe()
    words = (*recipe.words[:3], "\u3000", *recipe.words[3:])
    model = many_langs.write(tmp_path, dataclasses.replace(recipe, words=words), stripped=stripped)
    assert ("\u3000\t" in (tmp_path / "char.dic").read_text(encoding="utf-8")) == (not stripped)
    agrees(opened(tmp_path), model, [["\u3000", "a\u3000", "\u00a0"]])


def test_a_line_with_a_tab_and_a_number_alone_is_a_wide_space_too(tmp_path: Path) -> None:
    model = many_langs.write(tmp_path)
    change_text(tmp_path / "char.dic", "\u3000\t", "\t")
    agrees(opened(tmp_path), model, [["\u3000", "a\u3000"]])


@pytest.mark.parametrize("name", ["char.dic", "word.dic"])
@pytest.mark.parametrize("change", [lambda t: t.replace("\n", "\r\n"), lambda t: t.removesuffix("\n")])
def test_line_ends_may_be_those_of_windows_and_the_last_may_be_missing(
    name: str, change: Callable[[str], str], tmp_path: Path
) -> None:
    model = many_langs.write(tmp_path)
    text = change((tmp_path / name).read_text(encoding="utf-8"))
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    agrees(opened(tmp_path), model, [["the", "tide"]])


letters = st.characters(exclude_categories=["Cs"], exclude_characters="\n")
symbols = st.text(letters, min_size=1, max_size=3)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(symbols, unique=True, max_size=6), st.lists(symbols, unique=True, max_size=6), st.text(letters, max_size=4)
)
def test_any_dictionary_is_read_as_it_was_written(words: list[str], chars: list[str], token: str) -> None:
    recipe = Recipe(n_layers=1, n_highway=0, filters=((2, 3),), max_characters_per_token=9)
    recipe = dataclasses.replace(
        recipe,
        words=tuple(dict.fromkeys([*words, *many_langs.WORD_MARKS])),
        chars=tuple(dict.fromkeys([*chars, *many_langs.CHAR_MARKS])),
    )
    sentence = [*words, "".join(chars), token]
    with tempfile.TemporaryDirectory() as folder:
        model = many_langs.write(Path(folder), recipe)
        agrees(opened(Path(folder)), model, [sentence])


def test_a_model_says_what_it_has_read(tmp_path: Path) -> None:
    recipe = Recipe()
    many_langs.write(tmp_path, recipe)
    (tmp_path / "meta.json").write_text(json.dumps({"corpus": [{"language": "zht"}]}), encoding="utf-8")
    stored = opened(tmp_path).stored
    assert stored.format == "ELMoForManyLangs" and stored.path == tmp_path and "zht" in stored.card
    assert {"the", "潮水", "<pad>"} <= set(stored.vocabulary.types) and len(stored.vocabulary) == len(recipe.words)
    assert stored.letters is not None and len(stored.letters) == len(recipe.chars)
    assert (stored.config.tokenizer.name, stored.config.bilm.lstm.forget_bias) == ("words", 0.0)


def test_a_model_of_characters_has_no_vocabulary_even_if_one_lies_there(tmp_path: Path) -> None:
    model = many_langs.write(tmp_path, RECIPES["characters"])
    (tmp_path / "word.dic").write_text("no dictionary", encoding="utf-8")
    elmo = opened(tmp_path)
    agrees(elmo, model, SENTENCES[:1])
    with pytest.raises(ModelError, match="has no vocabulary"):
        _ = elmo.stored.vocabulary


def test_a_model_of_words_reads_no_dictionary_of_characters(tmp_path: Path) -> None:
    model = many_langs.write(tmp_path, RECIPES["words"])
    (tmp_path / "char.dic").write_text("no dictionary", encoding="utf-8")
    elmo = opened(tmp_path)
    agrees(elmo, model, SENTENCES[:1])
    assert elmo.stored.letters is None


def test_a_model_has_no_softmax(tmp_path: Path) -> None:
    many_langs.write(tmp_path)
    with pytest.raises(ModelError, match=r"has no softmax"):
        opened(tmp_path).language_model()


# -- where the architecture lies -----------------------------------------------------------------


@pytest.mark.parametrize(
    "config_path",
    [
        ARCHITECTURE,
        f"./{ARCHITECTURE}",
        f"configs/{ARCHITECTURE}",
        f"/users4/somebody/ELMoForManyLangs/configs/{ARCHITECTURE}",
        f"C:\\Users\\somebody\\{ARCHITECTURE}",
        f"..\\{ARCHITECTURE}",
        f"../{ARCHITECTURE}",
        f"../../../../../../../../{ARCHITECTURE}",
    ],
)
def test_the_architecture_is_found_by_its_own_name(config_path: str, tmp_path: Path) -> None:
    (tmp_path / ARCHITECTURE).write_text(json.dumps(Recipe(cell_clip=0.01).architecture), encoding="utf-8")
    model = many_langs.write(tmp_path / "model", config_path=config_path)
    agrees(opened(tmp_path / "model"), model, SENTENCES[:1])


@pytest.mark.parametrize("is_absolute", [True, False])
def test_no_file_outside_the_folder_is_read(is_absolute: bool, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    path = str(elsewhere) if is_absolute else "../elsewhere.json"
    many_langs.write(tmp_path / "model", config_path=path)
    (tmp_path / "model" / ARCHITECTURE).rename(elsewhere)
    refused(tmp_path / "model", "word_emb_layer.embedding.weight", "17 x 3", "17 x 100")


class Seen(Exception):
    """The network was about to be made."""


@pytest.mark.parametrize(
    "config_path", [f"../{ARCHITECTURE}", "", None, 5, [ARCHITECTURE], {}, "..", "config.json", ...]
)
def test_a_lost_architecture_is_taken_to_be_the_published_one(
    config_path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def see(config: BiLMConfig, trunk: str) -> None:
        seen.append((config, trunk))
        raise Seen

    many_langs.write(tmp_path, config_path=None if config_path is ... else config_path)
    (tmp_path / ARCHITECTURE).unlink()
    if config_path is ...:
        (tmp_path / "config.json").unlink()
    monkeypatch.setattr("lowtide.weights.many_langs.blank_network", see)
    with pytest.raises(Seen):
        opened(tmp_path)
    [(config, trunk)] = seen
    assert trunk == "elmo"
    sizes = LSTMConfig(cell_width=4096, width=512, num_layers=2, cell_clip=3.0, projection_clip=3.0, forget_bias=0.0)
    assert dataclasses.replace(config.lstm, has_projection=None) == sizes and config.lstm.has_residual
    assert config.char_cnn == CharCNNConfig(
        num_characters=len(Recipe().chars),
        embedding_width=50,
        filters=((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024)),
        num_highways=2,
        activation="relu",
        max_characters=50,
    )
    assert config.symbols == SymbolConfig(len(Recipe().words), embedding_width=100, max_letters=48)


def in_a_folder_of_its_own(folder: Path) -> None:
    (folder / "configs").mkdir()
    (folder / ARCHITECTURE).rename(folder / "configs" / ARCHITECTURE)


def test_an_architecture_in_a_folder_of_the_model_is_read(tmp_path: Path) -> None:
    model = many_langs.write(tmp_path, config_path=f"configs/{ARCHITECTURE}")
    in_a_folder_of_its_own(tmp_path)
    agrees(opened(tmp_path), model, SENTENCES[:1])


def test_an_architecture_in_a_folder_of_a_zip_is_read(tmp_path: Path) -> None:
    model = many_langs.write(tmp_path / "model", config_path=f"/theirs/configs/{ARCHITECTURE}")
    in_a_folder_of_its_own(tmp_path / "model")
    agrees(opened(zipped(tmp_path / "model")), model, SENTENCES[:1])


@pytest.mark.parametrize(
    ("config_path", "place"),
    [
        pytest.param(f"configs/{ARCHITECTURE}", f"configs/{ARCHITECTURE}"),
        pytest.param(f"/theirs/{ARCHITECTURE}", ARCHITECTURE),
        pytest.param(ARCHITECTURE, ARCHITECTURE),
    ],
)
def test_of_two_architectures_the_one_that_was_named_is_read(config_path: str, place: str, tmp_path: Path) -> None:
    model = many_langs.write(tmp_path / "model", config_path=config_path)
    packed = zipped(tmp_path / "model")
    other = Recipe(cell_clip=0.01).architecture
    with zipfile.ZipFile(packed, "w") as archive:
        for file in (tmp_path / "model").iterdir():
            if file.name != ARCHITECTURE:
                archive.write(file, file.name)
        for name in (f"backup/{ARCHITECTURE}", f"configs/{ARCHITECTURE}", ARCHITECTURE):
            archive.writestr(name, json.dumps(model.architecture if name == place else other))
    agrees(opened(packed), model, SENTENCES[:1])


def test_who_has_no_architecture_is_told_which_one_was_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    many_langs.write(tmp_path)
    (tmp_path / ARCHITECTURE).unlink()
    with caplog.at_level("INFO", logger="lowtide"), pytest.raises(ModelError):
        opened(tmp_path)
    assert [ARCHITECTURE in record.getMessage() for record in caplog.records] == [True]


# -- there and back ------------------------------------------------------------------------------


def bytes_of(elmo: Elmo) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in elmo.stored.bilm.state_dict().items()}


ODD = Recipe(words=(*Recipe().words, "a", "<S>", *BLANKS, "x\\t"), chars=(*Recipe().chars, "a", *BLANKS))
KINDS = {
    name: RECIPES[name] for name in ("words and characters", "words", "characters", "plain", "marks in odd places")
}
KINDS["odd symbols"] = ODD


@pytest.mark.parametrize("recipe", KINDS.values(), ids=KINDS)
def test_a_model_is_the_same_when_it_is_stored_as_one_of_ours(recipe: Recipe, tmp_path: Path) -> None:
    many_langs.write(tmp_path / "theirs", recipe)
    theirs = opened(tmp_path / "theirs")
    stored = theirs.stored
    native.save_model(tmp_path / "ours", stored.config, stored.words, stored.bilm, None, stored.letters)
    ours = opened(tmp_path / "ours")
    assert bytes_of(ours) == bytes_of(theirs)
    assert ours.checksum == theirs.checksum
    sentences = [list(sentence) for sentence in SENTENCES] + [BLANKS]
    for one, other in zip(ours.embed_layers(sentences), theirs.embed_layers(sentences), strict=True):
        assert one.tobytes() == other.tobytes()


def zipped(folder: Path, prefix: str = "136/", *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return folder.with_suffix(".zip")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("prefix", ["", "136/", "models/136/"])
def test_a_model_is_the_same_when_it_is_packed(compression: int, prefix: str, tmp_path: Path) -> None:
    many_langs.write(tmp_path / "model")
    packed = zipped(tmp_path / "model", prefix, compression=compression)
    assert opened(packed).checksum == opened(tmp_path / "model").checksum


def test_models_that_differ_in_one_symbol_have_checksums_that_differ(tmp_path: Path) -> None:
    recipes = [Recipe(), Recipe(words=(*Recipe().words[:-1], "c")), Recipe(chars=("c", *Recipe().chars[1:]))]
    checksums = set()
    for number, recipe in enumerate(recipes):
        many_langs.write(tmp_path / str(number), recipe)
        checksums.add(opened(tmp_path / str(number)).checksum)
    assert len(checksums) == 3


@pytest.mark.parametrize("recipe", KINDS.values(), ids=KINDS)
def test_what_the_published_pair_cannot_hold_is_not_written_as_one(recipe: Recipe, tmp_path: Path) -> None:
    many_langs.write(tmp_path / "theirs", recipe)
    with pytest.raises(ModelError, match=r"theirs \(ELMoForManyLangs\) cannot be written as .*, which "):
        allennlp.write(tmp_path / "pair", opened(tmp_path / "theirs").stored)
    assert not (tmp_path / "pair").exists()


def test_words_without_a_projection_are_written_as_the_published_pair(
    saved_symbols: tiny.Saved, tmp_path: Path
) -> None:
    ours = opened(saved_symbols.folder)
    stored = dataclasses.replace(ours.stored, read_softmax=None)
    allennlp.write(tmp_path, stored)
    sentence = [["A", "H", "Z"]]
    np.testing.assert_allclose(
        opened(tmp_path).embed_layers(sentence)[0], ours.embed_layers(sentence)[0], rtol=1e-5, atol=1e-6
    )


# -- pickles that mean harm ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Poison:
    """Whoever unpickles it, runs something."""

    function: Callable[..., Any]
    argument: str

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return self.function, (self.argument,)


def poisons(marker: Path) -> dict[str, Poison]:
    return {
        "system": Poison(os.system, f"echo > {marker}"),
        "eval": Poison(eval, f"open({str(marker)!r}, 'w')"),
        "module": Poison(pickle.loads, pickle.dumps(Poison(os.system, f"echo > {marker}")).decode("latin-1")),
    }


def test_the_poison_of_these_tests_works(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(poisons(marker)["system"]))
    assert marker.exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that may be damaged."""
    many_langs.write(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("file", BOTH)
@pytest.mark.parametrize("poison", ["system", "eval", "module"])
@pytest.mark.parametrize("is_new", [False, True], ids=["old", "new"])
@pytest.mark.parametrize("where", ["a value", "one more value", "a key", "all of it", "in a list"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_nothing(
    folder: Path, file: str, poison: str, is_new: bool, where: str
) -> None:
    marker = folder / "marker"
    bad, tensors = poisons(marker)[poison], many_langs.load(folder / file)
    name = next(iter(tensors))
    content: dict[str, Any] = {
        "a value": tensors | {name: bad},
        "one more value": tensors | {"more": bad},
        "a key": tensors | {bad: torch.zeros(1)},
        "all of it": bad,
        "in a list": tensors | {name: [bad]},
    }
    torch.save(content[where], folder / file, _use_new_zipfile_serialization=is_new)
    refused(folder, file, "which may run code")
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("file", BOTH)
def test_a_pickle_that_is_not_of_pytorch_is_refused_and_runs_nothing(folder: Path, file: str, protocol: int) -> None:
    marker = folder / "marker"
    (folder / file).write_bytes(pickle.dumps({"weight": poisons(marker)["system"]}, protocol))
    refused(folder, file)
    (folder / file).write_bytes(pickle.dumps({"weight": [1.0, 2.0]}, protocol))
    refused(folder, file)
    assert not marker.exists()


@pytest.mark.parametrize("place", range(5))
def test_no_part_of_an_old_file_runs_anything(folder: Path, place: int) -> None:
    marker = folder / "marker"
    # magic number, version of the protocol, about the system, the content, the keys of the storages
    parts: list[Any] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, collections.OrderedDict(), []]
    parts[place] = poisons(marker)["system"]
    (folder / "encoder.pkl").write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    refused(folder, "encoder.pkl", "system", "which may run code")
    assert not marker.exists()


def _packed_in_tar(folder: Path) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors", "../marker"):
            content = pickle.dumps(poisons(folder / "marker")["system"], 2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _packed_as_program(folder: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/constants.pkl", pickle.dumps(poisons(folder / "marker")["system"], 2))
        archive.writestr("archive/data.pkl", pickle.dumps(poisons(folder / "marker")["system"], 2))
    return file.getvalue()


@pytest.mark.parametrize("content", [_packed_in_tar, _packed_as_program], ids=["tar", "program"])
def test_what_pytorch_reads_beside_pickles_runs_nothing(folder: Path, content: Callable[[Path], bytes]) -> None:
    (folder / "encoder.pkl").write_bytes(content(folder))
    refused(folder, "encoder.pkl")
    assert list(folder.parent.rglob("marker")) == []


@pytest.mark.parametrize("content", [_packed_in_tar, _packed_as_program], ids=["tar", "program"])
def test_nobody_is_told_to_run_what_was_refused(folder: Path, content: Callable[[Path], bytes]) -> None:
    (folder / "encoder.pkl").write_bytes(content(folder))
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("content", [lambda _: pickle.dumps({"weight": 1}, 4), _packed_as_program])
def test_nothing_is_said_beside_the_error(folder: Path, content: Callable[[Path], bytes]) -> None:
    (folder / "encoder.pkl").write_bytes(content(folder))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        refused(folder, "encoder.pkl")
    assert told == []


# -- pickles that hold something else ------------------------------------------------------------


@pytest.mark.parametrize("is_new", [False, True], ids=["old", "new"])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ([1, 2], "list"),
        (7, "int"),
        ("weights", "str"),
        (None, "NoneType"),
        ((torch.zeros(2),), "tuple"),
        (torch.zeros(2), "Tensor"),
        ({"state_dict": {"weight": torch.zeros(2)}}, "state_dict is a dict"),
        ({"weight": torch.zeros(2), "bias": [1.0]}, "bias is a list"),
        ({"weight": 1.0}, "weight is a float"),
        (collections.Counter(weight=3), "weight is a int"),
    ],
)
def test_what_is_no_dictionary_of_tensors_is_named(folder: Path, is_new: bool, content: Any, kind: str) -> None:
    torch.save(content, folder / "encoder.pkl", _use_new_zipfile_serialization=is_new)
    refused(folder, "encoder.pkl", kind, "expected a ")


def replace(folder: Path, file: str, changes: Mapping[str, Any]) -> None:
    """Tensors of a file are replaced; those that are None are left out."""
    tensors = many_langs.load(folder / file) | dict(changes)
    many_langs.save(folder / file, {name: tensor for name, tensor in tensors.items() if tensor is not None})


def _with_attributes(tensor: Tensor, **attributes: Any) -> Tensor:
    tensor = tensor.clone()
    tensor.__dict__.update(attributes)
    return tensor


def _quietly(make: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def quiet(tensor: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make(tensor)

    return quiet


@pytest.mark.parametrize("file", BOTH)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32", "bool", "complex64"])
def test_numbers_of_another_kind_are_named(folder: Path, file: str, dtype: str) -> None:
    name, tensor = next(iter(many_langs.load(folder / file).items()))
    replace(folder, file, {name: tensor.to(getattr(torch, dtype))})
    refused(folder, f"{file}: {name} is ", dtype, "expected float32")


LAID_OUT_OTHERWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "sparse": lambda tensor: tensor.to_sparse(),
    "sparse rows": _quietly(lambda tensor: tensor.to_sparse_csr()),
    "one number for all": lambda tensor: torch.zeros(1).expand(tensor.shape),
    "turned": lambda tensor: tensor.t().contiguous().t(),
    "without numbers": lambda tensor: tensor.to("meta"),
    "negated when it is read": lambda tensor: torch._neg_view(tensor),
}


@pytest.mark.parametrize("is_new", [False, True], ids=["old", "new"])
@pytest.mark.parametrize("make", LAID_OUT_OTHERWISE.values(), ids=LAID_OUT_OTHERWISE)
def test_a_tensor_that_is_no_plain_block_of_numbers_is_named(
    folder: Path, is_new: bool, make: Callable[[Tensor], Tensor]
) -> None:
    tensors = many_langs.load(folder / "token_embedder.pkl")
    tensors[WEIGHT] = make(tensors[WEIGHT])
    many_langs.save(folder / "token_embedder.pkl", tensors, is_new=is_new)
    refused(folder, f"token_embedder.pkl: {WEIGHT} is ", "expected float32")
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert "is float32, expected float32" not in str(error.value)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(10**9, 10**9),
        torch.empty(10**12, 10**3, device="meta"),
        _quietly(lambda tensor: torch.nested.nested_tensor([tensor, tensor]))(torch.zeros(5, 12)),
    ],
    ids=["one number", "no number", "tensors"],
)
def test_a_tensor_that_claims_to_be_huge_takes_no_memory(folder: Path, tensor: Tensor) -> None:
    tensors = many_langs.load(folder / "token_embedder.pkl") | {WEIGHT: tensor}
    many_langs.save(folder / "token_embedder.pkl", tensors, is_new=True)
    refused(folder, "token_embedder.pkl", WEIGHT)


@pytest.mark.parametrize(
    "make",
    [
        lambda tensor: torch.nn.Parameter(tensor),
        lambda tensor: tensor.clone().requires_grad_(),
        lambda tensor: _with_attributes(tensor, note="mine", is_contiguous=5, detach=collections.OrderedDict),
        lambda tensor: torch.cat([torch.ones(9), tensor.flatten()])[9:].view(tensor.shape),
    ],
    ids=["parameter", "with a gradient", "with an attribute", "part of another"],
)
def test_a_tensor_may_have_a_past(folder: Path, make: Callable[[Tensor], Tensor]) -> None:
    before = opened(folder).checksum
    replace(folder, "token_embedder.pkl", {WEIGHT: make(many_langs.load(folder / "token_embedder.pkl")[WEIGHT])})
    assert opened(folder).checksum == before


def test_tensors_may_lie_in_one_block_as_a_gpu_has_them(tmp_path: Path) -> None:
    model = many_langs.write(tmp_path, RECIPES["plain"])
    tensors = many_langs.load(tmp_path / "encoder.pkl")
    block = torch.cat([tensor.flatten() for tensor in tensors.values()])
    parts = torch.split(block, [tensor.numel() for tensor in tensors.values()])
    many_langs.save(
        tmp_path / "encoder.pkl",
        {name: part.view(tensor.shape) for part, (name, tensor) in zip(parts, tensors.items(), strict=True)},
    )
    for file in BOTH:  # all published models were trained on a GPU, and their tensors say so
        content = (tmp_path / file).read_bytes()
        assert b"X\3\0\0\0cpu" in content
        (tmp_path / file).write_bytes(content.replace(b"X\3\0\0\0cpu", b"X\6\0\0\0cuda:0"))
    agrees(opened(tmp_path), model, SENTENCES[:2])


@pytest.mark.parametrize("file", BOTH)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_told_with_its_place(folder: Path, file: str, number: float) -> None:
    name, tensor = next((n, t) for n, t in many_langs.load(folder / file).items() if t.ndim == 2)
    tensor[1, 2] = number
    replace(folder, file, {name: tensor})
    refused(folder, f"{file}: {name} has 1 numbers that are none, the first at [1, 2]: found {number}")


@pytest.mark.parametrize(
    ("file", "name", "tensor", "says"),
    [
        (BOTH[0], WEIGHT, torch.zeros(5, 11), ["is 5 x 11", "5 x 12"]),
        (BOTH[0], WEIGHT, torch.zeros(12, 5), ["is 12 x 5", "5 x 12"]),
        (BOTH[0], "projection.bias", torch.tensor(1.0), ["is a single number", "5"]),
        (BOTH[0], "projection.bias", torch.zeros(0), ["is 0", "5"]),
        (BOTH[0], "convolutions.1.weight", torch.zeros(4, 2, 4), ["is 4 x 2 x 4", "4 x 4 x 2"]),
        (BOTH[0], "highways._layers.0.weight", torch.zeros(9, 9), ["is 9 x 9", "18 x 9"]),
        (BOTH[0], "char_emb_layer.embedding.weight", torch.zeros(28, 4), ["is 28 x 4", "27 x 4"]),
        (BOTH[0], "word_emb_layer.embedding.weight", torch.zeros(16, 3), ["is 16 x 3", "17 x 3"]),
        (BOTH[1], "forward_layer_1.state_linearity.bias", torch.zeros(27), ["is 27", "28"]),
        (BOTH[1], "backward_layer_0.state_projection.weight", torch.zeros(7, 5), ["is 7 x 5", "5 x 7"]),
        (BOTH[0], "a_third_layer", torch.zeros(2), [", of which the options say nothing"]),
        (BOTH[1], "forward_layer_2.state_linearity.bias", torch.zeros(28), [", of which the options say nothing"]),
        (BOTH[1], WEIGHT, torch.zeros(5, 12), [", of which the options say nothing"]),
        (BOTH[0], "word_emb_layer.embedding.weight", None, [", which the options ask for"]),
        (BOTH[0], "projection.bias", None, [", which the options ask for"]),
        (BOTH[1], "forward_layer_0.input_linearity.weight", None, [", which the options ask for"]),
    ],
)
def test_tensors_that_do_not_fit_the_architecture_are_named(
    folder: Path, file: str, name: str, tensor: Tensor | None, says: list[str]
) -> None:
    replace(folder, file, {name: tensor})
    refused(folder, file, name, *says, "are they from the same model?")


@pytest.mark.parametrize(
    ("file", "other"),
    [
        (BOTH[1], Recipe(dim=8)),
        (BOTH[1], Recipe(n_layers=3)),
        (BOTH[1], Recipe(n_layers=1)),
        (BOTH[1], Recipe(name="lstm")),
        (BOTH[0], Recipe(word_dim=0)),
        (BOTH[0], Recipe(char_dim=0)),
        (BOTH[0], Recipe(n_highway=2)),
        (BOTH[0], Recipe(projection_dim=6)),
        (BOTH[0], Recipe(chars=("z", *Recipe().chars))),
    ],
)
def test_files_of_two_models_are_not_mixed(folder: Path, file: str, other: Recipe) -> None:
    many_langs.write(folder.parent / "other", other)
    shutil.copy(folder.parent / "other" / file, folder / file)
    refused(folder, file, "are they from the same model?")


@pytest.mark.parametrize(("file", "copy"), [BOTH, BOTH[::-1]])
def test_a_file_under_the_name_of_the_other_is_refused(folder: Path, file: str, copy: str) -> None:
    shutil.copy(folder / file, folder / copy)
    refused(folder, copy, "which the options ask for")


# -- accidents -----------------------------------------------------------------------------------


@pytest.mark.parametrize("file", BOTH)
@pytest.mark.parametrize("is_new", [False, True], ids=["old", "new"])
def test_a_pickle_that_was_cut_off_is_refused_wherever_it_ends(folder: Path, file: str, is_new: bool) -> None:
    many_langs.write(folder, is_new=is_new)
    whole = (folder / file).read_bytes()
    for kept in [*range(20), *range(20, len(whole), len(whole) // 40), len(whole) - 1]:
        (folder / file).write_bytes(whole[:kept])
        refused(folder, file)


@pytest.mark.parametrize("is_new", [False, True], ids=["old", "new"])
def test_whatever_is_damaged_in_a_pickle_the_error_is_one_of_ours(folder: Path, is_new: bool) -> None:
    many_langs.write(folder, is_new=is_new)
    whole = (folder / "encoder.pkl").read_bytes()
    generator = np.random.default_rng(7)
    num_refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in generator.integers(len(whole), size=4):
            damaged[place] = generator.integers(256)
        (folder / "encoder.pkl").write_bytes(damaged)
        try:
            opened(folder)
        except LowtideError as error:
            assert "encoder.pkl" in str(error)
            num_refused += 1
    assert num_refused > 20


def _of_storages(number: int) -> Callable[[bytes], bytes]:
    """How many numbers the first tensor has: 140."""
    return lambda whole: whole.replace(b"cpuq\7K\x8cN", b"cpuq\7" + pickle.dumps(number, 2)[2:-1] + b"N", 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"\0" * len(whole),
        lambda whole: whole[len(whole) // 2 :],
        lambda whole: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
        lambda whole: b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n",
        lambda whole: b"PK\5\6" + b"\0" * 18,
        _of_storages(141),
        _of_storages(10**6),
        _of_storages(10**15),
        _of_storages(2**70),
        _of_storages(-1),
    ],
)
def test_a_damaged_pickle_is_named(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    whole = (folder / "encoder.pkl").read_bytes()
    damaged = damage(whole)
    assert damaged != whole
    (folder / "encoder.pkl").write_bytes(damaged)
    refused(folder, "encoder.pkl")


def test_a_pickle_that_was_cut_off_in_a_name_is_said_to_be_damaged_perhaps(folder: Path) -> None:
    whole = (folder / "encoder.pkl").read_bytes()
    (folder / "encoder.pkl").write_bytes(whole[: whole.index(b"collections\n") + 7])
    with pytest.raises(ModelError, match="is it damaged"):
        opened(folder)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("token_embedder.pkl", "has no token_embedder.pkl: is the ELMoForManyLangs model whole?"),
        ("encoder.pkl", "has no encoder.pkl: is the ELMoForManyLangs model whole?"),
        ("char.dic", "has no char.dic, which its architecture asks for"),
        ("word.dic", "has no word.dic, which its architecture asks for"),
    ],
)
def test_a_file_that_is_missing_is_named(folder: Path, file: str, says: str) -> None:
    (folder / file).unlink()
    refused(folder, says)


# -- dictionaries that are damaged ---------------------------------------------------------------


def change_text(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8", newline="")


LINE = "expected a symbol, a tab and a number"


@pytest.mark.parametrize("file", ["char.dic", "word.dic"])
@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("\t4\n", "the number 4 stands twice"),
        ("\t04\n", "the number 0?4 stands twice"),
        ("\t99\n", "symbols, expected numbers from 0 without a gap"),
        ("\t999999999\n", "symbols, expected numbers from 0 without a gap"),
        ("\t" + "9" * 5000 + "\n", LINE),
        ("\t-3\n", LINE),
        ("\t3.0\n", LINE),
        ("\t٣\n", LINE),
        ("\t\n", LINE),
        ("\tthree\n", LINE),
        (" 3\n", LINE),
        ("\n", LINE),
    ],
)
def test_a_damaged_line_of_a_dictionary_is_named(folder: Path, file: str, new: str, says: str) -> None:
    change_text(folder / file, "\t3\n", new)
    with pytest.raises(ModelError, match=rf"{re.escape(str(folder / file))}(:\d+:| has) .*{says}"):
        opened(folder)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        (file, content, says)
        for file in ("char.dic", "word.dic")
        for content, says in (
            (b"", f":1: {LINE}"),
            (b"\n\n", f":1: {LINE}"),
            ("<oov>\t0\né\t1\n".encode("latin-1"), " is not UTF-8"),
            ("<oov>\t0\n".encode("utf-16"), " is not UTF-8"),
            (b"a\t0\n", "<bos>"),
            (b"<bos>\t0\n<eos>\t1\n<pad>\t2\n<bow>\t3\n<eow>\t4\n", "has no|have no <oov>"),
            (b"<bos>\t0\n<oov>\t1\n<pad>\t2\n<bow>\t3\n<eow>\t4\n", "has no|have no <eos>"),
        )
    ],
)
def test_a_dictionary_that_cannot_be_one_is_named(folder: Path, file: str, content: bytes, says: str) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(ModelError, match=f"{re.escape(str(folder / file))}.*({says})"):
        opened(folder)


@pytest.mark.parametrize("mark", many_langs.CHAR_MARKS)
def test_every_mark_of_the_characters_is_needed(mark: str, folder: Path) -> None:
    change_text(folder / "char.dic", f"{mark}\t", "z\t")
    refused(folder, f"char.dic has no {mark}, expected <bos> <eos> <oov> <pad> <bow> <eow> in it")


@pytest.mark.parametrize("file", ["char.dic", "word.dic"])
def test_a_dictionary_is_named_once(folder: Path, file: str) -> None:
    change_text(folder / file, "\t3\n", "\tthree\n")
    refused(folder, f"{folder / file}:")


# -- architectures that cannot be built ----------------------------------------------------------


def change_architecture(folder: Path, part: str, **changes: Any) -> None:
    architecture = json.loads((folder / ARCHITECTURE).read_text(encoding="utf-8"))
    architecture[part] |= changes
    (folder / ARCHITECTURE).write_text(json.dumps(architecture), encoding="utf-8")


def _cases(*cases: tuple[dict[str, Any], str]) -> list[Any]:
    return [
        pytest.param(changes, says, id="-".join(f"{k} {str(v)[:30]}" for k, v in changes.items()))
        for changes, says in cases
    ]


HUGE = (10**9, 10**18, 10**30)


@pytest.mark.parametrize(
    ("changes", "says"),
    _cases(
        ({"name": "transformer"}, "encoder.name is 'transformer', expected elmo or lstm"),
        ({"name": None}, "has no encoder.name"),
        ({"name": []}, "encoder.name is []"),
        ({"name": {}}, "encoder.name is {}"),
        ({"dim": 0}, "encoder.dim is 0, expected a whole number from 1 on"),
        ({"dim": -7}, "encoder.dim is -7, expected a whole number from 1 on"),
        ({"dim": 7.0}, "encoder.dim is 7.0, expected a whole number from 1 on"),
        ({"dim": "7"}, "encoder.dim is '7', expected a whole number from 1 on"),
        ({"dim": 2**20}, "28 x 5"),
        ({"projection_dim": True}, "encoder.projection_dim is True, expected a whole number from 1 on"),
        ({"n_layers": 0}, "encoder.n_layers is 0, expected a whole number from 1 on"),
        ({"n_layers": float("inf")}, "encoder.n_layers is inf, expected a whole number from 1 on"),
        ({"n_layers": 20}, "which the options ask for: are they from the same model?"),
        ({"cell_clip": -1}, "encoder.cell_clip is -1, expected a number above 0, or null"),
        ({"cell_clip": float("nan")}, "encoder.cell_clip is nan, expected a number above 0, or null"),
        ({"cell_clip": 10**400}, "encoder.cell_clip is 1"),
        ({"proj_clip": "3"}, "encoder.proj_clip is '3', expected a number above 0, or null"),
        ({"proj_clip": True}, "encoder.proj_clip is True, expected a number above 0, or null"),
        *(({key: size}, f"{ARCHITECTURE}: ") for key in ("dim", "projection_dim", "n_layers") for size in HUGE),
        *(({"dim": size, "projection_dim": size}, f"{ARCHITECTURE}: ") for size in HUGE),
    ),
)
def test_an_encoder_that_cannot_be_built_is_named(folder: Path, changes: dict[str, Any], says: str) -> None:
    change_architecture(folder, "encoder", **changes)
    refused(folder, says)


@pytest.mark.parametrize(
    ("changes", "says"),
    _cases(
        ({"name": "lstm"}, "token_embedder.name is 'lstm', expected cnn"),
        ({"name": []}, "token_embedder.name is [], expected cnn"),
        ({"word_dim": 0, "char_dim": 0}, "word_dim and char_dim are 0, expected words, characters or both"),
        ({"word_dim": -1}, "token_embedder.word_dim is -1, expected a whole number from 0 on"),
        ({"word_dim": "3"}, "token_embedder.word_dim is '3', expected a whole number from 0 on"),
        ({"word_dim": 2**20}, "17 x 1048576"),
        ({"word_dim": 0}, "5 x 9"),
        ({"char_dim": 0}, "5 x 3"),
        ({"char_dim": 1.5}, "token_embedder.char_dim is 1.5, expected a whole number from 0 on"),
        ({"activation": "sin"}, "token_embedder.activation is 'sin', expected relu or tanh"),
        ({"activation": []}, "token_embedder.activation is [], expected relu or tanh"),
        ({"filters": []}, "found filters ()"),
        ({"filters": None}, "has no token_embedder.filters"),
        ({"filters": "12"}, "token_embedder.filters is no list of pairs, expected [[width, count], ...]"),
        ({"filters": [[1.0, 3]]}, "token_embedder.filters is no list of pairs, expected [[width, count], ...]"),
        ({"filters": [[1, 3, 5]]}, "token_embedder.filters is no list of pairs, expected [[width, count], ...]"),
        ({"filters": [[1, -3]]}, "filters are ((1, -3),), expected at least 1 everywhere"),
        ({"filters": [[51, 3]]}, "a filter over 51 characters has no place in a row of 50"),
        ({"filters": [[1, 2**20]] * 2}, f"{ARCHITECTURE}: "),
        ({"filters": [[1, 1]] * 2000}, f"{ARCHITECTURE}: "),
        ({"n_highway": -1}, "token_embedder.n_highway is -1, expected a whole number from 0 on"),
        ({"n_highway": 9}, "which the options ask for: are they from the same model?"),
        ({"max_characters_per_token": 2}, "max_characters 2"),
        ({"max_characters_per_token": "50"}, "max_characters_per_token is '50', expected a whole number"),
        *(
            ({key: size}, f"{ARCHITECTURE}: ")
            for key in ("word_dim", "char_dim", "n_highway", "max_characters_per_token")
            for size in HUGE
        ),
        *(({"filters": [[1, size]]}, f"{ARCHITECTURE}: ") for size in HUGE),
        *(({"filters": [[size, 1]], "max_characters_per_token": size}, f"{ARCHITECTURE}: ") for size in HUGE),
    ),
)
def test_a_token_embedder_that_cannot_be_built_is_named(folder: Path, changes: dict[str, Any], says: str) -> None:
    change_architecture(folder, "token_embedder", **changes)
    refused(folder, says)


@pytest.mark.parametrize("length", [1, 2, 10**9])
def test_words_are_not_cut_to_nothing_or_to_anything(length: int, tmp_path: Path) -> None:
    many_langs.write(tmp_path, RECIPES["words"])
    change_architecture(tmp_path, "token_embedder", max_characters_per_token=length)
    refused(tmp_path, f"{ARCHITECTURE}: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"encoder": {"dim": 1' + "0" * 5000 + "}}", "is not JSON"),
        ("[]", "holds list, expected an object"),
        ("7", "holds int, expected an object"),
        ("{}", ""),
        pytest.param('{"encoder": {"name": "elmo"}}', "token_embedder"),
        ('{"token_embedder": {"word_dim": 3}}', "has no encoder"),
        ('{"token_embedder": {"word_dim": 3}, "encoder": [1]}', "encoder"),
    ],
)
def test_an_architecture_that_is_no_architecture_is_named(folder: Path, text: str, says: str) -> None:
    (folder / ARCHITECTURE).write_text(text, encoding="utf-8")
    refused(folder, f"{ARCHITECTURE}", says)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_config_that_is_damaged_is_named(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8")
    refused(folder, "config.json ")


@pytest.mark.parametrize("name", ["char.dic", "encoder.pkl"])
def test_a_config_path_that_leads_to_another_file_of_the_model_is_refused(folder: Path, name: str) -> None:
    many_langs.write_config(folder, f"somewhere/{name}")
    refused(folder, f"{name} is not ")


@pytest.mark.parametrize(("part", "name"), [("encoder", "ELMo"), ("encoder", "ELMO"), ("token_embedder", "CNN")])
def test_names_may_be_written_in_capitals(part: str, name: str, folder: Path) -> None:
    before = opened(folder).checksum
    change_architecture(folder, part, name=name)
    assert opened(folder).checksum == before
