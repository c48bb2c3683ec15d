from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lowtide

_ROOT = Path(__file__).parent.parent


def test_importing_lowtide_imports_neither_torch_nor_numpy() -> None:
    script = "import sys, lowtide; print(sorted({'torch', 'numpy', 'rich', 'typer'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("name", lowtide.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(lowtide, name) is not None and name in dir(lowtide)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'elmo'"):
        _ = lowtide.elmo


def test_the_version_is_the_packages() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == lowtide.__version__


def test_the_changelog_has_the_version_or_is_ahead_of_it() -> None:
    headings = re.findall(r"^## (\S+)", (_ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] in ("Unreleased", lowtide.__version__)
