"""Old code for AllenNLP's ELMo, with the old numbers: only the import changes.

::

    from lowtide.interop.allennlp import Elmo, batch_to_ids

    elmo = Elmo(options_file, weight_file, 2, dropout=0)
    elmo(batch_to_ids([["First", "sentence", "."], ["Another", "."]]))["elmo_representations"]

What is imitated is how versions 0.9.0 and 2.10.1 of https://github.com/allenai/allennlp behave when they run; masks are
bool, as in the later one. State dicts of modules that hold an `Elmo` go both ways between the two libraries. The state
is warm: row r of a batch begins with what row r of the batches before has left. ``stateful=False``, or the old
``elmo._elmo_lstm._elmo_lstm.stateful = False``, turns this off.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeGuard

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.elmo import pick_device
from lowtide.embeddings.inputs import as_token_lists
from lowtide.embeddings.loading import read
from lowtide.embeddings.outputs.hdf5 import created
from lowtide.embeddings.warm_state import WarmState
from lowtide.errors import InputError, ModelError, ShapeError, nearest
from lowtide.files import written_whole
from lowtide.model import BiLM, BiLMConfig, Carry, CharCNN, LSTMConfig, States, SymbolConfig, SymbolEmbedding, Trunk
from lowtide.model.layer_mix import mix_layers, norm_as_published
from lowtide.model.recurrence import LayerState
from lowtide.progress import progress
from lowtide.text.batches import Batch
from lowtide.text.characters import NUM_BYTE_CHARACTERS, ByteSpelling
from lowtide.text.vocabulary import SENTENCE_END, SENTENCE_START
from lowtide.weights.arrays import ForeignArray, whole
from lowtide.weights.fetching import local_file
from lowtide.weights.stored import blank_network
from lowtide.weights.torch_names import arrays_of_characters, arrays_of_recurrence

log = logging.getLogger("lowtide")

_ORIGINAL = (
    "https://allennlp.s3.amazonaws.com/models/elmo/2x4096_512_2048cnn_2xhighway/elmo_2x4096_512_2048cnn_2xhighway"
)
DEFAULT_OPTIONS_FILE, DEFAULT_WEIGHT_FILE = f"{_ORIGINAL}_options.json", f"{_ORIGINAL}_weights.hdf5"
DEFAULT_BATCH_SIZE = 64

_SPELLING = ByteSpelling(50)
_TYPES_AT_ONCE = 1024
_FORMATS: dict[str, Callable[[Vectors], NDArray[np.float32]]] = {
    "all": lambda layers: layers,
    "top": lambda layers: layers[-1],
    "average": lambda layers: layers.mean(axis=0),
}


# -- functions -----------------------------------------------------------------------------------


def batch_to_ids(batch: Iterable[Iterable[str]]) -> Tensor:
    """Spell sentences, each a list of tokens; a str is taken for a list of its characters, as in the original.

    Returns:
        (sentences, longest, 50) int64: ids 1 to 261, and 0 where there is no token.

    Raises:
        InputError: if something is no sentence.
    """
    sentences = as_token_lists(batch)
    numbers: dict[str, int] = {}
    index = [[numbers.setdefault(token, len(numbers)) for token in sentence] for sentence in sentences]
    spelled = _SPELLING.char_ids(list(numbers))
    ids = np.zeros((len(sentences), max(map(len, sentences), default=0), _SPELLING.row_length), dtype=np.int64)
    for row, types in zip(ids, index, strict=True):
        row[: len(types)] = spelled[types]
    return torch.from_numpy(ids)


def add_sentence_boundary_token_ids(
    tensor: Tensor, mask: Tensor, sentence_begin_token: Any, sentence_end_token: Any
) -> tuple[Tensor, Tensor]:
    """Put a mark before and another behind every row: (rows, tokens, ...) to (rows, tokens + 2, ...).

    Returns:
        The rows, and their mask: where something is above 0.

    Raises:
        ShapeError: if the mask is not (rows, tokens).
    """
    _check_mask(tensor, mask)
    rows, num_tokens = mask.shape
    marked = tensor.new_zeros(rows, num_tokens + 2, *tensor.shape[2:])
    marked[:, 1:-1] = tensor
    marked[:, 0] = sentence_begin_token
    marked[torch.arange(rows), mask.sum(dim=1).long() + 1] = sentence_end_token
    return marked, (marked > 0).flatten(2).any(dim=2) if marked.dim() > 2 else marked > 0


def remove_sentence_boundaries(tensor: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Take the first and the last position from every row: (rows, tokens, width) to (rows, tokens - 2, width).

    Returns:
        The rows, zero where there is nothing, and their mask.

    Raises:
        ShapeError: if the mask is not (rows, tokens), or there are no two positions.
    """
    _check_mask(tensor, mask)
    if tensor.dim() != 3 or mask.shape[1] < 2:
        raise ShapeError(f"found {tuple(tensor.shape)}, expected (rows, tokens, width) with two tokens or more")
    kept = torch.arange(mask.shape[1] - 2, device=mask.device) < mask.sum(dim=1, keepdim=True) - 2
    return torch.where(kept[..., None], tensor[:, 1:-1], tensor.new_zeros(())), kept


