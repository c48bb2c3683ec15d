"""What is written for users runs as it stands."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import torch

_ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr("lowtide.training.planning.PROBE_SECONDS", 0.1)


def test_the_ten_lines_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (_ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == ["['The', 'tide', 'goes', 'out', '.']", "(5, 192)", "(192,)"]


@pytest.mark.parametrize("example", sorted(_ROOT.glob("examples/*.py")), ids=lambda path: path.stem)
def test_an_example_runs_and_prints(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("example", sorted(_ROOT.glob("examples/*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < 80


def test_the_map_of_the_house_names_what_is_there() -> None:
    text = (_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:text|model|embeddings|training|weights|pictures)/[a-z_]+\.py)`", text)
    missing = [name for name in named if not (_ROOT / "src" / "lowtide" / name).is_file()]
    assert named and not missing
