from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny
from lowtide.embeddings.encoder import run_batch
from lowtide.model import BiLM, Candidates, Carry, LogUniformSampler, Softmax
from lowtide.model.char_cnn import SymbolEmbedding
from lowtide.model.cloze import ClozeHead
from lowtide.model.recurrence import first_rows
from lowtide.text.batches import NO_TARGET, Batch, Targets, TrainingBatch, predict_neighbours
from lowtide.training.learning import Networks, learn, num_targets

TYPES = 12
CPU = torch.device("cpu")


def networks(*, sparse: bool = False, dropout: float = 0.0) -> tuple[BiLM, Softmax]:
    bilm = tiny.bilm(dataclasses.replace(tiny.BYTES, dropout=dropout)).train()
    softmax = Softmax(TYPES, bilm.config.lstm.state_width, sparse=sparse)
    tiny.random_(softmax, seed=1)
    return bilm, softmax


def batch_of(bilm: BiLM, *, seed: int = 0) -> TrainingBatch:
    generator = np.random.default_rng(seed)
    config = bilm.config.char_cnn
    assert config is not None
    char_ids = generator.integers(1, 200, (TYPES, config.max_characters)).astype(np.int32)
    index = generator.integers(0, TYPES, (3, 7))
    starts = generator.random((3, 7)) < 0.3
    starts[:, 0] = True
    batch = Batch(char_ids, index, starts, np.array([7, 4, 5]))
    return TrainingBatch(batch, predict_neighbours(batch, np.arange(TYPES)), num_tokens=16)


def gradients(bilm: BiLM, softmax: Softmax) -> dict[str, Tensor]:
    named = [*bilm.named_parameters("bilm"), *softmax.named_parameters("softmax")]
    found = {}
    for name, parameter in named:
        assert parameter.grad is not None, name
        found[name] = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
    return found


def judged(bilm: BiLM, softmax: Softmax, batch: TrainingBatch, candidates: Candidates | None) -> float:
    """The loss as one expression, and its gradients by plain autograd."""
    states = run_batch(bilm, batch.batch)
    losses = []
    for layers, targets in (
        (states.forward_layers, batch.targets.forward),
        (states.backward_layers, batch.targets.backward),
    ):
        wanted = torch.from_numpy(targets)
        top, wanted = layers[-1][wanted != NO_TARGET], wanted[wanted != NO_TARGET]
        nats = softmax.loss(top, wanted) if candidates is None else softmax.sampled_loss(top, wanted, candidates)
        losses.append(nats.mean())
    loss = (losses[0] + losses[1]) / 2
    loss.backward()
    return float(loss.detach())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("sampled", [False, True])
def test_gradients_are_those_of_the_loss_as_one_expression(sampled: bool, threads: int) -> None:
    bilm, softmax = networks(sparse=sampled)
    batch = batch_of(bilm)
    candidates = LogUniformSampler(TYPES, 5).candidates([0], device=CPU) if sampled else None
    other_bilm, other_softmax = copy.deepcopy(bilm), copy.deepcopy(softmax)
    expected = judged(other_bilm, other_softmax, batch, candidates)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        learnt = learn(Networks(bilm, softmax), batch, candidates=candidates, carry=None, seed=0)
    finally:
        torch.set_num_threads(before)
    assert learnt.nats == pytest.approx(expected, rel=1e-6)
    right = gradients(other_bilm, other_softmax)
    for name, gradient in gradients(bilm, softmax).items():
        assert torch.allclose(gradient, right[name], rtol=1e-4, atol=1e-6), name


def test_each_direction_goes_on_where_it_ended() -> None:
    bilm, softmax = networks()
    batch = batch_of(bilm)
    first = learn(Networks(bilm, softmax), batch, candidates=None, carry=None, seed=0)
    states = run_batch(bilm, batch.batch)
    assert states.carry is not None
    for mine, theirs in zip(
        [*first.carry.forward, *first.carry.backward], [*states.carry.forward, *states.carry.backward], strict=True
    ):
        torch.testing.assert_close(mine.cell, theirs.cell)
        assert not mine.cell.requires_grad
    rest = dataclasses.replace(batch.batch, starts=np.zeros_like(batch.batch.starts))
    on = dataclasses.replace(batch, batch=rest, backward=rest, goes_on=True)
    alone = learn(Networks(bilm, softmax), on, candidates=None, carry=None, seed=0)
    assert learn(Networks(bilm, softmax), on, candidates=None, carry=first.carry, seed=0).nats != alone.nats
    shorter = Batch(rest.type_char_ids, rest.type_index[:2], rest.starts[:2], rest.lengths[:2])
    targets = Targets(on.targets.forward[:2], on.targets.backward[:2])
    fewer = dataclasses.replace(on, batch=shorter, backward=shorter, targets=targets)
    two = Carry(first_rows(first.carry.forward, 2), first_rows(first.carry.backward, 2))
    assert learn(Networks(bilm, softmax), fewer, candidates=None, carry=first.carry, seed=0).nats == pytest.approx(
        learn(Networks(bilm, softmax), fewer, candidates=None, carry=two, seed=0).nats
    )


