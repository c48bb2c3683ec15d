from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from lowtide.errors import ShapeError
from lowtide.tasks.crf import CRF, Legal
from lowtide.tasks.schemes import first_break

Array = NDArray[np.float64]
Path = tuple[int, ...]
IOB2 = ("O", "B-X", "I-X", "B-Y", "I-Y")
NEAR: Any = {"rtol": 0, "atol": 1e-4}
"""Of sums over a thousand tokens."""


def crf_of(num_tags: int, *, seed: int = 0, scale: float = 1.0) -> CRF:
    crf = CRF(Legal.of(["t"] * num_tags, None)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * scale)
    return crf


def emissions_of(*shape: int, seed: int = 1, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * scale


def all_paths(crf: CRF, emissions: Array) -> dict[Path, float]:
    """The score of every path over (tokens, tags), by its definition."""
    start, transitions, end = (scores.detach().numpy() for scores in crf.scores)
    num_tokens, num_tags = emissions.shape
    found = {}
    for path in itertools.product(range(num_tags), repeat=num_tokens):
        score = start[path[0]] + end[path[-1]] + sum(emissions[t, y] for t, y in enumerate(path))
        found[path] = score + sum(transitions[a, b] for a, b in itertools.pairwise(path))
    return found


def log_sum(scores: dict[Path, float]) -> float:
    return float(np.logaddexp.reduce(list(scores.values())))


CASES = st.tuples(st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 10_000))
SCALES = st.sampled_from([0.1, 1.0, 30.0])


