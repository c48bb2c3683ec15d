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


@pytest.mark.parametrize(
    ("readme", "expected"),
    [
        ("README.md", ["True", "['The', 'tide', 'goes', 'out', '.']", "(5, 192)", "(192,)"]),
        ("README.zh-CN.md", ["True", "['潮水', '退', '了', '。']", "(4, 192)", "(192,)"]),
    ],
)
def test_the_lines_of_a_readme_run(
    readme: str,
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for code in re.findall(r"```python\n(.*?)```", (_ROOT / readme).read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, readme, "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[: len(expected)] == expected


@pytest.mark.parametrize("example", sorted(_ROOT.glob("examples/*.py")), ids=lambda path: path.stem)
def test_an_example_runs_and_prints(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("example", sorted(_ROOT.glob("examples/*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < 80


def test_the_map_of_the_house_names_what_is_there() -> None:
    text = (_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:text|model|embeddings|training|tasks|weights|pictures)/[a-z_]+\.py)`", text)
    missing = [name for name in named if not (_ROOT / "src" / "lowtide" / name).is_file()]
    assert named and not missing


_PAGES = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "benchmarks/README.md"]
_PAGES += [f"docs/{path.name}" for path in sorted((_ROOT / "docs").glob("*.md"))]


def _links(page: str) -> list[tuple[str, Path]]:
    """The text of every link of a page that leads to a file of ours, and where it leads."""
    found = re.findall(r"\[([^\]]+)\]\((?!https?:)([^)#]+)\)", (_ROOT / page).read_text(encoding="utf-8"))
    return [(text, (_ROOT / page).parent / target) for text, target in found]


@pytest.mark.parametrize("page", _PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    assert [target for _, target in _links(page) if not target.exists()] == []


def test_every_function_that_the_method_names_is_where_it_says() -> None:
    named = [(text.strip("`"), target) for text, target in _links("docs/method.md") if target.suffix == ".py"]
    assert len(named) > 30
    for name, target in named:
        source = target.read_text(encoding="utf-8")
        for part in name.split(".") if "/" not in name and "`" not in name else []:
            assert re.search(rf"(def|class) {part}\b", source) or " " in name, f"{name} is not in {target.name}"
