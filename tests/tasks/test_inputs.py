from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import torch

from lowtide.embeddings import Elmo
from lowtide.tasks.inputs import make_sources
from stand_ins import SENTENCES


def test_states_are_the_same_numbers_whether_they_are_stored_or_held(elmo: Elmo, tmp_path: Path) -> None:
    [held] = make_sources([elmo], SENTENCES, [None])
    with ExitStack() as files:
        [stored] = make_sources([elmo], SENTENCES, [None], store=tmp_path, files=files)
        for numbers in ([0], [3, 1], range(len(SENTENCES))):
            assert torch.equal(held.states(numbers), stored.states(numbers))
    exact = torch.from_numpy(elmo.embed_layers(SENTENCES)[0])
    torch.testing.assert_close(held.states([0]), exact, rtol=6e-4, atol=1e-6)
    assert not torch.equal(held.states([0]), exact)  # both are rounded to float16
