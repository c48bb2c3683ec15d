from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lowtide.tasks.heads import MatcherHead
from lowtide.tasks.inputs import Batch, Inputs, make_sources
from lowtide.tasks.options import MatcherOptions
from lowtide.tasks.token_network import TokenNetwork
from stand_ins import SENTENCES, Rung


def head_of(objective: Literal["classify", "cosine", "contrastive"], dropout: float = 0.0) -> tuple[MatcherHead, Batch]:
    """A head, and a batch of three pairs."""
    options = MatcherOptions(reader="none", state_width=4, objective=objective, margin=0.9, dropout=dropout)
    torch.manual_seed(1)
    head = MatcherHead(TokenNetwork([Rung()], options, is_tuned=False), 3, options).double()
    inputs = Inputs(SENTENCES, make_sources([Rung()], SENTENCES, [None]), spelling=None, device=torch.device("cpu"))
    batch = inputs.batch(range(6))
    return head, Batch([states.double() for states in batch.states], batch.lengths)


def test_contrastive_loss_is_that_of_distances_on_the_sphere() -> None:
    head, batch = head_of("contrastive")
    u, v = (side.detach().numpy() for side in head.vectors(batch))
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1)
    distances, same = np.linalg.norm(u - v, axis=1), np.array([1.0, 0.0, 0.0])
    expected = same * distances**2 + (1 - same) * np.maximum(0, 0.9 - distances) ** 2
    assert head.loss(batch, torch.from_numpy(same)).item() == pytest.approx(expected.mean())


def test_texts_that_are_the_same_have_no_distance_and_a_finite_gradient() -> None:
    head, batch = head_of("contrastive")
    twice = Batch([torch.cat([states[:, :3], states[:, :3]], dim=1) for states in batch.states], torch.tensor([3, 3]))
    loss = head.loss(twice, torch.tensor([0.0]))
    loss.backward()
    assert loss.item() == pytest.approx(0.81, abs=1e-4)
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in head.parameters())


def test_the_cosine_is_what_is_compared_with_the_score() -> None:
    head, batch = head_of("cosine")
    u, v = (side.detach().numpy() for side in head.vectors(batch))
    wanted = np.array([0.0, 0.5, 1.0])
    expected = np.mean(((u * v).sum(axis=1) - wanted) ** 2)
    assert head.loss(batch, torch.from_numpy(wanted)).item() == pytest.approx(expected)


def test_a_classifier_of_pairs_sees_both_texts_their_difference_and_their_product() -> None:
    head, batch = head_of("classify")
    u, v = head.eval().vectors(batch)
    seen = torch.cat([u, v, (u - v).abs(), u * v], dim=-1)
    torch.testing.assert_close(head(batch), head.score(seen))


def test_a_classifier_of_pairs_drops_some_of_what_it_sees_and_of_what_it_makes_of_it() -> None:
    head, _ = head_of("classify", dropout=0.5)
    assert isinstance(head.score, nn.Sequential)
    _, hidden, _, _, last = head.score
    assert isinstance(hidden, nn.Linear)
    seen: dict[nn.Module, Tensor] = {}
    for layer in (hidden, last):
        layer.register_forward_pre_hook(lambda module, given: seen.update({module: given[0]}))
    head.score.train()(torch.ones(50, hidden.in_features, dtype=torch.float64))
    assert set(seen[hidden].unique().tolist()) == {0.0, 2.0}
    made = torch.relu(hidden(seen[hidden]))
    kept = seen[last] != 0
    torch.testing.assert_close(seen[last][kept], 2 * made[kept])
    assert 0 < int(kept.sum()) < int((made != 0).sum())
