"""The published model in float64 NumPy, written from the facts of its file format and from nothing else.

Options and arrays carry the names of ``options.json`` and of the datasets in ``weights.hdf5``, in
TensorFlow's orientation (x . W, gates in the order input, candidate, forget, output). One sentence
at a time, one step at a time, nothing shared with the code that it judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SENTENCE_START, SENTENCE_END, WORD_START, WORD_END, PAD = 256, 257, 258, 259, 260


@dataclass(frozen=True)
class Model:
    """What the two published files hold."""

    options: Mapping[str, Any]
    arrays: Mapping[str, Array]
    forget_bias: float = 1.0
    """TensorFlow adds it at run time."""


@dataclass(frozen=True)
class State:
    """What one layer of one direction remembers: the cell c and the output p, of one row."""

    c: Array
    p: Array


def spell(token: str, max_characters: int) -> list[int]:
    """The ids of a token after the shift by one: 0 is left for "no token here"."""
    if token == "<S>":
        inside = [SENTENCE_START]
    elif token == "</S>":
        inside = [SENTENCE_END]
    else:
        inside = list(token.encode("utf-8", errors="ignore"))[: max_characters - 2]
    ids = [WORD_START, *inside, WORD_END]
    ids += [PAD] * (max_characters - len(ids))
    return [number + 1 for number in ids]


def token_vector(model: Model, char_ids: Sequence[int]) -> Array:
    """(P,): the vector of one token, before any context."""
    options = model.options["char_cnn"]
    table = np.concatenate([np.zeros((1, options["embedding"]["dim"])), model.arrays["char_embed"]])
    characters = table[list(char_ids)]  # (M, E)
    answers = []
    for number, (width, _) in enumerate(options["filters"]):
        weights = model.arrays[f"CNN/W_cnn_{number}"][0]  # (width, E, n)
        windows = [characters[at : at + width] for at in range(len(characters) - width + 1)]
        convolved = [np.tensordot(window, weights, axes=2) for window in windows]
        largest = np.max(convolved, axis=0) + model.arrays[f"CNN/b_cnn_{number}"]
        answers.append(np.tanh(largest) if options["activation"] == "tanh" else np.maximum(largest, 0))
    x: Array = np.concatenate(answers)
    for number in range(options.get("n_highway", 0)):
        name = f"CNN_high_{number}"
        g = _sigmoid(x @ model.arrays[f"{name}/W_carry"] + model.arrays[f"{name}/b_carry"])
        transformed = np.maximum(x @ model.arrays[f"{name}/W_transform"] + model.arrays[f"{name}/b_transform"], 0)
        x = g * transformed + (1 - g) * x
    if "CNN_proj/W_proj" in model.arrays:
        x = x @ model.arrays["CNN_proj/W_proj"] + model.arrays["CNN_proj/b_proj"]
    return x


def word_vector(model: Model, token: str, words: Sequence[str]) -> Array:
    """(P,): the row of a word in a model that reads words; ``words`` are the lines of its vocabulary file.

    Of a word that stands twice the last line counts; a word that is not there is ``<UNK>``.
    """
    rows = {word: row for row, word in enumerate(words)}
    vector: Array = model.arrays["embedding"][rows.get(token, rows["<UNK>"])]
    return vector


def zero_states(model: Model) -> list[State]:
    """States that remember nothing, one a layer."""
    lstm = model.options["lstm"]
    cell, output = lstm["dim"], min(lstm["dim"], lstm["projection_dim"])
    return [State(np.zeros(cell), np.zeros(output)) for _ in range(lstm["n_layers"])]


def read(
    model: Model, direction: int, vectors: Array, states: Sequence[State], resets: Sequence[bool]
) -> tuple[list[Array], list[State]]:
    """Run one direction (0 forward, 1 backward) over vectors in the order in which it reads them.

    Args:
        model: the model.
        direction: whose weights.
        vectors: (n, P), first read first.
        states: of every layer, before the first step.
        resets: before which steps the state is zero.

    Returns:
        The outputs of every layer, (n, P) each, and the last states.
    """
    lstm = model.options["lstm"]
    outputs: list[Array] = []
    after: list[State] = []
    inputs = vectors
    for layer, state in enumerate(states):
        read_: list[Array] = []
        for x, is_reset in zip(inputs, resets, strict=True):
            before = State(0 * state.c, 0 * state.p) if is_reset else state
            state = _step(model, _cell_name(model, direction, layer), x, before)
            read_.append(state.p)
        result = np.array(read_)
        if layer and lstm["use_skip_connections"]:
            result = result + inputs  # outside the recurrence: the state never holds it
        outputs.append(result)
        after.append(state)
        inputs = result
    return outputs, after


def _cell_name(model: Model, direction: int, layer: int) -> str:
    """Where the weights of a layer stand; a training with one layer leaves the shorter name."""
    short = f"RNN_{direction}/RNN/LSTMCell"
    return short if f"{short}/W_0" in model.arrays else f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"


def _step(model: Model, name: str, x: Array, state: State) -> State:
    lstm = model.options["lstm"]
    both = np.concatenate([x, state.p]) @ model.arrays[f"{name}/W_0"] + model.arrays[f"{name}/B"]
    i, j, f, o = np.split(both, 4)
    c = _sigmoid(f + model.forget_bias) * state.c + _sigmoid(i) * np.tanh(j)
    if lstm.get("cell_clip") is not None:
        c = np.clip(c, -lstm["cell_clip"], lstm["cell_clip"])
    m = _sigmoid(o) * np.tanh(c)
    if f"{name}/W_P_0" not in model.arrays:
        return State(c, m)  # TensorFlow clips the projection, and here is none
    p = m @ model.arrays[f"{name}/W_P_0"]
    if lstm.get("proj_clip") is not None:
        p = np.clip(p, -lstm["proj_clip"], lstm["proj_clip"])
    return State(c, p)


def run_row(model: Model, vectors: Array, starts: Sequence[bool] | None = None) -> Array:
    """Every layer over a row of token vectors, boundaries among them.

    Args:
        model: the model.
        vectors: (n, P).
        starts: where a sentence begins; the first position alone if not given.

    Returns:
        (layers, n, 2P), layer 0 (the token vector twice) first.
    """
    n = len(vectors)
    begins = [at == 0 for at in range(n)] if starts is None else list(starts)
    ends = [*begins[1:], True]
    ahead, _ = read(model, 0, vectors, zero_states(model), begins)
    back, _ = read(model, 1, vectors[::-1], zero_states(model), ends[::-1])
    layers = [np.concatenate([vectors, vectors], axis=1)]
    layers += [np.concatenate([left, right[::-1]], axis=1) for left, right in zip(ahead, back, strict=True)]
    return np.stack(layers)


def sentence_vectors(model: Model, sentence: Sequence[str], words: Sequence[str] | None = None) -> Array:
    """(len(sentence) + 2, P): the vectors of ``<S>`` w1 ... wn ``</S>``, from their letters or a list of words."""
    marked = ["<S>", *sentence, "</S>"]
    if words is not None:
        return np.array([word_vector(model, token, words) for token in marked])
    length = model.options["char_cnn"]["max_characters_per_token"]
    return np.array([token_vector(model, spell(token, length)) for token in marked])


def run_sentence(model: Model, sentence: Sequence[str], words: Sequence[str] | None = None) -> Array:
    """(layers, len(sentence) + 2, 2P): every layer of ``<S>`` w1 ... wn ``</S>``, from the letters or the words on."""
    return run_row(model, sentence_vectors(model, sentence, words))


def run_batch(model: Model, batch: Sequence[Array], memory: dict[int, tuple[list[State], list[State]]]) -> list[Array]:
    """Every layer of the sentences of a batch, with warm state: row r goes on where row r of an earlier batch ended.

    Args:
        model: the model.
        batch: of each row, the vectors of its sentence: (n, P).
        memory: by row, the last states of both directions; changed. Rows that a batch does not use keep theirs.

    Returns:
        (layers, n, 2P) of each row.
    """
    found = []
    for row, vectors in enumerate(batch):
        ahead, back = memory.get(row, (zero_states(model), zero_states(model)))
        left, ahead = read(model, 0, vectors, ahead, [False] * len(vectors))
        right, back = read(model, 1, vectors[::-1], back, [False] * len(vectors))
        memory[row] = (ahead, back)
        layers = [np.concatenate([vectors, vectors], axis=1)]
        layers += [np.concatenate([a, b[::-1]], axis=1) for a, b in zip(left, right, strict=True)]
        found.append(np.stack(layers))
    return found


def probabilities(states: Array, weight: Array, bias: Array) -> Array:
    """(n, V): the full softmax over states of one direction."""
    logits = states @ weight.T + bias
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result


def mix(layers: Array, layer_scalars: Array, gamma: float) -> Array:
    """gamma * sum_k softmax(s)_k * layers[k], of (layers, tokens, width)."""
    s = np.exp(layer_scalars) / np.exp(layer_scalars).sum()
    mixed: Array = gamma * np.sum(s[:, None, None] * layers, axis=0)
    return mixed


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
