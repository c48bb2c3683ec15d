"""Training on documents: the state is carried, recorded, and resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lowtide
from lowtide.embeddings import Elmo
from lowtide.training.trainer import Trainer
from scenario import write_corpus

pytestmark = pytest.mark.usefixtures("mini_preset")


def pretrain_documents(corpus: Path, out: Path, *, resume: bool = False) -> Elmo:
    return lowtide.pretrain([corpus], out=out, preset="tiny", tokens=3000, documents=True, resume=resume, seed=3)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus.txt")


def test_the_config_says_that_the_state_is_carried(corpus: Path, tmp_path: Path) -> None:
    assert pretrain_documents(corpus, tmp_path / "model").stored.config.documents
    plain = lowtide.pretrain([corpus], out=tmp_path / "plain", preset="tiny", tokens=200)
    assert not plain.stored.config.documents


def test_a_killed_training_on_documents_resumes_to_the_same_bits(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain_documents(corpus, tmp_path / "whole")
    step, calls = Trainer.step, 0

    def dies(self: Trainer, batch: object) -> float:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt
        return step(self, batch)  # type: ignore[arg-type]  # a batch, passed on unread

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", dies)
        patch.setattr("lowtide.training.checkpoint.CHECKPOINT_SECONDS", 0.0)
        patch.setattr("lowtide.training.checkpoint.CHECKPOINT_SHARE", 1e9)
        patch.setattr("lowtide.training.planning.probe", _no_probe())
        with pytest.raises(KeyboardInterrupt):
            pretrain_documents(corpus, tmp_path / "killed")
    assert calls == 9
    pretrain_documents(corpus, tmp_path / "killed", resume=True)
    for name in ("model.safetensors", "softmax.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def _no_probe() -> object:
    from lowtide.training.forecast import Probe

    return lambda *_, **__: Probe(tokens_per_second=1000.0, validation_seconds=0.0, memory_bytes=None)


def test_what_one_sentence_of_a_document_told_the_others_know(corpus: Path, tmp_path: Path) -> None:
    """Each document repeats one word of its own: only a model that carries its state can expect it."""
    documents = [[[f"w{number}", "goes"], ["out", f"w{number}"]] for number in range(20)]
    draw = np.random.default_rng(0)
    lines = [line for n in draw.integers(20, size=300) for line in [*map(" ".join, documents[n]), ""]]
    corpus.write_text("\n".join(lines), encoding="utf-8")
    found = {}
    for is_carried in (False, True):
        elmo = lowtide.pretrain(
            [corpus], out=tmp_path / str(is_carried), preset="tiny", tokens=15_000, documents=is_carried, min_count=1
        )
        found[is_carried] = elmo.language_model().perplexity_of(documents)
    assert found[True].forward < 0.7 * found[False].forward
    assert found[True].backward < 0.7 * found[False].backward
