from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny
from lowtide.embeddings.encoder import run_batch
from lowtide.model import AdaptiveSoftmax, BiLM, Candidates, Carry, Dropouts, LogUniformSampler, Softmax
from lowtide.model.char_cnn import SymbolEmbedding
from lowtide.model.cloze import ClozeHead
from lowtide.model.lstm import ProjectedLSTM
from lowtide.model.recurrence import first_rows
from lowtide.model.softmax_gradients import SoftmaxGradients, softmax_gradients
from lowtide.text.batches import NO_TARGET, Batch, Targets, TrainingBatch, predict_neighbours
from lowtide.training.learning import Networks, learn, num_targets
from lowtide.training.optimisation import make_optimizers
from lowtide.training.regularisation import dropouts_said
from model.sampled import sampled_loss

TYPES = 12
CPU = torch.device("cpu")
EVERYTHING = Dropouts(types=0.3, inputs=0.4, hidden=0.3, outputs=0.4, recurrent=0.5, is_locked=True)


def networks(*, sparse: bool = False, dropout: float = 0.0, dropouts: Dropouts | None = None) -> tuple[BiLM, Softmax]:
    bilm = BiLM(dataclasses.replace(tiny.BYTES, dropout=dropout), dropouts=dropouts).train()
    tiny.random_(bilm)
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
        nats = softmax.loss(top, wanted) if candidates is None else sampled_loss(softmax, top, wanted, candidates)
        losses.append(nats.mean())
    loss = (losses[0] + losses[1]) / 2
    loss.backward()
    return float(loss.detach())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("output", ["full", "sampled", "adaptive"])
def test_gradients_are_those_of_the_loss_as_one_expression(output: str, threads: int) -> None:
    bilm, softmax = networks(sparse=output == "sampled")
    if output == "adaptive":
        softmax = AdaptiveSoftmax(TYPES, bilm.config.lstm.state_width, (2, 7))
        tiny.random_(softmax, seed=1)
    batch = batch_of(bilm)
    candidates = LogUniformSampler(TYPES, 5).candidates([0], device=CPU) if output == "sampled" else None
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


@pytest.mark.parametrize("output", ["full", "sampled", "adaptive"])
@pytest.mark.parametrize("trunk", ["projected", "plain"])
def test_rounded_products_leave_loss_and_gradients_nearly_what_they_are(output: str, trunk: str) -> None:
    found: dict[torch.dtype | None, tuple[float, dict[str, Tensor]]] = {}
    for dtype in (None, torch.bfloat16):
        bilm, softmax = networks()
        if trunk == "plain":
            bilm = BiLM(tiny.lstm(cell_width=6, width=6, cell_clip=None, projection_clip=None)).train()
            tiny.random_(bilm)
        if output == "adaptive" or trunk == "plain":
            width = bilm.config.lstm.state_width
            softmax = AdaptiveSoftmax(TYPES, width, (3, 7)) if output == "adaptive" else Softmax(TYPES, width)
            tiny.random_(softmax, seed=1)
        for module in bilm.modules():
            if isinstance(module, ProjectedLSTM):
                module.training_dtype = dtype
        sampler = LogUniformSampler(TYPES, 6)
        candidates = sampler.candidates([1], device=CPU) if output == "sampled" else None
        learnt = learn(Networks(bilm, softmax, dtype=dtype), batch_of(bilm), candidates=candidates, carry=None, seed=0)
        found[dtype] = learnt.nats, gradients(bilm, softmax)
    (nats, exact), (near_nats, near) = found[None], found[torch.bfloat16]
    assert near_nats != nats and near_nats == pytest.approx(nats, rel=2e-2)
    for name, gradient in exact.items():
        assert near[name].dtype == torch.float32
        assert (near[name] - gradient).norm() <= 0.1 * gradient.norm(), name


def test_what_is_not_training_is_not_rounded() -> None:
    bilm, _ = networks()
    batch = batch_of(bilm)
    exact = run_batch(bilm.eval(), batch.batch).forward_layers[-1]
    for module in bilm.modules():
        if isinstance(module, ProjectedLSTM):
            module.training_dtype = torch.bfloat16
    assert torch.equal(run_batch(bilm.eval(), batch.batch).forward_layers[-1], exact)
    assert not torch.equal(run_batch(bilm.train(), batch.batch).forward_layers[-1], exact)


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


def test_the_plain_rate_draws_as_it_always_has() -> None:
    """Losses of three steps, from before there were other rates: what was begun then goes on as it would have."""
    drawn = torch.empty(16).bernoulli_(0.5, generator=torch.Generator().manual_seed(7)).int().tolist()
    if drawn != [1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0]:
        pytest.skip("PyTorch draws other numbers on this system")
    bilm, softmax = networks(dropout=0.3)
    every = Networks(bilm, softmax, ClozeHead(bilm.config.lstm.state_width))
    [adam] = make_optimizers(every, learning_rate=0.01, weight_decay=0.01)
    losses = []
    for step in range(3):
        losses.append(learn(every, batch_of(bilm, seed=step), candidates=None, carry=None, seed=step).nats)
        adam.step()
        adam.zero_grad()
    assert losses == pytest.approx([3.169290542602539, 3.063215732574463, 2.9568257331848145], rel=1e-6)


