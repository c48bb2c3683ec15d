"""Our own model folder.

===========================  =====================================================================
``config.json``              `ModelConfig`
``model.safetensors``        the biLM, parameter names as in `lowtide.model`, float32; or float16, widened when read;
                             vectors that are looked up may be int8, times one number a row: ``NAME.scale``
``vocabulary.txt``           what the softmax can predict, and the symbols of a small alphabet
``words.txt``                words that have a vector beyond those, one a line, if there are any
``letters.txt``              one a line, for models that read the letters of a dictionary and not bytes
``softmax.safetensors``      ``weight`` and ``bias``; wanted for guesses and perplexity only. Without ``weight``, it
                             predicts with the vectors that are looked up. With cutoffs in ``config.json``, also
                             ``cluster_weight`` and ``cluster_bias``: `lowtide.model.adaptive_softmax`
``calibration.safetensors``  what its vectors are like over a text: `lowtide.embeddings.calibration`
``README.md``                the card
``training.jsonl``           the log
===========================  =====================================================================
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lowtide.config import from_json, to_json
from lowtide.errors import MissingPathError, ModelError, WriteError
from lowtide.files import read_json, write_json, write_text, written_whole
from lowtide.model import Softmax, Trunk
from lowtide.text.tokenize import TokenizerConfig
from lowtide.text.vocabulary import Vocabulary, escape, unescape
from lowtide.weights.arrays import check_finite
from lowtide.weights.hdf5 import shape_text
from lowtide.weights.sources import Files, Source, read_text
from lowtide.weights.stored import FORMAT_VERSION, ModelConfig, StoredModel, blank_network, blank_softmax

Store = Literal["float32", "float16", "int8"]
"""``int8``: vectors that are looked up in 8 bits, all else in float16."""
TABLE = "token_network.embedding.weight"
"""Of the biLM: a row for every type, where types are looked up."""
_SCALE = ".scale"
NAME = "lowtide"
CONFIG = "config.json"
MODEL = "model.safetensors"
VOCABULARY = "vocabulary.txt"
MORE_WORDS = "words.txt"
LETTERS = "letters.txt"
SOFTMAX = "softmax.safetensors"
CALIBRATION = "calibration.safetensors"
CARD = "README.md"


def found_in(source: Source) -> list[str]:
    """The files that make a source one of this format."""
    is_foreign = any(name.endswith(".pkl") for name in source.names)  # ELMoForManyLangs has a config.json, too
    return [name for name in source.names if name == MODEL or (name == CONFIG and not is_foreign)]


def read(source: Source, tokenizer: TokenizerConfig) -> StoredModel:
    """Read a model folder; the tokenizer is its own.

    Raises:
        ModelError: if it is packed, or as `load_model` does.
    """
    if not source.path.is_dir():
        raise ModelError(f"{source.path} is a packed model folder: unpack it")
    return load_model(source.path)


def save_model(
    folder: Path,
    config: ModelConfig,
    vocabulary: Vocabulary | None,
    bilm: Trunk,
    softmax: Softmax | None,
    letters: Sequence[str] | None = None,
    *,
    more_words: Sequence[str] = (),
    store: Store = "float32",
) -> None:
    """Write a model folder; every file appears whole, the weights last: with them it is a model.

    Args:
        folder: that is there.
        config: of the model.
        vocabulary: if it has one.
        bilm: the network.
        softmax: if it has one.
        letters: that its character network reads, if these are not bytes.
        more_words: that have a vector behind those of the vocabulary.
        store: the type of the numbers in the files; all but float32 round them.

    Raises:
        ModelError: if a number is too large for float16.
        WriteError: if the folder cannot be written.
    """
    if vocabulary is not None:
        vocabulary.save(folder / VOCABULARY)
    for name, listed in ((LETTERS, letters), (MORE_WORDS, more_words)):
        if listed:
            write_list(folder / name, listed)
    write_json(folder / CONFIG, to_json(config))
    if softmax is not None:
        tensors = softmax.state_dict()
        if is_tied(softmax, bilm):
            del tensors["weight"]
        save_tensors(folder / SOFTMAX, _as_stored(tensors, store))
    save_tensors(folder / MODEL, _as_stored(bilm.state_dict(), store))


def write_list(path: Path, listed: Sequence[str]) -> None:
    """Write types or letters, one a line, whole."""
    write_text(path, "".join(f"{escape(item)}\n" for item in listed))


def read_more_words(folder: Path) -> list[str]:
    """The words that have a vector behind those of the vocabulary; mostly none."""
    return _lines_of(folder, MORE_WORDS) if (folder / MORE_WORDS).is_file() else []


def is_tied(softmax: Softmax, bilm: Trunk) -> bool:
    """Whether the softmax predicts with the vectors that are looked up, or the first of them."""
    table = bilm.type_vectors
    return table is not None and softmax.weight.data_ptr() == table.data_ptr()


def _as_stored(tensors: dict[str, Tensor], store: Store) -> dict[str, Tensor]:
    if store == "float32":
        return tensors
    tables = [TABLE] if store == "int8" and TABLE in tensors else []
    rounded = {name: tensor for table in tables for name, tensor in _in_eight_bits(table, tensors[table]).items()}
    halves = {name: tensor.half() for name, tensor in tensors.items() if name not in tables}
    for name, half in halves.items():
        if not half.isfinite().all():
            largest = tensors[name].abs().max().item()
            raise ModelError(f"{name} has numbers up to {largest:g}, float16 ends at 65504: store it in float32")
    return {**halves, **rounded}


def _in_eight_bits(name: str, table: Tensor) -> dict[str, Tensor]:
    """Every row as whole numbers from -127 to 127, times one number."""
    scale = table.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return {name: (table / scale).round().to(torch.int8), f"{name}{_SCALE}": scale}


def _widened(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rows in 8 bits times their numbers, in float32; all else as it is."""
    wide = {name: tensor for name, tensor in tensors.items() if not name.endswith(_SCALE)}
    for name, tensor in wide.items():
        if tensor.dtype == torch.int8 and f"{name}{_SCALE}" in tensors:
            wide[name] = tensor * tensors[f"{name}{_SCALE}"]
    return wide


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
    has_softmax, symbols = (folder / SOFTMAX).is_file(), config.bilm.symbols
    is_wanted = has_softmax or symbols is not None
    vocabulary = Vocabulary.load(folder / VOCABULARY) if is_wanted or (folder / VOCABULARY).is_file() else None
    more_words = read_more_words(folder)
    if symbols is not None and vocabulary is not None and symbols.num_symbols != len(vocabulary) + len(more_words):
        beside = f" and {MORE_WORDS} {len(more_words)}" if more_words else ""
        raise ModelError(
            f"{folder / VOCABULARY} has {len(vocabulary)} types{beside}, config.json says {symbols.num_symbols} "
            "symbols: are they from the same model?"
        )
    letters = _load_letters(folder, config)
    bilm = blank_network(config.bilm, config.trunk)
    load_tensors(folder / MODEL, bilm)
    card, calibration = folder / CARD, folder / CALIBRATION
    return StoredModel(
        folder,
        NAME,
        config,
        bilm,
        vocabulary,
        letters,
        functools.partial(_load_softmax, folder, len(vocabulary), config, bilm) if has_softmax and vocabulary else None,
        card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
        calibration if calibration.is_file() else None,
        more_words,
    )


