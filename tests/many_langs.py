"""Tiny folders of ELMoForManyLangs with random weights, whole or damaged."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.many_langs_reference import Array, Model

WORD_MARKS, CHAR_MARKS = ("<oov>", "<bos>", "<eos>", "<pad>"), ("<bos>", "<eos>", "<oov>", "<pad>", "<bow>", "<eow>")
LONG = "antidisestablishmentarianismistsandtheirneighbours"
"""50 letters: two more than are read, and what is read is in the dictionary."""
WORDS = ("the", "tide", ".", "goes", "潮水", "退了", "👍🏽", "a", "é", LONG[:48], "Ab\u00a0c", "<", "b")
CHARS = tuple("abdegiost.A潮水退了é👍\u3000\u00a0<>")
ARCHITECTURE = "cnn_tiny.json"
FILES = ("config.json", ARCHITECTURE, "char.dic", "word.dic", "token_embedder.pkl", "encoder.pkl")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a tiny model is made of; the names are those of the architecture file."""

    word_dim: int = 3
    char_dim: int = 4
    filters: tuple[tuple[int, int], ...] = ((1, 3), (2, 4), (3, 2))
    n_highway: int = 1
    activation: str = "relu"
    max_characters_per_token: int = 50
    name: str = "elmo"
    dim: int = 7
    projection_dim: int = 5
    n_layers: int = 2
    cell_clip: float | None = 0.5
    proj_clip: float | None = 0.25
    words: tuple[str, ...] = (*WORD_MARKS, *WORDS)
    chars: tuple[str, ...] = (*CHARS, *CHAR_MARKS)
    seed: int = 0

    @property
    def architecture(self) -> dict[str, Any]:
        """The architecture file, with what else stands in the published ones."""
        encoder = ("name", "projection_dim", "cell_clip", "proj_clip", "dim", "n_layers")
        embedder = ("activation", "n_highway", "word_dim", "char_dim", "max_characters_per_token")
        filters = [list(pair) for pair in self.filters]
        return {
            "encoder": {key: getattr(self, key) for key in encoder},
            "token_embedder": {"name": "cnn", "filters": filters} | {key: getattr(self, key) for key in embedder},
            "classifier": {"name": "sampled_softmax", "n_samples": 8192},
            "dropout": 0.1,
        }

    @property
    def shapes(self) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
        """Of all tensors, by name: those of the token embedder, those of the encoder."""
        width = sum(count for _, count in self.filters)
        embedder: dict[str, tuple[int, ...]] = {}
        if self.word_dim:
            embedder["word_emb_layer.embedding.weight"] = (len(self.words), self.word_dim)
        if self.char_dim:
            embedder["char_emb_layer.embedding.weight"] = (len(self.chars), self.char_dim)
            for number, (chars, count) in enumerate(self.filters):
                embedder[f"convolutions.{number}.weight"] = (count, self.char_dim, chars)
                embedder[f"convolutions.{number}.bias"] = (count,)
            for number in range(self.n_highway):
                embedder[f"highways._layers.{number}.weight"] = (2 * width, width)
                embedder[f"highways._layers.{number}.bias"] = (2 * width,)
        inputs = self.word_dim + (width if self.char_dim else 0)
        embedder |= {"projection.weight": (self.projection_dim, inputs), "projection.bias": (self.projection_dim,)}
        return embedder, self._plain_shapes() if self.name == "lstm" else self._clipped_shapes()

    def _clipped_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.n_layers):
            for direction in ("forward", "backward"):
                name = f"{direction}_layer_{layer}"
                shapes[f"{name}.input_linearity.weight"] = (4 * self.dim, self.projection_dim)
                shapes[f"{name}.state_linearity.weight"] = (4 * self.dim, self.projection_dim)
                shapes[f"{name}.state_linearity.bias"] = (4 * self.dim,)
                shapes[f"{name}.state_projection.weight"] = (self.projection_dim, self.dim)
        return shapes

    def _plain_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.n_layers):
            for suffix in (f"_l{layer}", f"_l{layer}_reverse"):
                shapes[f"encoder.weight_ih{suffix}"] = (4 * self.dim, 2 * self.dim if layer else self.projection_dim)
                shapes[f"encoder.weight_hh{suffix}"] = (4 * self.dim, self.dim)
                shapes[f"encoder.bias_ih{suffix}"] = shapes[f"encoder.bias_hh{suffix}"] = (4 * self.dim,)
        return shapes | {
            "projection.weight": (self.projection_dim, self.dim),
            "projection.bias": (self.projection_dim,),
        }


