"""ELMoForManyLangs in float64 NumPy, written from the facts of its model folder and from nothing else.

Sizes, symbols and arrays carry the names of the files: the architecture JSON, ``char.dic`` and ``word.dic``, and both
pickles. One sentence at a time, one step at a time, nothing shared with the code that it judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """What a model folder holds."""

    architecture: Mapping[str, Any]
    char_dic: Mapping[str, int]
    word_dic: Mapping[str, int]
    token_embedder: Mapping[str, Array]
    encoder: Mapping[str, Array]

    @property
    def is_plain(self) -> bool:
        """Whether the encoder is PyTorch's LSTM, and not the clipped one."""
        return bool(self.architecture["encoder"]["name"] == "lstm")


@dataclass(frozen=True)
class State:
    """What one layer of one direction remembers: the cell c and the output h, of one row."""

    c: Array
    h: Array


# -- the vector of a token -----------------------------------------------------------------------


def char_ids(model: Model, token: str) -> list[int]:
    """A token that is cut already: what is called end of word stands before it, and the beginning behind."""
    dic, length = model.char_dic, model.architecture["token_embedder"]["max_characters_per_token"]
    inside = [token] if token in ("<bos>", "<eos>") else list(token)
    ids = [dic["<eow>"]]
    for character in inside:
        ids.append(dic[character] if character in dic else dic["<oov>"])
    ids.append(dic["<bow>"])
    while len(ids) < length:
        ids.append(dic["<pad>"])
    return ids


def token_vector(model: Model, token: str) -> Array:
    """(projection_dim,): the vector of one token, cut already, before any context."""
    sizes, arrays = model.architecture["token_embedder"], model.token_embedder
    parts = []
    if sizes["word_dim"]:
        number = model.word_dic[token] if token in model.word_dic else model.word_dic["<oov>"]
        parts.append(arrays["word_emb_layer.embedding.weight"][number])
    if sizes["char_dim"]:
        parts.append(_character_features(model, char_ids(model, token)))
    x: Array = arrays["projection.weight"] @ np.concatenate(parts) + arrays["projection.bias"]
    return x


def _character_features(model: Model, ids: Sequence[int]) -> Array:
    sizes, arrays = model.architecture["token_embedder"], model.token_embedder
    characters = arrays["char_emb_layer.embedding.weight"][list(ids)]  # (places, char_dim)
    answers = []
    for number, (width, _) in enumerate(sizes["filters"]):
        weight, bias = arrays[f"convolutions.{number}.weight"], arrays[f"convolutions.{number}.bias"]
        windows = np.stack([characters[place : place + width] for place in range(len(ids) - width + 1)])
        best = np.max(np.einsum("new,pwe->pn", weight, windows), axis=0) + bias
        answers.append(np.tanh(best) if sizes["activation"] == "tanh" else np.maximum(best, 0))
    x: Array = np.concatenate(answers)
    for number in range(sizes["n_highway"]):
        both = arrays[f"highways._layers.{number}.weight"] @ x + arrays[f"highways._layers.{number}.bias"]
        transform, gate = both[: len(x)], _sigmoid(both[len(x) :])
        x = gate * x + (1 - gate) * np.maximum(transform, 0)
    return x


# -- the clipped encoder -------------------------------------------------------------------------


def zero_states(model: Model) -> list[State]:
    """States that remember nothing, one a layer."""
    sizes = model.architecture["encoder"]
    return [State(np.zeros(sizes["dim"]), np.zeros(sizes["projection_dim"])) for _ in range(sizes["n_layers"])]


def read(model: Model, direction: str, vectors: Array, states: Sequence[State]) -> tuple[list[Array], list[State]]:
    """Run one direction over vectors in the order in which it reads them.

    Args:
        model: the model.
        direction: ``forward`` or ``backward``: whose weights.
        vectors: (n, projection_dim), first read first.
        states: of every layer, before the first step.

    Returns:
        The outputs of every layer, (n, projection_dim) each, and the last states.
    """
    outputs: list[Array] = []
    after: list[State] = []
    inputs = vectors
    for layer, state in enumerate(states):
        answers = []
        for x in inputs:
            state = _step(model, f"{direction}_layer_{layer}", x, state)
            answers.append(state.h)
        result = np.array(answers)
        if layer > 0:
            result = result + inputs  # outside the recurrence: the state never holds it
        outputs.append(result)
        after.append(state)
        inputs = result
    return outputs, after