def _check_mask(tensor: Tensor, mask: Tensor) -> None:
    if mask.dim() != 2 or tensor.shape[:2] != mask.shape:
        raise ShapeError(f"found a mask {tuple(mask.shape)} for {tuple(tensor.shape)}, expected one of (rows, tokens)")


# -- the network ---------------------------------------------------------------------------------


class _Rows(WarmState):
    """The states of all rows: ``elmo._elmo_lstm._elmo_lstm`` of old code.

    Args:
        lstm: the sizes.
        stateful: whether it is warm. If not, every call begins at zero; what it leaves can be looked at all the same.
    """

    def __init__(self, lstm: LSTMConfig, stateful: bool) -> None:
        super().__init__()
        self.stateful = stateful
        self.num_layers, self.cell_size = lstm.num_layers, lstm.cell_width
        self.input_size = self.hidden_size = lstm.width
        self._is_told = False

    def run(self, trunk: Trunk, batch: Batch, rows: Sequence[int] | None = None) -> States:
        """See `WarmState.run`."""
        if not self.stateful:
            self.reset()
        elif not self._is_told:
            self._is_told = True
            log.warning(
                "state       warm, as in AllenNLP: vectors depend on what was embedded before them; "
                "stateful=False turns this off"
            )
        like, states = next(trunk.parameters()), self._states
        if states is not None and (states[0].device, states[0].dtype) != (like.device, like.dtype):
            self._states = tuple(state.to(like) for state in states)
        return super().run(trunk, batch, rows)

    def reset_states(self, mask: Tensor | None = None) -> None:
        """Forget everything, or the rows where a mask (rows,) is true.

        Raises:
            InputError: if the mask is not as long as there are rows.
        """
        if mask is None:
            self.reset()
            return
        states = self._states
        num_rows = 0 if states is None else states[0].shape[1]
        if states is None or mask.shape != (num_rows,):
            raise InputError(
                f"found a mask {tuple(mask.shape)} for the states of {num_rows} rows, expected one for each"
            )
        keep = ~mask.bool().to(states[0].device)[:, None]
        self._states = (states[0] * keep, states[1] * keep)

    @property
    def _states(self) -> tuple[Tensor, Tensor] | None:
        """Hidden and memory as they were kept: (layers, rows, width), forward half first; None if there are none."""
        if self.carry is None:
            return None
        pairs = list(zip(self.carry.forward, self.carry.backward, strict=True))
        hidden = torch.stack([torch.cat([ahead.hidden, back.hidden], dim=1) for ahead, back in pairs])
        return hidden, torch.stack([torch.cat([ahead.cell, back.cell], dim=1) for ahead, back in pairs])

    @_states.setter
    def _states(self, states: Sequence[Tensor] | None) -> None:
        if states is None:
            self.reset()
            return
        hidden, memory = (state.chunk(2, dim=2) for state in states)
        self.carry = Carry(
            *([LayerState(*pair) for pair in zip(hidden[way], memory[way], strict=True)] for way in (0, 1))
        )


