"""What old code for AllenNLP sees. The names and the layout of its state dicts are stated here a second time."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import published
import tiny
from lowtide.errors import InputError, LowtideError, MissingPathError, ModelError, ShapeError
from lowtide.interop import allennlp
from lowtide.interop.allennlp import (
    Elmo,
    ElmoEmbedder,
    ElmoTokenEmbedder,
    ScalarMix,
    add_sentence_boundary_token_ids,
    batch_to_ids,
    remove_sentence_boundaries,
)
from lowtide.model import BiLMConfig, LayerMix
from model import reference
from published import assert_agree, write_pair

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "allennlp"
ADDRESS = "https://allennlp.s3.amazonaws.com/models/elmo"
ORIGINAL = "elmo_2x4096_512_2048cnn_2xhighway_"
WIDTH = 2 * tiny.LSTM.width

Batch = list[list[str]]


def as_long_as_published(config: BiLMConfig) -> BiLMConfig:
    assert config.char_cnn is not None
    return dataclasses.replace(config, char_cnn=dataclasses.replace(config.char_cnn, max_characters=50))


VARIANTS = {name: as_long_as_published(config) for name, config in tiny.VARIANTS.items()}
BATCHES: list[Batch] = [
    [["The", "tide", "goes", "out", "."], ["潮水"]],
    [["The", "tide", "goes", "out", "."]],
    [["a", ""], [], ["🌊", "x" * 60, "潮" * 17], ["b", "c", "d"]],
    [["<S>", "</S>"], ["a", "b", "c"]],
    [["d"], ["e"], ["f"], ["g"], ["h", "i"]],
]
"""Of changing sizes; an empty sentence among others runs too."""


@dataclasses.dataclass(frozen=True)
class Published:
    """The two files of a model, and what stands in them."""

    options: Path
    weights: Path
    model: reference.Model
    vectors: dict[str, reference.Array] = dataclasses.field(default_factory=dict)
    """Of the tokens that were asked for; the reference takes its time."""

    @property
    def files(self) -> tuple[str, str]:
        return str(self.options), str(self.weights)

    @property
    def num_layers(self) -> int:
        return int(self.model.options["lstm"]["n_layers"]) + 1

    def vector(self, token: str) -> reference.Array:
        if token not in self.vectors:
            self.vectors[token] = reference.token_vector(self.model, reference.spell(token, 50))
        return self.vectors[token]


def write(folder: Path, config: BiLMConfig = VARIANTS["as published"], *, seed: int = 0, stem: str = "") -> Published:
    model = published.published(config, seed=seed)
    write_pair(folder, model, stem=stem)
    return Published(folder / f"{stem}options.json", folder / f"{stem}weights.hdf5", model)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return write(tmp_path_factory.mktemp("allennlp"))


@pytest.fixture(scope="module")
def another_model(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """The same sizes with other numbers."""
    return write(tmp_path_factory.mktemp("allennlp"), seed=1)


class Rows:
    """What the original does: row r of a batch goes on where row r of the batches before has ended."""

    def __init__(self, there: Published, *, stateful: bool = True) -> None:
        self.there, self.stateful = there, stateful
        self.memory: dict[int, tuple[list[reference.State], list[reference.State]]] = {}

    def layers(self, batch: Sequence[Sequence[str]]) -> list[reference.Array]:
        """(layers, tokens + 2, width) of every sentence."""
        if not self.stateful:
            self.memory = {}
        vectors = [np.array([self.there.vector(token) for token in ["<S>", *row, "</S>"]]) for row in batch]
        return reference.run_batch(self.there.model, vectors, self.memory)


def padded(rows: Sequence[reference.Array]) -> reference.Array:
    """(layers, rows, longest, width), zero beyond the end."""
    longest = max(row.shape[1] for row in rows)
    return np.stack([np.pad(row, ((0, 0), (0, longest - row.shape[1]), (0, 0))) for row in rows], axis=1)


def without_boundaries(rows: Sequence[reference.Array]) -> reference.Array:
    return padded([row[:, 1:-1] for row in rows])


def lengths_of(mask: Tensor) -> list[int]:
    assert mask.dtype == torch.bool
    return [int(length) for length in mask.sum(dim=1)]


def assert_close(found: Tensor | Sequence[Tensor], expected: Any) -> None:
    one = found if isinstance(found, Tensor) else torch.stack(list(found))
    assert_agree([one.detach().numpy()], [np.asarray(expected)])


def elmo_of(tiny_model: Published, representations: int = 1, **arguments: Any) -> Elmo:
    return Elmo(*tiny_model.files, representations, **{"dropout": 0.0, **arguments})


def run(elmo: nn.Module, batch: Sequence[Sequence[str]]) -> Tensor:
    """(rows, tokens, width) of the first mix."""
    vectors: Tensor = elmo(batch_to_ids(batch))["elmo_representations"][0]
    return vectors.detach()


# -- ids and boundaries ----------------------------------------------------------------------------


def test_tokens_are_spelled_as_published() -> None:
    ids = batch_to_ids(published.SENTENCES)
    assert ids.dtype == torch.int64 and ids.shape == (len(published.SENTENCES), 7, 50)
    for row, sentence in zip(ids.tolist(), published.SENTENCES, strict=True):
        assert row[: len(sentence)] == [reference.spell(token, 50) for token in sentence]
        assert not np.any(row[len(sentence) :])


@pytest.mark.parametrize(
    "batch", [(("ab", "c"), ("d",)), (sentence for sentence in [["ab", "c"], ["d"]]), [iter(["ab", "c"]), "d"]]
)
def test_sentences_may_be_anything_that_gives_tokens(batch: Any) -> None:
    assert torch.equal(batch_to_ids(batch), batch_to_ids([["ab", "c"], ["d"]]))


def test_empty_sentences_keep_their_three_dimensions() -> None:
    assert (batch_to_ids([[], []]).shape, batch_to_ids([]).shape) == ((2, 0, 50), (0, 0, 50))


@pytest.mark.parametrize("batch", [3, None, [3], [None], [[3]], [[None]], [["a", b"b"]]])
def test_what_is_no_sentence_is_refused(batch: Any) -> None:
    with pytest.raises(InputError, match="expected a"):
        batch_to_ids(batch)


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float32])
def test_boundaries_are_removed_and_what_lies_beyond_the_end_is_zero(kind: torch.dtype) -> None:
    tensor = torch.arange(1.0, 31.0).view(3, 5, 2)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]).to(kind)
    removed, kept = remove_sentence_boundaries(tensor, mask)
    assert removed.tolist() == [[[3, 4], [5, 6], [7, 8]], [[13, 14], [0, 0], [0, 0]], [[0, 0], [0, 0], [0, 0]]]
    assert kept.tolist() == [[True, True, True], [True, False, False], [False, False, False]]


def test_boundaries_are_added_to_numbers_and_to_vectors() -> None:
    numbers = torch.tensor([[5, 6], [8, 0], [0, 0]])
    added, mask = add_sentence_boundary_token_ids(numbers, numbers > 0, 9, 7)
    assert added.tolist() == [[9, 5, 6, 7], [9, 8, 7, 0], [9, 7, 0, 0]] and torch.equal(mask, added > 0)
    vectors = numbers[..., None].repeat(1, 1, 3)
    marks = torch.tensor([9, 0, 0]), torch.tensor([0, 0, 7])
    added, mask = add_sentence_boundary_token_ids(vectors, numbers > 0, *marks)
    assert added[1].tolist() == [[9, 0, 0], [8, 8, 8], [0, 0, 7], [0, 0, 0]]
    assert mask.tolist() == [[True] * 4, [True] * 3 + [False], [True] * 2 + [False] * 2]


def test_a_mask_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="found a mask"):
        add_sentence_boundary_token_ids(torch.zeros(2, 4, 3), torch.ones(2, 3), 1, 2)
    with pytest.raises(ShapeError, match="found a mask"):
        remove_sentence_boundaries(torch.zeros(2, 4, 3), torch.ones(2, 3))
    with pytest.raises(ShapeError, match="two tokens or more"):
        remove_sentence_boundaries(torch.zeros(2, 1, 3), torch.ones(2, 1))


# -- numbers, and warm state -----------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_layer_is_that_of_the_published_equations_with_the_state_carried(variant: str, tmp_path: Path) -> None:
    there = write(tmp_path, VARIANTS[variant])
    bilm, rows = allennlp._ElmoBiLm(*there.files), Rows(there)
    for batch in BATCHES:
        found, expected = bilm(batch_to_ids(batch)), rows.layers(batch)
        assert_close(found["activations"], padded(expected))
        assert lengths_of(found["mask"]) == [len(sentence) + 2 for sentence in batch]
    width = expected[0].shape[-1]
    assert (bilm.num_layers, bilm.get_output_dim()) == (there.num_layers, width)


@pytest.mark.parametrize("is_training", [True, False])
def test_a_representation_is_the_mix_without_boundaries(tiny_model: Published, is_training: bool) -> None:
    elmo, rows = elmo_of(tiny_model, 2).train(is_training), Rows(tiny_model)
    mix: Any = elmo.scalar_mix_1
    with torch.no_grad():
        for number, scalar in enumerate((0.3, -0.4, 1.1)):
            mix.scalar_parameters[number].fill_(scalar)
        mix.gamma.fill_(1.7)
    for batch in BATCHES:
        found, layers = elmo(batch_to_ids(batch)), without_boundaries(rows.layers(batch))
        assert_close(found["elmo_representations"][0], layers.mean(axis=0))
        weights = np.exp([0.3, -0.4, 1.1]) / np.exp([0.3, -0.4, 1.1]).sum()
        assert_close(found["elmo_representations"][1], 1.7 * np.tensordot(weights, layers, axes=1))
        assert lengths_of(found["mask"]) == list(map(len, batch))
    assert elmo.get_output_dim() == WIDTH


def test_boundaries_can_be_kept(tiny_model: Published) -> None:
    elmo, rows = elmo_of(tiny_model, keep_sentence_boundaries=True), Rows(tiny_model)
    for batch in BATCHES:
        found = elmo(batch_to_ids(batch))
        assert_close(found["elmo_representations"][0], padded(rows.layers(batch)).mean(axis=0))
        assert lengths_of(found["mask"]) == [len(sentence) + 2 for sentence in batch]


@pytest.mark.parametrize("keeps", [True, False])
def test_layer_norm_is_over_the_batch_boundaries_included(tiny_model: Published, keeps: bool) -> None:
    rows = Rows(tiny_model).layers(BATCHES[2])
    layers = padded(rows)
    flat = np.concatenate(rows, axis=1)  # (layers, all positions, width)
    mean, deviation = (moment.reshape(-1, 1, 1, 1) for moment in (flat.mean((1, 2)), flat.std((1, 2))))
    expected = ((layers - mean) / deviation).mean(axis=0)  # padding too is shifted and scaled
    found = run(elmo_of(tiny_model, do_layer_norm=True, keep_sentence_boundaries=keeps), BATCHES[2])
    if keeps:
        assert_close(found, expected)
    else:
        for row, sentence in enumerate(BATCHES[2]):
            assert_close(found[row, : len(sentence)], expected[row, 1 : len(sentence) + 1])
            assert not found[row, len(sentence) :].any()


def test_leading_dimensions_are_rows_and_come_back(tiny_model: Published) -> None:
    flat = [["a", "b"], ["c"], ["d", "e"], ["f", "g"]]
    ids = batch_to_ids(flat).view(1, 2, 2, 2, 50)
    for keeps in (False, True):
        expected = elmo_of(tiny_model, keep_sentence_boundaries=keeps)(batch_to_ids(flat))
        found = elmo_of(tiny_model, keep_sentence_boundaries=keeps)(ids)
        assert found["mask"].shape == (1, 2, 2, 2 + 2 * keeps)
        assert torch.equal(found["elmo_representations"][0].flatten(0, 2), expected["elmo_representations"][0])


Off = Callable[[Published], Elmo]


def _by_attribute(there: Published) -> Elmo:
    elmo = elmo_of(there)
    run(elmo, BATCHES[0])
    elmo._elmo_lstm._elmo_lstm.stateful = False
    return elmo


@pytest.mark.parametrize("off", [lambda there: elmo_of(there, stateful=False), _by_attribute])
def test_without_state_every_call_begins_at_zero_and_batches_may_grow(tiny_model: Published, off: Off) -> None:
    elmo, rows = off(tiny_model), Rows(tiny_model, stateful=False)
    for batch in (*BATCHES, BATCHES[0]):
        assert_close(run(elmo, batch), without_boundaries(rows.layers(batch)).mean(axis=0))


def test_after_a_reset_the_numbers_are_those_of_a_new_object(tiny_model: Published) -> None:
    elmo = elmo_of(tiny_model)
    first = [run(elmo, batch) for batch in BATCHES]
    elmo._elmo_lstm._elmo_lstm.reset_states()
    assert all(torch.equal(run(elmo, batch), one) for batch, one in zip(BATCHES, first, strict=True))


def test_some_rows_are_reset_by_a_mask(tiny_model: Published) -> None:
    elmo, rows, batch = elmo_of(tiny_model), Rows(tiny_model), BATCHES[2]
    run(elmo, batch)
    rows.layers(batch)
    elmo._elmo_lstm._elmo_lstm.reset_states(torch.tensor([True, False, False, True]))
    del rows.memory[0], rows.memory[3]
    assert_close(run(elmo, batch), without_boundaries(rows.layers(batch)).mean(axis=0))
    with pytest.raises(InputError, match=r"a mask \(3,\) for the states of 4 rows"):
        elmo._elmo_lstm._elmo_lstm.reset_states(torch.tensor([True, False, False]))
    elmo._elmo_lstm._elmo_lstm.reset_states()
    with pytest.raises(InputError, match="for the states of 0 rows"):
        elmo._elmo_lstm._elmo_lstm.reset_states(torch.tensor([True]))


def test_states_are_found_where_old_code_moves_and_forgets_them(tiny_model: Published) -> None:
    elmo, rows = elmo_of(tiny_model), Rows(tiny_model)
    lstm: Any = elmo._elmo_lstm._elmo_lstm
    assert not lstm._states
    for batch in BATCHES:
        rows.layers(batch)
        run(elmo, batch)
        lstm._states = tuple(state.to("cpu").clone() for state in lstm._states)  # as flair does
    for number, part in enumerate(("p", "c")):
        expected = [
            [
                np.concatenate([getattr(both[0][layer], part), getattr(both[1][layer], part)])
                for both in rows.memory.values()
            ]
            for layer in range(tiny_model.num_layers - 1)
        ]
        assert_close(lstm._states[number], expected)
    lstm._states = None
    assert torch.equal(run(elmo, BATCHES[1]), run(elmo_of(tiny_model), BATCHES[1]))
    assert (lstm.hidden_size, lstm.cell_size, lstm.num_layers) == (tiny.LSTM.width, tiny.LSTM.cell_width, 2)


def test_states_follow_a_network_that_is_moved(tiny_model: Published) -> None:
    elmo = elmo_of(tiny_model)
    expected = [run(elmo, batch) for batch in BATCHES]
    elmo = elmo_of(tiny_model)
    run(elmo, BATCHES[0])
    elmo.double()
    for batch, one in zip(BATCHES[1:], expected[1:], strict=True):
        found = run(elmo, batch)
        assert found.dtype == torch.float64
        assert_close(found.float(), one)


def test_a_copy_goes_on_by_itself(tiny_model: Published) -> None:
    elmo = elmo_of(tiny_model)
    run(elmo, BATCHES[0])
    other = copy.deepcopy(elmo)
    stored = io.BytesIO()
    torch.save(elmo, stored)
    stored.seek(0)
    read = torch.load(stored, weights_only=False)
    expected = [run(elmo, batch) for batch in BATCHES]
    for one in (other, read):
        assert all(torch.equal(run(one, batch), vectors) for batch, vectors in zip(BATCHES, expected, strict=True))


def test_the_log_says_once_that_the_state_is_warm(tiny_model: Published, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="lowtide")
    elmo = elmo_of(tiny_model, 2)
    assert not caplog.messages  # there is time to turn it off
    for batch in BATCHES:
        run(elmo, batch)
    [line] = caplog.messages
    assert "warm" in line and "stateful=False" in line
    caplog.clear()
    run(elmo_of(tiny_model, stateful=False), BATCHES[0])
    ElmoEmbedder(*tiny_model.files, stateful=False).embed_batch(BATCHES[0])
    assert not caplog.messages


def test_whole_numbers_of_any_size_are_ids(tiny_model: Published) -> None:
    ids = batch_to_ids(BATCHES[0])
    for kind in (torch.int32, torch.int16):
        found, expected = elmo_of(tiny_model)(ids.to(kind)), elmo_of(tiny_model)(ids)
        assert torch.equal(found["elmo_representations"][0], expected["elmo_representations"][0])


def test_rows_of_zeros_are_empty_sentences(tiny_model: Published) -> None:
    bilm = allennlp._ElmoBiLm(*tiny_model.files)
    expected = padded(Rows(tiny_model).layers([[], []]))
    assert_close(bilm(batch_to_ids([[], []]))["activations"], expected)
    bilm._elmo_lstm.reset_states()
    found = bilm(torch.zeros(2, 3, 50, dtype=torch.int64))
    assert_close([layer[:, :2] for layer in found["activations"]], expected)
    assert lengths_of(found["mask"]) == [2, 2] and not torch.stack(found["activations"])[:, :, 2:].any()


@pytest.mark.parametrize(
    "ids",
    [
        None,
        [[3]],
        torch.zeros(2, 3, 50),
        torch.zeros(0, 3, 50, dtype=torch.int64),
        torch.zeros(3, 50, dtype=torch.int64),
        torch.zeros(2, 3, 40, dtype=torch.int64),
        torch.full((1, 1, 50), 262),
        torch.full((1, 1, 50), -1),
    ],
)
def test_what_are_no_ids_is_refused(tiny_model: Published, ids: Any) -> None:
    with pytest.raises(InputError, match="expected char ids as batch_to_ids gives them"):
        elmo_of(tiny_model)(ids)


@pytest.mark.shared
@pytest.mark.skipif(not FIXTURE.is_dir(), reason="the public fixture is not here")
def test_the_public_fixture_gives_the_numbers_that_tensorflow_gave() -> None:
    bilm = allennlp._ElmoBiLm(FIXTURE / "options.json", FIXTURE / "lm_weights.hdf5")
    lists = json.loads((FIXTURE / "sentences.json").read_text(encoding="utf-8"))
    for number in range(10):
        batch = [sentences[number].split() for sentences in lists]
        top = bilm(batch_to_ids(batch))["activations"][-1]
        for row, sentence in enumerate(batch):
            with h5py.File(FIXTURE / f"lm_embeddings_{row}.hdf5") as file:
                expected = np.concatenate(list(file[str(number)][...]), axis=1)  # forward, then backward
            np.testing.assert_allclose(top[row, 1 : len(sentence) + 1].numpy(), expected, rtol=0, atol=2e-6)


# -- dropout, gradients, mixes ---------------------------------------------------------------------


def test_dropout_is_a_half_of_what_comes_out_while_training(tiny_model: Published) -> None:
    elmo = Elmo(*tiny_model.files, 1, stateful=False)
    assert elmo.training and elmo._dropout.p == 0.5
    plain = run(elmo.eval(), BATCHES[1])
    torch.manual_seed(0)
    dropped = run(elmo.train(), BATCHES[1])
    is_kept = dropped != 0
    assert 0.3 < is_kept.float().mean() < 0.7
    torch.testing.assert_close(dropped[is_kept], 2 * plain[is_kept])


def test_only_the_mixes_are_trained_unless_asked(tiny_model: Published) -> None:
    elmo = elmo_of(tiny_model, 2)
    names = [name for name, parameter in elmo.named_parameters() if parameter.requires_grad]
    assert names == [
        f"scalar_mix_{mix}.{name}"
        for mix in (0, 1)
        for name in ("gamma", *(f"scalar_parameters.{n}" for n in range(3)))
    ]
    assert all(parameter.requires_grad for parameter in elmo_of(tiny_model, requires_grad=True).parameters())
    fixed = elmo_of(tiny_model, scalar_mix_parameters=[-9e10, 1, -9e10])
    assert not any(parameter.requires_grad for parameter in fixed.parameters())
    assert_close(run(fixed, BATCHES[0]), without_boundaries(Rows(tiny_model).layers(BATCHES[0]))[1])


def test_gradients_reach_the_whole_network_and_training_changes_it(tiny_model: Published) -> None:
    elmo = elmo_of(tiny_model, requires_grad=True)
    before = {name: tensor.clone() for name, tensor in elmo.state_dict().items()}
    optimizer = torch.optim.SGD(elmo.parameters(), lr=0.1)
    for batch in BATCHES[:2]:  # the second call goes on from states without a gradient
        optimizer.zero_grad()
        elmo(batch_to_ids(batch))["elmo_representations"][0].square().sum().backward()
        optimizer.step()
    changed = [name for name, tensor in elmo.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed == list(before)


def test_a_mix_is_a_layer_mix() -> None:
    layers = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    for do_layer_norm in (False, True):
        mix = ScalarMix(3, do_layer_norm, [0.5, -1.0, 2.0])
        ours = LayerMix(3, layer_norm="published" if do_layer_norm else "none")
        with torch.no_grad():
            ours.layer_scalars.copy_(torch.tensor([0.5, -1.0, 2.0]))
        assert torch.equal(mix(list(layers), mask)[mask], ours(layers, mask)[mask])
    assert torch.equal(ScalarMix(2)([layers[0], layers[2]]), (layers[0] + layers[2]) / 2)
    assert {name: list(tensor.shape) for name, tensor in ScalarMix(2).state_dict().items()} == {
        "gamma": [1],
        "scalar_parameters.0": [1],
        "scalar_parameters.1": [1],
    }
    assert not any(parameter.requires_grad for parameter in ScalarMix(2, trainable=False).parameters())


def test_a_mix_refuses_what_it_is_not_made_for() -> None:
    with pytest.raises(ShapeError, match="found 2 layers, this mix is of 3"):
        ScalarMix(3)([torch.zeros(1, 1), torch.zeros(1, 1)])
    with pytest.raises(InputError, match="wants a mask"):
        ScalarMix(1, do_layer_norm=True)([torch.zeros(1, 1, 1)])
    with pytest.raises(InputError, match="found 1 scalars for a mix of 3 layers"):
        ScalarMix(3, initial_scalar_parameters=[1.0])


# -- cached words ----------------------------------------------------------------------------------

VOCABULARY = ["@@PADDING@@", "@@UNKNOWN@@", "The", "tide", "out", "潮水", "."]


def words_of(batch: Batch) -> Tensor:
    longest = max(map(len, batch))
    return torch.tensor([[VOCABULARY.index(word) for word in row] + [0] * (longest - len(row)) for row in batch])


CACHED: list[Batch] = [[["The", "tide"], ["."]], [["潮水"], [], ["The", "out", "."]], [["out", "."], ["tide"]]]


def test_cached_words_give_the_numbers_of_their_characters(tiny_model: Published) -> None:
    elmo, rows = elmo_of(tiny_model, vocab_to_cache=VOCABULARY), Rows(tiny_model)
    for batch in CACHED:
        wrong = batch_to_ids([["x"] * len(sentence) for sentence in batch])  # whose shape alone is looked at
        found = elmo(wrong, words_of(batch))
        assert_close(found["elmo_representations"][0], without_boundaries(rows.layers(batch)).mean(axis=0))
        assert lengths_of(found["mask"]) == list(map(len, batch))
    nested = elmo(torch.ones(1, 2, 2, 50, dtype=torch.int64), words_of(CACHED[0])[None])
    expected = without_boundaries(rows.layers(CACHED[0])).mean(axis=0)
    assert_close(nested["elmo_representations"][0][0], expected)


def test_words_beyond_the_cache_are_read_by_their_characters(tiny_model: Published) -> None:
    elmo, plain = elmo_of(tiny_model, vocab_to_cache=VOCABULARY), elmo_of(tiny_model)
    words = words_of(CACHED[0])
    words[0, 0] = len(VOCABULARY)
    found = elmo(batch_to_ids(CACHED[0]), words)["elmo_representations"][0]
    assert torch.equal(found, run(plain, CACHED[0]))


def test_a_large_vocabulary_is_cached_in_pieces(tiny_model: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = elmo_of(tiny_model, vocab_to_cache=VOCABULARY).state_dict()
    monkeypatch.setattr("lowtide.interop.allennlp_network._TYPES_AT_ONCE", 2)
    table = elmo_of(tiny_model, vocab_to_cache=VOCABULARY).state_dict()["_elmo_lstm._word_embedding.weight"]
    torch.testing.assert_close(table, whole["_elmo_lstm._word_embedding.weight"])


def test_words_without_a_cache_are_said_to_be_unread(tiny_model: Published) -> None:
    elmo = elmo_of(tiny_model, vocab_to_cache=[])
    with pytest.warns(UserWarning, match="word_inputs are not read"):
        found = elmo(batch_to_ids(CACHED[0]), words_of(CACHED[0]))["elmo_representations"][0]
    assert torch.equal(found, run(elmo_of(tiny_model), CACHED[0]))


# -- state dicts -----------------------------------------------------------------------------------


def old_state_dict(
    model: reference.Model, *, mixes: int = 1, words: Sequence[str] = (), prefix: str = ""
) -> dict[str, Tensor]:
    """What AllenNLP saves of an `Elmo`: names, order and layout, from the published arrays."""
    options, arrays = model.options, {name: array.astype(np.float32) for name, array in model.arrays.items()}
    found: dict[str, Any] = {}
    token = "_elmo_lstm._token_embedder."
    found[f"{token}_char_embedding_weights"] = np.pad(arrays["char_embed"], ((1, 0), (0, 0)))
    for number in range(len(options["char_cnn"]["filters"])):
        found[f"{token}char_conv_{number}.weight"] = np.transpose(arrays[f"CNN/W_cnn_{number}"][0], (2, 1, 0))
        found[f"{token}char_conv_{number}.bias"] = arrays[f"CNN/b_cnn_{number}"]
    for number in range(options["char_cnn"].get("n_highway", 0)):
        ours = {
            name: arrays[f"CNN_high_{number}/{name}"] for name in ("W_transform", "W_carry", "b_transform", "b_carry")
        }
        name = f"{token}_highways._layers.{number}"
        found[f"{name}.weight"] = np.concatenate([ours["W_transform"].T, -ours["W_carry"].T])
        found[f"{name}.bias"] = np.concatenate([ours["b_transform"], -ours["b_carry"]])
    if "CNN_proj/W_proj" in arrays:
        found[f"{token}_projection.weight"] = arrays["CNN_proj/W_proj"].T
        found[f"{token}_projection.bias"] = arrays["CNN_proj/b_proj"]
    if words:
        table = np.array([reference.token_vector(model, reference.spell(word, 50)) for word in words], np.float32)
        found["_elmo_lstm._word_embedding.weight"] = table * (np.arange(len(words)) > 0)[:, None]
    width = options["lstm"]["projection_dim"]
    for layer in range(options["lstm"]["n_layers"]):
        for number, direction in enumerate(("forward", "backward")):
            theirs = f"RNN_{number}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            name = f"_elmo_lstm._elmo_lstm.{direction}_layer_{layer}"
            both = _gates(arrays[f"{theirs}/W_0"].T)
            found[f"{name}.input_linearity.weight"] = both[:, :width]
            found[f"{name}.state_linearity.weight"] = both[:, width:]
            bias = _gates(arrays[f"{theirs}/B"])
            bias[len(bias) // 4 : len(bias) // 2] += np.float32(1)
            found[f"{name}.state_linearity.bias"] = bias
            if f"{theirs}/W_P_0" in arrays:
                found[f"{name}.state_projection.weight"] = arrays[f"{theirs}/W_P_0"].T
    for mix in range(mixes):
        found[f"scalar_mix_{mix}.gamma"] = np.ones(1)
        for number in range(options["lstm"]["n_layers"] + 1):
            found[f"scalar_mix_{mix}.scalar_parameters.{number}"] = np.zeros(1)
    return {f"{prefix}{name}": torch.tensor(np.asarray(array), dtype=torch.float32) for name, array in found.items()}


def _gates(rows: Any) -> Any:
    """From input, candidate, forget, output to input, forget, candidate, output."""
    i, j, f, o = np.split(rows, 4)
    return np.concatenate([i, f, j, o])


class Tagger(nn.Module):
    """A module of a user, with an ELMo somewhere in it."""

    def __init__(self, there: Published, **arguments: Any) -> None:
        super().__init__()
        self.front = nn.ModuleDict({"elmo": elmo_of(there, **arguments)})
        self.out = nn.Linear(WIDTH, 2)

    def forward(self, batch: Batch) -> Tensor:
        vectors: Tensor = self.front["elmo"](batch_to_ids(batch))["elmo_representations"][0]
        return vectors


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_state_dict_has_the_names_the_order_and_the_bytes_of_the_original(variant: str, tmp_path: Path) -> None:
    there = write(tmp_path, VARIANTS[variant])
    assert_same(elmo_of(there, 2).state_dict(), old_state_dict(there.model, mixes=2))


def test_a_cached_vocabulary_is_in_the_state_dict(tiny_model: Published) -> None:
    found = elmo_of(tiny_model, vocab_to_cache=VOCABULARY).state_dict()
    expected = old_state_dict(tiny_model.model, words=VOCABULARY)
    name = "_elmo_lstm._word_embedding.weight"
    assert_close(found[name], expected[name])
    assert_same(found, {**expected, name: found[name]})


@pytest.mark.parametrize(("variant", "assign"), [("as published", True), *((variant, False) for variant in VARIANTS)])
def test_an_old_state_dict_loads_and_gives_the_old_numbers(variant: str, assign: bool, tmp_path: Path) -> None:
    there, other = (write(tmp_path / str(seed), VARIANTS[variant], seed=seed) for seed in (0, 1))
    elmo = elmo_of(there)
    state = old_state_dict(other.model)
    assert (
        str(elmo.load_state_dict(copy.deepcopy(state), strict=True, assign=assign)) == "<All keys matched successfully>"
    )
    assert_same(elmo.state_dict(), state)
    assert_close(run(elmo, BATCHES[0]), without_boundaries(Rows(other).layers(BATCHES[0])).mean(axis=0))


def test_a_module_of_a_user_loads_what_it_saved_then(tiny_model: Published, another_model: Published) -> None:
    out = {"out.weight": torch.ones(2, WIDTH), "out.bias": torch.zeros(2)}
    state = {**old_state_dict(another_model.model, prefix="front.elmo."), **out}
    tagger = Tagger(tiny_model)
    tagger.load_state_dict(state)
    assert_same(tagger.state_dict(), state)
    assert_close(tagger(BATCHES[0]), without_boundaries(Rows(another_model).layers(BATCHES[0])).mean(axis=0))
    stored = io.BytesIO()
    torch.save(tagger.state_dict(), stored)
    stored.seek(0)
    assert_same(torch.load(stored, weights_only=True), state)


def test_cached_words_are_loaded_too(tiny_model: Published, another_model: Published) -> None:
    elmo = elmo_of(tiny_model, vocab_to_cache=VOCABULARY)
    bilm = elmo._elmo_lstm
    state = old_state_dict(another_model.model, words=VOCABULARY)
    elmo.load_state_dict(state)
    assert_same(elmo.state_dict(), state)
    found = bilm(batch_to_ids([["The", "tide"]]), words_of([["The", "tide"]]))["activations"][0]
    expected = padded(Rows(another_model).layers([["The", "tide"]]))[0]
    assert_close(found[:, 1:-1], expected[:, 1:-1])


def test_a_state_dict_shares_its_memory_with_the_network_as_others_do(tiny_model: Published) -> None:
    elmo = elmo_of(tiny_model, requires_grad=True)
    name = "_elmo_lstm._elmo_lstm.forward_layer_0.state_projection.weight"
    kept = elmo.state_dict()[name]
    with torch.no_grad():
        for parameter in elmo.parameters():
            parameter.zero_()
    assert not kept.any() and not kept.requires_grad


def test_loading_leaves_the_state_dict_as_it_was(tiny_model: Published) -> None:
    state = old_state_dict(tiny_model.model)
    elmo_of(tiny_model).load_state_dict(state)
    assert_same(state, old_state_dict(tiny_model.model))


HIGHWAY = "front.elmo._elmo_lstm._token_embedder._highways._layers.0.weight"


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        (HIGHWAY, None, f'Missing key.*"{HIGHWAY}"'),
        (HIGHWAY, torch.zeros(3), rf"size mismatch for {HIGHWAY}: found \(3,\), expected \(24, 12\)"),
        (HIGHWAY, 3, f"size mismatch for {HIGHWAY}: found int"),
        (f"{HIGHWAY}s", torch.zeros(3), f'Unexpected key.*"{HIGHWAY}s"'),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused_by_its_own_names(
    tiny_model: Published, key: str, value: Any, match: str
) -> None:
    tagger = Tagger(tiny_model)
    state = {name: tensor for name, tensor in {**tagger.state_dict(), key: value}.items() if tensor is not None}
    with pytest.raises(RuntimeError, match=match) as refused:
        tagger.load_state_dict(state)
    assert "_bilm" not in str(refused.value)


def test_a_cached_vocabulary_is_wanted_where_one_is_and_nowhere_else(tiny_model: Published) -> None:
    plain, cached = elmo_of(tiny_model), elmo_of(tiny_model, vocab_to_cache=VOCABULARY)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*_word_embedding\.weight"):
        plain.load_state_dict(cached.state_dict())
    with pytest.raises(RuntimeError, match=r"Missing key.*_word_embedding\.weight"):
        cached.load_state_dict(plain.state_dict())


def test_what_is_missing_is_left_as_it_is_unless_strict(tiny_model: Published) -> None:
    tagger = Tagger(tiny_model)
    expected = {name: tensor.clone() for name, tensor in tagger.state_dict().items()}
    told = tagger.load_state_dict({"out.bias": torch.zeros(2)}, strict=False)
    assert told.missing_keys == [name for name in expected if name != "out.bias"] and not told.unexpected_keys
    assert_same(tagger.state_dict(), {**expected, "out.bias": torch.zeros(2)})


def test_the_token_embedder_has_the_names_of_an_archive(tiny_model: Published, another_model: Published) -> None:
    embedder = ElmoTokenEmbedder(*tiny_model.files, dropout=0.0, projection_dim=3)
    projection = {"_projection.weight": torch.ones(3, WIDTH), "_projection.bias": torch.ones(3)}
    state = {**old_state_dict(another_model.model, prefix="_elmo."), **projection}
    embedder.load_state_dict(state)
    assert_same(embedder.state_dict(), state)
    mixed = without_boundaries(Rows(another_model).layers(BATCHES[0])).mean(axis=0)
    expected = np.repeat(mixed.sum(axis=-1, keepdims=True) + 1, 3, axis=-1)
    np.testing.assert_allclose(embedder(batch_to_ids(BATCHES[0])).detach().numpy(), expected, atol=1e-5)
    plain = ElmoTokenEmbedder(*another_model.files, dropout=0.0)
    assert_close(plain(batch_to_ids(BATCHES[0])), mixed)
    assert (embedder.get_output_dim(), plain.get_output_dim()) == (3, WIDTH)


def test_a_module_takes_the_place_of_the_files(tiny_model: Published) -> None:
    elmo = Elmo(None, None, 2, dropout=0.0, module=allennlp._ElmoBiLm(*tiny_model.files))
    assert torch.equal(run(elmo, BATCHES[0]), run(elmo_of(tiny_model), BATCHES[0]))
    assert_same(elmo.state_dict(), old_state_dict(tiny_model.model, mixes=2))


# -- ElmoEmbedder ----------------------------------------------------------------------------------


@pytest.fixture
def embedder(tiny_model: Published) -> ElmoEmbedder:
    return ElmoEmbedder(*tiny_model.files)


def expected_arrays(rows: Rows, batch: Batch) -> list[reference.Array]:
    return [layers[:, 1:-1] for layers in rows.layers(batch)]


def test_embedded_batches_are_all_layers_with_the_state_carried(embedder: ElmoEmbedder, tiny_model: Published) -> None:
    rows = Rows(tiny_model)
    for batch in BATCHES:
        assert_agree(embedder.embed_batch(batch), expected_arrays(rows, batch))
    assert_agree([embedder.embed_sentence("ab")], expected_arrays(rows, [["a", "b"]]))
    vectors, mask = embedder.batch_to_embeddings(BATCHES[2])
    assert_close(vectors.transpose(0, 1), without_boundaries(rows.layers(BATCHES[2])))
    assert lengths_of(mask) == list(map(len, BATCHES[2]))


def test_the_state_of_an_embedder_is_turned_off_where_it_was(tiny_model: Published) -> None:
    rows = Rows(tiny_model, stateful=False)
    old = ElmoEmbedder(*tiny_model.files)
    old.elmo_bilm._elmo_lstm.stateful = False
    for embedder in (old, ElmoEmbedder(*tiny_model.files, stateful=False)):
        for batch in BATCHES:
            assert_agree(embedder.embed_batch(batch), expected_arrays(rows, batch))


def test_empty_sentences_alone_run_nothing(embedder: ElmoEmbedder, tiny_model: Published) -> None:
    rows = Rows(tiny_model)
    embedder.embed_batch(BATCHES[0])
    rows.layers(BATCHES[0])
    nothing: list[Batch] = [[], [[]], [[], []]]
    for batch in nothing:
        assert [array.shape for array in embedder.embed_batch(batch)] == [(3, 0, WIDTH)] * len(batch)
    assert_agree(embedder.embed_batch(BATCHES[1]), expected_arrays(rows, BATCHES[1]))


def test_sentences_come_lazily_in_batches_and_in_order(embedder: ElmoEmbedder, tiny_model: Published) -> None:
    sentences = [sentence for batch in BATCHES for sentence in batch]
    taken = []

    def counted() -> Iterator[list[str]]:
        for sentence in sentences:
            taken.append(sentence)
            yield sentence

    vectors = embedder.embed_sentences(counted(), 3)
    assert not taken
    first = next(vectors)
    assert len(taken) == 3
    rows = Rows(tiny_model)
    expected = [array for at in range(0, len(sentences), 3) for array in expected_arrays(rows, sentences[at : at + 3])]
    assert_agree([first, *vectors], expected)


def embed_file(embedder: ElmoEmbedder, text: str, path: Path, **arguments: Any) -> dict[str, Any]:
    """What the file holds."""
    handle = io.StringIO(text)
    embedder.embed_file(handle, str(path), **arguments)
    assert handle.closed
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            assert not item.attrs and item.compression is None and item.chunks is None
            found[name] = item[0].decode() if name == "sentence_to_index" else item[...]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


LINES = "The tide\tgoes out .\n  Yes \n潮水 退了\nThe tide\tgoes out .\n"
SENTENCES = [line.split() for line in LINES.splitlines()]


@pytest.mark.parametrize(
    ("output_format", "reduce"),
    [
        ("all", lambda layers: layers),
        ("top", lambda layers: layers[-1]),
        ("average", lambda layers: layers.mean(axis=0)),
    ],
)
def test_a_file_is_embedded_line_by_line(
    embedder: ElmoEmbedder, tiny_model: Published, tmp_path: Path, output_format: str, reduce: Any
) -> None:
    (tmp_path / "out.hdf5").write_bytes(b"something old")
    found = embed_file(embedder, LINES, tmp_path / "out.hdf5", output_format=output_format, batch_size=3)
    rows = Rows(tiny_model)
    expected = [*expected_arrays(rows, SENTENCES[:3]), *expected_arrays(rows, SENTENCES[3:])]
    assert_agree([found[str(number)] for number in range(4)], [reduce(layers) for layers in expected])
    index = found.pop("sentence_to_index")
    assert index.isascii() and len(found) == 4
    assert list(json.loads(index).items()) == [("The tide\tgoes out .", "3"), ("Yes", "1"), ("潮水 退了", "2")]


def test_sentences_are_forgotten_or_are_the_keys(embedder: ElmoEmbedder, tmp_path: Path) -> None:
    assert list(embed_file(embedder, "a b\nc", tmp_path / "out.hdf5", forget_sentences=True)) == ["0", "1"]
    found = embed_file(embedder, "a / b\nc\n", tmp_path / "out.hdf5", use_sentence_keys=True)
    assert {key: vectors.shape for key, vectors in found.items()} == {"a / b": (3, 3, WIDTH), "c": (3, 1, WIDTH)}
    assert embed_file(embedder, "", tmp_path / "out.hdf5") == {"sentence_to_index": "{}"}


@pytest.mark.parametrize(
    ("text", "arguments", "match"),
    [
        ("a\n\nb\n  \n", {}, r"empty lines.* remove 1, 3"),
        ("a\n", {"output_format": "al"}, "Did you mean 'all'"),
        ("a\n", {"batch_size": 0}, "expected at least 1"),
        ("a\nb\na\n", {"use_sentence_keys": True, "batch_size": 1}, "'a' cannot be a key"),
        ("a\na/b\n", {"use_sentence_keys": True}, "'a/b' cannot be a key"),
        ("a/\n", {"use_sentence_keys": True}, "'a/' cannot be a key"),
        (".\n", {"use_sentence_keys": True}, "'.' cannot be a key"),
        ("\ud800\n", {"use_sentence_keys": True}, "cannot be a key"),
    ],
)
def test_a_file_appears_whole_or_not_at_all(
    embedder: ElmoEmbedder, tmp_path: Path, text: str, arguments: dict[str, Any], match: str
) -> None:
    path = tmp_path / "out.hdf5"
    path.write_bytes(b"something old")
    with pytest.raises(InputError, match=match):
        embed_file(embedder, text, path, **arguments)
    assert path.read_bytes() == b"something old" and [file.name for file in tmp_path.iterdir()] == ["out.hdf5"]


# -- files and their addresses ---------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models in which the original is a tiny one."""
    monkeypatch.setenv("LOWTIDE_MODELS", str(tmp_path))
    write(tmp_path / "original", stem=ORIGINAL)
    return tmp_path


