from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lowtide
import many_langs
from lowtide.embeddings.base import Vectors
from lowtide.errors import InputError, LowtideError, MissingPathError
from lowtide.interop.elmoformanylangs import Embedder
from many_langs import RECIPES, Recipe
from model import many_langs_reference as reference
from published import assert_agree

SENTENCES = [*many_langs.SENTENCES, ["<S>", "</S>", "<UNK>"]]
FIVE = [["the", "tide"], ["潮水", "退了", "就", "知道", "."], ["a"], ["b", "goes", "é"], list("abdegio")]
CLIPPED = ["words and characters", "words", "characters", "three layers"]
PLAIN = ["plain", "plain, one layer", "plain, words, tanh", "plain, characters"]

Opened = tuple[Embedder, reference.Model]
Open = Callable[..., Opened]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    def open_(recipe: Recipe = RECIPES["words and characters"], **arguments: Any) -> Opened:
        model = many_langs.write(tmp_path / "model", recipe)
        return Embedder(tmp_path / "model", device="cpu", **arguments), model

    return open_


class Rows:
    """What the original does: which sentence runs in which row, and from which state."""

    def __init__(self, model: reference.Model, batch_size: int) -> None:
        self.model, self.batch_size = model, batch_size
        self.memories: dict[int, reference.Memory] = {}

    def call(self, sentences: Sequence[Sequence[str]]) -> list[reference.Array]:
        numbers = sorted(range(len(sentences)), key=lambda number: len(sentences[number]), reverse=True)
        order = list(range(-(-len(numbers) // self.batch_size)))
        random.shuffle(order)
        embedded: dict[int, reference.Array] = {}
        for batch in order:
            start = batch * self.batch_size
            for row, number in enumerate(numbers[start : start + self.batch_size]):
                zeros = reference.zero_states(self.model)
                memory = self.memories.get(row, (zeros, zeros))
                embedded[number], self.memories[row] = reference.run_row(self.model, sentences[number], memory)
        return [embedded[number] for number in range(len(sentences))]


def cold(model: reference.Model, sentences: Sequence[Sequence[str]]) -> list[reference.Array]:
    return [reference.run_sentence(model, sentence) for sentence in sentences]


def padded(model: reference.Model, sentence: Sequence[str], longest: int) -> reference.Array:
    """(len(sentence), width): the plain encoder over a sentence and the padding behind it."""
    most = model.architecture["token_embedder"]["max_characters_per_token"] - 2
    vectors = [reference.token_vector(model, token[:most]) for token in sentence]
    ends = [reference.token_vector(model, mark) for mark in ("<bos>", "<eos>")]
    # what is spelled with no letters, where marks of words are padding and so is an unknown word
    all_pad = dataclasses.replace(
        model,
        char_dic={**model.char_dic, **dict.fromkeys(("<eow>", "<bow>"), model.char_dic["<pad>"])},
        word_dic={"<oov>": model.word_dic["<pad>"]},
    )
    padding = [reference.token_vector(all_pad, "")] * (longest - len(sentence))
    row = np.array([ends[0], *vectors, ends[1], *padding])
    return reference.read_plainly(model, row)[1 : 1 + len(sentence)]


# -- the snippet of the original's README --------------------------------------------------------


def test_the_readme_of_the_original_runs(tmp_path: Path) -> None:
    many_langs.write(tmp_path / "model")

    e = Embedder(str(tmp_path / "model") + "/")
    sents = [["今", "天", "天氣", "真", "好", "阿"], ["潮水", "退", "了", "就", "知道", "誰", "沒", "穿", "褲子"]]
    vectors = e.sents2elmo(sents)

    assert [v.shape for v in vectors] == [(6, 10), (9, 10)]
    assert all(isinstance(v, np.ndarray) and v.dtype == np.float32 for v in vectors)


# -- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", CLIPPED)
def test_the_first_call_begins_at_zero(recipe: str, opened: Open) -> None:
    embedder, model = opened(RECIPES[recipe])
    assert_agree(embedder.sents2elmo(SENTENCES, -2), cold(model, SENTENCES))


def test_marks_in_a_text_are_marks(opened: Open) -> None:
    embedder, model = opened()
    sentences = [["a", "<bos>", "the", "<eos>", "."], ["<eos>", "<oov>"]]
    assert_agree(embedder.sents2elmo(sentences, -2), cold(model, sentences))


@pytest.mark.parametrize(("batch_size", "seed"), [(1, 0), (2, 0), (2, 1), (3, 2), (64, 0)])
def test_rows_batches_and_their_order_are_the_old_ones(batch_size: int, seed: int, opened: Open) -> None:
    embedder, model = opened(batch_size=batch_size)
    calls = [FIVE, FIVE[:2], [["a"], [], ["b"]], FIVE[::-1]]
    random.seed(seed)
    found = [embedder.sents2elmo(sentences, -2) for sentences in calls]
    random.seed(seed)
    rows = Rows(model, batch_size)
    for one, sentences in zip(found, calls, strict=True):
        assert_agree(one, rows.call(sentences))


def test_warm_state_makes_a_difference(opened: Open) -> None:
    embedder, _ = opened()
    first, again = embedder.sents2elmo([["the", "tide"]] * 2), embedder.sents2elmo([["the", "tide"]])
    np.testing.assert_allclose(first[0], first[1], atol=1e-6)
    assert np.abs(first[0] - again[0]).max() > 1e-3


def test_the_batch_size_may_change_between_calls(opened: Open) -> None:
    embedder, model = opened()
    rows = Rows(model, 64)
    assert_agree(embedder.sents2elmo(FIVE, -2), rows.call(FIVE))
    embedder.batch_size = rows.batch_size = 2
    random.seed(3)
    found = embedder.sents2elmo(FIVE, -2)
    random.seed(3)
    assert_agree(found, rows.call(FIVE))


@pytest.mark.parametrize("num_sentences", [0, 2, 5])
def test_as_many_random_numbers_are_drawn_as_there_were(num_sentences: int, opened: Open) -> None:
    embedder, _ = opened(batch_size=2)
    random.seed(5)
    embedder.sents2elmo(FIVE[:num_sentences])
    found = random.random()
    random.seed(5)
    random.shuffle(list(range(-(-num_sentences // 2))))
    assert found == random.random()


@pytest.mark.parametrize("recipe", PLAIN)
def test_the_plain_encoder_reads_the_padding_of_its_batch(recipe: str, opened: Open) -> None:
    embedder, model = opened(RECIPES[recipe])
    longest = max(map(len, SENTENCES))
    expected = [padded(model, sentence, longest) for sentence in SENTENCES]
    assert_agree(embedder.sents2elmo(SENTENCES, -2), expected)
    assert_agree(embedder.sents2elmo(SENTENCES, -2), expected)  # and remembers nothing


def test_the_padding_of_one_batch_is_not_that_of_another(opened: Open) -> None:
    embedder, model = opened(RECIPES["plain"], batch_size=2)
    longest = [3, 7, 1, 3, 7]  # of the batch that each of the five falls into
    expected = [padded(model, sentence, size) for sentence, size in zip(FIVE, longest, strict=True)]
    assert_agree(embedder.sents2elmo(FIVE, -2), expected)


# -- warm or not ---------------------------------------------------------------------------------


def _off_at_once(open_: Open, recipe: Recipe) -> Opened:
    return open_(recipe, stateful=False)


def _off_later(open_: Open, recipe: Recipe) -> Opened:
    embedder, model = open_(recipe)
    embedder.sents2elmo(FIVE)
    embedder.stateful = False
    return embedder, model


def _off_inside(open_: Open, recipe: Recipe) -> Opened:
    embedder, model = open_(recipe)
    embedder.sents2elmo(FIVE[:2])
    embedder.model.encoder.stateful = False
    return embedder, model


@pytest.mark.parametrize("turned_off", [_off_at_once, _off_later, _off_inside])
@pytest.mark.parametrize("recipe", ["words and characters", "plain"])
def test_without_warm_state_vectors_are_those_of_lowtide(
    recipe: str, turned_off: Callable[[Open, Recipe], Opened], opened: Open, tmp_path: Path
) -> None:
    embedder, _ = turned_off(opened, RECIPES[recipe])
    expected: list[Vectors] = lowtide.load(tmp_path / "model", device="cpu").embed_layers(SENTENCES)
    if recipe == "plain":
        expected = [layers[-1] for layers in expected]
    before = random.getstate()
    assert not embedder.stateful
    for found in (embedder.sents2elmo(SENTENCES, -2), embedder.sents2elmo(SENTENCES, -2)):
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    assert random.getstate() == before


def test_warm_state_goes_on_when_it_is_turned_on_again(opened: Open) -> None:
    embedder, model = opened()
    rows = Rows(model, 64)
    assert_agree(embedder.sents2elmo(FIVE, -2), rows.call(FIVE))
    embedder.stateful = False
    embedder.sents2elmo(FIVE)
    embedder.stateful = True
    assert_agree(embedder.sents2elmo(FIVE, -2), rows.call(FIVE))


def test_the_state_can_be_reset(opened: Open) -> None:
    embedder, model = opened()
    embedder.sents2elmo(FIVE)
    embedder.model.encoder.reset_states()
    assert_agree(embedder.sents2elmo(FIVE, -2), cold(model, FIVE))


@pytest.mark.parametrize("recipe", ["words and characters", "plain"])
def test_each_object_says_once_that_its_vectors_depend_on_others(
    recipe: str, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lowtide")
    embedder, _ = opened(RECIPES[recipe])
    embedder.sents2elmo(FIVE)
    embedder.sents2elmo(FIVE)
    told = [record.getMessage() for record in caplog.records if record.name == "lowtide"]
    assert len(told) == 1 and "stateful=False" in told[0]


def test_nothing_is_said_of_a_state_that_is_off(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lowtide")
    embedder, _ = opened(stateful=False)
    embedder.sents2elmo(FIVE)
    assert not caplog.records


# -- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2, -3, np.int64(1)])
def test_a_layer_is_chosen_by_its_number(number: int, opened: Open) -> None:
    embedder, model = opened()
    assert_agree(embedder.sents2elmo(FIVE, output_layer=number), [layers[number] for layers in cold(model, FIVE)])


def test_the_mean_of_all_layers_is_the_default(opened: Open) -> None:
    embedder, model = opened()
    assert_agree(embedder.sents2elmo(FIVE), [layers.mean(axis=0) for layers in cold(model, FIVE)])


def test_the_plain_encoder_chooses_among_tokens(opened: Open) -> None:
    embedder, model = opened(RECIPES["plain"])
    both = [["the", "tide", "goes", "."], ["a", "b", "goes", "潮水"]]
    expected = [padded(model, sentence, 4) for sentence in both]
    assert_agree(embedder.sents2elmo(both, -1), [vectors.mean(axis=0) for vectors in expected])
    assert_agree(embedder.sents2elmo(both, 2), [vectors[2] for vectors in expected])
    assert_agree(embedder.sents2elmo(both, -4), [vectors[0] for vectors in expected])


@pytest.mark.parametrize(
    ("recipe", "layer", "told"),
    [
        ("words and characters", 3, "there is no layer 3: the model has layers 0 to 2"),
        ("words and characters", -4, "there is no layer -4"),
        ("plain", 2, "sentence 0 has 2 tokens"),
        ("plain", "top", "output_layer is 'top'"),
    ],
)
def test_a_layer_that_is_not_there_is_refused_before_the_state_moves(
    recipe: str, layer: Any, told: str, opened: Open
) -> None:
    embedder, model = opened(RECIPES[recipe])
    with pytest.raises(InputError, match=told):
        embedder.sents2elmo(FIVE, layer)
    if not model.is_plain:
        assert_agree(embedder.sents2elmo(FIVE, -2), cold(model, FIVE))


# -- what goes in --------------------------------------------------------------------------------


def _generated(sentences: Sequence[Sequence[str]]) -> Iterator[Iterator[str]]:
    return (iter(sentence) for sentence in sentences)


@pytest.mark.parametrize("made", [tuple, np.array, _generated, lambda sentences: map(tuple, sentences)])
def test_sentences_may_be_anything_that_gives_tokens(made: Callable[[Any], Any], opened: Open) -> None:
    embedder, model = opened()
    sentences = [["the", "tide"], ["goes", "潮水"]]
    assert_agree(embedder.sents2elmo(made(sentences), -2), cold(model, sentences))


def test_a_text_is_its_characters(opened: Open) -> None:
    embedder, model = opened()
    assert_agree(embedder.sents2elmo(["潮水", "a b"], -2), cold(model, [["潮", "水"], ["a", " ", "b"]]))
    embedder.model.encoder.reset_states()
    assert_agree(embedder.sents2elmo("潮水", -2), cold(model, [["潮"], ["水"]]))


def test_sentences_are_not_changed(opened: Open) -> None:
    embedder, _ = opened()
    sentences = [["the", "x" * 60], ["a"]]
    embedder.sents2elmo(sentences)
    assert sentences == [["the", "x" * 60], ["a"]]


@pytest.mark.parametrize(("layer", "shape"), [(-1, (0, 10)), (-2, (3, 0, 10)), (1, (0, 10))])
def test_an_empty_sentence_has_no_vectors(layer: int, shape: tuple[int, ...], opened: Open) -> None:
    embedder, _ = opened()
    assert [vectors.shape for vectors in embedder.sents2elmo([[], []], layer)] == [shape, shape]


@pytest.mark.filterwarnings("error")
def test_the_mean_of_no_tokens_is_zero(opened: Open) -> None:
    embedder, _ = opened(RECIPES["plain"])
    found = embedder.sents2elmo([["the"], []])
    assert found[1].dtype == np.float32 and np.array_equal(found[1], np.zeros(10))


@pytest.mark.parametrize("recipe", ["words and characters", "plain"])
def test_no_sentences_have_no_vectors(recipe: str, opened: Open) -> None:
    embedder, _ = opened(RECIPES[recipe])
    assert embedder.sents2elmo([]) == []


@pytest.mark.parametrize("sentences", [None, 3, [3], [None], [["the", 3]], [[["the"]]]])
def test_what_is_no_sentence_is_refused(sentences: Any, opened: Open) -> None:
    embedder, _ = opened()
    with pytest.raises(InputError, match="expected a"):
        embedder.sents2elmo(sentences)


@pytest.mark.parametrize("batch_size", [0, -1, "3", None])
def test_a_batch_without_rows_is_refused(batch_size: Any, opened: Open) -> None:
    embedder, _ = opened(batch_size=batch_size)
    with pytest.raises(InputError, match="expected a whole number from 1 on"):
        embedder.sents2elmo(FIVE)


# -- what old code looks up ----------------------------------------------------------------------


def test_sizes_stand_under_their_old_names(opened: Open) -> None:
    for recipe in RECIPES.values():
        embedder, model = opened(recipe)
        assert embedder.config["encoder"]["projection_dim"] == recipe.projection_dim
        used = {
            part: {name: value for name, value in model.architecture[part].items() if name in embedder.config[part]}
            for part in ("encoder", "token_embedder")
        }
        if recipe.name == "lstm" or not recipe.cell_clip:
            used["encoder"] |= {"cell_clip": None, "proj_clip": None}
        assert embedder.config == used


def test_the_dictionaries_are_there(opened: Open) -> None:
    embedder, model = opened(RECIPES["marks in odd places"])
    assert embedder.char_lexicon == model.char_dic
    assert embedder.word_lexicon is not None and set(embedder.word_lexicon) == set(model.word_dic)
    assert opened(RECIPES["characters"])[0].word_lexicon is None
    assert opened(RECIPES["words"])[0].char_lexicon is None


def test_what_was_given_is_kept(opened: Open, tmp_path: Path) -> None:
    embedder, _ = opened(batch_size=7)
    assert (embedder.model_dir, embedder.batch_size, embedder.use_cuda) == (tmp_path / "model", 7, False)
    assert repr(embedder).endswith("batch_size=7, stateful=True)")


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match="is not there"):
        Embedder(tmp_path / "nowhere")


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    many_langs.write(tmp_path / "model")
    (tmp_path / "model" / "encoder.pkl").write_bytes(b"PK")
    with pytest.raises(LowtideError, match=r"encoder\.pkl"):
        Embedder(tmp_path / "model")
