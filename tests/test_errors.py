import inspect
import re
from pathlib import Path

import pytest

from lowtide import errors
from lowtide.errors import LowtideError, MissingExtraError, is_out_of_memory, missing_extra, nearest, require

BUILT_INS = {
    errors.InputError: ValueError,
    errors.ShapeError: ValueError,
    errors.ConfigError: ValueError,
    errors.ModelError: ValueError,
    errors.MissingPathError: FileNotFoundError,
    errors.WriteError: OSError,
    errors.MissingExtraError: ImportError,
    errors.TrainingError: RuntimeError,
    errors.DivergenceError: RuntimeError,
}


def all_errors() -> set[type[LowtideError]]:
    return {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, LowtideError)}


def test_every_error_is_in_the_table_of_this_test() -> None:
    assert all_errors() == {LowtideError, *BUILT_INS}


@pytest.mark.parametrize("kind", BUILT_INS, ids=lambda kind: kind.__name__)
def test_an_error_is_caught_as_ours(kind: type[LowtideError]) -> None:
    with pytest.raises(LowtideError):
        raise kind("what was found")


@pytest.mark.parametrize(("kind", "built_in"), BUILT_INS.items(), ids=lambda kind: kind.__name__)
def test_an_error_is_caught_as_the_built_in_it_is(kind: type[LowtideError], built_in: type[Exception]) -> None:
    with pytest.raises(built_in):
        raise kind("what was found")


@pytest.mark.parametrize("kind", BUILT_INS, ids=lambda kind: kind.__name__)
def test_an_error_reads_as_its_message(kind: type[LowtideError]) -> None:
    assert str(kind("3 found, 2 expected")) == "3 found, 2 expected"


@pytest.mark.parametrize(("kind", "built_in"), BUILT_INS.items(), ids=lambda kind: kind.__name__)
def test_the_tree_in_the_docstring_shows_every_error(kind: type[LowtideError], built_in: type[Exception]) -> None:
    line = re.search(rf"── {kind.__name__}\b(?: +\((\w+)\))?", errors.__doc__ or "")
    assert line is not None
    # an error below another of ours inherits its built-in
    assert line[1] == (built_in.__name__ if LowtideError in kind.__bases__ else None)


def test_a_notebook_shows_the_message_alone() -> None:
    assert errors.InputError("no token")._render_traceback_() == ["InputError: no token"]


def test_require_gives_the_library() -> None:
    assert require("json.decoder", extra="any").__name__ == "json.decoder"


@pytest.mark.parametrize("module", ["not_there_at_all", "not_there_at_all.inside"])
def test_a_missing_library_names_the_command_that_installs_it(module: str) -> None:
    with pytest.raises(MissingExtraError, match=r"not_there_at_all.*pip install 'lowtide\[plots\]'"):
        require(module, extra="plots")


def test_a_library_that_misses_another_one_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "is_there_but_broken.py").write_text("import its_own_need\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="its_own_need") as caught:
        require("is_there_but_broken", extra="plots")
    assert not isinstance(caught.value, LowtideError)


def test_missing_extra_names_the_extra() -> None:
    assert "lowtide[zstd]" in str(missing_extra("zstandard", extra="zstd"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("langauge", " Did you mean 'language'?"), ("xyz", ""), ("", "")],
)
def test_nearest_asks_for_the_nearest_known_name_or_says_nothing(name: str, expected: str) -> None:
    assert nearest(name, ["language", "lines", "encoding"]) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_missing_memory_is_known_by_how_libraries_say_so(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