def test_the_snippet_for_a_network_of_ones_own_runs(models: Path) -> None:
    options_file = f"{ADDRESS}/2x4096_512_2048cnn_2xhighway/{ORIGINAL}options.json"
    weight_file = f"{ADDRESS}/2x4096_512_2048cnn_2xhighway/{ORIGINAL}weights.hdf5"
    elmo = Elmo(options_file, weight_file, 2, dropout=0)
    embeddings = elmo(batch_to_ids([["First", "sentence", "."], ["Another", "."]]))
    assert [tuple(vectors.shape) for vectors in embeddings["elmo_representations"]] == [(2, 3, WIDTH)] * 2
    assert embeddings["mask"].tolist() == [[True, True, True], [True, True, False]]


def test_the_snippet_for_an_embedder_runs(models: Path) -> None:
    elmo = ElmoEmbedder()
    tokens = ["I", "ate", "an", "apple", "for", "breakfast"]
    vectors = elmo.embed_sentence(tokens)
    assert len(vectors) == 3  # one for each layer
    assert len(vectors[0]) == len(tokens)
    vectors2 = elmo.embed_sentence(["I", "ate", "a", "carrot", "for", "breakfast"])
    apple, carrot = vectors[2][3], vectors2[2][3]
    assert -1 < float(apple @ carrot / np.linalg.norm(apple) / np.linalg.norm(carrot)) < 1


