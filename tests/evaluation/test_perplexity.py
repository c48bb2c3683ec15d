from __future__ import annotations

from pathlib import Path

import pytest

from lowtide.embeddings import Elmo
from lowtide.errors import InputError
from lowtide.evaluation.inspection import inspect
from lowtide.evaluation.perplexity import measure_perplexity


def test_a_file_has_the_perplexity_of_its_sentences(elmo: Elmo, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a b c\n\nb a\n", encoding="utf-8")
    found = measure_perplexity(elmo, [tmp_path / "text.txt"])
    assert found.perplexity == elmo.language_model().perplexity(["a b c", "b a"])
    assert found.num_sentences == 2


def test_a_text_that_is_cut_already_is_not_cut_again(elmo: Elmo, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a-b. c\n", encoding="utf-8")
    found = measure_perplexity(elmo, [tmp_path / "text.txt"], is_tokenized=True)
    assert found.perplexity.num_tokens == 2


def test_a_blank_file_is_refused(elmo: Elmo, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(InputError, match="no token"):
        measure_perplexity(elmo, [tmp_path / "text.txt"])


def test_inspection_counts_the_parameters(elmo: Elmo) -> None:
    found = inspect(elmo)
    assert found.num_parameters == sum(p.numel() for p in elmo.stored.bilm.parameters())
    assert found.checksum == elmo.checksum and found.has_softmax