class _ElmoBiLm(nn.Module):
    """The network between boundaries, and the states of its rows; see `Elmo` for the arguments."""

    def __init__(
        self,
        options_file: str | Path,
        weight_file: str | Path | None,
        requires_grad: bool = False,
        vocab_to_cache: Sequence[str] | None = None,
        *,
        stateful: bool = True,
    ) -> None:
        super().__init__()
        self._bilm = _network(options_file, weight_file).requires_grad_(requires_grad)
        self._words: BiLM | None = None
        self._num_words = 0
        self._elmo_lstm = _Rows(self._bilm.config.lstm, stateful)
        self.num_layers = self._bilm.num_layers
        if vocab_to_cache:
            self.create_cached_cnn_embeddings(vocab_to_cache)
        self.register_state_dict_post_hook(_save_as_published)  # type: ignore[no-untyped-call]  # torch does not type it
        self.register_load_state_dict_pre_hook(_load_as_published)  # type: ignore[no-untyped-call]  # nor this

    def get_output_dim(self) -> int:
        """The width of a vector: both directions."""
        return self._bilm.width

    def create_cached_cnn_embeddings(self, tokens: Sequence[str]) -> None:
        """Compute the token vectors of a vocabulary once: word i of ``word_inputs`` is ``tokens[i]``, 0 is padding."""
        characters, config = self._bilm.token_network, self._bilm.config
        weight = next(characters.parameters())
        spelled = torch.from_numpy(_SPELLING.char_ids([*tokens, SENTENCE_START, SENTENCE_END])).to(weight.device)
        with torch.no_grad():
            vectors = torch.cat([characters(part) for part in spelled.split(_TYPES_AT_ONCE)])
        vectors[0] = 0
        words = blank_network(BiLMConfig(config.lstm, symbols=SymbolConfig(len(vectors)), dropout=config.dropout))
        assert isinstance(words, BiLM) and isinstance(words.token_network, SymbolEmbedding)
        words.token_network.embedding.weight = nn.Parameter(vectors, requires_grad=weight.requires_grad)
        words.forward_lstm, words.backward_lstm = self._bilm.forward_lstm, self._bilm.backward_lstm
        self._words, self._num_words = words, len(tokens)

    def forward(self, inputs: Tensor, word_inputs: Tensor | None = None) -> dict[str, Any]:
        """Run a batch, each row from the state that the last one has left there.

        Args:
            inputs: (rows, tokens, 50), of `batch_to_ids`.
            word_inputs: (rows, tokens) numbers in the cached vocabulary; if all are in it, they are read instead.

        Returns:
            ``activations``: of every layer (rows, tokens + 2, width); ``mask``: (rows, tokens + 2).

        Raises:
            InputError: if the ids are none.
        """
        if word_inputs is not None and self._words is None:
            warnings.warn("word_inputs are not read: this Elmo was made without vocab_to_cache", stacklevel=2)
        if self._words is not None and _are_ids(word_inputs, (None, None), self._num_words):
            marks = torch.tensor([[self._num_words], [self._num_words + 1]])
            return self._run(self._words, word_inputs[..., None], marks)
        if not _are_ids(inputs, (None, None, _SPELLING.row_length), NUM_BYTE_CHARACTERS):
            given: Any = inputs
            found = f"{given.dtype} {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
            raise InputError(
                f"found {found}, expected char ids as batch_to_ids gives them: one row or more, (rows, tokens, "
                f"{_SPELLING.row_length}), whole numbers below {NUM_BYTE_CHARACTERS}"
            )
        return self._run(self._bilm, inputs, torch.from_numpy(_SPELLING.char_ids([SENTENCE_START, SENTENCE_END])))

    def _run(self, trunk: BiLM, ids: Tensor, marks: Tensor) -> dict[str, Any]:
        """(rows, tokens, ids of a type), and those of the two boundaries (2, ids), to all layers."""
        ids = ids.cpu().long()
        marked, mask = add_sentence_boundary_token_ids(ids, (ids > 0).any(dim=2), *marks.long())
        states = self._elmo_lstm.run(trunk, _batch_of(marked, mask))
        return {"activations": list(states.layers), "mask": states.mask}


