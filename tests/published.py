"""Tiny models in the published formats, as their tools left them: made of the arrays that `tiny.published` gives.

Written from the facts of the formats: nothing here comes from the code that reads them.
"""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

import tiny
from lowtide.embeddings import Elmo, load
from lowtide.embeddings.base import Vectors
from lowtide.model import BiLM, BiLMConfig, SymbolConfig
from model import reference
from weights import tensor_bundle_writer

WORDS = ("</S>", "<S>", "the", "tide", "退了", "<UNK>", "goes", "🌊", "a")
"""The lines of a vocabulary file, the marks in any order."""
WORD_CONFIG = BiLMConfig(tiny.LSTM, symbols=SymbolConfig(num_symbols=len(WORDS)))
LONG = dataclasses.replace(tiny.BYTES, char_cnn=dataclasses.replace(tiny.CHAR_CNN, max_characters=50))
"""As long a token as in all published models: 48 bytes."""
VARIANTS = {**tiny.VARIANTS, "50 characters": LONG}
SENTENCES = [
    ["The", "tide", "goes", "out", "."],
    ["潮水", "退了", "就", "知道", "谁", "在", "裸泳"],
    ["🌊", "👍🏽", "e\u0301", "naïve"],
    ["x" * 60, "潮" * 17, "b" * 48, "a" * 47 + "é", "a" * 7 + "é", "aaaaaaaa"],
    ["<S>", "</S>", "<UNK>", "<s>"],
    ["", "the", ""],
    ["\ud800", "a\udfffb", "退了"],
    [],
]

Change = Callable[[dict[str, Any]], Any]


def nothing(_: dict[str, Any]) -> None:
    """Leave it as it is."""


def published(config: BiLMConfig = tiny.BYTES, *, seed: int = 0) -> reference.Model:
    """A random model; no published file says anything of a forget bias, which is always added."""
    return published_of(tiny.bilm(config, seed=seed))


def published_of(network: BiLM) -> reference.Model:
    """The same of a network that is there."""
    return dataclasses.replace(tiny.published(network), forget_bias=1.0)


def with_old_names(model: reference.Model) -> reference.Model:
    """The names that a training with one layer left."""
    renamed = {name.replace("/MultiRNNCell/Cell0/", "/"): array for name, array in model.arrays.items()}
    return dataclasses.replace(model, arrays=renamed)


def options_of(model: reference.Model, change: Change = nothing) -> dict[str, Any]:
    """What ``options.json`` holds; ``change`` alters it in place."""
    options: dict[str, Any] = json.loads(json.dumps(model.options))
    if "char_cnn" in options:
        options["char_cnn"]["n_characters"] = 262
    change(options)
    return options


def setting(path: str, value: Any) -> Change:
    """A change of one value of the options."""
    *groups, last = path.split(".")

    def change(options: dict[str, Any]) -> None:
        for group in groups:
            options = options[group]
        options[last] = value

    return change


def lacking(path: str) -> Change:
    """A change that takes a value out of the options."""
    *groups, last = path.split(".")

    def change(options: dict[str, Any]) -> None:
        for group in groups:
            options = options[group]
        del options[last]

    return change


# -- the hdf5 pair -------------------------------------------------------------------------------


def write_pair(
    folder: Path,
    model: reference.Model | None = None,
    *,
    stem: str = "",
    options: Change = nothing,
    arrays: Change = nothing,
    words: Iterable[str] | None = None,
) -> Path:
    """Write ``options.json`` and ``weights.hdf5``.

    Args:
        folder: that they go into; it is made.
        model: what they hold.
        stem: in front of both names.
        options: changes the options.
        arrays: changes the arrays, all float32.
        words: the lines of ``vocab.txt``; None: no such file.

    Returns:
        The folder.
    """
    model = published() if model is None else model
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}options.json").write_text(json.dumps(options_of(model, options)), encoding="utf-8")
    numbers: dict[str, Any] = {name: array.astype(np.float32) for name, array in model.arrays.items()}
    arrays(numbers)
    with h5py.File(folder / f"{stem}weights.hdf5", "w") as file:
        for name, array in numbers.items():
            file.create_dataset(name, data=array)
    if words is not None:
        write_words(folder / "vocab.txt", words)
    return folder


def write_words(path: Path, words: Iterable[str]) -> Path:
    """Write a vocabulary file."""
    path.write_text("".join(f"{word}\n" for word in words), encoding="utf-8", newline="\n")
    return path


def write_cache(path: Path, vectors: NDArray[Any], name: str = "embedding") -> Path:
    """Write a token cache."""
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=vectors)
    return path


def cached_vectors(model: reference.Model, words: Sequence[str]) -> reference.Array:
    """What stands in the token cache of a model of characters: the vectors of these words, as float32 has them."""
    length = model.options["char_cnn"]["max_characters_per_token"]
    vectors = np.array([reference.token_vector(model, reference.spell(word, length)) for word in words])
    return vectors.astype(np.float32).astype(np.float64)


def datasets(path: Path) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Shape and bytes of all arrays of an HDF5 file."""
    found = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            assert item.dtype == np.float32
            found[name] = (item.shape, item[...].tobytes())

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


# -- the checkpoint ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A training checkpoint of bilm-tf, and all that was written into it."""

    folder: Path
    model: reference.Model
    words: Sequence[str]
    weight: reference.Array
    """(V, P), in the order of the lines."""
    bias: reference.Array


