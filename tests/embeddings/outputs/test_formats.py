from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from lowtide.embeddings.outputs import EmbeddedSentence, check_output, open_embeddings, open_output
from lowtide.embeddings.outputs.formats import FORMATS
from lowtide.errors import InputError, MissingExtraError

_PAGE = Path(__file__).parents[3] / "docs" / "vector-files.md"


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL))
def test_the_page_of_vector_files_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for ending in FORMATS:
        with open_output(Path(f"vectors{ending}")) as writer:
            writer.write(EmbeddedSentence("0", ["the", "tide"], np.ones((2, 4), np.float32), [(0, 3), (4, 8)]))
    exec(compile(code, str(_PAGE), "exec"), {})


def test_the_page_of_vector_files_tells_of_each() -> None:
    assert [ending for ending in FORMATS if f"`{ending}`" not in _PAGE.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    ("name", "nearest"), [("v.safetensor", ".safetensors"), ("v.map", ".mmap"), ("v.parqet", ".parquet")]
)
def test_the_nearest_ending_is_named(name: str, nearest: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"Did you mean '{nearest}'"):
        check_output(tmp_path / name)


@pytest.mark.parametrize("name", ["v.MMAP", "v.Parquet", "v.H5"])
def test_capital_letters_change_nothing(name: str, tmp_path: Path) -> None:
    check_output(tmp_path / name)


def test_a_file_in_the_place_of_a_folder_is_refused_and_left(tmp_path: Path) -> None:
    (tmp_path / "v.mmap").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="is a file"), open_output(tmp_path / "v.mmap"):
        pass
    assert (tmp_path / "v.mmap").read_text(encoding="utf-8") == "mine"


def test_a_folder_with_something_else_in_it_is_refused_and_left(tmp_path: Path) -> None:
    (tmp_path / "v.mmap").mkdir()
    (tmp_path / "v.mmap" / "thesis.tex").touch()
    with pytest.raises(InputError, match="something else in it"), open_output(tmp_path / "v.mmap"):
        pass
    assert (tmp_path / "v.mmap" / "thesis.tex").exists()


@pytest.mark.parametrize("ending", [".h5", ".npz", ".parquet", ".safetensors", ".mmap"])
def test_the_old_vectors_are_replaced_whole(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"v{ending}"
    for count in (3, 1):
        with open_output(path) as writer:
            for number in range(count):
                writer.write(EmbeddedSentence(str(number), ["a"], np.ones((1, 2), np.float32)))
        with open_embeddings(path) as vectors:
            assert len(vectors) == count
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", [".h5", ".npz", ".parquet", ".safetensors", ".mmap"])
def test_a_failure_leaves_the_old_vectors(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"v{ending}"
    with open_output(path) as writer:
        writer.write(EmbeddedSentence("0", ["a"], np.ones((1, 2), np.float32)))
    with pytest.raises(RuntimeError, match="stopped"), open_output(path) as writer:
        writer.write(EmbeddedSentence("0", ["b"], np.zeros((1, 2), np.float32)))
        raise RuntimeError("stopped")
    with open_embeddings(path) as vectors:
        assert vectors[0].tolist() == [[1.0, 1.0]]
    assert list(tmp_path.iterdir()) == [path]


def test_parquet_without_its_library_names_the_command_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lowtide\[parquet\]'"):
        check_output(tmp_path / "v.parquet")
