"""Tiny models in folders, written once and shared by all tests: do not change them, copy them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import tiny
from command import run
from lowtide.embeddings import Elmo, LanguageModel
from scenario import mini_preset

__all__ = ["mini_preset", "run"]

torch.set_num_threads(1)  # networks of a hundred weights: more threads only wait for each other


@pytest.fixture(scope="session")
def saved_bytes(tmp_path_factory: pytest.TempPathFactory) -> tiny.Saved:
    """A model of words spelled in bytes."""
    return tiny.save(tmp_path_factory.mktemp("models") / "bytes")


@pytest.fixture(scope="session")
def saved_symbols(tmp_path_factory: pytest.TempPathFactory) -> tiny.Saved:
    """A model of an alphabet."""
    return tiny.save(tmp_path_factory.mktemp("models") / "symbols", is_alphabet=True)


@pytest.fixture(scope="session", params=["bytes", "symbols"])
def saved(request: pytest.FixtureRequest, saved_bytes: tiny.Saved, saved_symbols: tiny.Saved) -> tiny.Saved:
    """Each of the two, in turn."""
    return {"bytes": saved_bytes, "symbols": saved_symbols}[request.param]


@pytest.fixture
def copied(saved: tiny.Saved, tmp_path: Path) -> Path:
    """A folder of either kind that a test may damage."""
    return shutil.copytree(saved.folder, tmp_path / "model")


@pytest.fixture
def copied_bytes(saved_bytes: tiny.Saved, tmp_path: Path) -> Path:
    """A folder of a model of bytes that a test may damage."""
    return shutil.copytree(saved_bytes.folder, tmp_path / "model")


@pytest.fixture(scope="session")
def elmo(saved_bytes: tiny.Saved) -> Elmo:
    """The model of bytes, opened."""
    return Elmo.open(saved_bytes.folder, device="cpu")


@pytest.fixture(scope="session")
def elmo_of_symbols(saved_symbols: tiny.Saved) -> Elmo:
    """The model of an alphabet, opened."""
    return Elmo.open(saved_symbols.folder, device="cpu")


@pytest.fixture(scope="session")
def language_model(elmo: Elmo) -> LanguageModel:
    """The model of bytes with its softmax."""
    return elmo.language_model()
