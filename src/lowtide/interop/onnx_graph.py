"""A network as a graph of operators of the ONNX standard, put together node by node.

The recurrence is a ``Scan`` over positions: ONNX's own ``LSTM`` has no projection, and clips something else. The
backward direction reads every row turned round (``ReverseSequence``), so that it begins at that row's own last
position, and padding comes after all that counts, in both directions.

Letters in shapes: t types, s characters, b rows of the batch, n positions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lowtide.errors import require
from lowtide.model import BiLM, CharCNN, JointLSTM, SymbolEmbedding, SymbolsAndCharacters, Trunk
from lowtide.model.char_cnn import Highway
from lowtide.model.lstm import LSTMStack, ProjectedLSTM
from lowtide.model.recurrence import RecurrentWeights


def graph_of(bilm: Trunk) -> Any:
    """The ``GraphProto`` of a network; see `lowtide.interop.onnx` for what goes in and comes out."""
    config, graph = bilm.config, _Graph(dict(bilm.named_parameters()))
    row_length = (config.symbols is not None) + (config.char_cnn.max_characters if config.char_cnn else 0)
    vectors = _token_vectors(graph, bilm.token_network, "type_char_ids")  # (t, width)
    places = graph.add("Transpose", "type_index", perm=[1, 0])  # (n, b): what is scanned is the first axis
    tokens = graph.add("Gather", vectors, places)  # (n, b, width)
    layers = [graph.add("Concat", tokens, tokens, axis=2), *_read(graph, bilm, tokens)]  # (n, b, 2 width) each
    lifted = [graph.add("Unsqueeze", layer, graph.integers([0])) for layer in layers]
    stacked = graph.add("Concat", *lifted, axis=0)  # (layers, n, b, 2 width)
    is_read = graph.add("Unsqueeze", _is_read(graph), graph.integers([2]))  # (n, b, 1)
    cleared = graph.add("Where", is_read, stacked, graph.floats(0))
    graph.add("Transpose", cleared, perm=[0, 2, 1, 3], output="layers")  # (layers, b, n, 2 width)
    return graph.build(
        "lowtide",
        [
            graph.described("type_char_ids", np.int32, ["types", row_length]),
            graph.described("type_index", np.int64, ["batch", "positions"]),
            graph.described("lengths", np.int64, ["batch"]),
        ],
        [graph.described("layers", np.float32, [bilm.num_layers, "batch", "positions", bilm.width])],
    )


class _Graph:
    """Nodes in the order in which they run. A value goes by its name.

    Args:
        parameters: of the network; they keep their names.
        around: the graph that runs this one at every position; the weights of both stand there.
    """

    def __init__(self, parameters: dict[str, Tensor], around: _Graph | None = None) -> None:
        self._onnx = require("onnx", extra="onnx")
        self._parameters, self._is_step = parameters, around is not None
        self._nodes: list[Any] = []
        self._weights: dict[str, Any] = around._weights if around else {}
        self._numbers: Iterator[int] = around._numbers if around else itertools.count()

    def step(self) -> _Graph:
        """An empty one, that a ``Scan`` in this one runs at every position."""
        return _Graph(self._parameters, around=self)

    def name(self, kind: str) -> str:
        """A new name."""
        return f"{kind}_{next(self._numbers)}"

    def add(self, operator: str, *values: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node, and give the name of its output."""
        return self.add_many(operator, *values, outputs=[output or self.name(operator)], **attributes)[0]

    def add_many(self, operator: str, *values: str, outputs: list[str], **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        self._nodes.append(self._onnx.helper.make_node(operator, values, outputs, outputs[-1], **attributes))
        return outputs

    def integers(self, values: Any) -> str:
        """A constant."""
        return self._keep(self.name("constant"), np.asarray(values, np.int64))

    def floats(self, values: Any) -> str:
        """A constant."""
        return self._keep(self.name("constant"), np.asarray(values, np.float32))

    def parameter(self, tensor: Tensor, *, is_turned: bool = False) -> str:
        """A parameter, or what was made of some; turned to (input, output) where a product wants it so."""
        names = [name for name, parameter in self._parameters.items() if parameter is tensor]
        array = tensor.detach().float().cpu().numpy()
        return self._keep(names[0] if names else self.name("weight"), array.T if is_turned else array)

    def _keep(self, name: str, array: NDArray[Any]) -> str:
        if name not in self._weights:
            self._weights[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def described(self, name: str, dtype: type, shape: list[int | str]) -> Any:
        """An input or an output; sizes that vary have names."""
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self._onnx.helper.make_tensor_value_info(name, kind, shape)

    def build(self, name: str, inputs: list[Any], outputs: list[Any]) -> Any:
        """The ``GraphProto``."""
        weights = () if self._is_step else self._weights.values()
        return self._onnx.helper.make_graph(self._nodes, name, inputs, outputs, weights)


def _is_read(graph: _Graph) -> str:
    """(n, b): whether a position lies within its row."""
    num_positions = graph.add("Gather", graph.add("Shape", "type_index"), graph.integers(1))
    places = graph.add("Range", graph.integers(0), num_positions, graph.integers(1))  # (n,)
    return graph.add("Less", graph.add("Unsqueeze", places, graph.integers([1])), "lengths")


def _linear(graph: _Graph, values: str, linear: nn.Linear) -> str:
    return _product(graph, values, linear.weight, linear.bias)


def _product(graph: _Graph, values: str, weight: Tensor, bias: Tensor) -> str:
    """(..., input) to (..., output); the weight is (output, input), as in PyTorch."""
    return graph.add("Add", graph.add("MatMul", values, graph.parameter(weight, is_turned=True)), graph.parameter(bias))


# -- layer 0 -------------------------------------------------------------------------------------


def _token_vectors(graph: _Graph, network: nn.Module, char_ids: str) -> str:
    """(t, s) to (t, width)."""
    assert isinstance(network, (CharCNN, SymbolEmbedding, SymbolsAndCharacters))
    if isinstance(network, CharCNN):
        features = _features(graph, network, char_ids)
    else:
        symbols = graph.add("Gather", char_ids, graph.integers(0), axis=1)  # (t,)
        features = graph.add("Gather", graph.parameter(network.embedding.weight), symbols)
    if isinstance(network, SymbolsAndCharacters):
        letters = _columns(graph, char_ids, 1, 1 + network.characters.config.max_characters)
        features = graph.add("Concat", features, _features(graph, network.characters, letters), axis=1)
    return _linear(graph, features, network.projection) if isinstance(network.projection, nn.Linear) else features


def _features(graph: _Graph, network: CharCNN, char_ids: str) -> str:
    """(t, s) to (t, filters)."""
    used = _without_repeated_end(graph, network, char_ids)
    looked_up = graph.add("Gather", graph.parameter(network.char_embedding.weight), used)
    characters = graph.add("Transpose", looked_up, perm=[0, 2, 1])  # (t, embedding, s)
    activation = "Relu" if network.config.activation == "relu" else "Tanh"
    answers = []
    for convolution in network.convolutions:
        assert isinstance(convolution, nn.Conv1d) and convolution.bias is not None
        weights = graph.parameter(convolution.weight), graph.parameter(convolution.bias)
        largest = graph.add("ReduceMax", graph.add("Conv", characters, *weights), axes=[2], keepdims=0)
        answers.append(graph.add(activation, largest))
    features = graph.add("Concat", *answers, axis=1)  # (t, filters)
    for highway in network.highways:
        assert isinstance(highway, Highway)
        gate = graph.add("Sigmoid", _linear(graph, features, highway.gate))
        transformed = graph.add("Relu", _linear(graph, features, highway.transform))
        change = graph.add("Mul", gate, graph.add("Sub", transformed, features))
        features = graph.add("Add", features, change)
    return features


def _without_repeated_end(graph: _Graph, network: CharCNN, char_ids: str) -> str:
    """As in `CharCNN`, and as exact: most words are short, and most of a row is padding."""
    length = network.config.max_characters
    differs = graph.add("Not", graph.add("Equal", char_ids, _columns(graph, char_ids, length - 1, length)))
    places = graph.add("Where", differs, graph.integers(range(1, length + 1)), graph.integers(0))  # (t, s)
    used = graph.add("ReduceMax", places, axes=[0, 1], keepdims=0)
    end = graph.add("Add", used, graph.integers([network.config.widest_filter]))  # (1,)
    return graph.add("Slice", char_ids, graph.integers([0]), end, graph.integers([1]))


def _columns(graph: _Graph, values: str, start: int, end: int) -> str:
    return graph.add("Slice", values, graph.integers([start]), graph.integers([end]), graph.integers([1]))


# -- the layers above ----------------------------------------------------------------------------


def _read(graph: _Graph, bilm: Trunk, tokens: str) -> list[str]:
    """(n, b, width) to (n, b, 2 width) of every layer above 0."""
    if isinstance(bilm, JointLSTM):
        return [_read_joint(graph, bilm, tokens)]
    assert isinstance(bilm, BiLM)
    forward = _read_stack(graph, bilm.forward_lstm, tokens)
    backward = _read_stack(graph, bilm.backward_lstm, _turned(graph, tokens))
    pairs = zip(forward, backward, strict=True)
    return [graph.add("Concat", ahead, _turned(graph, back), axis=2) for ahead, back in pairs]


def _read_stack(graph: _Graph, stack: LSTMStack, values: str) -> list[str]:
    outputs = []
    for number, layer in enumerate(stack.layers):
        assert isinstance(layer, ProjectedLSTM)
        sizes, bias = layer.config, layer.bias.detach().clone()
        bias[sizes.cell_width : 2 * sizes.cell_width] += sizes.forget_bias
        weights = RecurrentWeights(
            layer.recurrent_weight, layer.projection_weight, sizes.cell_clip, sizes.projection_clip
        )
        read = _recur(graph, _product(graph, values, layer.input_weight, bias), weights)
        values = graph.add("Add", values, read) if number and sizes.has_residual else read
        outputs.append(values)
    return outputs


def _read_joint(graph: _Graph, bilm: JointLSTM, values: str) -> str:
    def read(values: str, layer: str) -> str:
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weight, recurrent, bias, other_bias = (getattr(bilm.lstm, f"{kind}_{layer}") for kind in kinds)
        input_gates = _product(graph, values, weight, bias + other_bias)
        return _recur(graph, input_gates, RecurrentWeights(recurrent, None, None, None))

    directions: list[str] = []
    for number in range(bilm.lstm.num_layers):
        back = read(_turned(graph, values), f"l{number}_reverse")
        directions = [read(values, f"l{number}"), _turned(graph, back)]
        values = graph.add("Concat", *directions, axis=2)
    return graph.add("Concat", *(_linear(graph, half, bilm.projection) for half in directions), axis=2)


def _turned(graph: _Graph, values: str) -> str:
    """(n, b, width): every row from its own last position to its first; what lies beyond stays where it is."""
    return graph.add("ReverseSequence", values, "lengths", time_axis=0, batch_axis=1)


def _recur(graph: _Graph, input_gates: str, weights: RecurrentWeights) -> str:
    """(n, b, 4 cell width) to (n, b, state width): `lowtide.model.recurrence.recur`, every state zero at first."""
    cell_width, state_width = len(weights.recurrent) // 4, weights.recurrent.shape[1]
    rows = graph.add("Shape", input_gates, start=1, end=2)
    zeros = [
        graph.add("Expand", graph.floats(0), graph.add("Concat", rows, graph.integers([width]), axis=0))
        for width in (state_width, cell_width)
    ]
    outputs = [graph.name("last_h"), graph.name("last_c"), graph.name("states")]
    body = _step(graph.step(), weights, cell_width, state_width)
    return graph.add_many("Scan", *zeros, input_gates, outputs=outputs, body=body, num_scan_inputs=1)[-1]


def _step(graph: _Graph, weights: RecurrentWeights, cell_width: int, state_width: int) -> Any:
    """One position: (h, c, input gates) to (h, c, h), in the letters of `lowtide.model.recurrence`."""
    before_h, before_c, input_gates = (graph.name(kind) for kind in ("h", "c", "input_gates"))
    gates = graph.add("Gemm", before_h, graph.parameter(weights.recurrent), input_gates, transB=1)
    i, f, g, o = graph.add_many("Split", gates, outputs=[graph.name(letter) for letter in "ifgo"], axis=1)
    kept = graph.add("Mul", graph.add("Sigmoid", f), before_c)
    c = graph.add("Add", kept, graph.add("Mul", graph.add("Sigmoid", i), graph.add("Tanh", g)))
    c = _clipped(graph, c, weights.cell_clip)
    h = graph.add("Mul", graph.add("Sigmoid", o), graph.add("Tanh", c))
    if weights.projection is not None:
        h = graph.add("Gemm", h, graph.parameter(weights.projection), transB=1)
        h = _clipped(graph, h, weights.projection_clip)

    def rows(name: str, width: int) -> Any:
        return graph.described(name, np.float32, ["batch", width])

    state = rows(h, state_width), rows(c, cell_width)
    return graph.build(
        "step",
        [rows(before_h, state_width), rows(before_c, cell_width), rows(input_gates, 4 * cell_width)],
        [*state, rows(graph.add("Identity", h), state_width)],
    )


def _clipped(graph: _Graph, values: str, limit: float | None) -> str:
    return values if limit is None else graph.add("Clip", values, graph.floats(-limit), graph.floats(limit))
