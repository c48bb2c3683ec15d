"""Some hundred damaged models of each kind, always the same ones, and all that longer runs have found."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import many_langs
import published
import tiny
from lowtide.errors import LowtideError, ModelError
from weights import fuzzing

NUM_CASES = 100
RED = "\x1b[31m"
"""Makes what follows red, in a terminal."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pickle would run, it would run here."""
    monkeypatch.chdir(tmp_path)


# -- short runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in fuzzing.KINDS if kind != "hdf5"])
def test_a_damaged_model_is_loaded_or_refused(kind: str, tmp_path: Path) -> None:
    found = fuzzing.finds(kind, tmp_path, seed=0, count=NUM_CASES)
    assert [find.what for find in found] == []


def test_a_damaged_hdf5_file_is_loaded_or_refused(tmp_path: Path) -> None:
    """In a process of its own, as the library is C and might crash."""
    command = [sys.executable, fuzzing.__file__, "--kind", "hdf5", "--cases", str(NUM_CASES)]
    ended = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_of_one_seed_there_is_one_case(kind: str) -> None:
    samples = fuzzing.samples_of(kind)
    assert fuzzing.case(samples, 7) == fuzzing.case(samples, 7)
    assert len({fuzzing.case(samples, seed).content for seed in range(20)}) > 10


# -- that the fuzzer sees what it is for ---------------------------------------------------------


def _raises(error: BaseException) -> Callable[[Path], None]:
    def use(path: Path) -> None:
        raise error

    return use


class _AsItIs(LowtideError):
    """One that does not write control characters in another way."""

    def __str__(self) -> str:
        return str(self.args[0])


def _warns(path: Path) -> None:
    np.float32(3e38) * np.float32(3e38)


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (_raises(KeyError("a")), "KeyError"),
        (_raises(RecursionError()), "RecursionError"),
        (_raises(MemoryError()), "MemoryError"),
        (_raises(SystemExit(2)), "SystemExit"),
        (_raises(_AsItIs("a\nb")), "cannot be printed in a line"),
        (_raises(_AsItIs("a" * 2000)), "more than 1500 letters"),
        (_warns, "RuntimeWarning"),
        (lambda path: Path(fuzzing.MARKER).mkdir(), "ran code"),
        (_raises(ModelError("it is damaged")), None),
    ],
)
def test_it_is_told_what_goes_wrong(
    use: Callable[[Path], None], says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzzing, "use", use)
    told = fuzzing.problem(tmp_path)
    assert told is None if says is None else says in str(told)


# -- finds ---------------------------------------------------------------------------------------


def _named_in_zip(folder: Path, name: str) -> Path:
    return published.write_zip(folder / "model.zip", [("options.json", b"{}"), (name, b"")])


def _in_zip(folder: Path) -> Path:
    return _named_in_zip(folder, f"{RED}weights.hdf5")


def _beyond_zip(folder: Path) -> Path:
    path = _named_in_zip(folder, f"{RED}weights.hdf5")
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\1\2") + 42  # where the member begins
    data[at : at + 4] = struct.pack("<I", len(data))
    path.write_bytes(data)
    return path


def _in_checkpoint(folder: Path) -> Path:
    extra = f"lm/CNN_proj/{RED}"
    return published.write_checkpoint(folder / "m", tensors=lambda it: it.update({extra: np.zeros(1, "f4")})).folder


def _in_hdf5(folder: Path) -> Path:
    return published.write_pair(folder / "m", arrays=lambda it: it.update({f"CNN{RED}": np.zeros(1, "f4")}))


def _in_link(folder: Path) -> Path:
    published.write_pair(folder / "m")
    with h5py.File(folder / "m" / "weights.hdf5", "a") as file:
        file[f"{RED}a"] = h5py.SoftLink("/CNN")
    return folder / "m"


def _in_pickle(folder: Path) -> Path:
    many_langs.write(folder / "m")
    many_langs.save(folder / "m" / "encoder.pkl", {RED: 1})
    return folder / "m"


def _in_safetensors(folder: Path, type_: str = RED) -> Path:
    tiny.save(folder / "m")
    head = json.dumps({"a": {"dtype": type_, "shape": [], "data_offsets": [0, 4]}}).encode()
    (folder / "m" / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(4))
    return folder / "m"


@pytest.mark.parametrize(
    "write", [_in_zip, _beyond_zip, _in_checkpoint, _in_hdf5, _in_link, _in_pickle, _in_safetensors]
)
def test_no_control_character_of_a_file_stands_in_a_message(write: Callable[[Path], Path], tmp_path: Path) -> None:
    assert fuzzing.problem(write(tmp_path)) is None


@pytest.mark.parametrize(
    "write", [lambda folder: _named_in_zip(folder, "x" * 3000), lambda folder: _in_safetensors(folder, "x" * 5000)]
)
def test_a_message_does_not_quote_thousands_of_letters(write: Callable[[Path], Path], tmp_path: Path) -> None:
    assert fuzzing.problem(write(tmp_path)) is None


def test_a_config_path_that_is_no_path_is_refused(tmp_path: Path) -> None:
    many_langs.write(tmp_path / "m", config_path="x" * 5000)
    assert fuzzing.problem(tmp_path / "m") is None


def test_a_forget_bias_that_float32_cannot_hold_is_refused(tmp_path: Path) -> None:
    config = tiny.save(tmp_path / "m").folder / "config.json"
    text = config.read_text(encoding="utf-8")
    config.write_text(re.sub('"forget_bias": [0-9.]+', '"forget_bias": 1e300', text), encoding="utf-8")
    assert fuzzing.problem(tmp_path / "m") is None