def _network(options_file: str | Path, weight_file: str | Path | None) -> BiLM:
    """The network of two files, without dropout; its forget bias is in the stored bias, as AllenNLP has it."""
    stored = read(_local(options_file), weights=None if weight_file is None else _local(weight_file))
    bilm = stored.bilm
    if not isinstance(bilm, BiLM) or not isinstance(bilm.token_network, CharCNN) or stored.letters is not None:
        raise ModelError(
            f"{stored.path} ({stored.format}) does not read bytes as AllenNLP does: open it with lowtide.load"
        )
    lstm = dataclasses.replace(bilm.config.lstm, forget_bias=0.0)
    network = blank_network(dataclasses.replace(bilm.config, lstm=lstm, dropout=0.0))
    assert isinstance(network, BiLM)
    network.load_state_dict(bilm.state_dict(), assign=True)
    for name, parameter in network.named_parameters():
        if re.fullmatch(r"(forward|backward)_lstm\.layers\.\d+\.bias", name):
            parameter.detach().chunk(4)[1].add_(bilm.config.lstm.forget_bias)
    return network.train()


def _local(file: str | Path) -> str:
    return str(local_file(file)) if isinstance(file, str) and re.match("https?://", file) else str(file)


def _are_ids(ids: Any, shape: tuple[int | None, ...], count: int) -> TypeGuard[Tensor]:
    """Whether these are whole numbers from 0 up to a count, in one row or more; None is any length."""
    if not isinstance(ids, Tensor) or ids.dim() != len(shape) or not len(ids):
        return False
    if ids.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8):
        return False
    fits = all(wanted in (None, found) for wanted, found in zip(shape, ids.shape, strict=True))
    return fits and (not ids.numel() or bool((ids.min() >= 0) & (ids.max() < count)))


def _batch_of(ids: Tensor, mask: Tensor) -> Batch:
    """(rows, steps, ids of a type), boundaries among them, to a batch in which every type stands once."""
    rows = ids.numpy().astype(np.int32)
    numbers: dict[bytes, int] = {}
    index = [numbers.setdefault(row.tobytes(), len(numbers)) for row in rows.reshape(-1, rows.shape[2])]
    types = np.frombuffer(bytearray(b"".join(numbers)), dtype=np.int32).reshape(-1, rows.shape[2])
    type_index = np.array(index, dtype=np.int64).reshape(rows.shape[:2])
    return Batch(types, type_index, np.zeros(type_index.shape, dtype=np.bool_), mask.sum(dim=1).numpy())


# -- state dicts ---------------------------------------------------------------------------------


def _published_arrays(bilm: _ElmoBiLm) -> list[ForeignArray]:
    """Every tensor of a state dict of AllenNLP, in its order."""
    assert isinstance(bilm._bilm.token_network, CharCNN)
    arrays = arrays_of_characters(bilm._bilm.token_network, "_token_embedder.")
    if bilm._words is not None:
        assert isinstance(bilm._words.token_network, SymbolEmbedding)
        vectors = bilm._words.token_network.embedding.weight  # the last two are the boundaries
        arrays.append(whole("_word_embedding.weight", vectors[:-2]))
    return arrays + arrays_of_recurrence(bilm._bilm, "_elmo_lstm.")