RECIPES = {
    "words and characters": Recipe(),
    "words": Recipe(char_dim=0),
    "characters": Recipe(word_dim=0),
    "no highway": Recipe(n_highway=0),
    "two highways, tanh": Recipe(n_highway=2, activation="tanh"),
    "characters, two highways": Recipe(word_dim=0, n_highway=2),
    "one layer": Recipe(n_layers=1),
    "three layers": Recipe(n_layers=3),
    "words, three layers": Recipe(char_dim=0, n_layers=3),
    "no clips": Recipe(cell_clip=0, proj_clip=None),
    "clips that are whole numbers": Recipe(cell_clip=1, proj_clip=1),
    "one filter, short rows": Recipe(filters=((4, 6),), max_characters_per_token=7),
    "words, cut to three letters": Recipe(char_dim=0, max_characters_per_token=5),
    "a projection as wide as its cells": Recipe(dim=5),
    "a projection wider than its cells": Recipe(dim=4),
    "plain": Recipe(name="lstm"),
    "plain, one layer": Recipe(name="lstm", n_layers=1),
    "plain, words, tanh": Recipe(name="lstm", char_dim=0, activation="tanh"),
    "plain, characters": Recipe(name="lstm", word_dim=0, n_highway=2),
    "plain, as wide as its cells": Recipe(name="lstm", projection_dim=7),
    "plain, wider than its cells": Recipe(name="lstm", dim=4),
    "marks in odd places": Recipe(
        words=("a", "<pad>", *WORDS[:5], "<eos>", "<oov>", *WORDS[5:7], "<bos>"),
        chars=("<eow>", *CHARS[:3], "<oov>", "<bos>", "<pad>", *CHARS[3:], "<eos>", "<bow>"),
    ),
}
"""Every kind of model that its tools can train, with clips so low that random weights meet them."""

SENTENCES: tuple[list[str], ...] = (
    ["the", "tide", "goes", "."],
    ["潮水", "退了", "就", "知道", "誰", "👍🏽", "👍", "🌊"],
    [],
    [""],
    ["a", "", "b"],
    [LONG, LONG[:48], LONG + LONG, "z" * 49],
    ["\u3000", "a\u3000", "\u00a0", "Ab\u00a0c", "Ab c", "\t", "\n"],
    ["Thé", "tide-less", "e\u0301", "The", "ab", "unseen"],
    ["<oov>", "<pad>", "<bow>", "<eow>", "<", "<a>", "the\0"],
)
"""What may go wrong in a sentence."""


def write(
    folder: Path,
    recipe: Recipe = Recipe(),
    *,
    config_path: Any = f"/users/somebody/configs/{ARCHITECTURE}",
    is_new: bool = False,
    stripped: Sequence[str] = (),
) -> Model:
    """Write a model folder.

    Args:
        folder: made, if it is not there.
        recipe: of the model.
        config_path: what ``config.json`` says of where the architecture is; in the folder it is ``cnn_tiny.json``.
        is_new: whether the pickles are PyTorch's format since 2020, and not that of all published models.
        stripped: symbols that an editor took for blanks: their lines hold a number alone.

    Returns:
        What was written, for the reference.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, config_path)
    (folder / ARCHITECTURE).write_text(json.dumps(recipe.architecture, indent="\t"), encoding="utf-8")
    if recipe.char_dim:
        write_dic(folder / "char.dic", recipe.chars, stripped)
    if recipe.word_dim:
        write_dic(folder / "word.dic", recipe.words, stripped)
    embedder, encoder = random_tensors(recipe)
    save(folder / "token_embedder.pkl", embedder, is_new=is_new)
    save(folder / "encoder.pkl", encoder, is_new=is_new)
    return Model(
        recipe.architecture,
        {symbol: number for number, symbol in enumerate(recipe.chars)},  # of a symbol that stands twice, the last place
        {symbol: number for number, symbol in enumerate(recipe.words)},
        _arrays(embedder),
        _arrays(encoder),
    )


def write_config(folder: Path, config_path: Any) -> None:
    """The arguments of a training, as it left them."""
    arguments = {"gpu": 0, "model": "ch.model", "lr": 0.001, "word_path": None, "config_path": config_path}
    (folder / "config.json").write_text(json.dumps(arguments), encoding="utf-8")


def write_dic(path: Path, symbols: Sequence[str], stripped: Sequence[str] = ()) -> None:
    """A dictionary: ``symbol TAB id``; the last come first, for the order of lines means nothing."""
    lines = [f"{number}" if symbol in stripped else f"{symbol}\t{number}" for number, symbol in enumerate(symbols)]
    path.write_text("".join(f"{line}\n" for line in reversed(lines)), encoding="utf-8", newline="\n")


def random_tensors(recipe: Recipe) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Those of the token embedder and those of the encoder: no two are alike, and no row is zero."""
    generator = np.random.default_rng(recipe.seed)
    embedder, encoder = (
        {name: torch.from_numpy(_random(generator, shape)) for name, shape in shapes.items()}
        for shapes in recipe.shapes
    )
    return embedder, encoder


def _random(generator: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return (generator.standard_normal(shape) * 0.45).astype(np.float32)


def save(path: Path, tensors: Mapping[str, Any], *, is_new: bool = False) -> None:
    """Pickle a dictionary as PyTorch does that of a module, which has its version beside it."""
    dictionary = collections.OrderedDict(tensors)
    dictionary._metadata = collections.OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]  # as there
    torch.save(dictionary, path, _use_new_zipfile_serialization=is_new)


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote."""
    return dict(torch.load(path, weights_only=True))


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    return {name: tensor.double().numpy() for name, tensor in tensors.items()}
