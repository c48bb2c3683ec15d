"""Our own model folder.

=======================  =====================================================================
``config.json``          `ModelConfig`
``model.safetensors``    the biLM, parameter names as in `lowtide.model`, float32
``vocabulary.txt``       what the softmax can predict, and the symbols of a small alphabet
``softmax.safetensors``  ``weight`` and ``bias``; wanted for guesses and perplexity only
``README.md``            the card
``training.jsonl``       the log
=======================  =====================================================================
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lowtide.config import from_json, to_json
from lowtide.errors import MissingPathError, ModelError, WriteError
from lowtide.files import read_json, write_json, written_whole
from lowtide.model import BiLM, BiLMConfig, Softmax
from lowtide.text.characters import ByteSpelling, Spelling, SymbolSpelling
from lowtide.text.tokenize import Sentence, TokenizerConfig
from lowtide.text.vocabulary import Vocabulary

log = logging.getLogger("lowtide")

FORMAT_VERSION = 1

CONFIG = "config.json"
MODEL = "model.safetensors"
VOCABULARY = "vocabulary.txt"
SOFTMAX = "softmax.safetensors"


@dataclass(frozen=True)
class ModelConfig:
    """What ``config.json`` holds."""

    format_version: int
    kind: Literal["elmo"]
    tokenizer: TokenizerConfig
    trunk: Literal["elmo"]
    bilm: BiLMConfig
    documents: bool = False
    """Whether the state passes from sentence to sentence within a document."""
    preset: str | None = None
    training: Any = None
    """A record of how the model was trained: budget, seed, versions. Nothing depends on it."""


@dataclass(frozen=True)
class StoredModel:
    """A model that was read from a folder."""

    folder: Path
    config: ModelConfig
    vocabulary: Vocabulary
    bilm: BiLM

    @cached_property
    def spelling(self) -> Spelling:
        """How types are written for this model's token network."""
        char_cnn = self.config.bilm.char_cnn
        if char_cnn is None:
            return spelling_for(self.vocabulary, is_alphabet=True)
        return spelling_for(self.vocabulary, is_alphabet=False, max_characters=char_cnn.max_characters)

    def num_truncated(self, sentence: Sentence) -> int:
        """How many tokens are longer than their row of characters."""
        return sum(map(self.spelling.is_truncated, sentence))

    def log_truncated(self, count: int) -> None:
        """Say how many tokens of a text were longer than their row of characters."""
        if count:
            room = self.spelling.row_length - 2
            log.info("cut         %s tokens are longer than %d bytes; the rest of them is not read", f"{count:,}", room)


def spelling_for(vocabulary: Vocabulary, *, is_alphabet: bool, max_characters: int = 50) -> Spelling:
    """How types are written for a token network: as symbols of an alphabet, or byte by byte."""
    return SymbolSpelling(vocabulary) if is_alphabet else ByteSpelling(max_characters)


def save_model(folder: Path, config: ModelConfig, vocabulary: Vocabulary, bilm: BiLM, softmax: Softmax) -> None:
    """Write a model folder; every file appears whole, the weights last: with them it is a model.

    Raises:
        WriteError: if the folder cannot be written.
    """
    vocabulary.save(folder / VOCABULARY)
    write_json(folder / CONFIG, to_json(config))
    save_tensors(folder / SOFTMAX, softmax.state_dict())
    save_tensors(folder / MODEL, bilm.state_dict())


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json`` as far as every version of this package can.

    Raises:
        MissingPathError: if it is not there.
        ModelError: if it is no object, or of a newer format.
    """
    data = read_json(folder / CONFIG)
    if not isinstance(data, dict):
        raise ModelError(f"{folder / CONFIG} holds no object: is it from a model?")
    version = data.get("format_version")
    if isinstance(version, int) and version < 1:
        raise ModelError(f"{folder / CONFIG} has format_version {version}, expected 1 to {FORMAT_VERSION}")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelError(
            f"{folder / CONFIG} has format_version {version}, this lowtide reads up to {FORMAT_VERSION}: "
            "upgrade with pip install --upgrade lowtide"
        )
    return data


def load_model(folder: Path) -> StoredModel:
    """Read a model folder; the softmax stays on disk.

    Raises:
        MissingPathError: if a file is missing.
        ModelError: if one is damaged, of a newer format, or does not fit the others.
        ConfigError: if ``config.json`` has an unknown key.
    """
    data = read_config(folder)
    config = from_json(ModelConfig, data, where=str(folder / CONFIG))
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    symbols = config.bilm.symbols
    if symbols is not None and symbols.num_symbols != len(vocabulary):
        raise ModelError(
            f"{folder / VOCABULARY} has {len(vocabulary)} types, config.json says {symbols.num_symbols} "
            "symbols: are they from the same model?"
        )
    with torch.device("meta"), _Uninitialised():
        bilm = BiLM(config.bilm)
    load_tensors(folder / MODEL, bilm)
    bilm.eval()
    return StoredModel(folder, config, vocabulary, bilm)


def load_softmax(model: StoredModel) -> Softmax:
    """Read the output layer of a model.

    Raises:
        MissingPathError: if the folder has none.
        ModelError: if it does not fit the vocabulary.
    """
    with torch.device("meta"), _Uninitialised():
        softmax = Softmax(len(model.vocabulary), model.config.bilm.lstm.state_width)
    load_tensors(model.folder / SOFTMAX, softmax)
    softmax.eval()
    return softmax


class _Uninitialised(TorchFunctionMode):
    """What is to be loaded is not drawn before: on the meta device PyTorch would load its compiler for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, whole.

    Args:
        path: the file.
        tensors: by name.
        metadata: texts for the head of the file.

    Raises:
        WriteError: if the file cannot be written.
    """
    with written_whole(path) as beside:
        beside.touch()
        mode = beside.stat().st_mode  # what the user's other files have; safetensors lets nobody else read
        try:
            laid_out = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            save_file(laid_out, beside, metadata=metadata)
        except SafetensorError as error:
            raise WriteError(f"cannot write {path}: {error}") from None
        beside.chmod(mode)


def load_tensors(path: Path, module: nn.Module) -> None:
    """Fill a module from a safetensors file; names and shapes must be exactly those expected.

    Raises:
        MissingPathError: if the file is not there.
        ModelError: if it is damaged, or holds other tensors, or of another dtype.
    """
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise MissingPathError(f"{path} is not there: the model folder is incomplete") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read ({error}): is it damaged, or only half copied?") from None
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ModelError(
                f"{path}: {name} is {_shape(found.get(name))}, config.json and vocabulary.txt say "
                f"{_shape(expected.get(name))}: are they from the same model?"
            )
        if tensors[name].dtype != torch.float32:
            found_dtype = str(tensors[name].dtype).removeprefix("torch.")
            raise ModelError(f"{path}: {name} is {found_dtype}, expected float32: was it written by something else?")
    # copies, for where a matrix begins in memory decides how its products are rounded, and in the file
    # it begins anywhere: so a loaded model gives the very numbers of the one that was saved
    module.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "not there" if shape is None else " x ".join(map(str, shape)) or "a single number"
