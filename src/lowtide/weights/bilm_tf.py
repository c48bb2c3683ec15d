"""The published names: ``options.json`` and the arrays of bilm-tf, and where their numbers stand in our network.

Facts from bilm-tf (https://github.com/allenai/bilm-tf) and AllenNLP. TensorFlow multiplies x . W, PyTorch W . x, so
every matrix is turned; and the gates, input, candidate, forget and output there, are input, forget, candidate and
output here. One table serves both ways: `arrays_of` says of every array which views of our parameters hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lowtide.errors import ConfigError, ModelError, nearest
from lowtide.model import BiLM, BiLMConfig, CharCNN, CharCNNConfig, LSTMConfig, SymbolConfig, SymbolEmbedding
from lowtide.text.characters import NUM_BYTE_CHARACTERS
from lowtide.weights.arrays import ForeignArray, Place, whole

_GATES = (0, 2, 1, 3)
"""Where each of TensorFlow's four blocks of gates stands in ours."""


# -- options.json --------------------------------------------------------------------------------


def config_from_options(
    options: Mapping[str, Any], shown: str, *, num_words: int | None = None, has_projection: bool = True
) -> BiLMConfig:
    """What ``options.json`` says.

    Args:
        options: as read.
        shown: the file, for errors.
        num_words: rows of the word vectors that take the place of characters; None: characters.
        has_projection: whether the weights have one of the character network; where filters sum to the width of a
            token, they may have none.

    Raises:
        ModelError: if something is missing or out of range.
    """
    read = Options(options, shown)
    if options.get("bidirectional") is False:
        raise ModelError(f"{shown} says that the model reads in one direction only, expected both")
    lstm = LSTMConfig(
        cell_width=read.whole("lstm.dim"),
        width=read.whole("lstm.projection_dim"),
        num_layers=read.whole("lstm.n_layers", 1),
        cell_clip=read.clip("lstm.cell_clip"),
        projection_clip=read.clip("lstm.proj_clip"),
        has_residual=read.yes_or_no("lstm.use_skip_connections"),
    )
    dropout = read.value("dropout", 0.1)
    is_share = isinstance(dropout, (int, float)) and 0 <= dropout < 1
    try:
        return BiLMConfig(
            lstm,
            char_cnn=None if num_words is not None else _characters(read, has_projection),
            symbols=None if num_words is None else SymbolConfig(num_words),
            dropout=float(dropout) if is_share else 0.1,
        )
    except ConfigError as error:
        raise ModelError(f"{shown}: {error}") from None


def reads_characters(options: Mapping[str, Any]) -> bool:
    """Whether a model reads characters; if not, it has a vector for every word."""
    return "char_cnn" in options


def _characters(read: Options, has_projection: bool) -> CharCNNConfig:
    activation = read.value("char_cnn.activation")
    if activation not in ("relu", "tanh"):
        raise ModelError(f"{read.shown}: char_cnn.activation is {activation!r}, expected relu or tanh")
    num_characters = read.whole("char_cnn.n_characters", NUM_BYTE_CHARACTERS)
    if num_characters not in (NUM_BYTE_CHARACTERS - 1, NUM_BYTE_CHARACTERS):  # the first while it was trained
        raise ModelError(
            f"{read.shown}: char_cnn.n_characters is {num_characters}, expected {NUM_BYTE_CHARACTERS - 1} or "
            f"{NUM_BYTE_CHARACTERS}: 256 bytes and the published marks"
        )
    filters = tuple(read.filters("char_cnn.filters"))
    return CharCNNConfig(
        num_characters=NUM_BYTE_CHARACTERS,
        embedding_width=read.whole("char_cnn.embedding.dim"),
        filters=filters,
        num_highways=read.whole("char_cnn.n_highway", 0, least=0),
        activation=activation,
        max_characters=read.whole("char_cnn.max_characters_per_token", 50),
        has_projection=has_projection or sum(count for _, count in filters) != read.whole("lstm.projection_dim"),
    )


class Options:
    """Values by their path, checked."""

    def __init__(self, options: Mapping[str, Any], shown: str) -> None:
        self._options, self.shown = options, shown

    def value(self, path: str, default: Any = ...) -> Any:
        """A value; an error if it is not there and has no default."""
        found: Any = self._options
        for key in path.split("."):
            found = found.get(key, ...) if isinstance(found, Mapping) else ...
        found = default if found is None or found is ... else found
        if found is ...:
            group = self._options.get(path.split(".")[0])
            near = nearest(path.split(".")[-1], group) if isinstance(group, Mapping) else ""
            raise ModelError(f"{self.shown} has no {path}: is it the options.json of an ELMo?{near}")
        return found

    def whole(self, path: str, default: Any = ..., *, least: int = 1) -> int:
        """A whole number."""
        found = self.value(path, default)
        if not isinstance(found, int) or isinstance(found, bool) or found < least:
            raise ModelError(f"{self.shown}: {path} is {found!r}, expected a whole number from {least} on")
        return found

    def yes_or_no(self, path: str) -> bool:
        """True or false; false if it is not there."""
        found = self.value(path, False)
        if not isinstance(found, bool):
            raise ModelError(f"{self.shown}: {path} is {found!r}, expected true or false")
        return found

    def clip(self, path: str) -> float | None:
        """A clip; none if it is 0, null or not there."""
        found = self.value(path, 0)
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found < 1e30:
            raise ModelError(f"{self.shown}: {path} is {found!r}, expected a number above 0, or null")
        return float(found) if found else None

    def filters(self, path: str) -> list[tuple[int, int]]:
        """Pairs of width and count."""
        found = self.value(path)
        is_list = isinstance(found, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in found)
        if not is_list or not all(type(number) is int for pair in found for number in pair):
            raise ModelError(f"{self.shown}: {path} is no list of pairs, expected [[width, count], ...]")
        return [(width, count) for width, count in found]