def _step(model: Model, name: str, x: Array, state: State) -> State:
    sizes, arrays = model.architecture["encoder"], model.encoder
    all_gates = arrays[f"{name}.input_linearity.weight"] @ x
    all_gates = all_gates + arrays[f"{name}.state_linearity.weight"] @ state.h + arrays[f"{name}.state_linearity.bias"]
    i, f, candidate, o = np.split(all_gates, 4)
    c = _clipped(_sigmoid(f) * state.c + _sigmoid(i) * np.tanh(candidate), sizes.get("cell_clip"))
    h = arrays[f"{name}.state_projection.weight"] @ (_sigmoid(o) * np.tanh(c))
    return State(c, _clipped(h, sizes.get("proj_clip")))


def _clipped(values: Array, clip: float | None) -> Array:
    return np.clip(values, -clip, clip) if clip else values


# -- the plain encoder ---------------------------------------------------------------------------


def read_plainly(model: Model, vectors: Array) -> Array:
    """(n, 2 projection_dim): every layer reads both directions of the one below, and the top one is projected."""
    arrays, dim = model.encoder, model.architecture["encoder"]["dim"]
    inputs = vectors
    for layer in range(model.architecture["encoder"]["n_layers"]):
        directions = []
        for suffix in ("", "_reverse"):
            h, c = np.zeros(dim), np.zeros(dim)
            answers = []
            for x in inputs[::-1] if suffix else inputs:
                all_gates = (
                    arrays[f"encoder.weight_ih_l{layer}{suffix}"] @ x + arrays[f"encoder.bias_ih_l{layer}{suffix}"]
                )
                all_gates = all_gates + arrays[f"encoder.weight_hh_l{layer}{suffix}"] @ h
                i, f, candidate, o = np.split(all_gates + arrays[f"encoder.bias_hh_l{layer}{suffix}"], 4)
                c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(candidate)
                h = _sigmoid(o) * np.tanh(c)
                answers.append(h)
            directions.append(np.array(answers[::-1] if suffix else answers))
        inputs = np.concatenate(directions, axis=1)
    projected = [
        half @ arrays["projection.weight"].T + arrays["projection.bias"] for half in np.split(inputs, 2, axis=1)
    ]
    return np.concatenate(projected, axis=1)


# -- a sentence ----------------------------------------------------------------------------------


def run_sentence(model: Model, sentence: Sequence[str]) -> Array:
    """(layers, len(sentence), 2 projection_dim): every layer of ``<bos>`` w1 ... wn ``<eos>``, the marks left out."""
    states = zero_states(model)
    return run_row(model, sentence, (states, states))[0]


Memory = tuple[Sequence[State], Sequence[State]]
"""What both directions remember of a row, from one call to the next: forward, backward."""


def run_row(model: Model, sentence: Sequence[str], memory: Memory) -> tuple[Array, Memory]:
    """As `run_sentence`, of a row that remembers; gives what it remembers afterwards, too."""
    most = model.architecture["token_embedder"]["max_characters_per_token"] - 2
    cut = [token[:most] for token in sentence]
    vectors = np.array([token_vector(model, token) for token in ["<bos>", *cut, "<eos>"]])
    layers = [np.concatenate([vectors, vectors], axis=1)]
    after = memory
    if model.is_plain:
        layers.append(read_plainly(model, vectors))
    else:
        left, after_left = read(model, "forward", vectors, memory[0])
        right, after_right = read(model, "backward", vectors[::-1], memory[1])
        layers += [np.concatenate([a, b[::-1]], axis=1) for a, b in zip(left, right, strict=True)]
        after = (after_left, after_right)
    return np.stack(layers)[:, 1:-1], after


def _sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result