def _load_letters(folder: Path, config: ModelConfig) -> list[str] | None:
    char_cnn = config.bilm.char_cnn
    if not (folder / LETTERS).is_file() or char_cnn is None:
        return None
    letters = _lines_of(folder, LETTERS)
    if len(letters) != char_cnn.num_characters:
        raise ModelError(
            f"{folder / LETTERS} has {len(letters)} letters, config.json says {char_cnn.num_characters}: "
            "are they from the same model?"
        )
    return letters


def _lines_of(folder: Path, name: str) -> list[str]:
    text = read_text(Files.in_folder(folder), name)
    return [unescape(line) for line in text.removesuffix("\n").split("\n")]


def _load_softmax(folder: Path, num_types: int, config: ModelConfig, bilm: Trunk) -> Softmax:
    path, table, cutoffs = folder / SOFTMAX, bilm.type_vectors, config.cutoffs
    edges = [0, *cutoffs, num_types]
    if not all(first < behind for first, behind in itertools.pairwise(edges)):
        raise ModelError(
            f"{folder / CONFIG} has cutoffs {list(cutoffs)}, expected them to rise between 0 and the {num_types} types "
            f"of {VOCABULARY}: are they from the same model?"
        )
    softmax = blank_softmax(num_types, config.bilm.lstm.state_width, cutoffs)
    if table is None or "weight" in _names_in(path):
        load_tensors(path, softmax)
        return softmax
    load_tensors(path, softmax, without=("weight",))
    softmax.tie(table)
    return softmax


def _names_in(path: Path) -> list[str]:
    with contextlib.suppress(SafetensorError, OSError), safe_open(path, framework="pt") as file:
        return list(file.keys())
    return ["weight"]  # whoever reads it says what is wrong


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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, by name.

    Raises:
        MissingPathError: if the file is not there.
        ModelError: if it is damaged.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise MissingPathError(f"{path} is not there: the model folder is incomplete") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read ({error}): is it damaged, or only half copied?") from None


def load_tensors(path: Path, module: nn.Module, *, without: Sequence[str] = ()) -> None:
    """Fill a module from a safetensors file; names and shapes must be exactly those expected.

    Args:
        path: the file; numbers in float16 and int8 are widened.
        module: in float32.
        without: tensors of the module that the file does not hold.

    Raises:
        MissingPathError: if the file is not there.
        ModelError: if it is damaged, or holds other tensors, or of another dtype.
    """
    tensors = _widened(read_tensors(path))
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items() if name not in without}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ModelError(
                f"{path}: {name} is {shape_text(found.get(name))}, config.json and vocabulary.txt say "
                f"{shape_text(expected.get(name))}: are they from the same model?"
            )
        if tensors[name].dtype not in (torch.float32, torch.float16):
            found_dtype = str(tensors[name].dtype).removeprefix("torch.")
            raise ModelError(
                f"{path}: {name} is {found_dtype}, expected float32 or float16: was it written by something else?"
            )
        check_finite(str(path), name, tensors[name].numpy())
    # copies, for where a matrix begins in memory decides how its products are rounded, and in the file
    # it begins anywhere: so a loaded model gives the very numbers of the one that was saved
    copies = {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}
    module.load_state_dict(copies, assign=True, strict=not without)
