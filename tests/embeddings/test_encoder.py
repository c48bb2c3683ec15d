from __future__ import annotations

import pytest
import torch

import tiny
from lowtide.embeddings import Elmo
from lowtide.embeddings.encoder import Encoder, measuring, run_batch
from lowtide.errors import InputError
from lowtide.text.batches import batch_of_documents
from lowtide.weights.native import load_model

SENTENCES = [["the", "tide", "goes", "out"], ["潮水"], [], ["out"] * 7]


@pytest.fixture
def encoder(saved_bytes: tiny.Saved) -> Encoder:
    """A module of its own, which a test may train."""
    stored = load_model(saved_bytes.folder)
    return Encoder(stored.bilm, stored.spelling).eval()


def test_boundaries_are_read_and_left_out(encoder: Encoder) -> None:
    batch, _ = batch_of_documents([[s] for s in SENTENCES[:1]], encoder.spelling)
    assert torch.equal(encoder(SENTENCES[:1]).layers, run_batch(encoder.bilm, batch).layers[:, :, 1:-1])


def test_the_mask_is_true_at_the_tokens_of_a_sentence(encoder: Encoder) -> None:
    assert encoder(SENTENCES).mask.tolist() == [[n < len(sentence) for n in range(7)] for sentence in SENTENCES]


def test_layers_are_zero_beyond_the_end_of_a_sentence(encoder: Encoder) -> None:
    states = encoder(SENTENCES)
    assert not states.layers[:, ~states.mask].any()


def test_layers_hold_a_vector_for_every_token_of_every_sentence(encoder: Encoder) -> None:
    assert encoder(SENTENCES).layers.shape == (3, len(SENTENCES), 7, 10)


@pytest.mark.parametrize(
    ("sentences", "shape"), [([], (3, 0, 0, 10)), ([[]], (3, 1, 0, 10)), ([[], []], (3, 2, 0, 10))]
)
def test_nothing_to_encode_gives_no_vectors(encoder: Encoder, sentences: list[list[str]], shape: tuple[int]) -> None:
    assert encoder(sentences).layers.shape == shape


@pytest.mark.parametrize("sentences", [["the tide"], "the tide", [["the"], "tide"]])
def test_a_text_that_is_not_cut_is_refused(encoder: Encoder, sentences: list[list[str]]) -> None:
    with pytest.raises(InputError, match=r'takes tokens, found a text: .*\[\["The", "cat"\]\]'):
        encoder(sentences)


def test_gradients_reach_every_parameter(encoder: Encoder) -> None:
    (encoder(SENTENCES).layers ** 2).sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_measuring_computes_no_gradient(encoder: Encoder) -> None:
    with measuring(encoder):
        assert not encoder(SENTENCES).layers.requires_grad


def test_measuring_leaves_every_module_in_the_mode_it_was_in(encoder: Encoder) -> None:
    encoder.train()
    encoder.bilm.token_network.eval()
    before = {name: module.training for name, module in encoder.named_modules()}
    with measuring(encoder):
        assert not any(module.training for module in encoder.modules())
    assert {name: module.training for name, module in encoder.named_modules()} == before


def test_training_the_encoder_further_makes_no_vector_noisy(saved_bytes: tiny.Saved) -> None:
    elmo = Elmo.open(saved_bytes.folder, device="cpu")
    language_model = elmo.language_model()
    before = elmo.embed(SENTENCES), language_model.perplexity(SENTENCES), language_model.guesses(SENTENCES)
    elmo.encoder().train()
    after = elmo.embed(SENTENCES), language_model.perplexity(SENTENCES), language_model.guesses(SENTENCES)
    assert [v.tobytes() for v in after[0]] == [v.tobytes() for v in before[0]]
    assert after[1:] == before[1:]
    assert elmo.encoder().training
