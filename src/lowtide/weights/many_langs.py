"""Model folders of ELMoForManyLangs, also packed as they lie in the NLPL repository.

Che et al. (2018), https://arxiv.org/abs/1807.03121. Facts from https://github.com/HIT-SCIR/ELMoForManyLangs::

    config.json                        the arguments of the training; config_path names the next one
    cnn_50_100_512_4096_sample.json    the architecture
    char.dic, word.dic                 symbol TAB id
    token_embedder.pkl, encoder.pkl    dictionaries of tensors, pickled: read without running anything

How a token is spelled is told by `lowtide.text.characters.LetterSpelling`. The forget bias is in the stored bias.
"""

from __future__ import annotations

import logging
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter

from lowtide.errors import ConfigError, ModelError
from lowtide.model import BiLM, BiLMConfig, CharCNNConfig, JointLSTM, LSTMConfig, SymbolConfig, Trunk
from lowtide.text.characters import LETTER_MARKS
from lowtide.text.tokenize import TokenizerConfig
from lowtide.text.vocabulary import FOREIGN_SPECIALS, Vocabulary
from lowtide.weights.allennlp import card_of
from lowtide.weights.arrays import ForeignArray, fill, whole
from lowtide.weights.bilm_tf import Options
from lowtide.weights.hdf5 import Floats
from lowtide.weights.sources import Files, Source, is_file, read_object, read_text
from lowtide.weights.stored import FORMAT_VERSION, ModelConfig, StoredModel, blank_network
from lowtide.weights.torch_names import arrays_of_highway, arrays_of_recurrence, parameters_of

log = logging.getLogger("lowtide")

NAME = "ELMoForManyLangs"
ENCODER, TOKENS, CONFIG = "encoder.pkl", "token_embedder.pkl", "config.json"
CHARACTERS, WORDS = "char.dic", "word.dic"

_ARCHITECTURE: dict[str, Any] = {
    "encoder": {"name": "elmo", "projection_dim": 512, "cell_clip": 3, "proj_clip": 3, "dim": 4096, "n_layers": 2},
    "token_embedder": {
        "name": "cnn",
        "activation": "relu",
        "filters": [[1, 32], [2, 32], [3, 64], [4, 128], [5, 256], [6, 512], [7, 1024]],
        "n_highway": 2,
        "word_dim": 100,
        "char_dim": 50,
        "max_characters_per_token": 50,
    },
}
"""That of all published models, for folders that have lost their own."""


def found_in(source: Source) -> list[str]:
    """The files that make a source one of this format."""
    return [name for name in source.names if name in (ENCODER, TOKENS)]


def read(source: Source, tokenizer: TokenizerConfig) -> StoredModel:
    """Read a model folder, or a zip of one.

    Args:
        source: the files.
        tokenizer: what raw text is cut with: the files do not say.

    Raises:
        MissingPathError: if a file cannot be opened.
        ModelError: if one is missing, damaged, or does not fit the others.
    """
    for name in (ENCODER, TOKENS):
        if name not in source.names:
            raise ModelError(f"{source.path} has no {name}: is the {NAME} model whole?")
    shown, architecture = _architecture(source)
    options = Options(architecture, shown)
    options.value("token_embedder")
    letters = _read_letters(source) if options.whole("token_embedder.char_dim", 0, least=0) else None
    words, order = _read_words(source) if options.whole("token_embedder.word_dim", 0, least=0) else (None, None)
    config = _config(options, letters, words)
    trunk: Literal["elmo", "joint_lstm"] = "joint_lstm" if _is_plain(options) else "elmo"
    network = blank_network(config, trunk)
    _fill(network, source, order)
    model = ModelConfig(FORMAT_VERSION, "elmo", tokenizer, trunk, config)
    return StoredModel(source.path, NAME, model, network, words, letters, card=card_of(source))


# -- architecture --------------------------------------------------------------------------------


def _architecture(source: Source) -> tuple[str, dict[str, Any]]:
    """The architecture file, and what it holds: the one that was named in training, wherever it lies now."""
    named = str(read_object(source, CONFIG).get("config_path")) if CONFIG in source.names else ""
    path = PurePosixPath(named.replace("\\", "/"))
    below = source.path / path
    if not path.is_absolute() and ".." not in path.parts and source.path.is_dir() and is_file(below):
        source = Files(source.path, {str(path): below})
    known = [name for name in source.names if name != CONFIG]
    places = [name for name in (str(path), path.name) if name in known][:1]
    places = places or [name for name in known if PurePosixPath(name).name == path.name]
    if len(places) > 1:
        raise ModelError(f"{source.path} holds {', '.join(places)}: which of them is the architecture?")
    if places:
        return source.shown(places[0]), read_object(source, places[0])
    log.info("encoder     %s is not there: taken to be as in all published models", path.name or "its architecture")
    return f"{source.path} (the published architecture, as its own is not there)", _ARCHITECTURE