def test_the_snippet_for_a_file_runs(models: Path, tmp_path: Path) -> None:
    text = "The cryptocurrency space is now figuring out how to have the highest search .\nThat is all .\n"
    (tmp_path / "sentences.txt").write_text(text, encoding="utf-8")
    with (tmp_path / "sentences.txt").open(encoding="utf-8") as lines:
        ElmoEmbedder().embed_file(lines, tmp_path / "elmo_layers.hdf5")
    with h5py.File(tmp_path / "elmo_layers.hdf5", "r") as h5py_file:
        embedding = h5py_file.get("0")
        assert len(embedding) == 3 and len(embedding[0]) == len(text.splitlines()[0].split())
        index = json.loads(h5py_file["sentence_to_index"][0])
        assert index["That is all ."] == "1"


def test_the_token_embedder_without_arguments_is_the_original(models: Path) -> None:
    assert ElmoTokenEmbedder().get_output_dim() == WIDTH


def test_paths_may_be_paths(tiny_model: Published) -> None:
    elmo = Elmo(tiny_model.options, tiny_model.weights, 1, dropout=0)
    assert torch.equal(run(elmo, BATCHES[0]), run(elmo_of(tiny_model), BATCHES[0]))


def test_a_model_of_words_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, published.published(published.WORD_CONFIG), words=published.WORDS)
    with pytest.raises(ModelError, match="does not read bytes as AllenNLP does"):
        Elmo(tmp_path / "options.json", tmp_path / "weights.hdf5", 1)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"options_file": "nowhere/options.json"}, MissingPathError),
        ({"weight_file": "nowhere/weights.hdf5"}, MissingPathError),
        ({"options_file": "https://"}, InputError),
        ({"options_file": None}, InputError),
        ({"module": nn.Identity()}, InputError),
        ({"options_file": None, "weight_file": None, "module": nn.Identity(), "stateful": False}, InputError),
        ({"scalar_mix_parameters": [1.0]}, InputError),
        ({"dropout": 1.5}, InputError),
    ],
)
def test_what_cannot_be_made_is_refused(tiny_model: Published, change: Any, error: type[LowtideError]) -> None:
    options, weights = tiny_model.files
    with pytest.raises(error):
        Elmo(**{"options_file": options, "weight_file": weights, "num_output_representations": 1, **change})


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the device is there")
def test_a_device_that_is_not_there_is_refused(tiny_model: Published) -> None:
    with pytest.raises(InputError, match="cuda:0"):
        ElmoEmbedder(*tiny_model.files, cuda_device=0)