def test_dropouts_are_a_matter_of_the_seed_and_of_training() -> None:
    bilm, softmax = networks(dropouts=EVERYTHING)
    batch = batch_of(bilm)

    def nats(seed: int) -> float:
        torch.rand(5)
        return learn(Networks(bilm, softmax), batch, candidates=None, carry=None, seed=seed).nats

    assert nats(3) == nats(3) != nats(4)
    bilm.eval()
    plain, _ = networks()
    assert nats(3) == nats(4) == learn(Networks(plain, softmax), batch, candidates=None, carry=None, seed=0).nats


@pytest.mark.parametrize("name", EVERYTHING.rates)
def test_every_rate_leaves_something_out(name: str) -> None:
    batch = batch_of(networks()[0])
    losses = [
        learn(Networks(*networks(dropouts=dropouts)), batch, candidates=None, carry=None, seed=1).nats
        for dropouts in (Dropouts(), dropouts_said(f"{name}=0.5"))
    ]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("is_locked", [False, True])
def test_gradients_with_all_dropouts_are_those_of_the_loss(is_locked: bool) -> None:
    """Against differences of the loss itself, in float64: the seed holds all masks still."""
    bilm, softmax = networks(dropouts=dataclasses.replace(EVERYTHING, is_locked=is_locked))
    every = Networks(bilm.double(), softmax.double())
    batch = batch_of(bilm)
    learn(every, batch, candidates=None, carry=None, seed=5)
    found = gradients(bilm, softmax)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in [*bilm.named_parameters("bilm"), *softmax.named_parameters("softmax")]:
        way = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        losses = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                parameter.add_(way, alpha=step)
            losses.append(learn(copy.deepcopy(every), batch, candidates=None, carry=None, seed=5).nats)
        with torch.no_grad():
            parameter.add_(way, alpha=1e-6)
        slope = (losses[0] - losses[1]) / 2e-6
        assert float((found[name] * way).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-7), name


@pytest.mark.parametrize("seed", range(4))
def test_a_type_that_is_left_out_is_zero_wherever_it_stands_in_both_directions(seed: int) -> None:
    bilm, softmax = networks(dropouts=Dropouts(types=0.5))
    batch = batch_of(bilm)
    seen: list[Tensor] = []
    for stack in (bilm.forward_lstm, bilm.backward_lstm):
        stack.layers[0].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    for is_training in (True, False):
        bilm.train(is_training)
        learn(Networks(bilm, softmax), batch, candidates=None, carry=None, seed=seed)
    read, whole = torch.cat(seen[:2]), torch.cat(seen[2:])  # (positions of both directions, width)
    is_out = (read == 0).all(dim=1)
    assert torch.equal(read[~is_out], 2 * whole[~is_out])
    assert 0 < is_out.sum() < len(is_out)
    for vector in whole.unique(dim=0):  # one type
        there = is_out[(whole == vector).all(dim=1)]
        assert there.all() or not there.any()


def test_what_the_softmax_reads_loses_the_same_numbers_all_along_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    bilm, softmax = networks(dropouts=Dropouts(outputs=0.5, is_locked=True))
    seen: list[Tensor] = []

    def watched(
        softmax: Softmax, states: Tensor, targets: Tensor, candidates: Candidates | None, dtype: torch.dtype | None
    ) -> SoftmaxGradients:
        seen.append(states == 0)
        return softmax_gradients(softmax, states, targets, candidates, dtype)

    monkeypatch.setattr("lowtide.training.learning.softmax_gradients", watched)
    first = batch_of(bilm).batch
    starts = np.zeros_like(first.starts)
    starts[:, 0] = True
    batch = dataclasses.replace(first, starts=starts)
    training = TrainingBatch(batch, predict_neighbours(batch, np.arange(TYPES)), num_tokens=16)
    cloze = ClozeHead(bilm.config.lstm.state_width)
    num_masks = [0, 0, 0]
    for seed in range(5):
        seen.clear()
        learn(Networks(bilm, softmax, cloze), training, candidates=None, carry=None, seed=seed)
        for left_out, wanted in zip(seen, (training.targets.forward, training.targets.backward), strict=False):
            rows = np.nonzero(wanted != NO_TARGET)[0]
            for row in range(3):
                assert (left_out[rows == row] == left_out[rows == row][0]).all()
        masks = [left_out.unique(dim=0) for left_out in seen]
        assert max(map(len, masks)) <= 3 < min(map(len, seen))
        num_masks = [number + len(mask) for number, mask in zip(num_masks, masks, strict=True)]
    assert min(num_masks) > 10  # of 15 in five numbers each, some may fall together


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
