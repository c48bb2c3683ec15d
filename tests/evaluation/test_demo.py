from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lowtide.errors import InputError
from lowtide.evaluation import demo, demo_text, story
from lowtide.evaluation.demo import tell
from lowtide.files import write_text

_ENGLISH = (
    "They can work in the town by the sea . The work is done by many hands there . "
    "He will return in the evening of the day . The return is late at night for us . "
    "She had to form a line at the door today . The form is lying on the old table .\n"
)
_CHINESE = "他 为/p 大家 工作/v 。 这 为/v 好 。 工作/vn 很 多 。 他 与/p 我 来/v 。 山 与/c 水 。 十 年 来/f 好 。"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The demo, on a little text and for a second each."""
    out = tmp_path_factory.mktemp("told") / "demo"
    lines: list[str] = []
    torch.set_num_threads(1)
    paragraph = [(w, t or "r") for w, _, t in (entry.partition("/") for entry in _CHINESE.split())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_text, "require_demo_text", lambda: None)
        patch.setattr(demo_text, "write_english", lambda path: write_text(path, _ENGLISH * 60))
        patch.setattr(demo_text, "tagged_chinese", lambda: iter([paragraph] * 60))
        patch.setattr("lowtide.training.planning.PROBE_SECONDS", 0.1)
        patch.setattr(story, "_NUM_GRAMMAR", 5)
        tell(out, languages=["en", "zh"], time="1s", ui="en", say_line=lines.append)
    return out, lines


def test_the_report_is_one_page_that_needs_nothing_else(told: tuple[Path, list[str]]) -> None:
    page = (told[0] / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(", page)


def test_the_report_shows_the_story_in_both_languages(told: tuple[Path, list[str]]) -> None:
    page = (told[0] / "report.html").read_text(encoding="utf-8")
    for shown in (
        "潮水",
        "退了",
        "没穿",
        "裤子",
        "[bank]",
        "unigram model",
        "one-hot",
        "not in the vocabulary: rare in the text, or not in it",
    ):
        assert shown in page


def test_the_numbers_are_there_for_programs(told: tuple[Path, list[str]]) -> None:
    english, chinese = json.loads((told[0] / "report.json").read_text(encoding="utf-8"))["stories"]
    assert english["perplexity"]["after"]["forward"] < english["perplexity"]["before"]["forward"]
    assert [place["token"] for place in chinese["walk"]][1:-1] == story.WALKS["zh"]
    assert english["words"] and all(min(word["uses"].values()) >= 20 for word in english["words"])


def test_one_hot_and_layer_0_are_all_ones_for_one_word(told: tuple[Path, list[str]]) -> None:
    for found in json.loads((told[0] / "report.json").read_text(encoding="utf-8"))["stories"]:
        for word in found["words"]:
            for rung in ("one-hot", "layer 0"):
                np.testing.assert_allclose(word["cosines"][rung], 1.0, atol=1e-5)


def test_a_missing_shipped_model_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "shipped_model", lambda name: None)
    lines: list[str] = []
    assert demo._ready("en", "en", lines.append) is None
    assert len(lines) == 1 and "No en model ships" in lines[0]


def test_the_shipped_model_answers_before_anything_is_trained(told: tuple[Path, list[str]]) -> None:
    found = json.loads((told[0] / "report.json").read_text(encoding="utf-8"))["shipped"]
    assert found and "surroundings" in found[0]["cosines"]


def test_three_commands_to_paste_name_the_models_that_were_made(told: tuple[Path, list[str]]) -> None:
    commands = [line for line in told[1] if line.strip().startswith("lowtide ")]
    assert len(commands) == 3 and str(told[0] / "en") in commands[1]


def test_a_model_of_the_users_own_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "config.json").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(demo_text, "require_demo_text", lambda: None)
    monkeypatch.setattr(demo_text, "write_english", lambda path: write_text(path, _ENGLISH))
    with pytest.raises(InputError):
        tell(tmp_path, languages=["en"], time="1s", ui="en", say_line=lambda line: None)
    assert (tmp_path / "en" / "config.json").read_text(encoding="utf-8") == "mine"


def test_a_language_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected en or zh"):
        demo._known(["fr"])
