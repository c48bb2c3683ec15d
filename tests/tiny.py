"""Tiny networks with random weights, the same weights under their published names, and folders of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowtide.model import BiLM, BiLMConfig, CharCNNConfig, LSTMConfig, Softmax, SymbolConfig
from lowtide.text.tokenize import make_tokenizer
from lowtide.text.vocabulary import Vocabulary
from lowtide.weights.native import save_model
from lowtide.weights.stored import FORMAT_VERSION, ModelConfig
from model import reference

CHAR_CNN = CharCNNConfig(embedding_width=4, filters=((1, 3), (2, 4), (3, 5)), num_highways=1, max_characters=10)
LSTM = LSTMConfig(cell_width=7, width=5, num_layers=2, cell_clip=0.8, projection_clip=0.6)
"""Clips so low that random weights meet them."""
SYMBOLS = SymbolConfig(num_symbols=11)
BYTES = BiLMConfig(LSTM, char_cnn=CHAR_CNN)


def lstm(**changes: Any) -> BiLMConfig:
    """A config over bytes with another LSTM."""
    return BiLMConfig(dataclasses.replace(LSTM, **changes), char_cnn=CHAR_CNN)


def char_cnn(**changes: Any) -> BiLMConfig:
    """A config with another character network."""
    return BiLMConfig(LSTM, char_cnn=dataclasses.replace(CHAR_CNN, **changes))


VARIANTS = {
    "as published": BYTES,
    "tanh": char_cnn(activation="tanh"),
    "no highway": char_cnn(num_highways=0),
    "two highways": char_cnn(num_highways=2),
    "one layer": lstm(num_layers=1),
    "three layers": lstm(num_layers=3),
    "no residual": lstm(has_residual=False),
    "no clips": lstm(cell_clip=None, projection_clip=None),
    "no projection of the state": lstm(cell_width=5, num_layers=3),
    "no projection of the characters": dataclasses.replace(
        BYTES, char_cnn=dataclasses.replace(CHAR_CNN, filters=((1, 2), (3, 3)), has_projection=False)
    ),
    "forget bias in the file": lstm(forget_bias=0.0),
}
"""Of the published kind. Symbols are ours, and tested beside them."""
SYMBOL_CONFIG = BiLMConfig(LSTM, symbols=SYMBOLS)


def random_(module: nn.Module, *, seed: int = 0, scale: float = 0.5) -> None:
    """Fill every parameter, biases too, from a normal distribution."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * scale)


def bilm(config: BiLMConfig = BYTES, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> BiLM:
    """A network with random weights, in evaluation mode."""
    network = BiLM(config).to(dtype)
    random_(network, seed=seed)
    return network.eval()


def published(network: BiLM) -> reference.Model:
    """The weights of a network, in the published orientation and under the published names."""
    config = network.config
    weights = {name: _array(tensor) for name, tensor in network.state_dict().items()}
    sizes = config.lstm
    options: dict[str, Any] = {
        "lstm": {
            "dim": sizes.cell_width,
            "projection_dim": sizes.width,
            "n_layers": sizes.num_layers,
            "cell_clip": sizes.cell_clip,
            "proj_clip": sizes.projection_clip,
            "use_skip_connections": sizes.has_residual,
        }
    }
    arrays: dict[str, reference.Array] = {}
    if config.char_cnn is None:
        arrays["embedding"] = weights["token_network.embedding.weight"]
    else:
        characters = config.char_cnn
        options["char_cnn"] = {
            "embedding": {"dim": characters.embedding_width},
            "filters": [list(pair) for pair in characters.filters],
            "activation": characters.activation,
            "n_highway": characters.num_highways,
            "max_characters_per_token": characters.max_characters,
        }
        arrays["char_embed"] = weights["token_network.char_embedding.weight"][1:]
        for number in range(len(characters.filters)):
            ours = f"token_network.convolutions.{number}"
            arrays[f"CNN/W_cnn_{number}"] = weights[f"{ours}.weight"].transpose(2, 1, 0)[None]
            arrays[f"CNN/b_cnn_{number}"] = weights[f"{ours}.bias"]
        for number in range(characters.num_highways):
            for theirs, gate in (("carry", "gate"), ("transform", "transform")):
                ours = f"token_network.highways.{number}.{gate}"
                arrays[f"CNN_high_{number}/W_{theirs}"] = weights[f"{ours}.weight"].T
                arrays[f"CNN_high_{number}/b_{theirs}"] = weights[f"{ours}.bias"]
        if characters.has_projection:
            arrays["CNN_proj/W_proj"] = weights["token_network.projection.weight"].T
            arrays["CNN_proj/b_proj"] = weights["token_network.projection.bias"]
    for direction, stack in enumerate(("forward_lstm", "backward_lstm")):
        for layer in range(sizes.num_layers):
            ours, theirs = f"{stack}.layers.{layer}", f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            both = np.concatenate([weights[f"{ours}.input_weight"], weights[f"{ours}.recurrent_weight"]], axis=1)
            arrays[f"{theirs}/W_0"] = _gates_as_published(both).T
            arrays[f"{theirs}/B"] = _gates_as_published(weights[f"{ours}.bias"])
            if sizes.is_projected:
                arrays[f"{theirs}/W_P_0"] = weights[f"{ours}.projection_weight"].T
    return reference.Model(options, arrays, sizes.forget_bias)


def _gates_as_published(rows: reference.Array) -> reference.Array:
    """From input, forget, candidate, output to input, candidate, forget, output."""
    i, f, j, o = np.split(rows, 4)
    return np.concatenate([i, j, f, o])


def _array(tensor: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.detach().double().numpy()
    return array


# -- model folders -------------------------------------------------------------------------------

COUNTS = {"the": 40, "tide": 20, ".": 15, "goes": 9, "out": 9, "bank": 7, "river": 5, "潮水": 3, "退了": 3, "sat": 2}
"""What the model of bytes has seen, in 12 sentences and with 6 more tokens."""
ALPHABET = "ABCDEFGH"


@dataclasses.dataclass(frozen=True)
class Saved:
    """A model folder, and all that was written into it."""

    folder: Path
    config: ModelConfig
    vocabulary: Vocabulary
    bilm: BiLM
    softmax: Softmax


def save(folder: Path, *, is_alphabet: bool = False, seed: int = 0) -> Saved:
    """Write the folder of a random model: of English words spelled in bytes, or of an alphabet."""
    if is_alphabet:
        vocabulary = Vocabulary.from_counts(dict.fromkeys(ALPHABET, 10), num_sentences=4)
        tokenizer = make_tokenizer("characters", language="en").config
    else:
        vocabulary = Vocabulary.from_counts(COUNTS, num_sentences=12, num_tokens=sum(COUNTS.values()) + 6)
        tokenizer = make_tokenizer("words", language="en").config
    network = bilm(SYMBOL_CONFIG if is_alphabet else BYTES, seed=seed)
    softmax = Softmax(len(vocabulary), network.width // 2)
    random_(softmax, seed=seed + 1, scale=1.0)
    config = ModelConfig(
        format_version=FORMAT_VERSION,
        kind="elmo",
        tokenizer=tokenizer,
        trunk="elmo",
        bilm=network.config,
        preset="tiny",
    )
    save_model(folder, config, vocabulary, network, softmax.eval())
    return Saved(folder, config, vocabulary, network, softmax)