def _is_plain(options: Options) -> bool:
    """Whether the encoder is PyTorch's own LSTM."""
    name = _lower(options, "encoder.name", ...)
    if name not in ("elmo", "lstm"):
        raise ModelError(f"{options.shown}: encoder.name is {name!r}, expected elmo or lstm")
    return bool(name == "lstm")


def _lower(options: Options, path: str, default: Any) -> Any:
    value = options.value(path, default)
    return value.lower() if isinstance(value, str) else value


def _config(options: Options, letters: Sequence[str] | None, words: Vocabulary | None) -> BiLMConfig:
    network = _lower(options, "token_embedder.name", "cnn")
    if network != "cnn":
        raise ModelError(
            f"{options.shown}: token_embedder.name is {network!r}, expected cnn: "
            "a recurrence over characters never ran in the original"
        )
    if letters is None and words is None:
        raise ModelError(f"{options.shown}: word_dim and char_dim are 0, expected words, characters or both")
    is_plain = _is_plain(options)
    max_characters = options.whole("token_embedder.max_characters_per_token", 50)
    activation = options.value("token_embedder.activation", "relu")
    if letters is not None and activation not in ("relu", "tanh"):
        raise ModelError(f"{options.shown}: token_embedder.activation is {activation!r}, expected relu or tanh")
    try:
        return BiLMConfig(
            LSTMConfig(
                cell_width=options.whole("encoder.dim"),
                width=options.whole("encoder.projection_dim"),
                num_layers=options.whole("encoder.n_layers", 1),
                cell_clip=None if is_plain else options.clip("encoder.cell_clip"),
                projection_clip=None if is_plain else options.clip("encoder.proj_clip"),
                has_residual=not is_plain,
                forget_bias=0.0,
                has_projection=True,
            ),
            char_cnn=None
            if letters is None
            else CharCNNConfig(
                num_characters=len(letters),
                embedding_width=options.whole("token_embedder.char_dim"),
                filters=tuple(options.filters("token_embedder.filters")),
                num_highways=options.whole("token_embedder.n_highway", 0, least=0),
                activation=activation,
                max_characters=max_characters,
            ),
            symbols=None
            if words is None
            else SymbolConfig(len(words), options.whole("token_embedder.word_dim"), max_characters - 2),
        )
    except ConfigError as error:
        raise ModelError(f"{options.shown}: {error}") from None


# -- dictionaries --------------------------------------------------------------------------------


def _read_dictionary(source: Source, name: str) -> list[str]:
    """The symbols by their ids."""
    if name not in source.names:
        raise ModelError(f"{source.path} has no {name}, which its architecture asks for")
    symbols: dict[int, str] = {}
    for number, line in enumerate(read_text(source, name).rstrip("\r\n").split("\n"), start=1):
        symbol, _, digits = line.rstrip("\r").rpartition("\t")
        id_ = digits.strip(" ")
        if not re.fullmatch("[0-9]{1,9}", id_):
            raise ModelError(f"{source.shown(name)}:{number}: expected a symbol, a tab and a number")
        if int(id_) in symbols:
            raise ModelError(f"{source.shown(name)}:{number}: the number {id_} stands twice")
        symbols[int(id_)] = symbol or "\u3000"  # a wide space that somebody's editor has taken for a blank
    if sorted(symbols) != list(range(len(symbols))):
        raise ModelError(f"{source.shown(name)} has {len(symbols):,} symbols, expected numbers from 0 without a gap")
    return [symbols[id_] for id_ in range(len(symbols))]


def _read_words(source: Source) -> tuple[Vocabulary, NDArray[np.int64]]:
    words = _read_dictionary(source, WORDS)
    try:
        return Vocabulary.from_words(words, FOREIGN_SPECIALS)
    except ModelError as error:
        raise ModelError(f"{source.shown(WORDS)}: {error}") from None


def _read_letters(source: Source) -> list[str]:
    symbols = _read_dictionary(source, CHARACTERS)
    places = {symbol: place for place, symbol in enumerate(symbols)}
    missing = [mark for mark in LETTER_MARKS if mark not in places]
    if missing:
        raise ModelError(f"{source.shown(CHARACTERS)} has no {missing[0]}, expected {' '.join(LETTER_MARKS)} in it")
    # of a symbol that stands twice, the last place is the one that is found; no text has a lone surrogate
    return [symbol if places[symbol] == place else f"{symbol}\udc00{place}" for place, symbol in enumerate(symbols)]


# -- tensors -------------------------------------------------------------------------------------


