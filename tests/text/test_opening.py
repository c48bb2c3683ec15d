from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import pytest

from lowtide.text.opening import CutOptions, open_texts


@pytest.mark.parametrize("name", ["t.conll", "t.conllu.gz", "t.TSV", "t.csv", "t.jsonl"])
def test_a_table_that_is_read_as_text_is_warned_of(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"the\tO\n") if path.suffix == ".gz" else b"the\tO\n")
    with pytest.warns(UserWarning, match=f"{name}: its name says a table, and every line is read as a sentence"):
        open_texts([path], CutOptions())


def test_text_is_not_warned_of(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the tide\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [s.text for s in open_texts([tmp_path / "t.txt"], CutOptions()).sentences] == ["the tide"]


def test_chinese_that_is_cut_already_is_warned_of_where_it_is_cut_anew(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("潮水 退了 就 知道\n\n谁 没穿 裤子\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="spaces stand between Chinese words, and the text is cut anew"):
        open_texts([path], CutOptions())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for tokenizer in ("whitespace", "characters"):
            open_texts([path], CutOptions(tokenizer=tokenizer))
        path.write_text("潮水退了就知道。\n第一章 潮水\n谁没穿裤子。\n", encoding="utf-8")
        open_texts([path], CutOptions())  # a heading
