"""Training checkpoints of bilm-tf: the network, the softmax, and which of several is meant."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import published
from lowtide.errors import InputError, LowtideError, ModelError
from lowtide.model import BiLMConfig
from lowtide.weights.native import save_model
from model import reference
from published import SENTENCES, WORD_CONFIG, WORDS, Checkpoint, lacking, opened, setting, write_checkpoint, write_pair
from weights import tensor_bundle_writer as writer

KERNEL = "lm/RNN_0/rnn/multi_rnn_cell/cell_0/lstm_cell/kernel"
KNOWN = [["the", "tide", "goes"], ["退了", "moon", "🌊"], [], ["<S>", "a", "</S>", "<UNK>"]]
TEXT = [["the", "tide", "goes"], ["退了", "moon", "🌊"], [], ["a", "<UNK>", "the"]]
"""Without the marks of a sentence, which are no targets within one."""

Change = Callable[[dict[str, Any]], Any]


def refusal(path: Path, **files: Path) -> str:
    with pytest.raises(LowtideError) as error:
        opened(path, **files)
    return str(error.value)


def poison(tensors: dict[str, Any], name: str, place: int, value: float) -> None:
    """Put a number that is none into a tensor, so many numbers from its beginning."""
    tensors[name] = np.ascontiguousarray(tensors[name])
    tensors[name].reshape(-1)[place] = value


# -- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["as published", "one layer", "no projection of the state", "no residual"])
def test_every_layer_agrees_with_the_reference(variant: str, tmp_path: Path) -> None:
    model = published.published(published.VARIANTS[variant])
    elmo = opened(write_checkpoint(tmp_path, model).folder)
    published.assert_agree(elmo.embed_layers(SENTENCES), published.expected_layers(model, SENTENCES))


@pytest.mark.parametrize("variant", published.VARIANTS)
def test_the_checkpoint_and_its_hdf5_are_one_model(variant: str, tmp_path: Path) -> None:
    model = published.published(published.VARIANTS[variant])
    dumped = opened(write_pair(tmp_path / "pair", model))
    assert opened(write_checkpoint(tmp_path / "training", model).folder).checksum == dumped.checksum


def test_a_model_of_words_agrees_with_the_reference(tmp_path: Path) -> None:
    model = published.published(WORD_CONFIG)
    elmo = opened(write_checkpoint(tmp_path, model).folder)
    published.assert_agree(elmo.embed_layers(KNOWN), published.expected_layers(model, KNOWN, WORDS))


@pytest.mark.parametrize("change", [setting("dropout", 0.3), setting("n_epochs", 10), lacking("bidirectional")])
def test_what_only_the_training_needs_changes_nothing(change: Change, tmp_path: Path) -> None:
    trained = opened(write_checkpoint(tmp_path / "a", options=change).folder)
    assert trained.checksum == opened(write_checkpoint(tmp_path / "b").folder).checksum


@pytest.mark.parametrize("optimiser", ["Adagrad", "Adagrad_1", "Adam", "Adam_1"])
def test_the_memory_of_the_optimiser_is_not_read(optimiser: str, tmp_path: Path) -> None:
    def add(tensors: dict[str, Any]) -> None:
        tensors |= {f"{name}/{optimiser}": array * np.nan for name, array in tensors.items() if name.startswith("lm/")}

    opened(write_checkpoint(tmp_path, tensors=add).folder).language_model()


# -- the softmax -----------------------------------------------------------------------------------


def expected_probabilities(
    checkpoint: Checkpoint, sentence: list[str], words: list[str] | None
) -> tuple[reference.Array, reference.Array]:
    """What each direction expects: from the left of w1 ... ``</S>``, from the right of ``<S>`` ... wn: (n + 1, V)."""
    top = reference.run_sentence(checkpoint.model, sentence, words)[-1]
    half = top.shape[1] // 2
    return (
        reference.probabilities(top[:-1, :half], checkpoint.weight, checkpoint.bias),
        reference.probabilities(top[1:, half:], checkpoint.weight, checkpoint.bias),
    )


@pytest.fixture(params=["characters", "characters, one layer", "words", "words that are the softmax"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoint:
    """Whatever has a softmax."""
    configs: dict[str, BiLMConfig] = {
        "characters": published.VARIANTS["as published"],
        "characters, one layer": published.VARIANTS["one layer"],
    }
    model = published.published(configs.get(request.param, WORD_CONFIG))
    return write_checkpoint(tmp_path, model, shares_softmax=request.param == "words that are the softmax")


def words_of(checkpoint: Checkpoint) -> list[str] | None:
    return list(checkpoint.words) if "embedding" in checkpoint.model.arrays else None


def test_guesses_agree_with_the_reference(checkpoint: Checkpoint) -> None:
    language_model = opened(checkpoint.folder).language_model()
    for sentence, found in zip(KNOWN, language_model.guesses(KNOWN, top=len(WORDS)), strict=True):
        left, right = expected_probabilities(checkpoint, sentence, words_of(checkpoint))
        for at, position in enumerate(found):
            for guesses, expected in (
                (position.from_left, left[at - 1]),
                (position.from_right, right[min(at, len(right) - 1)]),
            ):
                by_type = {guess.type: guess.probability for guess in guesses}
                if guesses:
                    assert by_type == pytest.approx(dict(zip(WORDS, expected, strict=True)), abs=2e-6)
        assert not found[0].from_left and not found[-1].from_right
        assert all(position.from_left for position in found[1:]) and all(p.from_right for p in found[:-1])


def test_perplexity_agrees_with_the_reference(checkpoint: Checkpoint) -> None:
    rows = {word: row for row, word in enumerate(checkpoint.words)}
    nats = np.zeros(2)
    for sentence in TEXT:
        targets = [rows.get(token, rows["<UNK>"]) for token in sentence]
        left, right = expected_probabilities(checkpoint, sentence, words_of(checkpoint))
        nats[0] -= np.log(left[range(len(left)), [*targets, rows["</S>"]]]).sum()
        nats[1] -= np.log(right[range(len(right)), [rows["<S>"], *targets]]).sum()
    count = sum(len(sentence) + 1 for sentence in TEXT)
    found = opened(checkpoint.folder).language_model().perplexity(TEXT)
    assert (found.forward, found.backward) == pytest.approx([math.exp(n / count) for n in nats], rel=1e-5)
    assert found.num_targets == count


def test_a_line_that_is_no_word_has_no_row(tmp_path: Path) -> None:
    lines = [*WORDS[:5], "!!!MAXTERMID", *WORDS[5:]]
    plain, marked = write_checkpoint(tmp_path / "a"), write_checkpoint(tmp_path / "b", lines=lines)
    one, other = (opened(written.folder).language_model().guesses(KNOWN, top=9) for written in (plain, marked))
    assert one == other


def test_of_a_word_that_stands_twice_the_last_row_is_the_target(tmp_path: Path) -> None:
    words = ("<S>", "the", "</S>", "<UNK>", "the", "a")
    checkpoint = write_checkpoint(tmp_path, words=words)
    language_model = opened(checkpoint.folder).language_model()
    left, _ = expected_probabilities(checkpoint, ["the"], None)
    expected = math.exp(-(math.log(left[0, 4]) + math.log(left[1, 2])) / 2)
    assert language_model.perplexity([["the"]]).forward == pytest.approx(expected, rel=1e-5)
    shown = [guess.type for guess in language_model.guesses([["the"]], top=6)[0][1].from_left]
    assert sorted(shown) == sorted(words)


def test_a_model_comes_back_with_its_softmax_from_our_folder(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "training")
    elmo = opened(checkpoint.folder)
    stored = elmo.stored
    save_model(tmp_path / "ours", stored.config, stored.words, stored.bilm, stored.load_softmax())
    ours = opened(tmp_path / "ours")
    assert ours.checksum == elmo.checksum
    assert ours.language_model().guesses(KNOWN, top=9) == elmo.language_model().guesses(KNOWN, top=9)


# -- what is missing or does not fit -------------------------------------------------------------


def test_without_its_vocabulary_a_checkpoint_still_gives_vectors(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "a")
    (checkpoint.folder / "vocab-2016-09-10.txt").unlink()
    assert opened(checkpoint.folder).checksum == opened(write_checkpoint(tmp_path / "b").folder).checksum


def test_without_its_vocabulary_a_checkpoint_says_that_guesses_need_it(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path)
    (checkpoint.folder / "vocab-2016-09-10.txt").unlink()
    with pytest.raises(ModelError) as error:
        opened(checkpoint.folder).language_model()
    assert str(tmp_path) in str(error.value) and "vocabulary" in str(error.value)


def test_the_vocabulary_may_be_named(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path)
    (checkpoint.folder / "vocab-2016-09-10.txt").rename(tmp_path / "words")
    opened(checkpoint.folder, vocabulary=tmp_path / "words").language_model()


@pytest.mark.parametrize("name", ["lm/softmax/W", "lm/softmax/b"])
def test_without_its_softmax_a_checkpoint_says_so(name: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, tensors=lambda tensors: tensors.pop(name))
    with pytest.raises(ModelError, match="softmax"):
        opened(checkpoint.folder).language_model()


def test_a_softmax_of_another_vocabulary_is_named(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, lines=[*WORDS, "moon"])
    with pytest.raises(ModelError) as error:
        opened(checkpoint.folder).language_model()
    said = str(error.value)
    assert "model.ckpt-935588" in said and "lm/softmax/W is 9 x 5" in said and "10 x 5" in said and "vocabulary" in said


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["lm/softmax/W", "lm/softmax/b"])
def test_numbers_of_the_softmax_that_are_none_are_named(name: str, value: float, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, tensors=lambda tensors: poison(tensors, name, 7, value))
    with pytest.raises(ModelError) as error:
        opened(checkpoint.folder).language_model()
    assert "model.ckpt-935588" in str(error.value) and f"{name} has 1 numbers" in str(error.value)


def test_the_place_of_a_number_that_is_none_is_that_in_the_file(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, tensors=lambda tensors: poison(tensors, "lm/softmax/W", 27, np.nan))
    with pytest.raises(ModelError, match=r"\[5, 2\]"):
        opened(checkpoint.folder).language_model()


@pytest.mark.parametrize("name", ["lm/char_embed", "lm/CNN/W_cnn_1", KERNEL])
def test_numbers_that_are_none_are_named_as_in_the_checkpoint(name: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, tensors=lambda tensors: poison(tensors, name, 7, np.nan))
    said = refusal(checkpoint.folder)
    assert "model.ckpt-935588" in said and f"{name} has 1 numbers" in said


@pytest.mark.parametrize("name", ["lm/char_embed", "lm/CNN_high_0/b_carry", KERNEL, KERNEL.replace("RNN_0", "RNN_1")])
def test_a_tensor_that_is_missing_is_named_as_in_the_checkpoint(name: str, tmp_path: Path) -> None:
    said = refusal(write_checkpoint(tmp_path, tensors=lambda tensors: tensors.pop(name)).folder)
    assert "model.ckpt-935588" in said and f"has no {name}" in said


def test_a_tensor_of_one_layer_that_is_missing_is_named_as_in_the_checkpoint(tmp_path: Path) -> None:
    name, model = "lm/RNN_1/rnn/lstm_cell/bias", published.published(published.VARIANTS["one layer"])
    said = refusal(write_checkpoint(tmp_path, model, tensors=lambda tensors: tensors.pop(name)).folder)
    assert "RNN_1" in said and said.endswith("?") and "bias" in said


@pytest.mark.parametrize("name", ["lm/char_embed", "lm/CNN_proj/b_proj", KERNEL])
def test_a_tensor_of_another_shape_is_named_as_in_the_checkpoint(name: str, tmp_path: Path) -> None:
    def shorten(tensors: dict[str, Any]) -> None:
        tensors[name] = tensors[name][:-1]

    said = refusal(write_checkpoint(tmp_path, tensors=shorten).folder)
    assert "model.ckpt-935588" in said and f"{name} is" in said


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "bool", "complex64"])
def test_a_tensor_of_another_kind_is_named(dtype: str, tmp_path: Path) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors[KERNEL] = tensors[KERNEL].astype(dtype)

    said = refusal(write_checkpoint(tmp_path, tensors=change).folder)
    assert f"{KERNEL} is {dtype}, expected float32" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (setting("lstm.n_layers", 1), "lm/RNN_0/rnn/multi_rnn_cell/cell_1/lstm_cell"),
        (setting("lstm.n_layers", 3), "lm/RNN_0/rnn/multi_rnn_cell/cell_2/lstm_cell"),
        (setting("lstm.dim", 8), KERNEL),
        (setting("char_cnn.n_highway", 2), "lm/CNN_high_1"),
        (setting("char_cnn.n_highway", 0), "lm/CNN_high_0"),
        (setting("char_cnn.filters", [[1, 3], [2, 4]]), "lm/CNN"),
        (lacking("char_cnn"), "lm/embedding"),
    ],
)
def test_options_of_another_model_are_refused(change: Change, says: str, tmp_path: Path) -> None:
    said = refusal(write_checkpoint(tmp_path, options=change).folder)
    assert "model.ckpt-935588" in said and says in said


def test_the_same_layer_under_both_names_is_refused(tmp_path: Path) -> None:
    def add(tensors: dict[str, Any]) -> None:
        tensors |= {name.replace("multi_rnn_cell/cell_0/", ""): 2 * array for name, array in tensors.items()}

    said = refusal(write_checkpoint(tmp_path, tensors=add).folder)
    assert "/rnn/lstm_cell/" in said and "/rnn/multi_rnn_cell/cell_0/lstm_cell/" in said


def test_options_that_say_one_direction_are_refused(tmp_path: Path) -> None:
    said = refusal(write_checkpoint(tmp_path, options=setting("bidirectional", False)).folder)
    assert "options.json" in said and "one direction" in said


def test_the_names_of_one_direction_are_refused(tmp_path: Path) -> None:
    def one_direction(tensors: dict[str, Any]) -> None:
        for name in list(tensors):
            if "/RNN_" in name:
                array = tensors.pop(name)
                if "/RNN_0/" in name:
                    tensors[name.replace("/RNN_0/", "/")] = array

    assert "RNN_0" in refusal(write_checkpoint(tmp_path, tensors=one_direction).folder)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    def other(tensors: dict[str, Any]) -> None:
        tensors.clear()
        tensors["dense/kernel"] = np.ones((3, 3), np.float32)

    assert "lm/char_embed" in refusal(write_checkpoint(tmp_path, tensors=other).folder)


@pytest.mark.parametrize("mark", ["<S>", "</S>", "<UNK>"])
def test_a_vocabulary_without_a_mark_is_refused(mark: str, tmp_path: Path) -> None:
    lines = ["x" if word == mark else word for word in WORDS]
    with pytest.raises(ModelError) as error:
        opened(write_checkpoint(tmp_path, lines=lines).folder).language_model()
    assert "vocab-2016-09-10.txt" in str(error.value) and mark in str(error.value)


def test_a_checkpoint_of_words_without_its_vocabulary_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, published.published(WORD_CONFIG))
    (checkpoint.folder / "vocab-2016-09-10.txt").unlink()
    assert "vocab" in refusal(checkpoint.folder)


def test_a_checkpoint_takes_no_token_cache(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path)
    cache = published.write_cache(tmp_path / "cache.h5", np.ones((9, 5), np.float32))
    with pytest.raises(InputError, match="token_cache"):
        opened(checkpoint.folder, token_cache=cache)


@pytest.mark.parametrize("kept", [0, 1, 40, 0.5, -60])
@pytest.mark.parametrize("ending", [".index", ".data-00000-of-00001"])
def test_a_file_that_was_cut_off_is_refused(ending: str, kept: float, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path).folder / f"model.ckpt-935588{ending}"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(ModelError) as error:
        opened(tmp_path).language_model()
    assert str(path) in str(error.value)


def test_a_data_file_that_is_gone_is_named(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path).folder / "model.ckpt-935588.data-00000-of-00001"
    path.unlink()
    assert str(path) in refusal(tmp_path)


def test_sizes_beyond_all_measure_ask_for_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index says of every tensor how many bytes it has; the data file is short."""
    size, checkpoint = 200_000, write_checkpoint(tmp_path, options=setting("lstm.dim", 200_000))
    kept = published.published().arrays
    tensors: dict[str, tuple[int, ...]] = {f"lm/{n}": a.shape for n, a in kept.items() if not n.startswith("RNN")}
    for direction in (0, 1):
        for layer in (0, 1):
            cell = f"lm/RNN_{direction}/rnn/multi_rnn_cell/cell_{layer}/lstm_cell"
            tensors |= {f"{cell}/kernel": (10, 4 * size), f"{cell}/bias": (4 * size,)}
            tensors[f"{cell}/projection/kernel"] = (size, 5)
    table = {b"": writer.header()}
    for name in sorted(tensors):
        table[name.encode()] = writer.entry("float32", tensors[name], 0, 0, 4 * math.prod(tensors[name]))
    index = checkpoint.folder / "model.ckpt-935588.index"
    index.write_bytes(writer.index_file(writer.blocks(table)))
    monkeypatch.setattr(nn.Module, "to_empty", lambda *_, **__: pytest.fail("memory was asked for"))
    said = refusal(checkpoint.folder)
    assert "model.ckpt-935588" in said and "kernel" in said