def _save_as_published(bilm: _ElmoBiLm, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in [key for key in state_dict if key.startswith(prefix)]:
        del state_dict[key]
    state_dict.update({f"{prefix}{array.name}": array.as_state() for array in _published_arrays(bilm)})


def _load_as_published(
    bilm: _ElmoBiLm,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: Any,
    strict: bool,
    missing_keys: list[str],
    unexpected_keys: list[str],
    error_msgs: list[str],
) -> None:
    for array in _published_arrays(bilm):
        key = f"{prefix}{array.name}"
        found = state_dict.pop(key, None)
        if found is None:
            missing_keys.append(key)
        elif not isinstance(found, Tensor) or found.shape != array.shape:
            shown = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            error_msgs.append(f"size mismatch for {key}: found {shown}, expected {array.shape}")
        else:
            array.fill(found.detach())
    # PyTorch goes on to load the parameters under our names: it finds what they are now
    state_dict.update({f"{prefix}{name}": p.detach() for name, p in bilm.named_parameters(remove_duplicate=False)})


# -- classes -------------------------------------------------------------------------------------


class ScalarMix(nn.Module):
    """`lowtide.LayerMix` under its old name, its parameters one by one.

    Args:
        mixture_size: how many tensors.
        do_layer_norm: whether to take one mean and variance over the whole batch first.
        initial_scalar_parameters: before the softmax; zeros if not given.
        trainable: whether they and gamma are learned.

    Raises:
        InputError: if there are not as many scalars as tensors.
    """

    def __init__(
        self,
        mixture_size: int,
        do_layer_norm: bool = False,
        initial_scalar_parameters: Sequence[float] | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        scalars = [0.0] * mixture_size if initial_scalar_parameters is None else list(initial_scalar_parameters)
        if len(scalars) != mixture_size:
            raise InputError(f"found {len(scalars)} scalars for a mix of {mixture_size} layers, expected one for each")
        self.mixture_size, self.do_layer_norm = mixture_size, do_layer_norm
        self.scalar_parameters = nn.ParameterList(nn.Parameter(torch.tensor([float(scalar)])) for scalar in scalars)
        self.gamma = nn.Parameter(torch.tensor([1.0]))
        self.requires_grad_(trainable)

    def forward(self, tensors: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Mix tensors of one shape, (..., tokens, width); the mask (..., tokens) is wanted for the layer norm alone.

        Raises:
            ShapeError: if there is another number of tensors.
            InputError: if there is no mask for the layer norm.
        """
        if len(tensors) != self.mixture_size:
            raise ShapeError(f"found {len(tensors)} layers, this mix is of {self.mixture_size} (layer 0 counts)")
        layers = torch.stack(list(tensors))
        if self.do_layer_norm:
            if mask is None:
                raise InputError("a mix with do_layer_norm wants a mask, found none")
            layers = norm_as_published(layers, mask)
        return mix_layers(layers, torch.cat(list(self.scalar_parameters)), self.gamma)


class Elmo(nn.Module):
    """One or more mixes of the layers, as a module.

    What: ``allennlp.modules.elmo.Elmo``, with its numbers and its state dict. When: a network of then is to be loaded,
    or trained further. What to do instead in new code: `lowtide.load` and `lowtide.LayerMix`. As there, dropout is 0.5
    and the module begins in training mode.

    Args:
        options_file: a path, or the address of a published file, which is then fetched.
        weight_file: the same.
        num_output_representations: how many mixes.
        requires_grad: whether the network is trained too.
        do_layer_norm: see `ScalarMix`.
        dropout: of what comes out.
        vocab_to_cache: words whose token vectors are computed once; the first is padding.
        keep_sentence_boundaries: whether ``<S>`` and ``</S>`` come out too.
        scalar_mix_parameters: of all mixes; then none is trained.
        module: gives ``activations`` and ``mask`` in place of the files, which are None then.
        stateful: whether the state is warm.

    Raises:
        MissingPathError: if a file is not there and cannot be fetched.
        ModelError: if it is damaged, or of a model that does not read bytes.
        InputError: if an argument is out of range, or excludes another.
    """

    def __init__(
        self,
        options_file: str | Path | None,
        weight_file: str | Path | None,
        num_output_representations: int,
        requires_grad: bool = False,
        do_layer_norm: bool = False,
        dropout: float = 0.5,
        vocab_to_cache: Sequence[str] | None = None,
        keep_sentence_boundaries: bool = False,
        scalar_mix_parameters: Sequence[float] | None = None,
        module: Any = None,
        *,
        stateful: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}, expected 0 up to 1")
        has_files = options_file is not None or weight_file is not None
        if module is not None and (has_files or not stateful):
            raise InputError(
                "module= has files and a state of its own: leave out options_file, weight_file and stateful"
            )
        if module is None:
            if options_file is None:
                raise InputError("options_file is None, expected a file, or a module")
            module = _ElmoBiLm(options_file, weight_file, requires_grad, vocab_to_cache, stateful=stateful)
        self._elmo_lstm = module
        self._dropout = nn.Dropout(p=dropout)
        self._keep_sentence_boundaries = keep_sentence_boundaries
        self._scalar_mixes = [
            ScalarMix(module.num_layers, do_layer_norm, scalar_mix_parameters, scalar_mix_parameters is None)
            for _ in range(num_output_representations)
        ]
        for number, mix in enumerate(self._scalar_mixes):
            self.add_module(f"scalar_mix_{number}", mix)

    def get_output_dim(self) -> int:
        """The width of a vector: both directions."""
        width: int = self._elmo_lstm.get_output_dim()
        return width

    def forward(self, inputs: Tensor, word_inputs: Tensor | None = None) -> dict[str, Any]:
        """Embed a batch.

        Args:
            inputs: (..., tokens, 50), of `batch_to_ids`; leading dimensions are rows.
            word_inputs: (..., tokens) numbers in the cached vocabulary.

        Returns:
            ``elmo_representations``: of every mix (..., tokens, width); ``mask``: (..., tokens).
        """
        is_nested = isinstance(inputs, Tensor) and inputs.dim() > 3
        rows = inputs.flatten(0, -3) if is_nested else inputs
        words = word_inputs.flatten(0, -2) if word_inputs is not None and is_nested else word_inputs
        run = self._elmo_lstm(rows, words)
        layers, mask = run["activations"], run["mask"]
        mixed = [mix(layers, mask) for mix in self._scalar_mixes]
        if not self._keep_sentence_boundaries:
            mixed = [remove_sentence_boundaries(vectors, mask)[0] for vectors in mixed]
            mask = remove_sentence_boundaries(layers[0], mask)[1]
        leading = inputs.shape[:-2]
        return {
            "elmo_representations": [self._dropout(vectors).unflatten(0, leading) for vectors in mixed],
            "mask": mask.unflatten(0, leading),
        }


class ElmoTokenEmbedder(nn.Module):
    """One mix of the layers, projected if a width is given; see `Elmo` for the arguments."""

    def __init__(
        self,
        options_file: str | Path = DEFAULT_OPTIONS_FILE,
        weight_file: str | Path = DEFAULT_WEIGHT_FILE,
        do_layer_norm: bool = False,
        dropout: float = 0.5,
        requires_grad: bool = False,
        projection_dim: int | None = None,
        vocab_to_cache: Sequence[str] | None = None,
        scalar_mix_parameters: Sequence[float] | None = None,
        *,
        stateful: bool = True,
    ) -> None:
        super().__init__()
        network = _ElmoBiLm(options_file, weight_file, requires_grad, vocab_to_cache, stateful=stateful)
        self._elmo = Elmo(None, None, 1, False, do_layer_norm, dropout, None, False, scalar_mix_parameters, network)
        self._projection = nn.Linear(network.get_output_dim(), projection_dim) if projection_dim else None
        self.output_dim = projection_dim or network.get_output_dim()

    def get_output_dim(self) -> int:
        """The width of a vector."""
        return self.output_dim

    def forward(self, elmo_tokens: Tensor, word_inputs: Tensor | None = None) -> Tensor:
        """(..., tokens, 50) to (..., tokens, width)."""
        vectors: Tensor = self._elmo(elmo_tokens, word_inputs)["elmo_representations"][0]
        return vectors if self._projection is None else self._projection(vectors)


class ElmoEmbedder:
    """All layers of tokenised sentences, as arrays.

    What: ``allennlp.commands.elmo.ElmoEmbedder`` of versions up to 0.9, with its numbers; without arguments, the
    original model. When: code or numbers from then are to be kept. What to do instead in new code: `lowtide.load` and
    `lowtide.Elmo.embed_layers`. An empty sentence gives (layers, 0, width), whatever the model; a batch of them alone,
    with which the original fails, does not run.

    Args:
        options_file: see `Elmo`.
        weight_file: see `Elmo`.
        cuda_device: the number of a GPU; -1: the CPU.
        stateful: whether the state is warm; ``elmo_bilm._elmo_lstm.stateful`` in old code.
    """

    def __init__(
        self,
        options_file: str | Path = DEFAULT_OPTIONS_FILE,
        weight_file: str | Path = DEFAULT_WEIGHT_FILE,
        cuda_device: int = -1,
        *,
        stateful: bool = True,
    ) -> None:
        self.cuda_device = cuda_device
        device = pick_device("cpu" if cuda_device < 0 else f"cuda:{cuda_device}")
        self.elmo_bilm = _ElmoBiLm(options_file, weight_file, stateful=stateful).to(device)

    def batch_to_embeddings(self, batch: Iterable[Iterable[str]]) -> tuple[Tensor, Tensor]:
        """(sentences, layers, longest, width), without the boundaries, and the mask (sentences, longest)."""
        run = self.elmo_bilm(batch_to_ids(batch))
        pairs = [remove_sentence_boundaries(layer, run["mask"]) for layer in run["activations"]]
        return torch.stack([layer for layer, _ in pairs], dim=1), pairs[0][1]

    def embed_sentence(self, sentence: Iterable[str]) -> Vectors:
        """(layers, tokens, width) of one sentence."""
        return self.embed_batch([sentence])[0]

    def embed_batch(self, batch: Iterable[Iterable[str]]) -> list[Vectors]:
        """(layers, tokens, width) of every sentence; they run together."""
        sentences = as_token_lists(batch)
        if not any(sentences):  # nothing runs, and no state changes
            shape = self.elmo_bilm.num_layers, 0, self.elmo_bilm.get_output_dim()
            return [np.zeros(shape, np.float32) for _ in sentences]
        layers = self.batch_to_embeddings(sentences)[0].detach().cpu().numpy()
        # copies, so that one short sentence does not keep its whole batch alive
        return [vectors[:, : len(sentence)].copy() for vectors, sentence in zip(layers, sentences, strict=True)]

    def embed_sentences(
        self, sentences: Iterable[Iterable[str]], batch_size: int = DEFAULT_BATCH_SIZE
    ) -> Iterator[Vectors]:
        """The same of any number of sentences, batch after batch, in their order."""
        if batch_size < 1:
            raise InputError(f"a batch of {batch_size} rows: expected at least 1")
        rest = iter(sentences)
        while batch := list(itertools.islice(rest, batch_size)):
            yield from self.embed_batch(batch)

    def embed_file(
        self,
        input_file: IO[str],
        output_file_path: str | Path,
        output_format: str = "all",
        batch_size: int = DEFAULT_BATCH_SIZE,
        forget_sentences: bool = False,
        use_sentence_keys: bool = False,
    ) -> None:
        """Embed an open file, one sentence a line, its tokens between spaces; then it is closed.

        Args:
            input_file: the lines.
            output_file_path: an HDF5 file, which appears when it is whole: datasets ``"0"``, ``"1"`` and so on, and in
                ``sentence_to_index`` one JSON object from line to number.
            output_format: ``all``: (layers, tokens, width); ``top`` or ``average``: (tokens, width).
            batch_size: sentences that run together.
            forget_sentences: whether to leave out ``sentence_to_index``.
            use_sentence_keys: whether datasets are named by their lines instead.

        Raises:
            InputError: if a line is empty, or cannot be a key, or there is no such format.
            WriteError: if the file cannot be written.
        """
        if output_format not in _FORMATS:
            known = ", ".join(_FORMATS)
            raise InputError(f"unknown format {output_format!r}.{nearest(output_format, _FORMATS)} Known: {known}")
        lines = [line.strip() for line in input_file]
        empty = [str(number) for number, line in enumerate(lines) if not line]
        if empty:
            raise InputError(f"found empty lines, expected a sentence in each: remove {', '.join(empty)} (from 0)")
        keys = lines if use_sentence_keys else [str(number) for number in range(len(lines))]
        embedded = self.embed_sentences((line.split() for line in lines), batch_size)
        with (
            progress("embedding", total=len(lines), unit="sentences") as bar,
            written_whole(Path(output_file_path)) as beside,
            created(beside) as (file, check),
        ):
            for key, layers in zip(keys, embedded, strict=True):
                _write(file, key, _FORMATS[output_format](layers))
                check()
                bar.advance(1)
            if not forget_sentences and not use_sentence_keys:
                index = json.dumps(dict(zip(lines, keys, strict=True)))
                file.create_dataset("sentence_to_index", data=[index], dtype=h5py.string_dtype())
        if hasattr(input_file, "close"):
            input_file.close()


def _write(file: h5py.File, key: str, vectors: NDArray[np.float32]) -> None:
    try:
        file.create_dataset(key, data=vectors, track_times=False)
    except (ValueError, TypeError, OSError) as error:  # it is there, or has a NUL, or lies below one that is there
        raise InputError(f"the line {key!r} cannot be a key of HDF5 ({error}): leave out use_sentence_keys") from None