def write_checkpoint(
    folder: Path,
    model: reference.Model | None = None,
    *,
    words: Sequence[str] = WORDS,
    lines: Sequence[str] | None = None,
    name: str = "model.ckpt-935588",
    shares_softmax: bool = False,
    options: Change = nothing,
    tensors: Change = nothing,
) -> Checkpoint:
    """Write a checkpoint with its softmax and what only the training needs, ``options.json`` and a vocabulary.

    Args:
        folder: that they go into; it is made.
        model: what they hold.
        words: of the softmax.
        lines: of the vocabulary file, if they are not the words.
        name: of the checkpoint.
        shares_softmax: whether the vectors of words are the softmax too.
        options: changes the options.
        tensors: changes the tensors, by TensorFlow's names.
    """
    model = published() if model is None else model
    folder.mkdir(parents=True, exist_ok=True)
    layout, generator = model.options["lstm"], np.random.default_rng(7)
    width = min(layout["dim"], layout["projection_dim"])
    weight = generator.normal(size=(len(words), width)).astype(np.float32).astype(np.float64)
    bias = generator.normal(size=len(words)).astype(np.float32).astype(np.float64)
    numbers: dict[str, Any] = {_tensor_name(name, layout["n_layers"]): array for name, array in model.arrays.items()}
    numbers |= {"lm/softmax/b": bias} if shares_softmax else {"lm/softmax/W": weight, "lm/softmax/b": bias}
    numbers = {name: array.astype(np.float32) for name, array in numbers.items()}
    numbers |= {f"{name}/Adagrad": np.ones_like(array) for name, array in numbers.items()}
    numbers |= {"global_step": np.array(935588, np.int64), "train_perplexity": np.array(39.7, np.float32)}
    tensors(numbers)
    tensor_bundle_writer.write(folder / name, numbers)
    write_words(folder / "vocab-2016-09-10.txt", words if lines is None else lines)
    trained = options_of(model)
    if "char_cnn" in trained:
        trained["char_cnn"]["n_characters"] = 261
    trained |= {"bidirectional": True, "dropout": 0.1, "n_tokens_vocab": len(words), "unroll_steps": 20}
    trained |= {"share_embedding_softmax": True} if shares_softmax else {}
    options(trained)
    (folder / "options.json").write_text(json.dumps(trained), encoding="utf-8")
    return Checkpoint(folder, model, words, model.arrays["embedding"] if shares_softmax else weight, bias)


def _tensor_name(name: str, num_layers: int) -> str:
    cell = r"rnn/multi_rnn_cell/cell_\1/lstm_cell" if num_layers > 1 else "rnn/lstm_cell"
    name = re.sub(r"RNN/MultiRNNCell/Cell(\d+)/LSTMCell", cell, name)
    for theirs, ours in (("W_P_0", "projection/kernel"), ("W_0", "kernel"), ("B", "bias")):
        name = re.sub(f"lstm_cell/{theirs}$", f"lstm_cell/{ours}", name)
    return f"lm/{name}"


# -- zips ----------------------------------------------------------------------------------------


def write_zip(path: Path, files: Iterable[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a zip with these files, doubled names and all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore", UserWarning)  # of a doubled name
        for name, content in files:
            member = zipfile.ZipInfo()
            member.filename, member.compress_type = name, compression  # on Windows, ZipInfo would change the name
            archive.writestr(member, content)
    return path


META = {
    "algorithm": {"id": 9, "name": "Embeddings from Language Models (ELMo)", "tool": "bilm-tf", "version": "1"},
    "contents": [{"filename": "model.hdf5", "format": "hdf5"}],
    "corpus": [{"description": "Wikipedia dump of 2018", "language": "nno", "tokens": 123, "lemmatized": True}],
    "dimensions": 10,
    "handle": "http://vectors.nlpl.eu/repository/20/999.zip",
}


def nlpl_files(folder: Path, inside: str = "") -> list[tuple[str, bytes]]:
    """The files of a model in the NLPL repository, made of a pair and its vocabulary.

    Args:
        folder: where `write_pair` wrote.
        inside: in front of every name.
    """
    files: Mapping[str, bytes] = {
        "meta.json": json.dumps(META).encode(),
        "options.json": (folder / "options.json").read_bytes(),
        "model.hdf5": (folder / "weights.hdf5").read_bytes(),
    }
    if (folder / "vocab.txt").is_file():
        files = {**files, "vocab.txt": (folder / "vocab.txt").read_bytes()}
    return [(inside + name, content) for name, content in files.items()]


# -- what comes out ------------------------------------------------------------------------------


def opened(
    path: Path, *, weights: Path | None = None, vocabulary: Path | None = None, token_cache: Path | None = None
) -> Elmo:
    """What `lowtide.load` gives."""
    return load(path, weights=weights, vocabulary=vocabulary, token_cache=token_cache, device="cpu")


def expected_layers(
    model: reference.Model, sentences: Iterable[Sequence[str]], words: Sequence[str] | None = None
) -> list[reference.Array]:
    """Every layer of every sentence, boundaries removed."""
    return [reference.run_sentence(model, sentence, words)[:, 1:-1] for sentence in sentences]


def assert_agree(found: Sequence[Vectors], expected: Sequence[NDArray[Any]]) -> None:
    """Differences are of the size that float32 makes: 2e-6 where values are of order 1."""
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32 and one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6 * max(1.0, np.abs(other).max(initial=0.0)))