# -- which of several ------------------------------------------------------------------------------


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A folder with two checkpoints of one training."""
    write_checkpoint(tmp_path, published.published(seed=7), name="model.ckpt-7")
    return write_checkpoint(tmp_path, published.published(seed=12), name="model.ckpt-12").folder


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The step of each, by its checksum."""
    folder = tmp_path_factory.mktemp("steps")
    return {
        opened(write_checkpoint(folder / str(step), published.published(seed=step)).folder).checksum: step
        for step in (7, 12)
    }


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ('model_checkpoint_path: "model.ckpt-7"\nall_model_checkpoint_paths: "model.ckpt-12"\n', 7),
        ('all_model_checkpoint_paths: "model.ckpt-7"\nmodel_checkpoint_path: "model.ckpt-12"\n', 12),
        ('model_checkpoint_path: "/theirs/2x4096/model.ckpt-7"\n', 7),
        ('model_checkpoint_path: "model.ckpt-12"\r\n', 12),
        ('model_checkpoint_path: "C:\\\\elmo\\\\model.ckpt-7"\n', 7),
    ],
)
def test_of_several_checkpoints_the_newest_is_read(text: str, step: int, several: Path, steps: dict[str, int]) -> None:
    (several / "checkpoint").write_text(text, encoding="utf-8", newline="\n")
    assert steps[opened(several).checksum] == step


