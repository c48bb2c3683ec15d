"""A model as it is read, whatever the format: config, vocabulary, network."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch.overrides import TorchFunctionMode

from lowtide.config import to_json
from lowtide.errors import ModelError
from lowtide.model import AdaptiveSoftmax, BiLM, BiLMConfig, CharCNNConfig, JointLSTM, Softmax, Trunk
from lowtide.text.characters import ByteSpelling, LetterSpelling, Spelling, SymbolSpelling
from lowtide.text.tokenize import TokenizerConfig
from lowtide.text.vocabulary import Vocabulary

log = logging.getLogger("lowtide")

FORMAT_VERSION = 1
TrunkName = Literal["elmo", "lstm", "joint_lstm"]
"""``elmo`` and ``lstm`` are one network in two making: with a clipped projection, as published, or plain and narrower.
"""


@dataclass(frozen=True)
class ModelConfig:
    """What our own ``config.json`` holds, and what every other format is turned into."""

    format_version: int
    kind: Literal["elmo"]
    tokenizer: TokenizerConfig
    trunk: TrunkName
    bilm: BiLMConfig
    documents: bool = False
    """Whether the state passes from sentence to sentence within a document."""
    folds_case: bool = False
    """Whether a word that has no vector takes that of another writing of it: ``LONDON`` that of ``London``."""
    cutoffs: tuple[int, ...] = ()
    """Of an adaptive softmax: the first type of every cluster; none: it is not adaptive."""
    preset: str | None = None
    training: Any = None
    """A record of how the model was trained: budget, seed, versions. Nothing depends on it."""


@dataclass(frozen=True)
class StoredModel:
    """A model that was read."""

    path: Path
    """The folder, the zip or the file it was read from."""
    format: str
    """Its name, for people."""
    config: ModelConfig
    bilm: Trunk
    words: Vocabulary | None = None
    """The vocabulary; None where the files have none: published hdf5 files mostly."""
    letters: Sequence[str] | None = None
    """What the characters of the character network are; None: UTF-8 bytes."""
    read_softmax: Callable[[], Softmax] | None = None
    """Reads the output layer, the largest matrix, which only guesses and perplexity want; None if there is none."""
    card: str = ""
    """What its makers say of it."""
    calibration: Path | None = None
    """The file of its calibration, if it has one."""
    more_words: Sequence[str] = ()
    """Words that have a vector behind those of the vocabulary, and that the softmax does not predict."""

    @cached_property
    def spelling(self) -> Spelling:
        """How types are written for this model's token network."""
        char_cnn, symbols = self.config.bilm.char_cnn, self.config.bilm.symbols
        if char_cnn is None:
            return SymbolSpelling(
                self.vocabulary,
                None if symbols is None else symbols.max_letters,
                more=self.more_words,
                folds_case=self.config.folds_case,
            )
        if self.letters is None:
            return ByteSpelling(char_cnn.max_characters)
        words = None if symbols is None else self.vocabulary
        return LetterSpelling(self.letters, char_cnn.max_characters, words)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of all that decides a layer: the weights, the sizes, the tokenizer, the symbols.

        It is that of the numbers, not of the files: a model has the same one in every format. The counts of the
        vocabulary, which decide ``surroundings``, are not in it.
        """
        config = self.config
        decides: dict[str, Any] = {
            "trunk": config.trunk,
            "bilm": to_json(dataclasses.replace(config.bilm, dropout=0.0)),  # which is none but in training
            "tokenizer": to_json(config.tokenizer),
            "symbols": list(self.spelling.symbols),
        }
        if config.folds_case:
            decides["folds_case"] = True
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
        for name, tensor in sorted(self.bilm.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            if name.endswith("char_embedding.weight") and not self.letters:
                tensor = tensor[1:]  # "no token here" is asked for by no spelling
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def knows(self, type_: str) -> bool:
        """Whether the type is in the vocabulary, or has a vector otherwise; True where there is no vocabulary."""
        if isinstance(self.spelling, SymbolSpelling):
            return self.spelling.knows(type_)
        return self.words is None or type_ in self.words

    @property
    def vocabulary(self) -> Vocabulary:
        """The types that the model can predict, or has a vector for.

        Raises:
            ModelError: if its files have none.
        """
        if self.words is None:
            raise ModelError(f"{self.path} ({self.format}) has no vocabulary: it has no list of the words it has seen")
        return self.words

    @property
    def num_words(self) -> int:
        """Words that have a vector, or that the softmax predicts; the marks are among them."""
        return len(self.vocabulary) + len(self.more_words)

    def load_softmax(self) -> Softmax:
        """Read the output layer.

        Raises:
            ModelError: if the model has none, or none that fits.
        """
        if self.read_softmax is None:
            raise ModelError(
                f"{self.path} ({self.format}) has no softmax, which guesses and perplexity need: a folder of ours "
                "holds it as softmax.safetensors, a published hdf5 file never does, the training checkpoint does"
            )
        return self.read_softmax().eval()


def spelling_for(
    vocabulary: Vocabulary, characters: CharCNNConfig | None, *, more: Sequence[str] = (), folds_case: bool = False
) -> Spelling:
    """How types are written for a token network: byte by byte, or without a character network as symbols."""
    if characters is not None:
        return ByteSpelling(characters.max_characters)
    return SymbolSpelling(vocabulary, more=more, folds_case=folds_case)


_TRUNKS: dict[str, type[Trunk]] = {"elmo": BiLM, "lstm": BiLM, "joint_lstm": JointLSTM}


def blank_network(config: BiLMConfig, trunk: str = "elmo") -> Trunk:
    """A network that has shapes and no numbers yet: to be filled from a file."""
    with torch.device("meta"), _Uninitialised():
        return _TRUNKS[trunk](config).eval()


def make_softmax(num_types: int, width: int, cutoffs: Sequence[int] = (), *, sparse: bool = False) -> Softmax:
    """An output layer: with cutoffs an adaptive one, which is never sparse."""
    return AdaptiveSoftmax(num_types, width, cutoffs) if cutoffs else Softmax(num_types, width, sparse=sparse)


def blank_softmax(num_types: int, width: int, cutoffs: Sequence[int] = ()) -> Softmax:
    """An output layer that has shapes and no numbers yet."""
    with torch.device("meta"), _Uninitialised():
        return make_softmax(num_types, width, cutoffs).eval()


class _Uninitialised(TorchFunctionMode):
    """What is to be loaded is not drawn before: on the meta device PyTorch would load its compiler for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))