def test_dropout_is_a_matter_of_the_seed_and_not_of_what_was_drawn_before() -> None:
    bilm, softmax = networks(dropout=0.5)
    batch = batch_of(bilm)
    nats = []
    for seed in (3, 3, 4):
        torch.rand(5)
        nats.append(learn(Networks(bilm, softmax), batch, candidates=None, carry=None, seed=seed).nats)
    assert nats[0] == nats[1] != nats[2]
    assert learn(Networks(bilm.eval(), softmax), batch, candidates=None, carry=None, seed=3).nats not in nats


def test_the_cloze_objective_tells_a_token_from_both_sides_of_it() -> None:
    """Against the loss as one expression, for which the states are looked up place by place."""
    bilm, softmax = networks()
    cloze = ClozeHead(bilm.config.lstm.state_width)
    tiny.random_(cloze, seed=5)
    batch = batch_of(bilm)
    mine = Networks(bilm, softmax, cloze)
    other = copy.deepcopy(mine)
    learn(mine, batch, candidates=None, carry=None, seed=0)

    judged(other.bilm, other.softmax, batch, None)
    states = run_batch(other.bilm, batch.batch)
    assert other.cloze is not None
    losses = []
    for row, length in enumerate(batch.batch.lengths.tolist()):
        for step in range(1, length - 1):
            if batch.batch.starts[row, step] or batch.batch.starts[row, step + 1]:
                continue  # the state on one side is that of another text
            token = int(batch.batch.type_index[row, step])
            if batch.targets.forward[row, step - 1] != token or batch.targets.backward[row, step + 1] != token:
                continue  # a boundary, which one of the two never predicts
            joined = other.cloze(
                states.forward_layers[-1][row, step - 1][None], states.backward_layers[-1][row, step + 1][None]
            )
            losses.append(other.softmax.loss(joined, torch.tensor([token])))
    assert losses
    torch.cat(losses).mean().backward()
    right = gradients(other.bilm, other.softmax)
    for name, gradient in gradients(bilm, softmax).items():
        assert torch.allclose(gradient, right[name], rtol=1e-4, atol=1e-6), name
    for mine_, theirs in zip(cloze.parameters(), other.cloze.parameters(), strict=True):
        assert mine_.grad is not None and theirs.grad is not None
        torch.testing.assert_close(mine_.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("parts", [2, 5])
@pytest.mark.parametrize("kind", ["full", "sampled", "cloze"])
def test_the_parts_of_a_batch_add_up_to_it(kind: str, parts: int) -> None:
    """Of five parts of three rows two have none."""
    bilm, softmax = networks(sparse=kind == "sampled")
    cloze = ClozeHead(bilm.config.lstm.state_width) if kind == "cloze" else None
    whole = Networks(bilm, softmax, cloze)
    batch = batch_of(bilm)
    candidates = LogUniformSampler(TYPES, 5).candidates([0], device=CPU) if kind == "sampled" else None
    nats = 0.0
    sums: dict[str, Tensor] = {}
    for number in range(parts):
        one, part = copy.deepcopy(whole), batch.part(number, parts)
        shares = (num_targets(one, part) / np.maximum(num_targets(one, batch), 1)).tolist()
        nats += learn(one, part, candidates=candidates, carry=None, seed=0, shares=shares).nats
        for name, gradient in gradients(one.bilm, one.softmax).items():
            sums[name] = sums.get(name, torch.zeros(())) + gradient
    assert nats == pytest.approx(learn(whole, batch, candidates=candidates, carry=None, seed=0).nats, rel=1e-6)
    for name, gradient in gradients(bilm, softmax).items():
        torch.testing.assert_close(sums[name], gradient, rtol=1e-4, atol=1e-6)


def test_tied_vectors_learn_from_input_and_output() -> None:
    bilm = tiny.bilm(dataclasses.replace(tiny.SYMBOL_CONFIG, dropout=0.0)).train()
    network = bilm.token_network
    assert isinstance(network, SymbolEmbedding)
    softmax = Softmax(network.config.num_symbols, bilm.config.lstm.state_width)
    tiny.random_(softmax, seed=1)
    softmax.tie(network.embedding.weight)
    generator = np.random.default_rng(0)
    index = generator.integers(0, network.config.num_symbols, (3, 7))
    starts = np.zeros((3, 7), dtype=np.bool_)
    starts[:, 0] = True
    symbols = np.arange(network.config.num_symbols)
    batch = Batch(symbols[:, None].astype(np.int32), index, starts, np.array([7, 4, 5]))
    training = TrainingBatch(batch, predict_neighbours(batch, symbols), num_tokens=16)
    mine = Networks(bilm, softmax)
    other = copy.deepcopy(mine)
    assert other.softmax.weight is other.bilm.token_network.embedding.weight  # type: ignore[union-attr]  # it was copied
    learn(mine, training, candidates=None, carry=None, seed=0)
    judged(other.bilm, other.softmax, training, None)
    right = gradients(other.bilm, other.softmax)
    for name, gradient in gradients(bilm, softmax).items():
        assert torch.allclose(gradient, right[name], rtol=1e-4, atol=1e-6), name