@settings(derandomize=True, deadline=None, max_examples=20)
@given(CASES, SCALES)
def test_the_log_partition_and_the_likelihood_are_those_of_all_paths(
    case: tuple[int, list[int], int], scale: float
) -> None:
    num_tags, lengths, seed = case
    crf, emissions = crf_of(num_tags, seed=seed), emissions_of(len(lengths), 4, num_tags, seed=seed, scale=scale)
    tags = torch.from_numpy(np.random.default_rng(seed).integers(0, num_tags, (len(lengths), 4)))
    found, nats = crf.log_partition(emissions, torch.tensor(lengths)), crf(emissions, tags, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        scores = all_paths(crf, emissions[row, :length].numpy())
        assert found[row].item() == pytest.approx(log_sum(scores), rel=1e-12, abs=1e-10)
        gold = scores[tuple(tags[row, :length].tolist())]
        assert nats[row].item() == pytest.approx(log_sum(scores) - gold, rel=1e-10, abs=1e-10)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(CASES, SCALES, st.integers(1, 7))
def test_the_best_paths_are_the_best_of_all_paths(case: tuple[int, list[int], int], scale: float, count: int) -> None:
    num_tags, lengths, seed = case
    crf, emissions = crf_of(num_tags, seed=seed), emissions_of(len(lengths), 4, num_tags, seed=seed, scale=scale)
    decoded = crf.decode(emissions, torch.tensor(lengths))
    for row, (length, best) in enumerate(
        zip(lengths, crf.n_best(emissions, torch.tensor(lengths), count), strict=True)
    ):
        scores = all_paths(crf, emissions[row, :length].numpy())
        expected = sorted(scores, key=lambda path: -scores[path])[:count]
        assert [tuple(path) for path, _ in best] == expected
        assert tuple(decoded[row]) == expected[0]
        for path, log_probability in best:
            assert log_probability == pytest.approx(scores[tuple(path)] - log_sum(scores), rel=1e-10, abs=1e-10)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(CASES, SCALES)
def test_marginals_are_those_of_all_paths(case: tuple[int, list[int], int], scale: float) -> None:
    num_tags, lengths, seed = case
    crf, emissions = crf_of(num_tags, seed=seed), emissions_of(len(lengths), 4, num_tags, seed=seed, scale=scale)
    found = crf.marginals(emissions, torch.tensor(lengths)).numpy()
    for row, length in enumerate(lengths):
        scores = all_paths(crf, emissions[row, :length].numpy())
        expected = np.zeros((4, num_tags))
        for path, score in scores.items():
            expected[range(length), path] += math.exp(score - log_sum(scores))
        np.testing.assert_allclose(found[row], expected, atol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    crf, lengths = crf_of(3), torch.tensor([4, 1, 0, 2])
    tags = torch.tensor([[0, 2, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [2, 2, 0, 0]])
    names = [name for name, _ in crf.named_parameters()]

    def nats(emissions: Tensor, *parameters: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(
            crf, dict(zip(names, parameters, strict=True)), (emissions, tags, lengths)
        )
        return found

    emissions = emissions_of(4, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(nats, (emissions, *crf.parameters()))


def test_rows_do_not_depend_on_their_batch() -> None:
    crf, emissions, lengths = crf_of(3), emissions_of(3, 5, 3), torch.tensor([2, 5, 3])
    for row in range(3):
        alone = crf.log_partition(emissions[row : row + 1, : lengths[row]], lengths[row : row + 1])
        torch.testing.assert_close(crf.log_partition(emissions, lengths)[row : row + 1], alone, rtol=0, atol=1e-12)


def test_what_lies_beyond_the_end_changes_nothing() -> None:
    crf, emissions, lengths = crf_of(3), emissions_of(2, 5, 3), torch.tensor([2, 4])
    spoilt = emissions.clone()
    spoilt[0, 2:], spoilt[1, 4:] = float("nan"), float("inf")
    assert torch.equal(crf.log_partition(spoilt, lengths), crf.log_partition(emissions, lengths))
    assert crf.decode(spoilt, lengths) == crf.decode(emissions, lengths)
    assert torch.equal(crf.marginals(spoilt, lengths)[0, :2], crf.marginals(emissions, lengths)[0, :2])


def test_a_sentence_without_a_token_has_one_path() -> None:
    crf, lengths = crf_of(3), torch.tensor([0, 0])
    for steps in (0, 2):
        emissions = emissions_of(2, steps, 3)
        assert crf(emissions, torch.zeros(2, steps, dtype=torch.long), lengths).tolist() == [0, 0]
        assert crf.decode(emissions, lengths) == [[], []]
        assert not crf.marginals(emissions, lengths).any()


@pytest.mark.parametrize("length", [1, 2, 4])
def test_paths_that_are_not_legal_have_no_probability(length: int) -> None:
    crf = CRF(Legal.of(IOB2, "IOB2")).double()
    emissions, lengths = emissions_of(1, length, len(IOB2)), torch.tensor([length])
    paths = crf.n_best(emissions, lengths, 5**length)[0]
    legal = [p for p in itertools.product(range(5), repeat=length) if first_break([IOB2[t] for t in p], "IOB2") is None]
    assert sorted(tuple(path) for path, _ in paths) == legal
    assert sum(math.exp(nats) for _, nats in paths) == pytest.approx(1)
    scores = {p: s for p, s in all_paths(crf, emissions[0].numpy()).items() if p in legal}
    assert crf.log_partition(emissions, lengths).item() == pytest.approx(log_sum(scores))


def test_a_model_with_forbidden_neighbours_has_finite_gradients() -> None:
    crf = CRF(Legal.of(IOB2, "IOB2")).double()
    emissions = emissions_of(2, 4, 5).requires_grad_()
    crf(emissions, torch.tensor([[0, 1, 2, 0], [3, 4, 0, 0]]), torch.tensor([4, 2])).sum().backward()
    for gradient in (emissions.grad, *(parameter.grad for parameter in crf.parameters())):
        assert gradient is not None and gradient.isfinite().all() and gradient.any()


def test_a_sentence_of_a_thousand_tokens_is_learned_from_and_decoded() -> None:
    crf = CRF(Legal.of(IOB2, "IOB2"))
    emissions = emissions_of(2, 1000, 5).float().requires_grad_()
    tags, lengths = torch.zeros(2, 1000, dtype=torch.long), torch.tensor([1000, 3])
    nats = crf(emissions, tags, lengths)
    nats.sum().backward()
    marginals = crf.marginals(emissions, lengths)
    paths = crf.decode(emissions, lengths)
    assert [len(path) for path in paths] == [1000, 3]
    assert nats.dtype == torch.float32
    assert emissions.grad is not None and emissions.grad.isfinite().all()
    exact, exactly = copy.deepcopy(crf).double(), emissions.detach().double()
    torch.testing.assert_close(crf.log_partition(emissions, lengths), exact.log_partition(exactly, lengths), **NEAR)
    torch.testing.assert_close(nats.double(), exact(exactly, tags, lengths), rtol=1e-6, atol=0)
    torch.testing.assert_close(marginals.double(), exact.marginals(exactly, lengths), rtol=0, atol=1e-5)
    assert paths == exact.decode(exactly, lengths)


def test_probabilities_of_paths_of_a_thousand_tokens_are_exact_in_float32() -> None:
    crf = CRF(Legal.of(IOB2, "IOB2"))
    emissions, lengths = emissions_of(1, 1000, 5).float(), torch.tensor([1000])
    emissions[..., 0] += 12  # as a tagger that is sure
    paths = crf.n_best(emissions, lengths, 50)[0]
    for (path, nats), (other, exact) in zip(
        paths, copy.deepcopy(crf).double().n_best(emissions.double(), lengths, 50)[0], strict=True
    ):
        assert path == other and nats == pytest.approx(exact, abs=1e-5)
    assert 0.5 < sum(math.exp(nats) for _, nats in paths) <= 1 + 1e-9


def test_paths_do_not_depend_on_how_many_rows_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    crf, emissions, lengths = crf_of(3), emissions_of(5, 4, 3), torch.tensor([2, 4, 0, 1, 3])
    together = crf.n_best(emissions, lengths, 7)
    monkeypatch.setattr("lowtide.tasks.crf._PATHS_AT_ONCE", 1)
    assert crf.n_best(emissions, lengths, 7) == together


def test_shapes_that_do_not_fit_are_refused() -> None:
    crf = crf_of(3)
    with pytest.raises(ShapeError, match=r"expected \(batch, tokens, 3\) and \(batch,\)"):
        crf.decode(emissions_of(2, 4, 2), torch.tensor([4, 4]))
    with pytest.raises(ShapeError, match="a sentence of 5 tokens in rows of 4"):
        crf.decode(emissions_of(1, 4, 3), torch.tensor([5]))
    with pytest.raises(ShapeError, match=r"tags are \(1, 3\), emissions \(1, 4, 3\)"):
        crf(emissions_of(1, 4, 3), torch.zeros(1, 3, dtype=torch.long), torch.tensor([3]))