def options_from_config(config: BiLMConfig) -> dict[str, Any]:
    """The ``options.json`` of a network, as the prediction code of bilm-tf and AllenNLP reads it."""
    lstm, characters = config.lstm, config.char_cnn
    options: dict[str, Any] = {
        "lstm": {
            "dim": lstm.cell_width,
            "projection_dim": lstm.width,
            "n_layers": lstm.num_layers,
            "cell_clip": lstm.cell_clip,
            "proj_clip": lstm.projection_clip,
            "use_skip_connections": lstm.has_residual,
        }
    }
    if characters is not None:
        options["char_cnn"] = {
            "activation": characters.activation,
            "embedding": {"dim": characters.embedding_width},
            "filters": [list(pair) for pair in characters.filters],
            "max_characters_per_token": characters.max_characters,
            "n_characters": NUM_BYTE_CHARACTERS,
            "n_highway": characters.num_highways,
        }
    return options


# -- arrays --------------------------------------------------------------------------------------


def arrays_of(bilm: BiLM) -> list[ForeignArray]:
    """Every array of the published file, in the order of that file."""
    arrays = _arrays_of_words(bilm) if bilm.config.char_cnn is None else _arrays_of_characters(bilm)
    for direction, stack in enumerate((bilm.forward_lstm, bilm.backward_lstm)):
        for number, layer in enumerate(stack.layers):
            name = f"RNN_{direction}/RNN/MultiRNNCell/Cell{number}/LSTMCell"
            arrays += _arrays_of_layer(name, {key: tensor.detach() for key, tensor in layer.named_parameters()})
    return arrays


def _arrays_of_words(bilm: BiLM) -> list[ForeignArray]:
    assert isinstance(bilm.token_network, SymbolEmbedding)
    return [whole("embedding", bilm.token_network.embedding.weight)]


def _arrays_of_characters(bilm: BiLM) -> list[ForeignArray]:
    network = bilm.token_network
    assert isinstance(network, CharCNN)
    ours = {name: tensor.detach() for name, tensor in network.named_parameters()}
    arrays = [whole("char_embed", ours["char_embedding.weight"][1:])]  # row 0, "no token here", is no row of theirs
    for number in range(len(network.convolutions)):
        weight = ours[f"convolutions.{number}.weight"].permute(2, 1, 0)[None]  # (1, width, embedding, filters)
        arrays += [whole(f"CNN/W_cnn_{number}", weight)]
        arrays += [whole(f"CNN/b_cnn_{number}", ours[f"convolutions.{number}.bias"])]
    for number in range(len(network.highways)):
        for theirs, gate in (("carry", "gate"), ("transform", "transform")):  # their carry opens the transform
            name = f"highways.{number}.{gate}"
            arrays += [whole(f"CNN_high_{number}/W_{theirs}", ours[f"{name}.weight"].t())]
            arrays += [whole(f"CNN_high_{number}/b_{theirs}", ours[f"{name}.bias"])]
    if "projection.weight" in ours:
        arrays += [whole("CNN_proj/W_proj", ours["projection.weight"].t())]
        arrays += [whole("CNN_proj/b_proj", ours["projection.bias"])]
    return arrays


def arrays_begin(bilm: BiLM) -> tuple[str, ...]:
    """How the names of a model's arrays begin: one more of them means another model."""
    return ("RNN",) if bilm.config.char_cnn is None else ("CNN", "RNN", "char_embed")


def _arrays_of_layer(name: str, ours: Mapping[str, Tensor]) -> list[ForeignArray]:
    weight, recurrent, bias = ours["input_weight"], ours["recurrent_weight"], ours["bias"]
    cell, inputs, state = len(bias) // 4, weight.shape[1], recurrent.shape[1]
    of_weights: list[Place] = []
    of_bias: list[Place] = []
    for theirs, gate in enumerate(_GATES):
        columns, rows = slice(theirs * cell, (theirs + 1) * cell), slice(gate * cell, (gate + 1) * cell)
        of_weights.append(Place((slice(inputs), columns), weight[rows].t()))
        of_weights.append(Place((slice(inputs, None), columns), recurrent[rows].t()))
        of_bias.append(Place(columns, bias[rows]))
    arrays = [
        ForeignArray(f"{name}/W_0", (inputs + state, 4 * cell), of_weights),
        ForeignArray(f"{name}/B", (4 * cell,), of_bias),
    ]
    if "projection_weight" in ours:
        arrays.append(whole(f"{name}/W_P_0", ours["projection_weight"].t()))
    return arrays


def clear_no_token(bilm: BiLM) -> None:
    """Zero the vector of "no token here", which no file holds."""
    if isinstance(bilm.token_network, CharCNN):
        bilm.token_network.char_embedding.weight.detach()[0].zero_()