@pytest.mark.parametrize("text", [None, "", 'model_checkpoint_path: "model.ckpt-99"\n', "model_checkpoint_path: 7"])
def test_of_several_checkpoints_none_is_guessed(text: str | None, several: Path) -> None:
    if text is not None:
        (several / "checkpoint").write_text(text, encoding="utf-8")
    said = refusal(several)
    assert "model.ckpt-7.index" in said and "model.ckpt-12.index" in said


@pytest.mark.parametrize("ending", ["", ".index"])
def test_of_several_checkpoints_one_may_be_named(ending: str, several: Path, steps: dict[str, int]) -> None:
    (several / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-12"\n', encoding="utf-8")
    assert steps[opened(several / f"model.ckpt-7{ending}").checksum] == 7
    assert steps[opened(several / "options.json", weights=several / f"model.ckpt-7{ending}").checksum] == 7


def test_a_checkpoint_that_was_moved_alone_needs_no_name(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-99"\n', encoding="utf-8")
    opened(checkpoint.folder)


def test_a_checkpoint_file_that_is_no_text_is_refused(several: Path) -> None:
    (several / "checkpoint").write_bytes(b"\xff\xfe")
    assert str(several) in refusal(several)


def test_shards_are_one_checkpoint(tmp_path: Path) -> None:
    kept: dict[str, Any] = {}
    checkpoint = write_checkpoint(tmp_path / "a", tensors=lambda tensors: kept.update(tensors))
    one = opened(checkpoint.folder)
    (tmp_path / "a" / "model.ckpt-935588.data-00000-of-00001").unlink()
    writer.write(tmp_path / "a" / "model.ckpt-935588", kept, num_shards=3, block_size=300)
    assert opened(checkpoint.folder).checksum == one.checksum
