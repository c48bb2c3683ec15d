from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lowtide.training.log import draw_log, read_log


def _write(folder: Path, *entries: dict[str, object]) -> None:
    lines = [json.dumps({"step": 1, "tokens": 100 * n, "seconds": 2.0 * n, **e}) for n, e in enumerate(entries)]
    (folder / "training.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_best_look_is_the_one_with_the_lowest_mean(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {"valid_forward": 90.0, "valid_backward": 80.0, "valid_unigram": 95.0},
        {"loss": 4.0, "rate": 0.1},
        {"valid_forward": 30.0, "valid_backward": 40.0},
        {"valid_forward": 35.0, "valid_backward": 38.0},
    )
    log = read_log(tmp_path)
    assert list(log.best) == [200, 30.0, 40.0]
    assert log.unigram == 95.0
    assert log.losses == [(100, 4.0)]
    assert log.tokens == 300
    assert log.seconds == 6.0


def test_both_curves_are_drawn_and_stand_alone(tmp_path: Path) -> None:
    _write(tmp_path, {"valid_forward": 90.0, "valid_backward": 80.0, "valid_unigram": 95.0}, {"loss": 4.0})
    draw_log(tmp_path)
    for name in ("perplexity.svg", "loss.svg"):
        assert ElementTree.fromstring((tmp_path / name).read_text(encoding="utf-8")).tag.endswith("svg")


def test_without_held_out_text_there_is_no_picture_of_it(tmp_path: Path) -> None:
    _write(tmp_path, {"loss": 4.0}, {"loss": 3.0})
    draw_log(tmp_path)
    assert not (tmp_path / "perplexity.svg").exists()
    assert (tmp_path / "loss.svg").exists()


@pytest.mark.parametrize("damaged", ['sed": 1}', "5", "null", "{}", '{"tokens": 1}', ""])
def test_a_damaged_line_is_passed_over(damaged: str, tmp_path: Path) -> None:
    whole = '{"tokens": 5, "loss": 2.0, "seconds": 1.0}'
    (tmp_path / "training.jsonl").write_text(f"{damaged}\n{whole}\n", encoding="utf-8")
    assert read_log(tmp_path).losses == [(5, 2.0)]