def _arrays_of_tokens(network: Trunk) -> list[ForeignArray]:
    config, both = network.config, network.config.char_cnn is not None and network.config.symbols is not None
    arrays = []
    ours = parameters_of(network, "token_network.")
    if config.symbols is not None:
        arrays.append(whole("word_emb_layer.embedding.weight", ours["embedding.weight"]))
    if config.char_cnn is not None:
        inner = "characters." if both else ""
        arrays.append(whole("char_emb_layer.embedding.weight", ours[f"{inner}char_embedding.weight"]))
        for number in range(len(config.char_cnn.filters)):
            for key in ("weight", "bias"):
                name = f"convolutions.{number}.{key}"
                arrays.append(whole(name, ours[inner + name]))
        for number in range(config.char_cnn.num_highways):
            highway = parameters_of(network, f"token_network.{inner}highways.{number}.")
            arrays += arrays_of_highway(f"highways._layers.{number}", highway)
    return [*arrays, *(whole(f"projection.{key}", ours[f"projection.{key}"]) for key in ("weight", "bias"))]


def _arrays_of_clipped(network: Trunk) -> list[ForeignArray]:
    assert isinstance(network, BiLM)
    return arrays_of_recurrence(network)


def _arrays_of_plain(network: Trunk) -> list[ForeignArray]:
    assert isinstance(network, JointLSTM)
    recurrence = [whole(f"encoder.{name}", tensor) for name, tensor in parameters_of(network, "lstm.").items()]
    return [*recurrence, *(whole(f"projection.{k}", v) for k, v in parameters_of(network, "projection.").items())]


class _Pickles:
    """The tensors of both files, which have names in common."""

    def __init__(self, source: Source, rows: NDArray[np.int64] | None) -> None:
        self._source, self._rows = source, rows
        self._tensors = {(file, name): t for file in (TOKENS, ENCODER) for name, t in _tensors(source, file).items()}
        self.shapes = {f"{file}: {name}": tuple(tensor.shape) for (file, name), tensor in self._tensors.items()}

    def told(self, name: str) -> tuple[str, str]:
        """See `ForeignFile`."""
        file, _, theirs = name.partition(": ")
        return self._source.shown(file), theirs

    def check(self, name: str) -> None:
        """See `ForeignFile`."""
        file, _, theirs = name.partition(": ")
        tensor = self._tensors[file, theirs]
        is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_neg()
        if tensor.dtype != torch.float32 or not is_plain or not tensor.is_contiguous():
            kind = str(tensor.dtype).removeprefix("torch.")
            found = kind if kind != "float32" else "not laid out number by number"
            raise ModelError(
                f"{self._source.shown(file)}: {theirs} is {found}, expected float32, one number after the other"
            )

    def read(self, name: str) -> Floats:
        """See `ForeignFile`; it is asked for once."""
        file, _, theirs = name.partition(": ")
        numbers: Floats = self._tensors.pop((file, theirs)).numpy()
        return numbers

    def rows(self, name: str) -> NDArray[np.int64] | None:
        """See `ForeignFile`."""
        return self._rows if name.startswith(f"{TOKENS}: word_emb_layer.") else None


def _fill(network: Trunk, source: Source, rows: NDArray[np.int64] | None) -> None:
    arrays_of_encoder = _arrays_of_clipped if isinstance(network, BiLM) else _arrays_of_plain

    def table() -> list[ForeignArray]:
        return [
            ForeignArray(f"{file}: {array.name}", array.shape, array.places)
            for file, arrays in ((TOKENS, _arrays_of_tokens(network)), (ENCODER, arrays_of_encoder(network)))
            for array in arrays
        ]

    fill(network, table, _Pickles(source, rows), others=("",))


def _tensors(source: Source, name: str) -> Mapping[str, Tensor]:
    """A pickled dictionary of tensors; anything else in it is refused before it runs."""
    shown = source.shown(name)
    with source.open(name) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch thinks of the pickle, our errors say
        try:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                        raise ModelError(f"{shown} is compressed, which PyTorch never does: not read")
            file.seek(0)
            found = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            wanted = re.search(r"GLOBAL ([\w.]+\w)", str(error))
            if wanted is None:
                raise ModelError(f"{shown} is no pickle of tensors: is it damaged, or only half copied?") from None
            raise ModelError(
                f"{shown} asks for {wanted[1]}, which may run code: not read, expected tensors (or is it damaged?)"
            ) from None
        except ModelError:
            raise
        except Exception:  # a damaged pickle raises whatever its bytes happen to say
            raise ModelError(f"{shown} is no pickle of tensors: is it damaged, or only half copied?") from None
    if not isinstance(found, Mapping):
        raise ModelError(f"{shown} holds {type(found).__name__}, expected a dictionary of tensors")
    for key, tensor in found.items():
        if type(tensor) not in (Tensor, Parameter) or tensor.is_nested:
            raise ModelError(f"{shown}: {key} is a {type(tensor).__name__}, expected a plain tensor")
    return {str(key): Tensor.detach(tensor) for key, tensor in found.items()}
